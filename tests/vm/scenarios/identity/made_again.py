import os
import subprocess
import time
from attempt import T, attempt, in_child, read, say

# Says which cgroup it is in, and what comes of opening the file.
INSIDE = f"""
import errno, os
print(open("/proc/self/cgroup").read().split("0::")[1].strip(), flush=True)
input()
try: open("{T}/vault/key").close(); print("ok")
except OSError as error: print(errno.errorcode[error.errno])
"""


def agent():
    words = ["aegis", "run", "--policy", f"{T}/agent.yaml", "--name", os.environ["AGENT"], "--", "python3", "-SBc", INSIDE]
    agent = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    cgroup = "/sys/fs/cgroup" + agent.stdout.readline().strip()
    number = os.stat(cgroup).st_ino
    said, _ = agent.communicate("\n")
    return cgroup, number, said.strip()


def joined(cgroup):
    """Reads the file from within a cgroup."""
    def call():
        with open(f"{cgroup}/cgroup.procs", "w") as file:
            file.write("0")
        read(f"{T}/vault/key")
    in_child(call)


cgroup, number, result = agent()
say("first-agent", result)
deadline = time.monotonic() + 20
while os.path.exists(cgroup) and time.monotonic() < deadline:
    time.sleep(0.05)
say("removed-with-its-agent", "no" if os.path.exists(cgroup) else "yes")
os.makedirs(f"{cgroup}/child")
attempt("child-of-the-same-name", joined, f"{cgroup}/child")
os.rmdir(f"{cgroup}/child")
attempt("same-name", joined, cgroup)
numbers = {number}
again = False
for _ in range(500):
    os.rmdir(cgroup)
    os.mkdir(cgroup)
    again |= os.stat(cgroup).st_ino in numbers
    numbers.add(os.stat(cgroup).st_ino)
os.rmdir(cgroup)
say("number-given-again", "yes" if again else "no")
say("next-agent", agent()[2])
