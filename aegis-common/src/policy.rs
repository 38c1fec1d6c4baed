//! Who is governed, by what, and in which state.
//!
//! `cgroup id -> slot -> agent state -> image`. An image is immutable once an agent points at it;
//! a policy change fills a new image and swaps one aligned eight-byte [`AgentState`], so that no
//! hook ever sees a mixture.

use crate::assert_size;
#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The mutable part of an agent: replaced whole, in one aligned store.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct AgentState {
    /// `agent_flag::*`.
    pub flags: u32,
    /// Index of the image in force.
    pub image: u32,
}
assert_size!(AgentState, 8);

/// Bits of [`AgentState::flags`].
pub mod agent_flag {
    /// The slot is in use. A cgroup that points at a slot without it is denied everything.
    pub const ACTIVE: u32 = 1 << 0;
    /// The kill switch: every hook denies from the next call on.
    pub const KILLED: u32 = 1 << 1;
}

/// The fixed part of a compiled policy.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Image {
    /// `image_flag::*`.
    pub flags: u32,
    /// Generation of the policy, carried in every event.
    pub generation: u32,
    /// Bit n is set when some path rule has n components: only those levels are looked up.
    pub levels: u64,
    /// `perm::*` granted where no path rule matches.
    pub default_perms: u32,
    /// 1 when addresses that no rule names are allowed, else 0.
    pub default_network: u32,
    /// Bit n is set when the policy takes capability n away.
    pub dropped_capabilities: u64,
    /// Number of the rule that does.
    pub capability_rule: u32,
    /// Seconds that an address which answered a name holds at least, whatever the answer says.
    pub least_ttl: u32,
    /// Number of this image among all that were ever installed in these maps, from 1: what was decided by
    /// one image is never taken for what another one says, though their index is the same.
    pub serial: u64,
    /// Seconds that it holds at most.
    pub most_ttl: u32,
    /// What the [views](crate::net::view) of its address rules mean, as a digest: a new image of the same rules has the same.
    pub programs: u32,
    /// Bytes that may leave over the network, whole IP packets, where there is a limit.
    pub most_bytes_out: u64,
}
assert_size!(Image, 64);

/// Bits of [`Image::flags`].
pub mod image_flag {
    /// The image is complete. One without it denies everything.
    pub const READY: u32 = 1 << 0;
    /// `mode: audit`: decide and record, deny nothing.
    pub const AUDIT: u32 = 1 << 1;
    /// Inode rules exist: files with more than one link are looked up by inode too.
    pub const INODE_RULES: u32 = 1 << 2;
    /// Contents are denied: every program is hashed before it may run.
    pub const CONTENT_RULES: u32 = 1 << 3;
    /// Programs without a name (memfd, deleted files) may run.
    pub const ANONYMOUS_EXEC: u32 = 1 << 4;
    /// Record allowed operations that the default granted.
    pub const RECORD_DEFAULT: u32 = 1 << 5;
    /// No user namespace may be made, by whichever call (`syscalls.deny` has `unshare` or `clone3`).
    pub const NO_USER_NAMESPACE: u32 = 1 << 6;
    /// Tracing is refused within the agent too (`syscalls.deny` has `ptrace`).
    pub const NO_PTRACE: u32 = 1 << 7;
    /// Globs exist: the image has a `GlobTable`.
    pub const GLOBS: u32 = 1 << 8;
    /// Names are pinned to contents: the program at such a name is hashed before it may run.
    pub const PINS: u32 = 1 << 9;
    /// Argument rules exist: the arguments of every program are read before it may run.
    pub const ARGUMENTS: u32 = 1 << 10;
    /// Variables are denied: the environment of every program is read before it may run.
    pub const ENVIRONMENT: u32 = 1 << 11;
    /// Memory that was written may not become code, nor code be writable.
    pub const NO_WRITE_EXECUTE: u32 = 1 << 12;
    /// Names are allowed: questions to the image's resolvers go out where a rule allows the name.
    pub const NAMES: u32 = 1 << 13;
    /// Answers may hold addresses that are not public.
    pub const PRIVATE_ANSWERS: u32 = 1 << 14;
    /// Some rule about a name looks at the first bytes of connections.
    pub const SERVER_NAMES: u32 = 1 << 15;
    /// Only so many bytes may leave: see [`Image::most_bytes_out`](super::Image::most_bytes_out).
    pub const BYTES_OUT: u32 = 1 << 16;
    /// Some rule about addresses or names is for one program: a program looks in its own [`view`](crate::net::view).
    pub const PROGRAMS: u32 = 1 << 17;
    /// What is allowed and to be recorded is refused where there is no room for the record.
    pub const RECORD_OR_DENY: u32 = 1 << 18;
}

/// A system call that a policy bans: the number that seccomp refuses, for the record of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct SyscallKey {
    /// Image the rule belongs to.
    pub image: u32,
    /// Its number, with [`SyscallKey::COMPAT`] for the 32-bit entry. The x32 bit stays in it.
    pub number: u32,
}
assert_size!(SyscallKey, 8);

impl SyscallKey {
    /// Called through the 32-bit entry, which numbers calls in its own way.
    pub const COMPAT: u32 = 1 << 31;
}

/// Rule number of a decision that no rule made: the policy's default.
pub const RULE_DEFAULT: u32 = 0;
/// First rule number that belongs to the policy (numbers below are built in).
pub const RULE_FIRST: u32 = 16;

/// Indices of the `ENGINE` map: what an engine leaves for the one after it.
pub mod engine {
    /// Last sequence number given to a record.
    pub const SEQUENCE: u32 = 0;
    /// [`crate::ABI_VERSION`] of the maps.
    pub const ABI: u32 = 1;
    /// First half of the key of the path hash.
    pub const HASH_KEY_0: u32 = 2;
    /// Second half of it.
    pub const HASH_KEY_1: u32 = 3;
    /// Last serial given to an image.
    pub const IMAGE_SERIAL: u32 = 4;
    /// First half of what stands for the make of the programs in force; both are 0 unless all are in force.
    pub const MAKE_0: u32 = 5;
    /// Second half of it.
    pub const MAKE_1: u32 = 6;
    /// The cgroup that the programs which look at packets are attached to.
    pub const AGENTS_CGROUP: u32 = 7;
    /// First of the programs: the number of each, times 2^32, and the instructions that the verifier processed for it.
    pub const PROGRAMS: u32 = 8;
    /// Programs that there is room for.
    pub const MOST_PROGRAMS: u32 = 120;
    /// Length of the map.
    pub const LENGTH: u32 = PROGRAMS + MOST_PROGRAMS;
}
