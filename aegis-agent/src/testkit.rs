//! Records as the kernel programs write them, for tests and the throughput example.

use aegis_common::{
    ABI_VERSION,
    event::{
        CgroupBody, DnsBody, EventHeader, ExecBody, ExitBody, FileBody, ForkBody, GuardBody, NetworkBody, UnixBody, kind, op,
        reason, verdict,
    },
};
use zerocopy::{Immutable, IntoBytes};

/// A record to be written.
#[derive(Clone, Debug)]
pub struct Record {
    /// The header; `len` is filled in by [`Record::bytes`].
    pub header: EventHeader,
    body: Vec<u8>,
}

impl Record {
    fn new(kind: u16, seq: u64, body: &(impl IntoBytes + Immutable), tail: &[&[u8]]) -> Self {
        let mut bytes = body.as_bytes().to_vec();
        tail.iter().for_each(|t| bytes.extend_from_slice(t));
        let header = EventHeader {
            abi: ABI_VERSION,
            kind,
            seq,
            boottime: 1_000_000 + seq,
            cgroup: 77,
            start: 500,
            slot: 1,
            image: 1,
            generation: 1,
            rule: 0,
            pid: 4_000_001,
            tid: 4_000_001,
            ppid: 4_000_000,
            uid: 1000,
            gid: 1000,
            verdict: verdict::ALLOW,
            reason: reason::RULE,
            comm: *b"worker\0\0\0\0\0\0\0\0\0\0",
            ..EventHeader::default()
        };
        Self { header, body: bytes }
    }

    /// A program that began.
    #[must_use]
    pub fn exec(seq: u64, path: &[u8], argv: &[&[u8]]) -> Self {
        let arguments: Vec<u8> = argv.iter().flat_map(|a| [a, &b"\0"[..]].concat()).collect();
        let body = ExecBody { ino: 9, dev: 1, path_len: len(path), argv_len: len(&arguments), environment: 0 };
        Self::new(kind::EXEC, seq, &body, &[path, &arguments])
    }

    /// A process that ended.
    #[must_use]
    pub fn exit(seq: u64, status: u32) -> Self {
        Self::new(kind::EXIT, seq, &ExitBody { status, reserved: 0 }, &[])
    }

    /// A process that was made.
    #[must_use]
    pub fn fork(seq: u64, child_pid: u32, child_start: u64) -> Self {
        Self::new(kind::FORK, seq, &ForkBody { child_start, child_pid, reserved: 0 }, &[])
    }

    /// A file operation.
    #[must_use]
    pub fn file(seq: u64, path: &[u8], target: &[u8]) -> Self {
        let body = FileBody { ino: 3, dev: 1, target_dev: 1, path_len: len(path), target_len: len(target) };
        let mut record = Self::new(kind::FILE, seq, &body, &[path, target]);
        record.header.op = op::OPEN_READ;
        record
    }

    /// A connection.
    #[must_use]
    pub fn network(seq: u64, address: [u8; 16], port: u16) -> Self {
        let body = NetworkBody { address, port, protocol: 6, name_len: 0, family: 2, socket_type: 1 };
        let mut record = Self::new(kind::NETWORK, seq, &body, &[]);
        record.header.op = op::CONNECT;
        record
    }

    /// An answer to a question, the name as it is on the wire.
    #[must_use]
    pub fn dns(seq: u64, name: &[u8], address: [u8; 16]) -> Self {
        let name_len = u8::try_from(name.len()).unwrap_or(u8::MAX);
        let body = DnsBody { resolver: [0; 16], kind: 1, name_len, addresses: 1, taken: 250 };
        let mut record = Self::new(kind::DNS, seq, &body, &[name, &address]);
        record.header.op = op::ANSWER;
        record
    }

    /// A connection to a Unix socket.
    #[must_use]
    pub fn unix(seq: u64, path: &[u8]) -> Self {
        let mut record = Self::new(kind::UNIX, seq, &UnixBody { dev: 1, path_len: len(path), ..UnixBody::default() }, &[path]);
        record.header.op = op::CONNECT;
        record
    }

    /// A guard that refused.
    #[must_use]
    pub fn guard(seq: u64, subject: u64, detail: u64) -> Self {
        let mut record = Self::new(kind::GUARD, seq, &GuardBody { subject, detail }, &[]);
        record.header.op = op::SIGNAL;
        record.denied(1)
    }

    /// A cgroup that was made.
    #[must_use]
    pub fn cgroup(seq: u64, id: u64, parent: u64) -> Self {
        Self::new(kind::CGROUP, seq, &CgroupBody { id, parent }, &[])
    }

    /// The same, refused with an error number.
    #[must_use]
    pub fn denied(mut self, errno: u16) -> Self {
        self.header.verdict = verdict::DENY;
        self.header.errno = errno;
        self
    }

    /// The record as it stands in the ring, padded to eight bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let size = (size_of::<EventHeader>() + self.body.len()).next_multiple_of(8);
        let mut header = self.header;
        header.len = u32::try_from(size).unwrap_or(u32::MAX);
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(&self.body);
        bytes.resize(size, 0);
        bytes
    }
}

/// One record of each kind.
#[must_use]
pub fn one_of_each() -> Vec<Record> {
    vec![
        Record::exec(1, b"/usr/bin/true", &[b"true", b"--x"]),
        Record::exit(2, 0),
        Record::fork(3, 4_000_002, 600),
        Record::file(4, b"/a/b", b"/c/d"),
        Record::network(5, [0; 16], 443),
        Record::unix(6, b"/run/x.sock"),
        Record::guard(7, 1, 9),
        Record::cgroup(8, 99, 77),
        Record::dns(9, b"\x01a\x07example", [0; 16]),
    ]
}

fn len(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
