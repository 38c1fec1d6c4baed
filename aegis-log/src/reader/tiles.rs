//! Exports the log as C2SP tlog-tiles, for tools that read such logs, and for `aegis-verify`.
//!
//! One pass over the entries makes everything, the tree too, and compares its root with the checkpoint
//! before that is written: an export never vouches for entries that are not the signed ones.

use std::path::{Path, PathBuf};

use super::{ProveError, ReadError, Reader, scan_error};
use crate::checkpoint::SignedCheckpoint;
use crate::durable::{self, IoError, PRIVATE, PUBLIC};
use crate::export::{BODIES, CHECKPOINT, ENTRIES, TILE_WIDTH, tile_level, tile_path};
use crate::finding::{Code, Finding};
use crate::frame::{self, Frame};
use crate::hash::Hash;
use crate::merkle::{Frontier, TILE_HEIGHT};
use crate::pruned::Pruned;
use crate::segment::{PRUNED_FILE, SEGMENT_HEADER_LEN, VKEY_FILE, tree_name};
use crate::tree::{LevelScan, TreeError};

/// What an export holds.
#[derive(Debug, Default, Clone)]
pub struct ExportOptions {
    /// Salts and bodies too, in files of their own. Without them an export shows when things of what kind
    /// happened, and nothing else.
    pub bodies: bool,
    /// The checkpoint to export up to, such as one that witnesses cosigned; the newest otherwise.
    pub checkpoint: Option<SignedCheckpoint>,
}

impl Reader {
    /// Writes the signed log into the new or empty folder `out` as C2SP tlog-tiles and answers the checkpoint
    /// it ends with. `progress` hears how many entries of how many are done.
    ///
    /// # Errors
    /// [`ProveError`]; part of the export may have been written, but no checkpoint.
    pub fn export_tiles(
        &self,
        out: &Path,
        options: &ExportOptions,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<SignedCheckpoint, ProveError> {
        let checkpoint = match (&options.checkpoint, self.checkpoint()) {
            (Some(given), _) => {
                given.verify(self.vkey())?;
                self.within(given.size())?;
                given.clone()
            }
            (None, Some(newest)) => newest.clone(),
            (None, None) => return Err(ProveError::OutOfRange { wanted: 0, size: 0 }),
        };
        let size = checkpoint.size();
        if let Some(told) = self.pruned.as_ref().map(Pruned::told).filter(|told| *told >= size) {
            return Err(ProveError::Pruned { told });
        }
        durable::create_empty(out).map_err(ReadError::from)?;
        let start = Pruned::first_bundle(self.pruned.as_ref()) * TILE_WIDTH;
        let mut export = Export::new(out, options.bodies, start);
        let mut leaves = LevelScan::open(&self.dir, 0, 0).map_err(ReadError::from)?;
        let short = || TreeError::Short(self.dir.join(tree_name(0)));
        for seq in 0..self.first() {
            let leaf = leaves.next().map_err(ReadError::from)?.ok_or_else(short)?;
            export.removed(leaf, seq >= start).map_err(ReadError::from)?;
        }
        self.each_frame(self.first(), size, &mut |seq, frame| {
            export.add(frame)?;
            if (seq + 1).is_multiple_of(TILE_WIDTH) {
                progress(seq + 1, size);
            }
            Ok(())
        })?;
        export.finish().map_err(ReadError::from)?;
        progress(size, size);
        if export.frontier.root() != *checkpoint.root() {
            return Err(ProveError::Fork(size));
        }
        if let Some(pruned) = &self.pruned {
            durable::export(&out.join(PRUNED_FILE), pruned.note().as_bytes(), PUBLIC)
                .map_err(ReadError::from)?;
        }
        let key = format!("{}\n", self.vkey());
        durable::export(&out.join(VKEY_FILE), key.as_bytes(), PUBLIC).map_err(ReadError::from)?;
        // Last, so that an export with a checkpoint is a whole one.
        durable::export(&out.join(CHECKPOINT), checkpoint.note().as_bytes(), PUBLIC)
            .map_err(ReadError::from)?;
        Ok(checkpoint)
    }

    /// Shows the frames of the entries from `start` to `size` in order.
    fn each_frame(
        &self,
        start: u64,
        size: u64,
        visit: &mut dyn FnMut(u64, &Frame<'_>) -> Result<(), IoError>,
    ) -> Result<(), ReadError> {
        let mut seq = start;
        for (index, files) in self.segments.iter().enumerate() {
            let end = self.end_of(index).min(size);
            if seq >= end {
                continue;
            }
            let mut scan = self
                .scan(files, SEGMENT_HEADER_LEN as u64)
                .map_err(|error| self.gone(seq, error))?;
            for _ in files.first_seq..seq {
                scan.skip().map_err(|error| scan_error(error, files))?;
            }
            while seq < end {
                let missing = || Finding::new(Code::EntryMissing, "the entry is missing").at(seq);
                let next = scan.next().map_err(|error| scan_error(error, files))?;
                visit(seq, &next.ok_or_else(missing)?)?;
                seq += 1;
            }
        }
        Ok(())
    }
}

/// The files of an export, as they fill.
struct Export {
    out: PathBuf,
    frontier: Frontier,
    entries: Bundle,
    bodies: Option<Bundle>,
    levels: Vec<Bundle>,
}

/// A file that is written when it has its 256 parts, or at the end.
struct Bundle {
    /// The folder below which its files lie.
    folder: PathBuf,
    mode: u32,
    /// Parts so far, those of files that are written included.
    parts: u64,
    bytes: Vec<u8>,
}

impl Bundle {
    fn new(folder: PathBuf, mode: u32, parts: u64) -> Self {
        Self {
            folder,
            mode,
            parts,
            bytes: Vec::new(),
        }
    }

    /// Counts what was appended as one part.
    fn part(&mut self) -> Result<(), IoError> {
        self.parts += 1;
        if self.parts.is_multiple_of(TILE_WIDTH) {
            self.write(self.parts / TILE_WIDTH - 1, TILE_WIDTH)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), IoError> {
        match self.parts % TILE_WIDTH {
            0 => Ok(()),
            width => self.write(self.parts / TILE_WIDTH, width),
        }
    }

    fn write(&mut self, tile: u64, width: u64) -> Result<(), IoError> {
        let path = self.folder.join(tile_path(tile, width));
        durable::export(&path, &self.bytes, self.mode)?;
        self.bytes.clear();
        Ok(())
    }
}

impl Export {
    /// An export whose bundles begin with entry `start`.
    fn new(out: &Path, bodies: bool, start: u64) -> Self {
        Self {
            out: out.to_path_buf(),
            frontier: Frontier::default(),
            entries: Bundle::new(out.join(ENTRIES), PUBLIC, start),
            bodies: bodies.then(|| Bundle::new(out.join(BODIES), PRIVATE, start)),
            levels: Vec::new(),
        }
    }

    fn add(&mut self, frame: &Frame<'_>) -> Result<(), IoError> {
        let header = frame.header_bytes;
        // Lengths of headers are 16-bit numbers in the frames too.
        let len = u16::try_from(header.len()).unwrap_or(u16::MAX);
        self.entries.bytes.extend_from_slice(&len.to_be_bytes());
        self.entries.bytes.extend_from_slice(header);
        self.entries.part()?;
        if let Some(bodies) = &mut self.bodies {
            match frame.payload {
                Some(payload) => {
                    frame::encode(&frame.header, payload.salt, payload.body, &mut bodies.bytes);
                }
                None => bodies.bytes.extend(frame::encode_header_only(header)),
            }
            bodies.part()?;
        }
        self.grow(frame.leaf)
    }

    /// An entry that was removed: its place in a bundle with others is empty.
    fn removed(&mut self, leaf: Hash, in_bundle: bool) -> Result<(), IoError> {
        if in_bundle {
            self.entries.bytes.extend_from_slice(&0_u16.to_be_bytes());
            self.entries.part()?;
            self.bodies.as_mut().map_or(Ok(()), Bundle::part)?;
        }
        self.grow(leaf)
    }

    /// The next leaf of the tree.
    fn grow(&mut self, leaf: Hash) -> Result<(), IoError> {
        let mut completed: Vec<(usize, Hash)> = Vec::new();
        self.frontier.push(leaf, |height, hash| {
            if height.is_multiple_of(TILE_HEIGHT) {
                completed.push(((height / TILE_HEIGHT) as usize, *hash));
            }
        });
        for (level, hash) in completed {
            if self.levels.len() <= level {
                let folder = self.out.join(tile_level(level));
                self.levels.push(Bundle::new(folder, PUBLIC, 0));
            }
            let row = &mut self.levels[level];
            row.bytes.extend_from_slice(&hash.0);
            row.part()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), IoError> {
        self.entries.finish()?;
        self.bodies.as_mut().map_or(Ok(()), Bundle::finish)?;
        self.levels.iter_mut().try_for_each(Bundle::finish)
    }
}
