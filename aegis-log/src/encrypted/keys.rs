//! The keys of encrypted segments: one for each day and each one whom entries are about (the owner).
//!
//! Each lies in a file of its own beside the log, wrapped by the key-encryption key, which is a file too or comes from
//! elsewhere, such as a credential of systemd. Destroying one erases what the entries of its owner's day say; a signed
//! statement stays in its place and names the entry that tells of it.
//!
//! Knows keys and where they lie, not what is encrypted with them.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::checkpoint::signed_note;
use crate::day::Day;
use crate::durable::{self, IoError, PRIVATE, PUBLIC};
use crate::finding::{Code, Finding};
use crate::hash::{from_hex, hex};
use crate::key::{SigningKey, VerifierKey};
use crate::matcher::{Matcher, Mismatch};
use crate::walk::Stop;

/// The credential of systemd that holds the key-encryption key.
const CREDENTIAL: &str = "aegis.kek";
/// Bytes of a key of AES-256.
pub(crate) const KEY_LEN: usize = 32;
/// Bytes that GCM adds.
pub(super) const TAG_LEN: usize = 16;
/// A wrapped key: nonce, key, tag.
const WRAPPED_LEN: usize = NONCE_LEN + KEY_LEN + TAG_LEN;
/// Bytes of the part of a key's name that its owner decides.
const OWNER_LEN: usize = 12;
/// More bytes than a statement about an erased key can have.
const MOST: usize = 1024;

/// The name of a key: the day, as a number of four bytes, and what only whoever has the key-encryption key can make of the
/// owner's name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct KeyId(pub(super) [u8; 16]);

impl KeyId {
    fn of(day: Day, owner: [u8; OWNER_LEN]) -> Self {
        let mut id = [0; 16];
        let number = u32::try_from(day.number()).unwrap_or(u32::MAX);
        id[..4].copy_from_slice(&number.to_be_bytes());
        id[4..].copy_from_slice(&owner);
        Self(id)
    }

    fn day(self) -> Day {
        let [a, b, c, d, ..] = self.0;
        Day::from_number(u64::from(u32::from_be_bytes([a, b, c, d])))
    }

    fn parse(text: &str) -> Option<Self> {
        let (day, owner) = text.split_at_checked(10)?;
        let owner = from_hex(owner.strip_prefix('-')?)?;
        let id = Self::of(Day::parse(day)?, owner);
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.day(), hex(&self.0[4..]))
    }
}

/// A key for what entries say.
#[derive(Clone)]
pub(super) struct DataKey {
    pub(super) id: KeyId,
    pub(super) key: Arc<LessSafeKey>,
}

/// What there is of a key.
pub(super) enum Found {
    Here(Arc<LessSafeKey>),
    Missing,
    Erased,
}

/// Why keys can't be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file can't be read or written.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The key-encryption key is not one.
    #[error("{} is no key-encryption key: it has to have 32 bytes", .0.display())]
    Kek(PathBuf),
    /// There are keys, and what they are wrapped with is not there.
    #[error("{} is missing, and there are keys that it wraps: restore it, or what they encrypted stays unreadable", .0.display())]
    KekMissing(PathBuf),
    /// A key is wrapped with another key-encryption key, or was changed.
    #[error("{} can't be unwrapped: it was changed, or another key-encryption key belongs to it", .0.display())]
    Unwrap(PathBuf),
    /// There is nothing to wrap keys with.
    #[error("there is no key-encryption key")]
    NoKek,
    /// The system's random source failed.
    #[error("the system's random number generator failed")]
    Random,
}

/// Why nothing was erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// A segment of the day is not encrypted yet.
    #[error("entries of {0} are not encrypted yet: a day can be erased when it is over and its segments have been encrypted")]
    Early(Day),
    /// No entries of this owner were encrypted on that day.
    #[error("there is no key of {owner} for {day}: nothing of it was encrypted, or it was erased before")]
    Nothing {
        /// Whose.
        owner: String,
        /// Which day's.
        day: Day,
    },
    /// No durable entry tells of it.
    #[error("something is erased once a durable entry tells of it")]
    Untold,
    /// The keys can't be had.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A file can't be written. What it was about may be erased or not; asking again finishes it.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// A key that was destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erased {
    id: KeyId,
    /// The entry that tells of it.
    pub told: u64,
}

impl Erased {
    /// The day of the entries.
    #[must_use]
    pub fn day(&self) -> Day {
        self.id.day()
    }
}

/// The keys beside a log. Clones share what was unwrapped.
#[derive(Clone, Default)]
pub struct Keys(Option<Arc<Folder>>);

struct Folder {
    dir: PathBuf,
    kek_file: PathBuf,
    /// Once it is there: a log that is being read may get its first key meanwhile.
    kek: OnceLock<Kek>,
    known: Mutex<HashMap<KeyId, Arc<LessSafeKey>>>,
}

struct Kek {
    wrap: LessSafeKey,
    owners: hmac::Key,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Keys(none)"),
            Some(folder) => write!(f, "Keys({})", folder.dir.display()),
        }
    }
}

impl Keys {
    /// No keys: headers can be read, bodies can't.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The keys in `dir`, wrapped by the key in the file `kek`. Without either what they encrypted is withheld.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn open(dir: &Path, kek: &Path) -> Result<Self, KeysError> {
        let folder = Folder {
            dir: dir.to_path_buf(),
            kek_file: kek.to_path_buf(),
            kek: OnceLock::new(),
            known: Mutex::default(),
        };
        if let Some(kek) = Kek::read(kek)? {
            let kek = folder.kek.get_or_init(|| kek);
            folder.belongs_together(kek)?;
        }
        Ok(Self(Some(Arc::new(folder))))
    }

    /// The keys beside the log in `dir`, as far as whoever asks may read them.
    #[must_use]
    pub fn beside(dir: &Path) -> Self {
        Self::open(&Self::folder(dir), &Self::kek_file(dir)).unwrap_or_default()
    }

    /// As [`Self::open`], and makes the key-encryption key where there are no keys yet.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn create(dir: &Path, kek: &Path) -> Result<Self, KeysError> {
        if !kek.exists() {
            if !files(dir)?.is_empty() {
                return Err(KeysError::KekMissing(kek.to_path_buf()));
            }
            durable::replace(kek, &random::<KEY_LEN>()?, PRIVATE)?;
        }
        durable::create_dir(dir)?;
        // What an erasure that was cut off left is destroyed.
        for (id, path) in files(dir)? {
            if is_key(&path) && erased_file(dir, id).exists() {
                durable::wipe(&path)?;
            }
        }
        Self::open(dir, kek)
    }

    /// Where the keys of the log in `dir` lie.
    #[must_use]
    pub fn folder(dir: &Path) -> PathBuf {
        dir.with_extension("keys")
    }

    /// Where their key-encryption key lies: with the credentials that systemd passed, or else beside the log.
    #[must_use]
    pub fn kek_file(dir: &Path) -> PathBuf {
        let passed = std::env::var_os("CREDENTIALS_DIRECTORY");
        let passed = passed.map(|folder| Path::new(&folder).join(CREDENTIAL));
        let passed = passed.filter(|file| file.exists());
        passed.unwrap_or_else(|| dir.with_extension("kek"))
    }

    /// Whether there is anything to unwrap keys with.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.folder_with_kek().is_some()
    }

    /// The key with this name. One that can't be read is missing.
    pub(super) fn find(&self, id: KeyId) -> Found {
        let Some(folder) = &self.0 else {
            return Found::Missing;
        };
        // Also of one that is known here: somebody else may have destroyed it.
        if folder.is_erased(id) {
            folder.known().remove(&id);
            return Found::Erased;
        }
        match folder.kek().and_then(|kek| folder.load(kek, id).ok().flatten()) {
            Some(key) => Found::Here(key),
            // Destroyed just now, perhaps.
            None if folder.is_erased(id) => Found::Erased,
            None => Found::Missing,
        }
    }

    /// The key for what entries of `day` about `owner` say; made where there is none.
    pub(super) fn of(&self, day: Day, owner: &str) -> Result<DataKey, KeysError> {
        let (folder, kek) = self.folder_with_kek().ok_or(KeysError::NoKek)?;
        let mut ids = (0_u32..).map(|turn| kek.id(day, owner, turn));
        // What is written about a day after it was erased, as under a clock that was set back, gets another key.
        let Some(id) = ids.find(|&id| !folder.is_erased(id)) else {
            return Err(KeysError::Random);
        };
        if let Some(key) = folder.load(kek, id)? {
            return Ok(DataKey { id, key });
        }
        let (secret, nonce) = (random::<KEY_LEN>()?, random::<NONCE_LEN>()?);
        let mut wrapped = nonce.to_vec();
        let mut text = secret.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        kek.wrap
            .seal_in_place_append_tag(nonce, wrapping_aad(id), &mut text)
            .map_err(|_| KeysError::Random)?;
        wrapped.append(&mut text);
        durable::replace(&folder.key_file(id), &wrapped, PRIVATE)?;
        let key = Arc::new(aes(&secret).ok_or(KeysError::Random)?);
        folder.known().insert(id, Arc::clone(&key));
        Ok(DataKey { id, key })
    }

    /// Whether there is a key for what entries of `day` say about `owner`.
    #[must_use]
    pub fn has(&self, day: Day, owner: &str) -> bool {
        let Some((folder, kek)) = self.folder_with_kek() else {
            return false;
        };
        let mut ids = (0_u32..).map(|turn| kek.id(day, owner, turn));
        // Those that were destroyed come first.
        let id = ids.find(|&id| folder.key_file(id).exists() || !folder.is_erased(id));
        id.is_some_and(|id| folder.key_file(id).exists())
    }

    /// Destroys the keys for what entries of `day` about `owner` say; `told` is the entry that tells of it.
    pub(crate) fn erase(
        &self,
        day: Day,
        owner: &str,
        told: u64,
        by: &SigningKey,
    ) -> Result<(), EraseError> {
        let (folder, kek) = self.folder_with_kek().ok_or(KeysError::NoKek)?;
        let mut turn = 0;
        let mut destroyed = false;
        loop {
            let id = kek.id(day, owner, turn);
            turn += 1;
            let file = folder.key_file(id);
            if !file.exists() {
                if folder.is_erased(id) {
                    continue;
                }
                break;
            }
            if !folder.is_erased(id) {
                let name = erased_name(by.verifier());
                let note = signed_note(by, &format!("{name}\n{id}\n{told}\n"));
                durable::replace(&folder.erased_file(id), note.as_bytes(), PUBLIC)?;
            }
            folder.known().remove(&id);
            durable::wipe(&file)?;
            destroyed = true;
        }
        if destroyed {
            return Ok(());
        }
        let owner = owner.to_owned();
        Err(EraseError::Nothing { owner, day })
    }

    /// Destroys the keys of days before this one, of which no entry is there any more, and says how many.
    ///
    /// # Errors
    /// [`IoError`]; asking again goes on with the rest.
    pub fn forget_before(&self, day: Day) -> Result<usize, IoError> {
        let Some(folder) = &self.0 else {
            return Ok(0);
        };
        let mut gone = 0;
        for (id, path) in files(&folder.dir)? {
            if id.day() < day {
                folder.known().remove(&id);
                durable::wipe(&path)?;
                gone += 1;
            }
        }
        Ok(gone)
    }

    /// The keys that were destroyed, as signed statements say.
    pub(crate) fn erased(&self, by: &VerifierKey) -> Result<Vec<Erased>, Stop> {
        let Some(folder) = &self.0 else {
            return Ok(Vec::new());
        };
        let mut all = Vec::new();
        for (id, path) in files(&folder.dir)? {
            if is_key(&path) {
                continue;
            }
            let bytes = std::fs::read(&path).map_err(|source| IoError::new("read", &path, source))?;
            let what = match stated(&bytes, id, by) {
                Ok(erased) => {
                    all.push(erased);
                    continue;
                }
                Err(Mismatch::Cut) => "it is cut off",
                Err(Mismatch::Altered(what)) => what,
            };
            let what = format!("the statement about the erased key {id} was altered: {what}");
            return Err(Finding::new(Code::Erased, what).into());
        }
        Ok(all)
    }

    fn folder_with_kek(&self) -> Option<(&Folder, &Kek)> {
        let folder = self.0.as_deref()?;
        Some((folder, folder.kek()?))
    }
}

impl Folder {
    /// The key-encryption key, as soon as it is there.
    fn kek(&self) -> Option<&Kek> {
        if let Some(kek) = self.kek.get() {
            return Some(kek);
        }
        let kek = Kek::read(&self.kek_file).ok().flatten()?;
        Some(self.kek.get_or_init(|| kek))
    }

    fn key_file(&self, id: KeyId) -> PathBuf {
        self.dir.join(format!("{id}.key"))
    }

    fn erased_file(&self, id: KeyId) -> PathBuf {
        erased_file(&self.dir, id)
    }

    fn is_erased(&self, id: KeyId) -> bool {
        self.erased_file(id).exists()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<KeyId, Arc<LessSafeKey>>> {
        // Keys are only ever added or taken out whole, so a panic elsewhere leaves them usable.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest key is one that the key-encryption key wraps.
    fn belongs_together(&self, kek: &Kek) -> Result<(), KeysError> {
        let all = files(&self.dir)?;
        let is_in_use = |(id, path): &&(KeyId, PathBuf)| is_key(path) && !self.is_erased(*id);
        let newest = all.iter().rev().find(is_in_use);
        newest.map_or(Ok(()), |(id, _)| self.load(kek, *id).map(drop))
    }

    /// The key as its file has it.
    fn load(&self, kek: &Kek, id: KeyId) -> Result<Option<Arc<LessSafeKey>>, KeysError> {
        if let Some(key) = self.known().get(&id) {
            return Ok(Some(Arc::clone(key)));
        }
        let path = self.key_file(id);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|source| IoError::new("read", &path, source))?,
        };
        let key = kek.unwrap(id, &bytes).ok_or(KeysError::Unwrap(path))?;
        let key = Arc::new(key);
        self.known().insert(id, Arc::clone(&key));
        Ok(Some(key))
    }
}

impl Kek {
    /// The key in a file; `None` where there is none.
    fn read(path: &Path) -> Result<Option<Self>, KeysError> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|source| IoError::new("read", path, source))?,
        };
        let bytes: Result<[u8; KEY_LEN], _> = bytes.try_into();
        let kek = bytes.ok().and_then(|bytes| Self::new(&bytes));
        kek.map(Some).ok_or_else(|| KeysError::Kek(path.to_path_buf()))
    }

    fn new(bytes: &[u8; KEY_LEN]) -> Option<Self> {
        let derive = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let owners = hmac::sign(&derive, b"aegis: names of data keys");
        let wrap = hmac::sign(&derive, b"aegis: wrapping of data keys");
        Some(Self {
            wrap: aes(wrap.as_ref())?,
            owners: hmac::Key::new(hmac::HMAC_SHA256, owners.as_ref()),
        })
    }

    fn id(&self, day: Day, owner: &str, turn: u32) -> KeyId {
        let mut context = hmac::Context::with_key(&self.owners);
        context.update(&day.number().to_le_bytes());
        context.update(&turn.to_le_bytes());
        context.update(owner.as_bytes());
        let mut name = [0; OWNER_LEN];
        name.copy_from_slice(&context.sign().as_ref()[..OWNER_LEN]);
        KeyId::of(day, name)
    }

    fn unwrap(&self, id: KeyId, wrapped: &[u8]) -> Option<LessSafeKey> {
        let (nonce, text) = wrapped.split_first_chunk::<NONCE_LEN>()?;
        if wrapped.len() != WRAPPED_LEN {
            return None;
        }
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut text = text.to_vec();
        let secret = self.wrap.open_in_place(nonce, wrapping_aad(id), &mut text);
        aes(secret.ok()?)
    }
}

fn aes(key: &[u8]) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?))
}

fn wrapping_aad(id: KeyId) -> Aad<[u8; 16]> {
    Aad::from(id.0)
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], KeysError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| KeysError::Random)?;
    Ok(bytes)
}

/// The keys and statements in a folder, by name; what else lies there is not looked at.
fn files(dir: &Path) -> Result<Vec<(KeyId, PathBuf)>, IoError> {
    let failed = |source| IoError::new("read the folder", dir, source);
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let id = name.to_str().and_then(|name| {
            let stem = name.strip_suffix(".key").or(name.strip_suffix(".erased"))?;
            KeyId::parse(stem)
        });
        all.extend(id.map(|id| (id, dir.join(&name))));
    }
    all.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(all)
}

fn is_key(path: &Path) -> bool {
    path.extension().is_some_and(|suffix| suffix == "key")
}

fn erased_file(dir: &Path, id: KeyId) -> PathBuf {
    dir.join(format!("{id}.erased"))
}

fn erased_name(log: &VerifierKey) -> String {
    format!("{}/erased", log.name())
}

fn stated(bytes: &[u8], id: KeyId, key: &VerifierKey) -> Result<Erased, Mismatch> {
    let bytes = &bytes[..bytes.len().min(MOST)];
    let stored = [bytes, b"\n"].concat();
    let mut from = Matcher::new(&stored);
    from.literal(erased_name(key).as_bytes(), "it is of another log")?;
    from.literal(b"\n", "it is of another log")?;
    from.literal(id.to_string().as_bytes(), "it is about another key")?;
    from.literal(b"\n", "it is about another key")?;
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
    Ok(Erased { id, told })
}

#[cfg(test)]
mod tests;
