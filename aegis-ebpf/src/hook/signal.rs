//! Other processes: tracing, signalling and slowing them across the border of an agent. All fail
//! closed: a target whose agent can't be read is outside.

use aegis_common::{
    event::{op, reason},
    policy::image_flag,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    conclude::Refusal,
    guarded::{self, Guarded},
    read::{kernel::Task, table},
    subject::Subject,
};

#[inline(always)]
fn decide(target: Task, operation: u8, detail: u64, banned: u32, silent: bool) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    let own = target
        .cgroup_id()
        .and_then(table::slot_of)
        .is_some_and(|slot| slot == subject.slot);
    let own_ban = own && subject.has(banned);
    if own && !own_ban && subject.blocked == 0 {
        return 0;
    }
    guarded::refuse(&subject, &Guarded {
        op: operation,
        reason: if own_ban { reason::GUARD } else { reason::OUTSIDE },
        subject: u64::from(target.tgid()),
        detail,
        refusal: Refusal::Permission,
        silent,
    })
}

/// `int ptrace_access_check(struct task_struct *child, unsigned int mode)`: ptrace, process_vm_readv
/// and writev, pidfd_getfd, and the files of /proc/PID that show a process's inside.
#[lsm(hook = "ptrace_access_check")]
pub fn ptrace_access_check(context: LsmContext) -> i32 {
    const PTRACE_MODE_ATTACH: u32 = 2;
    const PTRACE_MODE_NOAUDIT: u32 = 4;
    let mode: u32 = context.arg(1);
    let banned = if mode & PTRACE_MODE_ATTACH != 0 { image_flag::NO_PTRACE } else { 0 };
    let silent = mode & PTRACE_MODE_NOAUDIT != 0;
    decide(Task::new(context.arg(0)), op::PTRACE, u64::from(mode), banned, silent)
}

/// `int task_kill(struct task_struct *p, struct kernel_siginfo *info, int sig, const struct cred *cred)`:
/// signals sent by the kernel itself do not come through here.
#[lsm(hook = "task_kill")]
pub fn task_kill(context: LsmContext) -> i32 {
    let signal: u32 = context.arg(2);
    decide(Task::new(context.arg(0)), op::SIGNAL, u64::from(signal), 0, false)
}

/// Judges changing how a process is run.
#[inline(always)]
fn control(context: &LsmContext) -> i32 {
    decide(Task::new(context.arg(0)), op::TASK_CONTROL, 0, 0, false)
}

/// `int task_setrlimit(struct task_struct *p, unsigned int resource, struct rlimit *new_rlim)`
#[lsm(hook = "task_setrlimit")]
pub fn task_setrlimit(context: LsmContext) -> i32 {
    control(&context)
}

/// `int task_setnice(struct task_struct *p, int nice)`
#[lsm(hook = "task_setnice")]
pub fn task_setnice(context: LsmContext) -> i32 {
    control(&context)
}

/// `int task_setioprio(struct task_struct *p, int ioprio)`
#[lsm(hook = "task_setioprio")]
pub fn task_setioprio(context: LsmContext) -> i32 {
    control(&context)
}

/// `int task_setscheduler(struct task_struct *p)`: scheduling policy and CPU affinity.
#[lsm(hook = "task_setscheduler")]
pub fn task_setscheduler(context: LsmContext) -> i32 {
    control(&context)
}
