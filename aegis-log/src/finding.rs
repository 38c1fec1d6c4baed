//! One thing that is wrong with a log: what, where, and in words.
//!
//! Knows how to say it, not how to find it.

use std::fmt;

use serde_json::{Value, json};

/// What sort of thing is wrong. The names in JSON are [`Code::name`] and do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// An entry is not intact in itself.
    EntryDamaged,
    /// Signed entries are not there.
    EntryMissing,
    /// An entry does not follow the one before.
    Chain,
    /// Entries are not those a checkpoint signed.
    Root,
    /// A checkpoint is not in the one form it can have.
    CheckpointDamaged,
    /// A checkpoint's signature does not hold.
    CheckpointSignature,
    /// A checkpoint is gone, or another stands in its place.
    CheckpointMissing,
    /// Checkpoints are out of order.
    CheckpointOrder,
    /// A segment's header is not the one that belongs there.
    SegmentHeader,
    /// A file of the log is gone or repeated.
    SegmentMissing,
    /// A file's name does not agree with what is in it.
    SegmentName,
    /// The stored hashes of the tree are not those of the entries.
    Tree,
    /// The verifier key in the folder is not the log's.
    Vkey,
    /// The statement about removed entries was altered, or is of others.
    Pruned,
    /// What an entry says was erased, and no statement or entry says so, or the statement was altered.
    Erased,
    /// The seal of an epoch was altered, or is of other entries.
    Epoch,
    /// Entries lack the seal of their epoch.
    EpochMissing,
    /// The seal of an epoch that was kept elsewhere is not the log's.
    KeptEpoch,
    /// The log is shorter than, or another one than, a checkpoint kept elsewhere says.
    KeptCheckpoint,
}

impl Code {
    /// The name used in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EntryDamaged => "entry-damaged",
            Self::EntryMissing => "entry-missing",
            Self::Chain => "chain",
            Self::Root => "root",
            Self::CheckpointDamaged => "checkpoint-damaged",
            Self::CheckpointSignature => "checkpoint-signature",
            Self::CheckpointMissing => "checkpoint-missing",
            Self::CheckpointOrder => "checkpoint-order",
            Self::SegmentHeader => "segment-header",
            Self::SegmentMissing => "segment-missing",
            Self::SegmentName => "segment-name",
            Self::Tree => "tree",
            Self::Vkey => "vkey",
            Self::Pruned => "pruned",
            Self::Erased => "erased",
            Self::Epoch => "epoch",
            Self::EpochMissing => "epoch-missing",
            Self::KeptEpoch => "kept-epoch",
            Self::KeptCheckpoint => "kept-checkpoint",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What sort of thing.
    pub code: Code,
    /// In words.
    pub what: String,
    /// The entry concerned; the first of them if `until` is set.
    pub seq: Option<u64>,
    /// The last entry concerned, where it can't be told which of several it is.
    pub until: Option<u64>,
    /// The file concerned.
    pub file: Option<String>,
    /// Where in the file.
    pub offset: Option<u64>,
}

impl Finding {
    pub(crate) fn new(code: Code, what: impl Into<String>) -> Self {
        Self {
            code,
            what: what.into(),
            seq: None,
            until: None,
            file: None,
            offset: None,
        }
    }

    pub(crate) fn at(self, seq: u64) -> Self {
        Self {
            seq: Some(seq),
            ..self
        }
    }

    pub(crate) fn in_file(self, file: impl Into<String>, offset: u64) -> Self {
        Self {
            file: Some(file.into()),
            offset: Some(offset),
            ..self
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "code": self.code.name(), "what": self.what, "seq": self.seq, "until": self.until, "file": self.file, "offset": self.offset })
    }
}

/// One line: the entry, the file and place, what is wrong.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.seq, self.until) {
            (Some(seq), Some(until)) if until != seq => write!(f, "entries {seq} to {until}, ")?,
            (Some(seq), _) => write!(f, "entry {seq}, ")?,
            (None, _) => {}
        }
        if let Some(file) = &self.file {
            // Names come from the folder and may be made to look like something else.
            write!(f, "{}", file.escape_debug())?;
            if let Some(offset) = self.offset {
                write!(f, " at byte {offset}")?;
            }
            write!(f, ": ")?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Finding {}
