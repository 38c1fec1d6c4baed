import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
import time
from attempt import AGENT_UID, INSIDE, T, attempt, syscall

PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17
TGKILL = 234
FIOSETOWN = 0x8901
IOPRIO_WHO_PROCESS, BEST_EFFORT_7 = 1, 2 << 13 | 7


def seize(pid):
    syscall("ptrace", PTRACE_SEIZE, pid, 0, 0)
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, 0)
    syscall("ptrace", PTRACE_DETACH, pid, 0, 0)
    os.kill(pid, signal.SIGCONT)


def touch_memory(call, pid):
    """Reads bytes of its stack, and writes the same ones back."""
    with open(f"/proc/{pid}/stat") as file:
        # 0 or 1 for whoever may not look; then any address shows that.
        stack = int(file.read().rsplit(")", 1)[1].split()[25]) // 4096 * 4096 or 4096
    buffer = ctypes.create_string_buffer(8)
    local = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)
    remote = (ctypes.c_size_t * 2)(stack, 8)
    # Outside, what is written must be what was there; inside, not even the first call gets through.
    for one in (call,) if INSIDE else ("process_vm_readv", call):
        syscall(one, pid, local, 1, remote, 1, 0)


def open_one(path, flags):
    fd = os.open(path, flags)
    if flags == os.O_RDONLY:
        os.read(fd, 16)
    os.close(fd)


def get_descriptor(pid):
    os.close(syscall("pidfd_getfd", syscall("pidfd_open", pid, 0), 0, 0))


def signal_pidfd(pid):
    syscall("pidfd_send_signal", syscall("pidfd_open", pid, 0), 0, 0, 0)


def stop_and_go(pid):
    os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGCONT)


def own_by_fcntl(pid):
    with socket.socket(socket.AF_UNIX) as s:
        fcntl.fcntl(s, fcntl.F_SETOWN, pid)


def own_by_ioctl(pid):
    with socket.socket(socket.AF_UNIX) as s:
        fcntl.ioctl(s, FIOSETOWN, struct.pack("=i", pid))


def measure(pid, processor, of_the_kernel=False):
    """Counts the time of a process or processor. struct perf_event_attr, as long as it was first."""
    software, clock, exclude_kernel, exclude_hypervisor = 1, 1 if processor < 0 else 0, 1 << 5, 1 << 6
    flags = exclude_hypervisor if of_the_kernel else exclude_hypervisor | exclude_kernel
    attributes = struct.pack("IIQQQQQIIQ", software, 64, clock, 0, 0, 0, flags, 0, 0, 0)
    os.close(syscall("perf_event_open", attributes, pid, processor, -1, 0))


def own_child(call):
    pid = os.fork()
    if pid == 0:
        time.sleep(20)
        os._exit(0)
    try:
        call(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


with open(f"{T}/in/pid") as file:
    pid = int(file.read())
attempt("ptrace-seize", seize, pid)
attempt("process-vm-readv", touch_memory, "process_vm_readv", pid)
attempt("process-vm-writev", touch_memory, "process_vm_writev", pid)
attempt("proc-mem", open_one, f"/proc/{pid}/mem", os.O_RDWR)
attempt("proc-environ", open_one, f"/proc/{pid}/environ", os.O_RDONLY)
attempt("pidfd-getfd", get_descriptor, pid)
attempt("prlimit", resource.prlimit, pid, resource.RLIMIT_NOFILE, (100, 100))
attempt("nice", os.setpriority, os.PRIO_PROCESS, pid, 5)
attempt("io-priority", syscall, "ioprio_set", IOPRIO_WHO_PROCESS, pid, BEST_EFFORT_7)
attempt("scheduler", os.sched_setscheduler, pid, os.SCHED_BATCH, os.sched_param(0))
attempt("affinity", os.sched_setaffinity, pid, [0])
attempt("descriptor-owner-by-fcntl", own_by_fcntl, pid)
attempt("descriptor-owner-by-ioctl", own_by_ioctl, pid)
attempt("signal-0", os.kill, pid, 0)
attempt("signal-stop", stop_and_go, pid)
attempt("tgkill", syscall, TGKILL, pid, pid, 0)
attempt("pidfd-send-signal", signal_pidfd, pid)
attempt("measured", measure, pid, -1)
attempt("processor-measured", measure, -1, 0)
attempt("kernel-measured", measure, 0, -1, True)
if AGENT_UID == 0:
    # Harmless when it succeeds, as it does outside: the daemon serves the next scenario, too.
    daemon = int(os.environ["AEGISD_PID"])
    attempt("daemon-ptrace-seize", seize, daemon)
    attempt("daemon-process-vm-writev", touch_memory, "process_vm_writev", daemon)
    attempt("daemon-proc-mem", open_one, f"/proc/{daemon}/mem", os.O_RDWR)
    attempt("daemon-signal", os.kill, daemon, 0)
attempt("allowed-own-descriptor", own_by_fcntl, os.getpid())
attempt("allowed-own-time-measured", measure, 0, -1)
attempt("allowed-own-child-signalled", own_child, stop_and_go)
attempt("allowed-own-child-traced", own_child, seize)
