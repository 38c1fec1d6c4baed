//! Receipts: C2SP tlog-proof texts, which show that an entry is in the log, on their own.
//!
//! The `extra` line holds the entry's frame as it lies in a segment, or a frame that shows its header
//! only. The leaf that is proven is the header in it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::entry::Header;
use crate::frame::{self, FrameError};
use crate::hash::Hash;
use crate::key::VerifierKey;
use crate::proof::{ProofError, check_inclusion};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// A proof that an entry is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    index: u64,
    path: Vec<Hash>,
    frame: Vec<u8>,
    checkpoint: SignedCheckpoint,
}

/// What a receipt proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The entry's header.
    pub header: Header,
    /// Its body, if the receipt shows it.
    pub body: Option<Vec<u8>>,
}

/// Why a receipt proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The text is not one.
    #[error("not a receipt: {0}")]
    Malformed(&'static str),
    /// The entry in it is not one.
    #[error("the entry in the receipt is damaged: {0}")]
    Frame(#[from] FrameError),
    /// The entry has another number than the receipt.
    #[error("the receipt is for entry {index}, the entry in it is {seq}")]
    Index {
        /// The receipt's number.
        index: u64,
        /// The entry's.
        seq: u64,
    },
    /// The entry is not of the log that signed the checkpoint.
    #[error("the entry in the receipt is of another log than the checkpoint")]
    ChainId,
    /// The checkpoint is not to be believed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The entry is not in the tree.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl Receipt {
    pub(crate) fn new(
        index: u64,
        path: Vec<Hash>,
        frame: Vec<u8>,
        checkpoint: SignedCheckpoint,
    ) -> Self {
        Self {
            index,
            path,
            frame,
            checkpoint,
        }
    }

    /// Reads a receipt.
    ///
    /// # Errors
    /// [`ReceiptError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, ReceiptError> {
        let malformed = ReceiptError::Malformed;
        let (proof, note) = text
            .split_once("\n\n")
            .ok_or(malformed("it has no blank line before the checkpoint"))?;
        let mut lines = proof.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err(malformed("its first line is not c2sp.org/tlog-proof@v1"));
        }
        let extra = lines.next().and_then(|line| line.strip_prefix("extra "));
        let frame = extra
            .and_then(|extra| STANDARD.decode(extra).ok())
            .ok_or(malformed("it holds no entry"))?;
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .ok_or(malformed("it has no index"))?;
        let number: u64 = index
            .parse()
            .map_err(|_| malformed("its index is not a number"))?;
        if number.to_string() != index {
            return Err(malformed("its index is not a plain number"));
        }
        let hash = |line| {
            STANDARD
                .decode(line)
                .ok()
                .and_then(|bytes| Hash::from_slice(&bytes))
        };
        let path = lines
            .map(hash)
            .collect::<Option<Vec<_>>>()
            .ok_or(malformed("a line of its proof is not a hash"))?;
        let mut notes = SignedCheckpoint::parse_all(note)?;
        match (notes.pop(), notes.is_empty()) {
            (Some(checkpoint), true) => Ok(Self {
                index: number,
                path,
                frame,
                checkpoint,
            }),
            _ => Err(malformed("it holds more than one checkpoint")),
        }
    }

    /// Checks the receipt with the log's key and says what it proves.
    ///
    /// # Errors
    /// [`ReceiptError`] says why it proves nothing.
    pub fn verify(&self, key: &VerifierKey) -> Result<Proven, ReceiptError> {
        self.checkpoint.verify(key)?;
        let frame = frame::parse(&self.frame)?;
        if frame.len != self.frame.len() {
            return Err(ReceiptError::Malformed("something follows the entry"));
        }
        if frame.header.seq != self.index {
            return Err(ReceiptError::Index {
                index: self.index,
                seq: frame.header.seq,
            });
        }
        if key
            .chain_id()
            .is_none_or(|chain_id| chain_id != frame.header.chain_id)
        {
            return Err(ReceiptError::ChainId);
        }
        check_inclusion(
            &self.path,
            self.index,
            &frame.leaf,
            self.checkpoint.size(),
            self.checkpoint.root(),
        )?;
        Ok(Proven {
            header: frame.header,
            body: frame.payload.map(|payload| payload.body.to_vec()),
        })
    }

    /// The checkpoint it is made against.
    #[must_use]
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }
}

/// The C2SP tlog-proof text.
impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{FIRST_LINE}\nextra {}\nindex {}",
            STANDARD.encode(&self.frame),
            self.index
        )?;
        for hash in &self.path {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint.note())
    }
}
