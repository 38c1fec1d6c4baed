//! What a governed task may never do: leave its cgroup, get around the hooks, type into a terminal,
//! or use a capability that would undo enforcement. All fail closed.

use aegis_common::event::{op, reason};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    conclude::Refusal,
    guarded::{self, Guarded},
    read::{
        kernel::{self, qstr_head},
        overlay, table,
    },
    subject::Subject,
};

#[inline(always)]
fn refuse(operation: u8, subject_of: u64, detail: u64) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    guarded::refuse(&subject, &Guarded {
        op: operation,
        reason: reason::GUARD,
        subject: subject_of,
        detail,
        refusal: Refusal::Permission,
        silent: false,
    })
}

/// `int task_alloc(struct task_struct *task, u64 clone_flags)`: a child born into another cgroup. The
/// other way out, writing to the cgroup filesystem, is closed where files are judged.
#[lsm(hook = "task_alloc")]
pub fn task_alloc(context: LsmContext) -> i32 {
    const CLONE_INTO_CGROUP: u64 = 1 << 33;
    let flags: u64 = context.arg(1);
    if flags & CLONE_INTO_CGROUP == 0 {
        return 0;
    }
    refuse(op::CGROUP_WRITE, 0, flags)
}

/// `int inode_init_security_anon(struct inode *inode, const struct qstr *name, const struct inode *ctx)`:
/// requests of an io_uring can't be held or restarted, and run past seccomp.
#[lsm(hook = "inode_init_security_anon")]
pub fn inode_init_security_anon(context: LsmContext) -> i32 {
    const IO_URING: u64 = u64::from_le_bytes(*b"[io_urin");
    match qstr_head(context.arg(1)) {
        Some(name) if name != IO_URING => 0,
        // An unreadable name is refused like an io_uring.
        _ => refuse(op::IO_URING, 0, 0),
    }
}

/// `int file_fcntl(struct file *file, unsigned int cmd, unsigned long arg)`: the other way to make
/// somebody else the owner of a descriptor. Owning it oneself is fine.
#[lsm(hook = "file_fcntl")]
pub fn file_fcntl(context: LsmContext) -> i32 {
    const F_SETOWN: u32 = 8;
    const F_SETOWN_EX: u32 = 15;
    let command: u32 = context.arg(1);
    if command != F_SETOWN && command != F_SETOWN_EX {
        return 0;
    }
    let owner: u64 = context.arg(2);
    if command == F_SETOWN && owner as u32 == (table::current_ids() >> 32) as u32 {
        return 0;
    }
    refuse(op::SIGNAL, owner, u64::from(command))
}

/// `int capable(const struct cred *cred, struct user_namespace *ns, int cap, unsigned int opts)`:
/// capabilities that undo enforcement, in whatever user namespace, and those that the policy takes away.
/// Denying CAP_SYS_ADMIN stops every mount call, setns, unshare and pivot_root at once.
#[lsm(hook = "capable")]
pub fn capable(context: LsmContext) -> i32 {
    const CAP_OPT_NOAUDIT: u32 = 2;
    /// NET_ADMIN, SYS_MODULE, SYS_RAWIO, SYS_ADMIN, SYS_BOOT, SYS_TIME, AUDIT_CONTROL, MAC_OVERRIDE,
    /// MAC_ADMIN, SYSLOG, PERFMON, BPF, CHECKPOINT_RESTORE.
    const DENIED: u64 = 1 << 12
        | 1 << 16
        | 1 << 17
        | 1 << 21
        | 1 << 22
        | 1 << 25
        | 1 << 30
        | 1 << 32
        | 1 << 33
        | 1 << 34
        | 1 << 38
        | 1 << 39
        | 1 << 40;
    let capability: u32 = context.arg(2);
    let Some(subject) = Subject::current() else { return 0 };
    let bit = 1 << (capability & 63);
    let guarded = |reason| Guarded {
        op: op::CAPABILITY,
        reason,
        subject: u64::from(capability),
        detail: 0,
        refusal: Refusal::Permission,
        silent: context.arg::<u32>(3) & CAP_OPT_NOAUDIT != 0,
    };
    if overlay::acts() {
        // With its mounter's credentials, on its layers: no capability of the task is asked for.
        return 0;
    }
    if DENIED & bit != 0 {
        guarded::refuse(&subject, &guarded(reason::GUARD))
    } else if subject.dropped_capabilities & bit != 0 {
        guarded::refuse_by(&subject, &guarded(reason::RULE), subject.capability_rule)
    } else {
        0
    }
}

/// `int perf_event_open(int type)`, on older kernels `(struct perf_event_attr *attr, int type)`: asked once for every
/// event, and again for what shows other processes or the kernel, where the host lets everybody see those.
#[lsm(hook = "perf_event_open")]
pub fn perf_event_open(context: LsmContext) -> i32 {
    const PERF_SECURITY_OPEN: u32 = 0;
    match kernel::perf_type(&context) {
        Some(PERF_SECURITY_OPEN) => 0,
        what => refuse(op::PERF, what.unwrap_or(0).into(), 0),
    }
}

/// `int bpf(int cmd, union bpf_attr *attr, unsigned int size, ...)`: governed tasks have no use for it.
#[lsm(hook = "bpf")]
pub fn bpf(context: LsmContext) -> i32 {
    refuse(op::BPF, context.arg::<u32>(0).into(), 0)
}
