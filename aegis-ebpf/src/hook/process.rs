//! The life of processes: programs begun, children made, processes ended. Tracepoints: they record
//! and can't refuse.

use aegis_common::{
    counter::Counter,
    event::{ExecBody, ExitBody, ForkBody, flag, kind, op, reason},
    policy::image_flag,
};
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    conclude::{self, Refusal},
    judge::Decision,
    read::{
        environment,
        kernel::{Binprm, Task},
        running,
        scratch::Claim,
        table,
        walk::spell,
    },
    subject::Subject,
};

/// A record that decides nothing.
const NOTED: Decision = Decision::allow(0, reason::DEFAULT, true);

/// `void sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`: the new
/// program is in place and has not run its first instruction.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec(context: BtfTracePointContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    let Some(mut claim) = Claim::take() else { return lost() };
    let task = Task::new(context.arg(0));
    table::forget_code_written();
    // First: the strings pass through where the path goes.
    let environment = environment::known(&mut claim, task);
    let program = Binprm::new(context.arg(2)).file();
    spell(&mut claim, program.dentry());
    let found = claim.found();
    // The mask repeats what the walk guarantees, for the verifier.
    let path = core::hint::black_box(found.end) & (aegis_common::limits::MAX_PATH as u32 - 1);
    let (argv, flags) = match task.arguments(&mut claim, path) {
        Some((length, true)) => (length, flag::ARGV_CUT),
        Some((length, false)) => (length, 0),
        None => (0, flag::ARGV_UNREAD),
    };
    claim.set_body(ExecBody {
        ino: program.inode().number(),
        dev: found.dev,
        path_len: path,
        argv_len: argv,
        environment,
    });
    let flags = if found.cut == 0 { flags } else { flags | flag::PATH_CUT };
    conclude::record(
        &mut claim,
        &subject,
        &NOTED,
        (kind::EXEC, op::EXEC),
        Refusal::Access,
        flags,
        size_of::<ExecBody>(),
        path + argv,
    );
    claim.release();
    0
}

/// `void sched_process_exit(struct task_struct *p, ...)`: once for each thread; the last one counts.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit(context: BtfTracePointContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    let task = Task::new(context.arg(0));
    if task.live_threads().is_some_and(|live| live > 0) {
        return 0;
    }
    note(&subject, kind::EXIT, ExitBody { status: task.exit_code(), reserved: 0 })
}

/// `void sched_process_fork(struct task_struct *parent, struct task_struct *child)`: threads are no
/// processes.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork(context: BtfTracePointContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    let (parent, child) = (Task::new(context.arg(0)), Task::new(context.arg(1)));
    if parent.tgid() == child.tgid() {
        return 0;
    }
    if subject.has(image_flag::PROGRAMS) && !running::inherit(child) {
        table::count(Counter::ProgramUnnoted);
    }
    note(&subject, kind::FORK, ForkBody {
        child_start: child.start(),
        child_pid: child.tgid(),
        reserved: 0,
    })
}

#[inline(always)]
fn note<T: Copy>(subject: &Subject, kind: u16, body: T) -> i32 {
    let Some(mut claim) = Claim::take() else { return lost() };
    claim.set_body(body);
    conclude::record(
        &mut claim,
        subject,
        &NOTED,
        (kind, 0),
        Refusal::Access,
        0,
        size_of::<T>(),
        0,
    );
    claim.release();
    0
}

#[inline(always)]
fn lost() -> i32 {
    table::count(Counter::LostProcess);
    0
}
