//! The segment files as the source: for when there is no daemon, and for logs from elsewhere.
//!
//! Shows signed entries only: what stands behind the last checkpoint is nobody's word.

use std::{fs, path::Path, thread, time::Duration};

use aegis_log::Reader;

use super::{Query, entry::Entry, sink::Outlet};
use crate::cli::failure::Failure;

/// How often `-f` looks for a new checkpoint.
const PACE: Duration = Duration::from_millis(100);
/// Entries taken at a time when following.
const BATCH: usize = 1024;

/// Whether a log is there and may be read.
#[must_use]
pub fn is_readable(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
}

/// Opens a log.
///
/// # Errors
/// When there is none, or it may not be read.
pub fn open(dir: &Path) -> Result<Reader, Failure> {
    let mut reader = Reader::open(dir).map_err(|error| Failure::Broken(error.to_string()))?;
    reader.refresh().map_err(|error| Failure::Broken(error.to_string()))?;
    Ok(reader)
}

/// The log's chain, for cursors.
///
/// # Errors
/// When the log's key does not name it.
pub fn chain(reader: &Reader) -> Result<String, Failure> {
    let id = reader.vkey().chain_id().ok_or_else(|| {
        Failure::Broken(format!("{} has a key that names no log of aegis: cursors need one", reader.dir().display()))
    })?;
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn unreadable(error: impl std::fmt::Display) -> Failure {
    Failure::Broken(format!("the log cannot be read: {error}; `aegis verify` says more"))
}

/// What an entry says, or why it does not.
pub(in crate::cli) fn decode(entry: &aegis_log::Entry) -> Entry {
    let header = &entry.header;
    match &entry.body {
        Ok(body) => Entry::decode(header.seq, header.time, header.kind, body),
        Err(why) => Entry::unread(header.seq, header.time, header.kind, why.to_string()),
    }
}

/// Shows the entries of a log.
///
/// # Errors
/// When an entry cannot be read, or the output fails.
pub fn show(reader: Reader, query: &Query, sink: &mut dyn Outlet) -> Result<(), Failure> {
    let end = reader.size();
    let first = first(&reader, query)?;
    if query.reverse || query.last.is_some() {
        show_last(&reader, first, end, query, sink)?;
    } else {
        for entry in reader.entries(first) {
            let entry = decode(&entry.map_err(unreadable)?);
            if query.filter.is_past(&entry) {
                break;
            }
            if query.filter.wants(&entry) {
                sink.put(&entry)?;
            }
        }
    }
    sink.flush()?;
    if query.follow { follow(reader, end, query, sink) } else { Ok(()) }
}

/// The first sequence that can be wanted.
fn first(reader: &Reader, query: &Query) -> Result<u64, Failure> {
    let by_time = match query.filter.since {
        Some(time) => reader.seek_time(time).map_err(unreadable)?,
        None => 0,
    };
    Ok(by_time.max(query.filter.after_seq.map_or(0, |seq| seq.saturating_add(1))))
}

/// From the end backward, so that the last few of a long log cost little.
fn show_last(reader: &Reader, first: u64, end: u64, query: &Query, sink: &mut dyn Outlet) -> Result<(), Failure> {
    let mut room = query.last.unwrap_or(u64::MAX);
    let mut kept = Vec::new();
    for entry in reader.entries_rev(end) {
        let entry = decode(&entry.map_err(unreadable)?);
        if room == 0 || entry.seq < first {
            break;
        }
        if !query.filter.wants(&entry) {
            continue;
        }
        room -= 1;
        if query.reverse {
            sink.put(&entry)?;
        } else {
            kept.push(entry);
        }
    }
    kept.iter().rev().try_for_each(|entry| sink.put(entry))
}

fn follow(reader: Reader, from: u64, query: &Query, sink: &mut dyn Outlet) -> Result<(), Failure> {
    let mut follow = reader.follow(from);
    loop {
        let batch = follow.next_batch(BATCH).map_err(unreadable)?;
        if batch.is_empty() {
            thread::sleep(PACE);
            continue;
        }
        for entry in batch.iter().map(decode).filter(|entry| query.filter.wants(entry)) {
            sink.put(&entry)?;
        }
        sink.flush()?;
    }
}
