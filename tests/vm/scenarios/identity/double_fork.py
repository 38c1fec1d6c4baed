import os
import sys
import time
from attempt import T, attempt, output, read, say

def ended_at_once():
    """Without a program of its own: gone before anybody can look at it."""
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    os.waitpid(pid, 0)


attempt("ended-at-once", ended_at_once)
read_end, write_end = os.pipe()
parent = os.getpid()
if os.fork() == 0:
    os.setsid()
    middle = os.getpid()
    if os.fork() != 0:
        os._exit(0)
    # The grandchild: soon without the parent that made it.
    deadline = time.monotonic() + 10
    while os.getppid() == middle and time.monotonic() < deadline:
        time.sleep(0.01)
    attempt("grandchild", read, f"{T}/vault/key")
    try:
        said = output(["cat", f"{T}/vault/key"])
        say("its-program", "key" if said == "key\n" else "refused")
    except OSError:
        say("its-program", "not started")
    say("reparented", "yes" if os.getppid() not in (middle, parent) else "no")
    # Stays behind when the agent's first process ends.
    with open(f"{T}/work/left-behind", "w") as file:
        file.write(str(os.getpid()))
    os.write(write_end, b"done")
    for fd in (0, 1, 2):
        os.close(fd)
    time.sleep(30)
    os._exit(0)
os.wait()
os.read(read_end, 4)
sys.stdout.flush()
