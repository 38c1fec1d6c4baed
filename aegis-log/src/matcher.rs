//! Reading text that has one possible form: what was cut off is told from what was altered.
//!
//! Knows bytes and how they are spelt, not what they say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{SIGNATURE_MARK, decimal};
use crate::hash::Hash;
use crate::key::{SIGNATURE_LEN, VerifierKey};

/// Characters of a hash in base64.
const HASH_BASE64: usize = 44;
/// Characters of key id and Ed25519 signature in base64.
const SIGNATURE_BASE64: usize = 92;

/// Why bytes are not what is expected.
pub(crate) enum Mismatch {
    /// They end too early.
    Cut,
    /// They are something that no writer leaves behind.
    Altered(&'static str),
}

/// Bytes that are read from the front.
pub(crate) struct Matcher<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Matcher<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How far it is.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// These bytes and no others.
    pub(crate) fn literal(&mut self, expected: &[u8], what: &'static str) -> Result<(), Mismatch> {
        let rest = &self.bytes[self.at..];
        if let Some(have) = rest.get(..expected.len()) {
            self.at += expected.len();
            return if have == expected {
                Ok(())
            } else {
                Err(Mismatch::Altered(what))
            };
        }
        Err(if expected.starts_with(rest) {
            Mismatch::Cut
        } else {
            Mismatch::Altered(what)
        })
    }

    /// A number in decimal, and the end of its line.
    pub(crate) fn number(&mut self, what: &'static str) -> Result<u64, Mismatch> {
        let altered = Mismatch::Altered(what);
        let rest = &self.bytes[self.at..];
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == rest.len() && digits <= 20 {
            return Err(Mismatch::Cut);
        }
        let text = std::str::from_utf8(&rest[..digits]).unwrap_or_default();
        let Some(size) = decimal(text) else {
            return Err(altered);
        };
        self.at += digits;
        self.literal(b"\n", what)?;
        Ok(size)
    }

    /// So many characters of base64, decoded.
    pub(crate) fn base64(&mut self, len: usize, what: &'static str) -> Result<Vec<u8>, Mismatch> {
        let rest = &self.bytes[self.at..];
        let Some(text) = rest.get(..len) else {
            let plausible = rest
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(b));
            return Err(if plausible {
                Mismatch::Cut
            } else {
                Mismatch::Altered(what)
            });
        };
        self.at += len;
        STANDARD.decode(text).map_err(|_| Mismatch::Altered(what))
    }

    /// So many digits of a hexadecimal number.
    pub(crate) fn hexadecimal(&mut self, len: usize, what: &'static str) -> Result<(), Mismatch> {
        let rest = &self.bytes[self.at..];
        let text = &rest[..len.min(rest.len())];
        if !text
            .iter()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
        {
            return Err(Mismatch::Altered(what));
        }
        if text.len() < len {
            return Err(Mismatch::Cut);
        }
        self.at += len;
        Ok(())
    }

    /// What was read since there, as text.
    pub(crate) fn since(&self, begin: usize) -> Option<&'a str> {
        std::str::from_utf8(self.bytes.get(begin..self.at)?).ok()
    }

    /// A hash in base64.
    pub(crate) fn root(&mut self) -> Result<Hash, Mismatch> {
        let root = self.base64(HASH_BASE64, "its root hash is not base64")?;
        Hash::from_slice(&root).ok_or(Mismatch::Altered("its root hash is not 32 bytes"))
    }

    /// The one signature line under a note, of this key, and the blank line behind. Whether it holds is not checked.
    pub(crate) fn signature(&mut self, key: &VerifierKey) -> Result<Vec<u8>, Mismatch> {
        self.literal(
            SIGNATURE_MARK.as_bytes(),
            "its signature line does not begin as one",
        )?;
        self.literal(
            key.name().as_bytes(),
            "its signature is not in the name of the key",
        )?;
        self.literal(b" ", "its signature is not in the name of the key")?;
        let mut signature = self.base64(SIGNATURE_BASE64, "its signature is not base64")?;
        if signature.len() != 4 + SIGNATURE_LEN || signature[..4] != key.id() {
            return Err(Mismatch::Altered("its signature is by another key"));
        }
        self.literal(b"\n\n", "it does not end in a blank line")?;
        Ok(signature.split_off(4))
    }
}
