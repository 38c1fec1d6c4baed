"""Outside: makes a container and runs the agent in it. Inside (`inside`): what the agent does there."""

import errno
import os
import socket
import subprocess
import sys
import time
from attempt import AGENT_UID, T, attempt, read, syscall

NEWNS, PRIVATE, BIND, REC, DETACH = 0x20000, 1 << 18, 4096, 16384, 2
ROOT = f"{T}/root"


def mount(source, target, kind=b"", flags=0, data=b""):
    os.makedirs(target, exist_ok=True)
    syscall("mount", source.encode(), target.encode(), kind, flags, data)


def contain():
    """The root is an overlay over the host's own, with folders of the host bound into it."""
    syscall("unshare", NEWNS)
    syscall("mount", b"none", b"/", b"", PRIVATE | REC, b"")
    layers = f"lowerdir=/,upperdir={T}/layers/upper,workdir={T}/layers/work"
    mount("overlay", ROOT, b"overlay", 0, layers.encode())
    mount("proc", f"{ROOT}/proc", b"proc")
    mount("/dev", f"{ROOT}/dev", b"", BIND | REC)
    mount("/run/aegis", f"{ROOT}/run/aegis", b"", BIND)
    mount(f"{T}/data", f"{ROOT}/data", b"", BIND)
    mount(f"{T}/vault", f"{ROOT}/host", b"", BIND)
    for name, mode in (("work", 0o1777), ("old", 0o700), ("private", 0o777)):
        os.makedirs(f"{ROOT}/{name}")
        os.chmod(f"{ROOT}/{name}", mode)
    with open(f"{ROOT}/private/key", "w") as file:
        file.write("key")
    os.chdir(ROOT)
    syscall("pivot_root", b".", b"old")
    syscall("umount2", b"/old", DETACH)
    os.chdir("/")


def outside():
    contain()
    words = ["aegis", "run", "--policy", f"{T}/agent.yaml", "--name", os.environ["AGENT"], "--"]
    words += os.environ["AS"].split() + ["python3", "-SB", f"{T}/prog/container.py", "inside"]
    agent = subprocess.Popen(words, cwd="/work", stdin=subprocess.DEVNULL)
    while agent.poll() is None:
        if os.path.exists("/data/mount") and not os.path.ismount("/data/late"):
            mount("none", "/data/late", b"tmpfs", 0, b"mode=777")
        time.sleep(0.05)
    sys.exit(agent.returncode)


def write(path):
    with open(path, "w") as file:
        file.write("made")


def soon(call, *args):
    """What the agent is let do once its policy knows of a mount."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return call(*args)
        except OSError as error:
            if error.errno != errno.EACCES or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def connect():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("/run/aegis/aegisd.sock")


def mounted():
    write("/data/mount")
    deadline = time.monotonic() + 20
    while not os.path.ismount("/data/late") and time.monotonic() < deadline:
        time.sleep(0.05)


def inside():
    attempt("read-data", read, "/data/in")
    attempt("list-data", os.listdir, "/data")
    attempt("write-data", write, "/data/out")
    attempt("write-work", write, "/work/file")
    attempt("mkdir", os.mkdir, "/work/dir")
    attempt("rename", os.rename, "/work/file", "/work/dir/file")
    attempt("run", lambda: subprocess.run(["/usr/bin/id"], stdout=subprocess.DEVNULL, check=True))
    attempt("read-bound", read, "/host/readable")
    attempt("not-allowed", read, "/private/key")
    attempt("dotdot", read, "/data/../private/key")
    attempt("proc-self-root", read, "/proc/self/root/private/key")
    attempt("bound-and-denied", read, "/host/key")
    attempt("data-by-the-layer", read, f"{T}/data/in")
    if AGENT_UID == 0:
        # Ordinary permissions refuse these to others.
        attempt("shadow", read, "/etc/shadow")
        attempt("proc-1-root", read, "/proc/1/root/etc/shadow")
        attempt("create-elsewhere", write, "/usr/bin/planted")
        attempt("write-elsewhere", os.truncate, "/etc/hostname", 0)
        attempt("governor-state", os.listdir, "/var/lib/aegis")
        attempt("governor-socket", connect)
    mounted()
    attempt("mounted-later", soon, write, "/data/late/file")


inside() if sys.argv[1:] == ["inside"] else outside()
