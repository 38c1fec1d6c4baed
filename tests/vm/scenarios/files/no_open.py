import os
import socket
import stat
from attempt import AGENT_UID, T, attempt


def bind(path):
    socket.socket(socket.AF_UNIX).bind(path)


def create(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def all_in_work():
    work = f"{T}/work"
    create(f"{work}/created")
    os.mkdir(f"{work}/made")
    os.mkfifo(f"{work}/fifo")
    bind(f"{work}/socket")
    os.symlink("anything", f"{work}/symlink")
    for name in ("created", "fifo", "socket", "symlink"):
        os.unlink(f"{work}/{name}")
    os.rmdir(f"{work}/made")


vault = f"{T}/vault"
attempt("create", create, f"{vault}/created")
attempt("mkdir", os.mkdir, f"{vault}/made")
attempt("mknod-fifo", os.mkfifo, f"{vault}/fifo")
attempt("mknod-file", os.mknod, f"{vault}/node", stat.S_IFREG | 0o600)
attempt("bind-socket", bind, f"{vault}/socket")
attempt("symlink", os.symlink, "/etc/passwd", f"{vault}/symlink")
attempt("unlink", os.unlink, f"{vault}/file")
attempt("rmdir", os.rmdir, f"{vault}/folder")
if AGENT_UID == 0:
    attempt("device-node", os.mknod, f"{T}/work/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
attempt("allowed-all", all_in_work)
