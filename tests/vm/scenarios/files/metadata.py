import fcntl
import mmap
import os
import struct
from attempt import AT_FDCWD, T, attempt, syscall

denied, mine, readable = f"{T}/vault/file", f"{T}/work/mine", f"{T}/in/readable"
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_NODUMP_FL = 0x80086601, 0x40086602, 0x40


# Version 2: user rw, user 4321 rwx, group r, mask rwx, others r; each entry is tag, permissions and id.
NOBODY = 0xffffffff
ACL = struct.pack("I", 2) + b"".join(struct.pack("HHI", *entry) for entry in [(1, 6, NOBODY), (2, 7, 4321), (4, 4, NOBODY), (16, 7, NOBODY), (32, 4, NOBODY)])


def set_flags_by_path():
    FILE_ATTR_NODUMP, size = 0x80, 24
    syscall("file_setattr", AT_FDCWD, denied.encode(), struct.pack("QIIII", FILE_ATTR_NODUMP, 0, 0, 0, 0), size, 0)


def write_by_mapping():
    fd = os.open(denied, os.O_RDWR)
    os.ftruncate(fd, 64)
    mmap.mmap(fd, 64)[0:4] = b"evil"


def with_descriptor(path, flags, call):
    fd = os.open(path, flags)
    try:
        call(fd)
    finally:
        os.close(fd)


def get_flags(fd):
    return struct.unpack("l", fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(8)))[0]


def set_flags(fd):
    fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("l", get_flags(fd) | FS_NODUMP_FL))


def copy():
    source = os.open(mine, os.O_RDONLY)
    with_descriptor(denied, os.O_WRONLY, lambda fd: os.copy_file_range(source, fd, 4))


def from_page_cache():
    source = os.open(mine, os.O_RDONLY)
    with_descriptor(denied, os.O_WRONLY, lambda fd: os.sendfile(fd, source, 0, 4))


def from_pipe():
    reader, writer = os.pipe()
    os.write(writer, b"evil")
    with_descriptor(denied, os.O_WRONLY, lambda fd: os.splice(reader, fd, 4))


attempt("truncate", os.truncate, denied, 0)
attempt("open-truncate", with_descriptor, denied, os.O_WRONLY | os.O_TRUNC, lambda fd: None)
attempt("chmod", os.chmod, denied, 0o777)
attempt("chown", os.chown, denied, os.getuid(), os.getgid())
attempt("utimes", os.utime, denied, (1, 1))
attempt("setxattr", os.setxattr, denied, "user.mark", b"new")
attempt("removexattr", os.removexattr, denied, "user.mark")
attempt("acl", os.setxattr, denied, "system.posix_acl_access", ACL)
attempt("acl-removed", os.removexattr, denied, "system.posix_acl_access")
attempt("flags-by-path", set_flags_by_path)
attempt("mapped-for-writing", write_by_mapping)
attempt("flags-through-a-reader", with_descriptor, readable, os.O_RDONLY, set_flags)
attempt("allowed-flags-asked", with_descriptor, readable, os.O_RDONLY, get_flags)
attempt("allowed-flags", with_descriptor, mine, os.O_RDONLY, set_flags)
attempt("fallocate", with_descriptor, denied, os.O_WRONLY, lambda fd: os.posix_fallocate(fd, 0, 128))
attempt("copy-file-range", copy)
attempt("sendfile", from_page_cache)
attempt("splice", from_pipe)
attempt("allowed-truncate", os.truncate, mine, 2)
attempt("allowed-chmod", os.chmod, mine, 0o600)
attempt("allowed-utimes", os.utime, mine, (1, 1))
attempt("allowed-setxattr", os.setxattr, mine, "user.mark", b"new")
attempt("allowed-acl", os.setxattr, mine, "system.posix_acl_access", ACL)
