import errno
import mmap
import os
import resource
import shutil
from attempt import T, attempt, in_child, output, read, say

M = f"{T}/m"


def write(path, flags=0):
    fd = os.open(path, os.O_RDWR | flags, 0o666)
    try:
        os.write(fd, b"changed")
    finally:
        os.close(fd)


def same(path, expect):
    found = read(path)
    if found != expect:
        raise OSError(5, f"{path}: {found!r}")


def map_shared():
    fd = os.open(f"{M}/rw/mapped", os.O_RDWR)
    try:
        with mmap.mmap(fd, 4096) as area:
            area[:7] = b"changed"
    finally:
        os.close(fd)


def map_code(path):
    """As the dynamic loader maps a library."""
    fd = os.open(path, os.O_RDONLY)
    try:
        mmap.mmap(fd, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC).close()
    finally:
        os.close(fd)


def crosses_devices():
    """What an overlay says to whoever moves a folder of a lower layer."""
    try:
        os.rename(f"{M}/rw/folder", f"{M}/rw/folder-to")
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise


def dump_core():
    """A core file is made by the kernel with other credentials than the task's own, like what an overlay makes."""
    def crash():
        write(f"{M}/rw/before-the-crash", os.O_CREAT)
        resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))
        os.chdir(f"{T}/layers/upper/drop")
        os.abort()
    try:
        in_child(crash)
    except OSError:
        pass
    say("core-in-a-layer", "made" if os.path.exists(f"{T}/layers/upper/drop/core") else "none")


# Honest work.
attempt("list", os.listdir, f"{M}/rw")
attempt("read-lower", same, f"{M}/rw/read", b"lower\n")
attempt("write-lower", write, f"{M}/rw/written")
attempt("read-what-was-copied", same, f"{M}/rw/written", b"changed")
attempt("write-deep", write, f"{M}/rw/deep/er/file")
attempt("append-lower", write, f"{M}/rw/appended", os.O_APPEND)
attempt("truncate-lower", os.truncate, f"{M}/rw/truncated", 2)
attempt("create", write, f"{M}/rw/new", os.O_CREAT | os.O_EXCL)
attempt("create-over-a-whiteout", lambda: (os.unlink(f"{M}/rw/removed"), write(f"{M}/rw/removed", os.O_CREAT)))
attempt("rename-new", os.rename, f"{M}/rw/new", f"{M}/rw/newer")
attempt("rename-lower", os.rename, f"{M}/rw/renamed", f"{M}/rw/renamed-to")
attempt("rename-lower-folder", crosses_devices)
attempt("move-lower-folder", lambda: shutil.move(f"{M}/rw/moved", f"{M}/rw/moved-to") and None)
attempt("unlink-lower", os.unlink, f"{M}/rw/unlinked")
attempt("rmdir-lower", os.rmdir, f"{M}/rw/empty")
attempt("mkdir", os.mkdir, f"{M}/rw/made")
attempt("create-below-made", write, f"{M}/rw/made/file", os.O_CREAT)
attempt("symlink", os.symlink, "read", f"{M}/rw/symlink")
attempt("link-lower", os.link, f"{M}/rw/linked", f"{M}/rw/linked-to")
attempt("link-new", os.link, f"{M}/rw/newer", f"{M}/rw/newer-too")
attempt("mkfifo", os.mkfifo, f"{M}/rw/fifo")
attempt("chmod-lower", os.chmod, f"{M}/rw/mode", 0o600)
attempt("xattr-lower", os.setxattr, f"{M}/rw/attribute", "user.note", b"x")
attempt("map-shared", map_shared)
attempt("map-code", map_code, f"{M}/pub/echo")
attempt("run", lambda: output([f"{M}/pub/echo"]))

# By the overlay's own names.
attempt("denied-by-default", read, f"{M}/other/file")
attempt("list-denied", os.listdir, f"{M}/other")
attempt("denied-by-name", read, f"{M}/rw/secret/key")
attempt("write-where-only-read", write, f"{M}/pub/file")
attempt("create-where-only-read", write, f"{M}/pub/new", os.O_CREAT)
attempt("mkdir-where-only-read", os.mkdir, f"{M}/pub/dir")
attempt("rename-out", os.rename, f"{M}/rw/out", f"{M}/pub/out")
attempt("chmod-where-only-read", os.chmod, f"{M}/pub/file", 0o777)
attempt("link-in", os.link, f"{M}/pub/file", f"{M}/rw/file")
attempt("rename-in", os.rename, f"{M}/pub/file", f"{M}/rw/file")
attempt("unlink-where-only-read", os.unlink, f"{M}/pub/other")
attempt("run-where-only-write", lambda: output([f"{M}/rw/echo"]))
attempt("map-code-where-only-write", map_code, f"{M}/rw/echo")

# By the layers' names.
attempt("denied-in-the-layer", read, f"{M}/rw/by-layer")
attempt("again", read, f"{M}/rw/by-layer")
attempt("write-denied-in-the-layer", write, f"{M}/rw/by-layer")
attempt("chmod-denied-in-the-layer", os.chmod, f"{M}/rw/by-layer", 0o777)
attempt("rename-denied-in-the-layer", os.rename, f"{M}/rw/by-layer", f"{M}/rw/by-layer-2")
attempt("other-name-of-denied-in-the-layer", read, f"{M}/rw/by-link")
attempt("list-denied-in-the-layer", os.listdir, f"{M}/rw/by-layer-folder")
attempt("create-denied-in-the-upper-layer", write, f"{M}/rw/upper-denied/new", os.O_CREAT)

# The layers themselves.
attempt("lower", read, f"{T}/lower/rw/read")
attempt("lower-after-overlay", lambda: (read(f"{M}/rw/read"), read(f"{M}/rw/read"), read(f"{M}/rw/read"), read(f"{T}/lower/rw/read")))
attempt("upper", read, f"{T}/layers/upper/rw/written")
attempt("create-in-upper", write, f"{T}/layers/upper/drop/new", os.O_CREAT)
attempt("chmod-in-upper", os.chmod, f"{T}/layers/upper/rw/written", 0o777)
attempt("unlink-in-upper", os.unlink, f"{T}/layers/upper/rw/written")
dump_core()
