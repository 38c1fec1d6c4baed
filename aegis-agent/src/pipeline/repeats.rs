//! What repeat counters have counted, told as differences; and which counters may be given back.
//!
//! Knows counts and time. Knows nothing of rings, events or the log.
//!
//! A counter that has not grown from one look to the next is given back in three steps, so that no count can be lost
//! whatever runs beside it and whenever the daemon dies: it is hidden from programs; when every program has ended that
//! may have found it, its last count is told; when that is durable, it is given back. A daemon that dies before the
//! last step leaves the counter as it is, and the next one finds in the log how much of it has been told.

use std::{
    collections::{BTreeMap, HashMap},
    sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
};

use aegis_common::repeat::{Repeat, RepeatKey};

use crate::record::Repetition;

/// Looks without growth after which a counter is given back.
const IDLE: u32 = 2;

/// The counters: the kernel's, or a test's.
pub trait RepeatSource: Send {
    /// Every counter that continues a record: its place and how it stands.
    fn each(&self, visit: &mut dyn FnMut(u32, &Repeat));
    /// Notes that the count was looked at when it was `count`.
    fn seen(&mut self, place: u32, count: u64);
    /// No program finds a counter by this key from now on; false when that failed.
    fn hide(&mut self, key: &RepeatKey) -> bool;
    /// Is told when every program has ended that runs now; closed without it when that can't be known.
    fn quiet(&self) -> Receiver<()>;
    /// Gives back a counter that no program finds and none is counting in.
    fn give_back(&mut self, place: u32);
}

/// What is known of a counter.
struct Known {
    of: u64,
    told: u64,
    /// When the last of what was told happened.
    last: u64,
    idle: u32,
}

/// Counters on their way back.
enum Leaving {
    /// Programs that found them may still be counting, until told.
    Hidden(Vec<u32>, Receiver<()>),
    /// Their counts are final.
    Quiet(Vec<u32>),
    /// Their counts are told, and durable when that is signalled.
    Told(Vec<u32>, Receiver<()>),
}

/// What a look has found.
#[derive(Default)]
pub struct Look {
    /// To be told.
    pub repetitions: Vec<Repetition>,
    /// To be signalled when what is to be told is durable.
    pub durable: Option<SyncSender<()>>,
    /// Counters that count no longer, by their places and the records that they continued: these can be forgotten. The
    /// place may be another record's by now.
    pub ended: Vec<(u32, u64)>,
}

/// Counters and how much of them has been told.
pub struct Repeats {
    source: Box<dyn RepeatSource>,
    /// By place.
    known: BTreeMap<u32, Known>,
    leaving: Option<Leaving>,
    ended: Vec<(u32, u64)>,
    /// How much an earlier engine has told, by the record's number.
    told_before: HashMap<u64, u64>,
}

impl Repeats {
    /// `told_before` is what the log says of counters that an earlier engine left, by the record's number.
    pub fn new(source: Box<dyn RepeatSource>, told_before: HashMap<u64, u64>) -> Self {
        Self { source, known: BTreeMap::new(), leaving: None, ended: Vec::new(), told_before }
    }

    /// Takes counters a step further on their way back, if it is time for one. Answers whether a look is due.
    pub fn advance(&mut self) -> bool {
        let waited = match &self.leaving {
            Some(Leaving::Hidden(_, wait) | Leaving::Told(_, wait)) => wait.try_recv(),
            Some(Leaving::Quiet(_)) => return true,
            None => return false,
        };
        if waited == Err(TryRecvError::Empty) {
            return false;
        }
        match self.leaving.take() {
            Some(Leaving::Hidden(places, _)) if waited.is_ok() => self.leaving = Some(Leaving::Quiet(places)),
            // It can't be known yet: asked again.
            Some(Leaving::Hidden(places, _)) => self.leaving = Some(Leaving::Hidden(places, self.source.quiet())),
            Some(Leaving::Told(places, _)) if waited.is_ok() => {
                for place in places {
                    self.ended.extend(self.known.remove(&place).map(|known| (place, known.of)));
                    self.source.give_back(place);
                }
            }
            // The log is closed, and the daemon about to end: the next one goes on from here.
            other => self.leaving = other,
        }
        matches!(self.leaving, Some(Leaving::Quiet(_)))
    }

    /// Looks at every counter. `aging` when a look's time has passed since the one before: counters that have not
    /// grown meanwhile grow old.
    pub fn look(&mut self, aging: bool) -> Look {
        let mut now = Vec::new();
        self.source.each(&mut |place, counter| now.push((place, *counter)));
        let mut look = Look { ended: std::mem::take(&mut self.ended), ..Look::default() };
        let mut old = Vec::new();
        for (place, counter) in now {
            look.repetitions.extend(self.count(place, &counter, aging));
            if self.known.get(&place).is_some_and(|known| known.idle >= IDLE) {
                old.push((place, counter.key));
            }
        }
        match self.leaving.take() {
            Some(Leaving::Quiet(places)) => {
                let (done, durable) = sync_channel(1);
                look.durable = Some(done);
                self.leaving = Some(Leaving::Told(places, durable));
            }
            None => self.hide(&old),
            other => self.leaving = other,
        }
        look
    }

    /// What a counter has counted since it was told last.
    fn count(&mut self, place: u32, counter: &Repeat, aging: bool) -> Option<Repetition> {
        let known = self.known.entry(place).or_insert(Known { of: 0, told: 0, last: 0, idle: 0 });
        if known.of != counter.seq {
            let told = self.told_before.remove(&counter.seq).unwrap_or(0);
            *known = Known { of: counter.seq, told, last: 0, idle: 0 };
        } else if aging && counter.count == known.told {
            known.idle += 1;
        }
        let count = counter.count.checked_sub(known.told).filter(|n| *n > 0)?;
        // A program that counted while we looked has kept the time of an earlier look; what was told before, and what
        // an engine before has seen and not told, only bound the first one from below.
        let first = if counter.seen == known.told { counter.first.max(known.last) } else { known.last };
        self.source.seen(place, counter.count);
        *known = Known { told: counter.count, last: counter.last, idle: 0, ..*known };
        Some(Repetition {
            place,
            of: counter.seq,
            count,
            total: counter.count,
            first,
            last: counter.last,
            key: counter.key,
        })
    }

    fn hide(&mut self, old: &[(u32, RepeatKey)]) {
        let hidden: Vec<u32> =
            old.iter().filter(|(_, key)| self.source.hide(key)).map(|(place, _)| *place).collect();
        if !hidden.is_empty() {
            self.leaving = Some(Leaving::Hidden(hidden, self.source.quiet()));
        }
    }
}

#[cfg(test)]
mod tests;
