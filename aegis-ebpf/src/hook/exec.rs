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
        arguments,
        kernel::{Binprm, File},
        scratch::Claim,
        table,
        walk::{outcome, walk},
    },
    subject::Subject,
};

/// What sleepable programs look at.
const CHECKED: u32 = image_flag::CONTENT_RULES | image_flag::PINS | image_flag::ARGUMENTS;

/// Refuses a program, recorded with its path and, where a rule about arguments refuses it, with those.
#[inline(always)]
fn refuse(subject: &Subject, bprm: Binprm, refused: &Refused) -> i32 {
    let Some(mut claim) = Claim::take() else { return file::no_room() };
    let program = bprm.file();
    let dentry = program.dentry();
    // For the path alone: the decision stands, however the walk ends.
    walk(&mut claim, dentry, subject.image, 0, perm::EXEC, 0);
    let found = claim.found();
    // The mask repeats what the walk guarantees, for the verifier.
    let path = core::hint::black_box(found.end) & (aegis_common::limits::MAX_PATH as u32 - 1);
    let mut flags = if found.cut == 0 { 0 } else { flag::PATH_CUT };
    let mut bytes = 0;
    if refused.arguments != 0 {
        let (copied, cut) = arguments::copy(&mut claim, bprm.strings(), refused.arguments, path);
        bytes = copied;
        if cut {
            flags |= flag::ARGV_CUT;
        }
    }
    claim.set_body(FileBody {
        ino: program.inode().number(),
        dev: found.dev,
        target_dev: 0,
        path_len: path,
        target_len: bytes,
    });
    conclude::record(
        &mut claim,
        subject,
        &refused.decision,
        (kind::FILE, op::EXEC),
        Refusal::Access,
        flags,
        size_of::<FileBody>(),
        path + bytes,
    );
    claim.release();
    answer(subject, &refused.decision, Refusal::Access)
}

/// Why a program may not run.
struct Refused {
    decision: Decision,
    /// Bytes of its arguments, where they are the reason.
    arguments: u64,
}

impl Refused {
    #[inline(always)]
    const fn by(decision: Decision) -> Self {
        Self { decision, arguments: 0 }
    }

    #[inline(always)]
    const fn because(reason: u8) -> Self {
        Self::by(Decision::refuse(reason))
    }
}

/// What the rules say about a name.
struct Named {
    dev: u32,
    pin: u64,
    pin_rule: u32,
    arguments: u64,
}

/// What the rules say about the name of a program: its pin, and the ends of argument rules. Refuses one
/// that can't be looked at.
#[inline(always)]
fn by_name(subject: &Subject, program: File) -> Result<Named, Refused> {
    let dentry = program.dentry();
    if dentry.superblock().is_pseudo() {
        return Ok(Named { dev: 0, pin: 0, pin_rule: 0, arguments: 0 });
    }
    let Some(mut claim) = Claim::take() else { return Err(Refused::because(reason::READ_FAILED)) };
    walk(&mut claim, dentry, subject.image, subject.levels, perm::EXEC, 0);
    let found = claim.found();
    claim.release();
    if found.outcome != outcome::WHOLE {
        return Err(Refused::by(judge::path(subject, &found)));
    }
    Ok(Named { dev: found.dev, pin: found.pin, pin_rule: found.pin_rule, arguments: found.arguments })
}

/// The SHA-256 of a program.
#[inline(always)]
fn hash(program: File) -> Result<[u8; 32], Refused> {
    program.sha256().ok_or_else(|| {
        table::count(Counter::HashFailed);
        Refused::because(reason::UNREADABLE)
    })
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
    let bprm = Binprm::new(context.arg(0));
    let program = bprm.file();
    if !subject.has(image_flag::ANONYMOUS_EXEC)
        && (program.dentry().superblock().is_pseudo() || program.inode().links().is_none_or(|links| links == 0))
    {
        return refuse(&subject, bprm, &Refused::because(reason::ANONYMOUS));
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
    let bprm = Binprm::new(context.arg(0));
    checked(&subject, bprm, content(&subject, bprm.file()))
}

/// Fails closed: what can't be hashed is refused, and what is pinned while the policy is replaced.
#[inline(always)]
fn content(subject: &Subject, program: File) -> Result<(), Refused> {
    let mut named = Named { dev: 0, pin: 0, pin_rule: 0, arguments: 0 };
    if subject.has(image_flag::PINS) {
        named = by_name(subject, program)?;
    }
    if !subject.has(image_flag::CONTENT_RULES) && named.pin_rule == 0 {
        return Ok(());
    }
    let sha256 = hash(program)?;
    // Hashing may have slept while the policy was replaced: what is in force now decides.
    let Some(now) = Subject::current() else { return Ok(()) };
    if now.blocked != 0 {
        return Err(Refused::because(now.blocked));
    }
    let same = now.image == subject.image && now.generation == subject.generation;
    if !same && (named.pin_rule != 0 || now.has(image_flag::PINS)) {
        return Err(Refused::because(reason::UNREADABLE));
    }
    let content = table::content_rule(now.image, sha256);
    if content.rule != 0 {
        return Err(Refused::by(Decision::refuse_by(content.rule, reason::SAME_CONTENT)));
    }
    let key = PinKey { image: now.image, dev: named.dev, place: named.pin, sha256 };
    if named.pin_rule == 0 || table::is_pinned(&key) {
        return Ok(());
    }
    Err(Refused::by(Decision::refuse_by(named.pin_rule, reason::NOT_PINNED)))
}

/// The same hook, sleepable: the arguments.
#[lsm(hook = "bprm_check_security", sleepable)]
pub fn bprm_check_arguments(context: LsmContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    if subject.blocked != 0 || !subject.has(image_flag::ARGUMENTS) {
        return 0;
    }
    let bprm = Binprm::new(context.arg(0));
    checked(&subject, bprm, arguments(&subject, bprm))
}

/// Follows the arguments through the rules first: only when some rule fits does it matter which program
/// this is, by name and by content. Fails closed: arguments that can't be read are refused.
#[inline(always)]
fn arguments(subject: &Subject, bprm: Binprm) -> Result<(), Refused> {
    let Some(mut claim) = Claim::take() else { return Err(Refused::because(reason::ARGUMENTS_UNREAD)) };
    let read = arguments::read(&mut claim, bprm.strings(), subject.image);
    claim.release();
    let Some(read) = read else {
        table::count(Counter::ReadFailed);
        return Err(Refused::because(reason::ARGUMENTS_UNREAD));
    };
    if read.fits != 0 {
        let program = bprm.file();
        let mut ends = read.fits & by_name(subject, program)?.arguments;
        let mut why = reason::RULE;
        if ends == 0 {
            ends = read.fits & table::content_rule(subject.image, hash(program)?).arguments;
            why = reason::SAME_CONTENT;
        }
        if ends != 0 {
            let rule = table::argument_rule(subject.image, ends);
            return Err(Refused { decision: Decision::refuse_by(rule, why), arguments: read.length });
        }
    }
    // Rules are removed once no plain hook reads them; this one may sleep in the middle of a list.
    let now = Subject::current();
    if now.is_none_or(|now| now.image != subject.image || now.generation != subject.generation) {
        return Err(Refused::because(reason::ARGUMENTS_UNREAD));
    }
    Ok(())
}

/// The end of a check: noted when it let the program pass.
#[inline(always)]
fn checked(subject: &Subject, bprm: Binprm, result: Result<(), Refused>) -> i32 {
    match result {
        Ok(()) => {
            table::note_exec(0, 1);
            0
        }
        Err(refused) => refuse(subject, bprm, &refused),
    }
}

/// `int bprm_creds_from_file(struct linux_binprm *bprm, const struct file *file)`: the last moment
/// at which an exec can be refused. Fails closed.
#[lsm(hook = "bprm_creds_from_file")]
pub fn bprm_creds_from_file(context: LsmContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    if !subject.has(CHECKED) || table::exec_was_checked() {
        return 0;
    }
    table::count(Counter::HashFailed);
    refuse(&subject, Binprm::new(context.arg(0)), &Refused::because(reason::UNREADABLE))
}
