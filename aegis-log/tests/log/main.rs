//! The log from outside: what is written is read and verified, what is done to it is found, what a
//! crash leaves is repaired.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod arbitrary;
mod command;
mod common;
mod encrypted;
mod epochs;
mod exports;
mod kept;
mod policy;
mod pruned;
mod recovery;
mod roundtrip;
mod tamper;
mod tiles;
