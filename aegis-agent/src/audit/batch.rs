//! When pending entries are committed: by number, by age, or at once.
//!
//! Knows counts and time, not the log.

use std::time::{Duration, Instant};

/// How long an idle log waits before it looks again.
const IDLE: Duration = Duration::from_secs(1);

/// Bounds of a group commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Entries that make a commit due.
    pub entries: usize,
    /// Most entries of one commit: those that have queued up by the time it is due go along, so that a
    /// slow disk makes commits larger and not the log slower.
    pub most: usize,
    /// Longest wait of the oldest entry.
    pub delay: Duration,
}

impl Default for Batching {
    fn default() -> Self {
        Self { entries: 1000, most: 16_384, delay: Duration::from_millis(50) }
    }
}

/// The entries that wait.
#[derive(Debug)]
pub(super) struct Batch {
    bounds: Batching,
    entries: usize,
    oldest: Option<Instant>,
    urgent: bool,
}

impl Batch {
    pub(super) const fn new(bounds: Batching) -> Self {
        Self { bounds, entries: 0, oldest: None, urgent: false }
    }

    pub(super) fn add(&mut self, urgent: bool) {
        self.entries += 1;
        self.urgent |= urgent;
        self.oldest.get_or_insert_with(Instant::now);
    }

    pub(super) const fn committed(&mut self) {
        self.entries = 0;
        self.oldest = None;
        self.urgent = false;
    }

    /// Nothing more goes along.
    pub(super) const fn full(&self) -> bool {
        self.entries >= self.bounds.most
    }

    /// An urgent entry does not wait for others; those that queued during its commit share the next.
    pub(super) fn due(&self) -> bool {
        self.entries >= self.bounds.entries
            || self.urgent
            || self.oldest.is_some_and(|at| at.elapsed() >= self.bounds.delay)
    }

    /// How long to wait for more.
    pub(super) fn wait(&self) -> Duration {
        if self.due() {
            return Duration::ZERO;
        }
        self.oldest.map_or(IDLE, |at| self.bounds.delay.saturating_sub(at.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(entries: usize, delay: Duration) -> Batch {
        Batch::new(Batching { entries, most: 2 * entries, delay })
    }

    #[test]
    fn commits_come_by_number() {
        let mut batch = batch(3, Duration::from_secs(60));
        for _ in 0..2 {
            batch.add(false);
            assert!(!batch.due());
        }
        batch.add(false);
        assert!(batch.due() && !batch.full());
        (0..3).for_each(|_| batch.add(false));
        assert!(batch.full());
        batch.committed();
        assert!(!batch.due());
        assert_eq!(batch.wait(), IDLE);
    }

    #[test]
    fn commits_come_by_age_of_the_oldest() {
        let mut batch = batch(1000, Duration::from_millis(20));
        batch.add(false);
        assert!(!batch.due());
        assert!(batch.wait() <= Duration::from_millis(20));
        std::thread::sleep(Duration::from_millis(25));
        assert!(batch.due());
    }

    #[test]
    fn an_urgent_entry_takes_the_waiting_ones_with_it() {
        let mut batch = batch(1000, Duration::from_secs(60));
        batch.add(false);
        batch.add(true);
        batch.add(false);
        assert!(batch.due());
        assert_eq!(batch.wait(), Duration::ZERO);
    }
}
