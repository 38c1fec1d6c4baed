//! The `aegis` command.
//!
//! [`args`] says what may be written; each command has a file. Talks to the daemon through
//! [`client`] alone and reads files where the daemon is not needed or not there.
//!
//! Architecture invariant: no stage of the daemon's pipeline is used here, and none uses this.

pub mod args;
pub mod client;
pub mod escape;
pub mod events;
pub mod failure;
pub mod glob;
pub mod output;
pub mod time;
