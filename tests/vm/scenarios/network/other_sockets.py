import socket
from attempt import AGENT_UID, attempt

MPTCP, UDP_LITE, SCTP, VSOCK = 262, 136, 132, 40


def make(family, kind, protocol=0):
    socket.socket(family, kind, protocol).close()


def listen():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()


V4, V6 = socket.AF_INET, socket.AF_INET6
if AGENT_UID == 0:
    attempt("raw", make, V4, socket.SOCK_RAW, socket.IPPROTO_RAW)
    attempt("raw-ipv6", make, V6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    attempt("packet", make, socket.AF_PACKET, socket.SOCK_RAW, 0)
attempt("ping", make, V4, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
attempt("sctp", make, V4, socket.SOCK_STREAM, SCTP)
attempt("mptcp", make, V4, socket.SOCK_STREAM, MPTCP)
attempt("udp-lite", make, V4, socket.SOCK_DGRAM, UDP_LITE)
attempt("vsock", make, VSOCK, socket.SOCK_STREAM)
attempt("listen", listen)
attempt("allowed-tcp", make, V4, socket.SOCK_STREAM)
attempt("allowed-udp", make, V6, socket.SOCK_DGRAM)
attempt("allowed-unix-pair", lambda: [s.close() for s in socket.socketpair()])
