//! Which files of a log there must be, and how they follow each other.

use crate::finding::{Code, Finding};
use crate::segment::{Catalog, SegmentFiles};

/// Whether the files of the segment that begins with entry `expected` are there. Of the first `pruned` entries the
/// checkpoints are.
pub(crate) fn arrangement(
    expected: u64,
    files: &SegmentFiles,
    is_last: bool,
    pruned: u64,
) -> Result<(), Finding> {
    let missing = |what: String, file: String| {
        Err(Finding::new(Code::SegmentMissing, what)
            .at(expected)
            .in_file(file, 0))
    };
    if files.first_seq > expected {
        return missing(
            format!("the segment that begins with entry {expected} is missing"),
            files.entries_name(),
        );
    }
    if files.first_seq < expected {
        return missing(
            format!(
                "a second segment begins with entry {}, which is already there",
                files.first_seq
            ),
            files.entries_name(),
        );
    }
    if !files.has_notes {
        return missing(
            "the checkpoints of this segment are missing".to_owned(),
            files.notes_name(),
        );
    }
    if !files.has_entries && !is_last && expected >= pruned {
        return missing(
            "the entries of this segment are missing".to_owned(),
            files.entries_name(),
        );
    }
    Ok(())
}

/// A segment that another follows ends with a checkpoint.
pub(crate) fn inner_tail(
    files: &SegmentFiles,
    next_seq: u64,
    is_empty: bool,
) -> Result<(), Finding> {
    if is_empty {
        return Ok(());
    }
    let what = "there is more after the last checkpoint of a segment that is not the last: checkpoints were removed, or entries added";
    Err(Finding::new(Code::CheckpointMissing, what)
        .at(next_seq)
        .in_file(files.entries_name(), 0))
}

/// Files named as if they were part of the log that can't be.
pub(crate) fn impossible_names(catalog: &Catalog) -> impl Iterator<Item = Finding> + '_ {
    catalog.impossible.iter().map(|name| {
        Finding::new(
            Code::SegmentName,
            "the file is named as if it were part of the log, but can't be",
        )
        .in_file(name.clone(), 0)
    })
}
