"""Stops the daemon, lets an agent be denied more often than the ring can hold, adds up."""

import json
import os
import signal
import subprocess
import sys
import time

T, AGENT = os.environ["T"], os.environ.get("AGENT", "")
# Records that carry a path this long fill the ring of 8 MiB after some two thousand.
CHAIN = ["x" * 250] * 15


def make():
    fd = os.open(f"{T}/vault", os.O_PATH)
    for name in CHAIN:
        os.mkdir(name, dir_fd=fd)
        fd = os.open(name, os.O_PATH, dir_fd=fd)
    os.close(os.open("key", os.O_CREAT | os.O_WRONLY, dir_fd=fd))


def aegis(*words):
    return subprocess.run(["aegis", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True).stdout.decode()


def lost(name):
    counters = json.loads(aegis("status", "-o", "json"))["counters"]
    if isinstance(counters, dict):
        return counters.get(name, 0)
    return sum(c["value"] for c in counters if c["name"] == name)


def main():
    from attempt import say
    before = lost("lost_denial")
    last = json.loads(aegis("events", "-n", "1", "-o", "json"))["seq"]
    daemon = int(os.environ["AEGISD_PID"])
    agent = subprocess.Popen(
        ["aegis", "run", "--policy", f"{T}/agent.yaml", "--name", AGENT, "--", "python3", "-SB", f"{T}/prog/flood_agent.py"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )
    assert agent.stdout.readline() == b"ready\n"
    os.kill(daemon, signal.SIGSTOP)
    try:
        agent.stdin.write(b"go\n")
        agent.stdin.flush()
        denied, let_through = agent.stdout.readline().decode().split()
    finally:
        os.kill(daemon, signal.SIGCONT)
    agent.stdin.close()
    agent.wait()
    say("denied", denied)
    say("let-through", let_through)
    deadline = time.monotonic() + 60
    while True:
        events = [json.loads(l) for l in aegis("events", "-o", "json", "--after-seq", str(last)).splitlines()]
        recorded = sum(e.get("count", 1) for e in events if e["kind"] == "file" and e["verdict"] == "deny" and e["agent"] == AGENT)
        more = lost("lost_denial") - before
        told = sum(int(e["loss"]["count"]) for e in events if e["kind"] == "loss" and e["loss"]["kind"] == "lost_denial")
        if (recorded + more >= int(denied) and told >= more) or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    counted = sum(e.get("count", 0) for e in events if e["kind"] == "file" and e["verdict"] == "deny" and e["agent"] == AGENT)
    say("repeated-and-counted", counted)
    say("some-were-lost", "yes" if more > 0 else "no")
    say("recorded-and-lost", recorded + more)
    say("losses-in-the-log-and-in-the-counter", "equal" if told == more else f"{told}, {more}")


make() if sys.argv[1:] == ["make"] else main()
