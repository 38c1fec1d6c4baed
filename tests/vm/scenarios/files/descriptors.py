import ctypes
import os
import struct
from attempt import AGENT_UID, AT_FDCWD, T, attempt, read, syscall

RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT = 4, 8, 16
AT_SYMLINK_FOLLOW = 0x400


def by_handle():
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    mount_id = ctypes.c_int()
    syscall("name_to_handle_at", AT_FDCWD, f"{T}/vault/key".encode(), handle, ctypes.byref(mount_id), 0)
    root = os.open(f"{T}/in", os.O_RDONLY)
    os.close(syscall("open_by_handle_at", root, handle, os.O_RDONLY))


def openat2(directory, path, resolve):
    at = os.open(directory, os.O_PATH)
    how = struct.pack("QQQ", os.O_RDONLY, 0, resolve)
    os.close(syscall("openat2", at, path, how, len(how)))


def reopen(flags):
    fd = os.open(f"{T}/vault/key", os.O_PATH)
    os.close(os.open(f"/proc/self/fd/{fd}", flags))


def tmpfile(directory, target=None):
    fd = os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, b"planted")
    if target:
        syscall("linkat", AT_FDCWD, f"/proc/self/fd/{fd}".encode(), AT_FDCWD, target.encode(), AT_SYMLINK_FOLLOW)


if AGENT_UID == 0:
    attempt("open-by-handle", by_handle)
attempt("openat2", openat2, "/", f"{T}/vault/key".encode(), RESOLVE_NO_SYMLINKS)
attempt("openat2-in-root", openat2, f"{T}/vault", b"/key", RESOLVE_IN_ROOT)
attempt("openat2-beneath", openat2, T, b"vault/key", RESOLVE_BENEATH)
attempt("o-path-reopen", reopen, os.O_RDONLY)
attempt("o-path-reopen-to-write", reopen, os.O_WRONLY)
attempt("tmpfile-in-denied-folder", tmpfile, f"{T}/vault")
attempt("tmpfile-linked-into-denied-folder", tmpfile, f"{T}/work", f"{T}/vault/planted")
attempt("allowed-tmpfile-and-link", tmpfile, f"{T}/work", f"{T}/work/made")
attempt("allowed-openat2", openat2, f"{T}/in", b"note", RESOLVE_BENEATH)
