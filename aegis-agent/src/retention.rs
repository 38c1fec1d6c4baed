//! How long entries stay in the log, and which go first.
//!
//! Knows segments and times. Who removes them, and tells of it, is the daemon.

use std::time::Duration;

use aegis_log::EndedSegment;

use crate::clock::{self, Moment};

/// How far the wall clock may run away from the one since boot before it counts as set.
const DRIFT: Duration = Duration::from_secs(60);
/// How long a clock must not have been set before entries are removed by its word.
const STEADY: Duration = Duration::from_secs(3600);

/// What the operator configures about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// `audit.retention.age`: entries of days that ended longer ago than this go. `None`: none for its age.
    pub age: Option<Duration>,
    /// `audit.retention.size`: the oldest go while segments that have ended take more bytes than this.
    pub size: Option<u64>,
    /// `audit.hold`: why nothing at all is removed.
    pub hold: Option<String>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { age: Some(Duration::from_secs(90 * 24 * 3600)), size: None, hold: None }
    }
}

/// Why a segment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// All its entries are older than they may get.
    Age,
    /// There are more than there is to be room for.
    Size,
}

impl Retention {
    /// The segment that goes next, always the oldest. Without a time that can be relied on none goes for its age.
    #[must_use]
    pub fn due(&self, segments: &[EndedSegment], now: Option<u64>) -> Option<(EndedSegment, Why)> {
        if self.hold.is_some() {
            return None;
        }
        let oldest = *segments.first()?;
        let old = |age: Duration| now.is_some_and(|now| ended(&oldest).saturating_add(clock::length(age)) <= now);
        let all: u64 = segments.iter().map(|segment| segment.bytes).sum();
        if self.age.is_some_and(old) {
            Some((oldest, Why::Age))
        } else {
            self.size.is_some_and(|most| all > most).then_some((oldest, Why::Size))
        }
    }
}

/// When a segment's last entry was written at the latest. Where the clock was wrong then, the segment that follows says it
/// better: one that begins a host's life in 1970 is as young as the next, one of 2038 no younger.
fn ended(segment: &EndedSegment) -> u64 {
    if segment.next_day < segment.day {
        segment.next_day.end()
    } else {
        segment.day.end().max(segment.next_day.start())
    }
}

/// Tells whether the wall clock can be relied on: one that was set a moment ago may be years ahead, and what is removed by
/// its word does not come back.
#[derive(Clone, Copy, Debug)]
pub struct Steady {
    since: Moment,
}

impl Steady {
    /// From now on.
    #[must_use]
    pub const fn new(now: Moment) -> Self {
        Self { since: now }
    }

    /// The time, if the clock was not set for an hour.
    pub fn time(&mut self, now: Moment) -> Option<u64> {
        if self.since.wall_of(now.boot()).abs_diff(now.wall()) > clock::length(DRIFT) {
            self.since = now;
        }
        (now.boot().saturating_sub(self.since.boot()) >= clock::length(STEADY)).then_some(now.wall())
    }
}

#[cfg(test)]
mod tests {
    use aegis_log::Day;

    use super::*;

    const DAY: u64 = 86_400_000_000_000;
    const HOUR: u64 = 3_600_000_000_000;

    /// Days since the epoch, and bytes; oldest first. The one that is being written is of the day after.
    fn segments(all: &[(u64, u64)]) -> Vec<EndedSegment> {
        let next = |at: usize| all.get(at + 1).map_or(all[at].0 + 1, |(day, _)| *day);
        let of = |(at, (day, bytes)): (usize, &(u64, u64))| EndedSegment {
            first: at as u64 * 10,
            end: at as u64 * 10 + 10,
            day: Day::of(day * DAY),
            next_day: Day::of(next(at) * DAY),
            bytes: *bytes,
            encrypted: false,
        };
        all.iter().enumerate().map(of).collect()
    }

    #[test]
    fn a_clock_that_was_wrong_neither_hurries_nor_holds_up_what_follows() {
        let retention = Retention::default();
        let first_boot = segments(&[(0, 5), (20_000, 5), (20_001, 5)]);
        assert_eq!(retention.due(&first_boot, Some(20_000 * DAY + HOUR)), None);
        assert!(retention.due(&first_boot, Some(20_090 * DAY)).is_some());
        let ahead = segments(&[(25_000, 5), (20_000, 5), (20_001, 5)]);
        assert_eq!(retention.due(&ahead, Some(20_090 * DAY)), None);
        assert!(retention.due(&ahead, Some(20_091 * DAY)).is_some());
    }

    #[test]
    fn a_day_goes_whole_once_its_last_entry_is_too_old() {
        let retention = Retention::default();
        let all = segments(&[(100, 5), (101, 5)]);
        let ended = 101 * DAY;
        assert_eq!(retention.due(&all, Some(ended + 90 * DAY - 1)), None);
        assert_eq!(retention.due(&all, Some(ended + 90 * DAY)), Some((all[0], Why::Age)));
        assert_eq!(retention.due(&all, None), None, "the clock is not to be relied on");
        assert_eq!(retention.due(&[], Some(u64::MAX)), None);
        let forever = Retention { age: None, ..Retention::default() };
        assert_eq!(forever.due(&all, Some(u64::MAX)), None);
    }

    #[test]
    fn the_oldest_go_while_there_are_too_many_bytes() {
        let retention = Retention { size: Some(12), ..Retention::default() };
        let all = segments(&[(100, 5), (100, 5), (101, 5)]);
        assert_eq!(retention.due(&all, None), Some((all[0], Why::Size)));
        assert_eq!(retention.due(&all[1..], None), None);
    }

    #[test]
    fn a_hold_keeps_everything() {
        let retention = Retention { size: Some(1), hold: Some("case 4711".into()), ..Retention::default() };
        assert_eq!(retention.due(&segments(&[(100, 5), (101, 5)]), Some(u64::MAX)), None);
    }

    #[test]
    fn a_clock_that_was_set_is_not_believed_for_an_hour() {
        let mut steady = Steady::new(Moment::at(0, 1000 * DAY));
        assert_eq!(steady.time(Moment::at(HOUR - 1, 1000 * DAY + HOUR - 1)), None);
        // A clock that is slewed stays within a minute.
        assert_eq!(steady.time(Moment::at(HOUR, 1000 * DAY + HOUR + 30_000_000_000)), Some(1000 * DAY + HOUR + 30_000_000_000));
        let years_ahead = 2000 * DAY;
        assert_eq!(steady.time(Moment::at(2 * HOUR, years_ahead)), None);
        assert_eq!(steady.time(Moment::at(2 * HOUR + HOUR / 2, years_ahead + HOUR / 2)), None);
        // And back.
        assert_eq!(steady.time(Moment::at(3 * HOUR, 1000 * DAY + 3 * HOUR)), None);
        assert_eq!(steady.time(Moment::at(4 * HOUR, 1000 * DAY + 4 * HOUR)), Some(1000 * DAY + 4 * HOUR));
    }
}
