//! The ABI between the kernel programs and the agent: map keys and values, event records, limits
//! and counters. Both sides compile this crate; neither mirrors a constant by hand.
//!
//! Knows: byte layouts and the numbers that cross the boundary.
//! Must not know: how a policy is written, where a map is pinned, what an event means to a reader.
//!
//! Every number that leaves the kernel is explicit, grouped with gaps, and never reused. A layout
//! change raises [`ABI_VERSION`]; an agent meeting maps or records of another version refuses them.
#![no_std]
#![forbid(unsafe_code)]

pub mod argument;
pub mod counter;
pub mod dns;
pub mod environment;
pub mod event;
pub mod glob;
pub mod hash;
pub mod limits;
pub mod net;
pub mod offsets;
pub mod opening;
pub mod path;
pub mod policy;
pub mod repeat;

/// Version of every layout in this crate. Raised when any map value or event record changes shape.
pub const ABI_VERSION: u16 = 11;

/// Asserts at compile time that a wire type has the size written beside it.
macro_rules! assert_size {
    ($t:ty, $n:expr) => {
        const _: () = assert!(core::mem::size_of::<$t>() == $n);
    };
}
pub(crate) use assert_size;
