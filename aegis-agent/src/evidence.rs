//! What the log hands out for others to check: receipts and consistency proofs, as texts.
//!
//! Knows how to read a log. Not a stage: the daemon answers with it, and the command line where there
//! is no daemon.

use aegis_log::{Cosigned, Disclose, ProveError, ReadError, Reader, SignedCheckpoint};

/// Why there is no such text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// The log does not have what was asked for.
    #[error("{0}")]
    None(String),
    /// The log is not the one that a checkpoint speaks of.
    #[error("{0}")]
    Other(String),
    /// The log cannot be read.
    #[error("the log cannot be read: {0}; `aegis verify` says more")]
    Unreadable(String),
}

impl From<ProveError> for EvidenceError {
    fn from(error: ProveError) -> Self {
        let text = error.to_string();
        match error {
            ProveError::OutOfRange { .. } | ProveError::Pruned { .. } | ProveError::Read(ReadError::Pruned { .. }) => {
                Self::None(text)
            }
            ProveError::Unread { .. } => Self::None(text),
            ProveError::Checkpoint(_) | ProveError::Fork(_) => Self::Other(text),
            ProveError::Read(_) | ProveError::Tree(_) => Self::Unreadable(text),
        }
    }
}

impl From<aegis_log::ReadError> for EvidenceError {
    fn from(error: aegis_log::ReadError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// A point in the log's growth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Point {
    /// As many entries.
    Size(u64),
    /// A checkpoint, kept elsewhere perhaps.
    Note(SignedCheckpoint),
}

/// The receipt of an entry, against a certain checkpoint; otherwise against the newest that is cosigned and covers
/// the entry, and where there is none against the newest.
///
/// # Errors
/// [`EvidenceError`].
pub fn receipt(reader: &Reader, seq: u64, body: bool, under: Option<&SignedCheckpoint>) -> Result<String, EvidenceError> {
    let disclose = if body { Disclose::Body } else { Disclose::Header };
    let cosigned = || {
        // What lies there and is not of this log is passed over: `aegis log witness` says so.
        let kept = Cosigned::beside(reader.dir()).all().unwrap_or_default();
        kept.into_iter().find(|kept| kept.size() > seq && reader.owns(kept).is_ok())
    };
    let receipt = match under.cloned().or_else(cosigned).as_ref() {
        Some(checkpoint) => reader.receipt_under(seq, disclose, checkpoint),
        None => reader.receipt(seq, disclose),
    };
    Ok(receipt?.to_string())
}

/// The proof that the log of `new`, or of its newest checkpoint, extends that of `old`.
///
/// # Errors
/// [`EvidenceError`].
pub fn prove(reader: &Reader, old: &Point, new: Option<&Point>) -> Result<String, EvidenceError> {
    let old = match old {
        Point::Size(size) => *size,
        Point::Note(note) => {
            reader.owns(note)?;
            note.size()
        }
    };
    let none = |size| EvidenceError::None(format!("no checkpoint was signed over exactly {size} entries; give the size of one that was"));
    let new = match new {
        Some(Point::Note(note)) => note.clone(),
        Some(Point::Size(size)) => reader.checkpoint_at(*size)?.ok_or_else(|| none(*size))?,
        None => reader.checkpoint().cloned().ok_or_else(|| EvidenceError::None("the log is empty".to_owned()))?,
    };
    Ok(reader.prove(old, &new)?.to_string())
}
