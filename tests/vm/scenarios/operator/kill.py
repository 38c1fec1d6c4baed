import glob
import json
import os
import signal
import subprocess
import time
from attempt import T, say

AGENT = os.environ["AGENT"]


def work():
    return sum(os.path.getsize(p) for p in glob.glob(f"{T}/work/*"))


def until(what, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.05)
    return False


def numbers(value, name):
    """All values of a field, wherever in the answer it stands."""
    if isinstance(value, dict):
        return [v for k, v in value.items() if k == name] + [n for v in value.values() for n in numbers(v, name)]
    if isinstance(value, list):
        return [n for v in value for n in numbers(v, name)]
    return []


agent = subprocess.Popen(
    ["aegis", "run", "--policy", f"{T}/agent.yaml", "--name", AGENT, "--", "python3", "-SB", f"{T}/prog/bomb.py"],
    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
)
until(lambda: len(glob.glob(f"{T}/work/*")) > 20 and work() > 100, 60)
pid = int(os.path.basename(glob.glob(f"{T}/work/*")[0]))
with open(f"/proc/{pid}/cgroup") as file:
    cgroup = "/sys/fs/cgroup" + [l for l in file if l.startswith("0::")][0][3:].strip()

begun = time.monotonic()
killed = subprocess.run(["aegis", "kill", AGENT, "--reason", "scenario", "-o", "json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
took = time.monotonic() - begun
answer = json.loads(killed.stdout)
say("kill", killed.returncode)
say("reported-frozen", all(numbers(answer, "frozen")) and len(numbers(answer, "frozen")) == 1)
with open(f"{cgroup}/cgroup.events") as file:
    say("kernel-says-frozen", "yes" if "frozen 1" in file.read() else "no")
tasks = sum(numbers(answer, "tasks"))
say("tasks-seen", "many" if tasks > 20 else tasks)
before = work()
time.sleep(0.7)
say("work-after-kill", "none" if work() == before else "some")
say("within-a-second", "yes" if took < 5 and max(numbers(answer, "frozen_ns")) < 1_000_000_000 else f"{took} {answer}")
listed = subprocess.run(["aegis", "agents"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout.decode()
line = [l for l in listed.splitlines() if AGENT in l]
say("shown-as-killed", "yes" if line and ("killed" in line[0] or "frozen" in line[0]) else line)

thawed = subprocess.run(["aegis", "thaw", AGENT], stdout=subprocess.DEVNULL)
say("thaw", thawed.returncode)
say("work-after-thaw", "some" if until(lambda: work() > before, 10) else "none")
agent.send_signal(signal.SIGTERM)
try:
    agent.wait(20)
except subprocess.TimeoutExpired:
    agent.kill()
say("cgroup-after-the-end", "gone" if until(lambda: not os.path.exists(cgroup), 15) else "there")
