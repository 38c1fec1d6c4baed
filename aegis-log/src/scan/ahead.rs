//! Entries of a segment in order, hashed by other threads meanwhile: that is most of the work of checking a log.
//!
//! Whoever reads hands out pieces of the file, whole entries each, to its helpers in turn, and takes what they found in the
//! same order. What it hands on is what [`FrameScan`] alone gives, errors too.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::vec::IntoIter;

use super::{FrameScan, ScanError, whole_entry};
use crate::durable::IoError;
use crate::encrypted::Keys;
use crate::entry::Header;
use crate::frame::{Frame, FrameError, Unread};
use crate::hash::Hash;

/// Bytes of a piece, about.
const PIECE: usize = 1 << 17;
/// Pieces that a helper may have before it or have done.
const QUEUE: usize = 2;
/// Helpers at most: more than these the one that takes their work together can't keep busy.
const MOST: usize = 6;
/// A segment of fewer bytes is read before helpers would have begun.
const WORTH_IT: u64 = 4 << 20;

/// An entry, checked in itself.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) header: Header,
    pub(crate) leaf: Hash,
    /// Why what it says was not read, if so.
    pub(crate) unread: Option<Unread>,
    /// Where its frame ends in the file.
    end: u64,
}

impl Checked {
    fn of(frame: &Frame<'_>, end: u64) -> Self {
        Self {
            header: frame.header,
            leaf: frame.leaf,
            unread: frame.unread,
            end,
        }
    }
}

type Found = Result<Checked, (u64, FrameError)>;

/// Some entries as they lie in the file.
struct Piece {
    bytes: Vec<u8>,
    offset: u64,
}

struct Helper {
    pieces: SyncSender<Piece>,
    found: Receiver<Vec<Found>>,
}

/// Entries of a `.seg` file from its beginning on.
pub(crate) struct Ahead {
    scan: FrameScan,
    helpers: Vec<Helper>,
    /// Pieces handed out and taken back. Piece n is with helper n modulo their number.
    given: usize,
    taken: usize,
    ready: IntoIter<Found>,
    /// Where the entry after the last one handed on begins.
    offset: u64,
}

impl Ahead {
    /// Opens a segment and reads as many bytes of its own beginning as `head` says.
    pub(crate) fn open(path: &Path, keys: &Keys, head: usize) -> Result<(Self, Vec<u8>), ScanError> {
        let scan = FrameScan::open(path, 0, keys)?;
        let helpers = if scan.len()? < WORTH_IT {
            0
        } else {
            thread::available_parallelism()
                .map_or(1, usize::from)
                .min(MOST)
        };
        // With one processor they would only be in the way.
        Self::with_helpers(scan, if helpers > 1 { helpers } else { 0 }, head)
    }

    fn with_helpers(
        mut scan: FrameScan,
        helpers: usize,
        head: usize,
    ) -> Result<(Self, Vec<u8>), ScanError> {
        let head = scan.raw(head)?;
        let (path, encrypted) = (scan.window.path.clone(), scan.encrypted);
        let start = || {
            let (pieces, to_check) = sync_channel(QUEUE);
            let (checked, found) = sync_channel(QUEUE);
            let thread = thread::Builder::new().name("check".into());
            thread
                .spawn(move || check(&to_check, &checked, encrypted))
                .map_err(|source| IoError::new("start a thread to check", &path, source))?;
            Ok(Helper { pieces, found })
        };
        let helpers = (0..helpers)
            .map(|_| start())
            .collect::<Result<_, IoError>>()?;
        let offset = scan.offset();
        let ahead = Self {
            scan,
            helpers,
            given: 0,
            taken: 0,
            ready: Vec::new().into_iter(),
            offset,
        };
        Ok((ahead, head))
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.scan.encrypted
    }

    /// Bytes of the segment now.
    pub(crate) fn len(&self) -> Result<u64, IoError> {
        self.scan.len()
    }

    /// Where the next entry begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next entry; `None` at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<Checked>, ScanError> {
        if self.helpers.is_empty() {
            let offset = self.scan.offset();
            let Some(frame) = self.scan.next()? else {
                return Ok(None);
            };
            let end = offset + frame.len as u64;
            let checked = Checked::of(&frame, end);
            return self.hand_on(Ok(checked));
        }
        loop {
            if let Some(found) = self.ready.next() {
                return self.hand_on(found);
            }
            // What ends the file now may be whole when all before it has been handed on, in a log that grows.
            let end = self.give();
            if self.taken == self.given {
                return end.map(|()| None);
            }
            let helper = &self.helpers[self.taken % self.helpers.len()];
            let found = helper.found.recv().map_err(|_| self.lost())?;
            self.ready = found.into_iter();
            self.taken += 1;
        }
    }

    fn hand_on(&mut self, found: Found) -> Result<Option<Checked>, ScanError> {
        match found {
            Ok(checked) => {
                self.offset = checked.end;
                Ok(Some(checked))
            }
            Err((offset, error)) => Err(ScanError::Frame { offset, error }),
        }
    }

    /// Keeps the helpers busy. An error is that of the entry behind all pieces that were given out.
    fn give(&mut self) -> Result<(), ScanError> {
        while self.given - self.taken < QUEUE * self.helpers.len() {
            let offset = self.scan.offset();
            let mut bytes = Vec::with_capacity(PIECE);
            let mut end = Ok(());
            while bytes.len() < PIECE {
                match self.scan.take_bytes(&mut bytes) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        end = Err(error);
                        break;
                    }
                }
            }
            if bytes.is_empty() {
                return end;
            }
            let helper = &self.helpers[self.given % self.helpers.len()];
            helper
                .pieces
                .send(Piece { bytes, offset })
                .map_err(|_| self.lost())?;
            self.given += 1;
        }
        Ok(())
    }

    fn lost(&self) -> IoError {
        let source = std::io::Error::other("a thread that checks entries ended");
        IoError::new("check", &self.scan.window.path, source)
    }
}

/// Checks pieces until nobody has more, or wants them.
fn check(pieces: &Receiver<Piece>, checked: &SyncSender<Vec<Found>>, encrypted: bool) {
    for piece in pieces {
        let mut found = Vec::new();
        let mut at = 0;
        while at < piece.bytes.len() {
            let offset = piece.offset + at as u64;
            match whole_entry(&piece.bytes[at..], encrypted) {
                Ok(frame) => {
                    at += frame.len;
                    let end = piece.offset + at as u64;
                    found.push(Ok(Checked::of(&frame, end)));
                }
                Err(error) => {
                    found.push(Err((offset, error)));
                    break;
                }
            }
        }
        if checked.send(found).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::SALT_LEN;
    use crate::frame;

    const HEAD: usize = 72;

    /// A file of entries, and where each begins.
    fn entries(count: u64) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = vec![b'h'; HEAD];
        let mut begins = Vec::new();
        for seq in 0..count {
            let (salt, body) = (
                [3; SALT_LEN],
                vec![b'e'; usize::try_from(seq * 37 % 900).unwrap()],
            );
            let header = Header {
                seq,
                time: 5,
                kind: 1,
                chain_id: [1; 16],
                prev: Hash::ZERO,
                boot_id: [2; 16],
                commitment: Hash::of_parts(&[&salt, &body]),
                checkpoint: None,
            };
            begins.push(bytes.len());
            frame::encode(&header, &salt, &body, &mut bytes);
        }
        (bytes, begins)
    }

    fn scan(path: &Path) -> FrameScan {
        FrameScan::open(path, 0, &Keys::none()).unwrap()
    }

    /// All that is handed on, with where it stands, and how it ends.
    fn all(path: &Path, helpers: usize) -> (Vec<(u64, u64, Hash)>, u64, Option<String>) {
        let (mut ahead, head) = Ahead::with_helpers(scan(path), helpers, HEAD).unwrap();
        assert_eq!(head, [b'h'; HEAD]);
        let mut seen = Vec::new();
        loop {
            let offset = ahead.offset();
            match ahead.next() {
                Ok(Some(checked)) => seen.push((checked.header.seq, offset, checked.leaf)),
                Ok(None) => return (seen, ahead.offset(), None),
                Err(ScanError::Frame { offset, error }) => {
                    return (seen, ahead.offset(), Some(format!("{offset} {error}")));
                }
                Err(ScanError::Io(error)) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn helpers_find_what_one_finds_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.seg");
        let (whole, begins) = entries(4000);
        let mut damaged = Vec::from([
            whole.clone(),
            whole[..whole.len() - 5].to_vec(),
            whole[..HEAD].to_vec(),
        ]);
        for at in [
            begins[0],
            begins[1] + 40,
            begins[2000] + 1,
            begins[3999] + 170,
        ] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            damaged.push(bytes);
        }
        for (number, bytes) in damaged.iter().enumerate() {
            std::fs::write(&path, bytes).unwrap();
            let alone = all(&path, 0);
            assert_eq!(alone.0.len() == 4000 && alone.2.is_none(), number == 0);
            for helpers in [1, 2, 5] {
                assert_eq!(
                    all(&path, helpers),
                    alone,
                    "file {number}, {helpers} helpers"
                );
            }
        }
    }

    #[test]
    fn a_file_that_grows_is_read_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.seg");
        let (whole, begins) = entries(3000);
        for cut in [begins[1000], begins[1000] + 9] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut ahead, _) = Ahead::with_helpers(scan(&path), 2, HEAD).unwrap();
            assert_eq!(ahead.next().unwrap().unwrap().header.seq, 0);
            std::fs::write(&path, &whole).unwrap();
            for seq in 1..3000 {
                assert_eq!(
                    ahead.next().unwrap().unwrap().header.seq,
                    seq,
                    "cut at {cut}"
                );
            }
            assert!(ahead.next().unwrap().is_none());
        }
    }
}
