"""What Aegis has in the kernel, read and changed as only root outside an agent can: bpf(2) and nothing else.

`bpf.py count NAME N` says how many entries a pinned table has, once they are N or two seconds have gone by;
`bpf.py proof PID` writes that an exec of this thread has been found hashed already;
`bpf.py known FILE` gives a file another dentry while its inode stays, and says whether something is remembered of it;
`bpf.py take-out NAME` detaches a program and keeps it aside, `bpf.py put-back NAME` attaches it again.
"""

import ctypes
import os
import struct
import sys
import time
from attempt import syscall

MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_GET_NEXT_KEY, OBJ_PIN, OBJ_GET, MAP_GET_NEXT_ID, PROG_GET_FD_BY_ID = 1, 2, 4, 6, 7, 12, 13
MAP_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD, RAW_TRACEPOINT_OPEN, LINK_CREATE, LINK_GET_FD_BY_ID = 14, 15, 17, 28, 30
# Programs of the cgroup of agents, by the way that their packets go.
OF_CGROUPS = {"packet_ingress": 0, "packet_egress": 1, "connection_egress": 1}
MAPS, LINKS, ASIDE = "/sys/fs/bpf/aegis/maps/", "/sys/fs/bpf/aegis/links/", "/sys/fs/bpf/aegis-vm-"


def bpf(command, layout, *values):
    """One call; the attribute afterwards."""
    attribute = ctypes.create_string_buffer(struct.pack(layout, *values), 128)
    result = syscall("bpf", command, attribute, 128)
    return result, attribute.raw


def address(buffer):
    return ctypes.addressof(buffer)


def opened(path):
    """What is pinned there."""
    path = ctypes.create_string_buffer(path.encode())
    return bpf(OBJ_GET, "=QII", address(path), 0, 0)[0]


def pin(fd, path):
    path = ctypes.create_string_buffer(path.encode())
    bpf(OBJ_PIN, "=QII", address(path), fd, 0)


def info(fd, size):
    """What the kernel says of a table or a link."""
    found = ctypes.create_string_buffer(size)
    bpf(OBJ_GET_INFO_BY_FD, "=IIQ", fd, size, address(found))
    return found.raw


def keys(fd, size=8):
    key, following, count = None, ctypes.create_string_buffer(size), 0
    while True:
        try:
            bpf(MAP_GET_NEXT_KEY, "=IIQQ", fd, 0, address(key) if key else 0, address(following))
        except FileNotFoundError:
            return count
        key = ctypes.create_string_buffer(following.raw, size)
        count += 1


def by_name(name):
    """Every table of that name: an engine that has just ended may have one, too."""
    last = 0
    while True:
        try:
            last = struct.unpack("=II", bpf(MAP_GET_NEXT_ID, "=II", last, 0)[1][:8])[1]
            fd = bpf(MAP_GET_FD_BY_ID, "=III", last, 0, 0)[0]
        except FileNotFoundError:
            return
        # struct bpf_map_info: six 32-bit numbers, then the name.
        if info(fd, 96)[24:40].rstrip(b"\0") == name:
            yield fd
        os.close(fd)


def count(name, wanted):
    # Tables are tidied after a grace period.
    end = time.monotonic() + 2
    fd = opened(MAPS + name)
    while keys(fd) != int(wanted) and time.monotonic() < end:
        time.sleep(0.1)
    print(keys(fd))


def proof(pid):
    key = ctypes.create_string_buffer(struct.pack("=Q", int(pid) << 32 | int(pid)))
    value = ctypes.create_string_buffer(struct.pack("=II", 0, 9))
    for fd in by_name(b"EXECS"):
        bpf(MAP_UPDATE_ELEM, "=IIQQQ", fd, 0, address(key), address(value), 0)


def known(path):
    from attempt import libc
    # A watch holds the inode, not the dentry.
    IN_DELETE_SELF = 0x400
    libc().inotify_add_watch(libc().inotify_init(), path.encode(), IN_DELETE_SELF)
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("2")
    key = ctypes.create_string_buffer(struct.pack("=i", os.open(path, os.O_RDONLY)))
    found = "nothing"
    for fd in by_name(b"KNOWN_FILES"):
        value = ctypes.create_string_buffer(4096)
        try:
            bpf(MAP_LOOKUP_ELEM, "=IIQQQ", fd, 0, address(key), address(value), 0)
            found = "something"
        except FileNotFoundError:
            pass
    print(found)


def take_out(name):
    link = opened(LINKS + name)
    # struct bpf_link_info: type, own id, program's id.
    _, link_id, program_id = struct.unpack("=III", info(link, 12))
    pin(bpf(PROG_GET_FD_BY_ID, "=III", program_id, 0, 0)[0], ASIDE + name)
    os.close(link)
    os.unlink(LINKS + name)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            os.close(bpf(LINK_GET_FD_BY_ID, "=III", link_id, 0, 0)[0])
        except FileNotFoundError:
            # Its id goes just before the detaching itself.
            time.sleep(0.2)
            return
        time.sleep(0.02)
    sys.exit(f"{name} is still attached: something beside its pin holds the link")


def put_back(name):
    program = opened(ASIDE + name)
    if name in OF_CGROUPS:
        link = bpf(LINK_CREATE, "=IIII", program, os.open("/sys/fs/cgroup/aegis", os.O_RDONLY), OF_CGROUPS[name], 0)[0]
    else:
        # Without a name of its own, the program knows where it belongs: LSM hook, tracepoint or function.
        link = bpf(RAW_TRACEPOINT_OPEN, "=QII", 0, program, 0)[0]
    pin(link, LINKS + name)
    os.unlink(ASIDE + name)


if __name__ == "__main__":
    commands = {"count": count, "proof": proof, "known": known, "take-out": take_out, "put-back": put_back}
    commands[sys.argv[1]](*sys.argv[2:])
