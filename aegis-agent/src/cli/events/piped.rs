//! A saved log as the source: JSON, one entry a line, from a file or through a pipe.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _, BufReader, Read},
    os::fd::AsFd as _,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::stat::{SFlag, fstat},
    unistd::{Whence, lseek},
};

use super::{Query, entry::Entry, saved, sink::Outlet};
use crate::cli::{failure::Failure, output};

/// Longest line that is taken. An entry's body ends at 64 KiB, which JSON can make six times longer.
const LINE: u64 = 4 << 20;
/// Bad lines that are told one by one.
const COMPLAINTS: u64 = 10;

/// How long a pipe may stay silent before it counts as one that nobody writes to. Callers that give
/// every command a pipe and never use it are common; a command that waits for them for ever is not
/// wanted.
const SILENCE: u16 = 2000;

/// What comes through standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdin {
    /// Something: a log that somebody saved.
    Saved,
    /// A pipe or file, and nothing in it.
    Silent,
    /// A terminal, `/dev/null` or a socket (what ssh and services give).
    Other,
}

/// Finds out what standard input is, waiting a little for a pipe to speak.
#[must_use]
pub fn stdin() -> Stdin {
    let stdin = io::stdin();
    let Ok(stat) = fstat(stdin.as_fd()) else { return Stdin::Other };
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFIFO => {
            let mut ready = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
            let spoke = poll(&mut ready, PollTimeout::from(SILENCE)).is_ok();
            let data = ready[0].revents().is_some_and(|events| events.contains(PollFlags::POLLIN));
            if spoke && data { Stdin::Saved } else { Stdin::Silent }
        }
        SFlag::S_IFREG => match lseek(stdin.as_fd(), 0, Whence::SeekCur) {
            Ok(at) if at < stat.st_size => Stdin::Saved,
            _ => Stdin::Silent,
        },
        _ => Stdin::Other,
    }
}

/// Shows the entries of a saved log.
///
/// # Errors
/// When it cannot be read, or lines of it are no entries; those that are have been shown then.
pub fn show(input: Box<dyn Read>, query: &Query, sink: &mut dyn Outlet) -> Result<(), Failure> {
    let mut reader = BufReader::with_capacity(1 << 16, input);
    let mut kept = VecDeque::new();
    let (mut lines, mut bad) = (0_u64, 0_u64);
    let mut raw = Vec::new();
    loop {
        raw.clear();
        let length = reader.by_ref().take(LINE).read_until(b'\n', &mut raw).map_err(reading)?;
        if length == 0 {
            break;
        }
        lines += 1;
        if raw.len() as u64 == LINE {
            return Err(Failure::Broken(format!("line {lines} is longer than {LINE} bytes: this is no saved log")));
        }
        if raw.trim_ascii().is_empty() {
            continue;
        }
        match parse(&raw) {
            Ok((entry, line)) if query.filter.wants(&entry) => take(query, sink, &mut kept, entry, line)?,
            Ok(_) => {}
            Err(error) => {
                bad += 1;
                if bad <= COMPLAINTS {
                    output::say(&format!("line {lines}: {error}"));
                }
            }
        }
    }
    if query.reverse {
        kept.make_contiguous().reverse();
    }
    for (entry, line) in &kept {
        sink.put_saved(entry, line)?;
    }
    sink.flush()?;
    match bad {
        0 => Ok(()),
        bad => Err(Failure::Broken(format!("{bad} of {lines} lines are no entries of a log"))),
    }
}

fn reading(source: io::Error) -> Failure {
    Failure::Io { what: "cannot read the saved log".to_owned(), source }
}

fn parse(raw: &[u8]) -> Result<(Entry, &str), String> {
    let line = str::from_utf8(raw).map_err(|_| "not UTF-8, and so not JSON".to_owned())?;
    let entry = saved::parse(line).map_err(|error| error.to_string())?;
    Ok((entry, line))
}

/// Shows an entry, or keeps it until the end is known.
fn take(
    query: &Query,
    sink: &mut dyn Outlet,
    kept: &mut VecDeque<(Entry, String)>,
    entry: Entry,
    line: &str,
) -> Result<(), Failure> {
    if query.last.is_none() && !query.reverse {
        return sink.put_saved(&entry, line);
    }
    kept.push_back((entry, line.to_owned()));
    if query.last.is_some_and(|last| kept.len() as u64 > last) {
        kept.pop_front();
    }
    Ok(())
}
