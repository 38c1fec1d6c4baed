import os
import stat
from attempt import attempt

NULL = "/dev/null"
SPARE = "/dev/aegis-test"


def make(path):
    """A null device anyone may use; run outside, it puts back what the attempt took away."""
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chmod(path, 0o666)


def unlink():
    os.unlink(NULL)
    make(NULL)


def rename_over():
    os.rename(SPARE, NULL)
    make(SPARE)


def write():
    with open(NULL, "wb") as null:
        null.write(b"x")


attempt("chmod", os.chmod, NULL, 0o666)
attempt("unlink", unlink)
attempt("rename-over", rename_over)
attempt("allowed-write", write)
