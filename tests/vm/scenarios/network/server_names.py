import errno
import os
import socket
import struct
import subprocess
import sys
from attempt import INSIDE, attempt, say, step

MSG_ZEROCOPY, SO_ZEROCOPY, MSG_FASTOPEN = 0x4000000, 60, 0x20000000
API, OTHER = "api.aegis.test", "other.test"
ADDRESSED = ("10.9.9.10", 443)
# Seconds that an answer is waited for: shorter where none is to come.
PATIENCE = 10


def refused(name, call, *args, **named):
    global PATIENCE
    PATIENCE, kept = (0.6 if INSIDE else 10), PATIENCE
    attempt(name, lambda: call(*args, **named))
    PATIENCE = kept


def allowed(name, call, *args, **named):
    attempt(name, lambda: call(*args, **named))


def sized(length, data):
    return len(data).to_bytes(length, "big") + data


def extension(kind, data):
    return struct.pack(">H", kind) + sized(2, data)


def server_name(name):
    return extension(0, sized(2, b"\0" + sized(2, name.encode())))


def hello(*names, behind=b""):
    """A ClientHello as clients send it, the names in front or behind."""
    extensions = extension(43, b"\2\3\4") + b"".join(map(server_name, names)) + behind
    body = b"\3\3" + os.urandom(32) + sized(1, os.urandom(32)) + sized(2, b"\x13\1\x13\2") + sized(1, b"\0") + sized(2, extensions)
    return b"\x16\3\1" + sized(2, b"\1" + sized(3, body))


def in_two_records(data):
    handshake = data[5:]
    return b"".join(b"\x16\3\1" + sized(2, part) for part in (handshake[:60], handshake[60:]))


def request(*lines, front="GET / HTTP/1.1"):
    return "\r\n".join((front, *lines, "", "")).encode()


def answered(s):
    """The server answers whatever it gets: what it got has left this agent."""
    s.settimeout(PATIENCE)
    try:
        if b"hello" not in s.recv(4096):
            raise OSError(errno.EPROTO, "no answer")
    except TimeoutError:
        raise OSError(errno.ETIMEDOUT, "nothing came back")


def connect(name, port, family=socket.AF_INET):
    """As every program: looks the name up, then goes there."""
    try:
        found = socket.getaddrinfo(name, port, family, socket.SOCK_STREAM)
    except socket.gaierror:
        raise OSError(errno.EHOSTUNREACH, "no address")
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.settimeout(5)
    s.connect(found[0][4])
    return s


def opens(name, *parts, port=443, family=socket.AF_INET):
    with connect(name, port, family) as s:
        for part in parts:
            s.sendall(part)
        answered(s)


def gives_up(data):
    """The kernel ends the connection, whatever the program waits for."""
    with connect(API, 443) as s:
        s.settimeout(60)
        s.sendall(data)
        try:
            s.recv(4096)
        except TimeoutError as error:
            raise OSError(errno.ECONNABORTED if error.errno == errno.ETIMEDOUT else errno.ETIMEDOUT, "ended")


def again(first, second):
    """One socket, two connections."""
    with connect(API, 443) as s:
        s.sendall(first)
        answered(s)
        peer = s.getpeername()
        disconnect(s)
        s.connect(peer)
        s.sendall(second)
        answered(s)


def disconnect(s):
    """connect(AF_UNSPEC)"""
    import ctypes
    nobody = struct.pack("HHIQ", socket.AF_UNSPEC, 0, 0, 0)
    if ctypes.CDLL(None, use_errno=True).connect(s.fileno(), nobody, len(nobody)) != 0:
        raise OSError(ctypes.get_errno(), "connect(AF_UNSPEC)")


def connect_elsewhere(data):
    """Goes on to an address that is open by itself; the kernel stays with the first."""
    with connect(API, 443) as s:
        s.connect_ex(ADDRESSED)
        s.sendall(data)
        answered(s)


def send_elsewhere(data):
    with connect(API, 443) as s:
        s.sendto(data, ADDRESSED)
        answered(s)


def zero_copy(data):
    with connect(API, 443) as s:
        s.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
        s.send(data, MSG_ZEROCOPY)
        answered(s)


def urgent(data):
    """What is urgent is no part of what a server reads: another name is left."""
    with connect(API, 443) as s:
        s.send(data, socket.MSG_OOB)
        answered(s)


def from_file(data):
    """The page that is sent stays the file's, which may change."""
    with open(os.memfd_create("hello"), "w+b") as file, connect(API, 443) as s:
        file.write(data)
        file.flush()
        os.sendfile(s.fileno(), file.fileno(), 0, len(data))
        answered(s)


def fast_open(data):
    address = socket.getaddrinfo(API, 443, socket.AF_INET, socket.SOCK_STREAM)[0][4]
    with socket.socket() as s:
        s.sendto(data, MSG_FASTOPEN, address)
        answered(s)


def quic():
    address = socket.getaddrinfo("later.aegis.test", 443, socket.AF_INET)[0][4]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"\xc0\0\0\0\1" + bytes(1200), address)


def curl(name, *words):
    done = subprocess.run(["curl", "-sS", "--max-time", "3", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    say(name, "ok" if b"hello" in done.stdout else f"status-{done.returncode}")


def names():
    allowed("allowed-hello", opens, API, hello(API))
    allowed("allowed-hello-ipv6", opens, API, hello("API.Aegis.test"), family=socket.AF_INET6)
    allowed("allowed-long-hello", opens, API, hello(API, behind=extension(51, bytes(1900))))
    allowed("allowed-name-below", opens, "a.b.wild.test", hello("c.wild.test"))
    allowed("allowed-what-follows", opens, API, hello(API), hello(OTHER))
    allowed("allowed-fast-open", fast_open, hello(API))
    allowed("allowed-request", opens, "www.aegis.test", request("User-Agent: x", "Host: www.aegis.test:80"), port=80)
    curl("allowed-curl", "http://www.aegis.test/")
    refused("another-name", opens, API, hello(OTHER))
    refused("ended-in-seconds", gives_up, hello("one.test"))
    refused("name-of-another-rule", opens, API, hello("c.wild.test"))
    refused("no-name", opens, API, hello())
    refused("two-names", opens, API, hello(API, OTHER))
    refused("no-hello", opens, API, b"SSH-2.0-x\r\n")
    refused("hello-in-two-records", opens, API, in_two_records(hello(OTHER)))
    refused("hello-in-two-packets", opens, API, hello(OTHER)[:60], hello(OTHER)[60:])
    refused("hello-of-5000-bytes", opens, API, hello(OTHER, behind=extension(21, bytes(5000))))
    refused("hello-within-a-hello", opens, API, hello(OTHER, behind=extension(21, hello(API)))[:-len(hello(API))], hello(API))
    refused("another-host", opens, "www.aegis.test", request("Host: " + OTHER), port=80)
    curl("curl-with-another-host", "-H", "Host: " + OTHER, "http://www.aegis.test/")
    refused("target-elsewhere", opens, "www.aegis.test", request("Host: www.aegis.test", front=f"GET http://{OTHER}/ HTTP/1.1"), port=80)
    refused("two-hosts", opens, "www.aegis.test", request("Host: www.aegis.test", "Host: " + OTHER), port=80)
    refused("second-connection-of-a-socket", again, hello(API), hello(OTHER))
    refused("connect-elsewhere", connect_elsewhere, hello(OTHER))
    refused("send-elsewhere", send_elsewhere, hello(OTHER))
    refused("fast-open", fast_open, hello(OTHER))
    refused("zero-copy", zero_copy, hello(API))
    refused("urgent-byte", urgent, hello(API))
    refused("from-a-file", from_file, hello(API))
    refused("quic", quic)
    refused("another-name-on-another-port", opens, "later.aegis.test", hello(OTHER), port=8443)
    allowed("allowed-unlooked-at-on-another-port", opens, "a.b.wild.test", b"SSH-2.0-x\r\n", port=8443)
    allowed("allowed-by-a-rule-that-looks-away", opens, "short.aegis.test", hello(OTHER))
    allowed("allowed-and-recorded", opens, "stranger.aegis.test", hello(OTHER))
    allowed("allowed-by-address", opens, ADDRESSED[0], hello(OTHER))


def without_daemon():
    refused("another-name-on-another-port", opens, "later.aegis.test", hello(OTHER), port=8443)
    if INSIDE:
        step("refused-is-durable")
        step("@daemon-kill")
    allowed("allowed-hello-while-dead", opens, API, hello(API))
    refused("another-name-while-dead", opens, API, hello("wild.test"))
    if INSIDE:
        step("@daemon-start")
        step("agent-is-known")
    allowed("allowed-hello-after-restart", opens, API, hello(API))
    refused("another-name-after-restart", opens, API, hello("wild.example"))


if __name__ == "__main__":
    without_daemon() if sys.argv[1:] == ["without-daemon"] else names()
