//! SHA-256 as RFC 6962 uses it: leaves and inner nodes are hashed with different prefixes, so that
//! neither can pass for the other.
//!
//! Knows nothing of entries.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use ring::digest::{Context, SHA256, digest};

use crate::durable::IoError;

/// A SHA-256 value: a leaf, a node, a root or a commitment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The number of bytes in a hash.
    pub const LEN: usize = 32;
    /// The "hash of the entry before" that the first entry of a log carries.
    pub const ZERO: Self = Self([0; 32]);

    /// SHA-256 of `bytes`, without a prefix.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_digest(digest(&SHA256, bytes))
    }

    /// SHA-256 of the parts one after the other: how a commitment is made from salt and body.
    #[must_use]
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(part);
        }
        Self::from_digest(context.finish())
    }

    /// SHA-256 of what is in a file.
    pub(crate) fn of_file(path: &Path) -> Result<Self, IoError> {
        let failed = |source| IoError::new("read", path, source);
        let mut file = File::open(path).map_err(failed)?;
        let (mut context, mut buffer) = (Context::new(&SHA256), vec![0; 1 << 16]);
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(Self::from_digest(context.finish())),
                Ok(read) => context.update(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(failed(source)),
            }
        }
    }

    /// SHA-256 of what is in a file before its last bytes, and those, fewer where the file is shorter.
    pub(crate) fn of_file_but(path: &Path, last: u64) -> Result<(Self, Vec<u8>), IoError> {
        let failed = |source| IoError::new("read", path, source);
        let mut file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let mut context = Context::new(&SHA256);
        let mut before = (&mut file).take(len.saturating_sub(last));
        let mut buffer = vec![0; 1 << 16];
        loop {
            match before.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => context.update(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(failed(source)),
            }
        }
        let mut rest = Vec::new();
        // More than it had is more than it should have.
        file.take(last + 1).read_to_end(&mut rest).map_err(failed)?;
        Ok((Self::from_digest(context.finish()), rest))
    }

    /// The RFC 6962 hash of a leaf: SHA-256(0x00 ‖ data).
    #[must_use]
    pub fn leaf(data: &[u8]) -> Self {
        Self::of_parts(&[&[0], data])
    }

    /// The RFC 6962 hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
    #[must_use]
    pub fn node(left: &Self, right: &Self) -> Self {
        let mut buffer = [0_u8; 1 + 2 * Self::LEN];
        buffer[0] = 1;
        buffer[1..=Self::LEN].copy_from_slice(&left.0);
        buffer[1 + Self::LEN..].copy_from_slice(&right.0);
        Self::of(&buffer)
    }

    /// The root of the tree without leaves: SHA-256 of nothing.
    #[must_use]
    pub fn empty_root() -> Self {
        Self::of(&[])
    }

    /// The hash in `bytes`, if there are exactly 32 of them.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    fn from_digest(digest: ring::digest::Digest) -> Self {
        let mut out = [0; Self::LEN];
        out.copy_from_slice(digest.as_ref());
        Self(out)
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Lower-case hexadecimal.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Lower-case hexadecimal of any bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing to a String has no failure to report.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// The bytes of a lower-case hexadecimal text of exactly `N` bytes.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N * 2 {
        return None;
    }
    let mut out = [0; N];
    for (index, pair) in text.as_bytes().chunks_exact(2).enumerate() {
        out[index] = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(out)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_agree_with_the_tlog_oracle() {
        let leaf = Hash::leaf(b"a record");
        assert_eq!(leaf.0, tlog_tiles::record_hash(b"a record").0);
        let other = Hash::leaf(b"another");
        let oracle = tlog_tiles::node_hash(tlog_tiles::Hash(leaf.0), tlog_tiles::Hash(other.0));
        assert_eq!(Hash::node(&leaf, &other).0, oracle.0);
        assert_eq!(Hash::empty_root().0, tlog_tiles::EMPTY_HASH.0);
    }

    #[test]
    fn hexadecimal_goes_there_and_back_and_takes_no_capitals() {
        assert_eq!(from_hex::<3>(&hex(&[0, 171, 255])), Some([0, 171, 255]));
        assert_eq!(from_hex::<1>("AB"), None);
        assert_eq!(from_hex::<1>("abc"), None);
    }
}
