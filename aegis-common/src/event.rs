//! Event records as the kernel writes them into the ring.
//!
//! A record is an [`EventHeader`], then the fixed body of its kind, then the bytes that the body
//! counts. Records are padded to eight bytes; `len` counts the padding.

use crate::assert_size;
#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Begins every record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct EventHeader {
    /// [`crate::ABI_VERSION`].
    pub abi: u16,
    /// `kind::*`.
    pub kind: u16,
    /// Length of the whole record in bytes.
    pub len: u32,
    /// Sequence number given in the kernel, over all kinds; a gap is a lost record.
    pub seq: u64,
    /// Nanoseconds since boot, suspend included (`CLOCK_BOOTTIME`).
    pub boottime: u64,
    /// Cgroup of the task.
    pub cgroup: u64,
    /// Start of the process (its group leader), nanoseconds since boot: with `pid` it names one process.
    pub start: u64,
    /// Slot of the agent.
    pub slot: u32,
    /// Image that decided.
    pub image: u32,
    /// Generation of the policy that decided.
    pub generation: u32,
    /// Number of the rule that decided; see [`crate::policy::RULE_DEFAULT`].
    pub rule: u32,
    /// Process id in the initial namespace.
    pub pid: u32,
    /// Thread id in the initial namespace.
    pub tid: u32,
    /// Parent's process id.
    pub ppid: u32,
    /// Real user id in the initial namespace.
    pub uid: u32,
    /// Real group id in the initial namespace.
    pub gid: u32,
    /// Error number returned to the caller, positive; 0 when the call went on.
    pub errno: u16,
    /// `verdict::*`.
    pub verdict: u8,
    /// `reason::*`.
    pub reason: u8,
    /// `op::*`.
    pub op: u8,
    /// `flag::*`.
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// Repeat counter that counts the same decision from here on, plus 1; 0 for none.
    pub counter: u32,
    /// Name of the thread.
    pub comm: [u8; 16],
}
assert_size!(EventHeader, 104);

/// Kinds of record.
pub mod kind {
    /// A program began ([`super::ExecBody`]).
    pub const EXEC: u16 = 10;
    /// A process ended ([`super::ExitBody`]).
    pub const EXIT: u16 = 11;
    /// A process was made ([`super::ForkBody`]).
    pub const FORK: u16 = 12;
    /// A file operation ([`super::FileBody`]).
    pub const FILE: u16 = 20;
    /// A socket operation on an IP address ([`super::NetworkBody`]).
    pub const NETWORK: u16 = 30;
    /// A socket operation on a Unix address ([`super::UnixBody`]).
    pub const UNIX: u16 = 31;
    /// A question to a resolver, or its answer ([`super::DnsBody`]).
    pub const DNS: u16 = 32;
    /// Something a governed task may not do at all ([`super::GuardBody`]).
    pub const GUARD: u16 = 40;
    /// A governed cgroup got a child ([`super::CgroupBody`]).
    pub const CGROUP: u16 = 50;
}

/// What was decided.
pub mod verdict {
    /// The call went on.
    pub const ALLOW: u8 = 1;
    /// The policy denies, its mode is `audit`: the call went on.
    pub const AUDIT: u8 = 2;
    /// The call was refused.
    pub const DENY: u8 = 3;
    /// A person is asked.
    pub const ASK: u8 = 4;
    /// The call was slowed.
    pub const THROTTLE: u8 = 5;
    /// The task was killed.
    pub const KILL: u8 = 6;
}

/// Why it was decided so.
pub mod reason {
    /// A rule says so.
    pub const RULE: u8 = 1;
    /// No rule says anything; the policy's default does.
    pub const DEFAULT: u8 = 2;
    /// The agent's kill flag is raised.
    pub const KILLED: u8 = 3;
    /// The agent's policy is not in force yet, or no longer.
    pub const UNCONFIGURED: u8 = 4;
    /// The path is deeper than the walk goes.
    pub const TOO_DEEP: u8 = 5;
    /// The path changed while it was read.
    pub const PATH_CHANGED: u8 = 6;
    /// The file has no path from the root of its filesystem.
    pub const DISCONNECTED: u8 = 7;
    /// The kernel side had no room to decide in.
    pub const NO_ROOM: u8 = 8;
    /// Another name of the same file is denied.
    pub const SAME_FILE: u8 = 9;
    /// A link or rename would grant more than the source had.
    pub const WOULD_GRANT_MORE: u8 = 10;
    /// A directory with a rule at or below it may not be moved, nor replaced by another.
    pub const HOLDS_RULE: u8 = 11;
    /// A program without a name (memfd, deleted file).
    pub const ANONYMOUS: u8 = 12;
    /// The program's content is that of a denied one.
    pub const SAME_CONTENT: u8 = 13;
    /// The program's content could not be read.
    pub const UNREADABLE: u8 = 14;
    /// Never allowed to a governed task.
    pub const GUARD: u8 = 15;
    /// A kernel read failed.
    pub const READ_FAILED: u8 = 16;
    /// The target belongs to another agent, or to none.
    pub const OUTSIDE: u8 = 17;
    /// The program's arguments or environment could not be read before it began.
    pub const ARGUMENTS_UNREAD: u8 = 18;
    /// The program at a pinned name has another content.
    pub const NOT_PINNED: u8 = 19;
    /// The program's environment has a variable that is denied.
    pub const ENVIRONMENT: u8 = 20;
    /// Memory that was written, or may be, may not be code.
    pub const WRITE_EXECUTE: u8 = 21;
    /// A message that is none that is believed.
    pub const MALFORMED: u8 = 22;
    /// The answer holds addresses that are not public.
    pub const PRIVATE_ADDRESS: u8 = 23;
    /// Questions are asked over UDP, where they can be looked at.
    pub const DNS_OVER_TCP: u8 = 24;
    /// The connection names a server by which its address may not be reached.
    pub const SERVER_NAME: u8 = 25;
    /// The connection does not name its server at its beginning.
    pub const NO_SERVER_NAME: u8 = 26;
    /// The agent has sent as many bytes as it may.
    pub const BYTES_OUT: u8 = 27;
}

/// Bits of [`EventHeader::flags`].
pub mod flag {
    /// The path was cut at [`crate::limits::MAX_PATH`].
    pub const PATH_CUT: u8 = 1 << 0;
    /// The arguments were cut at [`crate::limits::MAX_ARGV`].
    pub const ARGV_CUT: u8 = 1 << 1;
    /// The arguments could not be read.
    pub const ARGV_UNREAD: u8 = 1 << 2;
}

/// What was attempted.
pub mod op {
    /// Open for reading.
    pub const OPEN_READ: u8 = 1;
    /// Open for writing.
    pub const OPEN_WRITE: u8 = 2;
    /// Open for both.
    pub const OPEN_READ_WRITE: u8 = 3;
    /// Open with neither access (`O_ACCMODE` 3, ioctl only).
    pub const OPEN_NONE: u8 = 4;
    /// Open a program, its interpreter or its loader, to run it.
    pub const EXEC: u8 = 5;
    /// Map a file as code.
    pub const MAP_EXEC: u8 = 6;
    /// Create a regular file.
    pub const CREATE: u8 = 10;
    /// Make a directory.
    pub const MKDIR: u8 = 11;
    /// Make a FIFO, socket or device node.
    pub const MKNOD: u8 = 12;
    /// Make a symbolic link.
    pub const SYMLINK: u8 = 13;
    /// Make a hard link.
    pub const LINK: u8 = 14;
    /// Rename.
    pub const RENAME: u8 = 15;
    /// Delete a file.
    pub const UNLINK: u8 = 16;
    /// Delete a directory.
    pub const RMDIR: u8 = 17;
    /// Change the size by path.
    pub const TRUNCATE: u8 = 18;
    /// Change mode, owner or times.
    pub const SETATTR: u8 = 19;
    /// Change or remove an extended attribute or ACL.
    pub const SETXATTR: u8 = 20;
    /// Receive a descriptor from another process.
    pub const RECEIVE: u8 = 21;
    /// Change a file by an ioctl on a descriptor of it.
    pub const IOCTL: u8 = 23;
    /// Connect a socket.
    pub const CONNECT: u8 = 40;
    /// Send to an address without connecting.
    pub const SEND: u8 = 41;
    /// Listen for connections.
    pub const LISTEN: u8 = 42;
    /// Make a socket of a family, type or protocol.
    pub const SOCKET: u8 = 43;
    /// Ask a resolver.
    pub const QUESTION: u8 = 44;
    /// Be answered by one.
    pub const ANSWER: u8 = 45;
    /// Take an address and port.
    pub const BIND: u8 = 46;
    /// Send a packet that says which way it goes.
    pub const SOURCE_ROUTE: u8 = 47;
    /// Name the server of a connection, in its first bytes.
    pub const OPENING: u8 = 48;
    /// End a connection.
    pub const CLOSE: u8 = 49;
    /// Take a connection that the other side opened.
    pub const ACCEPT: u8 = 50;
    /// Write into the cgroup file system.
    pub const CGROUP_WRITE: u8 = 60;
    /// Set up an io_uring.
    pub const IO_URING: u8 = 61;
    /// Push input into a terminal (TIOCSTI, TIOCLINUX).
    pub const TERMINAL_INPUT: u8 = 62;
    /// Trace or read another process.
    pub const PTRACE: u8 = 63;
    /// Signal another process.
    pub const SIGNAL: u8 = 64;
    /// Call bpf().
    pub const BPF: u8 = 66;
    /// Use a capability that governed tasks never have.
    pub const CAPABILITY: u8 = 67;
    /// Make a device node.
    pub const DEVICE_NODE: u8 = 68;
    /// Change another process's limits, priority or scheduling.
    pub const TASK_CONTROL: u8 = 69;
    /// A system call that the policy bans.
    pub const SYSCALL: u8 = 70;
    /// Make a user namespace.
    pub const USER_NAMESPACE: u8 = 71;
    /// Make code of memory that was written, or may be.
    pub const WRITE_EXECUTE: u8 = 72;
    /// Use a key or keyring that was not made in the agent, or have the kernel ask for one.
    pub const KEY: u8 = 73;
    /// Use System V shared memory, semaphores or a queue that were not made in the agent.
    pub const IPC: u8 = 74;
    /// Measure other processes, all of a processor, or the kernel.
    pub const PERF: u8 = 75;
}

/// Body of [`kind::EXEC`]: then `path_len` bytes of the program's path inside its filesystem, then
/// `argv_len` bytes of arguments, each ended by NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct ExecBody {
    /// Inode of the program.
    pub ino: u64,
    /// `s_dev` of its filesystem.
    pub dev: u32,
    /// Bytes of path.
    pub path_len: u32,
    /// Bytes of arguments.
    pub argv_len: u32,
    /// Known variables of its environment, see [`crate::environment::KNOWN`].
    pub environment: u32,
}
assert_size!(ExecBody, 24);

/// Body of [`kind::EXIT`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct ExitBody {
    /// Exit status as `wait` encodes it.
    pub status: u32,
    /// Zero.
    pub reserved: u32,
}
assert_size!(ExitBody, 8);

/// Body of [`kind::FORK`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct ForkBody {
    /// Start of the child, nanoseconds since boot.
    pub child_start: u64,
    /// Process id of the child.
    pub child_pid: u32,
    /// Zero.
    pub reserved: u32,
}
assert_size!(ForkBody, 16);

/// Body of [`kind::FILE`]: then `path_len` bytes of the path inside its filesystem, then
/// `target_len` bytes of the second path (of a link or rename), or of the arguments, each ended by NUL
/// (of an exec that was refused for them), or of the name of a variable (of an exec that was refused for
/// it, by [`reason::ENVIRONMENT`]).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct FileBody {
    /// Inode, 0 when the name does not exist yet.
    pub ino: u64,
    /// `s_dev` of the filesystem.
    pub dev: u32,
    /// `s_dev` of the second path's filesystem.
    pub target_dev: u32,
    /// Bytes of path.
    pub path_len: u32,
    /// Bytes of the second path, of arguments or of a variable's name.
    pub target_len: u32,
}
assert_size!(FileBody, 24);

/// Body of [`kind::NETWORK`]: then `name_len` bytes of the name that the address answered, as it is on the wire without the
/// root's label.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct NetworkBody {
    /// Address, IPv4 as `::ffff:a.b.c.d`.
    pub address: [u8; 16],
    /// Port, host order.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u16,
    /// Bytes of the name; 0 where no name decided.
    pub name_len: u16,
    /// Address family (`AF_*`).
    pub family: u8,
    /// Socket type (`SOCK_*`).
    pub socket_type: u8,
}
assert_size!(NetworkBody, 24);

/// Behind the [`NetworkBody`] of [`op::ACCEPT`] and [`op::CLOSE`], before the name.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct ConnectionBody {
    /// When the connection began, nanoseconds since boot.
    pub opened: u64,
    /// What went over it so far.
    pub passed: crate::net::Traffic,
    /// Port on the agent's side, host order.
    pub local_port: u16,
    /// 1 where the other side opened it.
    pub inbound: u16,
    /// Zero.
    pub reserved: u32,
}
assert_size!(ConnectionBody, 48);

/// Body of [`kind::DNS`]: then `name_len` bytes of the name in question, as it is on the wire without the root's label, then
/// `addresses` times 16 bytes, IPv4 as `::ffff:a.b.c.d`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct DnsBody {
    /// The resolver, IPv4 as `::ffff:a.b.c.d`.
    pub resolver: [u8; 16],
    /// Type in question.
    pub kind: u16,
    /// Bytes of the name; 0 of a message that has none.
    pub name_len: u8,
    /// Addresses of the answer, at most 16.
    pub addresses: u8,
    /// Of an answer to a question under way: microseconds since that left.
    pub taken: u32,
}
assert_size!(DnsBody, 24);

/// Body of [`kind::UNIX`]: then `path_len` bytes: the path inside its filesystem, or the abstract
/// name behind a NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct UnixBody {
    /// `s_dev` of the path's filesystem, 0 for an abstract name.
    pub dev: u32,
    /// Bytes of path or name.
    pub path_len: u32,
    /// Zero.
    pub reserved: [u64; 2],
}
assert_size!(UnixBody, 24);

/// Body of [`kind::GUARD`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct GuardBody {
    /// What it was about: target process, capability number, ioctl, bpf command, family << 32 | protocol, serial
    /// number of a key, `PERF_SECURITY_*`, id of a System V object.
    pub subject: u64,
    /// More of it: signal number, ptrace mode, [`written`], `enum key_need_perm`, key of a System V object.
    pub detail: u64,
}
assert_size!(GuardBody, 16);

/// Which memory [`op::WRITE_EXECUTE`] makes code of.
pub mod written {
    /// Memory that stays writable.
    pub const WRITABLE: u64 = 1;
    /// Memory of no file.
    pub const ANONYMOUS: u64 = 2;
    /// A private copy of a file's pages that was changed.
    pub const CHANGED: u64 = 3;
}

/// Body of [`kind::CGROUP`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct CgroupBody {
    /// Id of the new cgroup.
    pub id: u64,
    /// Id of its parent.
    pub parent: u64,
}
assert_size!(CgroupBody, 16);
