import os
import socket
from attempt import INSIDE, attempt, say, step

IP_FREEBIND = 15


def listens(*where, family=socket.AF_INET, before=None):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if before:
            before(s)
        if where:
            s.bind(where)
        s.listen()


def serve():
    """Somebody outside connects, and is answered."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", 3000))
        s.listen()
        s.settimeout(20)
        if os.fork() == 0:
            peer, _ = s.accept()
            peer.recv(4096)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n")
            os._exit(0)
        if INSIDE:
            step("ask")
        else:
            with socket.create_connection(("127.0.0.1", 3000), timeout=20) as asking:
                asking.sendall(b"?")
                asking.recv(4096)
        os.wait()


def free(option):
    return lambda s: s.setsockopt(socket.IPPROTO_IP, option, 1)


attempt("allowed-and-asked", serve)
# Events of the same: who took the connection, and what went over it.
say("allowed-and-asked-is-taken", "ok")
say("allowed-and-asked-is-over", "ok")
attempt("allowed-in-a-range", lambda: listens("::1", 8050, family=socket.AF_INET6))
attempt("allowed-in-the-other-spelling", lambda: listens("::ffff:127.0.0.1", 3000, family=socket.AF_INET6))
attempt("allowed-everywhere", lambda: listens("0.0.0.0", 9000))
attempt("allowed-everywhere-in-both", lambda: listens("::", 9001, family=socket.AF_INET6))
attempt("allowed-here-where-everywhere-is", lambda: listens("127.0.0.1", 9000))
attempt("another-port", listens, "127.0.0.1", 3001)
attempt("another-address", listens, "127.0.0.2", 3000)
attempt("every-address", listens, "0.0.0.0", 3000)
attempt("every-address-of-both", lambda: listens("::", 8050, family=socket.AF_INET6))
attempt("every-address-of-both-for-one", lambda: listens("::", 9000, family=socket.AF_INET6))
attempt("every-address-in-the-other-spelling", lambda: listens("::ffff:0.0.0.0", 3000, family=socket.AF_INET6))
attempt("an-address-of-nobody", lambda: listens("192.0.2.99", 3000, before=free(IP_FREEBIND)))
attempt("no-port", listens)
attempt("port-chosen-by-the-kernel", listens, "127.0.0.1", 0)
