"""Inside one way out to the network: what each client gets through it, and what a request costs.

Prints a line of JSON for each. In a machine whose time is counted in instructions a nanosecond is one, of whoever works
for the request: the client, a proxy, the server, the kernel.
"""

import json
import subprocess
import sys
import time
import urllib.request
import client_commands

MANY = 20
COMMANDS = {**client_commands.COMMANDS, "sockets": [sys.executable, "-SB", f"{client_commands.HERE}/client_python.py", "sockets"]}
CLIENTS = {"curl": ["-4", "--http1.1"], "curl, HTTP/2": ["-4", "--http2"], "curl, IPv6": ["-6", "--http1.1"], **dict.fromkeys(COMMANDS)}
NAMES = ["https://api.openai.com/", "https://storage.googleapis.com/"]
ANOTHER, LITERAL = ["https://curl.example.org/"], ["https://198.51.100.60/"]
STREAM = 16 << 20
# Longer than any client takes to give up on a connection that goes nowhere.
PATIENCE = 120


def ask(client, count, urls):
    """How many of so many requests were answered."""
    words = CLIENTS[client]
    if words is not None:
        asked = [urls[at % len(urls)] for at in range(count)]
        command = ["curl", "-sS", "--fail", "--fail-early", "--max-time", "60", *words, *asked]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        return len(ended.stdout.splitlines())
    order = " ".join([str(count), *urls])
    try:
        ended = subprocess.run(COMMANDS[client], input=order + "\n", stdout=subprocess.PIPE, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return 0
    return int(ended.stdout.partition(" ")[0] or 0)


def fetched(url, length):
    """Reads an answer to its end, in pieces."""
    left, room = length, bytearray(1 << 16)
    with urllib.request.urlopen(url, timeout=60) as answer:
        while left and (read := answer.readinto(room)):
            left -= read
    if left:
        sys.exit(f"{url}: {left} of {length} bytes are missing")


def cost(turns, url, length):
    """Nanoseconds of the best of some batches, each request."""
    batches = []
    for _ in range(6):
        begun = time.monotonic_ns()
        for _ in range(turns):
            fetched(url, length)
        batches.append((time.monotonic_ns() - begun) // turns)
    # The first one opens what stays open.
    return min(batches[1:])


def say(**what):
    print(json.dumps(what), flush=True)


if "clients" in sys.argv:
    for client in CLIENTS:
        say(client=client, answered=ask(client, MANY, NAMES), of=MANY, another=ask(client, 1, ANOTHER), literal=ask(client, 1, LITERAL))
say(request=cost(10, "http://plain.googleapis.com/64", 64), mebibyte=cost(1, f"http://plain.googleapis.com/{STREAM}", STREAM) * (1 << 20) // STREAM)
