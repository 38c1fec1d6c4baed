import os
import struct
from attempt import AGENT_UID, INSIDE, T, attempt, in_child, read, step, syscall

CLONE_INTO_CGROUP, CLONE_NEWCGROUP = 0x200000000, 0x02000000
OTHER = "/sys/fs/cgroup/aegis-vm-escape"


def own():
    with open("/proc/self/cgroup") as file:
        return "/sys/fs/cgroup" + [l for l in file if l.startswith("0::")][0][3:].strip()


def note_escape():
    if own().startswith(OTHER):
        with open(f"{T}/work/escaped", "a") as file:
            file.write("escaped\n")


def join(name):
    def call():
        with open(f"{OTHER}/{name}", "w") as file:
            file.write("0")
        note_escape()
    in_child(call)


def clone_into():
    # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup
    fd = os.open(OTHER, os.O_PATH)
    arguments = struct.pack("11Q", CLONE_INTO_CGROUP, 0, 0, 0, 17, 0, 0, 0, 0, 0, fd)
    pid = syscall("clone3", arguments, len(arguments))
    if pid == 0:
        note_escape()
        os._exit(0)
    os.waitpid(pid, 0)


def make():
    os.mkdir(f"{OTHER}/made")
    os.rmdir(f"{OTHER}/made")


def in_child_cgroup():
    step("child-cgroup")
    read(f"{T}/vault/key")


attempt("cgroup-procs", join, "cgroup.procs")
attempt("cgroup-threads", join, "cgroup.procs" if not INSIDE else "cgroup.threads")
attempt("clone-into-cgroup", clone_into)
attempt("make-a-cgroup", make)
if not AGENT_UID:
    attempt("cgroup-namespace", in_child, lambda: syscall("unshare", CLONE_NEWCGROUP))
attempt("still-governed", read, f"{T}/vault/key")
# Outside, the control's own cgroup is the test's: it moves into one made for it.
if not INSIDE:
    with open("/sys/fs/cgroup/aegis-vm-child/cgroup.procs", "w") as file:
        file.write("0")
with open(f"{T}/work/pid", "w") as file:
    file.write(str(os.getpid()))
step("cgroup-that-goes")
attempt("governed-in-a-child-cgroup", in_child_cgroup)
attempt("allowed-own-cgroup-read", own)
