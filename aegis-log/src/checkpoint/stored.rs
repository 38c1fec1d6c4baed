//! Notes as the log stores them: they have one possible form, so every byte counts, and a note that was
//! torn is told from one that was altered.

use super::SignedCheckpoint;
use crate::hash::Hash;
use crate::key::VerifierKey;
use crate::matcher::{Matcher, Mismatch};

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
    let mut from = Matcher::new(bytes);
    match note(&mut from, key) {
        Ok((size, root)) => {
            let len = from.at();
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

/// Size and root of the note in its one form.
fn note(from: &mut Matcher<'_>, key: &VerifierKey) -> Result<(u64, Hash), Mismatch> {
    from.literal(key.name().as_bytes(), "its origin is not this log's")?;
    from.literal(b"\n", "its origin is not this log's")?;
    let size = from.number("its tree size is not a number")?;
    let root = from.root()?;
    from.literal(b"\n\n", "the line after its root hash is not blank")?;
    from.signature(key)?;
    Ok((size, root))
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
