//! The end of every hook: the record and the return value.

use aegis_common::{
    event::{kind, reason, verdict},
    policy::image_flag,
    repeat::RepeatKey,
};

use crate::{
    judge::Decision,
    read::{self, repeat, ring, scratch::Claim, table},
    subject::Subject,
};

/// How a hook refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `EACCES`: the policy gives no permission to this object.
    Access,
    /// `EPERM`: governed tasks may not do this, or not any more.
    Permission,
}

const EPERM: u16 = 1;
const EACCES: u16 = 13;

/// The return value of a refusal.
#[inline(always)]
pub fn refuse(refusal: Refusal) -> i32 {
    match refusal {
        Refusal::Access => read::minus_eacces(),
        Refusal::Permission => read::minus_eperm(),
    }
}

/// What happens to a call, after the policy's mode is taken into account: a policy in audit mode
/// denies nothing, but the kill switch does.
#[inline(always)]
pub fn effective(subject: &Subject, decision: &Decision) -> u8 {
    if !decision.deny {
        verdict::ALLOW
    } else if subject.has(image_flag::AUDIT) && decision.reason != reason::KILLED {
        verdict::AUDIT
    } else {
        verdict::DENY
    }
}

/// Whether the decision leaves a record.
#[inline(always)]
pub const fn is_recorded(decision: &Decision) -> bool {
    decision.deny || decision.record
}

/// Records `decision` in full; the caller has filled body and bytes.
#[inline(always)]
pub fn record(
    claim: &mut Claim,
    subject: &Subject,
    decision: &Decision,
    what: (u16, u8),
    refusal: Refusal,
    flags: u8,
    body: usize,
    bytes: u32,
) {
    describe(claim, subject, decision, what, refusal, flags);
    claim.header().seq = table::next_sequence();
    ring::fill_task(claim.header());
    ring::send(claim, body, bytes);
}

/// Records `decision` in full the first time, and counts it where the same process meets the same decision about the
/// same thing again; the caller has filled body and bytes. Answers as [`answer`] does.
#[inline(always)]
pub fn record_once(
    claim: &mut Claim,
    subject: &Subject,
    decision: &Decision,
    what: (u16, u8),
    refusal: Refusal,
    flags: u8,
    body: usize,
    bytes: u32,
) -> i32 {
    describe(claim, subject, decision, what, refusal, flags);
    repeat::tell(claim, body, bytes);
    // From memory: what the verifier does not know of it does not make it verify the telling once for each case.
    match claim.errno() {
        0 => 0,
        EACCES => read::minus_eacces(),
        _ => read::minus_eperm(),
    }
}

/// Records `decision` about a packet of the task in the slot, in full; the caller has filled body and bytes. No call
/// fails for it.
#[inline(always)]
pub fn record_packet(
    claim: &mut Claim,
    subject: &Subject,
    decision: &Decision,
    what: (u16, u8),
    body: usize,
    bytes: u32,
) {
    describe(claim, subject, decision, what, Refusal::Permission, 0);
    claim.header().errno = 0;
    claim.header().seq = table::next_sequence();
    ring::fill_asker(claim);
    ring::send(claim, body, bytes);
}

/// Counts an allowed file operation that was recorded before, by the object that its record was about. False where
/// nothing counts it: then it is to be recorded.
#[inline(always)]
pub fn repeated(subject: &Subject, decision: &Decision, operation: u8, object: u64) -> bool {
    let key = RepeatKey {
        slot: subject.slot,
        image: subject.image,
        generation: subject.generation,
        rule: decision.rule,
        cgroup: subject.cgroup,
        object,
        kind: kind::FILE,
        errno: 0,
        op: operation,
        verdict: verdict::ALLOW,
        reason: decision.reason,
        flags: 0,
        ..repeat::current()
    };
    repeat::count(&key)
}

/// Fills what the header says of a decision.
#[inline(always)]
fn describe(
    claim: &mut Claim,
    subject: &Subject,
    decision: &Decision,
    what: (u16, u8),
    refusal: Refusal,
    flags: u8,
) {
    let verdict = effective(subject, decision);
    let header = claim.header();
    header.kind = what.0;
    header.op = what.1;
    header.slot = subject.slot;
    header.image = subject.image;
    header.generation = subject.generation;
    header.rule = decision.rule;
    header.verdict = verdict;
    header.reason = decision.reason;
    header.flags = flags;
    header.errno = if verdict == verdict::DENY {
        if matches!(refusal, Refusal::Access) { EACCES } else { EPERM }
    } else {
        0
    };
    header.cgroup = subject.cgroup;
    header.counter = 0;
}

/// The hook's return value.
#[inline(always)]
pub fn answer(subject: &Subject, decision: &Decision, refusal: Refusal) -> i32 {
    if effective(subject, decision) == verdict::DENY { refuse(refusal) } else { 0 }
}
