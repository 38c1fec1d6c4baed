//! Decisions that repeat: told once in a record, then counted in place.
//!
//! A counter belongs to the record that began it and holds its sequence number. It only grows while it is taken;
//! what of it has been told is a difference that the agent keeps. Nothing in it is ever freed or moved, so that a
//! program which is just counting can't count into something else.

use crate::{
    assert_size,
    limits::{REPEATS_PER_SHARE, REPEAT_SHARES},
};
#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What makes two decisions the same.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct RepeatKey {
    /// Cgroup of the task.
    pub cgroup: u64,
    /// Start of the process, nanoseconds since boot.
    pub start: u64,
    /// How many programs the process and those it came from have become: another program is another key.
    pub exec: u64,
    /// Keyed hash of what the record says it was about: its body and the bytes behind it.
    pub object: u64,
    /// Process id in the initial namespace.
    pub pid: u32,
    /// Real user id in the initial namespace.
    pub uid: u32,
    /// Slot of the agent.
    pub slot: u32,
    /// Image that decided.
    pub image: u32,
    /// Generation of the policy that decided.
    pub generation: u32,
    /// Number of the rule that decided.
    pub rule: u32,
    /// `kind::*`.
    pub kind: u16,
    /// Error number returned to the caller.
    pub errno: u16,
    /// `op::*`.
    pub op: u8,
    /// `verdict::*`.
    pub verdict: u8,
    /// `reason::*`.
    pub reason: u8,
    /// `flag::*`.
    pub flags: u8,
}
assert_size!(RepeatKey, 64);

/// A counter.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct Repeat {
    /// 1 while it is taken: by a program, given back by the agent.
    pub taken: u64,
    /// Sequence number of the record that it continues; 0 until programs find the counter.
    pub seq: u64,
    /// How often the decision was taken again.
    pub count: u64,
    /// The agent's: what `count` was when it last looked.
    pub seen: u64,
    /// Nanoseconds since boot: the first time after the agent last looked.
    pub first: u64,
    /// Nanoseconds since boot: the last time.
    pub last: u64,
    /// The decision.
    pub key: RepeatKey,
}
assert_size!(Repeat, 112);

impl Repeat {
    /// Where an agent's counter for the record of this sequence number may lie: each agent has its share, of which
    /// it alone can use up the places.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "only the low bits count")]
    pub const fn place(slot: u32, seq: u64, turn: u32) -> u32 {
        let share = slot & (REPEAT_SHARES - 1);
        share * REPEATS_PER_SHARE + ((seq as u32).wrapping_add(turn) & (REPEATS_PER_SHARE - 1))
    }
}
