//! The questions that a policy puts to a host, and a host made of data for tests.
//!
//! Knows: which facts `resolve` needs. Must not know: how they are found out (the agent implements
//! [`HostView`] over procfs and the file system), nor what is done with them.

mod fake;
pub mod mountinfo;

pub use fake::{FakeHost, FakeNode};

use crate::path::AbsPath;

/// One line of the mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Mount id, unique in the table.
    pub id: u32,
    /// Id of the mount that it is mounted on; not in the table for the root mount.
    pub parent: u32,
    /// `s_dev` in the kernel's encoding (`major << 20 | minor`), from mountinfo, not from `stat`.
    pub dev: u32,
    /// Which directory (or file) of the filesystem is mounted: `/` unless it is a bind mount or
    /// a subvolume.
    pub root: AbsPath,
    /// Where, in the namespace that was read.
    pub mount_point: AbsPath,
    /// Type of the filesystem.
    pub fs_type: String,
    /// False when `root` was deleted since, or is no path at all (namespace files): then the name
    /// may stand for something else by now, and nothing is allowed by it.
    pub root_is_exact: bool,
}

/// Dynamic loaders that run another program when they are run themselves: glibc's for x86-64, x32,
/// i386 and aarch64, and musl's.
pub const LOADERS: [&[u8]; 5] = [
    b"/lib64/ld-linux-x86-64.so.2",
    b"/libx32/ld-linux-x32.so.2",
    b"/lib/ld-linux.so.2",
    b"/lib/ld-linux-aarch64.so.1",
    b"/lib/ld-musl-x86_64.so.1",
];

/// What a name is, its links not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link and its target, as stored.
    Symlink(Vec<u8>),
    /// A device, FIFO or socket.
    Other,
}

/// What a name in a listing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Anything else.
    Other,
}

impl Kind {
    /// That of an entry.
    #[must_use]
    pub const fn of(entry: &Entry) -> Self {
        match entry {
            Entry::Directory => Self::Directory,
            Entry::Symlink(_) => Self::Symlink,
            Entry::File | Entry::Other => Self::Other,
        }
    }
}

/// A program found on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where.
    pub path: AbsPath,
    /// SHA-256 of its content.
    pub sha256: [u8; 32],
}

/// The host could not answer. A policy that needs the answer is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Reading failed.
    #[error("{path}: {source}")]
    Io {
        /// What was read.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The mount table could not be understood.
    #[error("mount table: {0}")]
    Mounts(#[from] mountinfo::MountInfoError),
    /// There is more than the caller asked for.
    #[error("{path}: more than {limit} {what} at or below it")]
    TooMany {
        /// Where was searched.
        path: String,
        /// The caller's limit.
        limit: usize,
        /// What was searched for.
        what: &'static str,
    },
}

/// What `resolve` asks about a host. All paths given have no symbolic link before the last
/// component.
pub trait HostView {
    /// The mount table of the namespace in which the manifest's paths are meant (the host's), in
    /// the order of `/proc/PID/mountinfo`; see [`mountinfo::parse`].
    ///
    /// # Errors
    /// The table cannot be read.
    fn mounts(&self) -> Result<Vec<Mount>, HostError>;

    /// What `path` is, its last component not followed (`lstat`, `readlink`). `None` when it does
    /// not exist (`ENOENT`, `ENOTDIR`); any other failure is an error.
    ///
    /// # Errors
    /// The answer cannot be found out.
    fn entry(&self, path: &AbsPath) -> Result<Option<Entry>, HostError>;

    /// The names in a directory, without `.` and `..`, in any order. Nothing when `path` is no
    /// directory.
    ///
    /// # Errors
    /// It cannot be read, or holds more than `limit` names.
    fn list(&self, path: &AbsPath, limit: usize) -> Result<Vec<(Vec<u8>, Kind)>, HostError>;

    /// Inode numbers of the regular files, devices, FIFOs and sockets at or below `path` that have
    /// more than one link. Follows no links, does not enter other mounts. Nothing when `path` does
    /// not exist.
    ///
    /// # Errors
    /// A directory cannot be read, or there are more than `limit`.
    fn linked_files(&self, path: &AbsPath, limit: usize) -> Result<Vec<u64>, HostError>;

    /// The regular files at or below `path` with an execute bit, with their SHA-256. Follows no
    /// links, does not enter other mounts. Nothing when `path` does not exist.
    ///
    /// # Errors
    /// Something cannot be read, or there are more than `limit`.
    fn programs(&self, path: &AbsPath, limit: usize) -> Result<Vec<Program>, HostError>;
}
