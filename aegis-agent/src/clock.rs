//! The two clocks: nanoseconds since boot (what the kernel stamps) and since the Unix epoch (what
//! the log carries).

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds since boot, suspend included: the clock of [`aegis_common::event::EventHeader::boottime`].
#[must_use]
pub fn boottime() -> u64 {
    nanoseconds(clock_gettime(ClockId::Boottime))
}

/// Nanoseconds since the Unix epoch.
#[must_use]
pub fn wall() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime))
}

/// A length of time in nanoseconds.
#[must_use]
pub fn length(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn nanoseconds(t: Timespec) -> u64 {
    let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
    let rest = u64::try_from(t.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// Both clocks read at nearly one moment: converts between them.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    boot: u64,
    wall: u64,
}

impl Moment {
    /// Reads both clocks.
    #[must_use]
    pub fn now() -> Self {
        Self { boot: boottime(), wall: wall() }
    }

    /// From given readings.
    #[must_use]
    pub const fn at(boot: u64, wall: u64) -> Self {
        Self { boot, wall }
    }

    /// Wall-clock time of a moment since boot. A moment after this reading counts as later, one
    /// before as earlier: a clock that was stepped moves both alike.
    #[must_use]
    pub const fn wall_of(self, boottime: u64) -> u64 {
        if boottime <= self.boot {
            self.wall.saturating_sub(self.boot - boottime)
        } else {
            self.wall.saturating_add(boottime - self.boot)
        }
    }

    /// The wall-clock reading.
    #[must_use]
    pub const fn wall(self) -> u64 {
        self.wall
    }

    /// The reading since boot.
    #[must_use]
    pub const fn boot(self) -> u64 {
        self.boot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_becomes_wall_time_before_and_after_the_reading() {
        let moment = Moment::at(1_000, 50_000);
        assert_eq!(moment.wall_of(400), 49_400);
        assert_eq!(moment.wall_of(1_500), 50_500);
        assert_eq!(Moment::at(1_000, 10).wall_of(0), 0);
    }
}
