import fcntl
import os
import struct
from attempt import AGENT_UID, T, attempt, read

M = f"{T}/m"
FICLONE, SNAP_CREATE, SNAP_CREATE_V2, SEND, TREE_SEARCH = 0x40049409, 0x50009401, 0x50009417, 0x40489426, 0xD0009411


def append(path):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(fd, b"more\n")
    finally:
        os.close(fd)


def clone():
    with open(f"{M}/sub/big") as source, open(f"{M}/rw/big", "w") as target:
        fcntl.ioctl(target, FICLONE, source.fileno())


def on_folder(path, command, argument):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(fd, command, bytearray(argument))
    finally:
        os.close(fd)


def snapshot(command, name):
    """struct btrfs_ioctl_vol_args: fd, name; _v2: fd, transid, flags, four words, name."""
    source = os.open(f"{M}/sub", os.O_RDONLY | os.O_DIRECTORY)
    try:
        head = struct.pack("q", source)
        if command == SNAP_CREATE_V2:
            head += bytes(48)
        on_folder(f"{M}/rw", command, (head + name).ljust(4096, b"\0"))
        read(f"{M}/rw/{name.decode()}/secret/key")
    finally:
        os.close(source)


def stream():
    """Of a subvolume that may be read: what is in it goes into a pipe."""
    _, write_end = os.pipe()
    # struct btrfs_ioctl_send_args: send_fd, clone_sources_count, clone_sources, parent_root, flags, version, reserved.
    argument = struct.pack("qQQQQI28x", write_end, 0, 0, 0, 0, 0)
    on_folder(f"{M}/old", SEND, argument)


def search():
    # struct btrfs_ioctl_search_key: tree, objectids, offsets, transids, types, items wanted.
    key = struct.pack("QQQQQQQIII36x", 0, 0, 2**64 - 1, 0, 2**64 - 1, 0, 2**64 - 1, 0, 255, 16)
    on_folder(f"{M}/sub", TREE_SEARCH, key.ljust(4096, b"\0"))


attempt("allowed-read", read, f"{M}/sub/note")
attempt("allowed-write", append, f"{M}/rw/new")
attempt("allowed-rename", os.rename, f"{M}/rw/new", f"{M}/rw/newer")
attempt("allowed-clone", clone)
attempt("denied", read, f"{M}/sub/secret/key")
attempt("by-another-mount", read, f"{T}/m2/secret/key")
attempt("by-another-name", read, f"{M}/sub/linked-before")
attempt("in-a-snapshot-from-before", read, f"{M}/taken-before/secret/key")
attempt("write-where-only-read", append, f"{M}/sub/note")
attempt("snapshot", snapshot, SNAP_CREATE_V2, b"taken")
attempt("snapshot-the-old-way", snapshot, SNAP_CREATE, b"taken-too")
if not AGENT_UID:
    attempt("stream", stream)
    attempt("search", search)
