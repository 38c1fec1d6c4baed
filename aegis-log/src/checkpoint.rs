//! Checkpoints: C2SP tlog-checkpoint texts in C2SP signed notes.
//!
//! Two readers, on purpose. [`SignedCheckpoint::parse_all`] reads notes from elsewhere, which may carry
//! other people's signatures; the log's own notes are read by [`stored`].
//!
//! Knows texts and signatures, not trees or files.

pub(crate) mod stored;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hash::Hash;
use crate::key::{SigningKey, VerifierKey};

/// What a signature line begins with: an em dash and a space.
pub(crate) const SIGNATURE_MARK: &str = "\u{2014} ";

/// A signed statement of the log: its tree had this size and this root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    origin: String,
    size: u64,
    root: Hash,
    note: String,
}

/// Why a text is not a checkpoint, or not one of this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The text is not a signed note with a checkpoint in it.
    #[error("not a checkpoint: {0}")]
    Malformed(&'static str),
    /// The log's key has not signed it.
    #[error("the checkpoint carries no signature by the log's key")]
    NotSigned,
    /// There is a signature in the key's name that does not hold.
    #[error(
        "the signature in the name of the log's key does not hold: the checkpoint was altered or forged"
    )]
    BadSignature,
    /// It speaks of another log.
    #[error("the checkpoint is of another log (its origin is not this log's)")]
    Origin,
}

impl SignedCheckpoint {
    pub(crate) fn sign(key: &SigningKey, size: u64, root: Hash) -> Self {
        let origin = key.verifier().name().to_owned();
        let text = format!("{origin}\n{size}\n{}\n", STANDARD.encode(root));
        let note = signed_note(key, &text);
        Self {
            origin,
            size,
            root,
            note,
        }
    }

    /// The log that made the statement.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Entries in the tree.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root of the tree.
    #[must_use]
    pub fn root(&self) -> &Hash {
        &self.root
    }

    /// The signed note: what to keep elsewhere, and what other tools read.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }

    /// SHA-256 of the note, which the next entry's header carries.
    #[must_use]
    pub fn note_hash(&self) -> Hash {
        Hash::of(self.note.as_bytes())
    }

    /// Whether the log's key signed this for its own origin.
    ///
    /// # Errors
    /// [`CheckpointError`] says why it is not to be believed.
    pub fn verify(&self, key: &VerifierKey) -> Result<(), CheckpointError> {
        if self.origin != key.name() {
            return Err(CheckpointError::Origin);
        }
        let text = self.text();
        let mut signed = false;
        for line in self.signatures() {
            let (name, signature) = line?;
            // Signatures by unknown keys, such as witnesses', are passed over as C2SP requires.
            if name == key.name() && signature[..4] == key.id() {
                if !key.verifies(text.as_bytes(), &signature[4..]) {
                    return Err(CheckpointError::BadSignature);
                }
                signed = true;
            }
        }
        if signed {
            Ok(())
        } else {
            Err(CheckpointError::NotSigned)
        }
    }

    /// The statement itself: what signatures are over.
    pub(crate) fn text(&self) -> &str {
        split_note(&self.note).map_or("", |(text, _)| text)
    }

    /// The signature lines under it.
    pub(crate) fn signature_lines(&self) -> impl Iterator<Item = &str> {
        split_note(&self.note)
            .map_or("", |(_, signatures)| signatures)
            .lines()
    }

    /// The signatures under it: name, and key id with signature.
    pub(crate) fn signatures(
        &self,
    ) -> impl Iterator<Item = Result<(&str, Vec<u8>), CheckpointError>> {
        self.signature_lines().map(signature_line)
    }

    /// The same statement with these signature lines under it and no others.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`] if one of them is none.
    pub(crate) fn signed_by<'a>(
        &self,
        lines: impl Iterator<Item = &'a str>,
    ) -> Result<Self, CheckpointError> {
        let mut note = format!("{}\n", self.text());
        for line in lines {
            signature_line(line)?;
            note.push_str(line);
            note.push('\n');
        }
        Ok(Self {
            note,
            ..self.clone()
        })
    }

    /// Reads one or several notes, one after the other, as kept outside the log.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`] if any of them is not a checkpoint, or there is none.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, CheckpointError> {
        let mut notes = Vec::new();
        let mut rest = text.trim_matches('\n');
        if rest.is_empty() {
            return Err(CheckpointError::Malformed("the text is empty"));
        }
        while !rest.is_empty() {
            let len = note_len(rest)?;
            notes.push(Self::parse_note(&rest[..len])?);
            rest = rest[len..].trim_start_matches('\n');
        }
        Ok(notes)
    }

    fn parse_note(note: &str) -> Result<Self, CheckpointError> {
        // The text that was read may have lost its last newline on the way.
        let note = if note.ends_with('\n') {
            note.to_owned()
        } else {
            format!("{note}\n")
        };
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(CheckpointError::Malformed("it holds control characters"));
        }
        let (text, _) = split_note(&note)?;
        let mut lines = text.lines();
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::Malformed("it has fewer than three lines"));
        };
        let size_number = decimal(size).ok_or(CheckpointError::Malformed(
            "its second line is not a tree size",
        ))?;
        let root = STANDARD
            .decode(root)
            .ok()
            .and_then(|bytes| Hash::from_slice(&bytes));
        let root = root.ok_or(CheckpointError::Malformed(
            "its third line is not a root hash",
        ))?;
        if origin.is_empty() || lines.any(str::is_empty) {
            return Err(CheckpointError::Malformed("a line of its text is empty"));
        }
        Ok(Self {
            origin: origin.to_owned(),
            size: size_number,
            root,
            note,
        })
    }
}

/// A text with this key's signature line under it.
pub(crate) fn signed_note(key: &SigningKey, text: &str) -> String {
    let by = key.verifier();
    let signature = [&by.id()[..], &key.sign(text.as_bytes())].concat();
    format!(
        "{text}\n{SIGNATURE_MARK}{} {}\n",
        by.name(),
        STANDARD.encode(signature)
    )
}

/// The length of the note at the start of `text`: up to the end of its signature lines.
pub(crate) fn note_len(text: &str) -> Result<usize, CheckpointError> {
    let signatures = text
        .find("\n\n")
        .ok_or(CheckpointError::Malformed("it has no signatures"))?
        + 2;
    let mut end = signatures;
    for line in text[signatures..].split_inclusive('\n') {
        if !line.starts_with(SIGNATURE_MARK) {
            break;
        }
        end += line.len();
    }
    if end == signatures {
        Err(CheckpointError::Malformed("it has no signatures"))
    } else {
        Ok(end)
    }
}

pub(crate) fn split_note(note: &str) -> Result<(&str, &str), CheckpointError> {
    let at = note
        .rfind("\n\n")
        .ok_or(CheckpointError::Malformed("it has no signatures"))?;
    Ok((&note[..=at], &note[at + 2..]))
}

pub(crate) fn signature_line(line: &str) -> Result<(&str, Vec<u8>), CheckpointError> {
    let malformed = CheckpointError::Malformed("a signature line is not one");
    let (name, signature) = line
        .strip_prefix(SIGNATURE_MARK)
        .and_then(|rest| rest.split_once(' '))
        .ok_or(malformed)?;
    let signature = STANDARD.decode(signature).map_err(|_| malformed)?;
    if signature.len() < 5 {
        Err(malformed)
    } else {
        Ok((name, signature))
    }
}

/// A number in decimal without leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let plain = text == "0"
        || (!text.starts_with('0') && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::stored::match_stored;
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_pkcs8(&SigningKey::generate().unwrap(), &[7; 16]).unwrap()
    }

    #[test]
    fn the_oracles_read_and_verify_our_checkpoints() {
        let key = key();
        let checkpoint = SignedCheckpoint::sign(&key, 20, Hash([9; 32]));
        let verifier = signed_note::StandardVerifier::new(&key.verifier().to_string()).unwrap();
        let note = signed_note::Note::from_bytes(checkpoint.note().as_bytes()).unwrap();
        let (verified, unknown) = note
            .verify(&signed_note::VerifierList::new(vec![Box::new(verifier)]))
            .unwrap();
        assert_eq!((verified.len(), unknown.len()), (1, 0));
        let theirs = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
        assert_eq!(
            (theirs.origin(), theirs.size(), theirs.hash().0),
            (checkpoint.origin(), 20, [9; 32])
        );
    }

    #[test]
    fn we_read_and_verify_checkpoints_of_the_oracle() {
        let mut key = "PRIVATE+KEY+aegis/log+".to_owned();
        let seed = [3_u8; 32];
        let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let public = [
            &[1_u8][..],
            ring::signature::KeyPair::public_key(&pair).as_ref(),
        ]
        .concat();
        let id = signed_note::key_id("aegis/log", &public);
        key += &format!(
            "{id:08x}+{}",
            STANDARD.encode([&[1_u8][..], &seed].concat())
        );
        let signer = signed_note::StandardSigner::new(&key).unwrap();
        let theirs =
            tlog_tiles::Checkpoint::new("aegis/log", 7, tlog_tiles::Hash([1; 32]), "").unwrap();
        let mut note = signed_note::Note::new(&theirs.to_bytes(), &[]).unwrap();
        note.add_sigs(&[&signer]).unwrap();
        let text = String::from_utf8(note.to_bytes()).unwrap();
        let vkey =
            VerifierKey::parse(&format!("aegis/log+{id:08x}+{}", STANDARD.encode(public))).unwrap();
        let ours = SignedCheckpoint::parse_all(&text).unwrap();
        assert_eq!(ours.len(), 1);
        assert_eq!((ours[0].size(), ours[0].root().0), (7, [1; 32]));
        ours[0].verify(&vkey).unwrap();
    }

    #[test]
    fn several_notes_and_foreign_signatures_are_read() {
        let (key, other) = (key(), key());
        let first = SignedCheckpoint::sign(&key, 1, Hash([1; 32]));
        let second = SignedCheckpoint::sign(&key, 2, Hash([2; 32]));
        let witness = other.verifier();
        let cosigned = format!(
            "{}\u{2014} witness.example {}\n",
            first.note(),
            STANDARD.encode([&witness.id()[..], &[0; 64]].concat())
        );
        let notes =
            SignedCheckpoint::parse_all(&format!("\n{cosigned}\n\n{}", second.note())).unwrap();
        assert_eq!(
            notes.iter().map(SignedCheckpoint::size).collect::<Vec<_>>(),
            [1, 2]
        );
        for note in &notes {
            note.verify(key.verifier()).unwrap();
            assert!(note.verify(witness).is_err());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "(?s).{0,300}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = SignedCheckpoint::parse_all(&text);
            let _ = match_stored(&bytes, VerifierKey::parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k").as_ref().unwrap());
        }
    }
}
