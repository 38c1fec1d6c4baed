//! Proofs and receipts from the stored tree.

use std::time::Duration;

use super::{ReadError, Reader, scan_error};
use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::consistency::Consistency;
use crate::finding::{Code, Finding};
use crate::frame::{self, Unread};
use crate::hash::Hash;
use crate::merkle::range_root;
use crate::proof;
use crate::receipt::Receipt;
use crate::scan::{NextNote, NoteScan};
use crate::tree::{TreeError, TreeReader};

/// How long a tree may lag behind the checkpoint: the writer adds to it right after signing.
const TREE_WAIT: Duration = Duration::from_millis(1);
const TREE_TRIES: u32 = 20;

/// What a receipt shows of its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disclose {
    /// When and what kind; the body stays secret.
    Header,
    /// All of it.
    Body,
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The entry can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log does not go that far.
    #[error("there is no proof yet: {wanted} is beyond the signed log of {size} entries")]
    OutOfRange {
        /// The entry or size asked for.
        wanted: u64,
        /// Signed entries.
        size: u64,
    },
    /// Entries were removed after the checkpoint, and it does not have the entry that tells of it.
    #[error("entries were removed by retention, and entry {told}, which tells of it, is behind the checkpoint: take one of at least {} entries", told + 1)]
    Pruned {
        /// The entry that tells of it.
        told: u64,
    },
    /// What an entry says is to be shown, and can't be read.
    #[error("entry {seq} can be proven, and what it says can't be shown: {why}")]
    Unread {
        /// The entry.
        seq: u64,
        /// Why.
        why: Unread,
    },
    /// The stored tree is of no use.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A checkpoint is not one that this log signed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint that the log's key signed is not of these entries.
    #[error(
        "the log is not the one that signed this checkpoint: its first {0} entries are others (a fork)"
    )]
    Fork(u64),
}

impl From<proof::ProveError<TreeError>> for ProveError {
    fn from(error: proof::ProveError<TreeError>) -> Self {
        match error {
            proof::ProveError::OutOfRange { wanted, size } => Self::OutOfRange { wanted, size },
            proof::ProveError::Store(error) => Self::Tree(error),
        }
    }
}

impl Reader {
    /// The audit path of entry `seq` in the tree of the first `size` entries.
    ///
    /// # Errors
    /// [`ProveError`].
    pub fn inclusion(&self, seq: u64, size: u64) -> Result<Vec<Hash>, ProveError> {
        self.within(size)?;
        self.with_tree(|tree| proof::prove_inclusion(tree, seq, size))
    }

    /// The proof that the tree of `size` entries extends that of the first `old`.
    ///
    /// # Errors
    /// [`ProveError`].
    pub fn consistency(&self, old: u64, size: u64) -> Result<Vec<Hash>, ProveError> {
        self.within(size)?;
        self.with_tree(|tree| proof::prove_consistency(tree, old, size))
    }

    /// The proof, with the later checkpoint, that the log of `checkpoint` extends what it was at `old`
    /// entries.
    ///
    /// # Errors
    /// [`ProveError`]; also when the checkpoint is not of this log.
    pub fn prove(
        &self,
        old: u64,
        checkpoint: &SignedCheckpoint,
    ) -> Result<Consistency, ProveError> {
        self.owns(checkpoint)?;
        let path = self.consistency(old, checkpoint.size())?;
        Ok(Consistency::new(old, path, checkpoint.clone()))
    }

    /// Checks that a checkpoint, kept elsewhere perhaps, is one of this log as it lies here.
    ///
    /// # Errors
    /// [`ProveError`] says how it is not.
    pub fn owns(&self, checkpoint: &SignedCheckpoint) -> Result<(), ProveError> {
        checkpoint.verify(self.vkey())?;
        let size = checkpoint.size();
        self.within(size)?;
        let root =
            self.with_tree(|tree| range_root(tree, 0, size).map_err(proof::ProveError::Store))?;
        if root == *checkpoint.root() {
            Ok(())
        } else {
            Err(ProveError::Fork(size))
        }
    }

    /// The checkpoint that was signed over the first `size` entries; `None` if none was.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn checkpoint_at(&self, size: u64) -> Result<Option<SignedCheckpoint>, ReadError> {
        // A segment's first note repeats the last of the one before.
        let Some(files) = self.segment_of(size.saturating_sub(1)) else {
            return Ok(None);
        };
        let mut notes = NoteScan::open(&files.notes_path(&self.dir), self.vkey())?;
        while let NextNote::Note { offset, checkpoint } = notes.next()? {
            if checkpoint.size() < size {
                continue;
            }
            if checkpoint.size() > size {
                break;
            }
            checkpoint.verify(self.vkey()).map_err(|error| {
                Finding::new(Code::CheckpointSignature, error.to_string())
                    .in_file(files.notes_name(), offset)
            })?;
            return Ok(Some(checkpoint));
        }
        Ok(None)
    }

    /// A C2SP tlog-proof that entry `seq` is in the log, against the newest checkpoint.
    ///
    /// # Errors
    /// [`ProveError`].
    pub fn receipt(&self, seq: u64, disclose: Disclose) -> Result<Receipt, ProveError> {
        let checkpoint = self.checkpoint().ok_or(ProveError::OutOfRange {
            wanted: seq,
            size: 0,
        })?;
        self.receipt_under(seq, disclose, checkpoint)
    }

    /// A receipt against a certain checkpoint, such as one that witnesses cosigned.
    ///
    /// # Errors
    /// [`ProveError`]; also when the checkpoint is not of this log.
    pub fn receipt_under(
        &self,
        seq: u64,
        disclose: Disclose,
        checkpoint: &SignedCheckpoint,
    ) -> Result<Receipt, ProveError> {
        self.owns(checkpoint)?;
        let path = self.inclusion(seq, checkpoint.size())?;
        let frame = self.frame_bytes(seq)?;
        let shown = match disclose {
            Disclose::Body => match frame::unread(&frame) {
                None => frame,
                Some(why) => return Err(ProveError::Unread { seq, why }),
            },
            Disclose::Header => {
                let parsed = frame::parse_any(&frame).map_err(|error| {
                    ReadError::from(Finding::new(Code::EntryDamaged, error.to_string()).at(seq))
                })?;
                frame::encode_header_only(parsed.header_bytes)
            }
        };
        Ok(Receipt::new(seq, path, shown, checkpoint.clone()))
    }

    /// The stored bytes of an entry's frame.
    fn frame_bytes(&self, seq: u64) -> Result<Vec<u8>, ReadError> {
        let missing =
            || ReadError::from(Finding::new(Code::EntryMissing, "the entry is missing").at(seq));
        let entry = self.get(seq)?.ok_or_else(missing)?;
        let files = self.segment_of(seq).ok_or_else(missing)?;
        let mut scan = self.scan(files, entry.offset)?;
        scan.skip().map_err(|error| scan_error(error, files))?;
        let len = usize::try_from(scan.offset() - entry.offset).map_err(|_| missing())?;
        let frame = self.scan(files, entry.offset)?.raw(len);
        frame.map_err(|error| scan_error(error, files))
    }

    pub(super) fn within(&self, size: u64) -> Result<(), ProveError> {
        if size > self.size() {
            Err(ProveError::OutOfRange {
                wanted: size,
                size: self.size(),
            })
        } else {
            Ok(())
        }
    }

    fn with_tree<T>(
        &self,
        prove: impl Fn(&TreeReader) -> Result<T, proof::ProveError<TreeError>>,
    ) -> Result<T, ProveError> {
        let tree = TreeReader::new(&self.dir);
        let mut tries = 0;
        loop {
            match prove(&tree) {
                Err(proof::ProveError::Store(TreeError::Short(_))) if tries < TREE_TRIES => {
                    tries += 1;
                    std::thread::sleep(TREE_WAIT);
                }
                other => return Ok(other?),
            }
        }
    }
}
