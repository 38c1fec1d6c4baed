import os
from attempt import T, attempt, ran, read

TOP = f"{T}/top"


def write(path, flags=os.O_TRUNC):
    fd = os.open(path, os.O_WRONLY | flags, 0o666)
    try:
        os.write(fd, b"changed")
    finally:
        os.close(fd)


attempt("read", read, f"{TOP}/rw/read")
attempt("list", os.listdir, f"{TOP}/rw/folder")
attempt("write", write, f"{TOP}/rw/written")
attempt("create", write, f"{TOP}/rw/new", os.O_CREAT | os.O_EXCL)
attempt("mkdir", os.mkdir, f"{TOP}/rw/made")
attempt("rename", os.rename, f"{TOP}/rw/renamed", f"{TOP}/rw/renamed-to")
attempt("unlink", os.unlink, f"{TOP}/rw/unlinked")
attempt("chmod", os.chmod, f"{TOP}/rw/mode", 0o600)
ran("run", f"{TOP}/pub/allowed")
attempt("denied-by-the-top", read, f"{TOP}/rw/top/key")
attempt("denied-by-the-middle", read, f"{TOP}/rw/middle")
attempt("denied-by-the-lowest", read, f"{TOP}/rw/lower")
attempt("write-denied-by-the-middle", write, f"{TOP}/rw/middle", os.O_APPEND)
attempt("replaced-where-the-middle-denies", write, f"{TOP}/rw/replaced")
attempt("the-middle-itself", read, f"{T}/middle/rw/read")
ran("banned-by-content", f"{TOP}/pub/banned-copy")
ran("banned-by-the-lowest-name", f"{TOP}/pub/by-layer")
