//! Reading an encrypted segment as if it were the plain one.
//!
//! Knows where blocks lie, not what entries are. Whether the file is the one that was signed is for [`super::check`].

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use zerocopy::FromBytes as _;

use super::block;
use super::keys::Keys;
use super::{BlockPlace, Ending, STATEMENT_LEN};
use crate::segment::{SEGMENT_HEADER_LEN, SegmentHeader};

const ENDING_LEN: u64 = size_of::<Ending>() as u64;
const PLACE_LEN: u64 = size_of::<BlockPlace>() as u64;
/// Blocks of a segment at most: of the largest that can be configured there are fewer.
const MOST_BLOCKS: u64 = 1 << 20;

/// Why bytes can't be had.
#[derive(Debug)]
pub(crate) enum FileError {
    Io(std::io::Error),
    Damaged(&'static str),
}

impl From<std::io::Error> for FileError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// An encrypted segment.
pub(crate) struct EncryptedFile {
    file: File,
    header: SegmentHeader,
    blocks: Vec<BlockPlace>,
    /// Where the last block ends.
    end: u64,
    plain_len: u64,
    keys: Keys,
    /// The block that was read last, and what it gave.
    read: Option<usize>,
    plain: Vec<u8>,
}

impl EncryptedFile {
    /// The segment in a file; `None` if it is a plain one, or none.
    pub(crate) fn open(file: &File, keys: &Keys) -> Result<Option<Self>, FileError> {
        let mut head = [0; SEGMENT_HEADER_LEN];
        let len = file.metadata()?.len();
        if len < SEGMENT_HEADER_LEN as u64 {
            return Ok(None);
        }
        file.read_exact_at(&mut head, 0)?;
        let Some(header) = SegmentHeader::of_encrypted(&head) else {
            return Ok(None);
        };
        const CUT: FileError = FileError::Damaged("its end is cut off");
        const PLACES: FileError = FileError::Damaged("its directory is not possible");
        let ending_at = len.checked_sub(STATEMENT_LEN as u64 + ENDING_LEN).ok_or(CUT)?;
        let mut ending = [0; size_of::<Ending>()];
        file.read_exact_at(&mut ending, ending_at)?;
        let ending = Ending::read_from_bytes(&ending).map_err(|_| CUT)?;
        let (end, count) = (ending.directory.get(), ending.blocks.get());
        let fits = count <= MOST_BLOCKS && end.checked_add(count * PLACE_LEN) == Some(ending_at);
        if !fits {
            return Err(PLACES);
        }
        let mut directory = vec![0; usize::try_from(count * PLACE_LEN).map_err(|_| PLACES)?];
        file.read_exact_at(&mut directory, end)?;
        let blocks = <[BlockPlace]>::ref_from_bytes(&directory).map_err(|_| PLACES)?;
        let (mut plain, mut offset) = (SEGMENT_HEADER_LEN as u64, SEGMENT_HEADER_LEN as u64);
        for (index, block) in blocks.iter().enumerate() {
            let begins = index > 0 || (block.plain.get(), block.offset.get()) == (plain, offset);
            let rises = index == 0 || (block.plain.get() > plain && block.offset.get() > offset);
            if !begins || !rises {
                return Err(PLACES);
            }
            (plain, offset) = (block.plain.get(), block.offset.get());
        }
        if offset > end || plain > ending.plain_len.get() {
            return Err(PLACES);
        }
        Ok(Some(Self {
            file: file.try_clone()?,
            header,
            blocks: blocks.to_vec(),
            end,
            plain_len: ending.plain_len.get(),
            keys: keys.clone(),
            read: None,
            plain: Vec::new(),
        }))
    }

    /// Bytes of the plain segment.
    pub(crate) fn len(&self) -> u64 {
        self.plain_len
    }

    /// As many of the bytes from `offset` on as can be had at once; none at the end.
    pub(crate) fn read_at(&mut self, out: &mut [u8], offset: u64) -> Result<usize, FileError> {
        let (from, begins) = if offset < SEGMENT_HEADER_LEN as u64 {
            (self.header.bytes(), 0)
        } else {
            let after = self.blocks.partition_point(|block| block.plain.get() <= offset);
            let Some(index) = after.checked_sub(1).filter(|_| offset < self.plain_len) else {
                return Ok(0);
            };
            self.load(index)?;
            (self.plain.as_slice(), self.blocks[index].plain.get())
        };
        let skip = usize::try_from(offset - begins).unwrap_or(usize::MAX);
        let from = from.get(skip..).unwrap_or_default();
        let len = from.len().min(out.len());
        out[..len].copy_from_slice(&from[..len]);
        Ok(len)
    }

    fn load(&mut self, index: usize) -> Result<(), FileError> {
        if self.read == Some(index) {
            return Ok(());
        }
        self.read = None;
        self.plain.clear();
        let place = self.blocks[index];
        let next = self.blocks.get(index + 1);
        let end = next.map_or(self.end, |next| next.offset.get());
        let plain_end = next.map_or(self.plain_len, |next| next.plain.get());
        let len = usize::try_from(end - place.offset.get()).unwrap_or(usize::MAX);
        if len > block::MOST {
            return Err(FileError::Damaged("a block is longer than any can be"));
        }
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, place.offset.get())?;
        block::decode(&bytes, &self.header.chain_id(), &self.keys, &mut self.plain)
            .map_err(FileError::Damaged)?;
        if self.plain.len() as u64 != plain_end - place.plain.get() {
            return Err(FileError::Damaged("a block is not where its directory says"));
        }
        self.read = Some(index);
        Ok(())
    }
}
