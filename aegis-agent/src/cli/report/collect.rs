//! Entries become sessions, in bounded room and in whatever order they come.
//!
//! Losses are of the host and not of an agent: whose record was lost is what is not known. They are held against
//! every session that ran when they were told, or had ended shortly before.

use std::{collections::HashMap, ops::RangeInclusive};

use super::{
    detail::Detail,
    session::{Session, Totals},
    tally::{Others, Seen},
};
use crate::{
    cli::{
        events::{entry::Entry, sink::Outlet},
        failure::Failure,
    },
    proto::event::{Kind, event::Detail as Told},
};

/// Sessions that are told apart.
pub const SESSIONS: usize = 4096;
/// Losses whose time is kept; later ones are held against everyone.
const LOSSES: usize = 4096;
/// How long after a record was lost its loss may be told: a number is late after a second, counters are looked at once
/// a second, and a slow disk holds up both.
const LATE: u64 = 10_000_000_000;

/// Records that were lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// What kind of records.
    pub kind: String,
    /// Where.
    pub place: String,
    /// How many.
    pub count: u64,
}

/// What a report is made of.
#[derive(Debug)]
pub struct Collector {
    agent: Option<String>,
    detailed: usize,
    seen: Seen,
    list: u64,
    sessions: HashMap<(String, String), Session>,
    /// Sessions beyond [`SESSIONS`].
    pub beyond: Others<Totals>,
    losses: Vec<(u64, Lost)>,
    losses_beyond: u64,
    /// Entries of which it cannot be told whose they are.
    pub unreadable: u64,
    last: Option<u64>,
}

impl Collector {
    /// Of this agent (name or session) or of all; the newest `detailed` sessions are told whole.
    #[must_use]
    pub fn new(agent: Option<String>, detailed: usize) -> Self {
        let mut seen = Seen::default();
        Self {
            agent,
            detailed,
            list: seen.list(),
            seen,
            sessions: HashMap::new(),
            beyond: Others::default(),
            losses: Vec::new(),
            losses_beyond: 0,
            unreadable: 0,
            last: None,
        }
    }

    /// Adds an entry, if it is wanted.
    pub fn take(&mut self, entry: &Entry) {
        self.last = Some(entry.seq);
        let event = &entry.event;
        if entry.undecoded.is_some() || !entry.unread.is_empty() {
            self.unreadable += 1;
        } else if let Some(Told::Loss(loss)) = &event.detail {
            let lost = Lost { kind: loss.kind.clone(), place: loss.r#where.clone(), count: loss.count };
            self.lose(entry.time, lost);
        } else if self.is_wanted(entry) {
            self.session(entry);
        }
    }

    /// What no agent did (life of the daemon, reading the log) is no part of a report.
    fn is_wanted(&self, entry: &Entry) -> bool {
        let event = &entry.event;
        match &self.agent {
            Some(agent) => *agent == event.agent || *agent == event.session,
            None => !(event.agent.is_empty() && event.session.is_empty()),
        }
    }

    fn session(&mut self, entry: &Entry) {
        let key = (entry.event.agent.clone(), entry.event.session.clone());
        if !self.sessions.contains_key(&key) {
            if self.sessions.len() >= SESSIONS {
                self.beyond.add(self.seen.is_new(self.list, &key), &Totals::of(entry));
                return;
            }
            let detail = self.make_room(entry.time).then(|| Box::new(Detail::new(&mut self.seen)));
            let session = Session::new(&key.0, &key.1, detail);
            self.sessions.insert(key.clone(), session);
        }
        if let Some(session) = self.sessions.get_mut(&key) {
            session.take(entry, &mut self.seen);
        }
    }

    /// Whether a session that begins at this time is told whole; takes the lists of an older one then.
    fn make_room(&mut self, time: u64) -> bool {
        let whole = self.sessions.values_mut().filter(|session| session.detail.is_some());
        let mut whole: Vec<&mut Session> = whole.collect();
        if whole.len() < self.detailed {
            return true;
        }
        match whole.iter_mut().min_by_key(|session| session.span.first) {
            Some(oldest) if oldest.span.first <= time => {
                oldest.detail = None;
                true
            }
            _ => false,
        }
    }

    fn lose(&mut self, time: u64, lost: Lost) {
        if self.losses.len() < LOSSES {
            self.losses.push((time, lost));
        } else {
            self.losses_beyond = self.losses_beyond.saturating_add(lost.count);
        }
    }

    /// The sessions, those with most denials first, of those the newest.
    #[must_use]
    pub fn sessions(&self) -> Vec<&Session> {
        let mut sessions: Vec<&Session> = self.sessions.values().collect();
        let key = |session: &Session| (std::cmp::Reverse((session.totals.denied, session.span.first)), session.id.clone());
        sessions.sort_by_cached_key(|session| key(session));
        sessions
    }

    /// What was lost while a session ran, by kind and place.
    #[must_use]
    pub fn lost(&self, session: &Session) -> Vec<Lost> {
        let span = span(session);
        let mut lost = sum(self.losses.iter().filter(|(time, _)| span.contains(time)).map(|(_, lost)| lost));
        if self.losses_beyond > 0 {
            lost.push(Lost { kind: "later".to_owned(), place: "at a time that this report did not keep".to_owned(), count: self.losses_beyond });
        }
        lost
    }

    /// Everything that was lost in that time.
    #[must_use]
    pub fn lost_in_all(&self) -> u64 {
        self.losses.iter().fold(self.losses_beyond, |sum, (_, lost)| sum.saturating_add(lost.count))
    }

    /// Records lost while any of the sessions ran.
    #[must_use]
    pub fn lost_of_sessions(&self) -> u64 {
        let spans: Vec<_> = self.sessions.values().map(span).collect();
        // When those ran that are not told apart is not known.
        let any = self.beyond.sum.entries > 0;
        let during = self.losses.iter().filter(|(time, _)| any || spans.iter().any(|span| span.contains(time)));
        during.fold(self.losses_beyond, |sum, (_, lost)| sum.saturating_add(lost.count))
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Entries whose bodies, or whose meaning, this version does not know.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.sessions.values().fold(self.unreadable, |sum, session| sum.saturating_add(session.unread))
    }
}

/// When a loss may have been one of the session's records.
fn span(session: &Session) -> RangeInclusive<u64> {
    let end = session.ended.as_ref().map_or(u64::MAX, |(time, _)| time.saturating_add(LATE));
    session.start().unwrap_or(0)..=end
}

fn sum<'a>(losses: impl Iterator<Item = &'a Lost>) -> Vec<Lost> {
    let mut sums: Vec<Lost> = Vec::new();
    for lost in losses {
        match sums.iter_mut().find(|sum| sum.kind == lost.kind && sum.place == lost.place) {
            Some(sum) => sum.count = sum.count.saturating_add(lost.count),
            None => sums.push(lost.clone()),
        }
    }
    sums
}

impl Outlet for Collector {
    fn put(&mut self, entry: &Entry) -> Result<(), Failure> {
        self.take(entry);
        Ok(())
    }

    fn put_saved(&mut self, entry: &Entry, _line: &str) -> Result<(), Failure> {
        self.put(entry)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn last(&self) -> Option<u64> {
        self.last
    }
}

/// The kind of entries that tell of losses, which belong to no agent.
pub const LOSS: u32 = Kind::Loss as u32;
