//! What retention took away, and the statement that says so.
//!
//! Entries are removed by whole segments, the oldest first. Their leaf hashes and their checkpoints stay, so that the tree,
//! the chain, every proof and every checkpoint kept elsewhere hold as before; what the entries said is gone. Without the
//! statement, which the log's key signs and which names the entry that tells of it, missing entries are tampering.
//!
//! Knows the statement and the file it lies in; what is removed when is the caller's to decide.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::signed_note;
use crate::durable::IoError;
use crate::export::TILE_WIDTH;
use crate::finding::{Code, Finding};
use crate::hash::Hash;
use crate::key::{SigningKey, VerifierKey};
use crate::matcher::{Matcher, Mismatch};
use crate::segment::{EPOCHS_FILE, PRUNED_FILE, SegmentFiles};
use crate::walk::Stop;

/// The kind of the entry that tells of it, and of erasures: what the daemon itself did.
pub(crate) const TELLING_KIND: u32 = 90;

/// More bytes than the statement can have.
const MOST: u64 = 1024;

/// The entries that were removed: the first of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    kept: Kept,
    told: u64,
    note: String,
}

/// What stays of them, and of what is beside them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// How many entries were removed.
    pub(crate) size: u64,
    /// The root of their tree.
    pub(crate) root: Hash,
    /// Over the names and contents of their `.notes` files: no entry names their checkpoints any more, nor their days.
    pub(crate) notes: Hash,
    /// How many seals of epochs there were: no entry tells any more in which hours there must be some.
    pub(crate) seals: u64,
}

impl Pruned {
    pub(crate) fn sign(key: &SigningKey, kept: Kept, told: u64) -> Self {
        let name = statement_name(key.verifier());
        let (root, notes) = (STANDARD.encode(kept.root), STANDARD.encode(kept.notes));
        let (size, seals) = (kept.size, kept.seals);
        let text = format!("{name}\n{size}\n{root}\n{notes}\n{seals}\n{told}\n");
        let note = signed_note(key, &text);
        Self { kept, told, note }
    }

    /// How many there were; the entry with this number is the first that is kept.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.kept.size
    }

    /// The entry that tells of it.
    #[must_use]
    pub fn told(&self) -> u64 {
        self.told
    }

    /// What stays of them.
    pub(crate) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The statement as its file has it.
    pub(crate) fn note(&self) -> &str {
        &self.note
    }

    /// The statement beside a log or in an export; `None` where nothing was removed.
    pub(crate) fn read(dir: &Path, key: &VerifierKey) -> Result<Option<Self>, Stop> {
        let path = dir.join(PRUNED_FILE);
        let failed = |source| IoError::new("read", &path, source);
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed)?,
        };
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes).map_err(failed)?;
        let found = |what: &str| {
            let what = format!("the statement about removed entries was altered: {what}");
            Stop::from(Finding::new(Code::Pruned, what).in_file(PRUNED_FILE, 0))
        };
        match statement(&bytes, key) {
            Ok(pruned) => Ok(Some(pruned)),
            // It is put in place whole, so that no crash cuts it off.
            Err(Mismatch::Cut) => Err(found("it is cut off")),
            Err(Mismatch::Altered(what)) => Err(found(what)),
        }
    }

    /// The bundle of 256 entries with which an export begins; the removed ones among them have no header.
    pub(crate) fn first_bundle(pruned: Option<&Self>) -> u64 {
        pruned.map_or(0, |pruned| pruned.size() / TILE_WIDTH)
    }

    /// The root of the tree of so many entries is the one that is said.
    pub(crate) fn check_root(&self, root: Option<Hash>) -> Result<(), Finding> {
        if root == Some(self.kept.root) {
            return Ok(());
        }
        let what = "the entries that are said to have been removed are not those that the log had";
        Err(Finding::new(Code::Pruned, what).in_file(PRUNED_FILE, 0))
    }

    /// The checkpoints of the removed entries, and their days, are those that there were.
    pub(crate) fn check_notes(&self, notes: Hash) -> Result<(), Finding> {
        if notes == self.kept.notes {
            return Ok(());
        }
        let what = "the checkpoints of the removed entries, or the names of their files, are not those that there were: a checkpoint was removed, or a file renamed";
        Err(Finding::new(Code::CheckpointMissing, what))
    }

    /// There are no fewer seals than there were.
    pub(crate) fn check_seals(&self, seals: usize) -> Result<(), Finding> {
        if seals as u64 >= self.kept.seals {
            return Ok(());
        }
        let what = format!(
            "{} seals of epochs are here, and there were {} when entries were removed",
            seals, self.kept.seals
        );
        Err(Finding::new(Code::EpochMissing, what).in_file(EPOCHS_FILE, 0))
    }

    /// The entry that is to tell of it is one that can, by its kind.
    pub(crate) fn check_telling(&self, kind: Option<u32>) -> Result<(), Finding> {
        if kind == Some(TELLING_KIND) {
            Ok(())
        } else {
            Err(self.untold())
        }
    }

    /// It is behind what was removed, in a log of so many entries.
    pub(crate) fn check_place(&self, entries: u64) -> Result<(), Finding> {
        if (self.size()..entries).contains(&self.told) {
            Ok(())
        } else {
            Err(self.untold())
        }
    }

    fn untold(&self) -> Finding {
        let what = format!(
            "the first {} entries are said to have been removed, and entry {} does not tell of it",
            self.size(),
            self.told
        );
        Finding::new(Code::Pruned, what).in_file(PRUNED_FILE, 0)
    }
}

fn statement_name(log: &VerifierKey) -> String {
    format!("{}/pruned", log.name())
}

/// Goes on hashing the names and contents of `.notes` files.
pub(crate) fn add_notes(before: Hash, dir: &Path, files: &SegmentFiles) -> Result<Hash, IoError> {
    let contents = Hash::of_file(&files.notes_path(dir))?;
    let name = files.notes_name();
    Ok(Hash::of_parts(&[&before.0, name.as_bytes(), &contents.0]))
}

fn statement(bytes: &[u8], key: &VerifierKey) -> Result<Pruned, Mismatch> {
    // As notes are stored elsewhere, with the empty line behind.
    let stored = [bytes, b"\n"].concat();
    let mut from = Matcher::new(&stored);
    from.literal(statement_name(key).as_bytes(), "it is of another log")?;
    from.literal(b"\n", "it is of another log")?;
    let size = from.number("the number of entries is none")?;
    let root = from.root()?;
    from.literal(b"\n", "something follows its root hash")?;
    let notes = from.root()?;
    from.literal(b"\n", "something follows its hash of checkpoints")?;
    let seals = from.number("the number of seals is none")?;
    let told = from.number("the number of the entry that tells of it is none")?;
    let text_len = from.at();
    from.literal(b"\n", "the line before its signature is not blank")?;
    let signature = from.signature(key)?;
    if from.at() != stored.len() {
        return Err(Mismatch::Altered("something follows it"));
    }
    if !key.verifies(&bytes[..text_len], &signature) {
        return Err(Mismatch::Altered("its signature does not hold"));
    }
    if size == 0 || told < size {
        return Err(Mismatch::Altered("it removes nothing, or what tells of it"));
    }
    let note = String::from_utf8_lossy(bytes).into_owned();
    let kept = Kept {
        size,
        root,
        notes,
        seals,
    };
    Ok(Pruned { kept, told, note })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_bit_of_the_statement_is_noticed_and_so_is_every_cut() {
        let key = SigningKey::from_pkcs8(&SigningKey::generate().unwrap(), &[7; 16]).unwrap();
        let kept = Kept {
            size: 4711,
            root: Hash([3; 32]),
            notes: Hash([4; 32]),
            seals: 17,
        };
        let pruned = Pruned::sign(&key, kept, 5000);
        let bytes = pruned.note().as_bytes();
        let dir = tempfile::tempdir().unwrap();
        let read = |bytes: &[u8]| {
            std::fs::write(dir.path().join(PRUNED_FILE), bytes).unwrap();
            Pruned::read(dir.path(), key.verifier())
        };
        assert_eq!(read(bytes).unwrap(), Some(pruned.clone()));
        for at in 0..bytes.len() {
            assert!(read(&bytes[..at]).is_err(), "{at} bytes");
            for bit in 0..8 {
                let mut changed = bytes.to_vec();
                changed[at] ^= 1 << bit;
                assert!(read(&changed).is_err(), "byte {at}, bit {bit}");
            }
        }
        assert!(read(&[bytes, b"\n"].concat()).is_err());
        std::fs::remove_file(dir.path().join(PRUNED_FILE)).unwrap();
        assert_eq!(Pruned::read(dir.path(), key.verifier()).unwrap(), None);
    }
}
