import errno
import socket
import struct
import subprocess
import time
from attempt import AGENT_UID, INSIDE, attempt, say, step

RESOLVER, ROGUE = ("192.0.2.53", 53), ("198.51.100.53", 53)
A, AAAA, HTTPS = 1, 28, 65


def question(name, kind=A, number=0x4242, questions=1, behind=b""):
    asked = b"".join(bytes([len(label)]) + label for label in name.encode().split(b".")) + b"\0"
    return struct.pack(">HHHHHH", number, 0x0100, questions, 0, 0, 0) + (asked + struct.pack(">HH", kind, 1)) * questions + behind


def ask(message, resolver=RESOLVER, wait=True, connected=True):
    """Asks, and waits for the answer; the answer itself is nobody's business here."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        if connected:
            s.connect(resolver)
            s.send(message)
        else:
            s.sendto(message, resolver)
        if wait:
            s.recv(4096)


def hello(address, port=443):
    """Goes to an address without asking."""
    with socket.create_connection((address, port), timeout=5) as s:
        s.send(b"GET / HTTP/1.0\r\n\r\n")
        if b"hello" not in s.recv(4096):
            raise OSError(errno.EPROTO, "no answer")


def by_name(name, port=443, family=socket.AF_INET):
    """As every program: looks the name up, then goes there."""
    try:
        found = socket.getaddrinfo(name, port, family, socket.SOCK_STREAM)
    except socket.gaierror:
        raise OSError(errno.EHOSTUNREACH, "no address")
    hello(found[0][4][0], port)


def looked_up(name, address, port=443):
    """Asks for the address, then goes to what the test knows that it is."""
    ask(question(name))
    hello(address, port)


def curl(name, *words):
    done = subprocess.run(["curl", "-sS", "--max-time", "10", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    say(name, "ok" if b"hello" in done.stdout else f"status-{done.returncode}")


def unanswered(name, address):
    """What is answered is no answer to the question: whoever takes it all the same gets no further."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        s.sendto(question(name), RESOLVER)
        s.recvfrom(4096)
    hello(address)


def source_route():
    """A question to the resolver that is sent to another host first, which may read it."""
    loose = bytes([0x83, 7, 4]) + socket.inet_aton(ROGUE[0]) + bytes([0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, loose)
        s.sendto(b"stolen", RESOLVER)


def bind(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(address)


def over_tcp():
    with socket.create_connection(RESOLVER, timeout=5):
        pass


attempt("allowed-ipv4", by_name, "api.aegis.test")
attempt("allowed-ipv6", by_name, "api.aegis.test", 443, socket.AF_INET6)
attempt("allowed-in-capitals", by_name, "API.Aegis.TEST")
attempt("allowed-below-a-name", by_name, "a.b.wild.test", 8443)
attempt("allowed-behind-other-names", by_name, "www.aegis.test")
attempt("allowed-private-address", by_name, "inside.aegis.test")
attempt("allowed-other-type", ask, question("api.aegis.test", HTTPS))
curl("allowed-curl", "-4", "http://api.aegis.test:443/")
curl("allowed-curl-ipv6", "-6", "http://api.aegis.test:443/")
curl("curl-of-another-name", "http://other.test:443/")
attempt("another-name", ask, question("other.test"))
attempt("another-name-unconnected", ask, question("other.test"), RESOLVER, True, False)
attempt("lookup-of-another-name", by_name, "other.test")
attempt("bare-name-of-a-wildcard", ask, question("wild.test"))
attempt("name-that-only-ends-alike", ask, question("xapi.aegis.test"), RESOLVER)
attempt("tunnel-in-labels", ask, question("6b6579.6f757400.api.aegis.test"))
attempt("two-questions", ask, question("api.aegis.test", questions=2), RESOLVER, False)
attempt("bytes-behind-a-question", ask, question("api.aegis.test", behind=b"stolen"), RESOLVER, False)
attempt("question-of-600-bytes", ask, question("api.aegis.test", behind=bytes(600)), RESOLVER, False)
attempt("no-question-at-all", ask, b"stolen", RESOLVER, False)
if AGENT_UID == 0:
    attempt("source-route", source_route)
attempt("another-resolver", ask, question("api.aegis.test"), ROGUE)
attempt("over-tcp", over_tcp)
attempt("address-never-asked-for", hello, "192.0.2.20")
attempt("another-port", looked_up, "api.aegis.test", "192.0.2.10", 8443)
attempt("another-type-teaches-nothing", lambda: (ask(question("later.aegis.test", HTTPS)), hello("192.0.2.13")))
attempt("answer-from-elsewhere", unanswered, "rogue.aegis.test", "192.0.2.30")
attempt("answer-with-another-number", unanswered, "number.aegis.test", "192.0.2.31")
attempt("answer-that-is-cut", unanswered, "cut.aegis.test", "192.0.2.32")
attempt("address-of-another-name-in-an-answer", unanswered, "stranger.aegis.test", "192.0.2.66")
attempt("private-address", looked_up, "private.aegis.test", "10.9.9.9")
if AGENT_UID == 0:
    attempt("port-of-resolvers", bind, ("127.0.0.1", 53))
    attempt("port-of-resolvers-anywhere", bind, ("0.0.0.0", 53))
attempt("allowed-other-port", bind, ("127.0.0.1", 5353))
attempt("allowed-while-it-holds", looked_up, "short.aegis.test", "192.0.2.11")
time.sleep(3)
attempt("after-it-has-run-out", hello, "192.0.2.11")
if INSIDE:
    step("first-is-durable")
    step("@daemon-kill")
attempt("allowed-old-name-while-dead", hello, "192.0.2.10")
attempt("allowed-new-name-while-dead", by_name, "later.aegis.test")
attempt("another-name-while-dead", ask, question("other.test", number=0x4343))
attempt("address-while-dead", hello, "192.0.2.21")
if INSIDE:
    step("@daemon-start")
    step("agent-is-known")
attempt("allowed-old-name-after-restart", hello, "192.0.2.13")
attempt("allowed-new-name-after-restart", by_name, "www.aegis.test")
attempt("another-name-after-restart", ask, question("wild.test", number=0x4343))
