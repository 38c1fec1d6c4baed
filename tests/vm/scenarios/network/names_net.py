"""A network of its own, with a resolver and servers, in a network namespace at the other end of a cable.

`names_net.py up` makes it and goes on in the background, `names_net.py down` takes it away. The machine's resolv.conf
names the resolver while it stands; `names_net.py up attacks` names two more, one of IPv6 and one that is another by the
time a question has left (NAT). All addresses are of the ranges for documentation, but for those that are private on
purpose, and many that nobody goes to.
"""

import ctypes
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys

# How long the C library waits for an answer: most that do not come were refused.
PATIENCE = "timeout:1 attempts:1"
SPACE, HERE, THERE = "aegis-names", "aegis-n0", "aegis-n1"
RESOLVER, ROGUE, RESOLVER6 = "192.0.2.53", "198.51.100.53", "2001:db8::53"
# The resolver of a network namespace that is joined to this one later.
OF_A_BOX = "203.0.113.53"
# As a container has it on some networks: an address that nobody has, for another one and its port.
NATTED, BEHIND = "192.0.2.153", 5353
NAT = f"""table ip {SPACE} {{
    chain output {{
        type nat hook output priority -100;
        ip daddr {NATTED} udp dport 53 dnat to {RESOLVER}:{BEHIND}
    }}
}}
"""
# What is answered to each name: addresses, the time they hold, and what is odd about the answer.
ZONE = {
    "api.aegis.test": (["192.0.2.10", "2001:db8::10"], 300),
    "short.aegis.test": (["192.0.2.11"], 0),
    "later.aegis.test": (["192.0.2.13"], 300),
    "private.aegis.test": (["10.9.9.9"], 300),
    "inside.aegis.test": (["10.9.9.10"], 300),
    "a.b.wild.test": (["192.0.2.12"], 300),
    "other.test": (["192.0.2.20"], 300),
    "wild.test": (["192.0.2.21"], 300),
    "rogue.aegis.test": (["192.0.2.30"], 300),
    "number.aegis.test": (["192.0.2.31"], 300),
    "cut.aegis.test": (["192.0.2.32"], 300),
    "stranger.aegis.test": (["192.0.2.33"], 300),
    "six.aegis.test": (["192.0.2.40"], 300),
    "nat.aegis.test": (["192.0.2.41"], 300),
    "circle.aegis.test": (["192.0.2.43"], 300),
    "half.aegis.test": (["192.0.2.44"], 300),
    "huge.aegis.test": (["192.0.2.45"], 300),
    "stolen.xy.test": (["192.0.2.42"], 300),
}
# Another name, and the one it stands for.
CHAIN = {"www.aegis.test": "edge.cdn.test", "edge.cdn.test": "e1.cdn.test"}
CHAINED = (["192.0.2.14"], 300)
PORTS = [80, 443, 8443]
CLONE_NEWNET = 0x40000000


def sh(*lines):
    for line in lines:
        subprocess.run(line.split(), check=True, stdout=subprocess.DEVNULL)


def up(attacks):
    sh(f"ip netns add {SPACE}", f"ip link add {HERE} type veth peer name {THERE} netns {SPACE}", f"ip link set {HERE} up",
       "ip link set lo up", f"ip -n {SPACE} link set lo up", f"ip -n {SPACE} link set {THERE} up")
    for net in ["192.0.2.1/24", "198.51.100.1/24", "10.9.9.1/24", "2001:db8::1/64"]:
        sh(f"ip addr add {net} dev {HERE}" + (" nodad" if ":" in net else ""))
    addresses = {address for of, _ in [*ZONE.values(), CHAINED] for address in of}
    for address in sorted(addresses | {RESOLVER, ROGUE, RESOLVER6, "192.0.2.66"}):
        net = f"{address}/64" if ":" in address else f"{address}/24"
        sh(f"ip -n {SPACE} addr add {net} dev {THERE}" + (" nodad" if ":" in address else ""))
    sh(f"ip -n {SPACE} addr add {OF_A_BOX}/32 dev {THERE}")
    with open("/etc/resolv.conf") as now, open("/run/aegis-names-resolv.conf", "w") as kept:
        kept.write(now.read())
    with open("/etc/resolv.conf", "w") as conf:
        more = f"nameserver {RESOLVER6}\nnameserver {NATTED}\n" if attacks else ""
        conf.write(f"nameserver {RESOLVER}\n{more}options {PATIENCE}\n")
    if attacks:
        subprocess.run(["nft", "-f", "-"], input=NAT.encode(), check=True)
    begun, end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(begun)
        serve(end)
    os.close(end)
    if os.read(begun, 1) != b"+":
        sys.exit("the servers did not start")
    with open("/run/aegis-names.pid", "w") as file:
        file.write(str(pid))


def down():
    try:
        with open("/run/aegis-names.pid") as file:
            os.kill(int(file.read()), signal.SIGKILL)
        os.remove("/run/aegis-names.pid")
    except (FileNotFoundError, ProcessLookupError):
        pass
    subprocess.run(["ip", "netns", "del", SPACE], stderr=subprocess.DEVNULL)
    subprocess.run(["ip", "link", "del", HERE], stderr=subprocess.DEVNULL)
    subprocess.run(["nft", "delete", "table", "ip", SPACE], stderr=subprocess.DEVNULL)
    if os.path.exists("/run/aegis-names-resolv.conf"):
        with open("/run/aegis-names-resolv.conf") as kept, open("/etc/resolv.conf", "w") as conf:
            conf.write(kept.read())
        os.remove("/run/aegis-names-resolv.conf")


def labels(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def record(owner, kind, ttl, data):
    return owner + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


def addresses_of(name):
    """What a name answers with, and for how long."""
    first, _, below = name.partition(".")
    if below == "many.test":
        return [f"11.{first}.0.{last}" for last in range(250)], 300
    return CHAINED if name == "e1.cdn.test" else ZONE.get(name, ([], 0))


def answer(question):
    """The answer to a question, and how it is sent: from where, with which number."""
    at, parts = 12, []
    while question[at]:
        parts.append(question[at + 1:at + 1 + question[at]])
        at += 1 + question[at]
    name = b".".join(parts).decode(errors="replace").lower()
    kind = struct.unpack(">H", question[at + 1:at + 3])[0]
    records = []
    owner, asked = b"\xc0\x0c", name
    while asked in CHAIN:
        asked = CHAIN[asked]
        records.append(record(owner, 5, 300, labels(asked)))
        owner = labels(asked)
    if asked == "silent.aegis.test":
        return None, False
    addresses, ttl = addresses_of(asked)
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        if kind == (28 if family == socket.AF_INET6 else 1):
            records.append(record(owner, kind, ttl, socket.inet_pton(family, address)))
    if name == "stranger.aegis.test":
        # An address of somebody else beside its own.
        records.append(record(labels("elsewhere.test"), 1, 300, socket.inet_aton("192.0.2.66")))
    if name == "circle.aegis.test":
        # A name that stands where it stands.
        at_itself = struct.pack(">H", 0xc000 | at + 5)
        records = [record(at_itself, 1, 300, socket.inet_aton("192.0.2.43"))]
    if name == "half.aegis.test":
        records = [records[0][:-2]]
    if name == "huge.aegis.test":
        records.append(bytes(4200))
    flags = 0x8180 | (0x0200 if name == "cut.aegis.test" else 0) | (0 if records or name in ZONE else 3)
    number = struct.unpack(">H", question[:2])[0] ^ (1 if name == "number.aegis.test" else 0)
    header = struct.pack(">HHHHHH", number, flags, 1, len(records), 0, 0)
    return header + question[12:at + 5] + b"".join(records), name == "rogue.aegis.test"


def serve(ready):
    os.setsid()
    with open(f"/run/netns/{SPACE}") as space:
        if ctypes.CDLL(None).setns(space.fileno(), CLONE_NEWNET) != 0:
            sys.exit("no way into the namespace")
    waiting = selectors.DefaultSelector()
    resolvers = {}
    for address, port in ((RESOLVER, 53), (ROGUE, 53), (RESOLVER6, 53), (OF_A_BOX, 53), (RESOLVER, BEHIND)):
        resolver = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        resolver.bind((address, port))
        resolvers.setdefault(address, resolver)
        waiting.register(resolver, selectors.EVENT_READ)
    listeners = []
    for port in PORTS + [53]:
        listeners.append(socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=50))
        waiting.register(listeners[-1], selectors.EVENT_READ)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.write(ready, b"+")
    os.close(ready)
    while True:
        for key, _ in waiting.select():
            if key.fileobj in listeners:
                stream, _ = key.fileobj.accept()
                waiting.register(stream, selectors.EVENT_READ, "stream")
            elif key.data == "stream":
                try:
                    if key.fileobj.recv(4096):
                        key.fileobj.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n")
                except OSError:
                    pass
                waiting.unregister(key.fileobj)
                key.fileobj.close()
            else:
                question, peer = key.fileobj.recvfrom(4096)
                try:
                    said, rogue = answer(question)
                except (IndexError, struct.error):
                    continue
                if said:
                    (resolvers[ROGUE] if rogue else key.fileobj).sendto(said, peer)


if __name__ == "__main__":
    down() if sys.argv[1] == "down" else (down(), up(sys.argv[2:] == ["attacks"]))
