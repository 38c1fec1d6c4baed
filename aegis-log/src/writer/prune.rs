//! Removing the oldest entries, of which hashes and checkpoints stay.
//!
//! Nothing is removed before what stays of it is durable and was held against what was signed: it could not be made anew.

use super::Writer;
use crate::day::Day;
use crate::durable::{self, IoError, PUBLIC};
use crate::finding::{Code, Finding};
use crate::hash::Hash;
use crate::merkle::Frontier;
use crate::open::remove_pruned;
use crate::pruned::Pruned;
use crate::scan::{NextNote, NoteScan};
use crate::segment::{Catalog, PRUNED_FILE, SegmentFiles, tree_name};
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
    /// What is to stay could not be made durable, or a file not removed: the next start removes it.
    #[error(transparent)]
    Io(#[from] IoError),
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
    /// What its entries take on the disk.
    pub bytes: u64,
}

impl Writer {
    /// The segments that have ended and whose entries are here, the oldest first.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn ended_segments(&self) -> Result<Vec<EndedSegment>, IoError> {
        let segments = Catalog::read(&self.dir)?.segments;
        let pairs = segments.iter().zip(segments.iter().skip(1));
        pairs
            .filter(|(files, _)| files.has_entries)
            .map(|(files, next)| {
                let path = files.entries_path(&self.dir);
                let metadata = std::fs::metadata(&path);
                let metadata = metadata.map_err(|source| IoError::new("read", &path, source))?;
                Ok(EndedSegment {
                    first: files.first_seq,
                    end: next.first_seq,
                    day: files.day,
                    bytes: metadata.len(),
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
        let next = catalog.segments.iter().find(|files| files.first_seq == end);
        let has_place = end > 0 && (end..self.durable_size()).contains(&told);
        let Some(next) = next.filter(|_| has_place) else {
            return Err(PruneError::Place);
        };
        // From here on nothing could make them anew.
        self.tree.sync()?;
        let root = self.signed_root(next)?;
        let kept = self.kept_frontier(end)?;
        if kept.root() != root {
            let what = "the stored hashes of the oldest entries are not those that were signed";
            let finding = Finding::new(Code::Tree, what).in_file(tree_name(0), 0);
            return Err(PruneError::Damaged(Box::new(finding)));
        }
        let statement = Pruned::sign(self.batch.key(), end, root, told);
        let path = self.dir.join(PRUNED_FILE);
        durable::replace(&path, statement.note().as_bytes(), PUBLIC)?;
        Ok(remove_pruned(&self.dir, &catalog, end)?)
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

    /// The tree of the first `end` entries, from the stored hashes of each that was not removed before.
    fn kept_frontier(&self, end: u64) -> Result<Frontier, PruneError> {
        let before = Pruned::read(&self.dir, self.vkey())?.map_or(0, |pruned| pruned.size());
        let missing = || {
            let what = "the stored hashes of the oldest entries are not all there";
            PruneError::Damaged(Box::new(Finding::new(Code::Tree, what).in_file(tree_name(0), 0)))
        };
        let tree = TreeReader::new(&self.dir);
        let mut frontier = Frontier::load(&tree, before.min(end)).map_err(|error| match error {
            TreeError::Io(error) => error.into(),
            TreeError::Short(_) => missing(),
        })?;
        let mut leaves = LevelScan::open(&self.dir, 0, frontier.size())?;
        while frontier.size() < end {
            frontier.push(leaves.next()?.ok_or_else(missing)?, |_, _| {});
        }
        Ok(frontier)
    }
}
