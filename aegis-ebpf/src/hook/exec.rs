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
    path::PinKey,
    policy::{RULE_DEFAULT, image_flag},
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    conclude::{self, Refusal, answer},
    file,
    judge::{self, Decision},
    read::{
        arguments, environment,
        kernel::{Binprm, File},
        program::{self, Said},
        running,
        ring,
        scratch::{Claim, Refused},
        table,
        walk::{outcome, spell},
    },
    subject::Subject,
};

/// What sleepable programs look at.
const CHECKED: u32 = image_flag::CONTENT_RULES | image_flag::PINS | image_flag::ARGUMENTS;

/// Refuses a program, recorded with its path.
#[inline(always)]
fn refuse(subject: &Subject, file: File, refused: &Refused) -> i32 {
    let Some(mut claim) = Claim::take() else { return file::no_room() };
    let result = report(&mut claim, subject, file, refused, |_, _, _| (0, false));
    claim.release();
    result
}

/// Records a refused program with its path and what `copy` puts behind that: how many bytes, and whether
/// some are missing.
#[inline(always)]
fn report(
    claim: &mut Claim,
    subject: &Subject,
    file: File,
    refused: &Refused,
    copy: impl FnOnce(&mut Claim, &Refused, u32) -> (u32, bool),
) -> i32 {
    let refused = claim.hide(refused);
    let decision = Decision::refuse_by(refused.rule, refused.reason as u8);
    spell(claim, file.dentry());
    let found = claim.found();
    // The mask repeats what the walk guarantees, for the verifier.
    let path = core::hint::black_box(found.end) & (aegis_common::limits::MAX_PATH as u32 - 1);
    let mut flags = if found.cut == 0 { 0 } else { flag::PATH_CUT };
    let (bytes, missing) = copy(claim, &refused, path);
    if missing {
        flags |= flag::ARGV_CUT;
    }
    claim.set_body(FileBody {
        ino: file.inode().number(),
        dev: found.dev,
        target_dev: 0,
        path_len: path,
        target_len: bytes,
    });
    conclude::record(
        claim,
        subject,
        &decision,
        (kind::FILE, op::EXEC),
        Refusal::Access,
        flags,
        size_of::<FileBody>(),
        path + bytes,
    );
    answer(subject, &decision, Refusal::Access)
}

/// By no rule of the policy.
#[inline(always)]
const fn because(reason: u8) -> Refused {
    by(RULE_DEFAULT, reason)
}

#[inline(always)]
const fn by(rule: u32, reason: u8) -> Refused {
    Refused { rule, reason: reason as u32, arguments: 0 }
}

/// What the rules say about the name of a program, if that is asked. Refuses one that can't be looked at.
#[inline(always)]
fn by_name(subject: &Subject, file: File, asked: bool) -> Result<Said, Refused> {
    let dentry = file.dentry();
    let Some(mut claim) = Claim::take() else { return Err(because(reason::READ_FAILED)) };
    program::begin(&mut claim);
    let mut result = Ok(());
    if asked && !dentry.superblock().is_pseudo() {
        program::look_up(&mut claim, dentry, subject.image, subject.levels);
        let found = claim.found();
        if found.outcome != outcome::WHOLE {
            let decision = judge::path(subject, &found);
            result = Err(by(decision.rule, decision.reason));
        }
    }
    let said = program::said(&mut claim);
    claim.release();
    result.map(|()| said)
}

/// The SHA-256 of a program.
#[inline(always)]
fn hash(file: File, sha256: &mut [u8; 32]) -> Result<(), Refused> {
    if file.sha256(sha256) {
        return Ok(());
    }
    table::count(Counter::HashFailed);
    Err(because(reason::UNREADABLE))
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
    let file = bprm.file();
    if !subject.has(image_flag::ANONYMOUS_EXEC)
        && (file.dentry().superblock().is_pseudo() || file.inode().links().is_none_or(|links| links == 0))
    {
        return refuse(&subject, file, &because(reason::ANONYMOUS));
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
    let file = Binprm::new(context.arg(0)).file();
    match content(&subject, file) {
        Ok(()) => passed(),
        Err(refused) => refuse(&subject, file, &refused),
    }
}

/// Fails closed: what can't be hashed is refused, and what is pinned while the policy is replaced.
#[inline(always)]
fn content(subject: &Subject, file: File) -> Result<(), Refused> {
    let said = by_name(subject, file, subject.has(image_flag::PINS))?;
    if !subject.has(image_flag::CONTENT_RULES) && said.pin_rule == 0 {
        return Ok(());
    }
    let mut pin = PinKey { image: 0, dev: said.dev, place: said.pin, sha256: [0; 32] };
    hash(file, &mut pin.sha256)?;
    // Hashing may have slept while the policy was replaced: what is in force now decides.
    let Some(now) = Subject::current() else { return Ok(()) };
    if now.blocked != 0 {
        return Err(because(now.blocked));
    }
    let same = now.image == subject.image && now.generation == subject.generation;
    if !same && (said.pin_rule != 0 || now.has(image_flag::PINS)) {
        return Err(because(reason::UNREADABLE));
    }
    let content = table::content_rule(now.image, &pin.sha256);
    if content.rule != 0 {
        return Err(by(content.rule, reason::SAME_CONTENT));
    }
    pin.image = now.image;
    if said.pin_rule == 0 || table::is_pinned(&pin) {
        return Ok(());
    }
    Err(by(said.pin_rule, reason::NOT_PINNED))
}

/// The same hook, sleepable: the arguments.
#[lsm(hook = "bprm_check_security", sleepable)]
pub fn bprm_check_arguments(context: LsmContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    if subject.blocked != 0 || !subject.has(image_flag::ARGUMENTS) {
        return 0;
    }
    let bprm = Binprm::new(context.arg(0));
    match arguments(&subject, bprm) {
        Ok(()) => passed(),
        Err(refused) => {
            let Some(mut claim) = Claim::take() else { return file::no_room() };
            let copy = |claim: &mut Claim, refused: &Refused, path| match refused.arguments {
                0 => (0, false),
                length => arguments::copy(claim, bprm.strings(), length, path),
            };
            let result = report(&mut claim, &subject, bprm.file(), &refused, copy);
            claim.release();
            result
        }
    }
}

/// Follows the arguments through the rules first: only when some rule fits does it matter which program
/// this is, by name and by content. Fails closed: arguments that can't be read are refused.
#[inline(always)]
fn arguments(subject: &Subject, bprm: Binprm) -> Result<(), Refused> {
    let Some(mut claim) = Claim::take() else { return Err(because(reason::ARGUMENTS_UNREAD)) };
    let read = arguments::read(&mut claim, bprm.strings(), subject.image);
    claim.release();
    let Some(read) = read else {
        table::count(Counter::ReadFailed);
        return Err(because(reason::ARGUMENTS_UNREAD));
    };
    if read.fits != 0 {
        let file = bprm.file();
        let mut ends = read.fits & by_name(subject, file, true)?.arguments;
        let mut why = reason::RULE;
        if ends == 0 {
            let mut sha256 = [0; 32];
            hash(file, &mut sha256)?;
            ends = read.fits & table::content_rule(subject.image, &sha256).arguments;
            why = reason::SAME_CONTENT;
        }
        if ends != 0 {
            let rule = table::argument_rule(subject.image, ends);
            return Err(Refused { rule, reason: u32::from(why), arguments: read.length });
        }
    }
    // Rules are removed once no plain hook reads them; this one may sleep in the middle of a list.
    let now = Subject::current();
    if now.is_none_or(|now| now.image != subject.image || now.generation != subject.generation) {
        return Err(because(reason::ARGUMENTS_UNREAD));
    }
    Ok(())
}

/// The same hook: the environment. Fails closed: one that can't be read to its end is refused.
#[lsm(hook = "bprm_check_security")]
pub fn bprm_check_environment(context: LsmContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    if subject.blocked != 0 || !subject.has(image_flag::ENVIRONMENT) {
        return 0;
    }
    let Some(mut claim) = Claim::take() else { return file::no_room() };
    let bprm = Binprm::new(context.arg(0));
    let denied = environment::denied(&mut claim, bprm.strings(), subject.image);
    let result = match denied {
        Some(RULE_DEFAULT) => 0,
        Some(rule) => {
            let name = |claim: &mut Claim, _: &Refused, path| (environment::copy_name(claim, path), false);
            report(&mut claim, &subject, bprm.file(), &by(rule, reason::ENVIRONMENT), name)
        }
        None => {
            table::count(Counter::ReadFailed);
            let unread = because(reason::ARGUMENTS_UNREAD);
            report(&mut claim, &subject, bprm.file(), &unread, |_, _, _| (0, false))
        }
    };
    claim.release();
    result
}

/// `void bprm_committed_creds(const struct linux_binprm *bprm)`: the old program is gone. Notes the new one, where rules about
/// addresses are for some program. What can't be looked at is one of the others.
#[lsm(hook = "bprm_committed_creds")]
pub fn bprm_committed_creds(context: LsmContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    if !subject.has(image_flag::PROGRAMS) {
        return 0;
    }
    running::forget();
    let said = by_name(&subject, Binprm::new(context.arg(0)).file(), true);
    let noted = match said {
        Ok(Said { view: 0, .. }) => true,
        Ok(said) => running::begin(&subject, said.view),
        Err(_) => false,
    };
    if !noted {
        table::count(Counter::ProgramUnnoted);
    }
    0
}

/// A check that let the program pass.
#[inline(always)]
fn passed() -> i32 {
    table::note_exec(0, 1);
    0
}

/// `int bprm_creds_from_file(struct linux_binprm *bprm, const struct file *file)`: the last moment
/// at which an exec can be refused. Fails closed.
#[lsm(hook = "bprm_creds_from_file")]
pub fn bprm_creds_from_file(context: LsmContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    // Its record is made when it has begun, which is too late.
    if subject.has(image_flag::RECORD_OR_DENY) && ring::is_full() {
        table::count(Counter::LostDenial);
        table::count(Counter::Unrecorded);
        return conclude::refuse(Refusal::Permission);
    }
    if !subject.has(CHECKED) || table::exec_was_checked() {
        return 0;
    }
    table::count(Counter::HashFailed);
    refuse(&subject, Binprm::new(context.arg(0)).file(), &because(reason::UNREADABLE))
}
