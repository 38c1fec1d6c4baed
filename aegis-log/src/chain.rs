//! What makes entries a chain: which entry may follow which.
//!
//! Knows headers, not files or signatures.

use crate::entry::Header;
use crate::hash::Hash;

/// The end of a chain: what the next entry must attach to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The log's identity.
    pub chain_id: [u8; 16],
    /// Sequence number of the next entry.
    pub next_seq: u64,
    /// Leaf hash of the last entry; zero before the first.
    pub prev: Hash,
    /// Time of the last entry in this segment: the next may not be earlier. Zero where a segment begins.
    pub floor: u64,
}

/// How an entry fails to follow the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// An entry is missing, repeated or out of order.
    #[error(
        "entry {found} is where entry {expected} belongs: entries were removed, inserted or reordered"
    )]
    Sequence {
        /// The number that belongs here.
        expected: u64,
        /// The number that is here.
        found: u64,
    },
    /// An entry of another log.
    #[error("the entry belongs to another log (chain id {found})")]
    ChainId {
        /// The chain id that is here, in hexadecimal.
        found: ChainIdHex,
    },
    /// The hash of the entry before is not that of the entry before.
    #[error("the entry does not follow the one before it: one of the two was changed or replaced")]
    Prev,
    /// Time fell within a segment.
    #[error(
        "the entry is earlier than the one before it, which the writer never does within a segment"
    )]
    Time,
}

/// A chain id shown in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainIdHex(pub [u8; 16]);

impl std::fmt::Display for ChainIdHex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::hash::hex(&self.0))
    }
}

impl Link {
    /// The beginning of a new log.
    #[must_use]
    pub fn genesis(chain_id: [u8; 16]) -> Self {
        Self {
            chain_id,
            next_seq: 0,
            prev: Hash::ZERO,
            floor: 0,
        }
    }

    /// Checks that an entry follows and moves on to it.
    ///
    /// # Errors
    /// [`ChainError`]; the link is then as it was.
    pub fn follow(&mut self, header: &Header, leaf: &Hash) -> Result<(), ChainError> {
        if header.chain_id != self.chain_id {
            return Err(ChainError::ChainId {
                found: ChainIdHex(header.chain_id),
            });
        }
        if header.seq != self.next_seq {
            return Err(ChainError::Sequence {
                expected: self.next_seq,
                found: header.seq,
            });
        }
        if header.prev != self.prev {
            return Err(ChainError::Prev);
        }
        if header.time < self.floor {
            return Err(ChainError::Time);
        }
        self.next_seq += 1;
        self.prev = *leaf;
        self.floor = header.time;
        Ok(())
    }
}
