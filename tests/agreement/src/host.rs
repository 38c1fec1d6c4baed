//! The facts about this host that the reference asks for, found by the standard library alone.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aegis_policy::host::{Entry, HostError, HostView, Kind, Mount, Program, mountinfo};
use aegis_policy::path::AbsPath;
use nix::errno::Errno;

/// This host.
pub struct Host {
    mounts: Vec<Mount>,
}

impl Host {
    /// Its mounts as they are now.
    pub fn now() -> Result<Self, HostError> {
        let path = "/proc/self/mountinfo";
        let text = fs::read(path).map_err(|source| HostError::Io { path: path.to_owned(), source })?;
        Ok(Self { mounts: mountinfo::parse(&text)? })
    }

    fn is_mount_point(&self, path: &Path) -> bool {
        self.mounts.iter().any(|mount| native(&mount.mount_point) == path)
    }

    /// Regular files and the like at or below `path`, on its own mount.
    fn files(&self, path: &Path, found: &mut Vec<(PathBuf, Metadata)>) -> io::Result<()> {
        let Some(metadata) = missing_is_none(fs::symlink_metadata(path))? else { return Ok(()) };
        if !metadata.is_dir() {
            found.push((path.to_owned(), metadata));
            return Ok(());
        }
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            if !self.is_mount_point(&path) {
                self.files(&path, found)?;
            }
        }
        Ok(())
    }
}

/// SHA-256 of a content.
pub fn sha256(content: &[u8]) -> io::Result<[u8; 32]> {
    let digest = ring::digest::digest(&ring::digest::SHA256, content);
    digest.as_ref().try_into().map_err(io::Error::other)
}

impl HostView for Host {
    fn mounts(&self) -> Result<Vec<Mount>, HostError> {
        Ok(self.mounts.clone())
    }

    fn entry(&self, path: &AbsPath) -> Result<Option<Entry>, HostError> {
        let path = native(path);
        let answer = || -> io::Result<Option<Entry>> {
            let Some(metadata) = missing_is_none(fs::symlink_metadata(&path))? else { return Ok(None) };
            Ok(Some(if metadata.is_symlink() {
                Entry::Symlink(fs::read_link(&path)?.into_os_string().into_vec())
            } else if metadata.is_dir() {
                Entry::Directory
            } else if metadata.is_file() {
                Entry::File
            } else {
                Entry::Other
            }))
        };
        answer().map_err(|source| failed(&path, source))
    }

    fn list(&self, path: &AbsPath, limit: usize) -> Result<Vec<(Vec<u8>, Kind)>, HostError> {
        let path = native(path);
        let answer = || -> io::Result<Vec<(Vec<u8>, Kind)>> {
            if !missing_is_none(fs::symlink_metadata(&path))?.is_some_and(|metadata| metadata.is_dir()) {
                return Ok(Vec::new());
            }
            let mut names = Vec::new();
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                let kind = if kind.is_dir() {
                    Kind::Directory
                } else if kind.is_symlink() {
                    Kind::Symlink
                } else {
                    Kind::Other
                };
                names.push((entry.file_name().into_vec(), kind));
            }
            Ok(names)
        };
        let names = answer().map_err(|source| failed(&path, source))?;
        within(&path, names, limit, "names")
    }

    fn linked_files(&self, path: &AbsPath, limit: usize) -> Result<Vec<u64>, HostError> {
        let path = native(path);
        let mut files = Vec::new();
        self.files(&path, &mut files).map_err(|source| failed(&path, source))?;
        let linked = |metadata: &Metadata| !metadata.is_symlink() && metadata.nlink() > 1;
        let numbers = files.into_iter().filter(|(_, metadata)| linked(metadata)).map(|(_, metadata)| metadata.ino());
        within(&path, numbers.collect(), limit, "files")
    }

    fn programs(&self, path: &AbsPath, limit: usize) -> Result<Vec<Program>, HostError> {
        let path = native(path);
        let mut files = Vec::new();
        self.files(&path, &mut files).map_err(|source| failed(&path, source))?;
        let mut programs = Vec::new();
        for (path, _) in files.iter().filter(|(_, metadata)| metadata.is_file() && metadata.mode() & 0o111 != 0) {
            let name = AbsPath::parse(path.as_os_str().as_bytes()).map_err(|e| failed(path, io::Error::other(e)))?;
            let sha256 = fs::read(path).and_then(|content| sha256(&content)).map_err(|source| failed(path, source))?;
            programs.push(Program { path: name, sha256 });
        }
        within(&path, programs, limit, "programs")
    }
}

fn native(path: &AbsPath) -> PathBuf {
    let mut native = PathBuf::from("/");
    native.extend(path.components().iter().map(|component| OsStr::from_bytes(component)));
    native
}

fn missing_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        // A name behind a link that leads nowhere is no name.
        Err(error) if [Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP].map(|e| Some(e as i32)).contains(&error.raw_os_error()) => Ok(None),
        other => other.map(Some),
    }
}

fn failed(path: &Path, source: io::Error) -> HostError {
    HostError::Io { path: path.display().to_string(), source }
}

fn within<T>(path: &Path, found: Vec<T>, limit: usize, what: &'static str) -> Result<Vec<T>, HostError> {
    if found.len() > limit {
        return Err(HostError::TooMany { path: path.display().to_string(), limit, what });
    }
    Ok(found)
}
