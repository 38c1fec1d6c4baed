//! Where in a segment's file some of its entries begin, found out once and kept.

use std::collections::HashMap;

use super::{ReadError, Reader, scan_error};
use crate::segment::{SEGMENT_HEADER_LEN, SegmentFiles};

/// Entries from one mark to the next.
pub(super) const STRIDE: u64 = 128;
/// Segments whose marks are kept: of 64 MiB each, enough for a hundred million entries.
const KEPT: usize = 512;

/// A place to begin reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) seq: u64,
    pub(super) offset: u64,
    time: u64,
}

#[derive(Default)]
struct Marks {
    marks: Vec<Mark>,
    /// The first entry not passed yet and where it begins.
    next: Option<(u64, u64)>,
}

/// Marks of the segments that were looked into.
#[derive(Default)]
pub(super) struct MarkCache {
    segments: HashMap<u64, Marks>,
}

impl MarkCache {
    /// The last mark not after `seq`, which is before `end`, the end of what is signed in the segment.
    pub(super) fn before_seq(
        &mut self,
        reader: &Reader,
        files: &SegmentFiles,
        seq: u64,
    ) -> Result<Mark, ReadError> {
        let marks = self.of(files).through(reader, files, seq)?;
        let at = marks
            .partition_point(|mark| mark.seq <= seq)
            .saturating_sub(1);
        Ok(marks.get(at).copied().unwrap_or(first(files)))
    }

    /// A mark such that no entry before it is as late as `time`.
    pub(super) fn before_time(
        &mut self,
        reader: &Reader,
        files: &SegmentFiles,
        end: u64,
        time: u64,
    ) -> Result<u64, ReadError> {
        let marks = self.of(files).through(reader, files, end.saturating_sub(1))?;
        let at = marks
            .partition_point(|mark| mark.time < time)
            .saturating_sub(1);
        Ok(marks.get(at).map_or(files.first_seq, |mark| mark.seq))
    }

    fn of(&mut self, files: &SegmentFiles) -> &mut Marks {
        if self.segments.len() >= KEPT && !self.segments.contains_key(&files.first_seq) {
            self.segments.clear();
        }
        self.segments.entry(files.first_seq).or_default()
    }
}

fn first(files: &SegmentFiles) -> Mark {
    Mark {
        seq: files.first_seq,
        offset: SEGMENT_HEADER_LEN as u64,
        time: 0,
    }
}

impl Marks {
    /// The marks, set at least as far as `seq`.
    fn through(
        &mut self,
        reader: &Reader,
        files: &SegmentFiles,
        seq: u64,
    ) -> Result<&[Mark], ReadError> {
        let Mark {
            seq: begin, offset, ..
        } = first(files);
        let (mut next, offset) = self.next.unwrap_or((begin, offset));
        if next <= seq {
            let mut scan = reader.scan(files, offset)?;
            while next <= seq {
                let offset = scan.offset();
                // Only marked entries are decoded; the others are passed over by their length.
                if (next - begin) % STRIDE == 0 {
                    let Some(frame) = scan.next().map_err(|error| scan_error(error, files))? else {
                        break;
                    };
                    self.marks.push(Mark {
                        seq: next,
                        offset,
                        time: frame.header.time,
                    });
                } else if !scan.skip().map_err(|error| scan_error(error, files))? {
                    break;
                }
                next += 1;
                self.next = Some((next, scan.offset()));
            }
        }
        Ok(&self.marks)
    }
}
