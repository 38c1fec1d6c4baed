//! What a governed task may never do, whatever its policy says, and what is told of it beside files and
//! addresses: one record shape for all of it.

use aegis_common::{
    counter::Counter,
    event::{GuardBody, kind},
    policy::image_flag,
};

use crate::{
    conclude::{self, Refusal, answer},
    judge::Decision,
    read::{scratch::Claim, table},
    subject::Subject,
};

/// One refusal.
pub struct Guarded {
    /// `op::*`.
    pub op: u8,
    /// `reason::*`.
    pub reason: u8,
    /// What it was about.
    pub subject: u64,
    /// More of it.
    pub detail: u64,
    /// How it is refused.
    pub refusal: Refusal,
    /// The kernel asks without the caller's doing (`NOAUDIT`): refused, but not recorded.
    pub silent: bool,
}

/// Refuses and records.
#[inline(always)]
pub fn refuse(subject: &Subject, guarded: &Guarded) -> i32 {
    let reason = if subject.blocked != 0 { subject.blocked } else { guarded.reason };
    conclude(subject, guarded, Decision::refuse(reason))
}

/// Refuses by a rule of the policy, and records.
#[inline(always)]
pub fn refuse_by(subject: &Subject, guarded: &Guarded, rule: u32) -> i32 {
    conclude(subject, guarded, Decision::refuse_by(rule, guarded.reason))
}

/// Records what was decided about the guarded operation, and answers.
#[inline(always)]
pub fn conclude(subject: &Subject, guarded: &Guarded, decision: Decision) -> i32 {
    if !guarded.silent {
        if let Some(mut claim) = Claim::take() {
            claim.set_body(GuardBody { subject: guarded.subject, detail: guarded.detail });
            let result = conclude::record_once(
                &mut claim,
                subject,
                &decision,
                (kind::GUARD, guarded.op),
                guarded.refusal,
                0,
                size_of::<GuardBody>(),
                0,
            );
            claim.release();
            return result;
        }
        table::count(Counter::LostGuard);
        if decision.deny {
            table::count(Counter::LostDenial);
        } else if decision.record && subject.has(image_flag::RECORD_OR_DENY) {
            table::count(Counter::LostDenial);
            table::count(Counter::Unrecorded);
            return conclude::refuse(guarded.refusal);
        }
    }
    answer(subject, &decision, guarded.refusal)
}

/// Refuses a task whose agent is killed or has no policy, where no file is concerned.
#[inline(always)]
pub fn blocked(subject: &Subject, operation: u8) -> i32 {
    refuse(subject, &Guarded {
        op: operation,
        reason: subject.blocked,
        subject: 0,
        detail: 0,
        refusal: Refusal::Permission,
        silent: false,
    })
}
