//! What is logged: events as a busy host's agents make them, prepared beforehand so that making them is not measured.

use aegis_agent::{
    clock,
    proto::event::{Event, File, Kind, Process, Verdict, event::Detail},
    record::Draft,
};
use prost::Message as _;

/// Events of the prepared round, given out again and again.
const ROUND: usize = 512;
/// Agents that all the while do something.
const AGENTS: usize = 16;
/// Entries of the agent that did something once, long ago.
pub const RARE: u64 = 100;

/// The entries to be logged.
pub struct Feed {
    /// How many.
    pub entries: u64,
    events: Vec<Event>,
    bodies: Vec<Vec<u8>>,
}

impl Feed {
    pub fn new(entries: u64) -> Self {
        let events: Vec<_> = (0..ROUND).map(|n| event(&format!("agent-{}", n % AGENTS), n)).collect();
        let bodies = events.iter().map(Event::encode_to_vec).collect();
        Self { entries, events, bodies }
    }

    /// The encoded body of an entry.
    pub fn body(&self, n: u64) -> &[u8] {
        &self.bodies[at(n)]
    }

    /// Entries as the pipeline hands them to the log.
    pub fn drafts(&self, from: u64, to: u64) -> Vec<Draft> {
        let time = clock::wall();
        let event = |n: u64| {
            if self.is_rare(n) { event(rare_agent(), at(n)) } else { self.events[at(n)].clone() }
        };
        (from..to).map(|n| Draft { kind: Kind::File as u32, time, event: event(n), urgent: false }).collect()
    }

    /// One in twenty of the entries around the first tenth is the rare agent's, until it has all of its own.
    fn is_rare(&self, n: u64) -> bool {
        let begin = self.entries / 10;
        n >= begin && n < begin + RARE * 20 && (n - begin).is_multiple_of(20)
    }
}

/// The agent that has entries in every part of the log.
pub fn busy_agent() -> &'static str {
    "agent-3"
}

/// The agent that has few, far from its end.
pub fn rare_agent() -> &'static str {
    "agent-rare"
}

fn at(n: u64) -> usize {
    usize::try_from(n % ROUND as u64).unwrap_or(0)
}

fn event(agent: &str, n: usize) -> Event {
    let path = format!("/home/agent/project/src/module_{}/file_{n}.py", n % 37);
    let small = |n: usize| u32::try_from(n).unwrap_or(0);
    let process = Process {
        pid: 4_000_000 + small(n % 61),
        tid: 4_000_000 + small(n % 61),
        ppid: 4_000_000,
        uid: 1000,
        gid: 1000,
        start: 500_000_000_000 + n as u64,
        comm: b"python3".to_vec(),
        exe: b"/usr/bin/python3.12".to_vec(),
        user: "agent".into(),
        ..Process::default()
    };
    Event {
        verdict: Verdict::Allow as i32,
        agent: agent.into(),
        session: format!("{agent}-20261121"),
        rule: format!("files/{}", n % 11),
        generation: 3,
        reason: "rule".into(),
        process: Some(process),
        kernel_seq: n as u64,
        detail: Some(Detail::File(File { op: "open".into(), path: path.into(), dev: 64_768, ino: 1_000_000 + n as u64, ..File::default() })),
        ..Event::default()
    }
}
