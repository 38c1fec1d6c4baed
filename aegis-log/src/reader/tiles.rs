//! The log as C2SP tlog-tiles, for tools that read such logs: checkpoint, tiles and entry bundles, in
//! files named as the paths of the specification.
//!
//! The entries of the bundles are headers, which are what the leaves are made of: an export shows when
//! what kinds of things happened, and no body.

use std::path::Path;

use super::{ProveError, ReadError, Reader, scan_error};
use crate::durable;
use crate::finding::{Code, Finding};
use crate::merkle::{HashStore as _, TILE_HEIGHT};
use crate::scan::FrameScan;
use crate::segment::SEGMENT_HEADER_LEN;
use crate::tree::{TreeReader, level_count, level_len};

const TILE_WIDTH: u64 = 1 << TILE_HEIGHT;

impl Reader {
    /// Writes the signed log into `out` as C2SP tlog-tiles.
    ///
    /// # Errors
    /// [`ProveError`]; part of the export may have been written.
    pub fn export_tiles(&self, out: &Path) -> Result<(), ProveError> {
        let Some(checkpoint) = self.checkpoint() else {
            return Err(ProveError::OutOfRange { wanted: 0, size: 0 });
        };
        self.export_tree(out)?;
        self.export_bundles(out)?;
        // Last, so that an export with a checkpoint is a whole one.
        durable::export(&out.join("checkpoint"), checkpoint.note().as_bytes())
            .map_err(|error| ProveError::Read(error.into()))
    }

    fn export_tree(&self, out: &Path) -> Result<(), ProveError> {
        let tree = TreeReader::new(&self.dir);
        for level in 0..level_count(self.size()) {
            let hashes = level_len(self.size(), level);
            for tile in 0..hashes.div_ceil(TILE_WIDTH) {
                let start = tile * TILE_WIDTH;
                let width = (hashes - start).min(TILE_WIDTH);
                let row = tree.hashes(u32::try_from(level).unwrap_or(u32::MAX), start, width)?;
                let bytes: Vec<u8> = row.iter().flat_map(|hash| hash.0).collect();
                let path = out.join(format!("tile/{level}/{}", tile_path(tile, width)));
                durable::export(&path, &bytes).map_err(ReadError::from)?;
            }
        }
        Ok(())
    }

    fn export_bundles(&self, out: &Path) -> Result<(), ReadError> {
        let mut bundle = Vec::new();
        let mut seq = 0;
        for (index, files) in self.segments.iter().enumerate() {
            if seq >= self.end_of(index) {
                break;
            }
            let path = files.entries_path(&self.dir);
            let mut scan = FrameScan::open(&path, SEGMENT_HEADER_LEN as u64)?;
            while seq < self.end_of(index) {
                let missing = || Finding::new(Code::EntryMissing, "the entry is missing").at(seq);
                let next = scan.next().map_err(|error| scan_error(error, files))?;
                let header = next.ok_or_else(missing)?.header_bytes;
                let len = u16::try_from(header.len()).map_err(|_| missing())?;
                bundle.extend_from_slice(&len.to_be_bytes());
                bundle.extend_from_slice(header);
                seq += 1;
                if seq.is_multiple_of(TILE_WIDTH) || seq == self.size() {
                    let tile = (seq - 1) / TILE_WIDTH;
                    let name = tile_path(tile, seq - tile * TILE_WIDTH);
                    durable::export(&out.join(format!("tile/entries/{name}")), &bundle)?;
                    bundle.clear();
                }
            }
        }
        Ok(())
    }
}

/// The path of a tile by its index: groups of three digits, all but the last marked with an x; a tile
/// that is not full has its width after it.
fn tile_path(mut tile: u64, width: u64) -> String {
    let mut path = format!("{:03}", tile % 1000);
    while tile >= 1000 {
        tile /= 1000;
        path = format!("x{:03}/{path}", tile % 1000);
    }
    if width < TILE_WIDTH {
        format!("{path}.p/{width}")
    } else {
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_named_as_the_specification_says() {
        assert_eq!(tile_path(1_234_067, 256), "x001/x234/067");
        assert_eq!(tile_path(0, 256), "000");
        assert_eq!(tile_path(273, 112), "273.p/112");
        assert_eq!(tile_path(1000, 1), "x001/000.p/1");
    }
}
