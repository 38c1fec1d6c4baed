import ctypes
import select
import socket
from attempt import attempt, syscall

MSG_FASTOPEN = 0x20000000
V4, V6, TCP, UDP = socket.AF_INET, socket.AF_INET6, socket.SOCK_STREAM, socket.SOCK_DGRAM


def connect(family, kind, address, data=b"stolen"):
    with socket.socket(family, kind) as s:
        s.settimeout(5)
        s.connect(address)
        s.send(data)


def connect_without_blocking(address):
    with socket.socket(V4, TCP) as s:
        s.setblocking(False)
        try:
            s.connect(address)
        except BlockingIOError:
            select.select([], [s], [], 5)
        s.send(b"stolen")


def sendto(family, address, data=b"stolen"):
    with socket.socket(family, UDP) as s:
        s.sendto(data, address)


def sendmsg(address):
    with socket.socket(V4, UDP) as s:
        s.sendmsg([b"stolen"], [], 0, address)


def sendmmsg(port):
    class Vector(ctypes.Structure):
        _fields_ = [("base", ctypes.c_char_p), ("length", ctypes.c_size_t)]

    class Message(ctypes.Structure):
        _fields_ = [("name", ctypes.c_char_p), ("name_length", ctypes.c_uint), ("vectors", ctypes.POINTER(Vector)),
                    ("count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
                    ("flags", ctypes.c_int), ("sent", ctypes.c_uint)]

    to = (V4).to_bytes(2, "little") + port.to_bytes(2, "big") + socket.inet_aton("127.0.0.1") + bytes(8)
    vector = Vector(b"stolen", 6)
    messages = (Message * 1)(Message(to, len(to), ctypes.pointer(vector), 1, None, 0, 0, 0))
    with socket.socket(V4, UDP) as s:
        syscall("sendmmsg", s.fileno(), messages, 1, 0)


def sendto_from_connected(address):
    with socket.socket(V4, UDP) as s:
        s.connect(("127.0.0.1", 7000))
        s.sendto(b"stolen", address)


def fast_open(address):
    with socket.socket(V4, TCP) as s:
        s.sendto(b"stolen", MSG_FASTOPEN, address)


attempt("connect", connect, V4, TCP, ("127.0.0.1", 7001))
attempt("connect-other-address", connect, V4, TCP, ("127.0.0.66", 7000))
attempt("connect-without-blocking", connect_without_blocking, ("127.0.0.1", 7001))
attempt("connect-udp", connect, V4, UDP, ("127.0.0.1", 7001))
attempt("sendto", sendto, V4, ("127.0.0.1", 7001))
attempt("sendmsg", sendmsg, ("127.0.0.1", 7001))
attempt("sendmmsg", sendmmsg, 7001)
attempt("sendto-from-a-socket-connected-elsewhere", sendto_from_connected, ("127.0.0.1", 7001))
attempt("tcp-fast-open", fast_open, ("127.0.0.1", 7001))
attempt("ipv4-mapped", connect, V6, TCP, ("::ffff:127.0.0.1", 7001))
attempt("ipv4-mapped-sendto", sendto, V6, ("::ffff:127.0.0.1", 7001))
attempt("ipv6", connect, V6, TCP, ("::1", 7000))
attempt("ipv6-sendto", sendto, V6, ("::1", 7001))
attempt("allowed-tcp", connect, V4, TCP, ("127.0.0.1", 7000), b"hello")
attempt("allowed-ipv4-mapped", connect, V6, TCP, ("::ffff:127.0.0.1", 7000), b"hello")
attempt("allowed-udp", sendto, V4, ("127.0.0.1", 7000), b"hello")
