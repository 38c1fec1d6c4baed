//! The end of every hook: the record and the return value.

use aegis_common::{
    event::{reason, verdict},
    policy::image_flag,
};

use crate::{
    judge::Decision,
    read::{self, ring, scratch::Claim},
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

/// Fills the header for `decision`; the caller has filled body and bytes.
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
    ring::fill_task(header, subject.cgroup);
    ring::send(claim, body, bytes);
}

/// The hook's return value.
#[inline(always)]
pub fn answer(subject: &Subject, decision: &Decision, refusal: Refusal) -> i32 {
    if effective(subject, decision) == verdict::DENY { refuse(refusal) } else { 0 }
}
