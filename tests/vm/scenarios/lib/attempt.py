"""Tries things and says what came of each: one line `= NAME RESULT` on standard output.

RESULT is `ok`, the name of an errno, or a word of the act's own. Only the standard library, and
nothing that starts slowly: the machines are emulated.
"""

import errno
import os
import sys

AGENT_UID = int(os.environ.get("AGENT_UID", os.getuid()))
INSIDE = os.environ.get("PLACE") == "inside"
T = os.environ["T"]
AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
_libc = None

# x86-64 system calls that Python has no function for.
NUMBERS = dict(
    ptrace=101, pivot_root=155, mount=165, umount2=166, unshare=272, sendmmsg=307, setns=308,
    process_vm_readv=310, process_vm_writev=311, renameat2=316, memfd_create=319, execveat=322,
    name_to_handle_at=303, open_by_handle_at=304, clone3=435, openat2=437, pidfd_open=434,
    pidfd_send_signal=424, io_uring_setup=425, open_tree=428, move_mount=429, fsopen=430,
    fsconfig=431, fsmount=432, pidfd_getfd=438, mount_setattr=442, linkat=265, openat=257, unlinkat=263,
    mmap=9, mprotect=10, ioprio_set=251, bpf=321, prlimit64=302, perf_event_open=298, add_key=248, request_key=249, keyctl=250, shmget=29, shmat=30, shmctl=31, semget=64, semop=65, semctl=66, shmdt=67,
    msgget=68, msgsnd=69, msgrcv=70, msgctl=71, init_module=175, kexec_load=246, setxattr=188, mknodat=259, file_getattr=468, file_setattr=469,
)


def say(name, result):
    """Reports the result of a try."""
    sys.stdout.write(f"= {name} {result}\n")
    sys.stdout.flush()


def word(error):
    """An OSError as the name of its errno."""
    return errno.errorcode.get(error.errno, str(error.errno))


def attempt(name, call, *args):
    """Tries `call` and reports `ok` or its errno; what it returned, or None."""
    try:
        value = call(*args)
    except OSError as error:
        say(name, word(error))
        return None
    say(name, "ok")
    return value


def in_child(call):
    """`call` in a child of its own, for what would change this process; raises what it raised."""
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            call()
        except OSError as error:
            code = error.errno
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != 0:
        raise OSError(code if code > 0 else errno.ECANCELED, os.strerror(code) if code > 0 else f"signal {-code}")


def libc():
    """The C library, loaded when it is first needed."""
    global _libc
    if _libc is None:
        import ctypes
        _libc = ctypes.CDLL(None, use_errno=True)
        _libc.syscall.restype = ctypes.c_long
    return _libc


def syscall(name, *args):
    """A raw system call; bytes are passed by address. Raises OSError."""
    import ctypes
    values = [ctypes.c_char_p(a) if isinstance(a, bytes) else ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    ctypes.set_errno(0)
    result = libc().syscall(ctypes.c_long(NUMBERS[name] if isinstance(name, str) else name), *values)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def read(path, flags=os.O_RDONLY, dir_fd=None):
    """Opens and reads."""
    fd = os.open(path, flags, dir_fd=dir_fd)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def step(name):
    """Has the runner do something outside and waits until it is done."""
    sys.stdout.write(f"@step {name}\n")
    sys.stdout.flush()
    if sys.stdin.readline().strip() != "go":
        sys.exit(f"step {name} failed")


def output(words, **more):
    """Runs a program; what it printed, or raises what starting it raised."""
    import subprocess
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **more).stdout.decode(errors="replace")


def ran(name, path):
    """Runs a program and reports what it printed, or the errno of starting it."""
    try:
        say(name, output([path]).strip())
    except OSError as error:
        say(name, word(error))
