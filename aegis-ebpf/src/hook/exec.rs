//! Programs: what has no name, what has a denied content or another one than it is pinned to, and what
//! is run with denied arguments.
//!
//! That the name may be run is decided when the program is opened (`open`). Content is hashed by
//! sleepable hooks. Before Linux 6.2 the kernel skips such a hook when another task is inside it
//! on the same CPU; so a plain hook counts what is to be checked, and a last one refuses an exec in
//! which something was not.

use aegis_common::{
    counter::Counter,
    event::{FileBody, flag, kind, op, reason},
    path::{PinKey, perm},
    policy::image_flag,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    conclude::{self, Refusal, answer},
    file,
    judge::{self, Decision},
    read::{
        arguments::{self, Read},
        kernel::{Binprm, File},
        scratch::Claim,
        table,
        walk::{outcome, walk},
    },
    subject::Subject,
};

/// What sleepable programs look at.
const CHECKED: u32 = image_flag::CONTENT_RULES | image_flag::PINS | image_flag::ARGUMENTS;

/// Refuses a program, recorded with its path.
#[inline(always)]
fn refuse(subject: &Subject, program: File, decision: &Decision) -> i32 {
    refuse_with(subject, program, decision, |_, _| (0, 0))
}

/// Refuses a program, recorded with its path and what `more` puts behind it: bytes and flags.
#[inline(always)]
fn refuse_with(
    subject: &Subject,
    program: File,
    decision: &Decision,
    more: impl FnOnce(&mut Claim, u32) -> (u32, u8),
) -> i32 {
    let Some(mut claim) = Claim::take() else { return file::no_room() };
    let dentry = program.dentry();
    // For the path alone: the decision stands, however the walk ends.
    walk(&mut claim, dentry, subject.image, 0, perm::EXEC, 0);
    let found = claim.found();
    // The mask repeats what the walk guarantees, for the verifier.
    let path = core::hint::black_box(found.end) & (aegis_common::limits::MAX_PATH as u32 - 1);
    let (bytes, flags) = more(&mut claim, path);
    claim.set_body(FileBody {
        ino: program.inode().number(),
        dev: found.dev,
        target_dev: 0,
        path_len: path,
        target_len: bytes,
    });
    let flags = if found.cut == 0 { flags } else { flags | flag::PATH_CUT };
    conclude::record(
        &mut claim,
        subject,
        decision,
        (kind::FILE, op::EXEC),
        Refusal::Access,
        flags,
        size_of::<FileBody>(),
        path + bytes,
    );
    claim.release();
    answer(subject, decision, Refusal::Access)
}

/// What the rules say about the name of a program: its pin, and the ends of argument rules. Refuses one
/// that can't be looked at.
#[inline(always)]
fn by_name(subject: &Subject, program: File) -> Result<Named, i32> {
    let dentry = program.dentry();
    if dentry.superblock().is_pseudo() {
        return Ok(Named { dev: 0, pin: 0, pin_rule: 0, arguments: 0 });
    }
    let Some(mut claim) = Claim::take() else { return Err(file::no_room()) };
    walk(&mut claim, dentry, subject.image, subject.levels, perm::EXEC, 0);
    let found = claim.found();
    claim.release();
    if found.outcome != outcome::WHOLE {
        return Err(refuse(subject, program, &judge::path(subject, &found)));
    }
    Ok(Named {
        dev: found.dev,
        pin: found.pin,
        pin_rule: found.pin_rule,
        arguments: found.arguments,
    })
}

/// What the rules say about a name.
struct Named {
    dev: u32,
    pin: u64,
    pin_rule: u32,
    arguments: u64,
}

/// `int bprm_creds_for_exec(struct linux_binprm *bprm)`: the start of an exec. Refuses nothing.
#[lsm(hook = "bprm_creds_for_exec")]
pub fn bprm_creds_for_exec(_context: LsmContext) -> i32 {
    if let Some(subject) = Subject::current()
        && subject.has(CHECKED)
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
    if subject.has(CHECKED) {
        let content = subject.has(image_flag::CONTENT_RULES | image_flag::PINS);
        let arguments = subject.has(image_flag::ARGUMENTS);
        table::note_exec(u32::from(content) + u32::from(arguments), 0);
    }
    let program = Binprm::new(context.arg(0)).file();
    if !subject.has(image_flag::ANONYMOUS_EXEC)
        && (program.dentry().superblock().is_pseudo() || program.inode().links().is_none_or(|links| links == 0))
    {
        return refuse(&subject, program, &Decision::refuse(reason::ANONYMOUS));
    }
    0
}

/// The same hook, sleepable: the content. Hashes where contents are denied, and at pinned names.
#[lsm(hook = "bprm_check_security", sleepable)]
pub fn bprm_check_content(context: LsmContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    if subject.blocked != 0 || !subject.has(image_flag::CONTENT_RULES | image_flag::PINS) {
        return 0;
    }
    checked(content(&subject, Binprm::new(context.arg(0)).file()))
}

/// Fails closed: what can't be hashed is refused.
#[inline(always)]
fn content(subject: &Subject, program: File) -> i32 {
    if !subject.has(image_flag::CONTENT_RULES) {
        match by_name(subject, program) {
            Ok(named) if named.pin_rule == 0 => return 0,
            Ok(_) => {}
            Err(refused) => return refused,
        }
    }
    let Some(sha256) = program.sha256() else { return unreadable(subject, program) };
    // Hashing may have slept while the policy was replaced: what is in force now decides.
    let Some(subject) = Subject::current() else { return 0 };
    if subject.blocked != 0 {
        return file::blocked(&subject, op::EXEC);
    }
    let content = table::content_rule(subject.image, sha256);
    if content.rule != 0 {
        return refuse(&subject, program, &Decision::refuse_by(content.rule, reason::SAME_CONTENT));
    }
    if !subject.has(image_flag::PINS) {
        return 0;
    }
    let named = match by_name(&subject, program) {
        Ok(named) => named,
        Err(refused) => return refused,
    };
    let key = PinKey { image: subject.image, dev: named.dev, place: named.pin, sha256 };
    if named.pin_rule == 0 || table::is_pinned(&key) {
        return 0;
    }
    refuse(&subject, program, &Decision::refuse_by(named.pin_rule, reason::NOT_PINNED))
}

/// The same hook, sleepable: the arguments.
#[lsm(hook = "bprm_check_security", sleepable)]
pub fn bprm_check_arguments(context: LsmContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    if subject.blocked != 0 || !subject.has(image_flag::ARGUMENTS) {
        return 0;
    }
    let bprm = Binprm::new(context.arg(0));
    let result = arguments(&subject, bprm);
    if result != 0 {
        return result;
    }
    // Rules are removed once no plain hook reads them; this one may sleep in the middle of a list.
    let now = Subject::current();
    if now.is_none_or(|now| now.image != subject.image || now.generation != subject.generation) {
        return refuse(&subject, bprm.file(), &Decision::refuse(reason::ARGUMENTS_UNREAD));
    }
    checked(0)
}

/// Follows the arguments through the rules first: only when some rule fits does it matter which program
/// this is, by name and by content. Fails closed: arguments that can't be read are refused.
#[inline(always)]
fn arguments(subject: &Subject, bprm: Binprm) -> i32 {
    let program = bprm.file();
    let Some(mut claim) = Claim::take() else { return file::no_room() };
    let read = arguments::read(&mut claim, bprm.strings(), subject.image);
    claim.release();
    let Some(read) = read else {
        table::count(Counter::ReadFailed);
        return refuse(subject, program, &Decision::refuse(reason::ARGUMENTS_UNREAD));
    };
    if read.fits == 0 {
        return 0;
    }
    let named = match by_name(subject, program) {
        Ok(named) => named.arguments,
        Err(refused) => return refused,
    };
    if read.fits & named != 0 {
        return refuse_arguments(subject, bprm, read, read.fits & named, reason::RULE);
    }
    let Some(sha256) = program.sha256() else { return unreadable(subject, program) };
    let copied = read.fits & table::content_rule(subject.image, sha256).arguments;
    if copied == 0 {
        return 0;
    }
    refuse_arguments(subject, bprm, read, copied, reason::SAME_CONTENT)
}

/// Notes a check that let the program pass.
#[inline(always)]
fn checked(result: i32) -> i32 {
    if result == 0 {
        table::note_exec(0, 1);
    }
    result
}

/// Refuses a program that can't be hashed.
#[inline(always)]
fn unreadable(subject: &Subject, program: File) -> i32 {
    table::count(Counter::HashFailed);
    refuse(subject, program, &Decision::refuse(reason::UNREADABLE))
}

/// Refuses a program for its arguments, which are recorded.
#[inline(always)]
fn refuse_arguments(subject: &Subject, bprm: Binprm, read: Read, ends: u64, why: u8) -> i32 {
    let rule = table::argument_rule(subject.image, ends);
    let decision = Decision::refuse_by(rule, why);
    refuse_with(subject, bprm.file(), &decision, |claim, path| {
        let (bytes, cut) = arguments::copy(claim, bprm.strings(), read.length, path);
        (bytes, if cut { flag::ARGV_CUT } else { 0 })
    })
}

/// `int bprm_creds_from_file(struct linux_binprm *bprm, const struct file *file)`: the last moment
/// at which an exec can be refused. Fails closed.
#[lsm(hook = "bprm_creds_from_file")]
pub fn bprm_creds_from_file(context: LsmContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    if !subject.has(CHECKED) || table::exec_was_checked() {
        return 0;
    }
    unreadable(&subject, Binprm::new(context.arg(0)).file())
}
