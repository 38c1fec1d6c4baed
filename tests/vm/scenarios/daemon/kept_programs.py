"""Restarts the daemon beside an agent that tries the same thing again and again, and compares programs by their numbers."""

import os
import struct
import subprocess
from attempt import T, say, step
from bpf import LINKS, info, opened, take_out


def numbers():
    """Each program in force, by name."""
    found = {}
    for name in os.listdir(LINKS):
        link = opened(LINKS + name)
        found[name] = struct.unpack("=III", info(link, 12))[2]
        os.close(link)
    return found


def adopted():
    """What the engine said when it took over last."""
    said = subprocess.run(["aegis", "events", "--kind", "daemon"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [line for line in said.splitlines() if " adopted " in line][-1]


agent = subprocess.Popen(
    ["aegis", "run", "--policy", f"{T}/agent.yaml", "--name", os.environ["AGENT"], "--", "python3", "-SB", f"{T}/prog/kept_agent.py"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)


def attempt(name):
    agent.stdin.write("\n")
    say(name, agent.stdout.readline().strip())


attempt("before")
step("first-is-durable")
before = numbers()
step("@daemon-kill")
step("@daemon-start")
say("programs-after-a-restart", "the-same" if numbers() == before else "others")
say("said", "kept" if "of this build" in adopted() else adopted())
attempt("after-a-restart")
step("second-is-durable")
step("@daemon-kill")
take_out("file_open")
say("one-taken-out", agent.stdin.write("\n") and agent.stdout.readline().strip())
step("@daemon-start")
after = numbers()
say("programs-after-the-next", "others" if after.keys() == before.keys() and not set(after.values()) & set(before.values()) else "the-same")
say("said-next", adopted().partition("replaced: ")[2])
attempt("held-again")
agent.stdin.close()
agent.wait()
say("log", subprocess.run(["aegis", "verify"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode)
os.unlink("/sys/fs/bpf/aegis-vm-file_open")
