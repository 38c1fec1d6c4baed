//! Finding where the signed log ends, and making sure that the stored tree ends there too.
//!
//! Reads the log and writes the tree's files, which are made from it; cuts nothing.

use std::path::Path;

use super::OpenError;
use crate::chain::Link;
use crate::checkpoint::SignedCheckpoint;
use crate::durable::IoError;
use crate::encrypted::Keys;
use crate::finding::{Code, Finding};
use crate::hash::Hash;
use crate::key::VerifierKey;
use crate::merkle::{Frontier, HashStore as _, TILE_HEIGHT};
use crate::pruned::Pruned;
use crate::report::EntryInfo;
use crate::scan::last_note;
use crate::segment::Catalog;
use crate::tree::{TreeError, TreeReader, TreeWriter};
use crate::verify::levels::tree_beyond;
use crate::walk::order::{arrangement, inner_tail};
use crate::walk::{SignedEnd, Stop, Tail, Visitor, Walk};

/// Leaves between two writes to the tree while it is made anew.
const REBUILD_CHUNK: u64 = 1 << 16;

/// A log with at least one segment.
pub(super) struct SignedLog<'a> {
    pub(super) dir: &'a Path,
    pub(super) key: &'a VerifierKey,
    pub(super) chain_id: [u8; 16],
    pub(super) catalog: &'a Catalog,
    pub(super) pruned: Option<Pruned>,
}

/// The end of the log as the walk found it.
pub(super) struct Walked {
    pub(super) link: Link,
    pub(super) frontier: Frontier,
    pub(super) checkpoint: Option<SignedCheckpoint>,
    pub(super) last: Option<EntryInfo>,
    pub(super) end: SignedEnd,
    /// Index of the first segment walked.
    from: usize,
    /// Whether all leaf hashes passed are stored as they should be.
    tree_agrees: bool,
}

impl SignedLog<'_> {
    /// Where the signed log ends, with the stored tree up to there; and whether that was made anew.
    pub(super) fn end(&self) -> Result<(Walked, TreeWriter, bool), OpenError> {
        let from = self.first_to_walk()?;
        let walked = match self.walk(from, &mut Nothing) {
            // Either the stored tree is damaged or the log is: the entries decide.
            Err(Stop::Found(_)) if from > 0 => self.walk(0, &mut Nothing)?,
            other => other?,
        };
        let size = walked.link.next_seq;
        if let Some(finding) = tree_beyond(self.dir, size) {
            return Err(finding.into());
        }
        let stored = Frontier::load(&TreeReader::new(self.dir), size);
        if walked.tree_agrees && stored.is_ok_and(|stored| stored == walked.frontier) {
            match TreeWriter::open(self.dir, size) {
                Err(TreeError::Short(_)) => {}
                tree => return Ok((walked, tree?, false)),
            }
        }
        let tree = self.rebuild(walked.from)?;
        Ok((walked, tree, true))
    }

    /// Checks that every segment begins where the one before it ended, and returns the last one that has
    /// signed entries, so that the end of the chain is among what is read.
    fn first_to_walk(&self) -> Result<usize, OpenError> {
        let mut expected = 0;
        let mut signed = 0;
        for (index, files) in self.catalog.segments.iter().enumerate() {
            let is_last = index + 1 == self.catalog.segments.len();
            arrangement(expected, files, is_last, self.pruned_size())?;
            let end = last_note(&files.notes_path(self.dir), self.key)?
                .map_or(0, |(note, _)| note.size());
            if end > files.first_seq {
                signed = index;
            }
            expected = end;
        }
        Ok(signed)
    }

    /// Checks everything from a segment on.
    fn walk(&self, from: usize, visitor: &mut dyn Visitor) -> Result<Walked, Stop> {
        let segments = &self.catalog.segments[from..];
        let (link, frontier) = self.start(self.first_seq(from))?;
        let mut walk = Walk::new(self.dir, self.key, link, frontier, self.pruned.as_ref(), &Keys::none())?;
        if let Some(before) = from.checked_sub(1) {
            let notes = self.catalog.segments[before].notes_path(self.dir);
            walk.note = last_note(&notes, self.key)?.map(|(note, _)| note);
        }
        let mut visitor = Remember {
            last: None,
            inner: visitor,
        };
        let mut end = SignedEnd {
            entries_len: 0,
            notes_len: 0,
            tail: Tail::default(),
        };
        for (index, files) in segments.iter().enumerate() {
            let is_last = index + 1 == segments.len();
            arrangement(walk.link.next_seq, files, is_last, walk.pruned_size())?;
            end = walk.segment(files, &mut visitor)?;
            if !is_last {
                inner_tail(files, walk.link.next_seq, end.tail.is_empty())?;
            }
        }
        Ok(Walked {
            link: walk.link,
            frontier: walk.frontier,
            checkpoint: walk.note,
            last: visitor.last,
            end,
            from,
            tree_agrees: walk.suspect.is_none(),
        })
    }

    /// The first sequence number of a segment; a log begins with 0, whatever its files are named.
    fn first_seq(&self, index: usize) -> u64 {
        if index == 0 {
            0
        } else {
            self.catalog.segments[index].first_seq
        }
    }

    /// Where a walk begins, from the stored tree. What is stored is no evidence: the walk compares it with
    /// the checkpoint that stands there.
    fn start(&self, from_seq: u64) -> Result<(Link, Frontier), Stop> {
        let genesis = Link::genesis(self.chain_id);
        let Some(last) = from_seq.checked_sub(1) else {
            return Ok((genesis, Frontier::default()));
        };
        let tree = TreeReader::new(self.dir);
        let load = || -> Result<(Link, Frontier), TreeError> {
            let prev = tree
                .hashes(0, last, 1)?
                .first()
                .copied()
                .unwrap_or(Hash::ZERO);
            let link = Link {
                next_seq: from_seq,
                prev,
                ..genesis
            };
            Ok((link, Frontier::load(&tree, from_seq)?))
        };
        load().map_err(|error| match error {
            TreeError::Io(error) => Stop::Io(error),
            TreeError::Short(_) => Finding::new(Code::Tree, "the stored tree is too short")
                .at(from_seq)
                .into(),
        })
    }

    /// How many of the first entries retention removed.
    fn pruned_size(&self) -> u64 {
        self.pruned.as_ref().map_or(0, Pruned::size)
    }

    /// Makes the stored tree anew from a segment on, which an earlier walk found intact. The hashes of removed entries are
    /// all that is left of them, and stay as that walk found them.
    fn rebuild(&self, from: usize) -> Result<TreeWriter, OpenError> {
        let first = self.first_seq(from);
        let kept = self.pruned_size().saturating_sub(first);
        let tree = TreeWriter::open_with_leaves(self.dir, first, first + kept)?;
        let mut rebuild = Rebuild {
            tree,
            waiting: 0,
            kept,
        };
        self.walk(from, &mut rebuild)?;
        rebuild.tree.sync()?;
        Ok(rebuild.tree)
    }
}

/// Remembers the last entry.
struct Remember<'a> {
    last: Option<EntryInfo>,
    inner: &'a mut dyn Visitor,
}

impl Visitor for Remember<'_> {
    fn entry(&mut self, info: &EntryInfo, leaf: &Hash) -> Result<(), IoError> {
        self.last = Some(*info);
        self.inner.entry(info, leaf)
    }

    fn subtree(&mut self, height: u32, hash: &Hash) {
        self.inner.subtree(height, hash);
    }

    fn grown(&mut self, frontier: &Frontier) {
        self.inner.grown(frontier);
    }
}

struct Nothing;

impl Visitor for Nothing {
    fn entry(&mut self, _: &EntryInfo, _: &Hash) -> Result<(), IoError> {
        Ok(())
    }

    fn subtree(&mut self, _: u32, _: &Hash) {}

    fn grown(&mut self, _: &Frontier) {}
}

/// Writes the tree of what it sees.
struct Rebuild {
    tree: TreeWriter,
    waiting: u64,
    /// Leaves to come that are stored already.
    kept: u64,
}

impl Visitor for Rebuild {
    fn entry(&mut self, _: &EntryInfo, _: &Hash) -> Result<(), IoError> {
        self.waiting += 1;
        if self.waiting.is_multiple_of(REBUILD_CHUNK) {
            self.tree.flush()
        } else {
            Ok(())
        }
    }

    fn subtree(&mut self, height: u32, hash: &Hash) {
        if height == 0 && self.kept > 0 {
            self.kept -= 1;
        } else if height.is_multiple_of(TILE_HEIGHT) {
            self.tree.add(&[((height / TILE_HEIGHT) as usize, *hash)]);
        }
    }

    fn grown(&mut self, _: &Frontier) {}
}
