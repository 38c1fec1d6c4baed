//! Reading entries, forward, backward, by number, by time, and as they come.
//!
//! Only signed entries are shown, and each is checked in itself; that nothing is missing among them is
//! for `verify` to say. Any number of readers may look while one writer writes.
//!
//! Knows files, not queries: what an entry says is in its body, which is opaque here.

mod cursor;
mod marks;
mod prove;
mod tiles;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use self::cursor::Cursor;
pub use self::cursor::{Entries, EntriesBackward, Follow};
use self::marks::MarkCache;
pub use self::prove::{Disclose, ProveError};
pub use self::tiles::ExportOptions;
use crate::checkpoint::SignedCheckpoint;
use crate::day::Day;
use crate::durable::IoError;
use crate::encrypted::Keys;
use crate::entry::Header;
use crate::finding::{Code, Finding};
use crate::frame::{Frame, Unread};
use crate::key::VerifierKey;
use crate::pruned::Pruned;
use crate::report::EntryInfo;
use crate::scan::{FrameScan, ScanError, last_note};
use crate::segment::{Catalog, SegmentFiles, SegmentHeader, VKEY_FILE};
use crate::verify::stored_key;
use crate::walk::Stop;

/// An entry as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is signed about it.
    pub header: Header,
    /// What it says; or why that can't be read.
    pub body: Result<Vec<u8>, Unread>,
    /// First sequence number of the segment it lies in.
    pub segment: u64,
    /// Where its frame begins in the segment's file.
    pub offset: u64,
}

impl Entry {
    fn of(frame: &Frame<'_>, segment: u64, offset: u64) -> Self {
        let body = frame.payload.map(|payload| payload.body.to_vec());
        Self {
            header: frame.header,
            body: body.ok_or(frame.unread.unwrap_or(Unread::Withheld)),
            segment,
            offset,
        }
    }

    /// The entry without its body.
    #[must_use]
    pub fn info(&self) -> EntryInfo {
        EntryInfo::new(&self.header, self.segment, self.offset)
    }
}

/// Why entries can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file can't be read.
    #[error(transparent)]
    Io(#[from] IoError),
    /// What is there is not what was signed.
    #[error("the log is damaged: {0}; run aegis-verify on it")]
    Damaged(Box<Finding>),
    /// Retention took it away.
    #[error(
        "entry {seq} was removed by retention; entries are kept from {first} on, and the hash of each one before"
    )]
    Pruned {
        /// The entry asked for.
        seq: u64,
        /// The first that is kept.
        first: u64,
    },
    /// There is no key to know signed entries by.
    #[error("{} is missing or is no verifier key: run aegis-verify on the folder", .0.display())]
    NoKey(PathBuf),
    /// The log is shorter than it was a moment ago.
    #[error("the log was replaced while it was read: it had {before} signed entries and has {now}")]
    Shrunk {
        /// Entries before.
        before: u64,
        /// Entries now.
        now: u64,
    },
}

impl From<Finding> for ReadError {
    fn from(finding: Finding) -> Self {
        Self::Damaged(Box::new(finding))
    }
}

impl From<Stop> for ReadError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Found(finding) => Self::Damaged(finding),
            Stop::Io(error) => Self::Io(error),
        }
    }
}

/// A view of the signed entries of a log. [`Reader::refresh`] brings it up to date. A clone is a view of its own that knows
/// where entries lie as soon as one of them has looked.
#[derive(Clone)]
pub struct Reader {
    dir: PathBuf,
    key: VerifierKey,
    keys: Keys,
    segments: Vec<SegmentFiles>,
    /// The folder's time of change when the segments were listed.
    listed_at: Option<SystemTime>,
    checkpoint: Option<SignedCheckpoint>,
    pruned: Option<Pruned>,
    marks: Arc<Mutex<MarkCache>>,
}

impl Reader {
    /// Opens the log in `dir` as it is now, with the keys that lie beside it, as far as they may be read.
    ///
    /// # Errors
    /// [`ReadError`] if there is no log there or it can't be read.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, ReadError> {
        let dir = dir.into();
        let keys = Keys::beside(&dir);
        Self::open_with(dir, keys)
    }

    /// Opens the log in `dir` as it is now. What was encrypted with other keys than these can't be read.
    ///
    /// # Errors
    /// [`ReadError`] if there is no log there or it can't be read.
    pub fn open_with(dir: impl Into<PathBuf>, keys: Keys) -> Result<Self, ReadError> {
        let dir = dir.into();
        let key = stored_key(&dir)?
            .flatten()
            .ok_or_else(|| ReadError::NoKey(dir.join(VKEY_FILE)))?;
        let mut reader = Self {
            dir,
            key,
            keys,
            segments: Vec::new(),
            listed_at: None,
            checkpoint: None,
            pruned: None,
            marks: Arc::default(),
        };
        reader.refresh()?;
        Ok(reader)
    }

    /// Looks for what was signed meanwhile and returns the number of signed entries.
    ///
    /// # Errors
    /// [`ReadError`]; the view is then as it was.
    pub fn refresh(&mut self) -> Result<u64, ReadError> {
        let changed_at = std::fs::metadata(&self.dir)
            .and_then(|metadata| metadata.modified())
            .ok();
        if changed_at.is_none() || changed_at != self.listed_at {
            let pruned = Pruned::read(&self.dir, &self.key)?;
            let mut segments = Catalog::read(&self.dir)?.segments;
            segments.retain(|files| files.has_notes);
            self.segments = segments;
            self.pruned = pruned;
            self.listed_at = changed_at;
        }
        let Some(last) = self.segments.last() else {
            return Ok(self.size());
        };
        let newest = last_note(&last.notes_path(&self.dir), &self.key)?;
        let (newest, _) = newest.ok_or_else(|| {
            Finding::new(Code::CheckpointMissing, "there is no whole checkpoint")
                .in_file(last.notes_name(), 0)
        })?;
        if self.checkpoint.as_ref() == Some(&newest) {
            return Ok(self.size());
        }
        newest.verify(&self.key).map_err(|error| {
            Finding::new(Code::CheckpointSignature, error.to_string()).in_file(last.notes_name(), 0)
        })?;
        if newest.size() < self.size() {
            return Err(ReadError::Shrunk {
                before: self.size(),
                now: newest.size(),
            });
        }
        self.checkpoint = Some(newest);
        Ok(self.size())
    }

    /// The first entry that retention has not removed, as of the last refresh.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.pruned.as_ref().map_or(0, Pruned::size)
    }

    /// Signed entries as of the last refresh: sequences 0 to this, exclusive, of which those from [`Self::first`] on are
    /// here.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, SignedCheckpoint::size)
    }

    /// The newest checkpoint as of the last refresh.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&SignedCheckpoint> {
        self.checkpoint.as_ref()
    }

    /// The log's verifier key, from its folder.
    #[must_use]
    pub fn vkey(&self) -> &VerifierKey {
        &self.key
    }

    /// The log's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The entry with this number; `None` if it is not signed yet.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn get(&self, seq: u64) -> Result<Option<Entry>, ReadError> {
        Cursor::at(seq).next(self)
    }

    /// The entry at a place that [`crate::Appended`] gave.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] if no signed entry begins there.
    pub fn read_at(&self, segment: u64, offset: u64) -> Result<Entry, ReadError> {
        let files = self
            .segment_of(segment)
            .filter(|files| files.first_seq == segment);
        let wrong = |name: String| {
            ReadError::from(
                Finding::new(Code::EntryMissing, "no signed entry begins here")
                    .in_file(name, offset),
            )
        };
        if segment < self.first() {
            let (seq, first) = (segment, self.first());
            return Err(ReadError::Pruned { seq, first });
        }
        let files = files.ok_or_else(|| wrong(format!("segment {segment}")))?;
        let mut scan = self.scan(files, offset)?;
        let entry = read_entry(&mut scan, files)?.ok_or_else(|| wrong(files.entries_name()))?;
        if entry.header.seq < self.size() {
            Ok(entry)
        } else {
            Err(wrong(files.entries_name()))
        }
    }

    /// Entries from `seq` on, or from the first that is kept, up to what is signed now.
    pub fn entries(&self, seq: u64) -> Entries<'_> {
        Entries::new(self, seq.max(self.first()))
    }

    /// Entries before `seq`, the latest first.
    pub fn entries_rev(&self, before: u64) -> EntriesBackward<'_> {
        EntriesBackward::new(self, before)
    }

    /// Entries from `seq` on, or from the first that is kept, as they come.
    #[must_use]
    pub fn follow(self, seq: u64) -> Follow {
        let from = seq.max(self.first());
        Follow::new(self, from)
    }

    /// The first entry that is not earlier than `time`; [`Self::size`] if all are.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn seek_time(&self, time: u64) -> Result<u64, ReadError> {
        let day = Day::of(time);
        for (index, files) in self.segments.iter().enumerate() {
            // All entries of a segment are of its day.
            let is_here = (self.first()..self.size()).contains(&files.first_seq);
            if files.day < day || !is_here {
                continue;
            }
            if files.day > day {
                return Ok(files.first_seq);
            }
            let start = self
                .marks()
                .before_time(self, files, self.end_of(index), time)?;
            for entry in self.entries(start) {
                let entry = entry?;
                if entry.header.seq >= self.end_of(index) {
                    break;
                }
                if entry.header.time >= time {
                    return Ok(entry.header.seq);
                }
            }
        }
        Ok(self.size())
    }

    /// Where the entries end that are encrypted without a gap from the first on.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn encrypted_end(&self) -> Result<u64, ReadError> {
        for files in self.segments.iter().filter(|files| files.first_seq >= self.first()) {
            let path = files.entries_path(&self.dir);
            if files.first_seq >= self.size() || !SegmentHeader::is_encrypted(&path)? {
                return Ok(files.first_seq.min(self.size()));
            }
        }
        Ok(self.size())
    }

    /// The root of a day: the last checkpoint of its last segment. `None` if nothing was logged that day.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn daily_root(&self, day: Day) -> Result<Option<SignedCheckpoint>, ReadError> {
        for files in self.segments.iter().rev().filter(|files| files.day == day) {
            if let Some((note, _)) = last_note(&files.notes_path(&self.dir), &self.key)?
                && note.size() > files.first_seq
            {
                return Ok(Some(note));
            }
        }
        Ok(None)
    }

    /// The days on which something was logged, each once, with their roots.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn daily_roots(&self) -> Result<Vec<(Day, SignedCheckpoint)>, ReadError> {
        let mut days: Vec<Day> = self.segments.iter().map(|files| files.day).collect();
        days.sort_unstable();
        days.dedup();
        let root = |day| Ok(self.daily_root(day)?.map(|root| (day, root)));
        days.into_iter()
            .filter_map(|day| root(day).transpose())
            .collect()
    }

    /// Entries of a segment from an offset on.
    fn scan(&self, files: &SegmentFiles, offset: u64) -> Result<FrameScan, ReadError> {
        let path = files.entries_path(&self.dir);
        FrameScan::open(&path, offset, &self.keys).map_err(|error| scan_error(error, files))
    }

    fn marks(&self) -> std::sync::MutexGuard<'_, MarkCache> {
        // Marks are only ever added whole, so a panic elsewhere leaves them usable.
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error for an entry whose file can't be had: it may have been removed since the last refresh.
    fn gone(&self, seq: u64, error: ReadError) -> ReadError {
        let is_gone = matches!(&error, ReadError::Io(error) if error.is_not_found());
        match Pruned::read(&self.dir, &self.key) {
            Ok(Some(now)) if is_gone && seq < now.size() => ReadError::Pruned {
                seq,
                first: now.size(),
            },
            _ => error,
        }
    }

    fn segment_index(&self, seq: u64) -> Option<usize> {
        self.segments
            .partition_point(|files| files.first_seq <= seq)
            .checked_sub(1)
    }

    fn segment_of(&self, seq: u64) -> Option<&SegmentFiles> {
        self.segments.get(self.segment_index(seq)?)
    }

    /// The sequence number after the last signed entry of a segment.
    fn end_of(&self, index: usize) -> u64 {
        self.segments
            .get(index + 1)
            .map_or(self.size(), |next| next.first_seq)
            .min(self.size())
    }
}

/// The next entry of a segment; `None` at the end of its file.
fn read_entry(scan: &mut FrameScan, files: &SegmentFiles) -> Result<Option<Entry>, ReadError> {
    let offset = scan.offset();
    match scan.next() {
        Ok(Some(frame)) => Ok(Some(Entry::of(&frame, files.first_seq, offset))),
        Ok(None) => Ok(None),
        Err(error) => Err(scan_error(error, files)),
    }
}

fn scan_error(error: ScanError, files: &SegmentFiles) -> ReadError {
    match error {
        ScanError::Io(error) => error.into(),
        ScanError::Frame { offset, error } => Finding::new(Code::EntryDamaged, error.to_string())
            .in_file(files.entries_name(), offset)
            .into(),
    }
}
