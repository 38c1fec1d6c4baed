"""Questions on ways that are not looked at, or that change behind the look."""

import errno
import mmap
import os
import socket
import struct
from attempt import AGENT_UID, attempt, step

RESOLVER, RESOLVER6, NATTED = ("192.0.2.53", 53), ("2001:db8::53", 53), ("192.0.2.153", 53)
A = 1
SO_ZEROCOPY, MSG_ZEROCOPY = 60, 0x4000000
SOL_UDP, UDP_SEGMENT = 17, 103
IPV6_DSTOPTS = 59
# As long as each other.
ALLOWED, STOLEN = "api.aegis.test", "stolen.xy.test"


def question(name, number=0x4242, extra=0, behind=b""):
    asked = b"".join(bytes([len(label)]) + label for label in name.encode().split(b".")) + b"\0"
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, extra) + asked + struct.pack(">HH", A, 1) + behind


def udp(family=socket.AF_INET, wait=4):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(wait)
    return s


def answered(s, number=0x4242):
    """Waits for an answer with a number, and gives it."""
    while True:
        try:
            said = s.recv(8192)
        except TimeoutError:
            raise OSError(errno.ETIMEDOUT, "no answer")
        if said[:2] == struct.pack(">H", number):
            return said


def ask(name, resolver=RESOLVER, connected=True):
    with udp(socket.AF_INET6 if ":" in resolver[0] else socket.AF_INET) as s:
        if connected:
            s.connect(resolver)
            s.send(question(name))
        else:
            s.sendto(question(name), resolver)
        answered(s)


def hello(address):
    with socket.create_connection((address, 443), timeout=5) as s:
        s.send(b"GET / HTTP/1.0\r\n\r\n")
        if b"hello" not in s.recv(4096):
            raise OSError(errno.EPROTO, "no answer")


def looked_up(name, address, resolver, connected=True):
    ask(name, resolver, connected)
    hello(address)


def segments():
    """Two questions in one datagram that is cut in two on its way; the second looks like an option of the first."""
    second = question(STOLEN, 0x4343)
    option = b"\0" + struct.pack(">HHIH", 41, 1232, 0, len(second))
    first = question(ALLOWED, extra=1, behind=option)
    with udp() as s:
        s.setsockopt(SOL_UDP, UDP_SEGMENT, len(first))
        s.connect(RESOLVER)
        s.send(first + second)
        answered(s, 0x4343)


def zero_copy():
    """A question that is another one by the time that the packet finds its way."""
    page = mmap.mmap(-1, mmap.PAGESIZE)
    allowed, stolen = question(ALLOWED, 0x4444), question(STOLEN, 0x4444)
    page[:len(allowed)] = allowed
    with udp(wait=10) as s:
        s.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
        s.connect(RESOLVER)
        step("deaf")
        try:
            s.send(memoryview(page)[:len(allowed)], MSG_ZEROCOPY)
            page[:len(stolen)] = stolen
        finally:
            step("hears")
        if b"stolen" not in answered(s, 0x4444):
            raise OSError(errno.ENOMSG, "the allowed question was asked")


def spliced():
    """A question whose bytes are those of a pipe."""
    reader, writer = os.pipe()
    message = question(ALLOWED)
    os.write(writer, message)
    with udp() as s:
        s.connect(RESOLVER)
        os.splice(reader, s.fileno(), len(message))
        answered(s)


def in_pieces():
    """A question in two pieces."""
    message = question(ALLOWED)
    with udp() as s:
        s.connect(RESOLVER)
        s.send(message[:20], socket.MSG_MORE)
        s.send(message[20:])
        answered(s)


def behind_a_header():
    """A question behind options for the receiver, which stand before it."""
    with udp(socket.AF_INET6) as s:
        s.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS, bytes([0, 0, 1, 4, 0, 0, 0, 0]))
        s.connect(RESOLVER6)
        s.send(question(STOLEN))
        answered(s)


def used_before():
    """A socket that has asked where a question is seen, and now asks where it is not."""
    with udp() as s:
        s.sendto(question(ALLOWED), RESOLVER)
        answered(s)
        s.sendto(question(STOLEN, 0x4545), NATTED)
        answered(s, 0x4545)


def from_port_of_resolvers():
    """Words that seem to be a resolver's, without asking for its port."""
    with udp() as to, udp() as source:
        to.bind(("127.0.0.1", 9999))
        step("only-port-of-resolvers")
        try:
            source.bind(("127.0.0.1", 0))
        finally:
            step("ports-as-before")
        if source.getsockname()[1] != 53:
            raise OSError(errno.EADDRNOTAVAIL, "another port")
        source.sendto(b"answer", ("127.0.0.1", 9999))
        to.recv(100)


def bind(address):
    with udp() as s:
        s.bind(address)


def many_questions():
    """More questions that nobody answers than there is room for."""
    with udp() as s:
        s.connect(RESOLVER)
        for number in range(7000):
            s.send(question("silent.aegis.test", number))


def many_addresses():
    """More addresses than there is room for."""
    for number in range(24):
        ask(f"{number}.many.test")


def main():
    attempt("allowed-plain", looked_up, ALLOWED, "192.0.2.10", RESOLVER)
    attempt("allowed-over-ipv6", looked_up, "six.aegis.test", "192.0.2.40", RESOLVER6)
    attempt("another-name-over-ipv6", ask, STOLEN, RESOLVER6)
    attempt("another-name-over-mapped-ipv4", ask, STOLEN, ("::ffff:192.0.2.53", 53), False)
    attempt("allowed-behind-nat", looked_up, "nat.aegis.test", "192.0.2.41", NATTED)
    attempt("allowed-behind-nat-unconnected", ask, "nat.aegis.test", NATTED, False)
    attempt("another-name-behind-nat", ask, STOLEN, NATTED)
    attempt("another-name-behind-nat-unconnected", ask, STOLEN, NATTED, False)
    attempt("another-name-from-a-used-socket", used_before)
    attempt("question-in-a-second-segment", segments)
    attempt("question-that-changes", zero_copy)
    attempt("question-from-a-pipe", spliced)
    attempt("question-in-two-pieces", in_pieces)
    if AGENT_UID == 0:
        attempt("question-behind-a-header", behind_a_header)
    attempt("from-the-port-of-resolvers", from_port_of_resolvers)
    if AGENT_UID == 0:
        attempt("port-of-resolvers", bind, ("127.0.0.1", 53))
        attempt("port-of-resolvers-anywhere", bind, ("0.0.0.0", 53))
    attempt("answer-in-a-circle", ask, "circle.aegis.test")
    attempt("answer-that-ends-early", ask, "half.aegis.test")
    attempt("answer-too-long", ask, "huge.aegis.test")
    attempt("many-addresses", many_addresses)
    attempt("allowed-while-full", hello, "192.0.2.10")
    attempt("many-questions", many_questions)


if __name__ == "__main__":
    main()
