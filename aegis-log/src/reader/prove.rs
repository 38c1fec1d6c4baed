//! Proofs and receipts from the stored tree.

use std::time::Duration;

use super::{ReadError, Reader, scan_error};
use crate::frame;
use crate::hash::Hash;
use crate::proof;
use crate::receipt::Receipt;
use crate::scan::FrameScan;
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
    /// The stored tree is of no use.
    #[error(transparent)]
    Tree(#[from] TreeError),
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

    /// A C2SP tlog-proof that entry `seq` is in the log, against the newest checkpoint.
    ///
    /// # Errors
    /// [`ProveError`].
    pub fn receipt(&self, seq: u64, disclose: Disclose) -> Result<Receipt, ProveError> {
        let checkpoint = self.checkpoint().cloned().ok_or(ProveError::OutOfRange {
            wanted: seq,
            size: 0,
        })?;
        let path = self.inclusion(seq, checkpoint.size())?;
        let frame = self.frame_bytes(seq)?;
        let shown = match disclose {
            Disclose::Body => frame,
            Disclose::Header => {
                let parsed = frame::parse(&frame).map_err(|error| {
                    ReadError::from(
                        crate::Finding::new(crate::Code::EntryDamaged, error.to_string()).at(seq),
                    )
                })?;
                frame::encode_header_only(parsed.header_bytes)
            }
        };
        Ok(Receipt::new(seq, path, shown, checkpoint))
    }

    /// The stored bytes of an entry's frame.
    fn frame_bytes(&self, seq: u64) -> Result<Vec<u8>, ReadError> {
        let missing = || {
            ReadError::from(
                crate::Finding::new(crate::Code::EntryMissing, "the entry is missing").at(seq),
            )
        };
        let entry = self.get(seq)?.ok_or_else(missing)?;
        let files = self.segment_of(seq).ok_or_else(missing)?;
        let mut scan = FrameScan::open_near(&files.entries_path(&self.dir), entry.offset)?;
        scan.skip().map_err(|error| scan_error(error, files))?;
        let len = usize::try_from(scan.offset() - entry.offset).map_err(|_| missing())?;
        Ok(FrameScan::open_near(&files.entries_path(&self.dir), entry.offset)?.raw(len)?)
    }

    fn within(&self, size: u64) -> Result<(), ProveError> {
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
