//! Whose operation it was and which rule decided it.
//!
//! Architecture invariant: an enforced verdict is recorded, never recomputed. This stage puts names to
//! the numbers that the kernel wrote and counts; it decides nothing again.

use std::sync::Arc;

use aegis_common::{
    event::{EventHeader, kind, op, verdict},
    path::perm,
    policy::RULE_DEFAULT,
};

use crate::{
    directory::Directory,
    mountinfo::Mount,
    proto::event::{Event, Verdict},
    record::{Draft, Enriched},
    words,
};

/// Id told for decisions that no rule made.
const DEFAULT: &str = "default";

/// Puts names to numbers.
pub struct Decider {
    directory: Arc<Directory>,
}

impl Decider {
    /// Names come from `directory`.
    #[must_use]
    pub const fn new(directory: Arc<Directory>) -> Self {
        Self { directory }
    }

    /// Counts decisions of an agent.
    pub fn count(&self, slot: u32, verdict: u8, times: u64) {
        if let Some(agent) = self.directory.agent(slot) {
            agent.count(is_denial(verdict), times);
        }
    }

    /// The mounts that an agent sees, where they are others than the host's.
    #[must_use]
    pub fn mounts(&self, slot: u32) -> Option<Arc<[Mount]>> {
        self.directory.agent(slot)?.mounts()
    }

    /// The log entry for a record.
    #[must_use]
    pub fn decide(&self, record: Enriched) -> Draft {
        let header = &record.header;
        let denied = is_denial(header.verdict);
        let agent = self.directory.agent(header.slot);
        let image = agent.as_ref().and_then(|a| a.image(header.image));
        let rule = match &image {
            _ if header.rule == RULE_DEFAULT => DEFAULT.to_owned(),
            Some(image) => image
                .rules
                .decided(header.rule, wanted(header), header.verdict != verdict::ALLOW)
                .map_or_else(|| format!("#{}", header.rule), |r| r.id.clone()),
            // An image of which this engine knows nothing: the number is all there is.
            None => format!("#{}", header.rule),
        };
        let event = Event {
            verdict: verdict_of(header.verdict) as i32,
            agent: agent.as_ref().map_or_else(|| format!("slot {}", header.slot), |a| a.name.clone()),
            session: agent.as_ref().map(|a| a.session.clone()).unwrap_or_default(),
            rule,
            generation: header.generation,
            image: image.as_ref().map(|i| i.sha256.clone()).unwrap_or_default(),
            reason: words::reason(header.reason).to_owned(),
            process: Some(record.process),
            kernel_seq: header.seq,
            repeat: None,
            redacted: Vec::new(),
            in_agent: record.in_agent,
            detail: Some(record.detail),
        };
        Draft { kind: record.kind, time: record.time, event, urgent: denied }
    }
}

const fn is_denial(number: u8) -> bool {
    matches!(number, verdict::DENY | verdict::KILL)
}

const fn verdict_of(number: u8) -> Verdict {
    match number {
        verdict::ALLOW => Verdict::Allow,
        verdict::AUDIT => Verdict::Audit,
        verdict::DENY => Verdict::Deny,
        verdict::ASK => Verdict::Ask,
        verdict::THROTTLE => Verdict::Throttle,
        verdict::KILL => Verdict::Kill,
        _ => Verdict::Unspecified,
    }
}

/// The permissions that an operation wants, as the kernel programs have it; 0 for addresses.
const fn wanted(header: &EventHeader) -> u8 {
    match header.kind {
        kind::EXEC => return perm::EXEC,
        kind::UNIX => return perm::WRITE,
        kind::FILE => {}
        _ => return 0,
    }
    match header.op {
        op::OPEN_READ => perm::READ,
        op::OPEN_READ_WRITE | op::RECEIVE => perm::READ | perm::WRITE,
        op::EXEC | op::MAP_EXEC => perm::EXEC,
        op::OPEN_NONE => perm::ALL,
        op::OPEN_WRITE | op::TRUNCATE => perm::WRITE,
        _ => perm::NAME,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::{
        decode::decode,
        directory::AgentView,
        enrich::{Enricher, RealProcfs},
        testkit::Record,
    };

    fn decided(record: &Record) -> (Draft, Arc<AgentView>) {
        let directory = Arc::new(Directory::default());
        let agent = Arc::new(AgentView::new("coder", "s1"));
        directory.set(1, agent.clone());
        let enriched = Enricher::new(None, Box::new(RealProcfs))
            .enrich(decode(&record.bytes()).expect("record"), None)
            .expect("told");
        let decider = Decider::new(directory);
        decider.count(enriched.header.slot, enriched.header.verdict, 1);
        (decider.decide(enriched), agent)
    }

    #[test]
    fn a_denial_is_urgent_named_and_counted() {
        let (draft, agent) = decided(&Record::file(5, b"/etc/shadow", b"").denied(13));
        assert!(draft.urgent);
        assert_eq!((draft.event.agent.as_str(), draft.event.session.as_str()), ("coder", "s1"));
        assert_eq!((draft.event.rule.as_str(), draft.event.reason.as_str()), ("default", "rule"));
        assert_eq!(draft.event.verdict(), Verdict::Deny);
        assert_eq!(draft.event.kernel_seq, 5);
        assert_eq!(read(&agent.denied), 1);
    }

    #[test]
    fn an_unknown_image_leaves_the_rules_number() {
        let mut record = Record::file(5, b"/x", b"");
        record.header.rule = 17;
        let (draft, agent) = decided(&record);
        assert_eq!(draft.event.rule, "#17");
        assert!(!draft.urgent);
        assert_eq!(read(&agent.allowed), 1);
    }

    #[test]
    fn an_unknown_slot_is_told_as_such() {
        let mut record = Record::file(5, b"/x", b"");
        record.header.slot = 9;
        assert_eq!(decided(&record).0.event.agent, "slot 9");
    }

    fn read(counter: &AtomicU64) -> u64 {
        counter.load(std::sync::atomic::Ordering::Relaxed)
    }
}
