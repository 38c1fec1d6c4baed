//! Making entries durable.
//!
//! A commit writes and syncs the entries, then writes and syncs the checkpoint over them. In this order
//! a checkpoint on the disk vouches for entries on the disk, whatever a power cut does; the price is a
//! second sync for each commit.
//!
//! Knows one log being written. Opening it is in `open`, what is written in `batch`; when to commit is
//! the caller's to decide.

mod encrypt;
mod prune;

use std::fs::File;
use std::path::PathBuf;

use crate::batch::{AppendError, Appended, Batch, Group, SegmentStart, State};
use crate::checkpoint::SignedCheckpoint;
use crate::checkpoint::stored::put_stored;
use crate::durable::{self, AppendFile, IoError, PRIVATE};
use crate::epoch::{
    self,
    keeper::{Keeper, SealFailure},
};
use crate::key::{SigningKey, VerifierKey};
use crate::segment::SegmentFiles;
use crate::tree::TreeWriter;

pub use prune::{EndedSegment, PruneError};

/// Why a commit failed. What was durable before is durable still.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The disk is full. What was written in part was taken back; entries stay pending.
    #[error("{0}; entries wait in memory until there is space again")]
    NoSpace(#[source] IoError),
    /// Writing failed and was taken back; entries stay pending.
    #[error("{0}; entries wait in memory, the next commit tries again")]
    Io(#[source] IoError),
    /// Nothing is known about the files any more.
    #[error(
        "the log can't be written since this happened: {0}; restart, so that it is opened and checked anew"
    )]
    Poisoned(String),
}

/// The writer of a log. There is one at a time; dropping it without [`Writer::close`] is a crash.
pub struct Writer {
    dir: PathBuf,
    /// Held for as long as the writer lives.
    _lock: File,
    batch: Batch,
    files: Option<OpenSegment>,
    tree: TreeWriter,
    epochs: Keeper,
    durable: State,
    poisoned: Option<String>,
}

/// The segment being written.
struct OpenSegment {
    entries: AppendFile,
    notes: AppendFile,
}

/// What [`crate::open`] hands over.
pub(crate) struct Opening {
    pub(crate) dir: PathBuf,
    pub(crate) lock: File,
    pub(crate) key: SigningKey,
    pub(crate) boot_id: [u8; 16],
    pub(crate) segment_bytes: u64,
    pub(crate) tree: TreeWriter,
    pub(crate) epochs: Keeper,
    pub(crate) state: State,
}

impl From<SealFailure> for Failure {
    fn from(failure: SealFailure) -> Self {
        match failure {
            SealFailure::Undone(error) => Self::Undone(error),
            SealFailure::Unknown(error) => Self::Unknown(error),
        }
    }
}

/// A write that failed.
enum Failure {
    /// The files are as they were before.
    Undone(IoError),
    /// They may be in any state.
    Unknown(IoError),
}

impl Writer {
    pub(crate) fn begin(from: Opening) -> Result<Self, IoError> {
        let open = |files: SegmentFiles| -> Result<OpenSegment, IoError> {
            let mut entries = AppendFile::open(&files.entries_path(&from.dir), PRIVATE)?;
            let mut notes = AppendFile::open(&files.notes_path(&from.dir), PRIVATE)?;
            // A writer that was killed may have left what it wrote to the kernel; what is built on it must not outlive it.
            entries.sync()?;
            notes.sync()?;
            Ok(OpenSegment { entries, notes })
        };
        let files = from
            .state
            .segment
            .map(|tip| open(SegmentFiles::new(tip.first_seq, tip.day)))
            .transpose()?;
        Ok(Self {
            batch: Batch::new(
                from.key,
                from.boot_id,
                from.segment_bytes,
                from.state.clone(),
            ),
            dir: from.dir,
            _lock: from.lock,
            files,
            tree: from.tree,
            epochs: from.epochs,
            durable: from.state,
            poisoned: None,
        })
    }

    /// Takes an entry. It is durable once a [`Self::commit`] after this succeeded. Does no I/O.
    ///
    /// # Errors
    /// [`AppendError`]; the log is then as it was.
    pub fn append(&mut self, kind: u32, time: u64, body: &[u8]) -> Result<Appended, AppendError> {
        match &self.poisoned {
            Some(why) => Err(AppendError::Poisoned(why.clone())),
            None => self.batch.append(kind, time, body),
        }
    }

    /// Signs, writes and syncs everything pending, and returns the newest checkpoint. Without anything
    /// pending this is the one before, and nothing is written.
    ///
    /// # Errors
    /// [`CommitError`]. Some of what was pending may be durable all the same: [`Self::durable_size`] is
    /// always true.
    pub fn commit(&mut self) -> Result<&SignedCheckpoint, CommitError> {
        if let Some(why) = &self.poisoned {
            return Err(CommitError::Poisoned(why.clone()));
        }
        self.batch.close();
        while let Some(mut group) = self.batch.take() {
            match self.write(&mut group) {
                Ok(()) => self.durable = group.after,
                Err(failure) => {
                    self.batch.put_back(group);
                    return Err(self.failed(failure));
                }
            }
        }
        Ok(&self.durable.checkpoint)
    }

    fn failed(&mut self, failure: Failure) -> CommitError {
        match failure {
            Failure::Undone(error) if error.is_no_space() => CommitError::NoSpace(error),
            Failure::Undone(error) => CommitError::Io(error),
            Failure::Unknown(error) => {
                let why = error.to_string();
                self.poisoned = Some(why.clone());
                CommitError::Poisoned(why)
            }
        }
    }

    /// Ends the epoch if it has entries of an hour before this time, though no entry of a later one came. Whoever calls
    /// this from time to time keeps no key longer than its hour. Does nothing while entries wait.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn end_epoch(&mut self, time: u64) -> Result<(), CommitError> {
        if let Some(why) = &self.poisoned {
            return Err(CommitError::Poisoned(why.clone()));
        }
        let is_over = self.durable.hour.is_some_and(|hour| hour != epoch::hour(time));
        if self.pending() > 0 || !is_over {
            return Ok(());
        }
        self.seal()
    }

    fn seal(&mut self) -> Result<(), CommitError> {
        if let Err(failure) = self.epochs.seal(&self.durable.checkpoint) {
            return Err(self.failed(failure.into()));
        }
        self.durable.hour = None;
        self.batch.sealed();
        Ok(())
    }

    fn write(&mut self, group: &mut Group) -> Result<(), Failure> {
        if let Some(end) = &group.seal {
            self.epochs.seal(end)?;
            group.seal = None;
        }
        if let Some(start) = &group.start {
            self.files = Some(self.begin_segment(start)?);
            group.start = None;
        }
        let Some(OpenSegment { entries, notes }) = &mut self.files else {
            let source = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(Failure::Unknown(IoError::new(
                "write to the segment in",
                &self.dir,
                source,
            )));
        };
        let (entries_len, notes_len) = (entries.len(), notes.len());
        if let Err(error) = entries.append(&group.bytes) {
            entries.cut(entries_len).map_err(Failure::Unknown)?;
            return Err(Failure::Undone(error));
        }
        entries.sync().map_err(Failure::Unknown)?;
        let mut note = Vec::new();
        put_stored(&group.after.checkpoint, &mut note);
        if let Err(error) = notes.append(&note) {
            // The checkpoint goes first and durably: it must never be there without its entries.
            notes
                .cut(notes_len)
                .and_then(|()| notes.sync())
                .and_then(|()| entries.cut(entries_len))
                .map_err(Failure::Unknown)?;
            return Err(Failure::Undone(error));
        }
        notes.sync().map_err(Failure::Unknown)?;
        self.tree.add(&group.hashes);
        // The entries are durable. What the tree's files lack is kept and written with the next commit.
        let _ = self.tree.flush();
        Ok(())
    }

    fn begin_segment(&mut self, start: &SegmentStart) -> Result<OpenSegment, Failure> {
        self.tree.sync().map_err(Failure::Undone)?;
        let (entries_path, notes_path) = (
            start.files.entries_path(&self.dir),
            start.files.notes_path(&self.dir),
        );
        let create = || -> Result<OpenSegment, IoError> {
            // The notes come first and whole, so that a segment without them is never the work of a crash.
            let mut opening = Vec::new();
            put_stored(&start.opening, &mut opening);
            durable::replace(&notes_path, &opening, PRIVATE)?;
            let notes = AppendFile::open(&notes_path, PRIVATE)?;
            let mut entries = AppendFile::create(&entries_path, PRIVATE)?;
            entries.append(start.header.bytes())?;
            entries.sync()?;
            durable::sync_dir(&self.dir)?;
            Ok(OpenSegment { entries, notes })
        };
        create().map_err(|error| {
            match durable::remove_in_turn(&self.dir, &[&entries_path, &notes_path]) {
                Ok(()) => Failure::Undone(error),
                Err(_) => Failure::Unknown(error),
            }
        })
    }

    /// Gives up what is pending and returns how many entries that were: they are lost, and the caller
    /// says so in the log.
    pub fn discard_pending(&mut self) -> u64 {
        let lost = self.pending();
        self.batch.discard(&self.durable);
        lost
    }

    /// Entries that are signed and on the disk.
    #[must_use]
    pub fn durable_size(&self) -> u64 {
        self.durable.link.next_seq
    }

    /// The last entry that is signed and on the disk.
    #[must_use]
    pub fn durable_seq(&self) -> Option<u64> {
        self.durable_size().checked_sub(1)
    }

    /// The sequence number that the next entry gets.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.batch.next_seq()
    }

    /// Entries that wait for a commit.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.next_seq() - self.durable_size()
    }

    /// Bytes that wait for a commit.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.batch.bytes()
    }

    /// The last durable checkpoint. That of an empty log is signed but not stored.
    #[must_use]
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.durable.checkpoint
    }

    /// The public key that verifies the log.
    #[must_use]
    pub fn vkey(&self) -> &VerifierKey {
        self.batch.key().verifier()
    }

    /// The log's identity.
    #[must_use]
    pub fn chain_id(&self) -> [u8; 16] {
        self.durable.link.chain_id
    }

    /// Commits what is pending, seals it and syncs everything. Nothing follows the last checkpoint then, and all is sealed.
    ///
    /// # Errors
    /// As [`Self::commit`]; what was pending is then lost with the writer.
    pub fn close(mut self) -> Result<(), CommitError> {
        self.commit()?;
        if self.durable.hour.is_some() {
            self.seal()?;
        }
        self.tree.sync().map_err(|error| {
            if error.is_no_space() {
                CommitError::NoSpace(error)
            } else {
                CommitError::Io(error)
            }
        })
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("dir", &self.dir)
            .field("durable_size", &self.durable_size())
            .field("pending", &self.pending())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
