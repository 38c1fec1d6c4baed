//! Names and beginnings of segment files, and what else may lie in a log's folder.
//!
//! A segment is a pair of files named by its first sequence number and its UTC day: `.seg` holds the
//! entries, `.notes` the checkpoints signed while it grew. Every field of a segment's beginning follows
//! from what comes before it, so that a verifier checks every byte.
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 8 | `AEGISLOG` |
//! | 8 | 2 | format version: 1 |
//! | 10 | 2 | encoding: 0 frames as they are; 1 encrypted (see `encrypted`); others reserved |
//! | 12 | 4 | length of this header: 72 |
//! | 16 | 8 | sequence number of the first entry |
//! | 24 | 16 | chain id |
//! | 40 | 32 | leaf hash of the entry before; zero in the first segment |
//!
//! Numbers are little-endian. Knows names and headers, not entries.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::day::Day;
use crate::durable::{IoError, TEMPORARY_PREFIX};
use crate::hash::Hash;

const MAGIC: [u8; 8] = *b"AEGISLOG";
const FORMAT: u16 = 1;
const ENCODING_PLAIN: u16 = 0;
const ENCODING_ENCRYPTED: u16 = 1;
/// Bytes before the first frame of a segment.
pub(crate) const SEGMENT_HEADER_LEN: usize = size_of::<SegmentHeader>();

/// Where a segment begins in the chain.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct SegmentHeader {
    magic: [u8; 8],
    format: U16,
    encoding: U16,
    len: U32,
    first_seq: U64,
    chain_id: [u8; 16],
    prev: [u8; 32],
}

const _: () = assert!(SEGMENT_HEADER_LEN == 72);

impl SegmentHeader {
    pub(crate) fn new(first_seq: u64, chain_id: [u8; 16], prev: Hash) -> Self {
        Self {
            magic: MAGIC,
            format: U16::new(FORMAT),
            encoding: U16::new(ENCODING_PLAIN),
            len: U32::new(72),
            first_seq: U64::new(first_seq),
            chain_id,
            prev: prev.0,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    /// The header of an encrypted segment at the start of `bytes`, as it was before; `None` where it is none.
    pub(crate) fn of_encrypted(bytes: &[u8]) -> Option<Self> {
        let (found, _) = Self::read_from_prefix(bytes).ok()?;
        let is_one = found.magic == MAGIC && found.encoding.get() == ENCODING_ENCRYPTED;
        is_one.then(|| Self {
            encoding: U16::new(ENCODING_PLAIN),
            ..found
        })
    }

    /// The header of the same segment once it is encrypted.
    pub(crate) fn encrypted(&self) -> Self {
        Self {
            encoding: U16::new(ENCODING_ENCRYPTED),
            ..*self
        }
    }

    /// The header with which a file begins, whatever it says; `None` where it is cut off.
    pub(crate) fn of_file(path: &Path) -> Result<Option<Self>, IoError> {
        let failed = |source| IoError::new("read", path, source);
        let file = File::open(path).map_err(failed)?;
        let mut bytes = Vec::new();
        let mut head = file.take(SEGMENT_HEADER_LEN as u64);
        head.read_to_end(&mut bytes).map_err(failed)?;
        Ok(Self::read(&bytes))
    }

    /// Whether a file is an encrypted segment.
    pub(crate) fn is_encrypted(path: &Path) -> Result<bool, IoError> {
        let header = Self::of_file(path)?;
        Ok(header.is_some_and(|header| header.encoding.get() == ENCODING_ENCRYPTED))
    }

    /// The header at the start of `bytes`, whatever it says; `None` where it is cut off.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self::read_from_prefix(bytes).ok()?.0)
    }

    pub(crate) fn first_seq(&self) -> u64 {
        self.first_seq.get()
    }

    pub(crate) fn chain_id(&self) -> [u8; 16] {
        self.chain_id
    }

    pub(crate) fn prev(&self) -> Hash {
        Hash(self.prev)
    }

    /// Why `bytes` are not this header, which is the only one that can stand here.
    pub(crate) fn difference(&self, bytes: &[u8]) -> Option<&'static str> {
        let Ok(found) = Self::read_from_bytes(bytes) else {
            return Some("the segment's header is cut off");
        };
        if found.magic != self.magic {
            Some("this is not a segment of the log")
        } else if found.format != self.format
            || found.encoding != self.encoding
            || found.len != self.len
        {
            Some(
                "the segment's format is not one this version knows: it was altered, or written by a newer Aegis whose aegis-verify must be used",
            )
        } else if found.chain_id != self.chain_id {
            Some("the segment belongs to another log")
        } else if found != *self {
            Some("the segment does not begin where the one before it ended")
        } else {
            None
        }
    }
}

/// The two files of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentFiles {
    pub(crate) first_seq: u64,
    pub(crate) day: Day,
    pub(crate) has_entries: bool,
    pub(crate) has_notes: bool,
}

impl SegmentFiles {
    pub(crate) fn new(first_seq: u64, day: Day) -> Self {
        Self {
            first_seq,
            day,
            has_entries: true,
            has_notes: true,
        }
    }

    pub(crate) fn entries_name(&self) -> String {
        format!("{:020}-{}.seg", self.first_seq, self.day)
    }

    pub(crate) fn notes_name(&self) -> String {
        format!("{:020}-{}.notes", self.first_seq, self.day)
    }

    pub(crate) fn entries_path(&self, dir: &Path) -> PathBuf {
        dir.join(self.entries_name())
    }

    pub(crate) fn notes_path(&self, dir: &Path) -> PathBuf {
        dir.join(self.notes_name())
    }
}

/// The verifier key of the log.
pub(crate) const VKEY_FILE: &str = "log.vkey";
/// Locked by whoever writes.
pub(crate) const LOCK_FILE: &str = "log.lock";
/// The seals of epochs.
pub(crate) const EPOCHS_FILE: &str = "log.epochs";
/// What retention removed.
pub(crate) const PRUNED_FILE: &str = "log.pruned";
/// Unsigned ends that a crash left behind and recovery set aside.
pub(crate) const CUT_SUFFIX: &str = ".cut";

/// The file with the hashes of one level of the tree.
pub(crate) fn tree_name(level: usize) -> String {
    format!("tree-{level}.hashes")
}

/// What lies in a log's folder.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Catalog {
    /// By first sequence number.
    pub(crate) segments: Vec<SegmentFiles>,
    /// Ends set aside by recovery.
    pub(crate) cut: Vec<String>,
    /// Left by a write that never finished.
    pub(crate) temporary: Vec<String>,
    /// How many levels of the tree have a file.
    pub(crate) tree_levels: Vec<usize>,
    /// What the log did not put there.
    pub(crate) foreign: Vec<String>,
    /// Names that pass for parts of the log but can't be.
    pub(crate) impossible: Vec<String>,
}

impl Catalog {
    pub(crate) fn read(dir: &Path) -> Result<Self, IoError> {
        let failed = |source| IoError::new("read the folder", dir, source);
        let mut catalog = Self::default();
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // A name that is not UTF-8 is not one of ours; it is shown with replacements.
            entries.push((
                entry.file_name().to_string_lossy().into_owned(),
                entry.file_type().map_err(failed)?.is_file(),
            ));
        }
        entries.sort();
        for (name, is_file) in entries {
            catalog.add(name, is_file);
        }
        Ok(catalog)
    }

    fn add(&mut self, name: String, is_file: bool) {
        if name.starts_with(TEMPORARY_PREFIX) {
            self.temporary.push(name);
        } else if let Some((first_seq, day, notes)) = parse_name(&name) {
            if !is_file {
                self.impossible.push(name);
                return;
            }
            let same = |last: &&mut SegmentFiles| last.first_seq == first_seq && last.day == day;
            match self.segments.last_mut().filter(same) {
                Some(last) if notes => last.has_notes = true,
                Some(last) => last.has_entries = true,
                None => self.segments.push(SegmentFiles {
                    first_seq,
                    day,
                    has_entries: !notes,
                    has_notes: notes,
                }),
            }
        } else if let Some(level) = parse_tree_name(&name).filter(|_| is_file) {
            self.tree_levels.push(level);
        } else if name.ends_with(".seg") || name.ends_with(".notes") || name.ends_with(".hashes") {
            self.impossible.push(name);
        } else if name.ends_with(CUT_SUFFIX) {
            self.cut.push(name);
        } else if ![VKEY_FILE, LOCK_FILE, EPOCHS_FILE, PRUNED_FILE].contains(&name.as_str()) {
            self.foreign.push(name);
        }
    }
}

fn parse_name(name: &str) -> Option<(u64, Day, bool)> {
    let (stem, notes) = match name.strip_suffix(".notes") {
        Some(stem) => (stem, true),
        None => (name.strip_suffix(".seg")?, false),
    };
    let (seq, day) = stem.split_at_checked(20)?;
    if !seq.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((
        seq.parse().ok()?,
        Day::parse(day.strip_prefix('-')?)?,
        notes,
    ))
}

fn parse_tree_name(name: &str) -> Option<usize> {
    let level = name.strip_prefix("tree-")?.strip_suffix(".hashes")?;
    let number = level.parse().ok().filter(|&number| number < 8)?;
    if tree_name(number) == name {
        Some(number)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        let files = SegmentFiles::new(42, Day::parse("2026-11-20").unwrap());
        assert_eq!(
            parse_name(&files.entries_name()),
            Some((42, files.day, false))
        );
        assert_eq!(parse_name(&files.notes_name()), Some((42, files.day, true)));
        for name in [
            "42-2026-11-20.seg",
            "00000000000000000042-2026-11-31.seg",
            "00000000000000000042.seg",
            "+0000000000000000042-2026-11-20.seg",
        ] {
            assert_eq!(parse_name(name), None, "{name}");
        }
        assert_eq!(parse_tree_name("tree-1.hashes"), Some(1));
        assert_eq!(parse_tree_name("tree-01.hashes"), None);
    }

    #[test]
    fn every_changed_byte_of_a_segment_header_is_noticed() {
        let header = SegmentHeader::new(7, [1; 16], Hash([2; 32]));
        assert_eq!(header.difference(header.bytes()), None);
        for at in 0..SEGMENT_HEADER_LEN {
            let mut changed = header.bytes().to_vec();
            changed[at] ^= 1;
            assert!(header.difference(&changed).is_some(), "byte {at}");
        }
        assert!(header.difference(&header.bytes()[1..]).is_some());
    }

    #[test]
    fn the_folder_is_sorted_out() {
        let dir = tempfile::tempdir().unwrap();
        let day = Day::parse("2026-11-20").unwrap();
        let files = SegmentFiles::new(0, day);
        for name in [
            &files.entries_name(),
            &files.notes_name(),
            "log.vkey",
            "log.lock",
            "log.pruned",
            "x.cut",
            ".new-a.seg",
            "tree-0.hashes",
            "notes.txt",
            "1.seg",
        ] {
            std::fs::write(dir.path().join(name), b"").unwrap();
        }
        let catalog = Catalog::read(dir.path()).unwrap();
        assert_eq!(catalog.segments, [files]);
        assert_eq!(
            (catalog.cut, catalog.temporary, catalog.tree_levels),
            (
                vec!["x.cut".to_owned()],
                vec![".new-a.seg".to_owned()],
                vec![0]
            )
        );
        assert_eq!(
            (catalog.foreign, catalog.impossible),
            (vec!["notes.txt".to_owned()], vec!["1.seg".to_owned()])
        );
    }
}
