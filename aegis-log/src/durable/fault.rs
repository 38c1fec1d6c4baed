//! A disk that fails when a test says so, and a record of what was asked of it, from which a test can
//! make the states that a power cut may leave behind.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};

/// Something about to be asked of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op<'a> {
    Create(&'a Path),
    Open(&'a Path),
    Cut { path: &'a Path, len: u64 },
    Sync(&'a Path),
    Rename { from: &'a Path, to: &'a Path },
    Remove(&'a Path),
    SyncDir(&'a Path),
}

/// What was asked, kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    Create(PathBuf),
    Write {
        path: PathBuf,
        offset: u64,
        bytes: Vec<u8>,
    },
    Cut {
        path: PathBuf,
        len: u64,
    },
    Sync(PathBuf),
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove(PathBuf),
    SyncDir(PathBuf),
}

/// How the disk behaves.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// Bytes that can still be written before the disk is full.
    pub(crate) space: Option<u64>,
    /// The operation with this number (from 0) fails with EIO.
    pub(crate) fail_at: Option<usize>,
    /// Every operation after the failing one fails too.
    pub(crate) stays_broken: bool,
    /// Operations so far.
    pub(crate) count: usize,
    /// How many operations were recorded when one failed.
    pub(crate) failed_after: Option<usize>,
    /// What was done, if it is to be recorded.
    pub(crate) record: Option<Vec<Done>>,
}

thread_local! {
    static DISK: RefCell<Disk> = RefCell::default();
}

/// Installs a disk for this thread and returns the one before.
pub(crate) fn install(disk: Disk) -> Disk {
    DISK.replace(disk)
}

fn failing(disk: &mut Disk) -> Option<io::Error> {
    let number = disk.count;
    disk.count += 1;
    let fails = disk
        .fail_at
        .is_some_and(|at| number == at || (disk.stays_broken && number > at));
    if fails && let Some(record) = &disk.record {
        disk.failed_after.get_or_insert(record.len());
    }
    // EIO: what a dying disk answers.
    fails.then(|| io::Error::from_raw_os_error(5))
}

pub(crate) fn before(op: Op<'_>) -> io::Result<()> {
    DISK.with_borrow_mut(|disk| {
        if let Some(error) = failing(disk) {
            return Err(error);
        }
        if let Some(record) = &mut disk.record {
            record.push(match op {
                Op::Create(path) => Done::Create(path.to_path_buf()),
                Op::Open(_) => return Ok(()),
                Op::Cut { path, len } => Done::Cut {
                    path: path.to_path_buf(),
                    len,
                },
                Op::Sync(path) => Done::Sync(path.to_path_buf()),
                Op::Rename { from, to } => Done::Rename {
                    from: from.to_path_buf(),
                    to: to.to_path_buf(),
                },
                Op::Remove(path) => Done::Remove(path.to_path_buf()),
                Op::SyncDir(path) => Done::SyncDir(path.to_path_buf()),
            });
        }
        Ok(())
    })
}

/// On failure: how many bytes reach the disk all the same, and the error.
pub(crate) fn before_write(
    path: &Path,
    offset: u64,
    bytes: &[u8],
) -> Result<(), (usize, io::Error)> {
    DISK.with_borrow_mut(|disk| {
        let failure = match failing(disk) {
            // The worst that can be: everything arrived and yet an error was reported.
            Some(error) if disk.count.is_multiple_of(2) => Some((bytes.len(), error)),
            Some(error) => Some((bytes.len() / 2, error)),
            None => full(disk, bytes.len()),
        };
        let written = failure
            .as_ref()
            .map_or(bytes.len(), |(written, _)| *written);
        if let Some(record) = &mut disk.record {
            record.push(Done::Write {
                path: path.to_path_buf(),
                offset,
                bytes: bytes[..written].to_vec(),
            });
        }
        failure.map_or(Ok(()), Err)
    })
}

/// Takes the space that a write needs; on failure, what was left.
fn full(disk: &mut Disk, len: usize) -> Option<(usize, io::Error)> {
    let space = disk.space.as_mut()?;
    let fits = usize::try_from(*space).unwrap_or(usize::MAX).min(len);
    *space -= fits as u64;
    (fits < len).then(|| (fits, io::ErrorKind::StorageFull.into()))
}
