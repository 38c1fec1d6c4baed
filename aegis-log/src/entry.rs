//! The header of an entry: the only bytes that become a leaf of the tree.
//!
//! A header is the canonical protobuf encoding of `aegis.log.v1.Header` (see `proto/header.proto` in
//! this crate): fields in ascending order, each once, zero values left out, shortest varints, nothing
//! unknown. The codec is written by hand because a protobuf library accepts many encodings of one
//! message and promises none; here one message has one encoding, and any other is refused. The
//! tests hold it against `prost`.
//!
//! A header holds no personal data. What an entry says is in its body, which the header only commits
//! to, so that a body can be erased and the log still verifies. This module does not look into
//! bodies.

use crate::hash::Hash;

/// The version of the header that this library writes and reads.
pub const HEADER_VERSION: u64 = 1;
/// The largest header: entry bundles of C2SP tlog-tiles have 16-bit lengths.
pub const MAX_HEADER: usize = u16::MAX as usize;
/// The largest body. Whoever has more to say splits it into several entries.
pub const MAX_BODY: usize = u16::MAX as usize;
/// Random bytes that keep a commitment from being guessed.
pub const SALT_LEN: usize = 16;

/// What is signed about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Position in the log and in the tree, from 0 without gaps.
    pub seq: u64,
    /// Nanoseconds since the Unix epoch; never falls within a segment.
    pub time: u64,
    /// What kind of thing the body describes. The numbers belong to the writer of bodies.
    pub kind: u32,
    /// The log this entry belongs to; also in the origin of its checkpoints.
    pub chain_id: [u8; 16],
    /// Leaf hash of the entry before; zero for the first.
    pub prev: Hash,
    /// The boot of the host during which the entry was written.
    pub boot_id: [u8; 16],
    /// SHA-256(salt ‖ body).
    pub commitment: Hash,
    /// SHA-256 of the signed note of the checkpoint whose size is `seq`. Only the first entry after a
    /// checkpoint has it; it makes every checkpoint part of what the next one signs.
    pub checkpoint: Option<Hash>,
}

/// Why bytes are not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The first field is not the version this library knows.
    #[error(
        "the header is of version {0}, this program knows version {HEADER_VERSION}: it was altered, or written by a newer Aegis whose aegis-verify must be used"
    )]
    Version(u64),
    /// The bytes break the canonical encoding.
    #[error("the header is not the canonical encoding of one (at its byte {0})")]
    NotCanonical(usize),
}

const TAG_VERSION: u8 = 1 << 3;
const TAG_SEQ: u8 = 2 << 3;
const TAG_TIME: u8 = 3 << 3 | 1;
const TAG_KIND: u8 = 4 << 3;
const TAG_CHAIN_ID: u8 = 5 << 3 | 2;
const TAG_PREV: u8 = 6 << 3 | 2;
const TAG_BOOT_ID: u8 = 7 << 3 | 2;
const TAG_COMMITMENT: u8 = 8 << 3 | 2;
const TAG_CHECKPOINT: u8 = 9 << 3 | 2;

impl Header {
    /// Appends the canonical encoding to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(TAG_VERSION);
        put_varint(out, HEADER_VERSION);
        if self.seq != 0 {
            out.push(TAG_SEQ);
            put_varint(out, self.seq);
        }
        if self.time != 0 {
            out.push(TAG_TIME);
            out.extend_from_slice(&self.time.to_le_bytes());
        }
        if self.kind != 0 {
            out.push(TAG_KIND);
            put_varint(out, u64::from(self.kind));
        }
        put_bytes(out, TAG_CHAIN_ID, &self.chain_id);
        put_bytes(out, TAG_PREV, &self.prev.0);
        put_bytes(out, TAG_BOOT_ID, &self.boot_id);
        put_bytes(out, TAG_COMMITMENT, &self.commitment.0);
        if let Some(checkpoint) = &self.checkpoint {
            put_bytes(out, TAG_CHECKPOINT, &checkpoint.0);
        }
    }

    /// Reads a header; only its one canonical encoding is accepted.
    ///
    /// # Errors
    /// [`HeaderError`] says where the bytes stop being a header.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut from = Cursor { bytes, at: 0 };
        let version = from.varint_field(TAG_VERSION)?;
        if version != HEADER_VERSION {
            return Err(HeaderError::Version(version));
        }
        let header = Self {
            seq: from.varint_field(TAG_SEQ)?,
            time: from.fixed_field(TAG_TIME)?,
            kind: from.kind()?,
            chain_id: from.bytes_field(TAG_CHAIN_ID)?,
            prev: Hash(from.bytes_field(TAG_PREV)?),
            boot_id: from.bytes_field(TAG_BOOT_ID)?,
            commitment: Hash(from.bytes_field(TAG_COMMITMENT)?),
            checkpoint: if from.next_is(TAG_CHECKPOINT) {
                Some(Hash(from.bytes_field(TAG_CHECKPOINT)?))
            } else {
                None
            },
        };
        if from.at == bytes.len() {
            Ok(header)
        } else {
            Err(HeaderError::NotCanonical(from.at))
        }
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        // The mask leaves seven bits, so nothing is cut off.
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

fn put_bytes<const N: usize>(out: &mut Vec<u8>, tag: u8, bytes: &[u8; N]) {
    const { assert!(N < 0x80, "the length is written as one byte") }
    out.push(tag);
    // The assertion above makes the fallback unreachable.
    out.push(u8::try_from(N).unwrap_or(u8::MAX));
    out.extend_from_slice(bytes);
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn next_is(&self, tag: u8) -> bool {
        self.bytes.get(self.at) == Some(&tag)
    }

    fn byte(&mut self) -> Result<u8, HeaderError> {
        let byte = *self
            .bytes
            .get(self.at)
            .ok_or(HeaderError::NotCanonical(self.at))?;
        self.at += 1;
        Ok(byte)
    }

    /// A field that is left out when it is zero; a zero written out is refused.
    fn varint_field(&mut self, tag: u8) -> Result<u64, HeaderError> {
        if !self.next_is(tag) {
            return Ok(0);
        }
        self.at += 1;
        let start = self.at;
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                // A last byte of zero means a zero value or a varint longer than it need be.
                return if part == 0 {
                    Err(HeaderError::NotCanonical(start))
                } else {
                    Ok(value)
                };
            }
        }
        Err(HeaderError::NotCanonical(start))
    }

    fn fixed_field(&mut self, tag: u8) -> Result<u64, HeaderError> {
        if !self.next_is(tag) {
            return Ok(0);
        }
        let start = self.at;
        self.at += 1;
        match u64::from_le_bytes(self.take()?) {
            0 => Err(HeaderError::NotCanonical(start)),
            value => Ok(value),
        }
    }

    fn kind(&mut self) -> Result<u32, HeaderError> {
        let start = self.at;
        u32::try_from(self.varint_field(TAG_KIND)?).map_err(|_| HeaderError::NotCanonical(start))
    }

    fn bytes_field<const N: usize>(&mut self, tag: u8) -> Result<[u8; N], HeaderError> {
        let start = self.at;
        if self.byte()? != tag || usize::from(self.byte()?) != N {
            return Err(HeaderError::NotCanonical(start));
        }
        self.take()
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        let bytes = self.bytes[self.at..]
            .first_chunk::<N>()
            .ok_or(HeaderError::NotCanonical(self.at))?;
        self.at += N;
        Ok(*bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    /// `proto/header.proto`, as prost would generate it.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Oracle {
        #[prost(uint32, tag = "1")]
        version: u32,
        #[prost(uint64, tag = "2")]
        seq: u64,
        #[prost(fixed64, tag = "3")]
        time: u64,
        #[prost(uint32, tag = "4")]
        kind: u32,
        #[prost(bytes = "vec", tag = "5")]
        chain_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "6")]
        prev: Vec<u8>,
        #[prost(bytes = "vec", tag = "7")]
        boot_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "8")]
        commitment: Vec<u8>,
        #[prost(bytes = "vec", optional, tag = "9")]
        checkpoint: Option<Vec<u8>>,
    }

    fn headers() -> impl Strategy<Value = Header> {
        let hash = || any::<[u8; 32]>().prop_map(Hash);
        let seq = prop_oneof![Just(0), Just(u64::MAX), any::<u64>(), 0_u64..300];
        (
            seq,
            prop_oneof![Just(0), any::<u64>()],
            prop_oneof![Just(0), any::<u32>()],
            any::<[u8; 16]>(),
            hash(),
            any::<[u8; 16]>(),
            hash(),
            proptest::option::of(hash()),
        )
            .prop_map(
                |(seq, time, kind, chain_id, prev, boot_id, commitment, checkpoint)| Header {
                    seq,
                    time,
                    kind,
                    chain_id,
                    prev,
                    boot_id,
                    commitment,
                    checkpoint,
                },
            )
    }

    fn encoded(header: &Header) -> Vec<u8> {
        let mut out = Vec::new();
        header.encode(&mut out);
        out
    }

    proptest! {
        #[test]
        fn a_header_is_what_prost_writes_and_reads_back(header in headers()) {
            let oracle = Oracle {
                version: 1,
                seq: header.seq,
                time: header.time,
                kind: header.kind,
                chain_id: header.chain_id.to_vec(),
                prev: header.prev.0.to_vec(),
                boot_id: header.boot_id.to_vec(),
                commitment: header.commitment.0.to_vec(),
                checkpoint: header.checkpoint.map(|hash| hash.0.to_vec()),
            };
            let bytes = encoded(&header);
            prop_assert_eq!(&bytes, &oracle.encode_to_vec());
            prop_assert_eq!(Oracle::decode(&bytes[..]).unwrap(), oracle);
            prop_assert_eq!(Header::decode(&bytes), Ok(header));
        }

        #[test]
        fn whatever_is_accepted_has_one_encoding(header in headers(), at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut bytes = encoded(&header);
            let at = at.index(bytes.len());
            bytes[at] = to;
            bytes.truncate(cut.index(bytes.len() * 4).min(bytes.len()));
            if let Ok(read) = Header::decode(&bytes) {
                prop_assert_eq!(encoded(&read), bytes);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(read) = Header::decode(&bytes) {
                prop_assert_eq!(encoded(&read), bytes);
            }
        }
    }

    #[test]
    fn another_version_is_named_as_such() {
        assert_eq!(
            Header::decode(&[TAG_VERSION, 2]),
            Err(HeaderError::Version(2))
        );
        assert_eq!(Header::decode(&[]), Err(HeaderError::Version(0)));
    }
}
