//! Epochs: each hour of the log is sealed with a key of its own, which is then destroyed.
//!
//! Checkpoints are signed by the log's key, which stays on the host: whoever takes the host can sign another past with it.
//! A seal is a signed note that says which entries there are at the end of an epoch and which key seals the next one. It is
//! signed by the key that the seal before names, and that key exists nowhere any more once the next one is in use. So from
//! the end of an hour on nobody can make another seal for it, and a log whose past was written anew has none that hold.
//!
//! The first seal is signed by the log's key. Whoever keeps it elsewhere, as they keep the log's verifier key, finds a log
//! that was written anew altogether.
//!
//! Knows texts and signatures and the file they lie in; who holds the keys is in `keeper`.

pub(crate) mod keeper;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{note_len, signature_line, signed_note, split_note};
use crate::durable::IoError;
use crate::finding::{Code, Finding};
use crate::hash::Hash;
use crate::key::{SigningKey, VerifierKey};
use crate::matcher::{Matcher, Mismatch};
use crate::scan::has_hole;
use crate::segment::EPOCHS_FILE;
use crate::walk::Stop;

/// Length of an epoch in nanoseconds. Fixed: a verifier holds entries against it.
const EPOCH_NS: u64 = 3_600 * 1_000_000_000;

/// The hour in which a time lies, in nanoseconds since the Unix epoch. An epoch has entries of one.
pub(crate) fn hour(time: u64) -> u64 {
    time / EPOCH_NS
}

/// The name of an epoch's key.
fn key_name(log: &VerifierKey) -> String {
    format!("{}/epoch", log.name())
}

/// Why a text holds no seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not seals of epochs as they are in {EPOCHS_FILE}: {0}")]
pub struct EpochError(&'static str);

/// The end of an epoch, signed with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    number: u64,
    size: u64,
    root: Hash,
    next: VerifierKey,
    note: String,
}

impl Seal {
    fn sign(
        signer: &SigningKey,
        log: &VerifierKey,
        number: u64,
        (size, root): (u64, Hash),
        next: VerifierKey,
    ) -> Self {
        let text = format!(
            "{}\n{number}\n{size}\n{}\n{next}\n",
            key_name(log),
            STANDARD.encode(root)
        );
        let note = signed_note(signer, &text);
        Self {
            number,
            size,
            root,
            next,
            note,
        }
    }

    /// Which epoch ends; 0 is the beginning of the first.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Entries in the log at its end.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root of the tree at its end.
    #[must_use]
    pub(crate) fn root(&self) -> &Hash {
        &self.root
    }

    /// The signed note.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }

    /// The note as the file has it, with the empty line behind.
    fn stored(&self) -> Vec<u8> {
        format!("{}\n", self.note).into_bytes()
    }

    /// Reads one or several seals as kept outside the log. Whether they are those of a log is found out by holding them
    /// against it.
    ///
    /// # Errors
    /// [`EpochError`] if there is none, or something else.
    pub fn parse_all(text: &str) -> Result<Vec<String>, EpochError> {
        let none = EpochError("a note in it is no seal");
        let mut seals = Vec::new();
        let mut rest = text.trim_matches('\n');
        while !rest.is_empty() {
            let len = note_len(rest).map_err(|_| none)?;
            // What was copied may have lost its last newline.
            let note = format!("{}\n", rest[..len].trim_end_matches('\n'));
            let (text, signatures) = split_note(&note).map_err(|_| none)?;
            let is_one = text.lines().count() == 5
                && text
                    .lines()
                    .next()
                    .is_some_and(|name| name.ends_with("/epoch"))
                && signatures.lines().count() == 1;
            if !is_one || signature_line(signatures.trim_end()).is_err() {
                return Err(none);
            }
            seals.push(note);
            rest = rest[len..].trim_start_matches('\n');
        }
        if seals.is_empty() {
            Err(EpochError("it is empty"))
        } else {
            Ok(seals)
        }
    }
}

/// The seals of a log, each signed by the key that the one before names.
#[derive(Debug, Default, Clone)]
pub(crate) struct Epochs {
    pub(crate) seals: Vec<Seal>,
    /// Bytes of whole seals.
    pub(crate) len: u64,
    /// Bytes behind them, of one that was not written in whole.
    pub(crate) torn: u64,
}

impl Epochs {
    /// Reads and checks those beside the log's entries. Whether they are of these entries is not known yet.
    pub(crate) fn read(dir: &Path, log: &VerifierKey) -> Result<Self, Stop> {
        let path = dir.join(EPOCHS_FILE);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            other => other.map_err(|source| IoError::new("read", &path, source))?,
        };
        let mut epochs = Self::default();
        let mut at = 0;
        while at < bytes.len() {
            let number = epochs.seals.len() as u64;
            let found = |code, what: &str| {
                let what = format!("the seal of epoch {number}: {what}");
                Stop::from(Finding::new(code, what).in_file(EPOCHS_FILE, at as u64))
            };
            let signer = epochs.seals.last().map_or(log, |last| &last.next);
            let mut from = Matcher::new(&bytes[at..]);
            match seal(&mut from, log, signer, number) {
                Ok((size, root, next, text_len, signature)) => {
                    let note = &bytes[at..at + from.at() - 1];
                    if !signer.verifies(&note[..text_len], &signature) {
                        return Err(found(
                            Code::Epoch,
                            "its signature does not hold: it was altered, or made by someone without that epoch's key",
                        ));
                    }
                    if epochs.seals.last().is_some_and(|last| last.size > size) {
                        return Err(found(
                            Code::Epoch,
                            "it has fewer entries than the one before",
                        ));
                    }
                    let note = String::from_utf8_lossy(note).into_owned();
                    epochs.seals.push(Seal {
                        number,
                        size,
                        root,
                        next,
                        note,
                    });
                    at += from.at();
                    epochs.len = at as u64;
                }
                Err(Mismatch::Cut) => break,
                Err(Mismatch::Altered(_)) if has_hole(&bytes[at..], at as u64) => break,
                Err(Mismatch::Altered(what)) => return Err(found(Code::Epoch, what)),
            }
        }
        epochs.torn = bytes.len() as u64 - epochs.len;
        Ok(epochs)
    }

    /// Entries that are sealed.
    pub(crate) fn sealed(&self) -> u64 {
        self.seals.last().map_or(0, |seal| seal.size)
    }
}

/// The seal in its one form: size, root, the next key, the length of the text that is signed, and the signature.
fn seal(
    from: &mut Matcher<'_>,
    log: &VerifierKey,
    signer: &VerifierKey,
    number: u64,
) -> Result<(u64, Hash, VerifierKey, usize, Vec<u8>), Mismatch> {
    /// Characters of a key id in hexadecimal, and of type and key in base64.
    const KEY_ID: usize = 8;
    const KEY_BASE64: usize = 44;
    let name = key_name(log);
    from.literal(name.as_bytes(), "it is of another log")?;
    from.literal(b"\n", "it is of another log")?;
    if from.number("its number is none")? != number {
        return Err(Mismatch::Altered(
            "it has another number: one before it is missing",
        ));
    }
    let size = from.number("its tree size is not a number")?;
    let root = from.root()?;
    from.literal(b"\n", "the line after its root hash is not the next key")?;
    let begin = from.at();
    from.literal(name.as_bytes(), "the next key has another name")?;
    from.literal(b"+", "the next key has another name")?;
    from.hexadecimal(KEY_ID, "the next key is none")?;
    from.literal(b"+", "the next key is none")?;
    from.base64(KEY_BASE64, "the next key is none")?;
    let next = from
        .since(begin)
        .and_then(|text| VerifierKey::parse(text).ok());
    let next = next.ok_or(Mismatch::Altered("the next key is none"))?;
    from.literal(b"\n", "the line after the next key is not blank")?;
    let text_len = from.at();
    from.literal(b"\n", "the line after the next key is not blank")?;
    let signature = from.signature(signer)?;
    Ok((size, root, next, text_len, signature))
}

#[cfg(test)]
mod tests;
