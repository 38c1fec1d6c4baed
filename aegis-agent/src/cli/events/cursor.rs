//! Where a reader of the log was: a small file that names the last entry it was shown.
//!
//! Written after the entry was written out: a reader that is stopped in between sees an entry twice
//! and never misses one. The log's chain stands in the file too, so that a cursor into a log that
//! was replaced is found instead of followed.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use thiserror::Error;

const MAGIC: &str = "aegis-cursor 1";

/// Why a cursor cannot be used.
#[derive(Debug, Error)]
pub enum CursorError {
    /// The file cannot be read or written.
    #[error("cursor {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{0} is not a cursor of aegis: name another file, or delete it to begin with the oldest entry")]
    Foreign(String),
    /// The file belongs to another log.
    #[error("cursor {path} belongs to log {theirs}, this is log {ours}: delete it to begin with the oldest entry")]
    OtherLog {
        /// The file.
        path: String,
        /// The chain in the file.
        theirs: String,
        /// The chain of the log.
        ours: String,
    },
}

/// A cursor file.
#[derive(Debug)]
pub struct Cursor {
    path: PathBuf,
    chain: String,
    seq: Option<u64>,
}

impl Cursor {
    /// Reads the file; one that does not exist stands before the first entry.
    ///
    /// # Errors
    /// When it cannot be read, is no cursor, or belongs to another log than `chain`.
    pub fn open(path: &Path, chain: &str) -> Result<Self, CursorError> {
        let shown = || path.display().to_string();
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path: path.to_path_buf(), chain: chain.to_owned(), seq: None });
            }
            Err(source) if source.kind() == io::ErrorKind::InvalidData => return Err(CursorError::Foreign(shown())),
            Err(source) => return Err(CursorError::Io { path: shown(), source }),
        };
        let (theirs, seq) = read(&text).ok_or_else(|| CursorError::Foreign(shown()))?;
        if theirs != chain {
            return Err(CursorError::OtherLog { path: shown(), theirs: theirs.to_owned(), ours: chain.to_owned() });
        }
        Ok(Self { path: path.to_path_buf(), chain: chain.to_owned(), seq: Some(seq) })
    }

    /// The last entry that was shown.
    #[must_use]
    pub const fn seq(&self) -> Option<u64> {
        self.seq
    }

    /// Moves to an entry that was written out, and keeps it.
    ///
    /// # Errors
    /// When the file cannot be replaced; it then holds what it held.
    pub fn keep(&mut self, seq: u64) -> Result<(), CursorError> {
        if self.seq == Some(seq) {
            return Ok(());
        }
        replace(&self.path, &format!("{MAGIC} chain={} seq={seq}\n", self.chain))
            .map_err(|source| CursorError::Io { path: self.path.display().to_string(), source })?;
        self.seq = Some(seq);
        Ok(())
    }
}

fn read(text: &str) -> Option<(&str, u64)> {
    let rest = text.strip_prefix(MAGIC)?.strip_prefix(" chain=")?.strip_suffix('\n')?;
    let (chain, seq) = rest.split_once(" seq=")?;
    Some((chain, seq.parse().ok()?))
}

/// Whole or not at all: a cursor that is half written would begin the log anew. It is a convenience
/// of the reader and no evidence: after a power cut it may be the one before.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let written = File::create_new(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        // Renaming over the old one before the bytes are there could leave an empty file.
        file.sync_data()?;
        fs::rename(&beside, path)
    });
    if written.is_err() {
        // The error that is told is the first one.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Cursor, CursorError};

    #[test]
    fn a_reader_goes_on_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reader.cursor");
        let mut cursor = Cursor::open(&path, "abc").unwrap();
        assert_eq!(cursor.seq(), None);
        cursor.keep(41).unwrap();
        cursor.keep(42).unwrap();
        assert_eq!(Cursor::open(&path, "abc").unwrap().seq(), Some(42));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn another_log_and_other_files_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reader.cursor");
        Cursor::open(&path, "abc").unwrap().keep(0).unwrap();
        assert!(matches!(Cursor::open(&path, "def"), Err(CursorError::OtherLog { .. })));
        for text in ["", "42\n", "aegis-cursor 1 chain=abc seq=x\n", "aegis-cursor 1 chain=abc seq=4", "\u{0}"] {
            fs::write(&path, text).unwrap();
            assert!(matches!(Cursor::open(&path, "abc"), Err(CursorError::Foreign(_))), "{text:?}");
        }
        fs::write(&path, [0xff]).unwrap();
        assert!(matches!(Cursor::open(&path, "abc"), Err(CursorError::Foreign(_))));
    }

    #[test]
    fn a_cursor_that_cannot_be_kept_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursor = Cursor::open(&dir.path().join("gone/cursor"), "abc").unwrap();
        assert!(matches!(cursor.keep(1), Err(CursorError::Io { .. })));
        assert_eq!(cursor.seq(), None);
    }
}
