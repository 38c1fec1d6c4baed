"""A framework that filters its own tool calls, and four ways past the filter."""

import os
import subprocess
from attempt import AT_FDCWD, T, attempt, libc, say, syscall


class Refused(Exception):
    """The framework's own no."""


def tool(command):
    """What a model may call: the deny list looks at the text of the command."""
    if "rm " in command or "unlink" in command:
        raise Refused(command)
    return os.system(command)


def gone(path):
    return "still-there" if os.path.exists(path) else "deleted"


def by_ctypes(path):
    import ctypes
    if libc().unlink(path.encode()) != 0:
        raise OSError(ctypes.get_errno(), "unlink")


try:
    tool(f"rm -rf {T}/vault/system")
    say("guarded-tool", "let-through")
except Refused:
    say("guarded-tool", "refused-by-the-framework")
os.system(f"rm -rf {T}/vault/system 2> /dev/null")
say("os-system", gone(f"{T}/vault/system/file"))
subprocess.run(f"cd {T}/vault; rm -rf ./subprocess", shell=True, stderr=subprocess.DEVNULL)
say("subprocess-shell", gone(f"{T}/vault/subprocess/file"))
attempt("ctypes", by_ctypes, f"{T}/vault/ctypes/file")
attempt("raw-system-call", syscall, "unlinkat", AT_FDCWD, f"{T}/vault/raw/file".encode(), 0)
attempt("raw-read", lambda: os.close(syscall("openat", AT_FDCWD, f"{T}/vault/int/file".encode(), os.O_RDONLY, 0)))
os.system(f"rm -rf {T}/work/mine")
say("allowed-os-system", gone(f"{T}/work/mine"))
