//! The log's Ed25519 key: the private half signs checkpoints, the public half is a C2SP verifier key.
//!
//! Knows keys and signatures over bytes, not what is signed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::hash::{Hash, from_hex, hex};

/// The signature type of Ed25519 in C2SP signed-note.
const ED25519_TYPE: u8 = 1;
/// The signature type of Ed25519 cosignatures in C2SP tlog-cosignature.
const COSIGNATURE_TYPE: u8 = 4;
/// Bytes of an Ed25519 signature.
pub(crate) const SIGNATURE_LEN: usize = 64;
/// What every origin of this product begins with; the chain id in hexadecimal follows.
const ORIGIN_PREFIX: &str = "aegis/";

/// Why a key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is not a C2SP verifier key of the type that is wanted.
    #[error("not a verifier key: {0}; expected one line such as <name>+<key id>+<base64>")]
    Vkey(&'static str),
    /// The private key file does not hold an Ed25519 key in PKCS#8.
    #[error(
        "the file does not hold an Ed25519 private key in PKCS#8 version 2; restore it from its backup"
    )]
    Pkcs8,
    /// The system's random source failed.
    #[error("the system's random number generator failed")]
    Random,
}

/// The origin of a log's checkpoints and the name of its key.
#[must_use]
pub(crate) fn origin(chain_id: &[u8; 16]) -> String {
    format!("{ORIGIN_PREFIX}{}", hex(chain_id))
}

/// The chain id in an origin.
pub(crate) fn chain_id_of(origin: &str) -> Option<[u8; 16]> {
    from_hex(origin.strip_prefix(ORIGIN_PREFIX)?)
}

/// Name and public key of a C2SP verifier key of this type.
fn parse_vkey(text: &str, kind: u8) -> Result<(String, [u8; 32]), KeyError> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let (name, rest) = text
        .split_once('+')
        .ok_or(KeyError::Vkey("it has no plus sign"))?;
    // Base64 may itself hold plus signs, so only the first two divide.
    let (id, key) = rest
        .split_once('+')
        .ok_or(KeyError::Vkey("it has only one plus sign"))?;
    if !is_key_name(name) {
        return Err(KeyError::Vkey("its name is empty or holds spaces"));
    }
    let key = STANDARD
        .decode(key)
        .map_err(|_| KeyError::Vkey("the key is not base64"))?;
    let public = match key.split_first() {
        Some((&found, public)) if found == kind => public
            .try_into()
            .map_err(|_| KeyError::Vkey("the key is not 32 bytes"))?,
        _ if kind == COSIGNATURE_TYPE => {
            return Err(KeyError::Vkey(
                "it is not of type 4, a witness's Ed25519 key (of others, ML-DSA-44 is not supported yet)",
            ));
        }
        _ => return Err(KeyError::Vkey("it is not of type 1, a log's Ed25519 key")),
    };
    if from_hex::<4>(id) == Some(key_id(name, kind, &public)) {
        Ok((name.to_owned(), public))
    } else {
        Err(KeyError::Vkey(
            "its key id does not belong to its name and key",
        ))
    }
}

/// Whether C2SP signed-note takes this for the name of a key.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty()
        && !name.contains('+')
        && !name.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// SHA-256(name ‖ 0x0A ‖ type ‖ key), its first four bytes.
fn key_id(name: &str, kind: u8, public: &[u8; 32]) -> [u8; 4] {
    let hash = Hash::of_parts(&[name.as_bytes(), b"\n", &[kind], public]);
    [hash.0[0], hash.0[1], hash.0[2], hash.0[3]]
}

fn write_vkey(f: &mut fmt::Formatter<'_>, name: &str, kind: u8, public: &[u8; 32]) -> fmt::Result {
    let id = hex(&key_id(name, kind, public));
    let key = STANDARD.encode([&[kind][..], public].concat());
    write!(f, "{name}+{id}+{key}")
}

fn verifies(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public)
        .verify(message, signature)
        .is_ok()
}

/// The public half of a witness's key: what checks its Ed25519 cosignatures.
#[derive(Clone, PartialEq, Eq)]
pub struct CosignerKey {
    name: String,
    public: [u8; 32],
}

impl CosignerKey {
    /// Reads a C2SP verifier key of type 4.
    ///
    /// # Errors
    /// [`KeyError::Vkey`] says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, public) = parse_vkey(text, COSIGNATURE_TYPE)?;
        Ok(Self { name, public })
    }

    /// The witness's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256(name ‖ 0x0A ‖ type ‖ key), its first four bytes.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        key_id(&self.name, COSIGNATURE_TYPE, &self.public)
    }

    /// The Ed25519 public key.
    pub(crate) fn public(&self) -> &[u8; 32] {
        &self.public
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        verifies(&self.public, message, signature)
    }
}

/// The C2SP verifier key as one line without the newline.
impl fmt::Display for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_vkey(f, &self.name, COSIGNATURE_TYPE, &self.public)
    }
}

impl fmt::Debug for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CosignerKey({self})")
    }
}

/// A witness's private key.
pub(crate) struct Cosigner {
    pair: Ed25519KeyPair,
    key: CosignerKey,
}

impl Cosigner {
    pub(crate) fn from_pkcs8(pkcs8: &[u8], name: &str) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError::Pkcs8)?;
        let public = public_of(&pair)?;
        let key = CosignerKey {
            name: name.to_owned(),
            public,
        };
        Ok(Self { pair, key })
    }

    pub(crate) fn key(&self) -> &CosignerKey {
        &self.key
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        sign(&self.pair, message)
    }
}

fn public_of(pair: &Ed25519KeyPair) -> Result<[u8; 32], KeyError> {
    let public = pair.public_key();
    public.as_ref().try_into().map_err(|_| KeyError::Pkcs8)
}

fn sign(pair: &Ed25519KeyPair, message: &[u8]) -> [u8; SIGNATURE_LEN] {
    let mut out = [0; SIGNATURE_LEN];
    out.copy_from_slice(pair.sign(message).as_ref());
    out
}

/// The public half: name, key id and Ed25519 public key.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public: [u8; 32],
}

impl VerifierKey {
    /// Reads a C2SP verifier key (`vkey`): name, key id in hexadecimal, base64 of type and key.
    ///
    /// # Errors
    /// [`KeyError::Vkey`] says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, public) = parse_vkey(text, ED25519_TYPE)?;
        Ok(Self { name, public })
    }

    /// The key's name, which is the origin of the log's checkpoints.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The chain id in the name, if it is one of this product.
    #[must_use]
    pub fn chain_id(&self) -> Option<[u8; 16]> {
        chain_id_of(&self.name)
    }

    /// SHA-256(name ‖ 0x0A ‖ type ‖ key), its first four bytes.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        key_id(&self.name, ED25519_TYPE, &self.public)
    }

    /// The Ed25519 public key.
    pub(crate) fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        verifies(&self.public, message, signature)
    }
}

/// The C2SP verifier key as one line without the newline.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_vkey(f, &self.name, ED25519_TYPE, &self.public)
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

/// The private half, bound to the origin it signs for.
pub(crate) struct SigningKey {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl SigningKey {
    /// A new private key as PKCS#8.
    pub(crate) fn generate() -> Result<Vec<u8>, KeyError> {
        let pkcs8 =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Random)?;
        Ok(pkcs8.as_ref().to_vec())
    }

    pub(crate) fn from_pkcs8(pkcs8: &[u8], chain_id: &[u8; 16]) -> Result<Self, KeyError> {
        Self::named(pkcs8, origin(chain_id))
    }

    /// A key with a name of its own.
    pub(crate) fn named(pkcs8: &[u8], name: String) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError::Pkcs8)?;
        let public = public_of(&pair)?;
        let verifier = VerifierKey { name, public };
        Ok(Self { pair, verifier })
    }

    /// A key that is no secret.
    #[cfg(test)]
    pub(crate) fn from_seed(seed: &[u8; 32], chain_id: &[u8; 16]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        Self {
            pair,
            verifier: VerifierKey {
                name: origin(chain_id),
                public,
            },
        }
    }

    pub(crate) fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        sign(&self.pair, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_c2sp_specification_is_read() {
        let text = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
        let key = VerifierKey::parse(text).unwrap();
        assert_eq!(key.to_string(), text);
        let note = "This is an example message.\n";
        let signature = STANDARD.decode("Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=").unwrap();
        assert_eq!(signature[..4], key.id());
        assert!(key.verifies(note.as_bytes(), &signature[4..]));
        assert!(!key.verifies(b"another", &signature[4..]));
    }

    #[test]
    fn every_changed_byte_of_a_verifier_key_is_noticed() {
        let text =
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k".as_bytes();
        for at in 0..text.len() {
            let mut changed = text.to_vec();
            changed[at] ^= 1;
            let refused = String::from_utf8(changed)
                .map_or(true, |changed| VerifierKey::parse(&changed).is_err());
            assert!(refused, "byte {at}");
        }
    }

    #[test]
    fn a_generated_key_is_read_by_the_oracle() {
        let key = SigningKey::from_pkcs8(&SigningKey::generate().unwrap(), &[7; 16]).unwrap();
        let vkey = key.verifier().to_string();
        let theirs = signed_note::StandardVerifier::new(&vkey).unwrap();
        assert_eq!(signed_note::Verifier::name(&theirs), key.verifier().name());
        assert_eq!(VerifierKey::parse(&vkey).unwrap(), *key.verifier());
        assert_eq!(key.verifier().chain_id(), Some([7; 16]));
    }

    #[test]
    fn what_is_no_private_key_is_refused() {
        assert!(matches!(
            SigningKey::from_pkcs8(b"no key", &[0; 16]),
            Err(KeyError::Pkcs8)
        ));
    }
}
