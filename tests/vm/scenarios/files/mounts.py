import os
from attempt import AGENT_UID, AT_FDCWD, T, attempt, in_child, read, syscall

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_PRIVATE, MS_REC = 1, 32, 4096, 1 << 18, 16384
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
OPEN_TREE_CLONE, MOVE_MOUNT_F_EMPTY_PATH, MNT_DETACH = 1, 4, 2
vault, target = f"{T}/vault".encode(), f"{T}/work/mnt".encode()


def mount(source, kind, flags, data=b"", expect="key"):
    """Mounts, reads a denied file through the mount, takes it down again."""
    syscall("mount", source, target, kind, flags, data)
    try:
        if expect:
            read(f"{T}/work/mnt/{expect}")
    finally:
        syscall("umount2", target, MNT_DETACH)


def open_tree():
    tree = syscall("open_tree", AT_FDCWD, vault, OPEN_TREE_CLONE)
    syscall("move_mount", tree, b"", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH)
    try:
        read(f"{T}/work/mnt/key")
    finally:
        syscall("umount2", target, MNT_DETACH)


def namespace(flags):
    def call():
        syscall("unshare", flags)
        syscall("mount", b"none", b"/", b"", MS_PRIVATE | MS_REC, b"")
        syscall("mount", vault, target, b"", MS_BIND, b"")
        read(f"{T}/work/mnt/key")
    in_child(call)


def namespace_tmpfs():
    def call():
        syscall("unshare", CLONE_NEWUSER | CLONE_NEWNS)
        syscall("mount", b"none", b"/", b"", MS_PRIVATE | MS_REC, b"")
        syscall("mount", b"none", target, b"tmpfs", 0, b"")
    in_child(call)


def chroot():
    def call():
        os.chroot(f"{T}/vault")
        read("/key")
    in_child(call)


def pivot():
    def call():
        syscall("unshare", CLONE_NEWNS)
        syscall("mount", b"none", b"/", b"", MS_PRIVATE | MS_REC, b"")
        syscall("mount", vault, target, b"", MS_BIND, b"")
        os.chdir(f"{T}/work/mnt")
        syscall("pivot_root", b".", b".")
        read("/key")
    in_child(call)


if AGENT_UID == 0:
    attempt("bind", mount, vault, b"", MS_BIND)
    attempt("tmpfs", mount, b"none", b"tmpfs", 0, b"", None)
    attempt("overlay", mount, b"none", b"overlay", 0, f"lowerdir={T}/vault,upperdir={T}/work/up,workdir={T}/work/wk".encode())
    attempt("remount", lambda: syscall("mount", b"none", b"/proc", b"", MS_REMOUNT | MS_BIND, b""))
    attempt("open-tree-move-mount", open_tree)
    attempt("new-mount-namespace", namespace, CLONE_NEWNS)
attempt("user-namespace-bind", namespace, CLONE_NEWUSER | CLONE_NEWNS)
attempt("user-namespace-tmpfs", namespace_tmpfs)
if AGENT_UID == 0:
    attempt("chroot", chroot)
    attempt("pivot-root", pivot)
attempt("allowed-file", read, f"{T}/prog/attempt.py")
