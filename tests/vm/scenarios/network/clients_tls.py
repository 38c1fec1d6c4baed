"""A server of HTTP/1.1 and HTTP/2 over TLS at port 443 of every address, in whose answer is what was spoken.

It closes a connection of HTTP/1.1 behind its answer; one of HTTP/2 is for the client to close.
"""

import os
import socket
import ssl
import struct
import sys
import threading

SETTINGS, PING, GOAWAY, HEADERS, DATA = 4, 6, 7, 1, 0
ACK, END_STREAM, END_HEADERS = 1, 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def body(spoken):
    """A list of models as the API of OpenAI gives it."""
    return b'{"object":"list","data":[{"id":"%s","object":"model","created":0,"owned_by":"test"}]}\n' % spoken.encode()


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def exactly(stream, length):
    data = b""
    while len(data) < length:
        more = stream.recv(length - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def http2(stream):
    """Answers whatever is asked, so no header has to be unpacked. Its own: `:status` 200 of the static table, and the type."""
    said = body("h2")
    kind = b"application/json"
    headers = b"\x88\x0f\x10" + bytes([len(kind)]) + kind
    if exactly(stream, len(PREFACE)) != PREFACE:
        return
    stream.sendall(frame(SETTINGS, 0, 0))
    while True:
        head = exactly(stream, 9)
        what, flags, number = struct.unpack(">BBI", head[3:])
        payload = exactly(stream, int.from_bytes(head[:3], "big"))
        if what == GOAWAY:
            return
        if what in (SETTINGS, PING) and not flags & ACK:
            stream.sendall(frame(what, ACK, 0, payload if what == PING else b""))
        elif what in (HEADERS, DATA) and flags & END_STREAM:
            stream.sendall(frame(HEADERS, END_HEADERS, number, headers) + frame(DATA, END_STREAM, number, said))


def http1(stream):
    asked = b""
    while b"\r\n\r\n" not in asked:
        more = stream.recv(4096)
        if not more:
            return
        asked += more
    said = body("http/1.1")
    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(said) + said)
    stream.unwrap()


def serve(plain):
    try:
        plain.settimeout(60)
        with context.wrap_socket(plain, server_side=True) as stream:
            (http2 if stream.selected_alpn_protocol() == "h2" else http1)(stream)
    except (OSError, EOFError):
        # A client that has gone: it says itself whether it got what it wanted.
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{sys.argv[1]}/server.pem", f"{sys.argv[1]}/server.key")
context.set_alpn_protocols(["h2", "http/1.1"])
listener = socket.create_server(("::", 443), family=socket.AF_INET6, dualstack_ipv6=True, backlog=100)
os.write(1, b"ready\n")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
