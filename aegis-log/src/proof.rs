//! Inclusion and consistency proofs, made and checked as RFC 9162 section 2.1 says.
//!
//! Knows hashes only. Checking a proof says something about two roots; that the roots are the log's is
//! for a checkpoint's signature to say.

use crate::hash::Hash;
use crate::merkle::{HashStore, range_root, split};

/// Why no proof can be made.
#[derive(Debug, thiserror::Error)]
pub enum ProveError<E> {
    /// The tree does not have what is asked for.
    #[error("no such proof: entry or size {wanted} is beyond the tree of size {size}")]
    OutOfRange {
        /// What was asked for.
        wanted: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The stored hashes can't be had.
    #[error(transparent)]
    Store(E),
}

/// A proof does not show what it is said to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not hold: it was made for another entry or another tree, or was altered")]
pub struct ProofError;

/// The audit path of leaf `index` in the tree of the first `size` leaves: siblings from the leaf up.
///
/// # Errors
/// [`ProveError::OutOfRange`] if there is no such leaf, or the store's error.
pub fn prove_inclusion<S: HashStore + ?Sized>(
    store: &S,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, ProveError<S::Error>> {
    if index >= size {
        return Err(ProveError::OutOfRange {
            wanted: index,
            size,
        });
    }
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        let sibling = if index < middle {
            (middle, end)
        } else {
            (start, middle)
        };
        path.push(range_root(store, sibling.0, sibling.1).map_err(ProveError::Store)?);
        if index < middle {
            end = middle;
        } else {
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the tree of `size` leaves extends the tree of its first `old` leaves.
///
/// # Errors
/// [`ProveError::OutOfRange`] if `old` is larger than `size`, or the store's error.
pub fn prove_consistency<S: HashStore + ?Sized>(
    store: &S,
    old: u64,
    size: u64,
) -> Result<Vec<Hash>, ProveError<S::Error>> {
    if old > size {
        return Err(ProveError::OutOfRange { wanted: old, size });
    }
    let mut path = Vec::new();
    if old == 0 || old == size {
        return Ok(path);
    }
    // SUBPROOF of RFC 9162, 2.1.4.1, as a loop: `whole` is true while the subtree is one the old tree had.
    let (mut start, mut end, mut whole) = (0, size, true);
    while old != end {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(range_root(store, middle, end).map_err(ProveError::Store)?);
            end = middle;
        } else {
            path.push(range_root(store, start, middle).map_err(ProveError::Store)?);
            start = middle;
            whole = false;
        }
    }
    if !whole {
        path.push(range_root(store, start, end).map_err(ProveError::Store)?);
    }
    path.reverse();
    Ok(path)
}

/// Checks an audit path (RFC 9162, 2.1.3.2).
///
/// # Errors
/// [`ProofError`] if the path does not lead from the leaf to the root.
pub fn check_inclusion(
    path: &[Hash],
    index: u64,
    leaf: &Hash,
    size: u64,
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError);
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return Err(ProofError);
        }
        if node & 1 == 1 || node == last {
            hash = Hash::node(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = Hash::node(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 && hash == *root {
        Ok(())
    } else {
        Err(ProofError)
    }
}

/// Checks that the tree of `size` leaves with root `root` extends the one of `old` leaves with root
/// `old_root` (RFC 9162, 2.1.4.2).
///
/// # Errors
/// [`ProofError`] if it does not follow.
pub fn check_consistency(
    path: &[Hash],
    old: u64,
    old_root: &Hash,
    size: u64,
    root: &Hash,
) -> Result<(), ProofError> {
    let holds = |held: bool| if held { Ok(()) } else { Err(ProofError) };
    if old == 0 {
        // Every tree extends the empty one.
        return holds(path.is_empty() && *old_root == Hash::empty_root());
    }
    if old >= size {
        return holds(old == size && path.is_empty() && old_root == root);
    }
    let (first, rest) = if old.is_power_of_two() {
        (*old_root, path)
    } else {
        let (first, rest) = path.split_first().ok_or(ProofError)?;
        (*first, rest)
    };
    let (mut node, mut last) = (old - 1, size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut hash) = (first, first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError);
        }
        if node & 1 == 1 || node == last {
            old_hash = Hash::node(sibling, &old_hash);
            hash = Hash::node(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = Hash::node(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    holds(!rest.is_empty() && last == 0 && old_hash == *old_root && hash == *root)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::merkle::MemoryLevels;

    fn tree(size: u64) -> (MemoryLevels, Vec<tlog_tiles::Hash>) {
        let mut levels = MemoryLevels::default();
        let mut oracle: Vec<tlog_tiles::Hash> = Vec::new();
        for n in 0..size {
            let record = n.to_le_bytes();
            levels.push(Hash::leaf(&record));
            let new = tlog_tiles::stored_hashes(n, &record, &Oracle(&oracle)).unwrap();
            oracle.extend(new);
        }
        (levels, oracle)
    }

    struct Oracle<'a>(&'a [tlog_tiles::Hash]);

    impl tlog_tiles::HashReader for Oracle<'_> {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
            Ok(indexes
                .iter()
                .map(|&index| self.0[usize::try_from(index).unwrap()])
                .collect())
        }
    }

    fn raw(path: &[Hash]) -> Vec<[u8; 32]> {
        path.iter().map(|hash| hash.0).collect()
    }

    #[test]
    fn proofs_are_those_of_the_oracle_and_hold() {
        let size = 600;
        let (levels, oracle) = tree(size);
        for n in [1, 2, 3, 5, 8, 255, 256, 257, 300, 511, 512, 513, 600] {
            let root = range_root(&levels, 0, n).unwrap();
            for index in (0..n).step_by(7) {
                let path = prove_inclusion(&levels, index, n).unwrap();
                let theirs = tlog_tiles::prove_record(n, index, &Oracle(&oracle)).unwrap();
                assert_eq!(
                    raw(&path),
                    theirs.iter().map(|hash| hash.0).collect::<Vec<_>>(),
                    "{index} of {n}"
                );
                let leaf = Hash::leaf(&index.to_le_bytes());
                check_inclusion(&path, index, &leaf, n, &root).unwrap();
            }
            for old in (1..=n).step_by(5) {
                let old_root = range_root(&levels, 0, old).unwrap();
                let path = prove_consistency(&levels, old, n).unwrap();
                let theirs = tlog_tiles::prove_tree(n, old, &Oracle(&oracle)).unwrap();
                assert_eq!(
                    raw(&path),
                    theirs.iter().map(|hash| hash.0).collect::<Vec<_>>(),
                    "{old} to {n}"
                );
                check_consistency(&path, old, &old_root, n, &root).unwrap();
            }
        }
    }

    proptest! {
        #[test]
        fn an_altered_inclusion_proof_does_not_hold(size in 2_u64..200, index in any::<prop::sample::Index>(), other in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let (levels, _) = tree(size);
            let index = u64::try_from(index.index(usize::try_from(size).unwrap())).unwrap();
            let other = u64::try_from(other.index(usize::try_from(size).unwrap())).unwrap();
            let root = range_root(&levels, 0, size).unwrap();
            let leaf = Hash::leaf(&index.to_le_bytes());
            let mut path = prove_inclusion(&levels, index, size).unwrap();
            prop_assert_eq!(check_inclusion(&path, other, &leaf, size, &root).is_ok(), other == index);
            let at = at.index(path.len() * 32);
            path[at / 32].0[at % 32] ^= 1 << bit;
            prop_assert_eq!(check_inclusion(&path, index, &leaf, size, &root), Err(ProofError));
        }

        #[test]
        fn checking_arbitrary_proofs_never_panics(path in proptest::collection::vec(any::<[u8; 32]>().prop_map(Hash), 0..70), a in any::<u64>(), b in any::<u64>(), root in any::<[u8; 32]>()) {
            let _ = check_inclusion(&path, a, &Hash(root), b, &Hash(root));
            prop_assert!(check_consistency(&path, a, &Hash(root), b, &Hash::ZERO).is_err());
        }

        #[test]
        fn a_fork_is_not_consistent(size in 2_u64..200, old in any::<prop::sample::Index>()) {
            let (levels, _) = tree(size);
            let old = 1 + u64::try_from(old.index(usize::try_from(size - 1).unwrap())).unwrap();
            let path = prove_consistency(&levels, old, size).unwrap();
            let root = range_root(&levels, 0, size).unwrap();
            prop_assert!(check_consistency(&path, old, &Hash([9; 32]), size, &root).is_err());
            prop_assert!(check_consistency(&path, old, &range_root(&levels, 0, old).unwrap(), size, &Hash([9; 32])).is_err());
        }
    }

    #[test]
    fn what_is_beyond_the_tree_has_no_proof() {
        let (levels, _) = tree(3);
        assert!(matches!(
            prove_inclusion(&levels, 3, 3),
            Err(ProveError::OutOfRange { .. })
        ));
        assert!(matches!(
            prove_consistency(&levels, 4, 3),
            Err(ProveError::OutOfRange { .. })
        ));
        assert!(matches!(
            prove_inclusion(&levels, 3, 9),
            Err(ProveError::Store(_))
        ));
    }
}
