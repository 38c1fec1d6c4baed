//! Sums by object, exact and in bounded room: an agent chooses how many distinct names there are.
//!
//! Knows counting. What is counted, and how it is shown, is said elsewhere.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, Hash, RandomState},
};

/// Distinct objects that one list keeps: those that came first. What others did is summed, and they are counted.
pub const KEPT: usize = 512;

/// Distinct objects beyond those kept that are told apart, of all lists of a report together (8 bytes each). Beyond
/// that their number is a lower bound; their sums stay exact.
pub const TOLD_APART: usize = 1 << 20;

/// What is summed.
pub trait Sum: Clone + Default {
    /// Adds another sum to this one.
    fn add(&mut self, other: &Self);
    /// How often, for the order of rows.
    fn weight(&self) -> u64;
}

/// Tells objects apart that are not kept, by a keyed 64-bit hash: nobody can choose two that look the same, and by
/// chance a million of them are miscounted once in tens of millions of reports.
#[derive(Debug, Default)]
pub struct Seen {
    hasher: RandomState,
    hashes: HashSet<u64>,
    lists: u64,
}

impl Seen {
    /// Whether an object of a list is new; nothing when that can no longer be told.
    pub fn is_new(&mut self, list: u64, object: &impl Hash) -> Option<bool> {
        let hash = self.hasher.hash_one((list, object));
        if self.hashes.contains(&hash) {
            return Some(false);
        }
        (self.hashes.len() < TOLD_APART).then(|| self.hashes.insert(hash))
    }

    /// A number for one more list.
    pub const fn list(&mut self) -> u64 {
        self.lists += 1;
        self.lists
    }
}

/// What came after a list was full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others<V> {
    /// Distinct objects.
    pub distinct: u64,
    /// There may be more of them: they can no longer be told apart.
    pub at_least: bool,
    /// What they did, exactly.
    pub sum: V,
}

impl<V: Sum> Others<V> {
    /// Adds what an object did that is not kept.
    pub fn add(&mut self, new: Option<bool>, value: &V) {
        self.sum.add(value);
        self.distinct += u64::from(new == Some(true));
        self.at_least |= new.is_none();
    }
}

/// A sum for each object.
#[derive(Debug)]
pub struct Tally<K, V> {
    list: u64,
    kept: HashMap<K, V>,
    others: Others<V>,
}

impl<K: Hash + Ord + Clone, V: Sum> Tally<K, V> {
    /// An empty list.
    pub fn new(seen: &mut Seen) -> Self {
        Self { list: seen.list(), kept: HashMap::new(), others: Others::default() }
    }

    /// Adds to an object's sum.
    pub fn add(&mut self, key: K, value: &V, seen: &mut Seen) {
        if let Some(sum) = self.kept.get_mut(&key) {
            sum.add(value);
        } else if self.kept.len() < KEPT {
            self.kept.insert(key, value.clone());
        } else {
            self.others.add(seen.is_new(self.list, &key), value);
        }
    }

    /// What is kept, those with the greatest weight first.
    #[must_use]
    pub fn rows(&self) -> Vec<(&K, &V)> {
        let mut rows: Vec<_> = self.kept.iter().collect();
        rows.sort_by(|a, b| b.1.weight().cmp(&a.1.weight()).then_with(|| a.0.cmp(b.0)));
        rows
    }

    /// What is not.
    #[must_use]
    pub const fn others(&self) -> &Others<V> {
        &self.others
    }

    /// Everything together.
    #[must_use]
    pub fn total(&self) -> V {
        let mut total = self.others.sum.clone();
        self.kept.values().for_each(|sum| total.add(sum));
        total
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::{KEPT, Seen, Sum, TOLD_APART, Tally};

    #[derive(Clone, Default)]
    struct Count(u64);

    impl Sum for Count {
        fn add(&mut self, other: &Self) {
            self.0 += other.0;
        }

        fn weight(&self) -> u64 {
            self.0
        }
    }

    proptest! {
        #[test]
        fn every_count_is_somewhere_and_every_object_is_told_once(objects in proptest::collection::vec((0_u64..2_000, 1_u64..9), 0..4_000)) {
            let mut seen = Seen::default();
            let mut tally = Tally::new(&mut seen);
            for (object, count) in &objects {
                tally.add(*object, &Count(*count), &mut seen);
            }
            let distinct: std::collections::BTreeSet<u64> = objects.iter().map(|(object, _)| *object).collect();
            let rows = tally.rows();
            prop_assert_eq!(tally.total().0, objects.iter().map(|(_, count)| count).sum::<u64>());
            prop_assert_eq!(rows.len() as u64 + tally.others().distinct, distinct.len() as u64);
            prop_assert!(rows.len() <= KEPT && !tally.others().at_least);
            prop_assert!(rows.windows(2).all(|pair| pair[0].1.0 >= pair[1].1.0));
        }
    }

    #[test]
    fn beyond_the_last_bound_sums_stay_exact_and_numbers_say_that_they_are_not() {
        let mut seen = Seen::default();
        let mut tally = Tally::new(&mut seen);
        let objects = (KEPT + TOLD_APART + 1) as u64;
        for object in 0..objects {
            tally.add(object, &Count(3), &mut seen);
        }
        assert_eq!(tally.total().0, objects * 3);
        assert_eq!((tally.others().distinct, tally.others().at_least), (TOLD_APART as u64, true));
    }

    #[test]
    fn the_same_name_in_two_lists_is_two_objects() {
        let mut seen = Seen::default();
        let mut lists = [Tally::new(&mut seen), Tally::new(&mut seen)];
        for list in &mut lists {
            for object in 0..=KEPT {
                list.add(object, &Count(1), &mut seen);
            }
        }
        assert!(lists.iter().all(|list| list.others().distinct == 1));
    }
}
