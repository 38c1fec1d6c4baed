//! Consistency proofs as files: that a later checkpoint extends an earlier one.
//!
//! The text is the body of an `add-checkpoint` request of C2SP tlog-witness: the old size, the proof of
//! RFC 6962, and the later checkpoint. What is kept in a file is what a witness is asked with, so every
//! witness, and every tool made for them, checks it.
//!
//! Knows texts, hashes and signatures, not logs or witnesses.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{CheckpointError, SignedCheckpoint, decimal};
use crate::hash::Hash;
use crate::key::VerifierKey;
use crate::proof::{ProofError, check_consistency};

/// The longest proof that tlog-witness allows: one hash for each bit of a size.
const MOST_HASHES: usize = 63;

/// A proof that the log of a checkpoint extends what it was at an earlier size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consistency {
    old: u64,
    path: Vec<Hash>,
    checkpoint: SignedCheckpoint,
}

/// Why a consistency proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConsistencyError {
    /// The text is not one.
    #[error("not a consistency proof: {0}")]
    Malformed(&'static str),
    /// A checkpoint is not to be believed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The proof begins at another size.
    #[error("the proof begins at {proven} entries, the earlier checkpoint has {kept}")]
    Size {
        /// Where the proof begins.
        proven: u64,
        /// The size of the checkpoint it is held against.
        kept: u64,
    },
    /// The later tree is not shown to extend the earlier one.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl Consistency {
    pub(crate) fn new(old: u64, path: Vec<Hash>, checkpoint: SignedCheckpoint) -> Self {
        Self {
            old,
            path,
            checkpoint,
        }
    }

    /// Reads a proof.
    ///
    /// # Errors
    /// [`ConsistencyError::Malformed`], or what is wrong with the checkpoint in it.
    pub fn parse(text: &str) -> Result<Self, ConsistencyError> {
        let malformed = ConsistencyError::Malformed;
        let (proof, note) = text
            .split_once("\n\n")
            .ok_or(malformed("it has no blank line before the checkpoint"))?;
        let mut lines = proof.split('\n');
        let old = lines
            .next()
            .and_then(|line| decimal(line.strip_prefix("old ")?))
            .ok_or(malformed("its first line is not old and a size"))?;
        let hash = |line| Hash::from_slice(&STANDARD.decode(line).ok()?);
        let path = lines
            .map(hash)
            .collect::<Option<Vec<_>>>()
            .ok_or(malformed("a line of its proof is not a hash"))?;
        if path.len() > MOST_HASHES {
            return Err(malformed("its proof has more than 63 hashes"));
        }
        let mut notes = SignedCheckpoint::parse_all(note)?;
        match (notes.pop(), notes.is_empty()) {
            (Some(checkpoint), true) => Ok(Self::new(old, path, checkpoint)),
            _ => Err(malformed("it holds more than one checkpoint")),
        }
    }

    /// The size from which on it is a proof.
    #[must_use]
    pub fn old_size(&self) -> u64 {
        self.old
    }

    /// The later checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// Checks that the log, which signed both checkpoints with this key, only grew from `earlier` on.
    ///
    /// # Errors
    /// [`ConsistencyError`] says why that is not shown.
    pub fn verify(
        &self,
        earlier: &SignedCheckpoint,
        key: &VerifierKey,
    ) -> Result<(), ConsistencyError> {
        earlier.verify(key)?;
        self.checkpoint.verify(key)?;
        if earlier.size() != self.old {
            return Err(ConsistencyError::Size {
                proven: self.old,
                kept: earlier.size(),
            });
        }
        Ok(self.extends(earlier.root())?)
    }

    /// Whether the checkpoint's tree extends the one of the old size with this root. Says nothing
    /// about signatures.
    ///
    /// # Errors
    /// [`ProofError`] if it is not shown to.
    pub(crate) fn extends(&self, old_root: &Hash) -> Result<(), ProofError> {
        let (size, root) = (self.checkpoint.size(), self.checkpoint.root());
        check_consistency(&self.path, self.old, old_root, size, root)
    }
}

/// The body of an `add-checkpoint` request.
impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.path {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint.note())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_the_c2sp_specification_is_read_and_written_the_same() {
        let text = "old 20852014\n\
            PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
            jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n\
            5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
            /6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\
            \n\
            example.com/behind-the-sofa\n\
            20852163\n\
            CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\
            \n\
            \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
            \u{2014} example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n";
        let read = Consistency::parse(text).unwrap();
        assert_eq!(
            (read.old_size(), read.path.len(), read.checkpoint().size()),
            (20_852_014, 4, 20_852_163)
        );
        assert_eq!(read.to_string(), text);
    }

    #[test]
    fn what_is_no_proof_is_refused() {
        let note = "o\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u{2014} o Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
        assert!(Consistency::parse(&format!("old 0\n\n{note}")).is_ok());
        let hash = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        for text in [
            format!("old 00\n\n{note}"),
            format!("old -1\n\n{note}"),
            format!("new 1\n\n{note}"),
            format!("old 1\nAAAA\n\n{note}"),
            format!("old 1\n{}\n{note}", hash.repeat(64)),
            format!("old 0\n\n{note}\n{note}"),
            format!("old 0\n{note}"),
            String::new(),
        ] {
            assert!(Consistency::parse(&text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "(?s)old [0-9]{1,22}\n.{0,200}") {
            let _ = Consistency::parse(&text);
        }
    }
}
