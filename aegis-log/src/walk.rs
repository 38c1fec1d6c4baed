//! The one walk over a log that checks everything about it: entries in themselves, the chain, the tree
//! at every checkpoint, every checkpoint's signature, and that segments meet.
//!
//! Both the verifier and recovery use it, so that what one calls tampering the other never mends.
//! Knows what an intact log is; not what to do about one that isn't.

pub(crate) mod order;

use std::path::Path;

use crate::chain::{ChainError, Link};
use crate::checkpoint::SignedCheckpoint;
use crate::day::Day;
use crate::durable::IoError;
use crate::encrypted::{self, Keys};
use crate::entry::Header;
use crate::finding::{Code, Finding};
use crate::frame::Unread;
use crate::hash::Hash;
use crate::key::VerifierKey;
use crate::merkle::Frontier;
use crate::pruned::{Pruned, add_notes};
use crate::report::EntryInfo;
use crate::scan::ahead::Ahead;
use crate::scan::{NextNote, NoteScan, ScanError};
use crate::segment::{
    PRUNED_FILE, SEGMENT_HEADER_LEN, SegmentFiles, SegmentHeader, tree_name,
};
use crate::tree::LevelScan;

/// Why a walk ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The log is not as it was signed.
    Found(Box<Finding>),
    /// It can't be read.
    Io(IoError),
}

impl From<IoError> for Stop {
    fn from(error: IoError) -> Self {
        Self::Io(error)
    }
}

impl From<Finding> for Stop {
    fn from(finding: Finding) -> Self {
        Self::Found(Box::new(finding))
    }
}

/// Hears of each signed entry in order.
pub(crate) trait Visitor {
    /// An entry that is intact in itself and follows the one before. The checkpoint that covers it has not
    /// been compared yet.
    fn entry(&mut self, info: &EntryInfo, leaf: &Hash) -> Result<(), IoError>;

    /// A subtree of the tree is complete.
    fn subtree(&mut self, height: u32, hash: &Hash);

    /// The tree after an entry.
    fn grown(&mut self, frontier: &Frontier);

    /// All entries up to here are those that a checkpoint signed.
    fn signed(&mut self, _: &SignedCheckpoint) {}
}

/// What follows the last checkpoint of a segment: signed by nobody.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Entries that are whole and chained.
    pub(crate) entries: u64,
    /// All bytes in the `.seg` file after the last signed entry.
    pub(crate) bytes: u64,
    /// Bytes of a checkpoint that was not written in whole.
    pub(crate) note_bytes: u64,
}

impl Tail {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where the signed part of a segment ends.
#[derive(Debug)]
pub(crate) struct SignedEnd {
    pub(crate) entries_len: u64,
    pub(crate) notes_len: u64,
    pub(crate) tail: Tail,
}

/// Entries of encrypted segments whose bodies were not read: that they are the ones that were signed was not checked.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct UnreadBodies {
    /// Their keys are not here.
    pub withheld: u64,
    /// Their keys were destroyed.
    pub erased: u64,
}

impl UnreadBodies {
    fn count(&mut self, why: Option<Unread>) {
        match why {
            None => {}
            Some(Unread::Withheld) => self.withheld += 1,
            Some(Unread::Erased) => self.erased += 1,
        }
    }
}

/// The state of a walk between two segments.
pub(crate) struct Walk<'a> {
    dir: &'a Path,
    key: &'a VerifierKey,
    keys: Keys,
    /// Bodies that could not be read.
    pub(crate) unread: UnreadBodies,
    pub(crate) link: Link,
    pub(crate) frontier: Frontier,
    /// The last checkpoint passed.
    pub(crate) note: Option<SignedCheckpoint>,
    /// Checkpoints passed, those counted once that a segment repeats at its beginning.
    pub(crate) checkpoints: u64,
    /// Leaf hashes stored when the entries were written: no proof, but they tell which entry changed.
    stored_leaves: LevelScan,
    /// First entry whose stored leaf hash is another.
    pub(crate) suspect: Option<u64>,
    /// Which of the first entries retention removed.
    pruned: Option<&'a Pruned>,
    /// Over their notes, as far as they were passed.
    pruned_notes: Hash,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        dir: &'a Path,
        key: &'a VerifierKey,
        link: Link,
        frontier: Frontier,
        pruned: Option<&'a Pruned>,
        keys: &Keys,
    ) -> Result<Self, IoError> {
        let stored_leaves = LevelScan::open(dir, 0, frontier.size())?;
        Ok(Self {
            dir,
            key,
            keys: keys.clone(),
            unread: UnreadBodies::default(),
            link,
            frontier,
            note: None,
            checkpoints: 0,
            stored_leaves,
            suspect: None,
            pruned,
            pruned_notes: Hash::ZERO,
        })
    }

    /// How many of the first entries retention removed.
    pub(crate) fn pruned_size(&self) -> u64 {
        self.pruned.map_or(0, Pruned::size)
    }

    /// Checks one segment, which begins where the walk stands.
    pub(crate) fn segment(
        &mut self,
        files: &SegmentFiles,
        visitor: &mut dyn Visitor,
    ) -> Result<SignedEnd, Stop> {
        let mut notes = NoteScan::open(&files.notes_path(self.dir), self.key)?;
        self.opening(files, notes.next()?)?;
        if let Some(pruned) = self.pruned.filter(|pruned| files.first_seq < pruned.size()) {
            return self.pruned_segment(pruned, files, notes, visitor);
        }
        self.link.floor = 0;
        let header = SegmentHeader::new(self.link.next_seq, self.link.chain_id, self.link.prev);
        let mut end = SignedEnd {
            entries_len: 0,
            notes_len: notes.offset(),
            tail: Tail::default(),
        };
        if !files.has_entries {
            return self.without_entries(files, notes.next()?, end);
        }
        let path = files.entries_path(self.dir);
        let opened = Ahead::open(&path, &self.keys, SEGMENT_HEADER_LEN);
        let (mut entries, head) = opened.map_err(|error| damaged(files, error))?;
        if entries.is_encrypted() {
            encrypted::check(&path, &files.entries_name(), self.key)?;
        }
        let difference = header.difference(&head);
        loop {
            match notes.next()? {
                NextNote::Note { offset, checkpoint } => {
                    if let Some(difference) = difference {
                        return Err(Finding::new(Code::SegmentHeader, difference)
                            .at(self.link.next_seq)
                            .in_file(files.entries_name(), 0)
                            .into());
                    }
                    self.signature(files, offset, &checkpoint)?;
                    self.batch(files, &mut entries, checkpoint, visitor)?;
                    end.entries_len = entries.offset();
                    end.notes_len = notes.offset();
                }
                NextNote::End => break,
                NextNote::Torn { offset } => {
                    end.tail.note_bytes =
                        file_len(&files.notes_path(self.dir))?.saturating_sub(offset);
                    break;
                }
                NextNote::Altered { offset, what } => {
                    return Err(altered_note(files, offset, what));
                }
            }
        }
        self.tail(&mut entries, difference.is_none(), &mut end)?;
        Ok(end)
    }

    /// A segment whose entries retention removed: its checkpoints are held against the hashes that stayed.
    fn pruned_segment(
        &mut self,
        pruned: &Pruned,
        files: &SegmentFiles,
        mut notes: NoteScan,
        visitor: &mut dyn Visitor,
    ) -> Result<SignedEnd, Stop> {
        loop {
            match notes.next()? {
                NextNote::Note { offset, checkpoint } => {
                    self.signature(files, offset, &checkpoint)?;
                    self.pruned_batch(files, checkpoint, visitor)?;
                }
                NextNote::End => break,
                NextNote::Torn { offset } => {
                    return Err(altered_note(files, offset, "it is cut off"));
                }
                NextNote::Altered { offset, what } => {
                    return Err(altered_note(files, offset, what));
                }
            }
        }
        self.pruned_notes = add_notes(self.pruned_notes, self.dir, files)?;
        if self.link.next_seq == pruned.size() {
            pruned.check_notes(self.pruned_notes)?;
        }
        if self.link.next_seq > pruned.size() {
            let what = "the entries that are said to have been removed end within a segment, and entries are removed by whole segments";
            let found = Finding::new(Code::Pruned, what).in_file(PRUNED_FILE, 0);
            return Err(found.at(pruned.size()).into());
        }
        Ok(SignedEnd {
            entries_len: 0,
            notes_len: notes.offset(),
            tail: Tail::default(),
        })
    }

    /// The removed entries between the last checkpoint and `checkpoint`.
    fn pruned_batch(
        &mut self,
        files: &SegmentFiles,
        checkpoint: SignedCheckpoint,
        visitor: &mut dyn Visitor,
    ) -> Result<(), Stop> {
        let first = self.link.next_seq;
        self.rises(files, &checkpoint)?;
        while self.link.next_seq < checkpoint.size() {
            let Some(leaf) = self.stored_leaves.next()? else {
                let what = "the stored hash of a removed entry is missing, and nothing is left from which it could be made anew";
                return Err(Finding::new(Code::Tree, what)
                    .at(self.link.next_seq)
                    .in_file(tree_name(0), self.link.next_seq * Hash::LEN as u64)
                    .into());
            };
            self.frontier
                .push(leaf, |height, hash| visitor.subtree(height, hash));
            self.link.next_seq += 1;
            self.link.prev = leaf;
            visitor.grown(&self.frontier);
        }
        if self.frontier.root() != *checkpoint.root() {
            let last = checkpoint.size() - 1;
            let what = format!(
                "the stored hashes of the removed entries {first} to {last} are not those that the checkpoint of size {} signed: at least one was changed",
                checkpoint.size()
            );
            return Err(Finding {
                until: Some(last),
                ..Finding::new(Code::Tree, what)
                    .at(first)
                    .in_file(tree_name(0), first * Hash::LEN as u64)
            }
            .into());
        }
        self.checkpoints += 1;
        visitor.signed(&checkpoint);
        self.note = Some(checkpoint);
        Ok(())
    }

    /// Whether a checkpoint is of more entries than the one before it.
    fn rises(&self, files: &SegmentFiles, checkpoint: &SignedCheckpoint) -> Result<(), Stop> {
        let (size, first) = (checkpoint.size(), self.link.next_seq);
        if size > first {
            return Ok(());
        }
        let what = format!(
            "a checkpoint of size {size} follows one of size {first}: checkpoints were inserted or reordered"
        );
        Err(Finding::new(Code::CheckpointOrder, what)
            .in_file(files.notes_name(), 0)
            .into())
    }

    /// A segment that was about to begin: only its opening checkpoint is there.
    fn without_entries(
        &self,
        files: &SegmentFiles,
        next: NextNote,
        end: SignedEnd,
    ) -> Result<SignedEnd, Stop> {
        match next {
            NextNote::End => Ok(end),
            _ => Err(Finding::new(
                Code::SegmentMissing,
                "the segment's entries are gone: its checkpoints are there, the file is not",
            )
            .at(self.link.next_seq)
            .in_file(files.entries_name(), 0)
            .into()),
        }
    }

    /// The first note of a segment repeats the checkpoint with which the one before ended.
    fn opening(&mut self, files: &SegmentFiles, next: NextNote) -> Result<(), Stop> {
        let found = |what: &str| {
            Finding::new(Code::CheckpointMissing, what)
                .at(files.first_seq)
                .in_file(files.notes_name(), 0)
        };
        let checkpoint = match next {
            NextNote::Note { checkpoint, .. } => checkpoint,
            // The file is put in place with this note in it, so that no crash leaves it cut.
            NextNote::End | NextNote::Torn { .. } => {
                return Err(found(
                    "the segment does not begin with a checkpoint: the file was cut",
                )
                .into());
            }
            NextNote::Altered { offset, what } => return Err(altered_note(files, offset, what)),
        };
        self.signature(files, 0, &checkpoint)?;
        if files.first_seq != self.link.next_seq || checkpoint.size() != self.link.next_seq {
            return Err(found("the segment does not begin where the one before it ended: entries or segments are missing").into());
        }
        if self.note.as_ref().is_some_and(|last| *last != checkpoint) {
            return Err(found("the segment does not begin with the checkpoint the one before it ended with: checkpoints were removed").into());
        }
        if *checkpoint.root() != self.frontier.root() {
            return Err(found(
                "the checkpoint at the segment's beginning is not of the entries before it",
            )
            .into());
        }
        self.note = Some(checkpoint);
        Ok(())
    }

    fn signature(
        &self,
        files: &SegmentFiles,
        offset: u64,
        checkpoint: &SignedCheckpoint,
    ) -> Result<(), Stop> {
        checkpoint.verify(self.key).map_err(|error| {
            Finding::new(
                Code::CheckpointSignature,
                format!("the checkpoint of size {}: {error}", checkpoint.size()),
            )
            .in_file(files.notes_name(), offset)
            .into()
        })
    }

    /// The entries between the last checkpoint and `checkpoint`.
    fn batch(
        &mut self,
        files: &SegmentFiles,
        entries: &mut Ahead,
        checkpoint: SignedCheckpoint,
        visitor: &mut dyn Visitor,
    ) -> Result<(), Stop> {
        let first = self.link.next_seq;
        self.rises(files, &checkpoint)?;
        let mut expected_note = self.note.as_ref().map(SignedCheckpoint::note_hash);
        while self.link.next_seq < checkpoint.size() {
            let offset = entries.offset();
            let seq = self.link.next_seq;
            let at = |code, what: String| {
                Finding::new(code, what)
                    .at(seq)
                    .in_file(files.entries_name(), offset)
            };
            let (header, leaf) = match entries.next() {
                Ok(Some(entry)) => {
                    self.unread.count(entry.unread);
                    (entry.header, entry.leaf)
                }
                Ok(None) => {
                    let what = format!(
                        "the segment ends here, but entries {seq} to {} were signed",
                        checkpoint.size() - 1
                    );
                    return Err(at(Code::EntryMissing, what).into());
                }
                Err(ScanError::Frame { error, .. }) => {
                    return Err(at(Code::EntryDamaged, error.to_string()).into());
                }
                Err(ScanError::Io(error)) => return Err(error.into()),
            };
            self.follow(&header, &leaf, at)?;
            if header.checkpoint != expected_note.take() {
                let what = "the entry does not name the checkpoint that stands before it: a checkpoint was removed, inserted or replaced";
                return Err(at(Code::CheckpointMissing, what.to_owned()).into());
            }
            if Day::of(header.time) != files.day {
                return Err(at(
                    Code::SegmentName,
                    format!(
                        "the segment is named for {}, the entry is of {}",
                        files.day,
                        Day::of(header.time)
                    ),
                )
                .into());
            }
            self.frontier
                .push(leaf, |height, hash| visitor.subtree(height, hash));
            if self.stored_leaves.next()? != Some(leaf) {
                self.suspect.get_or_insert(seq);
            }
            visitor.entry(&EntryInfo::new(&header, files.first_seq, offset), &leaf)?;
            visitor.grown(&self.frontier);
        }
        self.compare_root(files, first, &checkpoint)?;
        self.checkpoints += 1;
        visitor.signed(&checkpoint);
        self.note = Some(checkpoint);
        Ok(())
    }

    fn follow(
        &mut self,
        header: &Header,
        leaf: &Hash,
        at: impl Fn(Code, String) -> Finding,
    ) -> Result<(), Stop> {
        let seq = self.link.next_seq;
        self.link.follow(header, leaf).map_err(|error| {
            let finding = at(Code::Chain, error.to_string());
            // The leaf hash stored when the entry was written tells which of the two neighbours changed.
            match (error, self.suspect) {
                (ChainError::Prev, Some(suspect)) if suspect + 1 == seq => {
                    Finding { seq: Some(suspect), offset: None, what: format!("entry {suspect} was changed: neither the entry after it nor the tree agree with it"), ..finding }
                }
                _ => finding,
            }
            .into()
        })
    }

    fn compare_root(
        &self,
        files: &SegmentFiles,
        first: u64,
        checkpoint: &SignedCheckpoint,
    ) -> Result<(), Stop> {
        if self.frontier.root() == *checkpoint.root() {
            return Ok(());
        }
        let last = checkpoint.size() - 1;
        let seq = self.suspect.filter(|suspect| *suspect >= first);
        let what = match seq {
            Some(seq) => format!(
                "entry {seq} was changed: it is not what the checkpoint of size {} signed",
                checkpoint.size()
            ),
            None => format!(
                "entries {first} to {last} are not those that the checkpoint of size {} signed: at least one was changed",
                checkpoint.size()
            ),
        };
        Err(Finding {
            until: Some(last),
            ..Finding::new(Code::Root, what)
                .at(seq.unwrap_or(first))
                .in_file(files.entries_name(), 0)
        }
        .into())
    }

    /// Counts what nobody signed. Nothing here is a finding: a crash may leave anything.
    fn tail(
        &mut self,
        entries: &mut Ahead,
        readable: bool,
        end: &mut SignedEnd,
    ) -> Result<(), Stop> {
        let mut link = self.link;
        let mut more = readable;
        while more {
            match entries.next() {
                Ok(Some(entry)) if link.follow(&entry.header, &entry.leaf).is_ok() => {
                    end.tail.entries += 1
                }
                Err(ScanError::Io(error)) => return Err(error.into()),
                _ => more = false,
            }
        }
        let len = entries.len()?;
        if end.entries_len == 0 && end.tail.entries == 0 && len <= SEGMENT_HEADER_LEN as u64 {
            // A header alone says nothing that was not known before.
            end.tail.bytes = 0;
        } else {
            end.tail.bytes = len - end.entries_len.min(len);
        }
        Ok(())
    }
}

/// The beginning of a segment that can't be read.
fn damaged(files: &SegmentFiles, error: ScanError) -> Stop {
    match error {
        ScanError::Io(error) => error.into(),
        ScanError::Frame { offset, error } => {
            Finding::new(Code::EntryDamaged, error.to_string())
                .at(files.first_seq)
                .in_file(files.entries_name(), offset)
                .into()
        }
    }
}

fn altered_note(files: &SegmentFiles, offset: u64, what: &str) -> Stop {
    Finding::new(
        Code::CheckpointDamaged,
        format!("a checkpoint was altered: {what}"),
    )
    .in_file(files.notes_name(), offset)
    .into()
}

fn file_len(path: &Path) -> Result<u64, IoError> {
    std::fs::metadata(path)
        .map(|metadata| metadata.len())
        .map_err(|source| IoError::new("read", path, source))
}
