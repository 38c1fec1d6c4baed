"""Hands a descriptor of a file to whoever listens on a socket."""

import os
import socket
import sys

with socket.socket(socket.AF_UNIX) as s:
    s.connect(sys.argv[1])
    socket.send_fds(s, [b"x"], [os.open(sys.argv[2], os.O_RDONLY)])
