import ctypes
import os
import socket
import struct
import subprocess
from attempt import T, attempt, read, say, syscall

BPF_OBJ_GET, BPF_PROG_GET_NEXT_ID = 7, 11


def connect():
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("/run/aegis/aegisd.sock")


def opened(flags):
    """Every file of the log and its keys; the first refusal is the result."""
    with open(f"{T}/in/files") as file:
        names = file.read().split()
    for name in names:
        os.close(os.open(name, flags))


def there_and_back(source, target):
    os.rename(source, target)
    os.rename(target, source)


def made(make, path, unmake):
    make(path)
    unmake(path)


def create(path):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))


def pinned(name):
    """A table by its pin: no capability is asked for, only the right to read the file."""
    path = ctypes.create_string_buffer(f"/sys/fs/bpf/aegis/maps/{name}".encode())
    attribute = ctypes.create_string_buffer(struct.pack("=QII", ctypes.addressof(path), 0, 0), 128)
    os.close(syscall("bpf", BPF_OBJ_GET, attribute, 16))


def switch(name, value):
    with open("/proc/self/cgroup") as file:
        own = "/sys/fs/cgroup" + [l for l in file if l.startswith("0::")][0][3:].strip()
    with open(f"{own}/{name}", "w") as file:
        file.write(value)


attempt("socket", connect)
done = subprocess.run(["aegis", "agents"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
say("command", "0" if done.returncode == 0 else "refused")
attempt("bpf", syscall, "bpf", BPF_PROG_GET_NEXT_ID, ctypes.create_string_buffer(16), 16)
attempt("pinned-table", pinned, "AGENTS")
attempt("pins-listed", os.listdir, "/sys/fs/bpf/aegis")
attempt("name-among-the-pins", made, os.mkdir, "/sys/fs/bpf/aegis/x", os.rmdir)
attempt("log-read", opened, os.O_RDONLY)
attempt("log-opened-for-writing", opened, os.O_WRONLY)
attempt("log-renamed", there_and_back, "/var/lib/aegis/log", "/var/lib/aegis/elsewhere")
attempt("policy-made", made, create, "/etc/aegis/x", os.unlink)
attempt("own-thaw", switch, "cgroup.freeze", "0")
attempt("own-limit", switch, "pids.max", "max")
attempt("allowed", read, f"{T}/in/note")
