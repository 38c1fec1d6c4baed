//! Cosignatures of C2SP tlog-cosignature, the Ed25519 kind: a witness's word that, at a time, a checkpoint was
//! the largest it had seen of a log that only grew.
//!
//! Knows texts and signatures, not how witnesses are reached.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{CheckpointError, SIGNATURE_MARK, SignedCheckpoint, signature_line};
use crate::key::{Cosigner, CosignerKey, SIGNATURE_LEN};

/// Key id, time, signature.
const COSIGNATURE_LEN: usize = 4 + 8 + SIGNATURE_LEN;

/// What a cosignature is over.
fn message(checkpoint: &SignedCheckpoint, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{}", checkpoint.text())
}

impl Cosigner {
    /// The signature line, without its newline, for a checkpoint that was the largest at `time`, in seconds since
    /// the Unix epoch.
    pub(crate) fn cosign(&self, checkpoint: &SignedCheckpoint, time: u64) -> String {
        let signature = self.sign(message(checkpoint, time).as_bytes());
        let bytes = [&self.key().id()[..], &time.to_be_bytes(), &signature].concat();
        format!(
            "{SIGNATURE_MARK}{} {}",
            self.key().name(),
            STANDARD.encode(bytes)
        )
    }
}

impl CosignerKey {
    /// When this witness cosigned the checkpoint, in seconds since the Unix epoch; `None` if it did not.
    ///
    /// # Errors
    /// [`CheckpointError::BadSignature`] if a signature in its name does not hold.
    pub fn cosigned(&self, checkpoint: &SignedCheckpoint) -> Result<Option<u64>, CheckpointError> {
        let mut newest = None;
        for line in checkpoint.signatures() {
            let (name, bytes) = line?;
            if name != self.name() || bytes[..4] != self.id() {
                continue;
            }
            newest = newest.max(Some(self.time_of(checkpoint, &bytes)?));
        }
        Ok(newest)
    }

    fn time_of(&self, checkpoint: &SignedCheckpoint, bytes: &[u8]) -> Result<u64, CheckpointError> {
        if bytes.len() != COSIGNATURE_LEN {
            return Err(CheckpointError::BadSignature);
        }
        let (time, signature) = bytes[4..].split_at(8);
        let time = time.try_into().map_or(0, u64::from_be_bytes);
        // Zero and what has the highest bit are no times of a cosignature.
        let plausible = time != 0 && time <= u64::MAX >> 1;
        if plausible && self.verifies(message(checkpoint, time).as_bytes(), signature) {
            Ok(time)
        } else {
            Err(CheckpointError::BadSignature)
        }
    }
}

impl SignedCheckpoint {
    /// This checkpoint with the cosignature of `key` that is among these signature lines, the last if there are
    /// several, in the place of an earlier one. Lines of others, which anyone could have put there, are left out.
    ///
    /// # Errors
    /// [`CheckpointError`] if there is none, or it does not hold.
    pub fn with_cosignature(
        &self,
        lines: &str,
        key: &CosignerKey,
    ) -> Result<Self, CheckpointError> {
        let of_key = |line: &&str| {
            signature_line(line)
                .is_ok_and(|(name, bytes)| name == key.name() && bytes[..4] == key.id())
        };
        let before = self.signature_lines().filter(|line| !of_key(line));
        let own = lines.lines().rfind(of_key);
        let cosigned = self.signed_by(before.chain(own))?;
        match key.cosigned(&cosigned)? {
            Some(_) => Ok(cosigned),
            None => Err(CheckpointError::NotSigned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hash;
    use crate::key::SigningKey;

    fn cosigner() -> Cosigner {
        Cosigner::from_pkcs8(&SigningKey::generate().unwrap(), "witness.example/w1").unwrap()
    }

    fn checkpoint() -> SignedCheckpoint {
        let key = SigningKey::from_pkcs8(&SigningKey::generate().unwrap(), &[7; 16]).unwrap();
        SignedCheckpoint::sign(&key, 20, Hash([9; 32]))
    }

    #[test]
    fn the_example_of_the_c2sp_specification_is_what_is_signed() {
        let note = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
        let checkpoint = SignedCheckpoint::parse_all(note).unwrap().remove(0);
        assert_eq!(
            message(&checkpoint, 1_679_315_147),
            "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
        );
    }

    /// The oracle knows signed notes; the rule of cosignatures is given to it with the primitive of another library.
    struct OracleCosigner(CosignerKey, ed25519_dalek::VerifyingKey);

    impl signed_note::Verifier for OracleCosigner {
        fn name(&self) -> &str {
            self.0.name()
        }

        fn key_id(&self) -> u32 {
            let key = [&[4_u8][..], self.1.as_bytes()].concat();
            signed_note::key_id(self.0.name(), &key)
        }

        fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
            let (time, signature) = signature.split_first_chunk::<8>().unwrap();
            let header = format!("cosignature/v1\ntime {}\n", u64::from_be_bytes(*time));
            let signature = ed25519_dalek::Signature::from_slice(signature).unwrap();
            let message = [header.as_bytes(), text].concat();
            self.1.verify_strict(&message, &signature).is_ok()
        }
    }

    #[test]
    fn the_oracle_takes_our_cosignatures() {
        let (cosigner, checkpoint) = (cosigner(), checkpoint());
        let cosigned = checkpoint
            .with_cosignature(&cosigner.cosign(&checkpoint, 1_700_000_000), cosigner.key())
            .unwrap();
        let public = ed25519_dalek::VerifyingKey::from_bytes(cosigner.key().public()).unwrap();
        let oracle = OracleCosigner(cosigner.key().clone(), public);
        let note = signed_note::Note::from_bytes(cosigned.note().as_bytes()).unwrap();
        let (verified, unknown) = note
            .verify(&signed_note::VerifierList::new(vec![Box::new(oracle)]))
            .unwrap();
        assert_eq!((verified.len(), unknown.len()), (1, 1));
    }

    #[test]
    fn a_cosignature_is_found_among_others_and_replaced_by_a_newer_one() {
        let (a, b, checkpoint) = (cosigner(), cosigner(), checkpoint());
        // Two keys under one name, as when a witness changes its key.
        let lines = format!(
            "{}\n{}\n",
            a.cosign(&checkpoint, 5),
            b.cosign(&checkpoint, 6)
        );
        let cosigned = checkpoint.with_cosignature(&lines, a.key()).unwrap();
        assert_eq!(a.key().cosigned(&cosigned), Ok(Some(5)));
        let newer = cosigned
            .with_cosignature(&a.cosign(&checkpoint, 9), a.key())
            .unwrap();
        assert_eq!(a.key().cosigned(&newer), Ok(Some(9)));
        assert_eq!(b.key().cosigned(&newer), Ok(None));
        let twice = format!("{0}\n{0}\n", a.cosign(&checkpoint, 9));
        assert_eq!(
            checkpoint.with_cosignature(&twice, a.key()),
            Ok(newer.clone())
        );
        assert_eq!(newer.note().lines().count(), 6);
        assert!(checkpoint.with_cosignature("", a.key()).is_err());
        assert!(checkpoint.with_cosignature("garbage", a.key()).is_err());
    }

    #[test]
    fn every_changed_byte_of_a_cosignature_is_noticed() {
        let (cosigner, checkpoint) = (cosigner(), checkpoint());
        let line = cosigner.cosign(&checkpoint, 1_700_000_000);
        let (head, encoded) = line.rsplit_once(' ').unwrap();
        let bytes = STANDARD.decode(encoded).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let line = format!("{head} {}", STANDARD.encode(changed));
            assert!(
                checkpoint.with_cosignature(&line, cosigner.key()).is_err(),
                "byte {at}"
            );
        }
        let at_zero = cosigner.cosign(&checkpoint, 0);
        assert!(
            checkpoint
                .with_cosignature(&at_zero, cosigner.key())
                .is_err()
        );
    }
}
