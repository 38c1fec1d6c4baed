//! One name, judged and recorded: what every file hook shares.

use aegis_common::{
    counter::Counter,
    event::{FileBody, flag, kind, op, reason},
    path::{InodeKey, PathKey, perm},
    policy::{RULE_DEFAULT, image_flag},
};

use crate::{
    conclude::{self, Refusal, answer},
    guarded::{self, Guarded},
    judge::{self, Decision},
    read::{
        glob,
        kernel::{Dentry, File, Inode},
        memory::{self, Known, Verdict},
        overlay,
        scratch::Claim,
        table,
        walk::{outcome, spell, walk, walk_either},
    },
    subject::Subject,
};

/// Judges `wanted` on a name and records it. `operation` is an `op::*`.
///
/// Fails closed: no scratch room, an unreadable, moving, too deep or disconnected path is refused.
#[inline(always)]
pub fn decide(subject: &Subject, dentry: Dentry, operation: u8, wanted: u8) -> i32 {
    judge_name(subject, dentry, operation, wanted, false)
}

/// Judges a change of a name like [`decide`], and what an overlay changes in a layer by denials alone.
#[inline(always)]
pub fn change(subject: &Subject, dentry: Dentry, operation: u8, wanted: u8) -> i32 {
    judge_name(subject, dentry, operation, wanted, true)
}

#[inline(always)]
fn judge_name(subject: &Subject, dentry: Dentry, operation: u8, wanted: u8, layered: bool) -> i32 {
    if subject.blocked != 0 {
        return blocked(subject, operation);
    }
    if wanted & (perm::WRITE | perm::NAME) != 0 && dentry.superblock().is_cgroup() {
        return leaves_cgroup(subject, dentry);
    }
    let Some(mut claim) = Claim::take() else { return no_room() };
    if layered {
        overlay::note_acting(&mut claim);
    }
    walk(&mut claim, dentry, subject.image, subject.levels, wanted, 0);
    let found = claim.found();
    let below = layered && claim.below() != 0;
    let mut decision = judge::name(subject, &found, below);
    if !decision.deny && operation == op::SYMLINK {
        // It would choose where the next load of the policy leads.
        let key = PathKey { image: subject.image, dev: found.dev, hash: found.hash };
        if table::holds_rule(&key) || glob::is_step(&mut claim, subject.image) {
            decision = Decision::refuse(reason::HOLDS_RULE);
        }
    }
    if !decision.deny {
        if let Some(other) = same_file(subject, found.dev, dentry.inode(), wanted) {
            decision = other;
        }
    }
    let result = finish(&mut claim, subject, dentry.inode(), operation, &decision);
    claim.release();
    if layered && result == 0 {
        overlay::enter(dentry.superblock());
    }
    result
}

/// Judges opening a file, or remembers how that was judged. `operation` is an `op::*`.
///
/// Fails closed, like [`decide`]. Only what is allowed is remembered, and it is answered without a walk while
/// neither the image nor a name on the path has changed; a record needs the path, but not its hash. What an
/// overlay opens in a layer is judged by denials alone.
#[inline(always)]
pub fn open(subject: &Subject, file: File, operation: u8, wanted: u8) -> i32 {
    if subject.blocked != 0 {
        return blocked(subject, operation);
    }
    let dentry = file.dentry();
    let known = memory::recall(file, dentry, subject.serial, wanted);
    let mut result = 0;
    if !is_answered(subject, &known, operation) {
        if wanted & perm::WRITE != 0 && dentry.superblock().is_cgroup() {
            return leaves_cgroup(subject, dentry);
        }
        let Some(mut claim) = Claim::take() else { return no_room() };
        memory::lay_by(&mut claim, Verdict::NONE);
        let judged = if known.is_none() {
            judge_unknown(&mut claim, subject, file, wanted)
        } else {
            judge_known(&mut claim, subject, file, &known)
        };
        // Through the slot: the verifier goes on from here once, not once for each way to it.
        claim.decide(judged);
        let decision = claim.decision();
        result = finish(&mut claim, subject, file.inode(), operation, &decision);
        memory::remember(&mut claim, file, dentry);
        claim.release();
    }
    if result == 0 {
        overlay::enter(dentry.superblock());
    }
    result
}

/// Whether what is remembered answers alone: it is allowed, and not recorded or counted.
#[inline(always)]
fn is_answered(subject: &Subject, known: &Known, operation: u8) -> bool {
    if known.is_none() {
        return false;
    }
    let allowed = Decision::allow(known.rule, known.reason, true);
    known.record == 0 || conclude::repeated(subject, &allowed, operation, known.object)
}

/// What is remembered stands, if it still does when the path is spelled.
#[inline(always)]
fn judge_known(claim: &mut Claim, subject: &Subject, file: File, known: &Known) -> Decision {
    let dentry = file.dentry();
    spell(claim, dentry);
    if !known.stands(dentry) {
        // The path that was spelled may not be the one that the verdict is about.
        claim.walk().found.outcome = outcome::CHANGED;
    }
    let found = claim.found();
    if found.outcome == outcome::WHOLE {
        Decision::allow(known.rule, known.reason, true)
    } else {
        judge::path(subject, &found)
    }
}

/// Judges by a walk, and lays by what is to be remembered of it: only what is allowed.
#[inline(always)]
fn judge_unknown(claim: &mut Claim, subject: &Subject, file: File, wanted: u8) -> Decision {
    let dentry = file.dentry();
    overlay::note_opening(claim, file, subject.serial, wanted);
    if claim.walk().recalled != 0 {
        return Decision::allow(RULE_DEFAULT, reason::DEFAULT, false);
    }
    walk_either(claim, dentry, subject.image, subject.levels, wanted);
    let found = claim.found();
    let decision = judge::name(subject, &found, claim.below() != 0);
    if decision.deny {
        return decision;
    }
    let inode = file.inode();
    if let Some(other) = same_file(subject, found.dev, inode, wanted) {
        return other;
    }
    // The number of a file's names may change: where a rule stands on the file itself, nothing is remembered.
    if !subject.has(image_flag::INODE_RULES)
        || table::inode_rule(&InodeKey { image: subject.image, dev: found.dev, ino: inode.number() }).is_none()
    {
        let wanted = wanted | memory::below(claim.below());
        let allowed = Verdict::now(subject.serial, wanted, decision.rule, decision.reason, decision.record);
        memory::lay_by(claim, allowed);
    }
    decision
}

/// Records a decision where that is due, and answers.
#[inline(always)]
fn finish(claim: &mut Claim, subject: &Subject, inode: Inode, operation: u8, decision: &Decision) -> i32 {
    if !conclude::is_recorded(decision) {
        return 0;
    }
    let found = claim.found();
    claim.set_body(FileBody {
        ino: inode.number(),
        dev: found.dev,
        target_dev: 0,
        path_len: found.end,
        target_len: 0,
    });
    let flags = if found.cut == 0 { 0 } else { flag::PATH_CUT };
    conclude::record_once(
        claim,
        subject,
        decision,
        (kind::FILE, operation),
        Refusal::Access,
        flags,
        size_of::<FileBody>(),
        found.end,
    )
}

/// A deny that follows the file under its other names. Files with one name need no look-up.
#[inline(always)]
pub fn same_file(subject: &Subject, dev: u32, inode: Inode, wanted: u8) -> Option<Decision> {
    if !subject.has(image_flag::INODE_RULES) || inode.is_none() || inode.links() == Some(1) {
        return None;
    }
    let key = InodeKey { image: subject.image, dev, ino: inode.number() };
    let rule = table::inode_rule(&key)?;
    (rule.deny & u32::from(wanted) != 0)
        .then_some(Decision::refuse_by(rule.rule, reason::SAME_FILE))
}

/// Writing to the cgroup filesystem is the way out of a cgroup, and into another one's limits: no
/// policy allows it.
#[inline(always)]
fn leaves_cgroup(subject: &Subject, dentry: Dentry) -> i32 {
    guarded::refuse(subject, &Guarded {
        op: op::CGROUP_WRITE,
        reason: reason::GUARD,
        subject: dentry.inode().number(),
        detail: 0,
        refusal: Refusal::Permission,
        silent: false,
    })
}

/// Refuses a task whose agent is killed or has no policy: recorded without a path, since nothing is
/// looked at any more.
#[inline(always)]
pub fn blocked(subject: &Subject, operation: u8) -> i32 {
    let decision = Decision::refuse(subject.blocked);
    if let Some(mut claim) = Claim::take() {
        claim.set_body(FileBody::default());
        conclude::record(
            &mut claim,
            subject,
            &decision,
            (kind::FILE, operation),
            Refusal::Permission,
            0,
            size_of::<FileBody>(),
            0,
        );
        claim.release();
    } else {
        table::count(Counter::LostFile);
        table::count(Counter::LostDenial);
    }
    answer(subject, &decision, Refusal::Permission)
}

/// Refuses for want of room, whatever the mode: nothing was decided.
#[inline(always)]
pub fn no_room() -> i32 {
    table::count(Counter::LostFile);
    table::count(Counter::LostDenial);
    conclude::refuse(Refusal::Access)
}

/// `perm::*` that opening with these `FMODE_*` bits wants.
#[inline(always)]
pub const fn wanted_by_mode(mode: u32) -> u8 {
    (mode & 3) as u8 & (perm::READ | perm::WRITE)
}
