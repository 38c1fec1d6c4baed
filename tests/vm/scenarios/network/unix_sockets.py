import os
import socket
from attempt import T, attempt, say, step


def send(address):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(address)
        s.send(b"stolen")


def send_datagram(address):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(b"stolen", address)


def received(server, name, step_name):
    step(step_name)
    connection, _ = server.accept()
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
    say(name, os.read(descriptors[0], 100).decode().strip() if descriptors else "none")


attempt("by-path", send, f"{T}/vault/server")
attempt("abstract", send, "\0aegis-vm-server")
attempt("datagram", send_datagram, f"{T}/vault/datagrams")
with socket.socket(socket.AF_UNIX) as server:
    server.bind(f"{T}/work/mine")
    server.listen()
    received(server, "descriptor-of-a-denied-file", "hand-over-key")
    received(server, "allowed-descriptor", "hand-over-note")
    attempt("allowed-own-server", send, f"{T}/work/mine")
