//! The log under kill -9: a process writes entries through the daemon's own log thread and tells which are durable; it is
//! killed at any moment and started again, until so many were acknowledged. Then each of them must be there, once, as it
//! was written and in order, and log, checkpoints, seals and index must agree.
//!
//! What a killed process wrote the kernel still has. Losing that too, by a power cut, is tried in `aegis-log`.

mod check;
mod entry;
mod lives;
mod writer;

/// A short run with every test, a long one with the long suites.
const SHORT: u64 = 20_000;
const LONG: u64 = 1_000_000;

/// The process that is killed is this test again, with a folder in its environment.
const WRITER: &str = "killed_over_and_over_the_log_keeps_what_it_acknowledged";

#[test]
fn killed_over_and_over_the_log_keeps_what_it_acknowledged() {
    if let Some(root) = std::env::var_os(writer::ROOT) {
        writer::live(root.as_ref());
    }
    lives::soak(SHORT, &lives::BRISK);
}

#[test]
#[ignore = "a million entries take minutes"]
fn killed_over_and_over_the_log_keeps_a_million_acknowledged_entries() {
    lives::soak(LONG, &lives::MIXED);
}
