//! Path rules: what a compiled policy says about names, inodes and contents.

use crate::assert_size;
#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What an operation needs and a rule grants or denies.
pub mod perm {
    /// Open for reading.
    pub const READ: u8 = 1 << 0;
    /// Open for writing, truncate, connect to the socket bound there.
    pub const WRITE: u8 = 1 << 1;
    /// Run as a program or map as code.
    pub const EXEC: u8 = 1 << 2;
    /// Create, link, rename, delete, change mode, owner, times and attributes. Apart from `WRITE`: who
    /// may write to /dev/null may not replace it.
    pub const NAME: u8 = 1 << 3;
    /// All of them.
    pub const ALL: u8 = READ | WRITE | EXEC | NAME;
}

/// A name: the keyed hash of its components from the root of its filesystem.
///
/// See [`crate::hash::PathHasher`]. The filesystem is named by `s_dev` in the kernel's encoding
/// (`major << 20 | minor`), as mountinfo shows it; `stat` reports another one on btrfs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct PathKey {
    /// Image the rule belongs to.
    pub image: u32,
    /// `s_dev` of the filesystem.
    pub dev: u32,
    /// Hash of the component chain.
    pub hash: u64,
}
assert_size!(PathKey, 16);

/// What holds at a name and below it. A deny at any level wins over every allow; among allows the
/// most permissive hit counts (their bits are joined).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct PathRule {
    /// `perm::*` granted.
    pub allow: u8,
    /// `perm::*` denied.
    pub deny: u8,
    /// `path_flag::*`.
    pub flags: u16,
    /// Number of the rule that grants.
    pub allow_rule: u32,
    /// Number of the rule that denies.
    pub deny_rule: u32,
    /// Number of the rules that pin the program at this name to contents ([`PinKey`]); 0 where none does.
    pub pin_rule: u32,
    /// Ends of the argument rules that hold here ([`crate::argument::ArgumentStep`]).
    pub arguments: u64,
}
assert_size!(PathRule, 24);

/// Bits of [`PathRule::flags`].
pub mod path_flag {
    /// Allowed operations decided here are recorded (the manifest's own rules, not the baseline).
    pub const RECORD: u16 = 1 << 0;
    /// Globs begin here: the positions they wait in are in `GLOB_STARTS` under the same key.
    pub const STARTS: u16 = 1 << 1;
    /// The program at this name is pinned, or may not have certain arguments.
    pub const PROGRAM: u16 = 1 << 2;
    /// Address rules are for the program at this name: its number is in `PROGRAMS` under the same key.
    pub const EXE: u16 = 1 << 3;
}

/// A file by identity: denies follow the file under every name it has.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct InodeKey {
    /// Image the rule belongs to.
    pub image: u32,
    /// `s_dev` of the filesystem.
    pub dev: u32,
    /// Inode number.
    pub ino: u64,
}
assert_size!(InodeKey, 16);

/// What is denied to a file whatever its name.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct InodeRule {
    /// `perm::*` denied.
    pub deny: u32,
    /// Number of the rule that denies.
    pub rule: u32,
}
assert_size!(InodeRule, 8);

/// A program by the SHA-256 of its content: a copy of a banned program is the banned program.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct ContentKey {
    /// Image the rule belongs to.
    pub image: u32,
    /// Zero.
    pub reserved: u32,
    /// Digest of the file's content.
    pub sha256: [u8; 32],
}
assert_size!(ContentKey, 40);

/// What holds for a content under every name.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct ContentRule {
    /// Number of the rule that denies it, whatever its arguments; 0 where none does.
    pub rule: u32,
    /// Zero.
    pub reserved: u32,
    /// Ends of the argument rules that hold for it ([`crate::argument::ArgumentStep`]).
    pub arguments: u64,
}
assert_size!(ContentRule, 16);

/// A content that the program at a pinned name may have. A pinned name without one runs nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct PinKey {
    /// Image the rule belongs to.
    pub image: u32,
    /// `s_dev` of the filesystem.
    pub dev: u32,
    /// Hash of the pinned name, as [`PathKey::hash`].
    pub place: u64,
    /// Digest of the content.
    pub sha256: [u8; 32],
}
assert_size!(PinKey, 48);
