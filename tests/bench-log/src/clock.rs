//! What some work took: by the wall, and of the processors, all threads together. On a machine that does other things too only
//! the second is this work's own.

use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};

/// The two times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    pub wall: Duration,
    pub processor: Duration,
}

impl std::ops::AddAssign for Took {
    fn add_assign(&mut self, other: Self) {
        self.wall += other.wall;
        self.processor += other.processor;
    }
}

/// A measurement under way.
pub struct Begun {
    wall: Instant,
    processor: Duration,
}

impl Begun {
    pub fn now() -> Result<Self> {
        Ok(Self { wall: Instant::now(), processor: processor()? })
    }

    pub fn took(&self) -> Result<Took> {
        Ok(Took { wall: self.wall.elapsed(), processor: processor()? - self.processor })
    }
}

fn processor() -> Result<Duration> {
    Ok(Duration::try_from(clock_gettime(ClockId::ProcessCPUTime))?)
}
