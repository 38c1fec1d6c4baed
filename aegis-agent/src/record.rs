//! What the pipeline's stages hand to one another. Not a stage itself: stages know these types and
//! not one another.

mod rows;

use aegis_common::{
    event::{ConnectionBody, EventHeader},
    repeat::RepeatKey,
};

pub use self::rows::{RowQueue, RowSender, row_queue};
use crate::proto::event::{Event, InAgent, Loss, Process, event};

/// A record from the kernel after [`crate::decode`] has checked it.
#[derive(Clone, Debug)]
pub struct KernelEvent {
    /// The header, with a known ABI version, kind and verdict.
    pub header: EventHeader,
    /// What belongs to the kind.
    pub detail: Detail,
}

/// The body of a [`KernelEvent`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// A program began.
    Exec {
        /// `s_dev` of the program's filesystem.
        dev: u32,
        /// Inode of the program.
        ino: u64,
        /// Path inside the filesystem.
        path: Vec<u8>,
        /// Arguments.
        argv: Vec<Vec<u8>>,
        /// Known variables of its environment, see [`aegis_common::environment::KNOWN`].
        environment: u32,
    },
    /// A process ended.
    Exit {
        /// As `wait` encodes it.
        status: u32,
    },
    /// A process was made.
    Fork {
        /// Process id of the child.
        child_pid: u32,
        /// Start of the child.
        child_start: u64,
    },
    /// A file operation.
    File {
        /// `s_dev` of the filesystem.
        dev: u32,
        /// Inode, 0 when the name does not exist.
        ino: u64,
        /// Path inside the filesystem.
        path: Vec<u8>,
        /// `s_dev` of the second path's filesystem.
        target_dev: u32,
        /// Second path, empty when there is none.
        target: Vec<u8>,
        /// Arguments of an exec that was refused for them.
        argv: Vec<Vec<u8>>,
        /// Name of the variable that an exec was refused for; empty when there is none.
        variable: Vec<u8>,
    },
    /// A socket operation on an IP address.
    Network {
        /// IPv4 as `::ffff:a.b.c.d`.
        address: [u8; 16],
        /// Host order.
        port: u16,
        /// `AF_*`.
        family: u8,
        /// IP protocol number.
        protocol: u16,
        /// `SOCK_*`.
        socket_type: u8,
        /// The name that the address answered, as it is on the wire; empty where no name decided.
        name: Vec<u8>,
        /// Of a connection that was taken or is over, how it is.
        connection: Option<ConnectionBody>,
    },
    /// A question to a resolver, or its answer.
    Dns {
        /// The resolver, IPv4 as `::ffff:a.b.c.d`.
        resolver: [u8; 16],
        /// Type in question.
        kind: u16,
        /// The name, as it is on the wire; empty of a message that has none.
        name: Vec<u8>,
        /// Addresses of the answer.
        addresses: Vec<[u8; 16]>,
        /// Of an answer: microseconds since its question left.
        taken_us: u32,
    },
    /// A socket operation on a Unix address.
    Unix {
        /// `s_dev` of the path's filesystem, 0 for an abstract name.
        dev: u32,
        /// Path, or NUL and the abstract name.
        path: Vec<u8>,
    },
    /// Something a governed task may not do at all.
    Guard {
        /// See [`aegis_common::event::GuardBody`].
        subject: u64,
        /// See [`aegis_common::event::GuardBody`].
        detail: u64,
    },
    /// A governed cgroup got a child.
    Cgroup {
        /// Id of the new cgroup.
        id: u64,
        /// Id of its parent.
        parent: u64,
    },
}

/// A [`KernelEvent`] told in terms of the host: paths, users, ancestors, wall-clock time.
#[derive(Clone, Debug)]
pub struct Enriched {
    /// `aegis.event.v1.Kind`.
    pub kind: u32,
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// As the kernel wrote it.
    pub header: EventHeader,
    /// Who did it.
    pub process: Process,
    /// What was done.
    pub detail: event::Detail,
    /// What the agent calls it, where it has a view of its own.
    pub in_agent: Option<InAgent>,
}

/// A decision that was taken again, as its counter tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repetition {
    /// Place of the counter.
    pub place: u32,
    /// Kernel sequence number of the record that it continues.
    pub of: u64,
    /// How often since it was told last.
    pub count: u64,
    /// How often in all.
    pub total: u64,
    /// Nanoseconds since boot: the first of these, or 0 where only the record's own time is known.
    pub first: u64,
    /// Nanoseconds since boot: the last one.
    pub last: u64,
    /// The decision.
    pub key: RepeatKey,
}

/// Login uid of a process that nobody logged in for.
pub const NO_LOGIN: u32 = u32::MAX;

/// An entry for the log, not yet redacted, encoded or numbered.
#[derive(Clone, Debug)]
pub struct Draft {
    /// `aegis.event.v1.Kind`.
    pub kind: u32,
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// The body.
    pub event: Event,
    /// Whether it must be durable at once (denials, what operators do).
    pub urgent: bool,
}

/// An entry that tells of lost records.
#[must_use]
pub fn loss(kind: &str, count: u64, total: u64, place: &str) -> Event {
    let loss = Loss { kind: kind.to_owned(), count, total, r#where: place.to_owned() };
    Event { detail: Some(event::Detail::Loss(loss)), ..Event::default() }
}

/// What the index keeps of an entry: enough to find it, no body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Sequence number.
    pub seq: u64,
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// `aegis.event.v1.Kind`.
    pub kind: u32,
    /// `aegis.event.v1.Verdict`.
    pub verdict: i32,
    /// Name of the agent.
    pub agent: String,
    /// Id of the run.
    pub session: String,
    /// Rule that decided.
    pub rule: String,
    /// Why, as a word.
    pub reason: String,
    /// Process id.
    pub pid: u32,
    /// Start of the process.
    pub start: u64,
    /// What it was about: a path, an address, a subject. The second name of a link or rename follows a
    /// NUL, which no name holds.
    pub path: Vec<u8>,
    /// Sequence number given in the kernel.
    pub kernel_seq: u64,
    /// What else the index keeps from it.
    pub mark: Mark,
}

/// State of the log's story that the index carries along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// Nothing.
    #[default]
    None,
    /// Records were lost.
    Loss {
        /// What.
        kind: String,
        /// How often so far.
        total: u64,
    },
    /// Repetitions of an event were told.
    Repeat {
        /// Kernel sequence number of the event.
        of: u64,
        /// How many of it so far.
        total: u64,
    },
    /// The kernel's sequence numbers and counters began anew.
    KernelAnew,
}

/// State of a daemon entry that begins the kernel's sequence numbers and counters anew.
pub const KERNEL_ATTACHED: &str = "attached";

impl Row {
    /// The row of an entry.
    #[must_use]
    pub fn new(seq: u64, time: u64, kind: u32, event: &Event) -> Self {
        let process = event.process.as_ref();
        let mut row = Self {
            seq,
            time,
            kind,
            verdict: event.verdict,
            agent: event.agent.clone(),
            session: event.session.clone(),
            rule: event.rule.clone(),
            reason: event.reason.clone(),
            pid: process.map_or(0, |p| p.pid),
            start: process.map_or(0, |p| p.start),
            path: Vec::new(),
            kernel_seq: event.kernel_seq,
            mark: Mark::None,
        };
        match &event.detail {
            Some(event::Detail::Exec(exec)) => row.path.clone_from(&exec.path),
            Some(event::Detail::File(file)) if file.target.is_empty() => row.path.clone_from(&file.path),
            Some(event::Detail::File(file)) => row.path = [&*file.path, &*file.target].join(&0),
            Some(event::Detail::Network(network)) => row.path = network.address.clone().into_bytes(),
            Some(event::Detail::Dns(dns)) => row.path = dns.name.clone().into_bytes(),
            Some(event::Detail::Guard(guard)) => row.path = guard.subject.clone().into_bytes(),
            Some(event::Detail::Operator(operator)) => row.path = operator.target.clone().into_bytes(),
            Some(event::Detail::Loss(loss)) => {
                row.mark = Mark::Loss { kind: loss.kind.clone(), total: loss.total };
            }
            Some(event::Detail::Daemon(daemon)) if daemon.state == KERNEL_ATTACHED => row.mark = Mark::KernelAnew,
            _ => {}
        }
        if let Some(repeat) = event.repeat {
            row.mark = Mark::Repeat { of: repeat.of, total: repeat.total };
        }
        row
    }
}
