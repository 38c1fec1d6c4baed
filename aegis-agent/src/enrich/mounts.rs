//! The mounts of this process's namespace, kept current.

use std::time::{Duration, Instant};

use crate::mountinfo::{self, Mount, Watch};

/// A device that stays unknown makes the table be read again at most this often.
const AGAIN: Duration = Duration::from_millis(100);

/// Table of mounts.
#[derive(Debug)]
pub(super) struct Mounts {
    watch: Option<Watch>,
    mounts: Vec<Mount>,
    read: Instant,
}

impl Mounts {
    pub(super) fn of_this_process() -> Self {
        let watch = Watch::begin().ok();
        let mut table = Self { watch, mounts: Vec::new(), read: Instant::now() };
        table.read();
        table
    }

    fn read(&mut self) {
        match mountinfo::read() {
            Ok(mounts) => self.mounts = mounts,
            Err(error) => tracing::warn!(%error, "cannot read mountinfo: paths in events may be those of an earlier moment"),
        }
        self.read = Instant::now();
    }

    /// Device numbers are used again: a table from before a change may name the wrong mount.
    pub(super) fn refresh_if_changed(&mut self) {
        if self.watch.as_ref().is_some_and(Watch::changed) {
            self.read();
        }
    }

    /// Absolute host path; the path inside the filesystem where no mount shows it.
    pub(super) fn host_path(&mut self, dev: u32, inside: &[u8]) -> Vec<u8> {
        if let Some(path) = mountinfo::host_path(&self.mounts, dev, inside) {
            return path;
        }
        if self.read.elapsed() > AGAIN {
            self.read();
            if let Some(path) = mountinfo::host_path(&self.mounts, dev, inside) {
                return path;
            }
        }
        inside.to_vec()
    }
}
