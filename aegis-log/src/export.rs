//! Exports as C2SP tlog-tiles: where things lie in one, and checking it on files alone.
//!
//! | path | what |
//! |---|---|
//! | `checkpoint` | the signed note, with the cosignatures of witnesses where there are any |
//! | `log.vkey` | the log's key |
//! | `tile/<level>/<n>` | hashes of the tree |
//! | `tile/entries/<n>` | headers of entries, which are what the leaves are made of |
//! | `bodies/<n>` | frames with salts and bodies, in an export that discloses them |
//! | `log.pruned` | where retention has removed entries: the statement; there are no bundles of them |
//!
//! Knows an export, not the log that it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::chain::Link;
use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::durable::IoError;
use crate::entry::Header;
use crate::finding::{Code, Finding};
use crate::frame;
use crate::hash::{Hash, hex};
use crate::key::VerifierKey;
use crate::merkle::{Frontier, TILE_HEIGHT};
use crate::pruned::Pruned;
use crate::report::{
    Verdict, Witnessing, pruned_json, write_findings, write_pruned, write_vouchers,
};
use crate::segment::VKEY_FILE;
use crate::verify::{VerifyError, VerifyOptions, kept_findings, kept_sizes, stored_key};
use crate::walk::Stop;

/// The newest checkpoint.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// Bundles of headers.
pub(crate) const ENTRIES: &str = "tile/entries";
/// Bundles of frames.
pub(crate) const BODIES: &str = "bodies";
/// Hashes or entries in a full file.
pub(crate) const TILE_WIDTH: u64 = 1 << TILE_HEIGHT;

/// The folder of a level of the tree.
pub(crate) fn tile_level(level: usize) -> String {
    format!("tile/{level}")
}

/// The path of a tile by its index: groups of three digits, all but the last marked with an x; a tile
/// that is not full has its width after it.
pub(crate) fn tile_path(mut tile: u64, width: u64) -> String {
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

/// What a check of an export found.
#[derive(Debug, Clone)]
pub struct ExportReport {
    /// The checkpoint that is to vouch for it, if it is one.
    pub checkpoint: Option<SignedCheckpoint>,
    /// Whether the key came from outside the export.
    pub key_trusted: bool,
    /// Entries found intact.
    pub entries: u64,
    /// How many of them are shown with their bodies; `None` for an export without.
    pub bodies: Option<u64>,
    /// What retention had removed from the log: of these entries the hashes are here.
    pub pruned: Option<Pruned>,
    /// Kept checkpoints that it was held against.
    pub kept: usize,
    /// Whether witnesses vouch for it.
    pub witnessing: Witnessing,
    /// What is wrong; the first is the first bad place.
    pub findings: Vec<Finding>,
}

impl ExportReport {
    /// The answer.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if !self.findings.is_empty() {
            Verdict::Tampered
        } else if self.witnessing.is_unmet() {
            Verdict::Unwitnessed
        } else {
            Verdict::Intact
        }
    }

    /// As [`Verdict::exit_code`].
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.verdict().exit_code()
    }

    /// For machines.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let checkpoint = self.checkpoint.as_ref();
        json!({
            "version": 1,
            "verdict": self.verdict().name(),
            "origin": checkpoint.map(SignedCheckpoint::origin),
            "key_trusted": self.key_trusted,
            "entries": self.entries,
            "bodies": self.bodies,
            "pruned": pruned_json(self.pruned.as_ref()),
            "kept_checkpoints": self.kept,
            "witnessed": self.witnessing.to_json(),
            "size": checkpoint.map(SignedCheckpoint::size),
            "root": checkpoint.map(|checkpoint| hex(&checkpoint.root().0)),
            "checkpoint": checkpoint.map(SignedCheckpoint::note),
            "findings": self.findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
        })
    }
}

/// The result in words, several lines.
impl fmt::Display for ExportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bodies = match self.bodies {
            None => "bodies are not shown".to_owned(),
            Some(shown) => format!("{shown} of them with their bodies"),
        };
        let entries = self.entries;
        match self.verdict() {
            Verdict::Tampered => writeln!(
                f,
                "TAMPERED: the export is not what was signed. Intact up to there: {entries} entries."
            )?,
            Verdict::Unwitnessed => writeln!(
                f,
                "UNWITNESSED: the export has all {entries} entries of its checkpoint, but nobody whom the policy asks for says that they are the log."
            )?,
            _ => writeln!(
                f,
                "INTACT: the export has all {entries} entries of its checkpoint as they were signed; {bodies}."
            )?,
        }
        write_findings(f, &self.findings)?;
        if self.findings.is_empty() {
            write_pruned(f, self.pruned.as_ref())?;
        }
        if let Some(checkpoint) = &self.checkpoint {
            let origin = checkpoint.origin().escape_debug();
            let (size, root) = (checkpoint.size(), checkpoint.root());
            writeln!(f, "  checkpoint: {origin}, size {size}, root {root}")?;
        }
        write_vouchers(f, self.kept, &self.findings, &self.witnessing)?;
        if !self.key_trusted {
            writeln!(
                f,
                "  note: the key was taken from the export itself, so whoever made it chose it; give the key with --key"
            )?;
        }
        Ok(())
    }
}

/// Checks the export in `dir`: every tile, header and body that belongs to its checkpoint. `progress` hears
/// how many entries of how many are done.
///
/// # Errors
/// [`VerifyError`] when it can't be read. What is wrong with it is in the report.
pub fn verify_export(
    dir: &Path,
    options: &VerifyOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<ExportReport, VerifyError> {
    let path = dir.join(CHECKPOINT);
    let text = std::fs::read(&path)
        .map_err(|source| IoError::new("read the checkpoint of the export", &path, source))?;
    let claimed = stored_key(dir)?.flatten();
    let given = options.trusted_key(claimed.as_ref());
    let mut report = ExportReport {
        checkpoint: None,
        key_trusted: given.is_some(),
        entries: 0,
        bodies: dir.join(BODIES).is_dir().then_some(0),
        pruned: None,
        kept: options.checkpoints.len(),
        witnessing: Witnessing::NotAsked,
        findings: Vec::new(),
    };
    let Some(key) = given.or(claimed) else {
        let what = "the key is missing from the export, or altered; give it with --key";
        report
            .findings
            .push(Finding::new(Code::Vkey, what).in_file(VKEY_FILE, 0));
        return Ok(report);
    };
    let chain_id = key
        .chain_id()
        .ok_or_else(|| VerifyError::ForeignKey(key.name().to_owned()))?;
    let checkpoint = match signed(&text, &key) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            let code = match error {
                CheckpointError::Malformed(_) => Code::CheckpointDamaged,
                _ => Code::CheckpointSignature,
            };
            report
                .findings
                .push(Finding::new(code, error.to_string()).in_file(CHECKPOINT, 0));
            return Ok(report);
        }
    };
    report.checkpoint = Some(checkpoint.clone());
    report.pruned = match Pruned::read(dir, &key) {
        Ok(pruned) => pruned,
        Err(Stop::Io(error)) => return Err(error.into()),
        Err(Stop::Found(finding)) => {
            report.findings.push(*finding);
            return Ok(report);
        }
    };
    let mut check = Check {
        dir: dir.to_path_buf(),
        link: Link::genesis(chain_id),
        frontier: Frontier::default(),
        levels: Vec::new(),
        roots: kept_sizes(options),
        bodies: report.bodies,
        pruned: report.pruned.clone(),
    };
    match check.run(&checkpoint, progress) {
        Ok(()) => kept_findings(
            options,
            &key,
            &check.roots,
            checkpoint.size(),
            &mut report.findings,
        ),
        Err(Stop::Found(finding)) => report.findings.push(*finding),
        Err(Stop::Io(error)) => return Err(error.into()),
    }
    report.entries = check.link.next_seq;
    report.bodies = check.bodies;
    report.witnessing = options.witnessing(Some(&checkpoint));
    Ok(report)
}

/// The one checkpoint in `text`, which the log's key signed.
fn signed(text: &[u8], key: &VerifierKey) -> Result<SignedCheckpoint, CheckpointError> {
    let text = std::str::from_utf8(text)
        .map_err(|_| CheckpointError::Malformed("it is not UTF-8 text"))?;
    let mut notes = SignedCheckpoint::parse_all(text)?;
    match (notes.pop(), notes.is_empty()) {
        (Some(checkpoint), true) => checkpoint.verify(key).map(|()| checkpoint),
        _ => Err(CheckpointError::Malformed("there is more than one")),
    }
}

/// An export, as it is walked.
struct Check {
    dir: PathBuf,
    link: Link,
    frontier: Frontier,
    /// Hashes that the entries give, for the tile of each level that is not full yet.
    levels: Vec<(u64, Vec<u8>)>,
    /// Roots at the sizes of kept checkpoints, as they are passed.
    roots: BTreeMap<u64, Option<Hash>>,
    bodies: Option<u64>,
    pruned: Option<Pruned>,
}

impl Check {
    fn run(
        &mut self,
        checkpoint: &SignedCheckpoint,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), Stop> {
        let size = checkpoint.size();
        if let Some(pruned) = &self.pruned {
            pruned.check_place(size)?;
        }
        let begin = Pruned::first_bundle(self.pruned.as_ref());
        for tile in 0..begin {
            for leaf in self.leaves(tile, TILE_WIDTH)? {
                self.removed(leaf)?;
            }
            progress(self.link.next_seq, size);
        }
        for tile in begin..size.div_ceil(TILE_WIDTH) {
            let start = tile * TILE_WIDTH;
            self.bundle(tile, (size - start).min(TILE_WIDTH))?;
            progress(self.link.next_seq, size);
        }
        for level in 0..self.levels.len() {
            let (tile, _) = self.levels[level];
            self.tile(level, tile)?;
        }
        if self.frontier.root() == *checkpoint.root() {
            return Ok(());
        }
        let what = "the entries are not those that the checkpoint signed, though each is whole and in its place";
        Err(Finding {
            until: Some(size.saturating_sub(1)),
            ..Finding::new(Code::Root, what).at(0)
        }
        .into())
    }

    /// A tile of hashes of entries.
    fn leaves(&self, tile: u64, width: u64) -> Result<Vec<Hash>, Stop> {
        let name = format!("{}/{}", tile_level(0), tile_path(tile, width));
        let bytes = self.read(&name, tile * TILE_WIDTH)?;
        if bytes.len() as u64 != width * Hash::LEN as u64 {
            let what = "a tile of hashes is not as long as it says";
            return Err(Finding::new(Code::Tree, what).in_file(name, 0).into());
        }
        let leaves = bytes.chunks_exact(Hash::LEN);
        Ok(leaves.filter_map(Hash::from_slice).collect())
    }

    /// An entry of which the hash alone is here.
    fn removed(&mut self, leaf: Hash) -> Result<(), Stop> {
        self.link.next_seq += 1;
        self.link.prev = leaf;
        self.grow(leaf)
    }

    fn bundle(&mut self, tile: u64, width: u64) -> Result<(), Stop> {
        let name = format!("{ENTRIES}/{}", tile_path(tile, width));
        let entries = self.read(&name, tile * TILE_WIDTH)?;
        let frames = match self.bodies {
            Some(_) => {
                let name = format!("{BODIES}/{}", tile_path(tile, width));
                Some((self.read(&name, tile * TILE_WIDTH)?, name))
            }
            None => None,
        };
        let (mut at, mut body_at) = (0, 0);
        let removed = self.pruned.as_ref().map_or(0, Pruned::size);
        let removed = removed.saturating_sub(tile * TILE_WIDTH).min(width);
        if removed > 0 {
            let leaves = self.leaves(tile, width)?;
            let empty = usize::try_from(removed).unwrap_or(usize::MAX);
            // Their places are empty: a length of zero.
            at = 2 * empty;
            if entries.get(..at).is_none_or(|places| places.iter().any(|byte| *byte != 0)) {
                let what = "the places of removed entries are not empty";
                return Err(Finding::new(Code::EntryDamaged, what).in_file(name, 0).into());
            }
            for leaf in leaves.into_iter().take(empty) {
                self.removed(leaf)?;
            }
        }
        for _ in removed..width {
            let header = self.entry(&entries, &mut at, &name)?;
            if let Some((bytes, name)) = &frames {
                self.body(bytes, &mut body_at, header, name)?;
            }
        }
        let end = |len: usize, at: usize, name: &str| match len == at {
            true => Ok(()),
            false => Err(Finding::new(
                Code::EntryDamaged,
                "something follows the last entry of the file",
            )
            .in_file(name, at as u64)),
        };
        end(entries.len(), at, &name)?;
        if let Some((bytes, name)) = &frames {
            end(bytes.len(), body_at, name)?;
        }
        Ok(())
    }

    /// The next header of a bundle.
    fn entry<'a>(&mut self, bytes: &'a [u8], at: &mut usize, name: &str) -> Result<&'a [u8], Stop> {
        let seq = self.link.next_seq;
        let bad = |code, what: String| Finding::new(code, what).at(seq).in_file(name, *at as u64);
        let rest = &bytes[*at..];
        let header = rest
            .split_first_chunk::<2>()
            .and_then(|(len, rest)| rest.get(..usize::from(u16::from_be_bytes(*len))));
        let Some(header) = header else {
            return Err(bad(Code::EntryDamaged, "the entry is cut off".to_owned()).into());
        };
        let decoded =
            Header::decode(header).map_err(|error| bad(Code::EntryDamaged, error.to_string()))?;
        let leaf = Hash::leaf(header);
        // An export does not tell where segments begin, and time may fall from one to the next.
        self.link.floor = 0;
        self.link
            .follow(&decoded, &leaf)
            .map_err(|error| bad(Code::Chain, error.to_string()))?;
        if let Some(pruned) = self.pruned.as_ref().filter(|pruned| pruned.told() == seq) {
            pruned.check_telling(Some(decoded.kind))?;
        }
        *at += 2 + header.len();
        self.grow(leaf)?;
        Ok(header)
    }

    /// The frame of the entry with this header.
    fn body(
        &mut self,
        bytes: &[u8],
        at: &mut usize,
        header: &[u8],
        name: &str,
    ) -> Result<(), Stop> {
        let seq = self.link.next_seq - 1;
        let bad = |what: String| {
            Finding::new(Code::EntryDamaged, what)
                .at(seq)
                .in_file(name, *at as u64)
        };
        let frame = frame::parse(&bytes[*at..]).map_err(|error| bad(error.to_string()))?;
        if frame.header_bytes != header {
            return Err(bad("the body shown here is that of another entry".to_owned()).into());
        }
        if let (Some(count), Some(_)) = (&mut self.bodies, frame.payload) {
            *count += 1;
        }
        *at += frame.len;
        Ok(())
    }

    fn grow(&mut self, leaf: Hash) -> Result<(), Stop> {
        let levels = &mut self.levels;
        let mut full = Vec::new();
        self.frontier.push(leaf, |height, hash| {
            if !height.is_multiple_of(TILE_HEIGHT) {
                return;
            }
            let level = (height / TILE_HEIGHT) as usize;
            if levels.len() <= level {
                levels.push((0, Vec::new()));
            }
            let (tile, row) = &mut levels[level];
            row.extend_from_slice(&hash.0);
            if row.len() as u64 == TILE_WIDTH * Hash::LEN as u64 {
                full.push((level, *tile));
            }
        });
        if let Some(root) = self.roots.get_mut(&self.frontier.size()) {
            *root = Some(self.frontier.root());
        }
        let pruned = self.pruned.as_ref();
        if let Some(pruned) = pruned.filter(|pruned| pruned.size() == self.frontier.size()) {
            pruned.check_root(Some(self.frontier.root()))?;
        }
        for (level, tile) in full {
            self.tile(level, tile)?;
            self.levels[level] = (tile + 1, Vec::new());
        }
        Ok(())
    }

    /// Compares a tile with what the entries give; there is none without hashes.
    fn tile(&self, level: usize, tile: u64) -> Result<(), Stop> {
        let row = &self.levels[level].1;
        let width = (row.len() / Hash::LEN) as u64;
        if width == 0 {
            return Ok(());
        }
        let name = format!("{}/{}", tile_level(level), tile_path(tile, width));
        let first = (0..=level).fold(tile, |first, _| first * TILE_WIDTH);
        let stored = self.read(&name, first)?;
        if stored == *row {
            return Ok(());
        }
        let at = stored
            .iter()
            .zip(row)
            .take_while(|(stored, row)| stored == row)
            .count();
        let what =
            "a hash of the tree is not that of the entries, which are intact: the file was altered";
        Err(Finding::new(Code::Tree, what)
            .in_file(name, (at / Hash::LEN * Hash::LEN) as u64)
            .into())
    }

    fn read(&self, name: &str, first: u64) -> Result<Vec<u8>, Stop> {
        let path = self.dir.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let what = "a file of the export is missing";
                Err(Finding::new(Code::SegmentMissing, what)
                    .at(first)
                    .in_file(name, 0)
                    .into())
            }
            Err(source) => Err(Stop::Io(IoError::new("read", &path, source))),
        }
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
