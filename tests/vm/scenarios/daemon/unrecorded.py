"""Stops the daemon, lets an agent do more than the ring holds records of, and looks at what it did in the end."""

import json
import os
import signal
import subprocess
import sys
import time
from attempt import say

T, AGENT = os.environ["T"], os.environ.get("AGENT", "")
CHAIN = ["x" * 250] * 15


def folder():
    fd = os.open(f"{T}/work", os.O_PATH)
    for name in CHAIN:
        try:
            os.mkdir(name, dir_fd=fd)
        except FileExistsError:
            pass
        fd = os.open(name, os.O_PATH, dir_fd=fd)
    return fd


def made(fd):
    here = os.open(".", os.O_RDONLY, dir_fd=fd)
    return {name for name in os.listdir(here) if name.startswith("new")}


def recorded():
    out = subprocess.run(["aegis", "events", "-o", "json", "--agent", AGENT, "--kind", "file"], stdout=subprocess.PIPE, check=True).stdout
    events = [json.loads(line)["file"] for line in out.splitlines()]
    return {os.path.basename(file["path"]) for file in events if file["op"] == "create" and "new" in file["path"]}


def counter():
    counters = json.loads(subprocess.run(["aegis", "status", "-o", "json"], stdout=subprocess.PIPE, check=True).stdout)["counters"]
    return counters["unrecorded"] if isinstance(counters, dict) else sum(c["value"] for c in counters if c["name"] == "unrecorded")


def go_on(agent):
    agent.stdin.write("go\n")
    agent.stdin.flush()
    return agent.stdout.readline().rstrip("\n").split("\t")


fd = folder()
before = counter()
daemon = int(os.environ["AEGISD_PID"])
agent = subprocess.Popen(
    ["aegis", "run", "--policy", f"{T}/agent.yaml", "--name", AGENT, "--", sys.executable, "-SB", f"{T}/prog/unrecorded_agent.py"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
say("while-there-is-room", " ".join(agent.stdout.readline().rstrip("\n").split("\t")))
os.kill(daemon, signal.SIGSTOP)
try:
    count, words, ran = go_on(agent)
finally:
    os.kill(daemon, signal.SIGCONT)
say("some-were-made", "yes" if 0 < int(count) < 1500 else count)
say("the-others", words)
say("program-while-full", ran)
until = time.monotonic() + 60
while made(fd) != recorded() and time.monotonic() < until:
    time.sleep(0.5)
say("made-and-not-recorded", str(len(made(fd) - recorded())))
say("recorded-and-not-made", str(len(recorded() - made(fd))))
say("refusals-are-counted", "yes" if counter() - before >= 1500 - int(count) else str(counter() - before))
say("when-there-is-room-again", " ".join(go_on(agent)))
agent.stdin.close()
agent.wait()
