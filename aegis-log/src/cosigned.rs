//! The cosigned checkpoints of a log, kept beside it: the last of each UTC day.
//!
//! Not in the log's folder, as nothing of the log depends on them: what is there is what witnesses said of it.
//! Kept for ever, as the daily roots are: one file of a few hundred bytes a day.
//!
//! Knows where they lie, not how they were come by.

use std::path::{Path, PathBuf};

use crate::checkpoint::SignedCheckpoint;
use crate::day::Day;
use crate::durable::{self, IoError, PUBLIC};

const SUFFIX: &str = ".note";

/// The folder of a log's cosigned checkpoints.
#[derive(Debug, Clone)]
pub struct Cosigned {
    dir: PathBuf,
}

impl Cosigned {
    /// Those in this folder, which need not be there yet.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Those beside a log's folder: `cosigned` next to it.
    #[must_use]
    pub fn beside(log: &Path) -> Self {
        Self::new(log.with_file_name("cosigned"))
    }

    /// Keeps one, durably, as the last of the day of `time`, in nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`IoError`]
    pub fn keep(&self, checkpoint: &SignedCheckpoint, time: u64) -> Result<(), IoError> {
        durable::create_dir(&self.dir)?;
        let path = self.dir.join(format!("{}{SUFFIX}", Day::of(time)));
        durable::replace(&path, checkpoint.note().as_bytes(), PUBLIC)
    }

    /// All of them, the largest first. A file that is none is passed over: whether one is to be believed, its
    /// signatures say.
    ///
    /// # Errors
    /// [`IoError`] if they can't be read.
    pub fn all(&self) -> Result<Vec<SignedCheckpoint>, IoError> {
        let mut all = Vec::new();
        let files = match std::fs::read_dir(&self.dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(all),
            other => other.map_err(|source| IoError::new("read", &self.dir, source))?,
        };
        for file in files {
            let file = file.map_err(|source| IoError::new("read", &self.dir, source))?;
            if !file.file_name().to_string_lossy().ends_with(SUFFIX) {
                continue;
            }
            let text = std::fs::read_to_string(file.path())
                .map_err(|source| IoError::new("read", &file.path(), source))?;
            all.extend(SignedCheckpoint::parse_all(&text).unwrap_or_default());
        }
        all.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.size()));
        Ok(all)
    }
}
