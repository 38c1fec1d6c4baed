//! The thread that tells: records in terms of the host and its policies, and again what is counted of them.

use std::{collections::HashMap, sync::mpsc::Receiver};

use aegis_common::event::{EventHeader, kind};

use super::Batch;
use crate::{
    audit::{AuditError, AuditLog},
    decide::Decider,
    enrich::Enricher,
    proto::event::{Dns, Event, File, Guard, Kind, Network, Repeat, event::Detail as Told},
    record::{Detail, Draft, KernelEvent, Repetition},
    words,
};

pub(super) struct Teller {
    pub enricher: Enricher,
    pub decider: Decider,
    pub audit: AuditLog,
    /// Events whose repetitions are counted, by the place of the counter: the record's number and how it was told. As
    /// many as there are counters.
    pub counted: HashMap<u32, (u64, Draft)>,
    /// The same that an earlier engine told, by the record's number.
    pub told_before: HashMap<u64, Draft>,
}

impl Teller {
    pub(super) fn run(mut self, queue: &Receiver<Batch>) {
        while let Ok(batch) = queue.recv() {
            let sent = match batch {
                Batch::Events(events) => {
                    self.enricher.begin_batch();
                    let drafts: Vec<Draft> = events.into_iter().filter_map(|event| self.event(event)).collect();
                    if drafts.is_empty() { Ok(()) } else { self.audit.send(drafts) }
                }
                Batch::Repeats(look) => self.repeats(look),
                Batch::Drafts(drafts) => self.audit.send(drafts),
                Batch::Barrier(done) => self.audit.barrier(done),
            };
            if sent.is_err() {
                // The log is closed: the daemon is about to end, the ring keeps what comes.
                return;
            }
        }
    }

    fn event(&mut self, event: KernelEvent) -> Option<Draft> {
        let own = self.decider.mounts(event.header.slot);
        let record = self.enricher.enrich(event, own.as_deref())?;
        let header = record.header;
        self.decider.count(header.slot, header.verdict, 1);
        let draft = self.decider.decide(record);
        if let Some(place) = header.counter.checked_sub(1) {
            self.counted.insert(place, (header.seq, draft.clone()));
        }
        Some(draft)
    }

    fn repeats(&mut self, look: super::Look) -> Result<(), AuditError> {
        self.enricher.begin_batch();
        for (place, of) in &look.ended {
            if self.counted.get(place).is_some_and(|(seq, _)| seq == of) {
                self.counted.remove(place);
            }
        }
        let drafts: Vec<Draft> = look.repetitions.iter().map(|again| self.repetition(again)).collect();
        if !drafts.is_empty() {
            self.audit.send(drafts)?;
        }
        look.durable.map_or(Ok(()), |done| self.audit.durable(done))
    }

    /// The event once more, as often as it was counted.
    fn repetition(&mut self, again: &Repetition) -> Draft {
        self.decider.count(again.key.slot, again.key.verdict, again.count);
        let known = match self.counted.get(&again.place) {
            Some((of, draft)) if *of == again.of => Some(draft.clone()),
            _ => self.told_before.remove(&again.of),
        };
        let draft = match known {
            Some(draft) => draft,
            None => self.unknown(again),
        };
        // Told before by an earlier engine or not at all: from now on it is known.
        self.counted.insert(again.place, (again.of, draft.clone()));
        let end_time = self.enricher.wall_of(again.last);
        let start_time = if again.first == 0 { draft.time } else { self.enricher.wall_of(again.first) };
        let repeat = Repeat { of: again.of, count: again.count, total: again.total, start_time, end_time };
        let event = Event { kernel_seq: 0, repeat: Some(repeat), ..draft.event };
        Draft { kind: draft.kind, time: end_time, event, urgent: false }
    }

    /// An event that is not in the log (it was lost with the engine that had read it): what its counter says of it.
    fn unknown(&mut self, again: &Repetition) -> Draft {
        let key = &again.key;
        let header = EventHeader {
            boottime: again.last,
            cgroup: key.cgroup,
            start: key.start,
            slot: key.slot,
            image: key.image,
            generation: key.generation,
            rule: key.rule,
            pid: key.pid,
            uid: key.uid,
            kind: key.kind,
            errno: key.errno,
            op: key.op,
            verdict: key.verdict,
            reason: key.reason,
            flags: key.flags,
            ..EventHeader::default()
        };
        let (op, errno) = (words::op(key.op).to_owned(), u32::from(key.errno));
        let (kind, detail) = match key.kind {
            kind::NETWORK | kind::UNIX => (Kind::Network, Told::Network(Network { op, errno, ..Network::default() })),
            kind::DNS => (Kind::Dns, Told::Dns(Dns { op, errno, ..Dns::default() })),
            kind::GUARD => (Kind::Guard, Told::Guard(Guard { op, errno, ..Guard::default() })),
            _ => (Kind::File, Told::File(File { op, errno, ..File::default() })),
        };
        // Told as of an exit: that says who the process is, and nothing else. No thread's, so that nobody is taken for ended.
        let told = self.enricher.enrich(KernelEvent { header, detail: Detail::Exit { status: 0 } }, None);
        let mut draft = match told {
            Some(record) => self.decider.decide(record),
            None => Draft { kind: 0, time: 0, event: Event::default(), urgent: false },
        };
        draft.kind = kind as u32;
        draft.event.detail = Some(detail);
        draft
    }
}
