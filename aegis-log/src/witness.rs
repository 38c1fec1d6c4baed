//! A witness of C2SP tlog-witness: cosigns checkpoints of the logs it knows, each only if it extends the last
//! one that it cosigned.
//!
//! What was cosigned last is on the disk before the cosignature is given away, so that no crash makes the witness
//! forget what it said. The state of a log is one file, the cosigned checkpoint, which is also what the witness
//! serves to monitors.
//!
//! Knows requests and answers as texts, not HTTP.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::consistency::Consistency;
use crate::durable::{self, IoError, PRIVATE, PUBLIC};
use crate::hash::Hash;
use crate::key::{Cosigner, CosignerKey, KeyError, SigningKey, VerifierKey, is_key_name};

const KEY_FILE: &str = "witness.key";
const VKEY_FILE: &str = "witness.vkey";
const LOCK_FILE: &str = "witness.lock";
const STATE_SUFFIX: &str = ".checkpoint";

/// Why a witness can't begin.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// A file can't be read or written.
    #[error(transparent)]
    Io(#[from] IoError),
    /// Its key can't be used.
    #[error("the key in {}: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// A new witness needs a name.
    #[error(
        "{0:?} is no name for a witness: give one without spaces or plus signs, such as witness.example.org/w1"
    )]
    Name(String),
    /// It has another name.
    #[error("the witness in this folder is named {0}; its name is part of its key and stays")]
    Named(String),
    /// Another process has it.
    #[error("another witness runs with the state in {}", .0.display())]
    Busy(PathBuf),
    /// What it said last is lost.
    #[error("{} is not what this witness wrote ({what}): it does not know any more what it cosigned. Restore the file; where that is impossible, begin a new witness with a new key in an empty folder", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// The answer to an `add-checkpoint` request.
#[derive(Debug)]
pub enum Answer {
    /// Cosigned: the signature line.
    Cosigned(String),
    /// The request is not one.
    Malformed(String),
    /// No log of this origin is known.
    UnknownLog,
    /// None of the log's keys signed it.
    NotSigned,
    /// It does not begin where the witness is, which is here.
    Conflict(u64),
    /// It is not shown to extend what was cosigned: the log was forked, or the proof is wrong. The log's key
    /// signed it, so beside the one cosigned it may be proof of the fork.
    Inconsistent(SignedCheckpoint),
    /// The witness can't remember it, so it does not say it.
    Failed(IoError),
}

impl Answer {
    /// The HTTP status that the specification gives it.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Cosigned(_) => 200,
            Self::Malformed(_) => 400,
            Self::NotSigned => 403,
            Self::UnknownLog => 404,
            Self::Conflict(_) => 409,
            Self::Inconsistent(_) => 422,
            Self::Failed(_) => 500,
        }
    }

    /// The body of the HTTP answer.
    #[must_use]
    pub fn body(&self) -> String {
        match self {
            Self::Cosigned(line) => format!("{line}\n"),
            Self::Malformed(what) => format!("{what}\n"),
            Self::NotSigned => "no key known for this origin signed the checkpoint\n".to_owned(),
            Self::UnknownLog => "the origin is not known here\n".to_owned(),
            Self::Conflict(size) => format!("{size}\n"),
            Self::Inconsistent(_) => {
                "the checkpoint is not shown to extend the one cosigned before\n".to_owned()
            }
            // Where its files lie is nobody's business.
            Self::Failed(_) => "the witness could not write its state\n".to_owned(),
        }
    }
}

/// A witness with its key and its state.
pub struct Witness {
    dir: PathBuf,
    cosigner: Cosigner,
    logs: Vec<VerifierKey>,
    /// The last checkpoint cosigned, by origin.
    last: BTreeMap<String, SignedCheckpoint>,
    /// Held as long as it runs.
    _lock: File,
}

impl Witness {
    /// Opens the witness in `dir` for these logs, or makes it, with a new key and this name, where none is.
    ///
    /// # Errors
    /// [`WitnessError`]; nothing is cosigned by a witness that may have forgotten something.
    pub fn open(
        dir: &Path,
        name: Option<&str>,
        logs: Vec<VerifierKey>,
    ) -> Result<Self, WitnessError> {
        durable::create_dir(dir)?;
        let lock = lock(dir)?;
        let cosigner = match stored_key(dir)? {
            Some(cosigner) => cosigner,
            None => create(dir, name.unwrap_or_default())?,
        };
        if name.is_some_and(|name| name != cosigner.key().name()) {
            return Err(WitnessError::Named(cosigner.key().name().to_owned()));
        }
        let mut last = BTreeMap::new();
        for log in &logs {
            if let Some(checkpoint) = stored_state(dir, log.name(), &logs, cosigner.key())? {
                last.insert(log.name().to_owned(), checkpoint);
            }
        }
        Ok(Self {
            dir: dir.to_path_buf(),
            cosigner,
            logs,
            last,
            _lock: lock,
        })
    }

    /// What its cosignatures are checked with.
    #[must_use]
    pub fn key(&self) -> &CosignerKey {
        self.cosigner.key()
    }

    /// Answers an `add-checkpoint` request; `now` is in seconds since the Unix epoch.
    pub fn add_checkpoint(&mut self, request: &[u8], now: u64) -> Answer {
        match self.check(request) {
            Ok(checkpoint) => self.remember(&checkpoint, now),
            Err(refusal) => refusal,
        }
    }

    /// The last cosigned checkpoint of the log whose origin has this SHA-256, in lower-case hexadecimal.
    #[must_use]
    pub fn latest(&self, origin_hash: &str) -> Option<&str> {
        let mut known = self.last.iter();
        let (_, checkpoint) = known.find(|(origin, _)| origin_hash == hash_of(origin))?;
        Some(checkpoint.note())
    }

    /// The checkpoint to cosign, with no signatures but the log's, or why there is none. The checks are in the
    /// order of the specification.
    fn check(&self, request: &[u8]) -> Result<SignedCheckpoint, Answer> {
        let malformed = |error: &dyn std::fmt::Display| Answer::Malformed(error.to_string());
        let text = std::str::from_utf8(request).map_err(|error| malformed(&error))?;
        let asked = Consistency::parse(text).map_err(|error| malformed(&error))?;
        let checkpoint = asked.checkpoint();
        let signed = signed_by(checkpoint, &self.logs)?;
        if asked.old_size() > checkpoint.size() {
            return Err(malformed(&"the old size is larger than the checkpoint's"));
        }
        let last = self.last.get(checkpoint.origin());
        let last_size = last.map_or(0, SignedCheckpoint::size);
        if asked.old_size() != last_size {
            return Err(Answer::Conflict(last_size));
        }
        let last_root = last.map_or_else(Hash::empty_root, |last| *last.root());
        let empty_is_empty = checkpoint.size() > 0 || *checkpoint.root() == Hash::empty_root();
        match asked.extends(&last_root) {
            Ok(()) if empty_is_empty => Ok(signed),
            _ => Err(Answer::Inconsistent(signed)),
        }
    }

    /// Cosigns, once it is on the disk that it does.
    fn remember(&mut self, checkpoint: &SignedCheckpoint, now: u64) -> Answer {
        let line = self.cosigner.cosign(checkpoint, now);
        let cosigned = match checkpoint.with_cosignature(&line, self.cosigner.key()) {
            Ok(cosigned) => cosigned,
            Err(error) => return Answer::Malformed(error.to_string()),
        };
        let path = state_file(&self.dir, checkpoint.origin());
        match durable::replace(&path, cosigned.note().as_bytes(), PUBLIC) {
            Ok(()) => {
                self.last.insert(checkpoint.origin().to_owned(), cosigned);
                Answer::Cosigned(line)
            }
            Err(error) => Answer::Failed(error),
        }
    }
}

/// The checkpoint with the signatures of known keys only.
fn signed_by(
    checkpoint: &SignedCheckpoint,
    logs: &[VerifierKey],
) -> Result<SignedCheckpoint, Answer> {
    let mut known = logs
        .iter()
        .filter(|log| log.name() == checkpoint.origin())
        .peekable();
    if known.peek().is_none() {
        return Err(Answer::UnknownLog);
    }
    let mut signed = false;
    for log in known {
        match checkpoint.verify(log) {
            Ok(()) => signed = true,
            Err(CheckpointError::NotSigned) => {}
            Err(_) => return Err(Answer::NotSigned),
        }
    }
    if !signed {
        return Err(Answer::NotSigned);
    }
    let of_log = |line: &&str| {
        crate::checkpoint::signature_line(line).is_ok_and(|(name, _)| name == checkpoint.origin())
    };
    checkpoint
        .signed_by(checkpoint.signature_lines().filter(of_log))
        .map_err(|error| Answer::Malformed(error.to_string()))
}

fn hash_of(origin: &str) -> String {
    Hash::of(origin.as_bytes()).to_string()
}

fn state_file(dir: &Path, origin: &str) -> PathBuf {
    dir.join(format!("{}{STATE_SUFFIX}", hash_of(origin)))
}

fn lock(dir: &Path) -> Result<File, WitnessError> {
    let path = dir.join(LOCK_FILE);
    let io = |source| IoError::new("open", &path, source);
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(WitnessError::Busy(dir.to_path_buf())),
        Err(std::fs::TryLockError::Error(source)) => {
            Err(IoError::new("lock", &path, source).into())
        }
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, IoError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IoError::new("read", path, source)),
    }
}

/// The key of a witness that was made before. The public half, written last, says that it was.
fn stored_key(dir: &Path) -> Result<Option<Cosigner>, WitnessError> {
    let (path, public) = (dir.join(KEY_FILE), dir.join(VKEY_FILE));
    let wrong = |path: &Path| {
        let path = path.to_path_buf();
        move |source| WitnessError::Key { path, source }
    };
    let Some(text) = read(&public)? else {
        return Ok(None);
    };
    let key = CosignerKey::parse(&String::from_utf8_lossy(&text)).map_err(wrong(&public))?;
    let pkcs8 = read(&path)?.unwrap_or_default();
    let cosigner = Cosigner::from_pkcs8(&pkcs8, key.name()).map_err(wrong(&path))?;
    if *cosigner.key() == key {
        Ok(Some(cosigner))
    } else {
        let source = KeyError::Vkey("it is not that of the private key beside it");
        Err(wrong(&public)(source))
    }
}

fn create(dir: &Path, name: &str) -> Result<Cosigner, WitnessError> {
    if !is_key_name(name) {
        return Err(WitnessError::Name(name.to_owned()));
    }
    let path = dir.join(KEY_FILE);
    let made = SigningKey::generate()
        .and_then(|pkcs8| Cosigner::from_pkcs8(&pkcs8, name).map(|cosigner| (pkcs8, cosigner)));
    let (pkcs8, cosigner) = made.map_err(|source| WitnessError::Key {
        path: path.clone(),
        source,
    })?;
    durable::replace(&path, &pkcs8, PRIVATE)?;
    let public = format!("{}\n", cosigner.key());
    durable::replace(&dir.join(VKEY_FILE), public.as_bytes(), PUBLIC)?;
    Ok(cosigner)
}

fn stored_state(
    dir: &Path,
    origin: &str,
    logs: &[VerifierKey],
    own: &CosignerKey,
) -> Result<Option<SignedCheckpoint>, WitnessError> {
    let path = state_file(dir, origin);
    let Some(bytes) = read(&path)? else {
        return Ok(None);
    };
    let whole = || -> Result<SignedCheckpoint, String> {
        let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
        let mut notes = SignedCheckpoint::parse_all(&text).map_err(|error| error.to_string())?;
        let last = notes.swap_remove(0);
        let own = own.cosigned(&last).map_err(|error| error.to_string())?;
        own.ok_or("its own cosignature is missing")?;
        match signed_by(&last, logs) {
            Ok(_) if last.origin() == origin && notes.is_empty() => Ok(last),
            _ => Err("it is not of this log".to_owned()),
        }
    };
    whole()
        .map(Some)
        .map_err(|what| WitnessError::State { path, what })
}

#[cfg(test)]
mod tests;
