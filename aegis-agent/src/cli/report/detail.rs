//! What one session did, in lists.
//!
//! Knows which entry belongs where. What took effect is in the lists of what was done; what a rule or guard
//! held against, refused or not, is a decision.

use super::{
    sums::{Contact, Decision, Move, Note, Operation, Path, Peer, Questions, RedactionRule, Runs, Times},
    tally::{Seen, Tally},
};
use crate::{
    cli::events::{entry::Entry, short},
    proto::event::{Dns, Event, Exit, File, Network, Operator, Verdict, event::Detail as Told},
};

/// Acts of operators that are kept.
const ACTS: usize = 64;

/// What an operator did to a session.
#[derive(Debug)]
pub struct Act {
    /// Sequence of the entry.
    pub seq: u64,
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// Who, what, how it went.
    pub operator: Operator,
}

/// Processes that ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// All of them.
    pub ended: u64,
    /// With another code than 0.
    pub failed: u64,
    /// By a signal.
    pub killed: u64,
}

/// The lists.
#[derive(Debug)]
pub struct Detail {
    /// Refused, or held against by a policy that only watches.
    pub decisions: Tally<Decision, Times>,
    /// What no agent may do, tried.
    pub guards: Tally<Decision, Times>,
    /// Programs that began or were refused.
    pub programs: Tally<Path, Runs>,
    /// Other files mapped as code.
    pub code: Tally<Path, Times>,
    /// Opened for reading.
    pub read: Tally<Path, Times>,
    /// Opened for writing, or truncated.
    pub written: Tally<Path, Times>,
    /// Made, by whatever call.
    pub created: Tally<Path, Times>,
    /// Removed.
    pub removed: Tally<Path, Times>,
    /// Renamed.
    pub moved: Tally<Move, Times>,
    /// Peers it connected or sent to.
    pub contacted: Tally<Peer, Contact>,
    /// Peers that connected to it; the port is its own.
    pub accepted: Tally<Peer, Contact>,
    /// Own addresses it took or listened at.
    pub listened: Tally<Peer, Times>,
    /// Names it asked for.
    pub names: Tally<String, Questions>,
    /// Everything else that took effect.
    pub other: Tally<Operation, Times>,
    /// Limits reached and the like.
    pub notes: Tally<Note, Times>,
    /// Secrets that were kept out.
    pub redacted: Tally<RedactionRule, Times>,
    /// Processes that ended.
    pub processes: Processes,
    /// Kills, thaws and whatever else operators did, but for its start.
    pub acts: Vec<Act>,
    /// Acts that are not kept.
    pub acts_beyond: u64,
}

impl Detail {
    /// Empty lists.
    pub fn new(seen: &mut Seen) -> Self {
        Self {
            decisions: Tally::new(seen),
            guards: Tally::new(seen),
            programs: Tally::new(seen),
            code: Tally::new(seen),
            read: Tally::new(seen),
            written: Tally::new(seen),
            created: Tally::new(seen),
            removed: Tally::new(seen),
            moved: Tally::new(seen),
            contacted: Tally::new(seen),
            accepted: Tally::new(seen),
            listened: Tally::new(seen),
            names: Tally::new(seen),
            other: Tally::new(seen),
            notes: Tally::new(seen),
            redacted: Tally::new(seen),
            processes: Processes::default(),
            acts: Vec::new(),
            acts_beyond: 0,
        }
    }

    /// Adds an entry of the session.
    pub fn take(&mut self, entry: &Entry, seen: &mut Seen) {
        let event = &entry.event;
        let times = Times::of(entry);
        for redaction in &event.redacted {
            // What was taken out of this entry: its repetitions say it again, and were none of their own.
            let taken = Times { count: redaction.count.into(), first: entry.time, last: entry.time };
            self.redacted.add(RedactionRule(redaction.rule.clone()), &taken, seen);
        }
        let Some(told) = &event.detail else { return };
        if is_held_against(event.verdict)
            && let Some((op, object)) = subject(told)
        {
            let verdict = entry.verdict_name().unwrap_or_default();
            let decision = Decision { verdict, op, object, rule: event.rule.clone(), reason: event.reason.clone() };
            let list = if matches!(told, Told::Guard(_)) { &mut self.guards } else { &mut self.decisions };
            list.add(decision, &times, seen);
        }
        let done = took_effect(event.verdict);
        match told {
            Told::Exec(exec) => self.run(&exec.path, &times, done, seen),
            Told::Exit(exit) => self.exit(exit, times.count),
            Told::File(file) => self.file(file, &times, done, seen),
            Told::Network(network) if done => self.network(network, &times, seen),
            Told::Dns(dns) => self.question(dns, times.count, done, seen),
            Told::Guard(_) if done && !is_held_against(event.verdict) => self.other(told, &times, seen),
            Told::AgentState(agent) if !matches!(agent.state.as_str(), "started" | "ended") => {
                self.notes.add(Note { state: agent.state.clone(), text: agent.text.clone() }, &times, seen);
            }
            Told::Operator(operator) if operator.action != "run" => self.act(entry, operator),
            _ => {}
        }
    }

    fn run(&mut self, path: &[u8], times: &Times, done: bool, seen: &mut Seen) {
        let runs = if done { Runs { count: times.count, denied: 0 } } else { Runs { count: 0, denied: times.count } };
        self.programs.add(Path(path.to_vec()), &runs, seen);
    }

    const fn exit(&mut self, exit: &Exit, count: u64) {
        let ended = &mut self.processes;
        ended.ended = ended.ended.saturating_add(count);
        if exit.signal != 0 {
            ended.killed = ended.killed.saturating_add(count);
        } else if exit.code != 0 {
            ended.failed = ended.failed.saturating_add(count);
        }
    }

    fn file(&mut self, file: &File, times: &Times, done: bool, seen: &mut Seen) {
        let path = || Path(file.path.clone());
        match file.op.as_str() {
            // One that was let go on by a policy that only watches is an `exec` entry too.
            "exec" if done => {}
            "exec" => self.run(&file.path, times, false, seen),
            _ if !done => {}
            "read" => self.read.add(path(), times, seen),
            "read_write" => {
                self.read.add(path(), times, seen);
                self.written.add(path(), times, seen);
            }
            "write" | "truncate" => self.written.add(path(), times, seen),
            "create" | "mkdir" | "mknod" | "symlink" => self.created.add(path(), times, seen),
            "link" => self.created.add(Path(file.target.clone()), times, seen),
            "unlink" | "rmdir" => self.removed.add(path(), times, seen),
            "rename" => self.moved.add(Move { path: file.path.clone(), target: file.target.clone() }, times, seen),
            "map_exec" => self.code.add(path(), times, seen),
            op => self.other.add(Operation { op: op.to_owned(), object: file.path.clone() }, times, seen),
        }
    }

    fn network(&mut self, network: &Network, times: &Times, seen: &mut Seen) {
        let count = times.count;
        let inbound = network.direction == "inbound";
        let contact = match network.op.as_str() {
            "connect" | "accept" => Contact { connections: count, ..Contact::default() },
            "send" => Contact { sends: count, ..Contact::default() },
            "close" => over(network, count),
            "bind" | "listen" => return self.listened.add(Peer::of(network, network.port), times, seen),
            _ => return self.other(&Told::Network(network.clone()), times, seen),
        };
        if inbound || network.op == "accept" {
            self.accepted.add(Peer::of(network, network.local_port), &contact, seen);
        } else {
            self.contacted.add(Peer::of(network, network.port), &contact, seen);
        }
    }

    fn question(&mut self, dns: &Dns, count: u64, done: bool, seen: &mut Seen) {
        let questions = match (done, dns.op.as_str()) {
            (false, _) => Questions { denied: count, ..Questions::default() },
            (true, "answer") => Questions { answered: count, ..Questions::default() },
            (true, _) => Questions { asked: count, ..Questions::default() },
        };
        self.names.add(dns.name.clone(), &questions, seen);
    }

    fn other(&mut self, told: &Told, times: &Times, seen: &mut Seen) {
        if let Some((op, object)) = subject(told) {
            self.other.add(Operation { op, object }, times, seen);
        }
    }

    fn act(&mut self, entry: &Entry, operator: &Operator) {
        if self.acts.len() < ACTS {
            self.acts.push(Act { seq: entry.seq, time: entry.time, operator: operator.clone() });
        } else {
            self.acts_beyond += 1;
        }
    }
}

/// The end of a connection, with all that went over it.
fn over(network: &Network, count: u64) -> Contact {
    let traffic = network.traffic.unwrap_or_default();
    Contact { ended: count, bytes_out: traffic.bytes_out, bytes_in: traffic.bytes_in, ..Contact::default() }
}

/// Whether what was decided about happened. A verdict of a newer version is no yes.
#[must_use]
pub const fn took_effect(verdict: i32) -> bool {
    verdict == Verdict::Allow as i32 || verdict == Verdict::Audit as i32 || verdict == Verdict::Unspecified as i32
}

/// Whether it was refused, or would have been.
const fn is_held_against(verdict: i32) -> bool {
    verdict != Verdict::Allow as i32 && verdict != Verdict::Unspecified as i32
}

/// Whether an entry tells of something that the agent did or tried.
#[must_use]
pub const fn is_deed(event: &Event) -> bool {
    matches!(
        event.detail,
        Some(Told::Exec(_) | Told::Exit(_) | Told::File(_) | Told::Network(_) | Told::Dns(_) | Told::Guard(_))
    )
}

/// What was tried, on what.
fn subject(told: &Told) -> Option<(String, Vec<u8>)> {
    Some(match told {
        Told::Exec(exec) => ("exec".to_owned(), exec.path.clone()),
        Told::Exit(_) => ("exit".to_owned(), Vec::new()),
        Told::File(file) if file.target.is_empty() => (file.op.clone(), file.path.clone()),
        Told::File(file) => (file.op.clone(), [&*file.path, b" -> ", &*file.target].concat()),
        Told::Network(network) => {
            let end = short::endpoint(&network.address, network.port, &network.protocol);
            let name = if network.name.is_empty() { String::new() } else { format!(" ({})", network.name) };
            (network.op.clone(), format!("{} {end}{name}", network.protocol).into_bytes())
        }
        Told::Dns(dns) => (dns.op.clone(), format!("{} {}", dns.name, dns.r#type).into_bytes()),
        Told::Guard(guard) => (guard.op.clone(), guard.subject.clone().into_bytes()),
        _ => return None,
    })
}
