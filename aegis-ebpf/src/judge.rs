//! From what was looked up to a decision. No kernel structs here, and no records.

use aegis_common::{
    counter::Counter,
    event::reason,
    net::{PortRule, server_check},
    path::path_flag,
    policy::{RULE_DEFAULT, image_flag},
};

use crate::{
    read::{scratch::Found, server::Said, table, walk::outcome},
    subject::Subject,
};

/// What is to happen, and why.
#[derive(Clone, Copy)]
pub struct Decision {
    /// Whether the call is refused.
    pub deny: bool,
    /// `reason::*`.
    pub reason: u8,
    /// Whether an allowed call is recorded.
    pub record: bool,
    /// Number of the rule that decided.
    pub rule: u32,
}

impl Decision {
    /// Refused, by no rule of the policy.
    #[inline(always)]
    pub const fn refuse(reason: u8) -> Self {
        Self { deny: true, reason, record: true, rule: RULE_DEFAULT }
    }

    /// Refused by a rule.
    #[inline(always)]
    pub const fn refuse_by(rule: u32, reason: u8) -> Self {
        Self { deny: true, reason, record: true, rule }
    }

    /// Allowed.
    #[inline(always)]
    pub const fn allow(rule: u32, reason: u8, record: bool) -> Self {
        Self { deny: false, reason, record, rule }
    }
}

/// Judges what a walk found; `below`, of a name that an overlay uses.
#[inline(always)]
pub fn name(subject: &Subject, found: &Found, below: bool) -> Decision {
    if below { layer(found) } else { path(subject, found) }
}

/// Judges what a walk found: a deny on any level wins, then what any level grants, then the default.
#[inline(always)]
pub fn path(subject: &Subject, found: &Found) -> Decision {
    if let Some(denied) = denied(found) {
        return denied;
    }
    let wanted = found.wanted;
    if wanted & !(found.allow | subject.default_perms) != 0 {
        return Decision::refuse(reason::DEFAULT);
    }
    if wanted & found.allow == 0 {
        return Decision::allow(RULE_DEFAULT, reason::DEFAULT, subject.has(image_flag::RECORD_DEFAULT));
    }
    let record = found.rule_flags & u32::from(path_flag::RECORD) != 0;
    Decision::allow(found.allow_rule, reason::RULE, record)
}

/// Judges what a walk found of a name that an overlay uses: what is allowed was decided by the overlay's own
/// names, and is recorded by them.
#[inline(always)]
fn layer(found: &Found) -> Decision {
    denied(found).unwrap_or(Decision::allow(RULE_DEFAULT, reason::DEFAULT, false))
}

/// The decision where nothing that grants can change it.
#[inline(always)]
fn denied(found: &Found) -> Option<Decision> {
    if found.outcome != outcome::WHOLE {
        let (counter, reason) = match found.outcome {
            outcome::TOO_DEEP => (Counter::PathTooDeep, reason::TOO_DEEP),
            outcome::DISCONNECTED => (Counter::PathDisconnected, reason::DISCONNECTED),
            outcome::CHANGED => (Counter::PathChanged, reason::PATH_CHANGED),
            _ => (Counter::ReadFailed, reason::READ_FAILED),
        };
        table::count(counter);
        return Some(Decision::refuse(reason));
    }
    (found.wanted & found.deny != 0).then_some(Decision::refuse_by(found.deny_rule, reason::RULE))
}

/// What a path grants after its denies: compared between source and target of a rename.
#[inline(always)]
pub fn granted(subject: &Subject, found: &Found) -> u32 {
    (found.allow | subject.default_perms) & !found.deny
}

/// Judges a question about a name, by the first of its rules.
#[inline(always)]
pub fn question(subject: &Subject, rule: Option<PortRule>) -> Decision {
    if subject.blocked != 0 { Decision::refuse(subject.blocked) } else { address(subject, rule) }
}

/// Judges the server that a connection names at its beginning, by a rule that its address was reached by.
#[inline(always)]
pub fn server(said: Said, fits: bool, rule: u32, check: u8) -> Decision {
    let reason = match said {
        Said::Name if fits => reason::RULE,
        Said::Name => reason::SERVER_NAME,
        Said::Nothing => reason::NO_SERVER_NAME,
        Said::Odd => reason::MALFORMED,
    };
    match check {
        server_check::OFF => Decision::allow(rule, reason::RULE, false),
        server_check::RECORD => Decision::allow(rule, reason, true),
        _ if reason == reason::RULE => Decision::allow(rule, reason, false),
        _ => Decision::refuse_by(rule, reason),
    }
}

/// Judges an address.
#[inline(always)]
pub fn address(subject: &Subject, rule: Option<PortRule>) -> Decision {
    match rule {
        Some(rule) if rule.allow == 1 => {
            Decision::allow(rule.rule, reason::RULE, rule.record == 1)
        }
        Some(rule) => Decision::refuse_by(rule.rule, reason::RULE),
        None if subject.default_network == 1 => Decision::allow(
            RULE_DEFAULT,
            reason::DEFAULT,
            subject.has(image_flag::RECORD_DEFAULT),
        ),
        None => Decision::refuse(reason::DEFAULT),
    }
}
