//! The Merkle tree of RFC 6962 and RFC 9162 in two forms: the frontier, which grows by one leaf at a
//! time in O(log n) memory, and ranges computed from stored hashes, from which proofs are made.
//!
//! Knows hashes, not entries or files. Hashes are stored by level as C2SP tlog-tiles cuts them: level
//! l holds the hash of every complete subtree of 256^l leaves, in order.

use crate::hash::Hash;

/// Binary heights between one stored level and the next.
pub const TILE_HEIGHT: u32 = 8;

/// Complete subtrees from the largest (left) to the smallest: all that is needed to append and to
/// compute the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// One hash for each set bit of `size`, the highest bit first.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Leaves so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf. `completed` hears of each subtree that this leaf completes: its binary height (0 for
    /// the leaf itself) and hash.
    pub fn push(&mut self, leaf: Hash, mut completed: impl FnMut(u32, &Hash)) {
        let mut hash = leaf;
        completed(0, &hash);
        let mut height = 0;
        while self.size >> height & 1 == 1 {
            // A set bit has its peak, so there is always one to take.
            let Some(left) = self.peaks.pop() else { break };
            hash = Hash::node(&left, &hash);
            height += 1;
            completed(height, &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root of the tree as it is now.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(&last) = peaks.next() else {
            return Hash::empty_root();
        };
        peaks.fold(last, |right, left| Hash::node(left, &right))
    }

    /// The frontier of the tree with the first `size` leaves of a stored one.
    ///
    /// # Errors
    /// Whatever the store says when hashes are missing.
    pub fn load<S: HashStore + ?Sized>(store: &S, size: u64) -> Result<Self, S::Error> {
        let mut peaks = Vec::new();
        let mut start = 0;
        for height in (0..u64::BITS)
            .rev()
            .filter(|height| size >> height & 1 == 1)
        {
            peaks.push(subtree(store, height, start >> height)?);
            start += 1 << height;
        }
        Ok(Self { size, peaks })
    }
}

/// Where hashes are kept by level.
pub trait HashStore {
    /// Why hashes can't be had.
    type Error;

    /// Hashes `start..start + count` of a level.
    ///
    /// # Errors
    /// When they are not all there or can't be read.
    fn hashes(&self, level: u32, start: u64, count: u64) -> Result<Vec<Hash>, Self::Error>;
}

/// The hash of the complete subtree of `1 << height` leaves with this index among those of its height.
pub(crate) fn subtree<S: HashStore + ?Sized>(
    store: &S,
    height: u32,
    index: u64,
) -> Result<Hash, S::Error> {
    let (level, above) = (height / TILE_HEIGHT, height % TILE_HEIGHT);
    let mut row = store.hashes(level, index << above, 1 << above)?;
    while row.len() > 1 {
        row = row
            .chunks(2)
            .map(|pair| Hash::node(&pair[0], &pair[pair.len() - 1]))
            .collect();
    }
    Ok(row.first().copied().unwrap_or_else(Hash::empty_root))
}

/// MTH(D[start..end]) where `start` is a multiple of the largest power of two below the range's length,
/// as all ranges in RFC 6962 proofs are.
pub(crate) fn range_root<S: HashStore + ?Sized>(
    store: &S,
    start: u64,
    end: u64,
) -> Result<Hash, S::Error> {
    let len = end - start;
    if len == 0 {
        return Ok(Hash::empty_root());
    }
    if len.is_power_of_two() {
        let height = len.trailing_zeros();
        return subtree(store, height, start >> height);
    }
    let middle = start + split(len);
    Ok(Hash::node(
        &range_root(store, start, middle)?,
        &range_root(store, middle, end)?,
    ))
}

/// The largest power of two smaller than `len`, which is at least 2.
pub(crate) fn split(len: u64) -> u64 {
    1 << (u64::BITS - 1 - (len - 1).leading_zeros())
}

/// Levels in memory, for tests.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub struct MemoryLevels {
    frontier: Frontier,
    levels: Vec<Vec<Hash>>,
}

#[cfg(test)]
impl MemoryLevels {
    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let levels = &mut self.levels;
        self.frontier.push(leaf, |height, hash| {
            if height.is_multiple_of(TILE_HEIGHT) {
                let level = (height / TILE_HEIGHT) as usize;
                if levels.len() <= level {
                    levels.resize_with(level + 1, Vec::new);
                }
                levels[level].push(*hash);
            }
        });
    }

    /// The frontier of all leaves so far.
    #[must_use]
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }
}

/// A hash was asked for that is not in memory.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tree has no hash {index} at level {level}")]
pub struct NoSuchHash {
    /// Level asked for.
    pub level: u32,
    /// First index asked for.
    pub index: u64,
}

#[cfg(test)]
impl HashStore for MemoryLevels {
    type Error = NoSuchHash;

    fn hashes(&self, level: u32, start: u64, count: u64) -> Result<Vec<Hash>, NoSuchHash> {
        let missing = NoSuchHash {
            level,
            index: start,
        };
        let from = usize::try_from(start).map_err(|_| missing)?;
        let count = usize::try_from(count).map_err(|_| missing)?;
        let row = self.levels.get(level as usize).ok_or(missing)?;
        let end = from.checked_add(count).ok_or(missing)?;
        row.get(from..end).map(<[Hash]>::to_vec).ok_or(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_agree_with_the_oracle_for_every_size() {
        let mut oracle = Vec::new();
        let mut frontier = Frontier::default();
        let mut levels = MemoryLevels::default();
        for n in 0..1200_u64 {
            let record = n.to_be_bytes();
            let reader = OracleHashes(&oracle);
            let new = tlog_tiles::stored_hashes(n, &record, &reader).unwrap();
            oracle.extend(new);
            frontier.push(Hash::leaf(&record), |_, _| {});
            levels.push(Hash::leaf(&record));
            let root = tlog_tiles::tree_hash(n + 1, &OracleHashes(&oracle)).unwrap();
            assert_eq!(frontier.root().0, root.0, "size {}", n + 1);
            assert_eq!(range_root(&levels, 0, n + 1).unwrap(), frontier.root());
            assert_eq!(Frontier::load(&levels, n + 1).unwrap(), frontier);
        }
        assert_eq!(
            Frontier::load(&levels, 700).unwrap().root(),
            range_root(&levels, 0, 700).unwrap()
        );
    }

    pub(crate) struct OracleHashes<'a>(pub &'a [tlog_tiles::Hash]);

    impl tlog_tiles::HashReader for OracleHashes<'_> {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
            Ok(indexes
                .iter()
                .map(|&index| self.0[usize::try_from(index).unwrap()])
                .collect())
        }
    }

    #[test]
    fn the_empty_tree_has_the_hash_of_nothing() {
        assert_eq!(Frontier::default().root(), Hash::empty_root());
    }
}
