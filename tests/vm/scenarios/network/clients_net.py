"""The network of names_net.py with other names in it, and a server behind all of them that speaks TLS.

`clients_net.py up` makes it and goes on in the background, `clients_net.py down` takes it away. Each client has names and
addresses of its own, so that none lives on what another has asked.
"""

import os
import signal
import subprocess
import sys
import names_net

CLIENTS = ["curl", "curl-ipv6", "curl-http2", "curl-http2-ipv6", "urllib", "openai", "node", "go", "java"]
PROGRAMS, CERTIFICATES, PID = f"{os.environ['T']}/prog", "/run/aegis-clients", "/run/aegis-clients.pid"


def allowed(number):
    return [f"192.0.2.{number}", f"2001:db8::{number}"]


def others(number):
    return [f"198.51.100.{number}", f"2001:db8::{number}"]


# The answers' time is short, as it is for large services: the least time of the policy, a minute, holds.
ZONE = {"api.openai.com": (allowed(10), 1), "storage.googleapis.com": (allowed(12), 1)}
# Addresses that no name leads to: one of each client's own, and one for the time without the daemon.
LITERAL, LITERAL_WHILE_DEAD = {}, {}
for place, client in enumerate(CLIENTS):
    ZONE[f"{client}-once.googleapis.com"] = (allowed(120 + place), 1)
    ZONE[f"{client}-new.googleapis.com"] = (allowed(140 + place), 1)
    ZONE[f"{client}.example.org"] = (others(20 + place), 1)
    ZONE[f"{client}-dead.example.org"] = (others(40 + place), 1)
    LITERAL[client] = others(60 + place)
    LITERAL_WHILE_DEAD[client] = others(80 + place)


def addresses():
    of_names = [address for found, _ in ZONE.values() for address in found]
    return of_names + [address for of in (LITERAL, LITERAL_WHILE_DEAD) for pair in of.values() for address in pair]


def certificates():
    """An authority, what it signs for the server, and the authority once more as Java wants it. Once for both places."""
    if os.path.exists(f"{CERTIFICATES}/trust.p12"):
        return
    os.makedirs(CERTIFICATES, exist_ok=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["DNS:api.openai.com", "DNS:*.googleapis.com", "DNS:*.example.org"] + [f"IP:{address}" for address in addresses()]
    for words in (
        ["openssl", "req", "-x509", *key, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem",
         "-addext", "keyUsage=critical,keyCertSign"],
        ["openssl", "req", "-x509", *key, "-CA", "ca.pem", "-CAkey", "ca.key", "-subj", "/CN=server", "-keyout", "server.key",
         "-out", "server.pem", "-addext", "basicConstraints=critical,CA:FALSE", "-addext", f"subjectAltName={','.join(names)}"],
        ["keytool", "-J-XX:TieredStopAtLevel=1", "-importcert", "-noprompt", "-alias", "authority", "-file", "ca.pem",
         "-keystore", "trust.p12", "-storepass", "public"],
    ):
        subprocess.run(words, check=True, cwd=CERTIFICATES, capture_output=True)


def up():
    certificates()
    # Addresses that no name of a client leads to are there as well.
    names_net.ZONE = {**ZONE, "nobody": (addresses(), 1)}
    names_net.PORTS = []
    # A busy machine is slow to answer a thousand requests.
    names_net.PATIENCE = "timeout:5 attempts:2"
    names_net.up(False)
    server = subprocess.Popen(
        ["ip", "netns", "exec", names_net.SPACE, sys.executable, "-SB", f"{PROGRAMS}/clients_tls.py", CERTIFICATES],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    if server.stdout.readline() != b"ready\n":
        sys.exit("the server of TLS did not start")
    with open(PID, "w") as file:
        file.write(str(server.pid))


def down():
    try:
        with open(PID) as file:
            os.kill(int(file.read()), signal.SIGKILL)
        os.remove(PID)
    except (FileNotFoundError, ProcessLookupError):
        pass
    names_net.down()


if __name__ == "__main__":
    down() if sys.argv[1] == "down" else (down(), up())
