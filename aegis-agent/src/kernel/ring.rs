//! The ring of records.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use aya::maps::{MapData, RingBuf};

/// Reader of the ring. A record's place is given back to the kernel once its reader has returned:
/// what was not read stays for the next engine.
pub struct EventRing(RingBuf<MapData>);

impl EventRing {
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self(ring)
    }

    /// Hands up to `max` records to `read`; returns how many there were. A denial wakes the
    /// descriptor at once; other records only when a quarter of the ring is full, so read on a
    /// timer too.
    pub fn drain(&mut self, max: usize, mut read: impl FnMut(&[u8])) -> usize {
        let mut count = 0;
        while count < max {
            let Some(record) = self.0.next() else { break };
            read(&record);
            count += 1;
        }
        count
    }
}

impl AsFd for EventRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for EventRing {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
