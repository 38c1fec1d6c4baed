//! What is counted of each object, and what objects there are.
//!
//! Shapes alone: which entry goes where is [`super::detail`]'s, how they look is [`super::json`]'s and
//! [`super::text`]'s.

use super::tally::Sum;
use crate::{cli::events::entry::Entry, proto::event};

/// How often, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Events, each repetition one.
    pub count: u64,
    /// Nanoseconds since the Unix epoch: the first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
}

impl Times {
    /// What one entry stands for: itself, or as many repetitions as it counts.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        match &entry.event.repeat {
            Some(repeat) => Self { count: repeat.count, first: repeat.start_time, last: repeat.end_time },
            None => Self { count: 1, first: entry.time, last: entry.time },
        }
    }
}

impl Sum for Times {
    fn add(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.first = if self.count == 0 { other.first } else { self.first.min(other.first) };
        self.last = self.last.max(other.last);
        self.count = self.count.saturating_add(other.count);
    }

    fn weight(&self) -> u64 {
        self.count
    }
}

/// Runs of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// It began.
    pub count: u64,
    /// It was refused.
    pub denied: u64,
}

impl Sum for Runs {
    fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.denied = self.denied.saturating_add(other.denied);
    }

    fn weight(&self) -> u64 {
        self.count.saturating_add(self.denied)
    }
}

/// What went to and from a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// Connections that were let begin (connect, or accept).
    pub connections: u64,
    /// Messages to it without a connection.
    pub sends: u64,
    /// Connections that ended. Bytes are theirs: IP packets, headers included.
    pub ended: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
}

impl Sum for Contact {
    fn add(&mut self, other: &Self) {
        self.connections = self.connections.saturating_add(other.connections);
        self.sends = self.sends.saturating_add(other.sends);
        self.ended = self.ended.saturating_add(other.ended);
        self.bytes_out = self.bytes_out.saturating_add(other.bytes_out);
        self.bytes_in = self.bytes_in.saturating_add(other.bytes_in);
    }

    fn weight(&self) -> u64 {
        // What was sent is what one looks for first.
        self.bytes_out.saturating_add(self.connections).saturating_add(self.sends)
    }
}

/// Questions about a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Questions {
    /// Asked and let go.
    pub asked: u64,
    /// Answers that were let in.
    pub answered: u64,
    /// Questions and answers that were refused.
    pub denied: u64,
}

impl Sum for Questions {
    fn add(&mut self, other: &Self) {
        self.asked = self.asked.saturating_add(other.asked);
        self.answered = self.answered.saturating_add(other.answered);
        self.denied = self.denied.saturating_add(other.denied);
    }

    fn weight(&self) -> u64 {
        self.asked.saturating_add(self.denied)
    }
}

/// A file, in the host's view; empty where it is not known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(pub Vec<u8>);

/// Something under another name than before.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Move {
    /// The name before.
    pub path: Vec<u8>,
    /// The name after.
    pub target: Vec<u8>,
}

/// Whom an agent speaks with. Of a connection that it accepted the port is its own: the peer's means nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// Name that was asked for, when known.
    pub name: String,
    /// IP address, or a Unix socket.
    pub address: String,
    /// Port; 0 where there is none.
    pub port: u32,
    /// tcp, udp, unix, ...
    pub protocol: String,
}

impl Peer {
    /// The other side of an operation, at this port.
    #[must_use]
    pub fn of(network: &event::Network, port: u32) -> Self {
        let (name, address, protocol) = (network.name.clone(), network.address.clone(), network.protocol.clone());
        Self { name, address, port, protocol }
    }
}

/// A decision of one kind on one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Decision {
    /// The word of the verdict.
    pub verdict: String,
    /// What was tried.
    pub op: String,
    /// On what: a path, an address, a name, a guard's subject.
    pub object: Vec<u8>,
    /// The rule that decided.
    pub rule: String,
    /// Why, as a word.
    pub reason: String,
}

/// An operation of which there is no list of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Operation {
    /// What.
    pub op: String,
    /// On what.
    pub object: Vec<u8>,
}

/// What the daemon says of an agent's life between start and end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Note {
    /// `limit`, `adopted`, ...
    pub state: String,
    /// In words.
    pub text: String,
}

/// A rule by which secrets are kept out of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RedactionRule(pub String);
