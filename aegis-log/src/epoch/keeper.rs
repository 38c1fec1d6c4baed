//! Whoever seals epochs: holds the key of the one that is under way, and destroys it when it is over.
//!
//! In this order the next key is on the disk before a seal names it, and the old one is destroyed when the seal is there:
//!
//! 1. the next key is made durable, in a file named by its epoch;
//! 2. the seal that names it is appended and made durable;
//! 3. the old key is overwritten and removed.
//!
//! Wherever that is cut off, the seals tell which key is the one in use, and the others are destroyed at the next start.

use std::path::{Path, PathBuf};

use super::{Epochs, Seal, key_name};
use crate::checkpoint::SignedCheckpoint;
use crate::durable::{self, AppendFile, IoError, PRIVATE, PUBLIC};
use crate::finding::{Code, Finding};
use crate::key::{KeyError, SigningKey, VerifierKey};
use crate::open::{OpenError, check_mode};
use crate::segment::EPOCHS_FILE;

/// What stands between the name of the log's key and the number of an epoch in the name of that epoch's key.
const KEY_INFIX: &str = ".epoch-";

/// Seals epochs.
pub(crate) struct Keeper {
    file: AppendFile,
    /// The log's private key, beside which those of epochs lie.
    keys: PathBuf,
    log: VerifierKey,
    /// The key of the epoch that is under way, and its number.
    key: SigningKey,
    number: u64,
}

/// Why an epoch could not be sealed.
pub(crate) enum SealFailure {
    /// All is as it was before.
    Undone(IoError),
    /// The files may be in any state; opening the log anew finds out.
    Unknown(IoError),
}

impl Keeper {
    /// Goes on where the seals end, or begins with the first one where the log has nothing yet.
    pub(crate) fn open(
        dir: &Path,
        key_file: &Path,
        log: &SigningKey,
        epochs: &Epochs,
        end: &SignedCheckpoint,
    ) -> Result<Self, OpenError> {
        let keys = key_file.to_path_buf();
        let verifier = log.verifier().clone();
        let path = dir.join(EPOCHS_FILE);
        let there = numbers(&keys)?;
        let number = epochs.seals.len() as u64;
        // Of the next one there is a key where its making was cut off.
        let last = if number == 0 { 1 } else { number + 1 };
        if there.iter().any(|&other| other > last) {
            let what = "seals of epochs were removed: there is the key of a later one";
            return Err(Finding::new(Code::EpochMissing, what)
                .in_file(EPOCHS_FILE, epochs.len)
                .into());
        }
        let key = match epochs.seals.last() {
            Some(last) => Some(load(&keys, number, &verifier, &last.next)?),
            None if end.size() > 0 => {
                let what = "the seals of its epochs were removed: the first is made before the first entry";
                return Err(Finding::new(Code::EpochMissing, what)
                    .in_file(EPOCHS_FILE, 0)
                    .into());
            }
            None => None,
        };
        // Nothing was changed up to here.
        let mut file = AppendFile::open(&path, PUBLIC)?;
        if epochs.torn > 0 {
            file.cut(epochs.len)?;
            file.sync()?;
        }
        let (key, number) = match key {
            Some(key) => (key, number),
            None => {
                let next = generate(&keys, 1, &verifier)?;
                let begin = (end.size(), *end.root());
                let first = Seal::sign(log, &verifier, 0, begin, next.verifier().clone());
                file.append(format!("{}\n", first.note).as_bytes())?;
                file.sync()?;
                durable::sync_dir(dir)?;
                (next, 1)
            }
        };
        for other in there.into_iter().filter(|&other| other != number) {
            durable::wipe(&key_path(&keys, other))?;
        }
        Ok(Self {
            file,
            keys,
            log: verifier,
            key,
            number,
        })
    }

    /// Ends the epoch with this checkpoint. From then on nobody can seal it anew.
    pub(crate) fn seal(&mut self, end: &SignedCheckpoint) -> Result<(), SealFailure> {
        let next =
            generate(&self.keys, self.number + 1, &self.log).map_err(|error| match error {
                OpenError::Io(error) => SealFailure::Undone(error),
                other => SealFailure::Undone(IoError::new(
                    "make a key in",
                    &self.keys,
                    std::io::Error::other(other.to_string()),
                )),
            })?;
        let seal = Seal::sign(
            &self.key,
            &self.log,
            self.number,
            (end.size(), *end.root()),
            next.verifier().clone(),
        );
        let len = self.file.len();
        if let Err(error) = self.file.append(format!("{}\n", seal.note).as_bytes()) {
            self.file
                .cut(len)
                .and_then(|()| self.file.sync())
                .map_err(SealFailure::Unknown)?;
            return Err(SealFailure::Undone(error));
        }
        self.file.sync().map_err(SealFailure::Unknown)?;
        durable::wipe(&key_path(&self.keys, self.number)).map_err(SealFailure::Unknown)?;
        self.key = next;
        self.number += 1;
        Ok(())
    }
}

/// Destroys the keys of a log that is not there any more, before another one begins.
pub(crate) fn forget(key_file: &Path) -> Result<(), IoError> {
    for number in numbers(key_file)? {
        durable::wipe(&key_path(key_file, number))?;
    }
    Ok(())
}

fn key_path(key_file: &Path, number: u64) -> PathBuf {
    let mut name = key_file.as_os_str().to_owned();
    name.push(format!("{KEY_INFIX}{number}"));
    name.into()
}

/// The epochs of which there is a key.
fn numbers(key_file: &Path) -> Result<Vec<u64>, IoError> {
    let folder = match key_file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let failed = |source| IoError::new("read the folder", folder, source);
    let own = key_file.file_name().unwrap_or_default().to_string_lossy();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(&*own));
        let number = rest.and_then(|rest| rest.strip_prefix(KEY_INFIX)?.parse::<u64>().ok());
        found.extend(number);
    }
    Ok(found)
}

/// A new key, on the disk.
fn generate(keys: &Path, number: u64, log: &VerifierKey) -> Result<SigningKey, OpenError> {
    let path = key_path(keys, number);
    let wrong = |source| OpenError::Key {
        path: path.clone(),
        source,
    };
    let pkcs8 = SigningKey::generate().map_err(wrong)?;
    durable::replace(&path, &pkcs8, PRIVATE)?;
    SigningKey::named(&pkcs8, key_name(log)).map_err(wrong)
}

/// The key that the last seal names.
fn load(
    keys: &Path,
    number: u64,
    log: &VerifierKey,
    named: &VerifierKey,
) -> Result<SigningKey, OpenError> {
    let path = key_path(keys, number);
    let pkcs8 = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(OpenError::EpochKeyMissing(path));
        }
        other => other.map_err(|source| IoError::new("read", &path, source))?,
    };
    check_mode(&path)?;
    let key =
        SigningKey::named(&pkcs8, key_name(log)).map_err(|source: KeyError| OpenError::Key {
            path: path.clone(),
            source,
        })?;
    if key.verifier() == named {
        Ok(key)
    } else {
        Err(OpenError::KeyMismatch(path))
    }
}
