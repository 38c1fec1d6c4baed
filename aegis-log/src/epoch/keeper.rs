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
use crate::hash::hex;
use crate::key::{KeyError, SigningKey, VerifierKey};
use crate::open::{OpenError, check_mode};
use crate::segment::EPOCHS_FILE;

/// Seals epochs.
pub(crate) struct Keeper {
    file: AppendFile,
    keys: Keys,
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
        let verifier = log.verifier().clone();
        let keys = Keys::of(key_file, &verifier);
        let there = keys.numbers()?;
        let number = epochs.seals.len() as u64;
        // Of the next one there is a key where its making was cut off.
        let last = if number == 0 { 1 } else { number + 1 };
        if there.iter().any(|&other| other > last) {
            let what = "seals of epochs were removed: there is the key of a later one";
            return Err(missing(what, epochs.len));
        }
        let key = match epochs.seals.last() {
            Some(last) => Some(keys.load(number, &verifier, &last.next)?),
            None if end.size() > 0 => {
                let what = "the seals of its epochs were removed: the first is made before the first entry";
                return Err(missing(what, 0));
            }
            None => None,
        };
        // Nothing was changed up to here.
        let mut file = AppendFile::open(&dir.join(EPOCHS_FILE), PUBLIC)?;
        if epochs.torn > 0 {
            file.cut(epochs.len)?;
        }
        let (key, number) = match key {
            Some(key) => (key, number),
            None => {
                let next = keys.generate(1, &verifier)?;
                let begin = (end.size(), *end.root());
                let first = Seal::sign(log, &verifier, 0, begin, next.verifier().clone());
                file.append(&first.stored())?;
                (next, 1)
            }
        };
        if let Some(last) = epochs.seals.last()
            && there.contains(&last.number)
        {
            // Whoever made it was ended before it was known to be on the disk. It is written anew: after a sync that failed the
            // kernel takes what it has for written.
            file.cut(epochs.len - last.stored().len() as u64)?;
            file.append(&last.stored())?;
        }
        file.sync()?;
        durable::sync_dir(dir)?;
        for other in there.into_iter().filter(|&other| other != number) {
            durable::wipe(&keys.path(other))?;
        }
        Ok(Self {
            file,
            keys,
            log: verifier,
            key,
            number,
        })
    }

    /// How many seals there are.
    pub(crate) fn seals(&self) -> u64 {
        self.number
    }

    /// Ends the epoch with this checkpoint. From then on nobody can seal it anew.
    pub(crate) fn seal(&mut self, end: &SignedCheckpoint) -> Result<(), SealFailure> {
        let next = self
            .keys
            .generate(self.number + 1, &self.log)
            .map_err(|error| self.keys.failure(error))?;
        let end = (end.size(), *end.root());
        let named = next.verifier().clone();
        let seal = Seal::sign(&self.key, &self.log, self.number, end, named);
        let len = self.file.len();
        if let Err(error) = self.file.append(&seal.stored()) {
            self.file
                .cut(len)
                .and_then(|()| self.file.sync())
                .map_err(SealFailure::Unknown)?;
            return Err(SealFailure::Undone(error));
        }
        self.file.sync().map_err(SealFailure::Unknown)?;
        durable::wipe(&self.keys.path(self.number)).map_err(SealFailure::Unknown)?;
        self.key = next;
        self.number += 1;
        Ok(())
    }
}

fn missing(what: &str, offset: u64) -> OpenError {
    Finding::new(Code::EpochMissing, what)
        .in_file(EPOCHS_FILE, offset)
        .into()
}

/// Where the keys of one log's epochs lie: beside its own, with its chain id in their names, so that no other log takes them
/// for its own. Those of a log that was moved away stay until somebody removes them.
struct Keys {
    folder: PathBuf,
    prefix: String,
}

impl Keys {
    fn of(key_file: &Path, log: &VerifierKey) -> Self {
        let folder = match key_file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let name = key_file.file_name().unwrap_or_default().to_string_lossy();
        let chain = log.chain_id().map(|id| hex(&id)).unwrap_or_default();
        Self {
            folder: folder.to_path_buf(),
            prefix: format!("{name}.{chain}.epoch-"),
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{}{number}", self.prefix))
    }

    /// The epochs of which there is a key.
    fn numbers(&self) -> Result<Vec<u64>, IoError> {
        let failed = |source| IoError::new("read the folder", &self.folder, source);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let number = name
                .to_str()
                .and_then(|name| name.strip_prefix(&self.prefix)?.parse::<u64>().ok());
            found.extend(number);
        }
        Ok(found)
    }

    /// A new key, on the disk.
    fn generate(&self, number: u64, log: &VerifierKey) -> Result<SigningKey, OpenError> {
        let path = self.path(number);
        let mut pkcs8 = SigningKey::generate().map_err(|source| unusable(&path, source))?;
        let written = durable::replace(&path, &pkcs8, PRIVATE);
        let key = SigningKey::named(&pkcs8, key_name(log));
        clear(&mut pkcs8);
        written?;
        key.map_err(|source| unusable(&path, source))
    }

    /// The key that the last seal names.
    fn load(
        &self,
        number: u64,
        log: &VerifierKey,
        named: &VerifierKey,
    ) -> Result<SigningKey, OpenError> {
        let path = self.path(number);
        let mut pkcs8 = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(OpenError::EpochKeyMissing(path));
            }
            other => other.map_err(|source| IoError::new("read", &path, source))?,
        };
        check_mode(&path)?;
        let key = SigningKey::named(&pkcs8, key_name(log));
        clear(&mut pkcs8);
        let key = key.map_err(|source| unusable(&path, source))?;
        if key.verifier() == named {
            Ok(key)
        } else {
            Err(OpenError::KeyMismatch(path))
        }
    }

    fn failure(&self, error: OpenError) -> SealFailure {
        SealFailure::Undone(match error {
            OpenError::Io(error) => error,
            other => {
                let source = std::io::Error::other(other.to_string());
                IoError::new("make a key in", &self.folder, source)
            }
        })
    }
}

fn unusable(path: &Path, source: KeyError) -> OpenError {
    OpenError::Key {
        path: path.to_path_buf(),
        source,
    }
}

/// Leaves no copy of a private key in memory that is given back.
fn clear(secret: &mut [u8]) {
    secret.fill(0);
    // The compiler would else drop what nobody reads.
    std::hint::black_box(secret);
}
