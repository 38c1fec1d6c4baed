//! One run of an agent, as far as the log tells of it in the time that was asked for.

use super::{
    detail::{Detail, is_deed, took_effect},
    sums::Times,
    tally::{Seen, Sum},
};
use crate::{
    cli::events::entry::Entry,
    proto::event::{Agent, Operator, Policy, Verdict, event::Detail as Told},
};

/// Bytes of a session's arguments that are kept.
const ARGV: usize = 2048;

/// How many events, and how they were decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries of the log.
    pub entries: u64,
    /// Events that they stand for: an entry with `count` is that many.
    pub events: u64,
    /// Of what the agent did: let go on.
    pub allowed: u64,
    /// Let go on, against the policy (`mode: audit`).
    pub audited: u64,
    /// Refused.
    pub denied: u64,
}

impl Sum for Totals {
    fn add(&mut self, other: &Self) {
        self.entries = self.entries.saturating_add(other.entries);
        self.events = self.events.saturating_add(other.events);
        self.allowed = self.allowed.saturating_add(other.allowed);
        self.audited = self.audited.saturating_add(other.audited);
        self.denied = self.denied.saturating_add(other.denied);
    }

    fn weight(&self) -> u64 {
        self.denied
    }
}

impl Totals {
    /// What an entry adds.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        let count = Times::of(entry).count;
        let verdict = entry.event.verdict;
        let mut totals = Self { entries: 1, events: count, ..Self::default() };
        if !is_deed(&entry.event) {
            return totals;
        }
        if verdict == Verdict::Audit as i32 {
            totals.audited = count;
        } else if took_effect(verdict) {
            totals.allowed = count;
        } else {
            totals.denied = count;
        }
        totals
    }
}

/// How it stands at the end of that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has ended.
    Ended,
    /// An operator killed it, and nobody let it go on.
    Killed,
    /// The log has no end of it.
    Running,
}

impl State {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Killed => "killed",
            Self::Running => "running",
        }
    }
}

/// A session.
#[derive(Debug, Default)]
pub struct Session {
    /// Name of the agent.
    pub agent: String,
    /// Id of this run of it; empty of records that no run is known for.
    pub id: String,
    /// When it began and with what, its arguments as far as [`ARGV`] goes.
    pub started: Option<(u64, Agent)>,
    /// There were more arguments.
    pub argv_cut: bool,
    /// Who asked for it.
    pub started_by: Option<Operator>,
    /// When it ended, how, and what it used.
    pub ended: Option<(u64, Agent)>,
    /// Entry and content of the newest policy.
    policy: Option<(u64, Policy)>,
    /// Greatest generation of a policy that decided.
    generation: u32,
    /// Nanoseconds since the Unix epoch of its first and last entry.
    pub span: Times,
    /// How much there is of it.
    pub totals: Totals,
    /// Bytes sent and received over connections that ended.
    pub over: (u64, u64),
    /// Entry of the last kill or thaw, and whether it was a kill.
    stopped: Option<(u64, bool)>,
    /// Entries of which this version does not know what they tell.
    pub unread: u64,
    /// What it did; nothing where only the totals are wanted.
    pub detail: Option<Box<Detail>>,
}

impl Session {
    /// Of which nothing is known yet.
    #[must_use]
    pub fn new(agent: &str, id: &str, detail: Option<Box<Detail>>) -> Self {
        Self { agent: agent.to_owned(), id: id.to_owned(), detail, ..Self::default() }
    }

    /// Adds an entry of the session.
    pub fn take(&mut self, entry: &Entry, seen: &mut Seen) {
        let event = &entry.event;
        self.span.add(&Times { count: 1, first: entry.time, last: entry.time });
        self.totals.add(&Totals::of(entry));
        self.generation = self.generation.max(event.generation);
        match &event.detail {
            None => self.unread += 1,
            Some(Told::AgentState(agent)) if agent.state == "started" => self.start_with(entry.time, agent),
            Some(Told::AgentState(agent)) if agent.state == "ended" => self.ended = Some((entry.time, agent.clone())),
            Some(Told::Policy(policy)) if self.policy.as_ref().is_none_or(|(seq, _)| *seq <= entry.seq) => {
                // A manifest is long, and no part of this.
                self.policy = Some((entry.seq, Policy { manifest: Vec::new(), ..policy.clone() }));
            }
            Some(Told::Operator(operator)) => self.operator(entry.seq, operator),
            Some(Told::Network(network)) if network.op == "close" && took_effect(event.verdict) => {
                let traffic = network.traffic.unwrap_or_default();
                self.over.0 = self.over.0.saturating_add(traffic.bytes_out);
                self.over.1 = self.over.1.saturating_add(traffic.bytes_in);
            }
            Some(_) => {}
        }
        if let Some(detail) = &mut self.detail {
            detail.take(entry, seen);
        }
    }

    fn start_with(&mut self, time: u64, agent: &Agent) {
        let mut room = ARGV;
        let fits = agent.argv.iter().take_while(|argument| {
            let fits = argument.len() < room;
            room = room.saturating_sub(argument.len() + 1);
            fits
        });
        let argv: Vec<_> = fits.cloned().collect();
        self.argv_cut = argv.len() < agent.argv.len();
        self.started = Some((time, Agent { argv, ..agent.clone() }));
    }

    fn operator(&mut self, seq: u64, operator: &Operator) {
        match operator.action.as_str() {
            "run" => self.started_by = Some(operator.clone()),
            "kill" | "thaw" if self.stopped.is_none_or(|(before, _)| before <= seq) => {
                self.stopped = Some((seq, operator.action == "kill"));
            }
            _ => {}
        }
    }

    /// How it stands.
    #[must_use]
    pub const fn state(&self) -> State {
        match (&self.ended, self.stopped) {
            (Some(_), _) => State::Ended,
            (None, Some((_, true))) => State::Killed,
            (None, _) => State::Running,
        }
    }

    /// The policy in force, when it was told in that time.
    #[must_use]
    pub fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref().map(|(_, policy)| policy)
    }

    /// Generation of the policy in force; 0 when nothing tells it.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.policy().map_or(self.generation, |policy| policy.generation.max(self.generation))
    }

    /// When it began; nothing when that is not in that time.
    #[must_use]
    pub fn start(&self) -> Option<u64> {
        self.started.as_ref().map(|(time, _)| *time)
    }

    /// How long it ran, nanoseconds, and whether that is all: else until its last entry.
    #[must_use]
    pub fn duration(&self) -> (u64, bool) {
        match &self.ended {
            Some((_, agent)) => (agent.duration_ns, true),
            None => (self.span.last.saturating_sub(self.start().unwrap_or(self.span.first)), false),
        }
    }

    /// Bytes sent and received, and whether that is all: else over connections that ended.
    #[must_use]
    pub fn traffic(&self) -> ((u64, u64), bool) {
        let used = self.ended.as_ref().and_then(|(_, agent)| agent.usage?.traffic);
        used.map_or((self.over, false), |traffic| ((traffic.bytes_out, traffic.bytes_in), true))
    }
}
