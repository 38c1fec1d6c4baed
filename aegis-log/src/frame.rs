//! How an entry lies in a segment file: a fixed prefix, the header, then salt and body.
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 1 | frame type: 1 plain entry; 0 never valid; others below and in docs/audit-format.md |
//! | 1 | 1 | zero |
//! | 2 | 2 | length of the header, little-endian |
//! | 4 | 4 | length of what follows the header, little-endian |
//! | 8 | 8 | the first 8 bytes of the header's leaf hash |
//! | 16 | | header, salt (16 bytes), body |
//!
//! The check at offset 8 tells a torn header from a whole one. It is no defence: an attacker writes it
//! anew; the chain and the tree are the defence. Zero is no frame type, so that a hole which a power
//! cut left in a file is never an entry.
//!
//! Knows one frame at a time; nothing of its neighbours (see `chain`) or files (see `scan`).

use std::fmt;

use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::entry::{Header, HeaderError, MAX_BODY, SALT_LEN};
use crate::hash::Hash;

/// The size of the prefix.
pub const PREFIX_LEN: usize = size_of::<Prefix>();
/// The largest frame that can be valid.
pub const MAX_FRAME: usize = PREFIX_LEN + crate::entry::MAX_HEADER + SALT_LEN + MAX_BODY;

/// Frame type of an entry whose salt and body are stored as they are.
pub const TYPE_PLAIN: u8 = 1;
/// Frame type of an entry whose salt and body are encrypted, and the key is not at hand. Occurs in memory only, as does
/// the next: zeros stand for salt and body, so that every entry lies where it did before it was encrypted.
pub(crate) const TYPE_WITHHELD: u8 = 2;
/// Frame type of an entry shown without salt and body. Occurs in receipts, not in segments.
pub const TYPE_HEADER_ONLY: u8 = 3;
/// Frame type of an entry whose salt and body were erased: the key that they were encrypted with was destroyed.
pub(crate) const TYPE_ERASED: u8 = 4;

const CHECK_LEN: usize = 8;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct Prefix {
    frame_type: u8,
    zero: u8,
    header_len: U16,
    payload_len: U32,
    check: [u8; CHECK_LEN],
}

const _: () = assert!(PREFIX_LEN == 16);

/// An entry as it lies in memory, checked in itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The decoded header.
    pub header: Header,
    /// The bytes that were hashed into the leaf.
    pub header_bytes: &'a [u8],
    /// The leaf hash.
    pub leaf: Hash,
    /// Salt and body; `None` in a frame that shows the header only.
    pub payload: Option<Payload<'a>>,
    /// Why they are not here, in a segment.
    pub(crate) unread: Option<Unread>,
    /// Length of the whole frame in bytes.
    pub len: usize,
}

/// Why salt and body of a stored entry can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// They are encrypted, and the key is not here.
    Withheld,
    /// They were erased: the key was destroyed.
    Erased,
}

/// In a few words, as the reason for something.
impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Withheld => "it is encrypted, and its key is not here",
            Self::Erased => "it was erased",
        })
    }
}

/// What the commitment covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    /// Random bytes that go before the body in the commitment.
    pub salt: &'a [u8; SALT_LEN],
    /// The body; this crate does not look inside.
    pub body: &'a [u8],
}

/// Why bytes are not an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The bytes end before the frame does.
    #[error("the entry is cut off: {have} of {need} bytes are there")]
    Incomplete {
        /// Bytes there are.
        have: usize,
        /// Bytes needed to go on.
        need: usize,
    },
    /// A frame type that this version does not know; 0 is a hole in the file.
    #[error("frame type {0} is not one this version knows")]
    Type(u8),
    /// The reserved byte is in use or a length is out of bounds.
    #[error("the frame's lengths or reserved bytes are not possible")]
    Prefix,
    /// The check in the prefix does not belong to the header.
    #[error("the header does not match the check stored with it")]
    Check,
    /// The header can't be decoded.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The header commits to another body.
    #[error("salt and body are not those the header commits to")]
    Commitment,
    /// The block of an encrypted segment that it lies in can't be read.
    #[error("the encrypted segment is damaged: {0}")]
    Encrypted(&'static str),
}

/// Appends the frame of one entry to `out` and returns its leaf hash.
///
/// The caller has checked that `body` is at most [`MAX_BODY`] bytes and made the commitment.
pub(crate) fn encode(
    header: &Header,
    salt: &[u8; SALT_LEN],
    body: &[u8],
    out: &mut Vec<u8>,
) -> Hash {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_LEN]);
    header.encode(out);
    let header_start = start + PREFIX_LEN;
    let leaf = Hash::leaf(&out[header_start..]);
    let header_len = out.len() - header_start;
    out.extend_from_slice(salt);
    out.extend_from_slice(body);
    put_prefix(
        out,
        start,
        TYPE_PLAIN,
        header_len,
        SALT_LEN + body.len(),
        &leaf,
    );
    leaf
}

/// Appends the frame of a stored entry whose payload of so many bytes can't be read, and returns its leaf hash.
pub(crate) fn encode_unread(
    header: &Header,
    payload_len: usize,
    why: Unread,
    out: &mut Vec<u8>,
) -> Hash {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_LEN]);
    header.encode(out);
    let header_start = start + PREFIX_LEN;
    let leaf = Hash::leaf(&out[header_start..]);
    let header_len = out.len() - header_start;
    out.resize(out.len() + payload_len, 0);
    let frame_type = match why {
        Unread::Withheld => TYPE_WITHHELD,
        Unread::Erased => TYPE_ERASED,
    };
    put_prefix(out, start, frame_type, header_len, payload_len, &leaf);
    leaf
}

/// A frame that shows the header and withholds salt and body.
pub(crate) fn encode_header_only(header_bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0; PREFIX_LEN];
    out.extend_from_slice(header_bytes);
    put_prefix(
        &mut out,
        0,
        TYPE_HEADER_ONLY,
        header_bytes.len(),
        0,
        &Hash::leaf(header_bytes),
    );
    out
}

fn put_prefix(
    out: &mut [u8],
    start: usize,
    frame_type: u8,
    header_len: usize,
    payload_len: usize,
    leaf: &Hash,
) {
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&leaf.0[..CHECK_LEN]);
    let prefix = Prefix {
        frame_type,
        zero: 0,
        // A header is under 256 bytes by construction and a payload at most MAX_BODY + SALT_LEN.
        header_len: U16::new(u16::try_from(header_len).unwrap_or(u16::MAX)),
        payload_len: U32::new(u32::try_from(payload_len).unwrap_or(u32::MAX)),
        check,
    };
    out[start..start + PREFIX_LEN].copy_from_slice(prefix.as_bytes());
}

/// The length of the frame at the start of `bytes`, from its prefix alone.
///
/// # Errors
/// [`FrameError::Incomplete`] when even the prefix is not all there, else what is wrong with it.
pub fn frame_len(bytes: &[u8]) -> Result<usize, FrameError> {
    read_prefix(bytes).map(|(_, header_len, payload_len)| PREFIX_LEN + header_len + payload_len)
}

fn read_prefix(bytes: &[u8]) -> Result<(Prefix, usize, usize), FrameError> {
    // The type comes first: a hole in a file is told apart even when fewer than 16 bytes are left.
    match bytes.first() {
        None => {
            return Err(FrameError::Incomplete {
                have: 0,
                need: PREFIX_LEN,
            });
        }
        Some(&(TYPE_PLAIN | TYPE_WITHHELD | TYPE_HEADER_ONLY | TYPE_ERASED)) => {}
        Some(&other) => return Err(FrameError::Type(other)),
    }
    let (prefix, _) = Prefix::read_from_prefix(bytes).map_err(|_| FrameError::Incomplete {
        have: bytes.len(),
        need: PREFIX_LEN,
    })?;
    let header_len = usize::from(prefix.header_len.get());
    let payload_len = usize::try_from(prefix.payload_len.get()).map_err(|_| FrameError::Prefix)?;
    let payload_fits = match prefix.frame_type {
        TYPE_HEADER_ONLY => payload_len == 0,
        _ => (SALT_LEN..=SALT_LEN + MAX_BODY).contains(&payload_len),
    };
    if prefix.zero != 0 || header_len == 0 || !payload_fits {
        return Err(FrameError::Prefix);
    }
    Ok((prefix, header_len, payload_len))
}

/// Reads the frame at the start of `bytes` and checks all that can be checked without its neighbours.
///
/// # Errors
/// [`FrameError`] says what is wrong; no input makes this panic.
pub fn parse(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    match parse_any(bytes)? {
        frame if frame.unread.is_some() => Err(FrameError::Type(bytes[0])),
        frame => Ok(frame),
    }
}

/// Whether a frame, by its type, is one whose payload could not be read.
pub(crate) fn unread(bytes: &[u8]) -> Option<Unread> {
    match bytes.first() {
        Some(&TYPE_WITHHELD) => Some(Unread::Withheld),
        Some(&TYPE_ERASED) => Some(Unread::Erased),
        _ => None,
    }
}

/// As [`parse`], of what an encrypted segment gives, where payloads may be missing.
pub(crate) fn parse_any(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let (prefix, header_len, payload_len) = read_prefix(bytes)?;
    let len = PREFIX_LEN + header_len + payload_len;
    let incomplete = FrameError::Incomplete {
        have: bytes.len(),
        need: len,
    };
    let frame = bytes.get(..len).ok_or(incomplete)?;
    let (header_bytes, payload) = frame[PREFIX_LEN..].split_at(header_len);
    let leaf = Hash::leaf(header_bytes);
    if leaf.0[..CHECK_LEN] != prefix.check {
        return Err(FrameError::Check);
    }
    let header = Header::decode(header_bytes)?;
    let unread = unread(bytes);
    let payload = match payload.split_first_chunk::<SALT_LEN>() {
        Some((salt, body)) if unread.is_none() => {
            if Hash::of_parts(&[salt, body]) != header.commitment {
                return Err(FrameError::Commitment);
            }
            Some(Payload { salt, body })
        }
        _ => None,
    };
    Ok(Frame {
        header,
        header_bytes,
        leaf,
        payload,
        unread,
        len,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(body: &[u8]) -> (Header, Vec<u8>) {
        let salt = [7; SALT_LEN];
        let header = Header {
            seq: 5,
            time: 1_700_000_000_000_000_000,
            kind: 3,
            chain_id: [1; 16],
            prev: Hash([2; 32]),
            boot_id: [3; 16],
            commitment: Hash::of_parts(&[&salt, body]),
            checkpoint: None,
        };
        let mut out = Vec::new();
        encode(&header, &salt, body, &mut out);
        (header, out)
    }

    #[test]
    fn every_changed_byte_of_a_frame_is_noticed() {
        let (_, bytes) = sample(b"what happened");
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert!(parse(&changed).is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_frame_cut_anywhere_is_incomplete() {
        let (_, bytes) = sample(b"what happened");
        for len in 0..bytes.len() {
            assert!(
                matches!(parse(&bytes[..len]), Err(FrameError::Incomplete { .. })),
                "{len}"
            );
        }
    }

    #[test]
    fn a_hole_in_the_file_is_no_entry() {
        assert_eq!(parse(&[0; 64]), Err(FrameError::Type(0)));
    }

    #[test]
    fn an_unread_entry_has_its_place_and_is_taken_from_encrypted_segments_only() {
        let (header, plain) = sample(b"secret");
        for (why, frame_type) in [
            (Unread::Withheld, TYPE_WITHHELD),
            (Unread::Erased, TYPE_ERASED),
        ] {
            let mut bytes = Vec::new();
            let leaf = encode_unread(&header, SALT_LEN + 6, why, &mut bytes);
            assert_eq!(bytes.len(), plain.len());
            assert_eq!(parse(&bytes), Err(FrameError::Type(frame_type)));
            let frame = parse_any(&bytes).unwrap();
            assert_eq!(
                (frame.header, frame.leaf, frame.payload, frame.unread),
                (header, leaf, None, Some(why))
            );
        }
    }

    #[test]
    fn a_header_can_be_shown_without_its_body() {
        let (header, bytes) = sample(b"secret");
        let shown = encode_header_only(parse(&bytes).unwrap().header_bytes);
        let frame = parse(&shown).unwrap();
        assert_eq!((frame.header, frame.payload), (header, None));
    }

    proptest! {
        #[test]
        fn bodies_go_there_and_back(body in proptest::collection::vec(any::<u8>(), 0..2000), after in proptest::collection::vec(any::<u8>(), 0..40)) {
            let (header, mut bytes) = sample(&body);
            let len = bytes.len();
            bytes.extend_from_slice(&after);
            let frame = parse(&bytes).unwrap();
            prop_assert_eq!(frame.header, header);
            prop_assert_eq!(frame.len, len);
            prop_assert_eq!(frame.payload.unwrap().body, &body[..]);
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), plain in any::<bool>()) {
            if plain && !bytes.is_empty() {
                bytes[0] = TYPE_PLAIN;
            }
            prop_assert!(parse(&bytes).is_err(), "random bytes do not carry their own hash");
        }
    }
}
