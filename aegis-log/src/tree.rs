//! The files `tree-<level>.hashes`: the stored levels of the tree, one after the other in each file.
//!
//! They hold nothing that can't be made again from the entries as long as those are there, so they are
//! not synced with every commit; they are what makes proofs quick, and what stays of entries that
//! were pruned. The writer adds to them only after a checkpoint is durable: a tree longer than the last
//! checkpoint says is the trace of a log that was cut.
//!
//! Knows hashes and files, not entries.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::durable::{AppendFile, IoError, PRIVATE};
use crate::hash::Hash;
use crate::merkle::{HashStore, TILE_HEIGHT};
use crate::segment::tree_name;

const HASH_LEN: u64 = Hash::LEN as u64;

/// How many hashes a level has in a tree of `size` leaves.
pub(crate) fn level_len(size: u64, level: usize) -> u64 {
    u32::try_from(level)
        .ok()
        .and_then(|level| size.checked_shr(level * TILE_HEIGHT))
        .unwrap_or(0)
}

/// How many levels a tree of `size` leaves has.
pub(crate) fn level_count(size: u64) -> usize {
    (0..)
        .take_while(|&level| level_len(size, level) > 0)
        .count()
}

/// The levels, being written.
pub(crate) struct TreeWriter {
    dir: PathBuf,
    levels: Vec<Level>,
}

struct Level {
    path: PathBuf,
    file: Option<AppendFile>,
    /// Hashes that are not written yet; for want of space this may last.
    waiting: Vec<u8>,
}

impl TreeWriter {
    /// Opens the levels and cuts them to a tree of `size` leaves.
    ///
    /// # Errors
    /// [`TreeError::Short`] if they do not hold as many.
    pub(crate) fn open(dir: &Path, size: u64) -> Result<Self, TreeError> {
        Self::open_with_leaves(dir, size, size)
    }

    /// Opens the levels and cuts them to a tree of `size` leaves, but the leaves themselves to `leaves`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn open_with_leaves(dir: &Path, size: u64, leaves: u64) -> Result<Self, TreeError> {
        let mut writer = Self {
            dir: dir.to_path_buf(),
            levels: Vec::new(),
        };
        while writer.levels.len() < level_count(leaves)
            || dir.join(tree_name(writer.levels.len())).exists()
        {
            let number = writer.levels.len();
            let len = match number {
                0 => leaves * HASH_LEN,
                _ => level_len(size, number) * HASH_LEN,
            };
            let level = writer.level(number);
            let mut file = AppendFile::open(&level.path, PRIVATE)?;
            if file.len() < len {
                return Err(TreeError::Short(level.path.clone()));
            }
            file.cut(len)?;
            level.file = Some(file);
        }
        Ok(writer)
    }

    fn level(&mut self, level: usize) -> &mut Level {
        while self.levels.len() <= level {
            let path = self.dir.join(tree_name(self.levels.len()));
            self.levels.push(Level {
                path,
                file: None,
                waiting: Vec::new(),
            });
        }
        &mut self.levels[level]
    }

    /// Takes hashes, each the next of its level, to be written.
    pub(crate) fn add(&mut self, hashes: &[(usize, Hash)]) {
        for (level, hash) in hashes {
            self.level(*level).waiting.extend_from_slice(&hash.0);
        }
    }

    /// Writes what waits. What can't be written goes on waiting: the entries themselves are durable.
    pub(crate) fn flush(&mut self) -> Result<(), IoError> {
        for level in self
            .levels
            .iter_mut()
            .filter(|level| !level.waiting.is_empty())
        {
            let file = match &mut level.file {
                Some(file) => file,
                none => none.insert(AppendFile::open(&level.path, PRIVATE)?),
            };
            let before = file.len();
            if let Err(error) = file.append(&level.waiting) {
                file.cut(before)?;
                return Err(error);
            }
            level.waiting.clear();
        }
        Ok(())
    }

    /// Writes the leaves of these entries once more, and makes them durable: they are about to be all that is left. After a
    /// sync that failed, in this process or one before, the kernel takes what it has for written.
    pub(crate) fn settle_leaves(&mut self, from: u64, leaves: &[u8]) -> Result<(), IoError> {
        self.flush()?;
        let level = self.level(0);
        let file = match &mut level.file {
            Some(file) => file,
            none => none.insert(AppendFile::open(&level.path, PRIVATE)?),
        };
        file.write_again(from * HASH_LEN, leaves)?;
        file.sync()
    }

    /// Makes the levels durable.
    pub(crate) fn sync(&mut self) -> Result<(), IoError> {
        self.flush()?;
        self.levels
            .iter_mut()
            .filter_map(|level| level.file.as_mut())
            .try_for_each(AppendFile::sync)
    }
}

/// Hashes are missing from the tree's files or can't be read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The file can't be read.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The file ends before the hash that is needed.
    #[error("{} is too short for the log: stop the writer and open the log again, which makes it anew from the entries", .0.display())]
    Short(PathBuf),
}

/// The levels, being read.
pub(crate) struct TreeReader {
    dir: PathBuf,
}

impl TreeReader {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
        }
    }

    /// How many bytes the file of a level has; 0 if there is none.
    pub(crate) fn file_len(&self, level: usize) -> u64 {
        std::fs::metadata(self.dir.join(tree_name(level))).map_or(0, |metadata| metadata.len())
    }
}

impl HashStore for TreeReader {
    type Error = TreeError;

    fn hashes(&self, level: u32, start: u64, count: u64) -> Result<Vec<Hash>, TreeError> {
        let path = self.dir.join(tree_name(level as usize));
        let too_short = |_| TreeError::Short(path.clone());
        let mut bytes = vec![0; usize::try_from(count * HASH_LEN).map_err(too_short)?];
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(TreeError::Short(path));
            }
            other => other.map_err(|source| IoError::new("open", &path, source))?,
        };
        match file.read_exact_at(&mut bytes, start * HASH_LEN) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(TreeError::Short(path));
            }
            other => other.map_err(|source| IoError::new("read", &path, source))?,
        }
        Ok(bytes
            .chunks_exact(Hash::LEN)
            .filter_map(Hash::from_slice)
            .collect())
    }
}

/// A level read from its beginning, to be compared hash by hash.
pub(crate) struct LevelScan {
    file: Option<File>,
    path: PathBuf,
    buffer: Vec<Hash>,
    at: usize,
    offset: u64,
}

impl LevelScan {
    /// Begins with hash `index` of a level. A missing file is one without hashes.
    pub(crate) fn open(dir: &Path, level: usize, index: u64) -> Result<Self, IoError> {
        let path = dir.join(tree_name(level));
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            other => Some(other.map_err(|source| IoError::new("open", &path, source))?),
        };
        Ok(Self {
            file,
            path,
            buffer: Vec::new(),
            at: 0,
            offset: index * HASH_LEN,
        })
    }

    /// The next hash; `None` where the file ends.
    pub(crate) fn next(&mut self) -> Result<Option<Hash>, IoError> {
        if self.at == self.buffer.len() {
            self.fill()?;
        }
        let next = self.buffer.get(self.at).copied();
        self.at += usize::from(next.is_some());
        Ok(next)
    }

    fn fill(&mut self) -> Result<(), IoError> {
        self.buffer.clear();
        self.at = 0;
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut bytes = vec![0; 1 << 16];
        let mut have = 0;
        while have < bytes.len() {
            match file.read_at(&mut bytes[have..], self.offset + have as u64) {
                Ok(0) => break,
                Ok(read) => have += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(IoError::new("read", &self.path, source)),
            }
        }
        self.buffer.extend(
            bytes[..have]
                .chunks_exact(Hash::LEN)
                .filter_map(Hash::from_slice),
        );
        self.offset += self.buffer.len() as u64 * HASH_LEN;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{Frontier, MemoryLevels};

    #[test]
    fn the_stored_levels_are_those_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = MemoryLevels::default();
        let mut writer = TreeWriter::open(dir.path(), 0).unwrap();
        let mut frontier = Frontier::default();
        let leaves: Vec<_> = (0..70_000_u64)
            .map(|n| Hash::leaf(&n.to_le_bytes()))
            .collect();
        leaves.iter().for_each(|leaf| memory.push(*leaf));
        for chunk in leaves.chunks(999) {
            for leaf in chunk {
                frontier.push(*leaf, |height, hash| {
                    if height.is_multiple_of(TILE_HEIGHT) {
                        writer.add(&[((height / TILE_HEIGHT) as usize, *hash)]);
                    }
                });
            }
            writer.flush().unwrap();
        }
        assert_eq!(&frontier, memory.frontier());
        let reader = TreeReader::new(dir.path());
        assert_eq!(
            (0..4)
                .map(|level| reader.file_len(level))
                .collect::<Vec<_>>(),
            [70_000 * 32, 273 * 32, 32, 0]
        );
        assert_eq!(Frontier::load(&reader, 70_000).unwrap(), frontier);
        assert_eq!(
            Frontier::load(&reader, 66_666).unwrap(),
            Frontier::load(&memory, 66_666).unwrap()
        );
        assert!(matches!(
            Frontier::load(&reader, 70_001),
            Err(TreeError::Short(_))
        ));

        drop(TreeWriter::open(dir.path(), 65_535).unwrap());
        assert_eq!(
            (0..3)
                .map(|level| reader.file_len(level))
                .collect::<Vec<_>>(),
            [65_535 * 32, 255 * 32, 0]
        );
        let mut scan = LevelScan::open(dir.path(), 0, 3000).unwrap();
        for leaf in &leaves[3000..65_535] {
            assert_eq!(scan.next().unwrap(), Some(*leaf));
        }
        assert_eq!(scan.next().unwrap(), None);
    }
}
