//! What is measured: each operation, how often a batch does it, and which records it leaves.
//!
//! Knows: system calls. Must not know: who governs the process that makes them.

use std::ffi::{CStr, CString};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open, unlink};
use rustix::io::{read, write};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

/// An operation, and a column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Open, read and close a file whose path has two components.
    OpenShallow,
    /// The same with nine components.
    OpenDeep,
    /// The same with thirty components.
    OpenDeepest,
    /// The same with three components, each time another file, and none that the policy in force has judged before.
    OpenFirst,
    /// The same files once more.
    OpenSecond,
    /// Make a TCP socket, connect it to a listener on loopback, close it.
    Tcp,
    /// The same, with 64 bytes sent over it and 64 received.
    Exchange,
    /// Connect a UDP socket that is there already.
    Udp,
    /// Start `/bin/true` and wait for its end.
    Exec,
    /// Create a file and unlink it.
    Create,
}

impl Operation {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 10] = [
        Self::OpenShallow,
        Self::OpenDeep,
        Self::OpenDeepest,
        Self::OpenFirst,
        Self::OpenSecond,
        Self::Tcp,
        Self::Exchange,
        Self::Udp,
        Self::Exec,
        Self::Create,
    ];

    /// Its word between the bench and its worker, and the head of its column.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenShallow => "open/2",
            Self::OpenDeep => "open/9",
            Self::OpenDeepest => "open/30",
            Self::OpenFirst => "first/3",
            Self::OpenSecond => "second/3",
            Self::Tcp => "tcp",
            Self::Exchange => "tcp/64",
            Self::Udp => "udp",
            Self::Exec => "exec",
            Self::Create => "create",
        }
    }

    /// The operation of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }

    /// Whether it is an open and little else.
    pub const fn opens(self) -> bool {
        matches!(self, Self::OpenShallow | Self::OpenDeep | Self::OpenDeepest) || self.opens_many()
    }

    /// Whether it is a connection of TCP, whose end is recorded too.
    pub const fn connects(self) -> bool {
        matches!(self, Self::Tcp | Self::Exchange)
    }

    /// Whether it opens another file each time.
    pub const fn opens_many(self) -> bool {
        matches!(self, Self::OpenFirst | Self::OpenSecond)
    }

    /// How often a batch does it: long enough that starting the clock does not count, short enough
    /// that some batches have no timer interrupt in them.
    pub const fn batch(self) -> u32 {
        match self {
            Self::OpenShallow | Self::OpenDeep | Self::OpenDeepest | Self::OpenFirst | Self::OpenSecond => 200,
            // Not more than the listener's backlog holds.
            Self::Tcp => 100,
            Self::Exchange => 50,
            Self::Udp => 500,
            Self::Exec => 20,
            Self::Create => 50,
        }
    }

    /// Records that one of it leaves when it is allowed: those of processes always, the others where
    /// the rules say that what they allow is recorded.
    pub const fn records(self, recorded: bool) -> u64 {
        match (self, recorded) {
            // Fork, exec, exit.
            (Self::Exec, false) => 3,
            // Beside them: program and loader opened and mapped (4), the loader's cache read (1), the C library
            // opened and mapped (2).
            (Self::Exec, true) => 10,
            (_, false) => 0,
            // Created, opened for writing, unlinked.
            (Self::Create, true) => 3,
            (_, true) => 1,
        }
    }

    /// Records that one of it may leave beside those: the ends of connections, of which only some in a second are.
    pub const fn records_at_most_beside(self, recorded: bool) -> u64 {
        if recorded && self.connects() { 1 } else { 0 }
    }

    /// Records that are no denials and that one of it leaves when it is refused.
    pub const fn records_beside_refusal(self) -> u64 {
        match self {
            // The child was made, and ended.
            Self::Exec => 2,
            _ => 0,
        }
    }
}

/// What is to be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// What stands in a place that no rule names, or listens on a port that none names.
    Place,
    /// A socket of a family that no rule names, for those who know families but no ports.
    Family,
}

/// What a worker works with, made before it is confined.
pub struct Tools {
    udp: OwnedFd,
    tcp_port: u16,
    udp_port: u16,
    first: Vec<CString>,
}

/// File that may be read, two components deep.
pub const SHALLOW: &CStr = c"/bench/file";
/// File that may be read, nine components deep.
pub const DEEP: &CStr = c"/bench/a/b/c/d/e/f/g/file";
/// File that may be read, thirty components deep.
pub const DEEPEST: &CStr =
    c"/bench/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/z/aa/bb/file";
/// File that may be made.
const NEW: &CStr = c"/bench/new";
/// Files that may not be read, as deep.
pub const SEALED_SHALLOW: &CStr = c"/sealed/file";
/// See [`SEALED_SHALLOW`].
pub const SEALED_DEEP: &CStr = c"/sealed/a/b/c/d/e/f/g/file";
/// See [`SEALED_SHALLOW`].
pub const SEALED_DEEPEST: &CStr =
    c"/sealed/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/z/aa/bb/file";
/// File that may not be made.
const SEALED_NEW: &CStr = c"/sealed/new";
/// Program that may be run.
pub const PROGRAM: &str = "/usr/bin/true";
/// The same program where it may not be run.
pub const SEALED_PROGRAM: &str = "/sealed/true";
/// Bytes that go over a connection, each way.
pub const EXCHANGED: usize = 64;
/// Port that no rule names.
const SEALED_PORT: u16 = 2;

impl Tools {
    /// For listeners on these ports of loopback.
    pub fn new(tcp_port: u16, udp_port: u16) -> io::Result<Self> {
        let udp = socket(AddressFamily::INET, SocketType::DGRAM)?;
        Ok(Self { udp, tcp_port, udp_port, first: first_files().collect() })
    }

    /// Does it once, for the `turn`th time in its batch, where it is allowed.
    pub fn perform(&self, operation: Operation, turn: usize) -> io::Result<()> {
        match operation {
            Operation::OpenShallow => open_and_read(SHALLOW),
            Operation::OpenDeep => open_and_read(DEEP),
            Operation::OpenDeepest => open_and_read(DEEPEST),
            Operation::OpenFirst | Operation::OpenSecond => open_and_read(&self.first[turn % self.first.len()]),
            Operation::Tcp => connect_tcp(self.tcp_port).map(drop),
            Operation::Exchange => exchange(self.tcp_port),
            Operation::Udp => self.connect_udp(self.udp_port),
            Operation::Exec => run(PROGRAM),
            Operation::Create => create(NEW),
        }
    }

    /// Tries it once, where it is to be refused.
    pub fn attempt(&self, operation: Operation, forbidden: Forbidden) -> io::Result<()> {
        match (operation, forbidden) {
            (Operation::OpenShallow | Operation::OpenFirst | Operation::OpenSecond, _) => open_and_read(SEALED_SHALLOW),
            (Operation::OpenDeepest, _) => open_and_read(SEALED_DEEPEST),
            (Operation::OpenDeep, _) => open_and_read(SEALED_DEEP),
            (Operation::Tcp | Operation::Exchange, Forbidden::Place) => match connect_tcp(SEALED_PORT) {
                // Nobody listens there: the kernel let the attempt through.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
                other => other.map(drop),
            },
            (Operation::Udp, Forbidden::Place) => self.connect_udp(SEALED_PORT),
            (Operation::Tcp | Operation::Exchange, Forbidden::Family) => socket(AddressFamily::INET6, SocketType::STREAM).map(drop),
            (Operation::Udp, Forbidden::Family) => socket(AddressFamily::INET6, SocketType::DGRAM).map(drop),
            (Operation::Exec, _) => run(SEALED_PROGRAM),
            (Operation::Create, _) => create(SEALED_NEW),
        }
    }

    fn connect_udp(&self, port: u16) -> io::Result<()> {
        Ok(connect(&self.udp, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?)
    }
}

/// Files that may be read, three components deep, one for each turn of a batch.
pub fn first_files() -> impl Iterator<Item = CString> {
    (0..Operation::OpenFirst.batch()).filter_map(|index| CString::new(format!("/bench/many/file{index:03}")).ok())
}

fn socket(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC, None)?)
}

fn open_and_read(path: &CStr) -> io::Result<()> {
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = [0; 64];
    read(&file, &mut bytes)?;
    Ok(())
}

fn create(path: &CStr) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    drop(open(path, flags, Mode::RUSR | Mode::WUSR)?);
    Ok(unlink(path)?)
}

fn connect_tcp(port: u16) -> io::Result<OwnedFd> {
    let made = socket(AddressFamily::INET, SocketType::STREAM)?;
    // Closing resets the connection: none waits for its time to end, which would use up the ports.
    sockopt::set_socket_linger(&made, Some(Duration::ZERO))?;
    connect(&made, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    Ok(made)
}

fn exchange(port: u16) -> io::Result<()> {
    let connection = connect_tcp(port)?;
    let mut bytes = [0; EXCHANGED];
    write(&connection, &bytes)?;
    if read(&connection, &mut bytes)? == EXCHANGED { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn run(program: &str) -> io::Result<()> {
    let status = Command::new(program).env_clear().stdin(Stdio::inherit()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{program}: {status}"))) }
}
