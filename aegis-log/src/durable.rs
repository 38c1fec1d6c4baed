//! The one place where bytes are made durable: files created, appended to, cut back, renamed and
//! synced. Everything else in this crate only reads.
//!
//! What it promises: a file made with [`create`] or [`replace`] is there after a power cut once the call
//! returned; bytes given to [`AppendFile::append`] are there once [`AppendFile::sync`] returned; a failed
//! append can be taken back with [`AppendFile::cut`]. After a failed sync nothing is known about the
//! file any more (Linux drops the dirty pages), so the caller must stop writing to it.
//!
//! Knows files, not what is in them.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

#[cfg(test)]
pub(crate) mod fault;

/// Mode of files that hold what agents did, and of keys: for the owner alone.
pub(crate) const PRIVATE: u32 = 0o600;
/// Mode of files that anyone may read.
pub(crate) const PUBLIC: u32 = 0o644;

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}{}", path.display(), advice(source))]
pub struct IoError {
    /// What was being done, as a verb.
    pub doing: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The system's answer.
    #[source]
    pub source: io::Error,
}

impl IoError {
    pub(crate) fn new(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self {
            doing,
            path: path.to_path_buf(),
            source,
        }
    }

    /// Whether the file or folder is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether the disk, a quota or a size limit is used up.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        no_space(&self.source)
    }
}

fn no_space(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => " (remount it for writing)",
        io::ErrorKind::PermissionDenied => " (run as the user who owns the log)",
        _ if no_space(error) => " (free space or raise the limit; nothing acknowledged is lost)",
        _ => "",
    }
}

/// Tells the tests what is about to happen to the disk, and lets them make it fail.
macro_rules! disk {
    ($op:expr) => {{
        #[cfg(test)]
        fault::before($op)?;
    }};
}

/// Creates a folder for the owner alone, if it is not there, and makes it durable.
pub(crate) fn create_dir(dir: &Path) -> Result<(), IoError> {
    let make = || -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    };
    make().map_err(|source| IoError::new("create the folder", dir, source))
}

/// Writes a file that can be written again any time, making its folders; nothing is synced.
pub(crate) fn export(path: &Path, bytes: &[u8], mode: u32) -> Result<(), IoError> {
    let dir = parent(path);
    fs::create_dir_all(dir).map_err(|source| IoError::new("create the folder", dir, source))?;
    AppendFile::create(path, mode)?.append(bytes)
}

/// Makes a folder to export into, and refuses one in which something is.
pub(crate) fn create_empty(dir: &Path) -> Result<(), IoError> {
    let create = || -> io::Result<()> {
        fs::create_dir_all(dir)?;
        match fs::read_dir(dir)?.next() {
            Some(_) => Err(io::ErrorKind::DirectoryNotEmpty.into()),
            None => Ok(()),
        }
    };
    create().map_err(|source| IoError::new("export into", dir, source))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), IoError> {
    let sync = || -> io::Result<()> {
        disk!(fault::Op::SyncDir(dir));
        File::open(dir)?.sync_all()
    };
    sync().map_err(|source| IoError::new("sync the folder", dir, source))
}

/// Puts a whole file in place durably and at once: after a power cut there is the old one or the new.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), IoError> {
    let temporary = temporary_name(path);
    let write = || -> Result<(), IoError> {
        let mut file = AppendFile::create(&temporary, mode)?;
        file.append(bytes)?;
        file.sync()
    };
    if let Err(error) = write() {
        // Whoever opens the log next removes it, should this fail too.
        let _ = remove(&temporary);
        return Err(error);
    }
    rename(&temporary, path)
}

/// Takes a file away; one that is not there is no error.
pub(crate) fn remove(path: &Path) -> Result<(), IoError> {
    let remove = || -> io::Result<()> {
        disk!(fault::Op::Remove(path));
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    };
    remove().map_err(|source| IoError::new("remove", path, source))
}

/// Takes a file away whose bytes nobody may find again: they are overwritten where they lie before. A file system
/// that copies on write, and a disk that moves blocks, may keep them all the same. One that is not there is no error.
pub(crate) fn wipe(path: &Path) -> Result<(), IoError> {
    let failed = |source| IoError::new("wipe", path, source);
    let len = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed)?.len(),
    };
    let len = usize::try_from(len).map_err(|_| failed(io::ErrorKind::FileTooLarge.into()))?;
    let mut file = AppendFile::open(path, PRIVATE)?;
    file.len = 0;
    file.append(&vec![0; len])?;
    file.sync()?;
    remove_in_turn(parent(path), &[path])
}

/// Takes files of one folder away so that after a power cut none is gone while one before it is there.
pub(crate) fn remove_in_turn(dir: &Path, paths: &[&Path]) -> Result<(), IoError> {
    paths.iter().try_for_each(|path| {
        remove(path)?;
        sync_dir(dir)
    })
}

/// Gives a file another name in the same folder.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), IoError> {
    let rename = || -> io::Result<()> {
        disk!(fault::Op::Rename { from, to });
        fs::rename(from, to)
    };
    rename().map_err(|source| IoError::new("rename", from, source))?;
    sync_dir(parent(to))
}

/// The name under which a file is written before [`replace`] puts it in place.
pub(crate) fn temporary_name(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(TEMPORARY_PREFIX);
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// What the names of unfinished files begin with; whoever opens a log for writing removes them.
pub(crate) const TEMPORARY_PREFIX: &str = ".new-";

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A file that only grows, except where a failed write is taken back.
#[derive(Debug)]
pub(crate) struct AppendFile {
    file: File,
    path: PathBuf,
    len: u64,
}

impl AppendFile {
    /// Creates an empty file; its name is durable only after [`sync_dir`].
    pub(crate) fn create(path: &Path, mode: u32) -> Result<Self, IoError> {
        let create = || -> io::Result<File> {
            disk!(fault::Op::Create(path));
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(mode)
                .open(path)
        };
        let file = create().map_err(|source| IoError::new("create", path, source))?;
        Ok(Self {
            file,
            path: path.to_path_buf(),
            len: 0,
        })
    }

    /// Opens a file to go on after its last byte, or creates it.
    pub(crate) fn open(path: &Path, mode: u32) -> Result<Self, IoError> {
        let open = || -> io::Result<(File, u64)> {
            disk!(fault::Op::Open(path));
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(mode)
                .open(path)?;
            let len = file.metadata()?.len();
            Ok((file, len))
        };
        let (file, len) =
            open().map_err(|source| IoError::new("open for writing", path, source))?;
        Ok(Self {
            file,
            path: path.to_path_buf(),
            len,
        })
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Writes after the last byte. When it fails, bytes may have been written in part: [`Self::cut`] back.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), IoError> {
        let write = || -> io::Result<()> {
            #[cfg(test)]
            let bytes = match fault::before_write(&self.path, self.len, bytes) {
                Ok(()) => bytes,
                Err((written, error)) => {
                    self.file.write_all_at(&bytes[..written], self.len)?;
                    return Err(error);
                }
            };
            self.file.write_all_at(bytes, self.len)
        };
        write().map_err(|source| IoError::new("write to", &self.path, source))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Writes bytes where they lie already.
    pub(crate) fn write_again(&mut self, offset: u64, bytes: &[u8]) -> Result<(), IoError> {
        let write = || -> io::Result<()> {
            if offset + bytes.len() as u64 > self.len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            #[cfg(test)]
            fault::before_write(&self.path, offset, bytes).map_err(|(_, error)| error)?;
            self.file.write_all_at(bytes, offset)
        };
        write().map_err(|source| IoError::new("write to", &self.path, source))
    }

    /// Cuts the file back to `len` bytes. Not durable before the next [`Self::sync`].
    pub(crate) fn cut(&mut self, len: u64) -> Result<(), IoError> {
        let cut = || -> io::Result<()> {
            // Where nothing was written nothing need be cut: a full or read-only disk may refuse even that.
            if self.file.metadata()?.len() == len {
                return Ok(());
            }
            disk!(fault::Op::Cut {
                path: &self.path,
                len
            });
            self.file.set_len(len)
        };
        cut().map_err(|source| IoError::new("cut back", &self.path, source))?;
        self.len = len;
        Ok(())
    }

    /// Waits until everything written is on the disk.
    pub(crate) fn sync(&mut self) -> Result<(), IoError> {
        let sync = || -> io::Result<()> {
            disk!(fault::Op::Sync(&self.path));
            self.file.sync_data()
        };
        sync().map_err(|source| IoError::new("sync", &self.path, source))
    }
}
