//! Some entries of an encrypted segment that follow each other: what is read and decrypted at once.
//!
//! | | |
//! |---|---|
//! | prefix | 64 bytes: see [`Prefix`] |
//! | streams | 36 bytes each: see [`StreamPlace`] |
//! | columns | zstd: of all entries the steps in time (u64), kinds (u32), bytes of salt and body (u32), streams (u16), boots (u16), and whether they name a checkpoint (u8); then the boot ids (16), then the checkpoints (32) |
//! | commitments | 32 bytes for each entry |
//! | texts | of each stream: AES-256-GCM of the zstd of its bodies, one after the other, and the salts behind; the tag |
//!
//! A header has one encoding, so that it can be made from its fields again, and its leaf hash says whether it was. What is
//! in `prev` of an entry follows from the one before, so that a block has it once.
//!
//! The additional data of a text is chain id, first sequence number and key id: it can't be put into another place.

use ring::aead::{Aad, NONCE_LEN, Nonce};
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::keys::{DataKey, Found, KeyId, Keys, KeysError, random};
use crate::entry::{Header, MAX_BODY, SALT_LEN};
use crate::frame::{self, MAX_FRAME, Unread};
use crate::hash::Hash;

/// Bytes of the plain segment at which a block is closed: what is decrypted for one entry, and what compresses together.
pub(super) const BLOCK: usize = 1 << 17;
/// More bytes of the plain segment than a block can stand for.
const MOST_PLAIN: usize = BLOCK + MAX_FRAME;
/// More than a block can take itself.
pub(super) const MOST: usize = 2 * MOST_PLAIN;
const LEVEL: i32 = 3;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct Prefix {
    /// Bytes of the block.
    len: U32,
    /// Bytes that its entries have in the plain segment.
    plain_len: U32,
    entries: U32,
    streams: U32,
    first_seq: U64,
    /// Leaf hash of the entry before.
    prev: [u8; 32],
    /// Bytes of the columns, and before they were compressed.
    columns: U32,
    columns_plain: U32,
}

const _: () = assert!(size_of::<Prefix>() == 64);

/// What entries about one owner say.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct StreamPlace {
    key: [u8; 16],
    nonce: [u8; NONCE_LEN],
    /// Bytes of its text.
    len: U32,
    /// Bytes of its bodies.
    plain: U32,
}

/// An entry on its way into a block.
pub(super) struct Item {
    pub(super) header: Header,
    /// Which of the keys is its owner's.
    pub(super) stream: u16,
    pub(super) salt: [u8; SALT_LEN],
    pub(super) body: Vec<u8>,
}

/// A block could not be read: what is wrong with it.
type Damage = &'static str;

/// Appends the block of these entries, which follow the one with the leaf hash `prev`.
pub(super) fn encode(
    prev: &Hash,
    plain_len: usize,
    items: &[Item],
    keys: &[DataKey],
    out: &mut Vec<u8>,
) -> Result<(), KeysError> {
    let start = out.len();
    let Some(first) = items.first().map(|item| item.header) else {
        return Ok(());
    };
    let columns = columns(items);
    let packed = zstd(&columns)?;
    let mut places = Vec::new();
    let mut texts = Vec::new();
    for (stream, key) in keys.iter().enumerate() {
        let of_it = || items.iter().filter(|item| usize::from(item.stream) == stream);
        let bodies: Vec<u8> = of_it().flat_map(|item| item.body.iter().copied()).collect();
        let mut text = zstd(&bodies)?;
        text.extend(of_it().flat_map(|item| item.salt));
        let nonce = random::<NONCE_LEN>()?;
        let aad = text_aad(&first.chain_id, first.seq, key.id);
        key.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text)
            .map_err(|_| KeysError::Random)?;
        places.push(StreamPlace {
            key: key.id.0,
            nonce,
            len: small(text.len()),
            plain: small(bodies.len()),
        });
        texts.append(&mut text);
    }
    let len = size_of::<Prefix>()
        + places.as_bytes().len()
        + packed.len()
        + items.len() * Hash::LEN
        + texts.len();
    let prefix = Prefix {
        len: small(len),
        plain_len: small(plain_len),
        entries: small(items.len()),
        streams: small(places.len()),
        first_seq: U64::new(first.seq),
        prev: prev.0,
        columns: small(packed.len()),
        columns_plain: small(columns.len()),
    };
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(places.as_bytes());
    out.append(&mut packed.clone());
    for item in items {
        out.extend_from_slice(&item.header.commitment.0);
    }
    out.append(&mut texts);
    debug_assert_eq!(out.len() - start, len);
    Ok(())
}

/// A length that the limits of a block keep far below 2³².
fn small(len: usize) -> U32 {
    U32::new(u32::try_from(len).unwrap_or(u32::MAX))
}

fn zstd(bytes: &[u8]) -> Result<Vec<u8>, KeysError> {
    // It fails only for lack of memory or for a level that there is not.
    zstd::bulk::compress(bytes, LEVEL).map_err(|_| KeysError::Random)
}

fn text_aad(chain_id: &[u8; 16], first_seq: u64, key: KeyId) -> Aad<[u8; 40]> {
    let mut aad = [0; 40];
    aad[..16].copy_from_slice(chain_id);
    aad[16..24].copy_from_slice(&first_seq.to_le_bytes());
    aad[24..].copy_from_slice(&key.0);
    Aad::from(aad)
}

fn columns(items: &[Item]) -> Vec<u8> {
    let mut boots: Vec<[u8; 16]> = Vec::new();
    let (mut times, mut kinds, mut lens) = (Vec::new(), Vec::new(), Vec::new());
    let (mut streams, mut turns, mut named) = (Vec::new(), Vec::new(), Vec::new());
    let mut checkpoints = Vec::new();
    let mut before = 0;
    for item in items {
        let header = &item.header;
        times.push(U64::new(header.time.wrapping_sub(before)));
        before = header.time;
        kinds.push(U32::new(header.kind));
        lens.push(small(SALT_LEN + item.body.len()));
        streams.push(U16::new(item.stream));
        let turn = boots.iter().position(|boot| *boot == header.boot_id);
        let turn = turn.unwrap_or_else(|| {
            boots.push(header.boot_id);
            boots.len() - 1
        });
        turns.push(U16::new(u16::try_from(turn).unwrap_or(u16::MAX)));
        named.push(u8::from(header.checkpoint.is_some()));
        checkpoints.extend(header.checkpoint.map(|hash| hash.0));
    }
    [
        times.as_bytes(),
        kinds.as_bytes(),
        lens.as_bytes(),
        streams.as_bytes(),
        turns.as_bytes(),
        &named,
        boots.as_bytes(),
        checkpoints.as_bytes(),
    ]
    .concat()
}

/// The columns as they are read.
struct Columns<'a> {
    times: &'a [U64],
    kinds: &'a [U32],
    lens: &'a [U32],
    streams: &'a [U16],
    turns: &'a [U16],
    named: &'a [u8],
    boots: &'a [[u8; 16]],
    checkpoints: &'a [[u8; 32]],
}

impl<'a> Columns<'a> {
    fn read(bytes: &'a [u8], entries: usize) -> Result<Self, Damage> {
        const SHORT: Damage = "its columns are too short";
        let (times, rest) = <[U64]>::ref_from_prefix_with_elems(bytes, entries).map_err(|_| SHORT)?;
        let (kinds, rest) = <[U32]>::ref_from_prefix_with_elems(rest, entries).map_err(|_| SHORT)?;
        let (lens, rest) = <[U32]>::ref_from_prefix_with_elems(rest, entries).map_err(|_| SHORT)?;
        let (streams, rest) = <[U16]>::ref_from_prefix_with_elems(rest, entries).map_err(|_| SHORT)?;
        let (turns, rest) = <[U16]>::ref_from_prefix_with_elems(rest, entries).map_err(|_| SHORT)?;
        let (named, rest) = rest.split_at_checked(entries).ok_or(SHORT)?;
        let checkpoints = named.iter().filter(|&&flag| flag == 1).count();
        let boots = rest.len().checked_sub(checkpoints * Hash::LEN).ok_or(SHORT)?;
        let (boots, checkpoints) = rest.split_at(boots);
        Ok(Self {
            times,
            kinds,
            lens,
            streams,
            turns,
            named,
            boots: <[[u8; 16]]>::ref_from_bytes(boots).map_err(|_| SHORT)?,
            checkpoints: <[[u8; 32]]>::ref_from_bytes(checkpoints).map_err(|_| SHORT)?,
        })
    }
}

/// What a stream says, as far as it can be read.
enum Stream {
    Read { bodies: Vec<u8>, salts: Vec<u8> },
    Unread(Unread),
}

/// Appends the bytes that the entries of a block have in the plain segment; those that can't be read are marked so.
pub(super) fn decode(
    bytes: &[u8],
    chain_id: &[u8; 16],
    keys: &Keys,
    out: &mut Vec<u8>,
) -> Result<(), Damage> {
    const CUT: Damage = "a block is cut off";
    let (prefix, rest) = Prefix::ref_from_prefix(bytes).map_err(|_| CUT)?;
    let entries = length(prefix.entries);
    let plain_len = length(prefix.plain_len);
    if length(prefix.len) != bytes.len() || plain_len > MOST_PLAIN || entries > plain_len {
        return Err("the lengths of a block are not possible");
    }
    let streams = length(prefix.streams);
    let (places, rest) =
        <[StreamPlace]>::ref_from_prefix_with_elems(rest, streams).map_err(|_| CUT)?;
    let (packed, rest) = rest.split_at_checked(length(prefix.columns)).ok_or(CUT)?;
    let columns = unzstd(packed, length(prefix.columns_plain))?;
    let columns = Columns::read(&columns, entries)?;
    let (commitments, mut rest) =
        <[[u8; 32]]>::ref_from_prefix_with_elems(rest, entries).map_err(|_| CUT)?;
    let first_seq = prefix.first_seq.get();
    let mut texts = Vec::new();
    for place in places {
        let (text, after) = rest.split_at_checked(length(place.len)).ok_or(CUT)?;
        rest = after;
        let id = KeyId(place.key);
        texts.push(match keys.find(id) {
            Found::Missing => Stream::Unread(Unread::Withheld),
            Found::Erased => Stream::Unread(Unread::Erased),
            Found::Here(key) => {
                let nonce = Nonce::assume_unique_for_key(place.nonce);
                let mut text = text.to_vec();
                let opened = key.open_in_place(nonce, text_aad(chain_id, first_seq, id), &mut text);
                let opened = opened.map_err(|_| "what entries say can't be decrypted")?;
                let index = texts.len();
                let mine = columns.streams.iter().filter(|of| usize::from(of.get()) == index);
                let salts = mine.count() * SALT_LEN;
                let end = opened.len().checked_sub(salts).ok_or(CUT)?;
                let (packed, salts) = opened.split_at(end);
                let bodies = unzstd(packed, length(place.plain))?;
                let salts = salts.to_vec();
                Stream::Read { bodies, salts }
            }
        });
    }
    if !rest.is_empty() {
        return Err("something follows a block");
    }
    let before = out.len();
    out.reserve(plain_len);
    frames(prefix, chain_id, &columns, commitments, &texts, out)?;
    if out.len() - before == plain_len {
        Ok(())
    } else {
        Err("the entries of a block have another length than is said")
    }
}

fn frames(
    prefix: &Prefix,
    chain_id: &[u8; 16],
    columns: &Columns<'_>,
    commitments: &[[u8; 32]],
    texts: &[Stream],
    out: &mut Vec<u8>,
) -> Result<(), Damage> {
    const BESIDE: Damage = "an entry of a block points beside what is there";
    let mut prev = Hash(prefix.prev);
    let mut time = 0_u64;
    let mut checkpoints = columns.checkpoints.iter();
    let mut at = vec![(0, 0); texts.len()];
    for (index, commitment) in commitments.iter().enumerate() {
        time = time.wrapping_add(columns.times[index].get());
        let checkpoint = match columns.named[index] {
            0 => None,
            1 => Some(Hash(*checkpoints.next().ok_or(BESIDE)?)),
            _ => return Err(BESIDE),
        };
        let header = Header {
            seq: prefix.first_seq.get().wrapping_add(index as u64),
            time,
            kind: columns.kinds[index].get(),
            chain_id: *chain_id,
            prev,
            boot_id: *columns.boots.get(usize::from(columns.turns[index].get())).ok_or(BESIDE)?,
            commitment: Hash(*commitment),
            checkpoint,
        };
        let len = length(columns.lens[index]);
        let body_len = len.checked_sub(SALT_LEN).filter(|&len| len <= MAX_BODY).ok_or(BESIDE)?;
        let stream = usize::from(columns.streams[index].get());
        prev = match texts.get(stream).ok_or(BESIDE)? {
            Stream::Unread(why) => frame::encode_unread(&header, len, *why, out),
            Stream::Read { bodies, salts } => {
                let (body_at, salt_at) = at[stream];
                let (body_end, salt_end) = (body_at + body_len, salt_at + SALT_LEN);
                let body = bodies.get(body_at..body_end).ok_or(BESIDE)?;
                let salt = salts.get(salt_at..salt_end).ok_or(BESIDE)?;
                at[stream] = (body_end, salt_end);
                let salt: &[u8; SALT_LEN] = salt.try_into().map_err(|_| BESIDE)?;
                frame::encode(&header, salt, body, out)
            }
        };
    }
    let all_read = texts.iter().zip(&at).all(|(text, &(body, salt))| match text {
        Stream::Unread(_) => true,
        Stream::Read { bodies, salts } => bodies.len() == body && salts.len() == salt,
    });
    if all_read { Ok(()) } else { Err("something in a block belongs to no entry") }
}

fn length(number: U32) -> usize {
    usize::try_from(number.get()).unwrap_or(usize::MAX)
}

fn unzstd(bytes: &[u8], len: usize) -> Result<Vec<u8>, Damage> {
    const DAMAGE: Damage = "a part of a block can't be decompressed";
    if len > MOST_PLAIN {
        return Err(DAMAGE);
    }
    let plain = zstd::bulk::decompress(bytes, len).map_err(|_| DAMAGE)?;
    if plain.len() == len { Ok(plain) } else { Err(DAMAGE) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::day::Day;

    const CHAIN: [u8; 16] = [1; 16];

    /// A block of entries of three owners, and the bytes that it stands for.
    fn sample(keys: &Keys) -> (Vec<u8>, Vec<u8>) {
        let day = Day::parse("2026-11-20").unwrap();
        let owners = ["", "one", "two"].map(|owner| keys.of(day, owner).unwrap());
        let (mut items, mut plain, mut prev) = (Vec::new(), Vec::new(), Hash([9; 32]));
        for seq in 40..70_u64 {
            let (salt, body) = ([3; SALT_LEN], format!("entry {seq}").into_bytes());
            let header = Header {
                seq,
                time: day.start() + seq * 1_000,
                kind: 20,
                chain_id: CHAIN,
                prev,
                boot_id: [u8::from(seq > 50); 16],
                commitment: Hash::of_parts(&[&salt, &body]),
                checkpoint: seq.is_multiple_of(7).then_some(Hash([4; 32])),
            };
            prev = frame::encode(&header, &salt, &body, &mut plain);
            let stream = u16::try_from(seq % 3).unwrap();
            items.push(Item { header, stream, salt, body });
        }
        let mut block = Vec::new();
        encode(&Hash([9; 32]), plain.len(), &items, &owners, &mut block).unwrap();
        (block, plain)
    }

    fn keys(dir: &std::path::Path) -> Keys {
        Keys::create(&dir.join("log.keys"), &dir.join("log.kek")).unwrap()
    }

    #[test]
    fn a_block_gives_what_went_into_it_and_without_keys_as_many_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let keys = keys(dir.path());
        let (block, plain) = sample(&keys);
        let mut out = Vec::new();
        decode(&block, &CHAIN, &keys, &mut out).unwrap();
        assert_eq!(out, plain);
        out.clear();
        decode(&block, &CHAIN, &Keys::none(), &mut out).unwrap();
        assert_eq!(out.len(), plain.len());
        assert_ne!(out, plain);
        // Of another log or place its texts are not.
        assert!(decode(&block, &[2; 16], &keys, &mut Vec::new()).is_err());
    }

    #[test]
    fn a_changed_block_is_refused_or_gives_entries_that_are_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let keys = keys(dir.path());
        let (block, plain) = sample(&keys);
        for at in 0..block.len() {
            let mut changed = block.clone();
            changed[at] ^= 1 << (at % 8);
            let mut out = Vec::new();
            // A header that was changed has another hash, which the next entry and the tree have not.
            if decode(&changed, &CHAIN, &keys, &mut out).is_ok() {
                assert!(out.len() == plain.len() && out != plain, "byte {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_blocks_never_panic(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
            is_cut in any::<bool>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let keys = keys(dir.path());
            let (mut block, _) = sample(&keys);
            for (at, byte) in changes {
                let at = at.index(block.len());
                block[at] = byte;
            }
            if is_cut {
                block.truncate(cut.index(block.len()));
                if let Some(len) = block.get_mut(..4) {
                    let bytes = u32::try_from(cut.index(4000)).unwrap().to_le_bytes();
                    len.copy_from_slice(&bytes);
                }
            }
            let mut out = Vec::new();
            let _ = decode(&block, &CHAIN, &keys, &mut out);
            prop_assert!(out.len() <= 2 * MOST_PLAIN);
        }

        #[test]
        fn arbitrary_files_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), len in 0_u64..2000) {
            use super::super::file::EncryptedFile;
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x.seg");
            let head = crate::segment::SegmentHeader::new(0, CHAIN, Hash::ZERO).encrypted();
            std::fs::write(&path, [head.bytes(), &bytes].concat()).unwrap();
            let file = std::fs::File::open(&path).unwrap();
            if let Ok(Some(mut file)) = EncryptedFile::open(&file, &Keys::none()) {
                let _ = file.read_at(&mut [0; 64], len);
            }
        }
    }
}
