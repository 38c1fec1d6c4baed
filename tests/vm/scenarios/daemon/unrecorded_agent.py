"""Makes files, each with a long name, until that is refused."""

import os
import subprocess
import sys

fd = os.open(f"{os.environ['T']}/work", os.O_PATH)
for _ in range(15):
    fd = os.open("x" * 250, os.O_PATH, dir_fd=fd)


def make(name):
    try:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, dir_fd=fd))
        return "ok"
    except PermissionError as error:
        return os.strerror(error.errno)


def run():
    try:
        return str(subprocess.run(["/bin/true"]).returncode)
    except PermissionError as error:
        return os.strerror(error.errno)


def tell(*words):
    print(*words, sep="\t", flush=True)
    sys.stdin.readline()


tell("ready", make("before"), run())
said = [make(f"new{n}") for n in range(1500)]
tell(said.count("ok"), sorted(set(said)), run())
tell(make("after"), run())
