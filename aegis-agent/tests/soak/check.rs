//! Holding the log against what was acknowledged.

use std::path::Path;

use aegis_agent::{
    proto::{control::EventsRequest, event::Event},
    store::{Filter, Finder, Index},
};
use aegis_log::Reader;
use prost::Message as _;

use crate::entry::{self, Id};

/// What a writer said before it was killed.
#[derive(Clone, Debug, Default)]
pub struct Life {
    /// The number of its first entry in the log.
    pub begins: Option<u64>,
    /// Its own first so many entries are durable.
    pub acknowledged: u64,
    /// It ended of its own.
    pub closed: bool,
}

impl Life {
    pub fn hear(&mut self, line: &str) {
        let (what, number) = line.split_once(' ').unwrap_or((line, ""));
        let number = || number.parse::<u64>().unwrap_or_else(|_| panic!("not a number: {line}"));
        let begins = self.begins.unwrap_or(0);
        match what {
            "begins" => self.begins = Some(number()),
            "recorded" => {
                assert_eq!(Some(number()), self.begins, "the first entry has another number than the log gave next");
                self.acknowledge(1);
            }
            // What was durable before it began is none of its own.
            "durable" => self.acknowledge(number().saturating_sub(begins)),
            "settled" => self.acknowledge(number()),
            "closed" => self.closed = true,
            // The test harness speaks too.
            _ => {}
        }
    }

    fn acknowledge(&mut self, count: u64) {
        self.acknowledged = self.acknowledged.max(count);
    }
}

/// The events of a log in order.
pub fn events(reader: &Reader) -> impl Iterator<Item = Event> + '_ {
    reader.entries(0).map(|entry| {
        let entry = entry.unwrap();
        let event = Event::decode(entry.body.unwrap().as_slice()).unwrap();
        assert_eq!(Id::of(&event).map(|id| id.kind() as u32), Some(entry.header.kind), "entry {}", entry.header.seq);
        event
    })
}

/// Entry by entry, every life in its turn from its first entry on, without a gap and none twice, at least as far as it said,
/// and from the number on that it said. How many entries each life has in the log.
pub fn hold(events: impl Iterator<Item = Event>, lives: &[Life]) -> Result<Vec<u64>, String> {
    let mut written = vec![0; lives.len()];
    let mut last = 0;
    for (seq, event) in (0_u64..).zip(events) {
        let id = Id::of(&event).ok_or_else(|| format!("entry {seq} is not what was written: {event:?}"))?;
        let life = usize::try_from(id.life).unwrap();
        let count = written.get_mut(life).ok_or_else(|| format!("entry {seq} is of a life that was not: {id:?}"))?;
        if life < last || id.n != *count {
            return Err(format!("entry {seq} is {id:?}, where the log has {count} entries of that life and the last one is of life {last}"));
        }
        if id.n == 0 && lives[life].begins != Some(seq) {
            return Err(format!("life {life} begins at entry {seq}, and said {:?}", lives[life].begins));
        }
        *count += 1;
        last = life;
    }
    for (number, (life, count)) in lives.iter().zip(&written).enumerate() {
        if *count < life.acknowledged {
            return Err(format!("{} entries of life {number} were acknowledged, {count} are there", life.acknowledged));
        }
    }
    Ok(written)
}

/// The index has a row for each entry, under the life that wrote it.
pub fn index(path: &Path, reader: &Reader, written: &[u64]) {
    let index = Index::open(path, reader.vkey().chain_id().unwrap()).unwrap();
    assert_eq!(index.next_seq(), reader.size());
    let finder = Finder::open(path).unwrap();
    let mut begins = 0;
    for (number, count) in (0..).zip(written) {
        let request = EventsRequest { agent: entry::agent(number), ..EventsRequest::default() };
        let found = finder.find(&Filter::new(&request).unwrap(), reader.size(), usize::MAX, &mut |_| Ok(true)).unwrap();
        assert_eq!(found, (begins..begins + count).collect::<Vec<_>>(), "the index's rows of life {number}");
        begins += count;
    }
}

/// Three lives, the middle one killed before it wrote anything; and the log they left, with one entry nobody was told of.
fn three_lives() -> (Vec<Event>, Vec<Life>) {
    let life = |begins, acknowledged| Life { begins, acknowledged, closed: false };
    let written = (0..5).map(|n| Id { life: 0, n }).chain((0..4).map(|n| Id { life: 2, n }));
    (written.map(Id::event).collect(), vec![life(Some(0), 4), life(None, 0), life(Some(5), 4)])
}

#[test]
fn what_was_acknowledged_and_is_there_passes() {
    let (mut events, lives) = three_lives();
    assert_eq!(hold(events.clone().into_iter(), &lives), Ok(vec![5, 0, 4]));
    // The entry that nobody was told of may be gone as well.
    events.remove(4);
    let lives = [lives[0].clone(), lives[1].clone(), Life { begins: Some(4), ..lives[2].clone() }];
    assert_eq!(hold(events.into_iter(), &lives), Ok(vec![4, 0, 4]));
}

#[test]
fn an_entry_that_is_missing_twice_moved_or_changed_is_noticed() {
    let (events, lives) = three_lives();
    for at in 0..events.len() {
        let mut twice = events.clone();
        twice.insert(at, events[at].clone());
        let mut later = events.clone();
        later.push(events[at].clone());
        let mut moved = events.clone();
        moved.swap(at, (at + 1) % events.len());
        let mut changed = events.clone();
        changed[at].reason.push('x');
        let mut missing = events.clone();
        missing.remove(at);
        for (what, events) in [("twice", twice), ("later", later), ("moved", moved), ("changed", changed), ("missing", missing)] {
            assert!(hold(events.into_iter(), &lives).is_err(), "entry {at} {what}");
        }
    }
}

#[test]
fn an_end_that_was_acknowledged_and_is_gone_is_noticed() {
    let (mut events, lives) = three_lives();
    events.pop();
    assert!(hold(events.into_iter(), &lives).unwrap_err().contains("acknowledged"));
    let (_, mut lives) = three_lives();
    lives[1] = Life { begins: Some(5), acknowledged: 1, closed: false };
    assert!(hold(three_lives().0.into_iter(), &lives).is_err());
}
