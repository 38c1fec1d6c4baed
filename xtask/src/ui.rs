//! What the operator sees: progress and errors on standard error, data on standard output.

use std::io::{IsTerminal as _, Write as _, stderr, stdout};

/// One line of progress. Silent commands print nothing when nothing had to be done.
pub fn step(what: &str, detail: impl std::fmt::Display) {
    let mut out = stderr().lock();
    // A closed standard error must not stop the work.
    let _ = if out.is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        writeln!(out, "\x1b[1;36m{what:>10}\x1b[0m {detail}")
    } else {
        writeln!(out, "{what:>10} {detail}")
    };
}

/// Something the operator should know, though the work goes on.
pub fn warn(detail: impl std::fmt::Display) {
    let _ = writeln!(stderr().lock(), "   warning {detail}");
}

/// The error that ended the command, with its causes.
pub fn error(error: &anyhow::Error) {
    let _ = writeln!(stderr().lock(), "     error {error:#}");
}

/// A line of the command's result.
pub fn line(text: impl std::fmt::Display) {
    let _ = writeln!(stdout().lock(), "{text}");
}
