//! Programs: what has no name, and what has a denied content.
//!
//! That the name may be run is decided when the program is opened (`open`). Content is hashed by
//! a sleepable hook. Before Linux 6.2 the kernel skips such a hook when another task is inside it
//! on the same CPU; so a plain hook counts what was checked, and a last one refuses an exec in
//! which something was not hashed.

use aegis_common::{
    counter::Counter,
    event::{FileBody, flag, kind, op, reason},
    path::{ContentKey, perm},
    policy::image_flag,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    conclude::{self, Refusal, answer},
    file,
    judge::Decision,
    read::{
        kernel::{Binprm, File},
        scratch::Claim,
        table,
        walk::walk,
    },
    subject::Subject,
};

/// Refuses a program, recorded with its path.
#[inline(always)]
fn refuse(subject: &Subject, program: File, decision: &Decision) -> i32 {
    let Some(mut claim) = Claim::take() else { return file::no_room() };
    let dentry = program.dentry();
    // For the path alone: the decision stands, however the walk ends.
    walk(&mut claim, dentry, subject.image, 0, perm::EXEC, 0);
    let found = claim.found();
    claim.set_body(FileBody {
        ino: program.inode().number(),
        dev: found.dev,
        target_dev: 0,
        path_len: found.end,
        target_len: 0,
    });
    let flags = if found.cut == 0 { 0 } else { flag::PATH_CUT };
    conclude::record(
        &mut claim,
        subject,
        decision,
        (kind::FILE, op::EXEC),
        Refusal::Access,
        flags,
        size_of::<FileBody>(),
        found.end,
    );
    claim.release();
    answer(subject, decision, Refusal::Access)
}

/// `int bprm_creds_for_exec(struct linux_binprm *bprm)`: the start of an exec. Refuses nothing.
#[lsm(hook = "bprm_creds_for_exec")]
pub fn bprm_creds_for_exec(_context: LsmContext) -> i32 {
    if let Some(subject) = Subject::current()
        && subject.has(image_flag::CONTENT_RULES)
    {
        table::begin_exec();
    }
    0
}

/// `int bprm_check_security(struct linux_binprm *bprm)`: each file of an exec, script and
/// interpreter alike. Fails closed.
#[lsm(hook = "bprm_check_security")]
pub fn bprm_check_security(context: LsmContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    if subject.blocked != 0 {
        return file::blocked(&subject, op::EXEC);
    }
    if subject.has(image_flag::CONTENT_RULES) {
        table::note_exec(false);
    }
    let program = Binprm::new(context.arg(0)).file();
    if !subject.has(image_flag::ANONYMOUS_EXEC)
        && (program.dentry().superblock().is_pseudo() || program.inode().links().is_none_or(|links| links == 0))
    {
        return refuse(&subject, program, &Decision::refuse(reason::ANONYMOUS));
    }
    0
}

/// The same hook, sleepable: the content. Fails closed: what can't be hashed is refused.
#[lsm(hook = "bprm_check_security", sleepable)]
pub fn bprm_check_content(context: LsmContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    if subject.blocked != 0 || !subject.has(image_flag::CONTENT_RULES) {
        return 0;
    }
    let program = Binprm::new(context.arg(0)).file();
    let Some(sha256) = program.sha256() else {
        table::count(Counter::HashFailed);
        return refuse(&subject, program, &Decision::refuse(reason::UNREADABLE));
    };
    // Hashing may have slept while the policy was replaced: what is in force now decides.
    let Some(subject) = Subject::current() else { return 0 };
    if subject.blocked != 0 {
        return file::blocked(&subject, op::EXEC);
    }
    let key = ContentKey { image: subject.image, reserved: 0, sha256 };
    if let Some(rule) = table::content_rule(&key) {
        return refuse(&subject, program, &Decision::refuse_by(rule, reason::SAME_CONTENT));
    }
    table::note_exec(true);
    0
}

/// `int bprm_creds_from_file(struct linux_binprm *bprm, const struct file *file)`: the last moment
/// at which an exec can be refused. Fails closed.
#[lsm(hook = "bprm_creds_from_file")]
pub fn bprm_creds_from_file(context: LsmContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    if !subject.has(image_flag::CONTENT_RULES) || table::exec_was_hashed() {
        return 0;
    }
    table::count(Counter::HashFailed);
    let program = Binprm::new(context.arg(0)).file();
    refuse(&subject, program, &Decision::refuse(reason::UNREADABLE))
}
