//! Logs to try things on.

use std::path::{Path, PathBuf};

use aegis_log::{OpenError, OpenReport, Report, VerifyOptions, Writer, WriterOptions, verify};
use tempfile::TempDir;

/// A folder in memory where there is one: these tests sync thousands of times and care what is
/// written, not how fast.
pub fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

pub const DAY_NS: u64 = 86_400_000_000_000;
/// 2026-11-20 23:59:59 UTC: the second entry after it is of the next day.
pub const EVENING: u64 = 20_778 * DAY_NS - 1_000_000_000;

/// A log in a folder of its own.
pub struct Log {
    root: TempDir,
    pub segment_bytes: u64,
}

impl Log {
    pub fn new() -> Self {
        Self {
            root: folder(),
            segment_bytes: 64 << 20,
        }
    }

    /// Several segments on two days, several checkpoints in each, 24 entries.
    pub fn varied() -> Self {
        let mut log = Self::new();
        log.segment_bytes = 2400;
        let mut writer = log.open();
        for seq in 0..24_u64 {
            append(&mut writer, seq);
            if seq % 3 == 2 || seq == 4 {
                writer.commit().unwrap();
            }
        }
        writer.close().unwrap();
        log
    }

    pub fn dir(&self) -> PathBuf {
        self.root.path().join("log")
    }

    pub fn key_file(&self) -> PathBuf {
        self.root.path().join("log.key")
    }

    pub fn options(&self) -> WriterOptions {
        let mut options = WriterOptions::new(self.dir(), self.key_file(), [0xb0; 16]);
        options.segment_bytes = self.segment_bytes;
        options
    }

    pub fn try_open(&self) -> Result<(Writer, OpenReport), OpenError> {
        Writer::open(&self.options())
    }

    pub fn open(&self) -> Writer {
        self.try_open().unwrap().0
    }

    pub fn verify(&self) -> Report {
        verify(&self.dir(), &VerifyOptions::default()).unwrap()
    }

    /// A second log with the same files.
    pub fn copy(&self) -> Self {
        let copy = Self {
            root: folder(),
            segment_bytes: self.segment_bytes,
        };
        std::fs::create_dir(copy.dir()).unwrap();
        for key in self.keys() {
            std::fs::copy(self.root.path().join(&key), copy.root.path().join(&key)).unwrap();
        }
        for (name, bytes) in self.files() {
            std::fs::write(copy.dir().join(name), bytes).unwrap();
        }
        copy
    }

    /// The names of the private keys, which lie beside the folder.
    pub fn keys(&self) -> Vec<String> {
        let names = files(self.root.path()).into_iter().map(|(name, _)| name);
        names.filter(|name| name.starts_with("log.key")).collect()
    }

    /// All files of the folder, by name, but the lock.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        files(&self.dir())
    }

    pub fn names(&self, suffix: &str) -> Vec<String> {
        let names = self.files().into_iter().map(|(name, _)| name);
        names.filter(|name| name.ends_with(suffix)).collect()
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir().join(name)).unwrap()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.dir().join(name), bytes).unwrap();
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.dir().join(name)).unwrap();
    }
}

pub fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name != "log.lock")
        .map(|name| (name.clone(), std::fs::read(dir.join(&name)).unwrap()))
        .collect();
    files.sort();
    files
}

/// What the entry with this number says.
pub fn body(seq: u64) -> Vec<u8> {
    format!(
        "entry {seq} {}",
        "x".repeat(usize::try_from(seq * 7 % 40).unwrap())
    )
    .into_bytes()
}

pub fn append(writer: &mut Writer, seq: u64) {
    let time = EVENING + seq * 90_000_000;
    let kind = u32::try_from(seq % 5).unwrap() + 1;
    let appended = writer.append(kind, time, &body(seq)).unwrap();
    assert_eq!(appended.seq, seq);
}

pub fn append_range(writer: &mut Writer, range: std::ops::Range<u64>) {
    range.for_each(|seq| append(writer, seq));
}
