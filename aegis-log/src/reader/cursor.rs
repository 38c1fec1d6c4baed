//! Going through entries in either direction.

use super::marks::STRIDE;
use super::{Entry, ReadError, Reader, read_entry};
use crate::finding::{Code, Finding};
use crate::scan::FrameScan;

/// A place in the log from which entries are read forward.
pub(super) struct Cursor {
    next: u64,
    /// The segment being read, by index, with its file.
    open: Option<(usize, FrameScan)>,
}

impl Cursor {
    pub(super) fn at(seq: u64) -> Self {
        Self {
            next: seq,
            open: None,
        }
    }

    /// The next entry; `None` where the signed part of the log ends.
    pub(super) fn next(&mut self, reader: &Reader) -> Result<Option<Entry>, ReadError> {
        if self.next >= reader.size() {
            return Ok(None);
        }
        let missing = |seq: u64, file: String, offset| {
            Finding::new(Code::EntryMissing, "the entry that belongs here is missing")
                .at(seq)
                .in_file(file, offset)
        };
        let (index, mut scan) = match self.open.take() {
            Some((index, scan)) if self.next < reader.end_of(index) => (index, scan),
            _ => self.seek(reader)?,
        };
        let files = &reader.segments[index];
        loop {
            let offset = scan.offset();
            let entry = read_entry(&mut scan, files)?
                .ok_or_else(|| missing(self.next, files.entries_name(), offset))?;
            // A mark may lie before the entry that is wanted.
            if entry.header.seq < self.next {
                continue;
            }
            if entry.header.seq > self.next {
                return Err(missing(self.next, files.entries_name(), offset).into());
            }
            self.next += 1;
            self.open = Some((index, scan));
            return Ok(Some(entry));
        }
    }

    fn seek(&self, reader: &Reader) -> Result<(usize, FrameScan), ReadError> {
        if self.next < reader.first() {
            let (seq, first) = (self.next, reader.first());
            return Err(ReadError::Pruned { seq, first });
        }
        self.locate(reader).map_err(|error| reader.gone(self.next, error))
    }

    fn locate(&self, reader: &Reader) -> Result<(usize, FrameScan), ReadError> {
        let gone = || Finding::new(Code::SegmentMissing, "the segment is missing").at(self.next);
        let index = reader.segment_index(self.next).ok_or_else(gone)?;
        let files = &reader.segments[index];
        let mark = reader.marks().before_seq(reader, files, self.next)?;
        let mut scan = reader.scan(files, mark.offset)?;
        for _ in mark.seq..self.next {
            scan.skip()
                .map_err(|error| super::scan_error(error, files))?;
        }
        Ok((index, scan))
    }

    /// Forgets what was read ahead while it was not signed yet.
    fn resume(&mut self) {
        if let Some((_, scan)) = &mut self.open {
            scan.resume();
        }
    }
}

/// Entries in order. After an error there are no more.
pub struct Entries<'a> {
    reader: &'a Reader,
    cursor: Option<Cursor>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(reader: &'a Reader, seq: u64) -> Self {
        Self {
            reader,
            cursor: Some(Cursor::at(seq)),
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.cursor.as_mut()?.next(self.reader).transpose();
        if !matches!(next, Some(Ok(_))) {
            self.cursor = None;
        }
        next
    }
}

/// Entries in reverse order. After an error there are no more.
pub struct EntriesBackward<'a> {
    reader: &'a Reader,
    /// All entries from here on were handed out or are in `block`.
    before: u64,
    /// Entries read forward, handed out from the end.
    block: Vec<Entry>,
}

impl<'a> EntriesBackward<'a> {
    pub(super) fn new(reader: &'a Reader, before: u64) -> Self {
        Self {
            reader,
            before: before.min(reader.size()),
            block: Vec::new(),
        }
    }

    fn fill(&mut self) -> Result<(), ReadError> {
        let last = self.before.checked_sub(1);
        let Some(last) = last.filter(|&last| last >= self.reader.first()) else {
            return Ok(());
        };
        let first = self
            .reader
            .segment_of(last)
            .map_or(0, |files| files.first_seq);
        // Blocks begin at marks, so that none is read over twice.
        let start = last - (last - first) % STRIDE;
        let mut cursor = Cursor::at(start);
        for _ in start..self.before {
            self.block.extend(cursor.next(self.reader)?);
        }
        self.before = start;
        Ok(())
    }
}

impl Iterator for EntriesBackward<'_> {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.block.is_empty()
            && let Err(error) = self.fill()
        {
            self.before = 0;
            self.block.clear();
            return Some(Err(error));
        }
        self.block.pop().map(Ok)
    }
}

/// Entries as they are signed.
pub struct Follow {
    reader: Reader,
    cursor: Cursor,
}

impl Follow {
    pub(super) fn new(reader: Reader, seq: u64) -> Self {
        Self {
            reader,
            cursor: Cursor::at(seq),
        }
    }

    /// Up to `max` entries that have not been handed out yet. None: there is nothing new; ask again later.
    ///
    /// # Errors
    /// [`ReadError`]; entries read before it are handed out again by the next call.
    pub fn next_batch(&mut self, max: usize) -> Result<Vec<Entry>, ReadError> {
        if self.cursor.next >= self.reader.size() {
            self.cursor.resume();
            self.reader.refresh()?;
        }
        let start = self.cursor.next;
        let mut batch = Vec::new();
        while batch.len() < max {
            match self.cursor.next(&self.reader) {
                Ok(Some(entry)) => batch.push(entry),
                Ok(None) => break,
                Err(error) => {
                    self.cursor = Cursor::at(start);
                    return Err(error);
                }
            }
        }
        Ok(batch)
    }

    /// The next sequence number to be handed out.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.cursor.next
    }

    /// The reader, as of the last batch.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }
}
