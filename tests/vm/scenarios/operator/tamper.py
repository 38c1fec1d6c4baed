import os
import re
import shutil
import subprocess
from attempt import T, say

LOG = "/var/lib/aegis/log"


def make_entries():
    subprocess.run(["aegis", "run", "--policy", f"{T}/agent.yaml", "--name", os.environ["AGENT"], "--", "cat", "/etc/shadow"],
                   stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def checkpoint(path):
    with open(path, "wb") as file:
        subprocess.run(["aegis", "log", "checkpoint"], stdin=subprocess.DEVNULL, stdout=file, check=True)


def copy(name):
    shutil.copytree(LOG, f"{T}/{name}")
    return f"{T}/{name}"


def segment(folder):
    """The file with the most in it."""
    paths = [os.path.join(at, f) for at, _, files in os.walk(folder) for f in files if not f.endswith((".sqlite", ".lock"))]
    return max(paths, key=os.path.getsize)


def verify(folder, *more, says=r"first bad: entry \d+"):
    done = subprocess.run(["aegis", "verify", "--dir", folder, *more], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = done.stdout.decode(errors="replace")
    if done.returncode == 1:
        return "1 named" if re.search(says, said) else f"1 but: {said!r}"
    return done.returncode


def tampered(name, change):
    folder = copy(name)
    path = segment(folder)
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(change(content))
    say(name, verify(folder))
    shutil.rmtree(folder)


make_entries()
checkpoint(f"{T}/early.checkpoint")
early = copy("early")
make_entries()
checkpoint(f"{T}/late.checkpoint")
whole = copy("whole")
say("untouched", verify(whole, "--checkpoint", f"{T}/late.checkpoint"))
tampered("one-bit", lambda c: c[: len(c) // 2] + bytes([c[len(c) // 2] ^ 1]) + c[len(c) // 2 + 1:])
tampered("a-byte-removed", lambda c: c[: len(c) // 3] + c[len(c) // 3 + 1:])
tampered("a-byte-added", lambda c: c[: len(c) // 3] + b"x" + c[len(c) // 3:])
tampered("two-halves-swapped", lambda c: c[:64] + c[len(c) // 2:] + c[64: len(c) // 2])
tampered("first-entries-removed", lambda c: c[: 64] + c[len(c) // 2:])
say("early-copy-without-checkpoint", verify(early))
say("early-copy-against-the-checkpoint", verify(early, "--checkpoint", f"{T}/late.checkpoint", says="checkpoint"))
