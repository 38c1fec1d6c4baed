//! The stored tree beside the one that the entries make.

use std::path::{Path, PathBuf};

use crate::durable::IoError;
use crate::finding::{Code, Finding};
use crate::hash::Hash;
use crate::report::Report;
use crate::segment::tree_name;
use crate::tree::{LevelScan, TreeReader, level_len};

/// The trace that a cut log leaves in the tree.
pub(crate) fn tree_beyond(dir: &Path, size: u64) -> Option<Finding> {
    let stored = TreeReader::new(dir).file_len(0) / Hash::LEN as u64;
    (stored > size).then(|| {
        let what = format!("the end of the log was cut off: its tree remembers {stored} signed entries, the last checkpoint has {size}");
        Finding { until: Some(stored - 1), ..Finding::new(Code::EntryMissing, what).at(size).in_file(crate::segment::tree_name(0), size * Hash::LEN as u64) }
    })
}

pub(super) fn tree_findings(
    dir: &Path,
    size: u64,
    levels: &mut Levels,
    report: &mut Report,
) -> Result<(), IoError> {
    if let Some(error) = levels.failed.take() {
        return Err(error);
    }
    report.tree_incomplete = levels.missing;
    report.findings.extend(levels.differs.take());
    if report.live {
        // The writer adds to the tree while we look.
        return Ok(());
    }
    report.findings.extend(tree_beyond(dir, size));
    let tree = TreeReader::new(dir);
    for level in 0..8 {
        let expected = level_len(size, level) * Hash::LEN as u64;
        if report.findings.is_empty() && tree.file_len(level) > expected {
            let what = "the stored tree goes on after its end: something was added to the file";
            report
                .findings
                .push(Finding::new(Code::Tree, what).in_file(tree_name(level), expected));
        }
    }
    Ok(())
}

/// Whether a stored hash is what a power cut leaves of `hash`: its beginning, then zeros. Fewer than
/// four zeros may as well be the work of a person, and no disk writes in such pieces.
fn is_torn(stored: &Hash, hash: &Hash) -> bool {
    let same = stored
        .0
        .iter()
        .zip(&hash.0)
        .take_while(|(stored, hash)| stored == hash)
        .count();
    let rest = &stored.0[same..];
    rest.len() >= 4 && rest.iter().all(|&byte| byte == 0)
}

/// The stored tree beside the one that is computed.
pub(super) struct Levels {
    dir: PathBuf,
    scans: Vec<(LevelScan, u64)>,
    /// Hashes that are not there, or were never written.
    missing: bool,
    differs: Option<Finding>,
    failed: Option<IoError>,
}

impl Levels {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
            scans: Vec::new(),
            missing: false,
            differs: None,
            failed: None,
        }
    }

    pub(super) fn compare(&mut self, level: usize, hash: &Hash) {
        match self.stored(level) {
            Ok((Some(stored), _)) if stored == *hash => {}
            Ok((None, _)) => self.missing = true,
            Ok((Some(stored), _)) if is_torn(&stored, hash) => self.missing = true,
            Ok((Some(_), index)) => {
                let finding = || {
                    Finding::new(Code::Tree, "a stored hash of the tree is not that of the entries, which are intact: the file was altered")
                        .in_file(tree_name(level), index * Hash::LEN as u64)
                };
                self.differs.get_or_insert_with(finding);
            }
            Err(error) => self.failed = Some(error),
        }
    }

    fn stored(&mut self, level: usize) -> Result<(Option<Hash>, u64), IoError> {
        while self.scans.len() <= level {
            self.scans
                .push((LevelScan::open(&self.dir, self.scans.len(), 0)?, 0));
        }
        let (scan, index) = &mut self.scans[level];
        let at = *index;
        *index += 1;
        Ok((scan.next()?, at))
    }
}
