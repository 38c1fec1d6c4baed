//! What retention took away, and the statement that says so.
//!
//! Entries are removed by whole segments, the oldest first. Their leaf hashes and their checkpoints stay, so that the tree,
//! the chain, every proof and every checkpoint kept elsewhere hold as before; what the entries said is gone. Without the
//! statement, which the log's key signs and which names the entry that tells of it, missing entries are tampering.
//!
//! Knows the statement and the file it lies in; what is removed when is the caller's to decide.

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
use crate::segment::PRUNED_FILE;
use crate::walk::Stop;

/// The kind of the entry that tells of it: what the daemon itself did.
const TELLING_KIND: u32 = 90;

/// The entries that were removed: the first of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    size: u64,
    root: Hash,
    told: u64,
    note: String,
}

impl Pruned {
    pub(crate) fn sign(key: &SigningKey, size: u64, root: Hash, told: u64) -> Self {
        let name = statement_name(key.verifier());
        let text = format!("{name}\n{size}\n{}\n{told}\n", STANDARD.encode(root));
        Self {
            size,
            root,
            told,
            note: signed_note(key, &text),
        }
    }

    /// How many there were; the entry with this number is the first that is kept.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The entry that tells of it.
    #[must_use]
    pub fn told(&self) -> u64 {
        self.told
    }

    /// The statement as its file has it.
    pub(crate) fn note(&self) -> &str {
        &self.note
    }

    /// The statement beside a log or in an export; `None` where nothing was removed.
    pub(crate) fn read(dir: &Path, key: &VerifierKey) -> Result<Option<Self>, Stop> {
        let path = dir.join(PRUNED_FILE);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|source| IoError::new("read", &path, source))?,
        };
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

    /// The first entry that an export has in its bundles, of 256 entries each: one that lacks an entry could not be whole.
    pub(crate) fn first_bundled(pruned: Option<&Self>) -> u64 {
        pruned.map_or(0, |pruned| pruned.size.next_multiple_of(TILE_WIDTH))
    }

    /// The root of the tree of so many entries is the one that is said.
    pub(crate) fn check_root(&self, root: Option<Hash>) -> Result<(), Finding> {
        if root == Some(self.root) {
            return Ok(());
        }
        let what = "the entries that are said to have been removed are not those that the log had";
        Err(Finding::new(Code::Pruned, what).in_file(PRUNED_FILE, 0))
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
        if (self.size..entries).contains(&self.told) {
            Ok(())
        } else {
            Err(self.untold())
        }
    }

    fn untold(&self) -> Finding {
        let what = format!(
            "the first {} entries are said to have been removed, and entry {} does not tell of it",
            self.size, self.told
        );
        Finding::new(Code::Pruned, what).in_file(PRUNED_FILE, 0)
    }
}

fn statement_name(log: &VerifierKey) -> String {
    format!("{}/pruned", log.name())
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
    let note = String::from_utf8_lossy(bytes).into_owned();
    Ok(Pruned {
        size,
        root,
        told,
        note,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_bit_of_the_statement_is_noticed_and_so_is_every_cut() {
        let key = SigningKey::from_pkcs8(&SigningKey::generate().unwrap(), &[7; 16]).unwrap();
        let pruned = Pruned::sign(&key, 4711, Hash([3; 32]), 5000);
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
