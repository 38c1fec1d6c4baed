"""An agent in a network namespace of its own, with a resolv.conf of its own, as a container has it.

`names_box.py` is the operator's side, after `names_net.py up attacks`; `names_box.py inside` what runs in the agent.
"""

import os
import subprocess
import sys
from attempt import T, attempt, say
from names_attacks import ask, hello

BOX, HERE, THERE = "aegis-box", "aegis-b0", "aegis-b1"
RESOLVER, HOSTS_RESOLVER = ("203.0.113.53", 53), ("192.0.2.53", 53)
MANIFEST = f"""
version: "1.0"
agent: {{name: box}}
permissions:
  network: {{allow: ["api.aegis.test"], sni: off}}
  fs: {{read: ["{T}/prog"]}}
"""


def sh(*lines):
    for line in lines:
        subprocess.run(line.split(), check=True, stdout=subprocess.DEVNULL)


def up():
    sh(f"ip netns add {BOX}", f"ip link add {HERE} netns {BOX} type veth peer name {THERE} netns aegis-names",
       f"ip -n {BOX} link set lo up", f"ip -n {BOX} link set {HERE} up", f"ip -n aegis-names link set {THERE} up",
       f"ip -n {BOX} addr add 203.0.113.1/24 dev {HERE}", f"ip -n aegis-names addr add 203.0.113.2/24 dev {THERE}",
       f"ip -n {BOX} route add default via 203.0.113.2")
    os.makedirs(f"/etc/netns/{BOX}", exist_ok=True)
    with open(f"/etc/netns/{BOX}/resolv.conf", "w") as conf:
        conf.write(f"nameserver {RESOLVER[0]}\noptions timeout:1 attempts:1\n")


def down():
    subprocess.run(["ip", "netns", "del", BOX], stderr=subprocess.DEVNULL)
    subprocess.run(["rm", "-rf", f"/etc/netns/{BOX}"], check=True)


def inside():
    attempt("allowed-name", lambda: (ask("api.aegis.test", RESOLVER), hello("192.0.2.10")))
    attempt("another-name", ask, "stolen.xy.test", RESOLVER)
    attempt("another-name-unconnected", ask, "stolen.xy.test", RESOLVER, False)
    attempt("resolver-of-the-host", ask, "api.aegis.test", HOSTS_RESOLVER)
    attempt("address-never-asked-for", hello, "192.0.2.40")


def main():
    down()
    up()
    try:
        with open(f"{T}/box.yaml", "w") as file:
            file.write(MANIFEST)
        command = ["aegis", "run", "--policy", f"{T}/box.yaml", "--name", os.environ["AGENT"], "--", sys.executable, "-SB", __file__, "inside"]
        ran = subprocess.run(["ip", "netns", "exec", BOX, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        sys.stdout.write(ran.stdout.decode(errors="replace"))
        say("status", str(ran.returncode))
    finally:
        down()


if __name__ == "__main__":
    inside() if sys.argv[1:] == ["inside"] else main()
