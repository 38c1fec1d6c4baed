"""Real clients, one after the other through each case; at the end the table of what came of it."""

import os
import subprocess
import time
from attempt import INSIDE, say, step
from client_commands import COMMANDS, TRUSTING
from clients_net import CLIENTS, LITERAL, LITERAL_WHILE_DEAD, ZONE

EXTENT = os.environ["EXTENT"]
# Requests of each client; the control shows only that they can be made.
MANY = {"whole": 1000, "tenth": 100}.get(EXTENT, 5) if INSIDE else 2
FEW = 4 if INSIDE else 2
# As long as an answer holds at least, unless the policy says otherwise.
LEAST_TTL = 60
OLD = ["https://api.openai.com/", "https://storage.googleapis.com/"]
trusting = {**os.environ, **TRUSTING}
verdicts = {client: {} for client in CLIENTS}


def speaks(client):
    return "h2" if "http2" in client or client in ("go", "java") else "http/1.1"


def curl(client, count, urls):
    """Five requests a process, in one connection where the protocol allows it; how many were answered, and how it ended."""
    done = 0
    while done < count:
        now = [urls[at % len(urls)] for at in range(done, min(done + 5, count))]
        ended = subprocess.run(
            ["curl", "-sS", "--fail-early", "--max-time", "60", "-6" if "ipv6" in client else "-4",
             "--http2" if "http2" in client else "--http1.1", *now],
            env=trusting, stdout=subprocess.PIPE, text=True)
        done += len(ended.stdout.splitlines())
        if ended.returncode != 0:
            return f"{done} status-{ended.returncode}"
    return f"{done} {ended.stdout.splitlines()[-1]}"


def ask(client, count, urls):
    """Has a client make so many requests; `ok` if all were answered, by the protocol that it prefers."""
    if client in started:
        pipe = started[client]
        pipe.stdin.write(" ".join([str(count), *urls]) + "\n")
        pipe.stdin.flush()
        done, _, said = pipe.stdout.readline().strip().partition(" ")
    else:
        done, _, said = curl(client, count, urls).partition(" ")
    if done == str(count) and f'"id":"{speaks(client)}"' in said:
        return "ok"
    return said if done == "0" else f"{said}-after-{done}"


def case(name, title, count, urls_of):
    """One case for each client, each with addresses of its own."""
    for client in CLIENTS:
        begun = time.monotonic()
        verdict = ask(client, count, urls_of(client))
        verdicts[client][title] = verdict
        say(name.format(client), verdict)
        print(f"{client}, {title}: {time.monotonic() - begun:.1f} s", flush=True)


def literal(addresses, client):
    four, six = addresses
    return [f"https://[{six}]/" if "ipv6" in client else f"https://{four}/"]


begun = time.monotonic()
started = {name: subprocess.Popen(words, env=trusting, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for name, words in COMMANDS.items()}
case("allowed-{}-once", "asked once", 1, lambda c: [f"https://{c}-once.googleapis.com/"])
asked = time.monotonic()
case("allowed-{}", f"allowed x{MANY}", MANY, lambda c: OLD)
case("{}-another-name", "another name", 1, lambda c: [f"https://{c}.example.org/"])
case("{}-literal-address", "literal address", 1, lambda c: literal(LITERAL[c], c))
if INSIDE:
    time.sleep(max(0, asked + LEAST_TTL + 2 - time.monotonic()))
case("{}-after-its-time", "after its time", 1, lambda c: literal(ZONE[f"{c}-once.googleapis.com"][0], c))
if INSIDE:
    step("first-is-durable")
    step("@daemon-kill")
case("allowed-{}-while-dead", f"dead: allowed x{FEW}", FEW, lambda c: [OLD[0], f"https://{c}-new.googleapis.com/"])
case("{}-another-name-while-dead", "dead: another name", 1, lambda c: [f"https://{c}-dead.example.org/"])
case("{}-literal-address-while-dead", "dead: literal address", 1, lambda c: literal(LITERAL_WHILE_DEAD[c], c))
if INSIDE:
    step("@daemon-start")
    step("agent-is-known")
for one in started.values():
    one.stdin.close()
    one.wait()
print(f"{time.monotonic() - begun:.0f} s")
titles = list(verdicts["curl"])
for row in [["client", *titles], *([client, *verdicts[client].values()] for client in CLIENTS)]:
    print("| " + " | ".join(f"{cell:{len(title)}}" for cell, title in zip(row, ["curl-http2-ipv6", *titles])) + " |")
