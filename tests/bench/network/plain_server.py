"""Answers a GET of /N over plain HTTP with N bytes, and closes. Lean, as what it costs is in every measurement."""

import os
import socket

listener = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True, backlog=100)
piece = bytes(1 << 18)
os.write(1, b"ready\n")
while True:
    stream, _ = listener.accept()
    try:
        length = left = int(stream.recv(4096).split(b" ", 2)[1].rpartition(b"/")[2])
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % length)
        while left:
            stream.sendall(piece[:left])
            left -= min(left, len(piece))
    except (OSError, ValueError, IndexError):
        # A client that has gone says so itself.
        pass
    stream.close()
