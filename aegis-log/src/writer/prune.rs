//! Removing the oldest entries, of which hashes and checkpoints stay.
//!
//! Nothing is removed before what stays of it is durable and was held against what was signed: it could not be made anew.

use std::path::Path;

use super::Writer;
use crate::day::Day;
use crate::durable::{self, IoError, PUBLIC};
use crate::finding::{Code, Finding};
use crate::hash::Hash;
use crate::merkle::Frontier;
use crate::open::remove_pruned;
use crate::pruned::{Kept, Pruned, add_notes};
use crate::scan::{NextNote, NoteScan};
use crate::segment::{Catalog, PRUNED_FILE, SegmentFiles, SegmentHeader, tree_name};
use crate::tree::{LevelScan, TreeError, TreeReader};
use crate::walk::Stop;

/// Why entries were not removed.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// There is no such place to end, or no such entry to tell of it.
    #[error(
        "entries are removed by whole segments that have ended, once a durable entry behind them tells of it"
    )]
    Place,
    /// What is to stay of them is not what was signed.
    #[error("nothing was removed, since the log is damaged: {0}; run aegis-verify on it")]
    Damaged(Box<Finding>),
    /// Nothing was removed.
    #[error(transparent)]
    Io(#[from] IoError),
    /// They count as removed, and something is left of them, which is tried again at the next start.
    #[error("the entries count as removed, and a file of them is still there: {0}")]
    Leftover(#[source] IoError),
    /// Nothing is known about the files any more.
    #[error(
        "the log can't be written since this happened: {0}; restart, so that it is opened and checked anew"
    )]
    Poisoned(String),
}

impl From<Stop> for PruneError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Found(finding) => Self::Damaged(finding),
            Stop::Io(error) => Self::Io(error),
        }
    }
}

/// A segment that nothing is added to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedSegment {
    /// Its first entry.
    pub first: u64,
    /// The number after its last entry.
    pub end: u64,
    /// The day of its entries.
    pub day: Day,
    /// The day with which the next one begins.
    pub next_day: Day,
    /// What its entries take on the disk.
    pub bytes: u64,
    /// Whether they are encrypted.
    pub encrypted: bool,
}

impl EndedSegment {
    /// The leaf hash that the segment after this one names as that of the entry before.
    pub(crate) fn prev_of_next(&self, dir: &Path) -> Result<Option<Hash>, IoError> {
        let path = SegmentFiles::new(self.end, self.next_day).entries_path(dir);
        let header = SegmentHeader::of_file(&path)?;
        Ok(header.map(|header| header.prev()))
    }
}

impl Writer {
    /// The segments that have ended and whose entries are here, the oldest first.
    ///
    /// # Errors
    /// [`PruneError::Io`] or [`PruneError::Damaged`].
    pub fn ended_segments(&self) -> Result<Vec<EndedSegment>, PruneError> {
        let before = self.pruned()?.size;
        let segments = Catalog::read(&self.dir)?.segments;
        let pairs = segments.iter().zip(segments.iter().skip(1));
        pairs
            .filter(|(files, _)| files.has_entries && files.first_seq >= before)
            .map(|(files, next)| {
                let path = files.entries_path(&self.dir);
                let metadata = std::fs::metadata(&path);
                let metadata = metadata.map_err(|source| IoError::new("read", &path, source))?;
                Ok(EndedSegment {
                    first: files.first_seq,
                    end: next.first_seq,
                    day: files.day,
                    next_day: next.day,
                    bytes: metadata.len(),
                    encrypted: SegmentHeader::is_encrypted(&path)?,
                })
            })
            .collect()
    }

    /// Removes the entries before `end`, where an ended segment ends. `told` is the durable entry that tells of it. Their
    /// hashes and their checkpoints stay.
    ///
    /// Reads the hashes of what is removed: whoever can't wait removes a segment at a time.
    ///
    /// # Errors
    /// [`PruneError`].
    pub fn prune(&mut self, end: u64, told: u64) -> Result<(), PruneError> {
        if let Some(why) = &self.poisoned {
            return Err(PruneError::Poisoned(why.clone()));
        }
        let catalog = Catalog::read(&self.dir)?;
        let before = self.pruned()?;
        let next = catalog.segments.iter().find(|files| files.first_seq == end);
        let has_place = end > before.size && (end..self.durable_size()).contains(&told);
        let Some(next) = next.filter(|_| has_place) else {
            return Err(PruneError::Place);
        };
        let root = self.signed_root(next)?;
        if self.settle(before.size, end)?.root() != root {
            let what = "the stored hashes of the oldest entries are not those that were signed";
            let finding = Finding::new(Code::Tree, what).in_file(tree_name(0), 0);
            return Err(PruneError::Damaged(Box::new(finding)));
        }
        let mut notes = before.notes;
        let removed = |files: &&SegmentFiles| (before.size..end).contains(&files.first_seq);
        for files in catalog.segments.iter().filter(removed) {
            notes = add_notes(notes, &self.dir, files)?;
        }
        let kept = Kept {
            size: end,
            root,
            notes,
            seals: self.epochs.seals(),
        };
        let statement = Pruned::sign(self.batch.key(), kept, told);
        let path = self.dir.join(PRUNED_FILE);
        durable::replace(&path, statement.note().as_bytes(), PUBLIC)?;
        remove_pruned(&self.dir, &catalog, end).map_err(PruneError::Leftover)
    }

    /// What was removed so far.
    fn pruned(&self) -> Result<Kept, Stop> {
        let pruned = Pruned::read(&self.dir, self.vkey())?;
        Ok(pruned.map(|pruned| *pruned.kept()).unwrap_or_default())
    }

    /// The root of the tree where a segment begins, as its first checkpoint has it.
    fn signed_root(&self, files: &SegmentFiles) -> Result<Hash, PruneError> {
        let mut notes = NoteScan::open(&files.notes_path(&self.dir), self.vkey())?;
        match notes.next()? {
            NextNote::Note { checkpoint, .. }
                if checkpoint.size() == files.first_seq
                    && checkpoint.verify(self.vkey()).is_ok() =>
            {
                Ok(*checkpoint.root())
            }
            _ => {
                let what = "the checkpoint with which the segment begins was altered";
                let finding = Finding::new(Code::CheckpointDamaged, what);
                let finding = finding.in_file(files.notes_name(), 0);
                Err(PruneError::Damaged(Box::new(finding)))
            }
        }
    }

    /// Makes the stored hashes of the entries from `before` to `end` durable once more, and answers the tree that they end.
    fn settle(&mut self, before: u64, end: u64) -> Result<Frontier, PruneError> {
        let missing = || {
            let what = "the stored hashes of the oldest entries are not all there";
            let finding = Finding::new(Code::Tree, what).in_file(tree_name(0), 0);
            PruneError::Damaged(Box::new(finding))
        };
        // What waited for room is written before it is read.
        self.tree.flush()?;
        let tree = TreeReader::new(&self.dir);
        let mut frontier = Frontier::load(&tree, before).map_err(|error| match error {
            TreeError::Io(error) => error.into(),
            TreeError::Short(_) => missing(),
        })?;
        let mut leaves = LevelScan::open(&self.dir, 0, before)?;
        let mut bytes = Vec::new();
        while frontier.size() < end {
            let leaf = leaves.next()?.ok_or_else(missing)?;
            bytes.extend_from_slice(&leaf.0);
            frontier.push(leaf, |_, _| {});
        }
        if let Err(error) = self.tree.settle_leaves(before, &bytes) {
            let why = error.to_string();
            // A sync that failed says nothing of what is on the disk: it is found out by opening the log anew.
            self.poisoned = Some(why.clone());
            return Err(PruneError::Poisoned(why));
        }
        Ok(frontier)
    }
}
