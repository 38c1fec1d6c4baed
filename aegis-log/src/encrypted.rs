//! Segments at rest: compressed, and encrypted under a key for each day and each one whom entries are about.
//!
//! A segment that has ended is put in this form by the writer, in a file of the same name. Read through here it gives the
//! bytes that it had: entries lie at the same offsets, with the same headers and hashes. Headers can be read without any
//! key, so that chain, tree and signatures are checked by anyone; what entries say takes the keys, and where one was
//! destroyed the entries stay in their place and say nothing.
//!
//! | | |
//! |---|---|
//! | segment header | as of a plain one, with encoding 1 |
//! | blocks | see `block` |
//! | directory | for each block 24 bytes: its first sequence number, where it begins in the plain segment, and in this file |
//! | ending | 24 bytes: where the directory begins, bytes of the plain segment, blocks |
//! | statement | a signed note of one length: the SHA-256 of all that stands before it |
//!
//! Numbers are little-endian. The statement is by the log's key, so that every byte is checked, encrypted ones too, by who
//! has no keys.

mod block;
mod draft;
pub(crate) mod file;
pub(crate) mod keys;

pub use self::draft::{Draft, EncryptError, encrypt_segment};
pub(crate) use self::file::EncryptedFile;
pub use self::keys::{Erased, EraseError, Keys, KeysError};

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zerocopy::byteorder::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checkpoint::signed_note;
use crate::finding::{Code, Finding};
use crate::hash::Hash;
use crate::key::{SigningKey, VerifierKey};
use crate::matcher::{Matcher, Mismatch};
use crate::walk::Stop;

/// Bytes of the statement: every log's name has the same length.
const STATEMENT_LEN: usize = 231;

/// Where a block lies.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
struct BlockPlace {
    first_seq: U64,
    /// Where its first entry begins in the plain segment.
    plain: U64,
    /// Where it begins in the encrypted one.
    offset: U64,
}

/// What stands between directory and statement.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct Ending {
    directory: U64,
    plain_len: U64,
    blocks: U64,
}

fn statement_name(log: &VerifierKey) -> String {
    format!("{}/encrypted", log.name())
}

/// The statement about a file with such a hash.
pub(crate) fn statement(key: &SigningKey, hash: &Hash) -> String {
    let name = statement_name(key.verifier());
    signed_note(key, &format!("{name}\n{}\n", STANDARD.encode(hash)))
}

/// Every byte of an encrypted segment is one that the log's key signed.
pub(crate) fn check(path: &Path, name: &str, key: &VerifierKey) -> Result<(), Stop> {
    let found = |what: String| {
        Stop::from(Finding::new(Code::EntryDamaged, what).in_file(name, 0))
    };
    let (hash, last) = Hash::of_file_but(path, STATEMENT_LEN as u64)?;
    let what = match stated(&last, key) {
        Ok(stated) if stated == hash => return Ok(()),
        Ok(_) => "it was changed since it was signed",
        Err(Mismatch::Cut) => "its end is cut off",
        Err(Mismatch::Altered(what)) => what,
    };
    Err(found(format!("the encrypted segment is not as it was made: {what}")))
}

/// The hash that a statement vouches for.
fn stated(bytes: &[u8], key: &VerifierKey) -> Result<Hash, Mismatch> {
    // As notes are stored elsewhere, with the empty line behind.
    let stored = [bytes, b"\n"].concat();
    let mut from = Matcher::new(&stored);
    from.literal(statement_name(key).as_bytes(), "it is of another log")?;
    from.literal(b"\n", "it is of another log")?;
    let hash = from.root()?;
    from.literal(b"\n", "something follows its hash")?;
    let text_len = from.at();
    from.literal(b"\n", "the line before its signature is not blank")?;
    let signature = from.signature(key)?;
    if from.at() != stored.len() {
        return Err(Mismatch::Altered("something follows it"));
    }
    if !key.verifies(&bytes[..text_len], &signature) {
        return Err(Mismatch::Altered("its signature does not hold"));
    }
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_one_length_and_every_changed_bit_of_it_is_noticed() {
        let key = SigningKey::from_pkcs8(&SigningKey::generate().unwrap(), &[7; 16]).unwrap();
        let hash = Hash([3; 32]);
        let text = statement(&key, &hash);
        assert_eq!(text.len(), STATEMENT_LEN);
        assert!(stated(text.as_bytes(), key.verifier()).is_ok_and(|stated| stated == hash));
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut changed = text.clone().into_bytes();
                changed[at] ^= 1 << bit;
                assert!(stated(&changed, key.verifier()).is_err(), "byte {at}, bit {bit}");
            }
        }
    }
}
