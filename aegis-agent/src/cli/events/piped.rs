//! A saved log as the source: JSON, one entry a line, from a file or through a pipe.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _, BufReader, IsTerminal as _, Read},
    os::fd::AsFd as _,
    sync::mpsc,
    time::Duration,
};

use nix::sys::stat::{SFlag, fstat};

use super::{Query, entry::Entry, saved, sink::Sink};
use crate::cli::{failure::Failure, output};

/// Longest line that is taken. An entry's body ends at 64 KiB, which JSON can make six times longer.
const LINE: u64 = 4 << 20;
/// Bad lines that are told one by one.
const COMPLAINTS: u64 = 10;

/// Whether standard input is a log that somebody saved: a pipe, or a file that is not read to its
/// end. A terminal, `/dev/null` or a socket (what ssh and services give) is not.
#[must_use]
pub fn is_piped() -> bool {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return false;
    }
    let Ok(stat) = fstat(stdin.as_fd()) else { return false };
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFIFO => true,
        SFlag::S_IFREG => nix::unistd::lseek(stdin.as_fd(), 0, nix::unistd::Whence::SeekCur).is_ok_and(|at| at < stat.st_size),
        _ => false,
    }
}

/// Shows the entries of a saved log.
///
/// # Errors
/// When it cannot be read, or lines of it are no entries; those that are have been shown then.
pub fn show(input: Box<dyn Read>, query: &Query, sink: &mut Sink<'_>) -> Result<(), Failure> {
    let quiet = hint_when_nothing_comes();
    let mut reader = BufReader::with_capacity(1 << 16, input);
    let mut kept = VecDeque::new();
    let (mut lines, mut bad) = (0_u64, 0_u64);
    let mut raw = Vec::new();
    loop {
        raw.clear();
        let length = reader.by_ref().take(LINE).read_until(b'\n', &mut raw).map_err(reading)?;
        quiet.stop();
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
    if lines == 0 {
        output::say("standard input is empty; to see the log of this host: aegis events </dev/null");
    }
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
    sink: &mut Sink<'_>,
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

/// Says what is being waited for when a pipe stays silent: a caller that left a pipe open by chance
/// would else look at a command that hangs.
fn hint_when_nothing_comes() -> Quiet {
    let (stop, stopped) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        if stopped.recv_timeout(Duration::from_secs(3)) == Err(mpsc::RecvTimeoutError::Timeout) {
            output::say("waiting for a saved log on standard input; for the log of this host: aegis events </dev/null");
        }
    });
    Quiet(stop)
}

struct Quiet(mpsc::Sender<()>);

impl Quiet {
    fn stop(&self) {
        // Nobody listens any more when the hint was given.
        let _ = self.0.send(());
    }
}
