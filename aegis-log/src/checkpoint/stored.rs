//! Notes as the log stores them: they have one possible form, so every byte counts, and a note that was
//! torn is told from one that was altered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{SIGNATURE_MARK, SignedCheckpoint, decimal};
use crate::hash::Hash;
use crate::key::{SIGNATURE_LEN, VerifierKey};

/// Characters of a hash in base64.
const HASH_BASE64: usize = 44;
/// Characters of key id and Ed25519 signature in base64.
const SIGNATURE_BASE64: usize = 92;

/// What stands at the start of some bytes of a notes file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoredNote {
    /// A whole note, its separating blank line included in `len`. The signature is not yet checked.
    Whole {
        checkpoint: SignedCheckpoint,
        len: usize,
    },
    /// The beginning of a note, cut off.
    Cut,
    /// Something that no writer leaves behind.
    Altered(&'static str),
}

/// Reads the stored note at the start of `bytes`: the one form the writer uses, then a blank line.
pub(crate) fn match_stored(bytes: &[u8], key: &VerifierKey) -> StoredNote {
    let mut from = Matcher { bytes, at: 0 };
    match from.note(key) {
        Ok((size, root)) => {
            let len = from.at;
            // The blank line that separates notes is not part of the note.
            let note = String::from_utf8_lossy(&bytes[..len - 1]).into_owned();
            let checkpoint = SignedCheckpoint {
                origin: key.name().to_owned(),
                size,
                root,
                note,
            };
            StoredNote::Whole { checkpoint, len }
        }
        Err(Mismatch::Cut) => StoredNote::Cut,
        Err(Mismatch::Altered(what)) => StoredNote::Altered(what),
    }
}

/// Appends the stored form of a note.
pub(crate) fn put_stored(checkpoint: &SignedCheckpoint, out: &mut Vec<u8>) {
    out.extend_from_slice(checkpoint.note.as_bytes());
    out.push(b'\n');
}

enum Mismatch {
    Cut,
    Altered(&'static str),
}

struct Matcher<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Matcher<'_> {
    fn note(&mut self, key: &VerifierKey) -> Result<(u64, Hash), Mismatch> {
        self.literal(key.name().as_bytes(), "its origin is not this log's")?;
        self.literal(b"\n", "its origin is not this log's")?;
        let size = self.size()?;
        let root = self.base64(HASH_BASE64, "its root hash is not base64")?;
        let root =
            Hash::from_slice(&root).ok_or(Mismatch::Altered("its root hash is not 32 bytes"))?;
        self.literal(b"\n\n", "the line after its root hash is not blank")?;
        self.literal(
            SIGNATURE_MARK.as_bytes(),
            "its signature line does not begin as one",
        )?;
        self.literal(
            key.name().as_bytes(),
            "its signature is not in the name of the log's key",
        )?;
        self.literal(b" ", "its signature is not in the name of the log's key")?;
        let signature = self.base64(SIGNATURE_BASE64, "its signature is not base64")?;
        if signature.len() != 4 + SIGNATURE_LEN || signature[..4] != key.id() {
            return Err(Mismatch::Altered("its signature is by another key"));
        }
        self.literal(b"\n\n", "it does not end in a blank line")?;
        Ok((size, root))
    }

    fn literal(&mut self, expected: &[u8], what: &'static str) -> Result<(), Mismatch> {
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

    fn size(&mut self) -> Result<u64, Mismatch> {
        let altered = Mismatch::Altered("its tree size is not a number");
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
        self.literal(b"\n", "its tree size is not a number")?;
        Ok(size)
    }

    fn base64(&mut self, len: usize, what: &'static str) -> Result<Vec<u8>, Mismatch> {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SigningKey;

    fn key() -> SigningKey {
        SigningKey::from_pkcs8(&SigningKey::generate().unwrap(), &[7; 16]).unwrap()
    }

    fn stored(key: &SigningKey) -> (SignedCheckpoint, Vec<u8>) {
        let checkpoint = SignedCheckpoint::sign(key, 1234, Hash([5; 32]));
        let mut bytes = Vec::new();
        put_stored(&checkpoint, &mut bytes);
        (checkpoint, bytes)
    }

    #[test]
    fn a_stored_note_cut_anywhere_is_known_as_cut() {
        let key = key();
        let (checkpoint, bytes) = stored(&key);
        for len in 0..bytes.len() {
            assert_eq!(
                match_stored(&bytes[..len], key.verifier()),
                StoredNote::Cut,
                "{len} bytes"
            );
        }
        assert_eq!(
            match_stored(&bytes, key.verifier()),
            StoredNote::Whole {
                checkpoint,
                len: bytes.len()
            }
        );
    }

    #[test]
    fn every_changed_bit_of_a_stored_note_is_noticed_and_not_taken_for_a_cut() {
        let key = key();
        let (_, bytes) = stored(&key);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let noticed = match match_stored(&changed, key.verifier()) {
                    StoredNote::Whole { checkpoint, .. } => {
                        checkpoint.verify(key.verifier()).is_err()
                    }
                    StoredNote::Altered(_) => true,
                    StoredNote::Cut => false,
                };
                assert!(noticed, "byte {at}, bit {bit}");
            }
        }
    }
}
