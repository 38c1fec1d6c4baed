//! Making an encrypted segment of a plain one.

use std::path::{Path, PathBuf};

use zerocopy::IntoBytes as _;
use zerocopy::byteorder::little_endian::U64;

use super::block::{self, BLOCK, Item};
use super::keys::{DataKey, Keys, KeysError};
use super::{BlockPlace, Ending, STATEMENT_LEN};
use crate::chain::Link;
use crate::day::Day;
use crate::durable::{self, AppendFile, IoError, PRIVATE, temporary_name};
use crate::finding::{Code, Finding};
use crate::hash::Hash;
use crate::scan::{FrameScan, ScanError};
use crate::segment::{SEGMENT_HEADER_LEN, SegmentFiles, SegmentHeader};
use crate::writer::EndedSegment;

/// Bytes compared at once.
const COMPARED: usize = 1 << 16;
/// Owners whose entries one block has at most; with more it is closed.
const MOST_OWNERS: usize = 1024;

/// Why a segment was not encrypted. It stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum EncryptError {
    /// Its entries are not those that were written.
    #[error("nothing was encrypted, since the log is damaged: {0}; run aegis-verify on it")]
    Damaged(Box<Finding>),
    /// A key can't be had.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A file can't be read or written.
    #[error(transparent)]
    Io(#[from] IoError),
    /// It was removed, or encrypted, meanwhile.
    #[error("the segment that begins with entry {0} is not there any more, or is encrypted")]
    Gone(u64),
}

/// An encrypted segment in a file of its own; [`crate::Writer::put_encrypted`] puts it in the place of the plain one.
#[derive(Debug)]
pub struct Draft {
    pub(crate) files: SegmentFiles,
    pub(crate) temporary: PathBuf,
    /// Of all that is in it before the statement.
    pub(crate) hash: Hash,
    kept: bool,
}

impl Draft {
    /// It has a name of its own now.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            // Whoever opens the log next removes it, should this fail.
            let _ = durable::remove(&self.temporary);
        }
    }
}

/// Encrypts a segment of the log in `dir` that has ended. `owner` says of an entry, by kind and body, whom it is about: its
/// entries of a day can be erased without the others'.
///
/// # Errors
/// [`EncryptError`].
pub fn encrypt_segment(
    dir: &Path,
    segment: &EndedSegment,
    keys: &Keys,
    owner: &mut dyn FnMut(u32, &[u8]) -> String,
) -> Result<Draft, EncryptError> {
    let files = SegmentFiles::new(segment.first, segment.day);
    let path = files.entries_path(dir);
    let at = |code, what: String, offset| {
        let finding = Finding::new(code, what).in_file(files.entries_name(), offset);
        EncryptError::Damaged(Box::new(finding))
    };
    let failed = |error| match error {
        ScanError::Io(error) => EncryptError::Io(error),
        ScanError::Frame { offset, error } => at(Code::EntryDamaged, error.to_string(), offset),
    };
    let mut scan = FrameScan::open(&path, 0, &Keys::none()).map_err(failed)?;
    if scan.is_encrypted() {
        return Err(EncryptError::Gone(segment.first));
    }
    let head = scan.raw(SEGMENT_HEADER_LEN).map_err(failed)?;
    let Some(header) = SegmentHeader::read(&head).filter(|header| header.first_seq() == segment.first)
    else {
        let what = "the segment's header is not one".to_owned();
        return Err(at(Code::SegmentHeader, what, 0));
    };
    let mut link = Link {
        chain_id: header.chain_id(),
        next_seq: segment.first,
        prev: header.prev(),
        floor: 0,
    };
    let temporary = temporary_name(&path);
    let mut out = Out::create(&temporary, header, keys, segment.day)?;
    let mut draft = Draft {
        files: files.clone(),
        temporary,
        hash: Hash::ZERO,
        kept: false,
    };
    while link.next_seq < segment.end {
        let offset = scan.offset();
        let missing = || "the segment ends before its last entry".to_owned();
        let frame = scan.next().map_err(failed)?;
        let frame = frame.ok_or_else(|| at(Code::EntryMissing, missing(), offset))?;
        let prev = link.prev;
        link.follow(&frame.header, &frame.leaf)
            .map_err(|error| at(Code::Chain, error.to_string(), offset))?;
        let Some(payload) = frame.payload else {
            return Err(at(Code::EntryDamaged, missing(), offset));
        };
        let owner = owner(frame.header.kind, payload.body);
        let item = Item {
            header: frame.header,
            stream: 0,
            salt: *payload.salt,
            body: payload.body.to_vec(),
        };
        out.add(prev, offset, frame.len, item, &owner)?;
    }
    if segment.prev_of_next(dir)? != Some(link.prev) {
        let what = "the next segment does not follow the last entry of this one".to_owned();
        return Err(at(Code::Chain, what, scan.offset()));
    }
    out.finish(scan.offset())?;
    compare(&path, &draft.temporary, keys)?;
    (draft.hash, _) = Hash::of_file_but(&draft.temporary, STATEMENT_LEN as u64)?;
    Ok(draft)
}

/// The file as it grows.
struct Out<'a> {
    file: AppendFile,
    keys: &'a Keys,
    day: Day,
    places: Vec<BlockPlace>,
    /// The block that is filled: the leaf hash before it, where it begins, its bytes, its entries, its owners.
    prev: Hash,
    begins: u64,
    bytes: usize,
    items: Vec<Item>,
    owners: Vec<(String, DataKey)>,
}

impl<'a> Out<'a> {
    fn create(
        path: &Path,
        header: SegmentHeader,
        keys: &'a Keys,
        day: Day,
    ) -> Result<Self, EncryptError> {
        let mut file = AppendFile::create(path, PRIVATE)?;
        file.append(header.encrypted().bytes())?;
        Ok(Self {
            file,
            keys,
            day,
            places: Vec::new(),
            prev: Hash::ZERO,
            begins: 0,
            bytes: 0,
            items: Vec::new(),
            owners: Vec::new(),
        })
    }

    fn add(
        &mut self,
        prev: Hash,
        offset: u64,
        len: usize,
        mut item: Item,
        owner: &str,
    ) -> Result<(), EncryptError> {
        if self.items.is_empty() {
            (self.prev, self.begins) = (prev, offset);
        }
        let known = self.owners.iter().position(|(name, _)| name == owner);
        let stream = match known {
            Some(stream) => stream,
            None => {
                let key = self.keys.of(self.day, owner)?;
                self.owners.push((owner.to_owned(), key));
                self.owners.len() - 1
            }
        };
        item.stream = u16::try_from(stream).unwrap_or(u16::MAX);
        self.items.push(item);
        self.bytes += len;
        if self.bytes >= BLOCK || self.owners.len() >= MOST_OWNERS {
            self.close()?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), EncryptError> {
        let Some(first) = self.items.first() else {
            return Ok(());
        };
        self.places.push(BlockPlace {
            first_seq: U64::new(first.header.seq),
            plain: U64::new(self.begins),
            offset: U64::new(self.file.len()),
        });
        let keys: Vec<DataKey> = self.owners.drain(..).map(|(_, key)| key).collect();
        let mut bytes = Vec::new();
        block::encode(&self.prev, self.bytes, &self.items, &keys, &mut bytes)?;
        self.file.append(&bytes)?;
        self.items.clear();
        self.bytes = 0;
        Ok(())
    }

    /// Ends the file, with zeros where the statement will be, and makes it durable.
    fn finish(mut self, plain_len: u64) -> Result<(), EncryptError> {
        self.close()?;
        let ending = Ending {
            directory: U64::new(self.file.len()),
            plain_len: U64::new(plain_len),
            blocks: U64::new(self.places.len() as u64),
        };
        self.file.append(self.places.as_bytes())?;
        self.file.append(ending.as_bytes())?;
        self.file.append(&[0; STATEMENT_LEN])?;
        Ok(self.file.sync()?)
    }
}

/// The encrypted segment gives every byte of the plain one: that is going to be removed.
fn compare(plain: &Path, encrypted: &Path, keys: &Keys) -> Result<(), EncryptError> {
    let failed = |error| match error {
        ScanError::Io(error) => error,
        ScanError::Frame { error, .. } => {
            IoError::new("read back", encrypted, std::io::Error::other(error.to_string()))
        }
    };
    let mut plain = FrameScan::open(plain, 0, &Keys::none()).map_err(failed)?;
    let mut again = FrameScan::open(encrypted, 0, keys).map_err(failed)?;
    loop {
        let bytes = plain.raw(COMPARED).map_err(failed)?;
        if again.raw(COMPARED).map_err(failed)? != bytes {
            let source = std::io::Error::other("it does not give what was encrypted");
            return Err(IoError::new("read back", encrypted, source).into());
        }
        if bytes.is_empty() {
            return Ok(());
        }
    }
}
