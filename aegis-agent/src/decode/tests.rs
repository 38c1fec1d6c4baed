use proptest::prelude::*;

use super::*;
use crate::testkit::{self, Record};

#[test]
fn each_kind_is_read_back_as_it_was_written() {
    let exec = decode(&Record::exec(7, b"/usr/bin/cat", &[b"cat", b"", b"/etc/shadow"]).bytes()).expect("exec");
    let Detail::Exec { path, argv, .. } = exec.detail else { panic!("exec") };
    assert_eq!(path, b"/usr/bin/cat");
    assert_eq!(argv, [b"cat".to_vec(), Vec::new(), b"/etc/shadow".to_vec()]);

    let file = decode(&Record::file(8, b"/a/b", b"/c").bytes()).expect("file");
    let Detail::File { path, target, .. } = file.detail else { panic!("file") };
    assert_eq!((path.as_slice(), target.as_slice()), (&b"/a/b"[..], &b"/c"[..]));
    assert_eq!(file.header.seq, 8);

    let fork = decode(&Record::fork(9, 100, 5).bytes()).expect("fork");
    assert_eq!(fork.detail, Detail::Fork { child_pid: 100, child_start: 5 });
}

#[test]
fn another_abi_is_refused_with_both_versions() {
    let mut record = Record::fork(1, 2, 3);
    record.header.abi = ABI_VERSION + 1;
    assert_eq!(decode(&record.bytes()).err(), Some(DecodeError::Abi(ABI_VERSION + 1)));
}

#[test]
fn unknown_kinds_and_verdicts_are_refused() {
    let mut record = Record::fork(1, 2, 3);
    record.header.kind = 9999;
    assert_eq!(decode(&record.bytes()).err(), Some(DecodeError::Kind(9999)));
    let mut record = Record::fork(1, 2, 3);
    record.header.verdict = 0;
    assert_eq!(decode(&record.bytes()).err(), Some(DecodeError::Verdict(0)));
}

#[test]
fn every_truncation_of_every_kind_is_an_error() {
    for record in testkit::one_of_each() {
        let bytes = record.bytes();
        decode(&bytes).expect("whole");
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err(), "kind {} cut at {cut}", record.header.kind);
        }
    }
}

#[test]
fn lengths_that_reach_past_the_record_are_an_error() {
    let mut bytes = Record::file(1, b"/a", b"").bytes();
    let at = size_of::<EventHeader>() + 16;
    bytes[at..at + 4].copy_from_slice(&u32::MAX.to_ne_bytes());
    assert!(matches!(decode(&bytes), Err(DecodeError::Truncated { .. })));
}

proptest! {
    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn any_damage_to_a_good_record_never_panics(
        which in 0usize..8, at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = testkit::one_of_each()[which].bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode(&bytes);
    }
}
