//! Gaps in the kernel's sequence numbers.
//!
//! Processors number records before they write them, so numbers come a little out of order: a number
//! counts as lost only when it has been missing for a while.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long a number may be late.
const LATE: Duration = Duration::from_secs(1);
/// Gaps kept at one time. Beyond it the oldest count as lost at once.
const KEPT: usize = 4_096;

/// The numbers that have not come.
#[derive(Debug)]
pub struct Gaps {
    /// The next number.
    next: u64,
    /// First missing number of a gap -> (last missing number, since when).
    missing: BTreeMap<u64, (u64, Instant)>,
    lost: u64,
}

impl Gaps {
    /// `next` is the first number that is expected.
    #[must_use]
    pub const fn new(next: u64) -> Self {
        Self { next, missing: BTreeMap::new(), lost: 0 }
    }

    /// A number has come.
    pub fn seen(&mut self, seq: u64, now: Instant) {
        if seq >= self.next {
            if seq > self.next {
                self.missing.insert(self.next, (seq - 1, now));
                if self.missing.len() > KEPT
                    && let Some((first, (last, _))) = self.missing.pop_first()
                {
                    self.lost += last - first + 1;
                }
            }
            self.next = seq + 1;
            return;
        }
        // A late one splits its gap.
        let Some((&first, &(last, since))) = self.missing.range(..=seq).next_back() else { return };
        if seq > last {
            return;
        }
        self.missing.remove(&first);
        if first < seq {
            self.missing.insert(first, (seq - 1, since));
        }
        if seq < last {
            self.missing.insert(seq + 1, (last, since));
        }
    }

    /// Numbers lost so far, those that are late by now included.
    pub fn lost(&mut self, now: Instant) -> u64 {
        self.missing.retain(|first, (last, since)| {
            let late = now.saturating_duration_since(*since) >= LATE;
            if late {
                self.lost += *last - first + 1;
            }
            !late
        });
        self.lost
    }

    /// Greatest number seen; 0 before the first.
    #[must_use]
    pub const fn greatest(&self) -> u64 {
        self.next.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_out_of_order_are_not_lost() {
        let now = Instant::now();
        let mut gaps = Gaps::new(1);
        for seq in [1, 3, 2, 6, 5, 4, 7] {
            gaps.seen(seq, now);
        }
        assert_eq!(gaps.lost(now + LATE), 0);
        assert_eq!(gaps.greatest(), 7);
    }

    #[test]
    fn a_gap_counts_once_it_is_late() {
        let now = Instant::now();
        let mut gaps = Gaps::new(10);
        gaps.seen(15, now);
        assert_eq!(gaps.lost(now), 0);
        gaps.seen(12, now);
        assert_eq!(gaps.lost(now + LATE), 4);
        assert_eq!(gaps.lost(now + LATE * 2), 4);
    }

    proptest! {
        #[test]
        fn what_is_removed_is_what_is_lost(
            removed in proptest::collection::btree_set(1u64..500, 0..60), swaps in proptest::collection::vec(0usize..400, 0..50),
        ) {
            let mut seqs: Vec<u64> = (1..=500).filter(|s| !removed.contains(s)).collect();
            for at in swaps {
                seqs.swap(at, at + 20);
            }
            let now = Instant::now();
            let mut gaps = Gaps::new(1);
            seqs.iter().for_each(|s| gaps.seen(*s, now));
            prop_assert_eq!(gaps.lost(now + LATE), removed.len() as u64);
        }
    }
}
