//! Cutting off what follows the signed log, and what there is to tell of it.

use std::fmt;
use std::path::{Path, PathBuf};

use super::end::{SignedLog, Walked};
use super::{OpenError, empty_state};
use crate::batch::{SegmentTip, State};
use crate::durable::{self, AppendFile, IoError, PRIVATE};
use crate::finding::{Code, Finding};
use crate::hash::Hash;
use crate::key::SigningKey;
use crate::merkle::Frontier;
use crate::pruned::Pruned;
use crate::report::EntryInfo;
use crate::encrypted::Keys;
use crate::scan::{FrameScan, ScanError};
use crate::segment::{CUT_SUFFIX, Catalog, SegmentFiles, SegmentHeader};
use crate::tree::{TreeReader, TreeWriter};
use crate::verify::levels::tree_beyond;
use crate::walk::order::impossible_names;
use crate::walk::{SignedEnd, Tail};

/// What was repaired when the log was opened. All of it lay after the last checkpoint, or was made from
/// what lies before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The next sequence number; whatever had it or a later one was not signed.
    pub at_seq: u64,
    /// Whole entries that were cut off. They had been written but never reported durable.
    pub entries_cut: u64,
    /// Bytes that were cut off, torn entries included.
    pub bytes_cut: u64,
    /// Where they were set aside.
    pub saved_as: Option<PathBuf>,
    /// SHA-256 of them.
    pub sha256: Option<Hash>,
    /// What an earlier start set aside at the same place, each with its SHA-256: no entry tells of it yet,
    /// since nothing was signed in between.
    pub earlier: Vec<(PathBuf, Hash)>,
    /// Whether a checkpoint was cut short.
    pub torn_checkpoint: bool,
    /// Whether the stored hashes of the tree were made anew from the entries.
    pub tree_rebuilt: bool,
}

/// A sentence for the log.
impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "after an unclean end, from entry {} on: {} unsigned entries ({} bytes) cut off",
            self.at_seq, self.entries_cut, self.bytes_cut
        )?;
        if let (Some(path), Some(sha256)) = (&self.saved_as, &self.sha256) {
            write!(f, ", set aside as {} with SHA-256 {sha256}", path.display())?;
        }
        for (path, sha256) in &self.earlier {
            write!(
                f,
                "; an earlier start set aside {} with SHA-256 {sha256}",
                path.display()
            )?;
        }
        if self.torn_checkpoint {
            write!(f, "; a torn checkpoint removed")?;
        }
        if self.tree_rebuilt {
            write!(f, "; stored tree made anew")?;
        }
        Ok(())
    }
}

/// A log ready to go on.
pub(super) struct Recovered {
    pub(super) state: State,
    pub(super) tree: TreeWriter,
    pub(super) last: Option<EntryInfo>,
    pub(super) repaired: Option<Recovery>,
    /// Why something of removed entries is still there.
    pub(super) leftover: Option<String>,
}

/// The chain id in the first segment, for a log whose verifier key file was lost.
pub(super) fn chain_id(dir: &Path, catalog: &Catalog) -> Result<[u8; 16], OpenError> {
    let gone = || Finding::new(Code::SegmentMissing, "no segment says whose log this is");
    let mut kept = catalog.segments.iter().filter(|files| files.has_entries);
    let files = kept.next().ok_or_else(gone)?;
    let path = files.entries_path(dir);
    let header = SegmentHeader::of_file(&path)?;
    let id = header.map(|header| header.chain_id());
    id.ok_or_else(|| gone().in_file(files.entries_name(), 0).into())
}

/// Checks the end of the log and cuts off what nobody signed.
pub(super) fn recover(
    dir: &Path,
    key: &SigningKey,
    catalog: &Catalog,
) -> Result<Recovered, OpenError> {
    let verifier = key.verifier();
    let Some(chain_id) = verifier.chain_id() else {
        return Err(OpenError::KeyMismatch(dir.join(crate::segment::VKEY_FILE)));
    };
    if let Some(finding) = impossible_names(catalog).next() {
        return Err(finding.into());
    }
    let pruned = Pruned::read(dir, verifier)?;
    let Some(last) = catalog.segments.last() else {
        if let Some(finding) = tree_beyond(dir, 0) {
            return Err(finding.into());
        }
        return Ok(Recovered {
            state: empty_state(key, chain_id),
            tree: TreeWriter::open(dir, 0)?,
            last: None,
            repaired: told(dir, catalog, Recovery::default())?,
            leftover: None,
        });
    };
    let log = SignedLog {
        dir,
        key: verifier,
        chain_id,
        catalog,
        pruned,
    };
    let mut leftover = None;
    let (walked, tree, tree_rebuilt) = log.end()?;
    let mut repair = Recovery {
        at_seq: walked.link.next_seq,
        tree_rebuilt,
        ..Recovery::default()
    };
    if let Some(pruned) = &log.pruned {
        hold_against(pruned, &log, &walked)?;
        // What can't be removed does not count any more; it is told and tried again.
        let removed = remove_pruned(dir, catalog, pruned.size());
        leftover = removed.err().map(|error| error.to_string());
    }
    let segment = cut_tail(dir, last, &walked, &mut repair)?;
    let checkpoint = match walked.checkpoint {
        Some(checkpoint) => checkpoint,
        None => empty_state(key, chain_id).checkpoint,
    };
    let state = State {
        link: walked.link,
        frontier: walked.frontier,
        checkpoint,
        segment,
        hour: None,
    };
    Ok(Recovered {
        state,
        tree,
        last: walked.last,
        repaired: told(dir, catalog, repair)?,
        leftover,
    })
}

/// What is said to have been removed was the log's, ended with a segment, and an entry tells of it.
fn hold_against(pruned: &Pruned, log: &SignedLog<'_>, walked: &Walked) -> Result<(), OpenError> {
    let begins = |files: &SegmentFiles| files.first_seq == pruned.size();
    let stored = Frontier::load(&TreeReader::new(log.dir), pruned.size()).ok();
    let root = stored.filter(|_| log.catalog.segments.iter().any(begins));
    pruned.check_root(root.map(|frontier| frontier.root()))?;
    Ok(pruned.check_place(walked.link.next_seq)?)
}

/// Removes the entries of segments that retention removes: what there was of them when it was last at work.
pub(crate) fn remove_pruned(dir: &Path, catalog: &Catalog, size: u64) -> Result<(), IoError> {
    let of_removed = |files: &&SegmentFiles| files.first_seq < size && files.has_entries;
    for files in catalog.segments.iter().filter(of_removed) {
        durable::remove(&files.entries_path(dir))?;
    }
    durable::sync_dir(dir)
}

/// What there is to tell of a repair, with what earlier ones left untold; `None` if nothing.
fn told(
    dir: &Path,
    catalog: &Catalog,
    mut repair: Recovery,
) -> Result<Option<Recovery>, OpenError> {
    let untouched = Recovery {
        at_seq: repair.at_seq,
        ..Recovery::default()
    };
    let here = format!("{:020}-", repair.at_seq);
    for name in catalog.cut.iter().filter(|name| name.starts_with(&here)) {
        let path = dir.join(name);
        if repair.saved_as.as_ref() != Some(&path) {
            let bytes =
                std::fs::read(&path).map_err(|source| IoError::new("read", &path, source))?;
            repair.earlier.push((path, Hash::of(&bytes)));
        }
    }
    Ok((repair != untouched).then_some(repair))
}

/// Sets aside and cuts off what follows the last checkpoint, and returns the segment to go on with.
fn cut_tail(
    dir: &Path,
    last: &SegmentFiles,
    walked: &Walked,
    repair: &mut Recovery,
) -> Result<Option<SegmentTip>, OpenError> {
    let SignedEnd {
        entries_len,
        notes_len,
        tail,
    } = &walked.end;
    let path = last.entries_path(dir);
    if tail.bytes > 0 {
        set_aside(dir, &path, *entries_len, tail, repair)?;
    }
    repair.torn_checkpoint = tail.note_bytes > 0;
    if *entries_len == 0 {
        // Nothing in this segment is signed; its opening checkpoint repeats the one before.
        durable::remove_in_turn(dir, &[&path, &last.notes_path(dir)])?;
        return Ok(None);
    }
    if SegmentHeader::is_encrypted(&path)? {
        // It had ended; what followed it was never signed and is gone. The next entry begins another.
        return Ok(None);
    }
    cut(&path, *entries_len, tail.bytes)?;
    cut(&last.notes_path(dir), *notes_len, tail.note_bytes)?;
    Ok(Some(SegmentTip {
        first_seq: last.first_seq,
        day: last.day,
        len: *entries_len,
    }))
}

fn set_aside(
    dir: &Path,
    path: &Path,
    from: u64,
    tail: &Tail,
    repair: &mut Recovery,
) -> Result<(), OpenError> {
    let len = usize::try_from(tail.bytes)
        .map_err(|_| IoError::new("read", path, std::io::ErrorKind::FileTooLarge.into()))?;
    let read = || FrameScan::open(path, from, &Keys::none())?.raw(len);
    let bytes = read().map_err(|error| match error {
        ScanError::Io(error) => error,
        ScanError::Frame { error, .. } => IoError::new("read", path, std::io::Error::other(error)),
    })?;
    let sha256 = Hash::of(&bytes);
    let name = format!(
        "{:020}-{}{CUT_SUFFIX}",
        repair.at_seq,
        &sha256.to_string()[..16]
    );
    let saved = dir.join(name);
    durable::replace(&saved, &bytes, PRIVATE)?;
    repair.entries_cut = tail.entries;
    repair.bytes_cut = tail.bytes;
    repair.saved_as = Some(saved);
    repair.sha256 = Some(sha256);
    Ok(())
}

fn cut(path: &Path, len: u64, excess: u64) -> Result<(), IoError> {
    if excess == 0 {
        return Ok(());
    }
    let mut file = AppendFile::open(path, PRIVATE)?;
    file.cut(len)?;
    file.sync()
}
