//! Reading the files of a segment from one end to the other, in memory that does not grow with them.
//!
//! Knows frames and notes one by one; whether they follow each other is for `walk` to say.

pub(crate) mod ahead;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::checkpoint::SignedCheckpoint;
use crate::checkpoint::stored::{StoredNote, match_stored};
use crate::durable::IoError;
use crate::encrypted::file::FileError;
use crate::encrypted::{EncryptedFile, Keys};
use crate::frame::{self, Frame, FrameError, MAX_FRAME};
use crate::key::VerifierKey;

/// How much is read from a file at first: more may not be wanted.
const READ_FIRST: usize = 1 << 12;
/// How much is read at once at most. Each time it is twice as much as before.
const READ_MOST: usize = 1 << 18;
/// More bytes than one stored note can have: origin twice, 20 digits, base64, marks.
const MAX_NOTE: usize = 1024;
/// What a disk writes whole: after a power cut a sector is there or it is not.
const SECTOR: u64 = 512;

/// Where bytes come from.
enum Source {
    File(File),
    /// A segment that gives the bytes it had before it was encrypted.
    Encrypted(Box<EncryptedFile>),
}

impl Source {
    fn read_at(&mut self, out: &mut [u8], offset: u64) -> Result<usize, FileError> {
        match self {
            Self::File(file) => Ok(file.read_at(out, offset)?),
            Self::Encrypted(file) => file.read_at(out, offset),
        }
    }
}

/// A window that moves over a file.
struct Window {
    source: Source,
    path: PathBuf,
    buffer: Vec<u8>,
    /// Where the unread bytes begin in the buffer.
    start: usize,
    /// Where the unread bytes begin in the file.
    offset: u64,
    at_end: bool,
    read_next: usize,
}

impl Window {
    fn open(path: &Path, offset: u64) -> Result<Self, IoError> {
        let file = File::open(path).map_err(|source| IoError::new("open", path, source))?;
        Ok(Self::new(Source::File(file), path, offset))
    }

    fn open_segment(path: &Path, offset: u64, keys: &Keys) -> Result<Self, ScanError> {
        let file = File::open(path).map_err(|source| IoError::new("open", path, source))?;
        let encrypted = EncryptedFile::open(&file, keys);
        let encrypted = encrypted.map_err(|error| ScanError::of(error, path, offset))?;
        let source = encrypted.map_or(Source::File(file), |file| Source::Encrypted(file.into()));
        Ok(Self::new(source, path, offset))
    }

    fn new(source: Source, path: &Path, offset: u64) -> Self {
        Self {
            source,
            path: path.to_path_buf(),
            buffer: Vec::new(),
            start: 0,
            offset,
            at_end: false,
            read_next: READ_FIRST,
        }
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Reads until `need` bytes are there or the file ends.
    fn want(&mut self, need: usize) -> Result<(), ScanError> {
        while self.unread().len() < need && !self.at_end {
            self.buffer.drain(..self.start);
            self.start = 0;
            let have = self.buffer.len();
            self.buffer
                .resize(have + self.read_next.max(need - have), 0);
            self.read_next = READ_MOST.min(2 * self.read_next);
            let from = self.offset + have as u64;
            let read = self.source.read_at(&mut self.buffer[have..], from);
            let read = match read {
                Err(FileError::Io(error)) if error.kind() == std::io::ErrorKind::Interrupted => 0,
                Ok(0) => {
                    self.at_end = true;
                    0
                }
                Ok(read) => read,
                Err(error) => {
                    // What was there before is not lost with it.
                    self.buffer.truncate(have);
                    return Err(ScanError::of(error, &self.path, from));
                }
            };
            self.buffer.truncate(have + read);
        }
        Ok(())
    }

    fn advance(&mut self, len: usize) {
        self.start += len;
        self.offset += len as u64;
    }

    /// Lets a file that has grown be read on. What was read ahead is forgotten: it was not signed then,
    /// and the writer may have taken it back and written something else.
    fn resume(&mut self) {
        self.buffer.truncate(self.start);
        self.at_end = false;
    }
}

/// Why the next entry can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error("{error}")]
    Frame { offset: u64, error: FrameError },
}

impl ScanError {
    fn of(error: FileError, path: &Path, offset: u64) -> Self {
        match error {
            FileError::Io(source) => IoError::new("read", path, source).into(),
            FileError::Damaged(what) => Self::Frame {
                offset,
                error: FrameError::Encrypted(what),
            },
        }
    }
}

/// Entries of a `.seg` file in order. Offsets are those that they had before the segment was encrypted.
pub(crate) struct FrameScan {
    window: Window,
    /// Whether salts and bodies may be missing.
    encrypted: bool,
}

impl FrameScan {
    /// Begins at `offset`, which is the start of a frame, or 0 to read the segment's header first.
    pub(crate) fn open(path: &Path, offset: u64, keys: &Keys) -> Result<Self, ScanError> {
        let window = Window::open_segment(path, offset, keys)?;
        let encrypted = matches!(window.source, Source::Encrypted(_));
        Ok(Self { window, encrypted })
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Bytes of the segment now, as they were before it was encrypted.
    pub(crate) fn len(&self) -> Result<u64, IoError> {
        match &self.window.source {
            Source::Encrypted(file) => Ok(file.len()),
            Source::File(file) => match file.metadata() {
                Ok(metadata) => Ok(metadata.len()),
                Err(source) => Err(IoError::new("read", &self.window.path, source)),
            },
        }
    }

    /// The next `len` bytes, fewer where the file ends.
    pub(crate) fn raw(&mut self, len: usize) -> Result<Vec<u8>, ScanError> {
        self.window.want(len)?;
        let have = self.window.unread().len().min(len);
        let bytes = self.window.unread()[..have].to_vec();
        self.window.advance(have);
        Ok(bytes)
    }

    /// Where the next frame begins.
    pub(crate) fn offset(&self) -> u64 {
        self.window.offset
    }

    pub(crate) fn resume(&mut self) {
        self.window.resume();
    }

    /// The length of the next frame, read in whole; `None` at the end of the file.
    fn fetch(&mut self) -> Result<Option<usize>, ScanError> {
        let offset = self.window.offset;
        let mut need = 1;
        loop {
            self.window.want(need)?;
            let have = self.window.unread().len();
            if have == 0 {
                return Ok(None);
            }
            need = match frame::frame_len(self.window.unread()) {
                Ok(len) if len <= have => return Ok(Some(len)),
                Ok(len) => len,
                Err(FrameError::Incomplete { need, .. }) => need,
                Err(error) => return Err(ScanError::Frame { offset, error }),
            };
            debug_assert!(need <= MAX_FRAME, "lengths are bounded by the prefix");
            if self.window.at_end {
                return Err(ScanError::Frame {
                    offset,
                    error: FrameError::Incomplete { have, need },
                });
            }
        }
    }

    /// The next entry, checked in itself; `None` at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'_>>, ScanError> {
        let Some(len) = self.fetch()? else {
            return Ok(None);
        };
        let offset = self.window.offset;
        let at = self.window.start;
        self.window.advance(len);
        whole_entry(&self.window.buffer[at..at + len], self.encrypted)
            .map(Some)
            .map_err(|error| ScanError::Frame { offset, error })
    }

    /// Appends the bytes of the next entry, which is not looked at; false at the end of the file. A file that has grown by
    /// the next call is read on.
    fn take_bytes(&mut self, out: &mut Vec<u8>) -> Result<bool, ScanError> {
        let len = self.fetch();
        self.window.at_end = false;
        let Some(len) = len? else {
            return Ok(false);
        };
        out.extend_from_slice(&self.window.unread()[..len]);
        self.window.advance(len);
        Ok(true)
    }

    /// Passes over the next entry without looking at it; false at the end of the file.
    pub(crate) fn skip(&mut self) -> Result<bool, ScanError> {
        let Some(len) = self.fetch()? else {
            return Ok(false);
        };
        self.window.advance(len);
        Ok(true)
    }
}

/// The entry at the start of `bytes`. A segment stores whole entries; a header alone is for receipts. Of an encrypted one
/// what an entry says may not be readable.
fn whole_entry(bytes: &[u8], encrypted: bool) -> Result<Frame<'_>, FrameError> {
    let parsed = if encrypted {
        frame::parse_any(bytes)
    } else {
        frame::parse(bytes)
    };
    match parsed? {
        Frame {
            payload: None,
            unread: None,
            ..
        } => Err(FrameError::Type(frame::TYPE_HEADER_ONLY)),
        frame => Ok(frame),
    }
}

/// What stands next in a `.notes` file.
#[derive(Debug)]
pub(crate) enum NextNote {
    /// A note in its one form; its signature is not yet checked.
    Note {
        offset: u64,
        checkpoint: SignedCheckpoint,
    },
    /// The end of the file.
    End,
    /// The last note was not written in whole.
    Torn { offset: u64 },
    /// Something no writer and no power cut leaves behind.
    Altered { offset: u64, what: &'static str },
}

/// Checkpoints of a `.notes` file in order.
pub(crate) struct NoteScan {
    window: Window,
    key: VerifierKey,
}

impl NoteScan {
    pub(crate) fn open(path: &Path, key: &VerifierKey) -> Result<Self, IoError> {
        Ok(Self {
            window: Window::open(path, 0)?,
            key: key.clone(),
        })
    }

    /// Where the next note begins.
    pub(crate) fn offset(&self) -> u64 {
        self.window.offset
    }

    pub(crate) fn next(&mut self) -> Result<NextNote, IoError> {
        self.window.want(MAX_NOTE).map_err(|error| match error {
            ScanError::Io(error) => error,
            // Notes are never encrypted.
            ScanError::Frame { error, .. } => {
                IoError::new("read", &self.window.path, std::io::Error::other(error))
            }
        })?;
        let offset = self.window.offset;
        let unread = self.window.unread();
        if unread.is_empty() {
            return Ok(NextNote::End);
        }
        Ok(match match_stored(unread, &self.key) {
            StoredNote::Whole { checkpoint, len } => {
                self.window.advance(len);
                NextNote::Note { offset, checkpoint }
            }
            StoredNote::Cut => NextNote::Torn { offset },
            StoredNote::Altered(_) if unread.len() < MAX_NOTE && has_hole(unread, offset) => {
                NextNote::Torn { offset }
            }
            StoredNote::Altered(what) => NextNote::Altered { offset, what },
        })
    }
}

/// Whether a sector of these bytes, which lie at `offset` of a file, was never written.
pub(crate) fn has_hole(bytes: &[u8], offset: u64) -> bool {
    let first = usize::try_from(SECTOR - offset % SECTOR)
        .unwrap_or(0)
        .min(bytes.len());
    let (head, rest) = bytes.split_at(first);
    std::iter::once(head)
        .chain(rest.chunks(usize::try_from(SECTOR).unwrap_or(1)))
        .any(|sector| !sector.is_empty() && sector.iter().all(|&byte| byte == 0))
}

/// The last whole note in a `.notes` file and where it ends, without reading the rest of the file.
pub(crate) fn last_note(
    path: &Path,
    key: &VerifierKey,
) -> Result<Option<(SignedCheckpoint, u64)>, IoError> {
    let failed = |source| IoError::new("read", path, source);
    let file = File::open(path).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    // Two notes at least: the last whole one and a torn one after it.
    let from = len.saturating_sub(2 * MAX_NOTE as u64);
    let mut bytes = vec![0; usize::try_from(len - from).unwrap_or(0)];
    let read = read_up_to(&file, &mut bytes, from).map_err(failed)?;
    bytes.truncate(read);
    let mark = [key.name().as_bytes(), b"\n"].concat();
    for at in (0..bytes.len()).rev() {
        let begins = (at == 0 && from == 0) || (at > 1 && bytes[at - 2..at] == *b"\n\n");
        if !begins || !bytes[at..].starts_with(&mark) {
            continue;
        }
        if let StoredNote::Whole { checkpoint, len } = match_stored(&bytes[at..], key) {
            return Ok(Some((checkpoint, from + (at + len) as u64)));
        }
    }
    Ok(None)
}

fn read_up_to(file: &File, bytes: &mut [u8], from: u64) -> std::io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], from + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hole_is_a_whole_unwritten_sector() {
        assert!(has_hole(&[0; 100], 1000));
        assert!(!has_hole(b"ab\0cd", 1000));
        // Of 100 bytes at offset 500, twelve lie in the first sector.
        let mut bytes = [b'x'; 100];
        bytes[..12].fill(0);
        assert!(has_hole(&bytes, 500));
        assert!(!has_hole(&bytes, 400));
        bytes.fill(b'x');
        bytes[12..].fill(0);
        assert!(has_hole(&bytes, 500));
    }

    proptest! {
        #[test]
        fn arbitrary_files_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000), plain in any::<bool>()) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x.seg");
            let mut bytes = bytes;
            if plain && !bytes.is_empty() {
                bytes[0] = frame::TYPE_PLAIN;
            }
            std::fs::write(&path, &bytes).unwrap();
            let mut scan = FrameScan::open(&path, 0, &Keys::none()).unwrap();
            while let Ok(Some(_)) = scan.next() {}
            let key = VerifierKey::parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k").unwrap();
            let mut notes = NoteScan::open(&path, &key).unwrap();
            while let NextNote::Note { .. } = notes.next().unwrap() {}
            prop_assert!(last_note(&path, &key).unwrap().is_none());
        }
    }
}
