//! The test vectors of docs/audit-format.md: what is written there is what the code does.

use crate::checkpoint::SignedCheckpoint;
use crate::checkpoint::stored::put_stored;
use crate::entry::Header;
use crate::frame;
use crate::hash::{Hash, hex};
use crate::key::SigningKey;
use crate::merkle::Frontier;
use crate::segment::SegmentHeader;

const DOCUMENT: &str = include_str!("../../docs/audit-format.md");

/// The document wraps long values; blanks and line breaks do not count.
fn documented(what: &str, value: &str) {
    let squeeze = |text: &str| text.split_whitespace().collect::<String>();
    assert!(
        squeeze(DOCUMENT).contains(&squeeze(value)),
        "docs/audit-format.md lacks {what}:\n{value}"
    );
}

#[test]
fn the_documented_vectors_are_what_the_code_makes() {
    let chain_id: [u8; 16] = std::array::from_fn(|n| u8::try_from(n).unwrap());
    let key = SigningKey::from_seed(&[0x42; 32], &chain_id);
    documented("the verifier key", &key.verifier().to_string());
    let empty = SignedCheckpoint::sign(&key, 0, Hash::empty_root());
    documented("the checkpoint of the empty log", empty.note());
    documented("its hash", &empty.note_hash().to_string());

    let segment = SegmentHeader::new(0, chain_id, Hash::ZERO);
    documented("the segment header", &hex(segment.bytes()));

    let salt = [0x5a; 16];
    let mut frontier = Frontier::default();
    let mut prev = Hash::ZERO;
    let mut checkpoint = Some(empty.note_hash());
    for (seq, body) in [(0, &b"hello"[..]), (1, b""), (2, b"world")] {
        let header = Header {
            seq,
            time: 1_795_132_800_000_000_000 + seq,
            kind: 7,
            chain_id,
            prev,
            boot_id: [0xb0; 16],
            commitment: Hash::of_parts(&[&salt, body]),
            checkpoint: checkpoint.take(),
        };
        let mut bytes = Vec::new();
        let leaf = frame::encode(&header, &salt, body, &mut bytes);
        documented("a commitment", &header.commitment.to_string());
        documented("a leaf hash", &leaf.to_string());
        documented("a frame", &hex(&bytes));
        frontier.push(leaf, |_, _| {});
        prev = leaf;
    }
    documented("the root", &frontier.root().to_string());
    let signed = SignedCheckpoint::sign(&key, 3, frontier.root());
    documented("the checkpoint", signed.note());
    let mut stored = Vec::new();
    put_stored(&signed, &mut stored);
    assert_eq!(stored, format!("{}\n", signed.note()).into_bytes());
}
