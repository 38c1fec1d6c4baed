//! Opening a log to go on writing it: the lock, the key, and what a crash left behind.
//!
//! What may be repaired is only what nobody signed: bytes after the last checkpoint. They are set
//! aside in a `.cut` file, not kept in the log: whole entries among them could have been put there by
//! anyone while no writer ran, and the next checkpoint would have vouched for them. They were never
//! reported durable, so nothing promised is lost. Damage to anything signed is tampering: opening fails
//! and nothing is touched.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::batch::{SegmentTip, State};
use crate::chain::Link;
use crate::checkpoint::SignedCheckpoint;
use crate::durable::{self, IoError, PRIVATE, PUBLIC};
use crate::epoch::{self, Epochs, keeper::Keeper};
use crate::finding::{Code, Finding};
use crate::hash::Hash;
use crate::key::{KeyError, SigningKey, VerifierKey};
use crate::merkle::Frontier;
use crate::report::EntryInfo;
use crate::segment::{Catalog, LOCK_FILE, VKEY_FILE};
use crate::tree::{TreeError, TreeReader};
use crate::verify::{VerifyError, VerifyOptions, stored_key, verify};
use crate::walk::Stop;
use crate::writer::{Opening, Writer};

mod end;
mod recover;

pub use recover::Recovery;
pub(crate) use recover::remove_pruned;

/// How long to wait for the lock: a verifier may hold it for a moment.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_POLL: Duration = Duration::from_millis(20);

/// How much of the log is checked before it is written on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OpenCheck {
    /// The last segment whole, and the tree of all before it against the last checkpoint.
    #[default]
    Tail,
    /// Every byte. Takes about a second for a million entries.
    Full,
}

/// How to open a log.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// The log's folder; made if it is not there.
    pub dir: PathBuf,
    /// The private key, made at the first start. Not in the log's folder, so that a copy of the folder
    /// gives nothing away.
    pub key_file: PathBuf,
    /// The boot of the host, written into every entry. See [`host_boot_id`].
    pub boot_id: [u8; 16],
    /// A segment that is larger is ended.
    pub segment_bytes: u64,
    /// How much to check.
    pub check: OpenCheck,
}

impl WriterOptions {
    /// Segments of 64 MiB, only the last of which is checked.
    pub fn new(dir: impl Into<PathBuf>, key_file: impl Into<PathBuf>, boot_id: [u8; 16]) -> Self {
        Self {
            dir: dir.into(),
            key_file: key_file.into(),
            boot_id,
            segment_bytes: 64 << 20,
            check: OpenCheck::default(),
        }
    }
}

/// What was found at opening.
#[derive(Debug, Clone, Default)]
pub struct OpenReport {
    /// Whether this is a new log.
    pub created: bool,
    /// The last signed entry.
    pub last: Option<EntryInfo>,
    /// What was repaired. Append an entry that says so.
    pub recovery: Option<Recovery>,
    /// Why something of entries that retention removed is still there.
    pub leftover: Option<String>,
}

/// Why a log can't be opened for writing. Nothing was changed, except where it says so.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes it.
    #[error("another process is writing the log in {}: stop it first", .0.display())]
    Locked(PathBuf),
    /// A file can't be read or written.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The private key is of no use.
    #[error("the key {}: {source}", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// The log is there, its key isn't.
    #[error("the log has entries but its key {} is gone: restore the key, or move the log's folder away to begin another log; entries are never signed with another key", .0.display())]
    KeyMissing(PathBuf),
    /// The key of the epoch under way isn't there.
    #[error("the key {} that seals the epoch under way is gone, or seals were removed from the log: keep the folder as evidence, move it away, and start again with a new one", .0.display())]
    EpochKeyMissing(PathBuf),
    /// Others may read or replace the private key.
    #[error("the key {} may be read by others (mode {mode:o}): make a new log if they may have done so, else chmod 600", path.display())]
    KeyMode {
        /// The key file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The private key is not the log's.
    #[error("the key {} is not the one this log was signed with: restore it, or move the log's folder away to begin another log", .0.display())]
    KeyMismatch(PathBuf),
    /// Something signed was changed.
    #[error(
        "the log was tampered with: {finding}. It is never mended: keep the folder as evidence (aegis-verify explains it), move it away, and start again with a new one"
    )]
    Tampered {
        /// The first bad place.
        finding: Box<Finding>,
    },
    /// The system's random number generator failed.
    #[error("the system's random number generator failed")]
    Random,
}

impl From<Stop> for OpenError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Found(finding) => Self::Tampered { finding },
            Stop::Io(error) => Self::Io(error),
        }
    }
}

impl From<Finding> for OpenError {
    fn from(finding: Finding) -> Self {
        Self::Tampered {
            finding: Box::new(finding),
        }
    }
}

impl From<TreeError> for OpenError {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Io(error) => Self::Io(error),
            TreeError::Short(path) => Self::Io(IoError::new(
                "read the tree from",
                &path,
                std::io::ErrorKind::UnexpectedEof.into(),
            )),
        }
    }
}

impl Writer {
    /// Opens the log to go on writing it, or makes a new one.
    ///
    /// # Errors
    /// [`OpenError`] says what to do.
    pub fn open(options: &WriterOptions) -> Result<(Self, OpenReport), OpenError> {
        let dir = &options.dir;
        durable::create_dir(dir)?;
        let lock = lock(dir)?;
        let catalog = Catalog::read(dir)?;
        let created = catalog.segments.is_empty() && stored_key(dir)?.is_none();
        let key = load_key(options, &catalog)?;
        if options.check == OpenCheck::Full {
            check_all(dir, key.verifier())?;
        }
        for name in &catalog.temporary {
            durable::remove(&dir.join(name))?;
        }
        let epochs = Epochs::read(dir, key.verifier())?;
        let recovered = recover::recover(dir, &key, &catalog)?;
        let mut state = recovered.state;
        hold_against(&epochs, &state, dir, key.verifier())?;
        let last = recovered.last.filter(|last| last.seq >= epochs.sealed());
        state.hour = last.map(|last| epoch::hour(last.time));
        let epochs = Keeper::open(dir, &options.key_file, &key, &epochs, &state.checkpoint)?;
        let opening = Opening {
            dir: dir.clone(),
            lock,
            key,
            boot_id: options.boot_id,
            segment_bytes: options.segment_bytes,
            tree: recovered.tree,
            epochs,
            state,
        };
        let report = OpenReport {
            created,
            last: recovered.last,
            recovery: recovered.repaired,
            leftover: recovered.leftover,
        };
        Ok((Self::begin(opening)?, report))
    }
}

/// The state of a log without entries.
fn empty_state(key: &SigningKey, chain_id: [u8; 16]) -> State {
    State {
        link: Link::genesis(chain_id),
        frontier: Frontier::default(),
        checkpoint: SignedCheckpoint::sign(key, 0, Hash::empty_root()),
        segment: None::<SegmentTip>,
        hour: None,
    }
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK_FILE);
    let failed = |source| IoError::new("lock", &path, source);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PUBLIC)
        .open(&path)
        .map_err(failed)?;
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) if waited < LOCK_WAIT => {
                std::thread::sleep(LOCK_POLL);
                waited += LOCK_POLL;
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(OpenError::Locked(dir.to_path_buf()));
            }
            Err(std::fs::TryLockError::Error(source)) => return Err(failed(source).into()),
        }
    }
}

/// The key that goes on signing this log; a new one where there is no log yet.
fn load_key(options: &WriterOptions, catalog: &Catalog) -> Result<SigningKey, OpenError> {
    let path = &options.key_file;
    let stored = match stored_key(&options.dir)? {
        Some(None) => {
            return Err(Finding::new(
                Code::Vkey,
                "the key was altered: it is no verifier key any more",
            )
            .in_file(VKEY_FILE, 0)
            .into());
        }
        other => other.flatten(),
    };
    let is_new = stored.is_none() && catalog.segments.is_empty();
    let pkcs8 = match std::fs::read(path) {
        Ok(bytes) => {
            check_mode(path)?;
            bytes
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && is_new => {
            let new = SigningKey::generate().map_err(|source| OpenError::Key {
                path: path.clone(),
                source,
            })?;
            durable::replace(path, &new, PRIVATE)?;
            new
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(OpenError::KeyMissing(path.clone()));
        }
        Err(source) => return Err(IoError::new("read", path, source).into()),
    };
    let chain_id = match &stored {
        Some(key) => key
            .chain_id()
            .ok_or_else(|| OpenError::KeyMismatch(path.clone()))?,
        None if is_new => random_id()?,
        // The key's public half was lost with its file; the entries say whose log this is.
        None => recover::chain_id(&options.dir, catalog)?,
    };
    let key = SigningKey::from_pkcs8(&pkcs8, &chain_id).map_err(|source| OpenError::Key {
        path: path.clone(),
        source,
    })?;
    match stored {
        Some(stored) if stored != *key.verifier() => {
            return Err(OpenError::KeyMismatch(path.clone()));
        }
        Some(_) => {}
        None => durable::replace(
            &options.dir.join(VKEY_FILE),
            format!("{}\n", key.verifier()).as_bytes(),
            PUBLIC,
        )?,
    }
    Ok(key)
}

/// The seals are of the entries up to where they say. The stored tree tells that without reading all of them; where it says
/// otherwise, or was not written in whole, the entries do.
fn hold_against(
    epochs: &Epochs,
    state: &State,
    dir: &Path,
    key: &VerifierKey,
) -> Result<(), OpenError> {
    let Some(last) = epochs.seals.last() else {
        return Ok(());
    };
    let size = state.link.next_seq;
    if last.size() > size {
        let what = format!(
            "epoch {} was sealed with {} entries, the log has {size}: its end was cut off",
            last.number(),
            last.size()
        );
        return Err(Finding::new(Code::Epoch, what).at(size).into());
    }
    let stored = Frontier::load(&TreeReader::new(dir), last.size());
    if stored.is_ok_and(|stored| stored.root() == *last.root()) {
        return Ok(());
    }
    check_all(dir, key)
}

pub(crate) fn check_mode(path: &Path) -> Result<(), OpenError> {
    let metadata = std::fs::metadata(path).map_err(|source| IoError::new("read", path, source))?;
    match metadata.mode() & 0o7777 {
        mode if mode & 0o077 == 0 => Ok(()),
        mode => Err(OpenError::KeyMode {
            path: path.to_path_buf(),
            mode,
        }),
    }
}

fn random_id() -> Result<[u8; 16], OpenError> {
    let mut id = [0; 16];
    SystemRandom::new()
        .fill(&mut id)
        .map_err(|_| OpenError::Random)?;
    Ok(id)
}

fn check_all(dir: &Path, key: &VerifierKey) -> Result<(), OpenError> {
    let options = VerifyOptions {
        key: Some(key.clone()),
        ..VerifyOptions::default()
    };
    match verify(dir, &options) {
        Ok(mut report) if !report.findings.is_empty() => Err(report.findings.swap_remove(0).into()),
        Ok(_) => Ok(()),
        Err(VerifyError::Io(error)) => Err(error.into()),
        // Who holds the lock is the only one that removes.
        Err(VerifyError::PrunedMeanwhile) => Err(OpenError::Locked(dir.to_path_buf())),
        Err(VerifyError::ForeignKey(_)) => Err(OpenError::KeyMismatch(dir.join(VKEY_FILE))),
    }
}

/// The boot id of this host, from the kernel.
///
/// # Errors
/// When `/proc` can't be read or does not hold one.
pub fn host_boot_id() -> Result<[u8; 16], IoError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let text =
        std::fs::read_to_string(path).map_err(|source| IoError::new("read", path, source))?;
    let digits: String = text.trim().split('-').collect();
    crate::hash::from_hex(&digits)
        .ok_or_else(|| IoError::new("read", path, std::io::ErrorKind::InvalidData.into()))
}
