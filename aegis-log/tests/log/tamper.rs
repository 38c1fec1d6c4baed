//! Whatever is done to a signed log is found and named.
//!
//! The attacker here writes the format with code of their own, so that the tests also hold the format
//! as documented against the one implemented.

use crate::common::Log;
use crate::kept::kept;
use crate::pruned::pruned;
use aegis_log::{Code, Finding, OpenCheck, OpenError, Reader, Verdict, Writer};
use prost::Message as _;
use ring::digest::{SHA256, digest};

/// A frame of a segment, found by its lengths.
#[derive(Clone)]
struct Frame {
    start: usize,
    bytes: Vec<u8>,
}

fn frames(segment: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut at = 72;
    while at < segment.len() {
        let header = usize::from(u16::from_le_bytes(
            segment[at + 2..at + 4].try_into().unwrap(),
        ));
        let payload = u32::from_le_bytes(segment[at + 4..at + 8].try_into().unwrap());
        let end = at + 16 + header + usize::try_from(payload).unwrap();
        frames.push(Frame {
            start: at,
            bytes: segment[at..end].to_vec(),
        });
        at = end;
    }
    frames
}

fn first_seq(name: &str) -> u64 {
    name[..20].parse().unwrap()
}

pub fn first_bad(log: &Log) -> Finding {
    let report = log.verify();
    assert_eq!(
        (report.verdict(), report.exit_code()),
        (Verdict::Tampered, 1),
        "{report}"
    );
    report.findings[0].clone()
}

/// Whether a finding names this entry, alone or among others.
fn names(finding: &Finding, seq: u64) -> bool {
    finding
        .seq
        .is_some_and(|first| (first..=finding.until.unwrap_or(first)).contains(&seq))
}

#[test]
fn every_changed_byte_of_every_file_is_found_and_its_file_named() {
    every_changed_byte_is_found(&Log::varied());
}

#[test]
fn every_changed_byte_of_what_retention_left_is_found_and_its_file_named() {
    every_changed_byte_is_found(&pruned().0);
}

fn every_changed_byte_is_found(log: &Log) {
    for (name, bytes) in log.files() {
        for at in 0..bytes.len() {
            // One bit everywhere, all bits here and there: every verification is a full one.
            for change in if at % 8 == 0 {
                &[0x01, 0xff][..]
            } else {
                &[0x01]
            } {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                log.write(&name, &changed);
                let finding = first_bad(log);
                // A byte of the key makes everything signed with it doubtful; the rest is named exactly.
                assert!(
                    finding.file.as_deref() == Some(&name),
                    "byte {at} of {name}: {finding}"
                );
            }
        }
        log.write(&name, &bytes);
    }
    assert_eq!(log.verify().exit_code(), 0);
}

#[test]
fn a_changed_byte_of_an_entry_names_that_entry_and_its_place() {
    let log = Log::varied();
    for name in log.names(".seg") {
        let bytes = log.read(&name);
        for (index, frame) in frames(&bytes).into_iter().enumerate() {
            let seq = first_seq(&name) + u64::try_from(index).unwrap();
            for at in frame.start..frame.start + frame.bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 0x10;
                log.write(&name, &changed);
                let finding = first_bad(&log);
                assert_eq!(
                    (finding.seq, finding.offset),
                    (Some(seq), Some(u64::try_from(frame.start).unwrap())),
                    "byte {at} of {name}: {finding}"
                );
            }
        }
        log.write(&name, &bytes);
    }
}

#[test]
fn a_changed_byte_is_refused_at_opening_too() {
    a_changed_byte_is_refused(&Log::varied(), &[".hashes"]);
    // Of what was removed the leaves can't be made anew: there they are no mere copy.
    a_changed_byte_is_refused(&pruned().0, &[]);
}

fn a_changed_byte_is_refused(log: &Log, may_mend: &[&str]) {
    let mut options = log.options();
    options.check = OpenCheck::Full;
    for (name, bytes) in log
        .files()
        .into_iter()
        .filter(|(name, _)| !may_mend.iter().any(|end| name.ends_with(end)))
    {
        for at in (0..bytes.len()).step_by(5) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x04;
            log.write(&name, &changed);
            let before = log.files();
            let refused = Writer::open(&options);
            assert!(
                matches!(
                    refused,
                    Err(OpenError::Tampered { .. } | OpenError::KeyMismatch(_))
                ),
                "byte {at} of {name}: {refused:?}"
            );
            assert_eq!(log.files(), before, "nothing is mended");
        }
        log.write(&name, &bytes);
    }
    Writer::open(&options).unwrap();
}

#[test]
fn the_last_segment_is_checked_at_opening_without_being_asked() {
    let log = Log::varied();
    for name in [
        log.names(".seg").pop().unwrap(),
        log.names(".notes").pop().unwrap(),
    ] {
        let bytes = log.read(&name);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x04;
            log.write(&name, &changed);
            let refused = log.try_open();
            assert!(
                matches!(refused, Err(OpenError::Tampered { .. })),
                "byte {at} of {name}: {refused:?}"
            );
        }
        log.write(&name, &bytes);
    }
}

/// Puts a segment together again from frames.
fn rewrite(log: &Log, name: &str, head: &[u8], frames: &[Frame]) {
    let mut bytes = head.to_vec();
    frames
        .iter()
        .for_each(|frame| bytes.extend_from_slice(&frame.bytes));
    log.write(name, &bytes);
}

#[test]
fn removed_repeated_and_swapped_entries_are_found_and_named() {
    let log = Log::varied();
    for name in log.names(".seg") {
        let bytes = log.read(&name);
        let (head, all) = (&bytes[..72], frames(&bytes));
        for index in 0..all.len() {
            let seq = first_seq(&name) + u64::try_from(index).unwrap();
            let mut removed = all.clone();
            removed.remove(index);
            rewrite(&log, &name, head, &removed);
            assert!(
                names(&first_bad(&log), seq),
                "{seq} removed: {}",
                first_bad(&log)
            );

            let mut repeated = all.clone();
            repeated.insert(index, all[index].clone());
            rewrite(&log, &name, head, &repeated);
            if seq == 23 {
                // After the very end anything may lie; it counts for nothing.
                assert_eq!(
                    (log.verify().verdict(), log.verify().entries),
                    (Verdict::Incomplete, 24)
                );
                continue;
            }
            assert!(
                [seq, seq + 1]
                    .iter()
                    .any(|seq| names(&first_bad(&log), *seq)),
                "{seq} repeated: {}",
                first_bad(&log)
            );

            if index + 1 < all.len() {
                let mut swapped = all.clone();
                swapped.swap(index, index + 1);
                rewrite(&log, &name, head, &swapped);
                assert!(
                    names(&first_bad(&log), seq),
                    "{seq} swapped: {}",
                    first_bad(&log)
                );
            }
        }
        log.write(&name, &bytes);
    }
}

fn notes(bytes: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(bytes).unwrap();
    // Each note has one blank line before its signature and one after it.
    let parts: Vec<_> = text.split_terminator("\n\n").collect();
    parts
        .chunks(2)
        .map(|note| format!("{}\n\n{}\n\n", note[0], note[1]))
        .collect()
}

#[test]
fn removed_repeated_and_swapped_checkpoints_are_found() {
    let log = Log::varied();
    let names = log.names(".notes");
    for (which, name) in names.iter().enumerate() {
        let bytes = log.read(name);
        let all = notes(&bytes);
        assert_eq!(all.concat().as_bytes(), bytes);
        for index in 0..all.len() {
            let mut repeated = all.clone();
            repeated.insert(index, all[index].clone());
            log.write(name, repeated.concat().as_bytes());
            first_bad(&log);
            // The very last checkpoint of the log can be cut off without a trace in the notes; the tree
            // and a kept checkpoint tell.
            let mut removed = all.clone();
            removed.remove(index);
            log.write(name, removed.concat().as_bytes());
            let is_last = which + 1 == names.len() && index + 1 == all.len();
            let finding = first_bad(&log);
            assert_eq!(finding.code == Code::EntryMissing, is_last, "{finding}");
            for other in 0..index {
                let mut swapped = all.clone();
                swapped.swap(index, other);
                log.write(name, swapped.concat().as_bytes());
                first_bad(&log);
            }
        }
        log.write(name, &bytes);
    }
}

#[test]
fn every_missing_file_is_found() {
    let log = Log::varied();
    for (name, bytes) in log.files() {
        log.remove(&name);
        let report = log.verify();
        // The stored tree is made from the entries; without it the log is whole but not as it was closed.
        let expected = if name.ends_with(".hashes") {
            Verdict::Incomplete
        } else {
            Verdict::Tampered
        };
        assert_eq!(report.verdict(), expected, "{name}: {report}");
        log.write(&name, &bytes);
    }
}

#[test]
fn a_signed_file_cut_anywhere_is_found() {
    let log = Log::varied();
    let last_notes = log.names(".notes").pop();
    for (name, bytes) in log.files() {
        for len in (0..bytes.len()).step_by(if name.ends_with(".seg") { 3 } else { 1 }) {
            log.write(&name, &bytes[..len]);
            let report = log.verify();
            // Between two seals: what was sealed once is told as not sealed.
            assert!(
                report.verdict() != Verdict::Intact || report.sealed < report.entries,
                "{name} cut to {len}: {report}"
            );
            let torn = name.ends_with(".hashes")
                || name == "log.epochs"
                || Some(&name) == last_notes.as_ref();
            assert!(
                torn || report.verdict() == Verdict::Tampered,
                "{name} cut to {len}: {report}"
            );
        }
        log.write(&name, &bytes);
    }
}

#[test]
fn bytes_added_to_any_file_are_found() {
    let log = Log::varied();
    for (name, bytes) in log.files() {
        let mut longer = bytes.clone();
        longer.extend_from_slice(&[b'x'; 40]);
        log.write(&name, &longer);
        let report = log.verify();
        // Only after the very end may there be something that is nobody's fault.
        let is_end = Some(&name) == log.names(".seg").last();
        let expected = if is_end {
            Verdict::Incomplete
        } else {
            Verdict::Tampered
        };
        assert_eq!(report.verdict(), expected, "{name}: {report}");
        log.write(&name, &bytes);
    }
}

#[test]
fn files_that_were_added_are_named() {
    let log = Log::varied();
    log.write("readme.txt", b"hello");
    let report = log.verify();
    assert_eq!(report.verdict(), Verdict::Intact);
    assert!(report.to_string().contains("readme.txt"), "{report}");
    for name in [
        "00000000000000000003-2026-11-20.seg",
        "00000000000000000099-2026-11-21.seg",
        "x.seg",
        "0-2026-11-21.notes",
    ] {
        log.write(name, b"");
        assert!(
            matches!(log.try_open(), Err(OpenError::Tampered { .. })),
            "{name}"
        );
        first_bad(&log);
        log.remove(name);
    }
    assert_eq!(log.verify().exit_code(), 0);
}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint64, tag = "2")]
    seq: u64,
    #[prost(fixed64, tag = "3")]
    time: u64,
    #[prost(uint32, tag = "4")]
    kind: u32,
    #[prost(bytes = "vec", tag = "5")]
    chain_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    prev: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    boot_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "8")]
    commitment: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "9")]
    checkpoint: Option<Vec<u8>>,
}

fn sha256(parts: &[&[u8]]) -> Vec<u8> {
    digest(&SHA256, &parts.concat()).as_ref().to_vec()
}

fn split(frame: &Frame) -> (Header, Vec<u8>) {
    let len = usize::from(u16::from_le_bytes(frame.bytes[2..4].try_into().unwrap()));
    let header = Header::decode(&frame.bytes[16..16 + len]).unwrap();
    (header, frame.bytes[16 + len..].to_vec())
}

fn join(header: &Header, payload: &[u8]) -> (Frame, Vec<u8>) {
    let header = header.encode_to_vec();
    let leaf = sha256(&[&[0], &header]);
    let lens = (
        u16::try_from(header.len()).unwrap(),
        u32::try_from(payload.len()).unwrap(),
    );
    let bytes = [
        &[1, 0][..],
        &lens.0.to_le_bytes(),
        &lens.1.to_le_bytes(),
        &leaf[..8],
        &header,
        payload,
    ]
    .concat();
    (Frame { start: 0, bytes }, leaf)
}

/// Changes the body of one entry and makes everything after it fit, as far as that goes without the
/// key: commitment, checks, chain, segment headers. Optionally the stored tree too.
fn forge(log: &Log, target: u64, tree_too: bool) {
    let mut prev: Option<Vec<u8>> = None;
    let mut leaves = log.read("tree-0.hashes");
    for name in log.names(".seg") {
        let bytes = log.read(&name);
        let mut head = bytes[..72].to_vec();
        if let Some(prev) = &prev {
            head[40..72].copy_from_slice(prev);
        }
        let mut forged = Vec::new();
        for frame in frames(&bytes) {
            let (mut header, mut payload) = split(&frame);
            if let Some(prev) = &prev {
                header.prev.clone_from(prev);
            }
            if header.seq == target {
                *payload.last_mut().unwrap() ^= 1;
                header.commitment = sha256(&[&payload]);
            }
            let (frame, leaf) = join(&header, &payload);
            if tree_too {
                let at = usize::try_from(header.seq).unwrap() * 32;
                leaves[at..at + 32].copy_from_slice(&leaf);
            }
            prev = (header.seq >= target).then_some(leaf);
            forged.push(frame);
        }
        rewrite(log, &name, &head, &forged);
    }
    log.write("tree-0.hashes", &leaves);
}

#[test]
fn an_entry_replaced_with_the_whole_chain_after_it_is_found() {
    for target in 0..24 {
        let log = Log::varied();
        forge(&log, target, false);
        let finding = first_bad(&log);
        assert_eq!(
            (finding.code, finding.seq),
            (Code::Root, Some(target)),
            "{finding}"
        );
        forge(&log, target, true);
        let log = Log::varied();
        forge(&log, target, true);
        let finding = first_bad(&log);
        assert!(
            finding.code == Code::Root && names(&finding, target),
            "{target}: {finding}"
        );
        assert!(matches!(log.try_open(), Err(OpenError::Tampered { .. })));
    }
}

#[test]
fn the_attackers_own_code_writes_the_same_bytes() {
    let log = Log::varied();
    for name in log.names(".seg") {
        let bytes = log.read(&name);
        for frame in frames(&bytes) {
            let (header, payload) = split(&frame);
            assert_eq!(join(&header, &payload).0.bytes, frame.bytes);
            assert_eq!(header.commitment, sha256(&[&payload]));
        }
    }
}

#[test]
fn unsigned_entries_added_by_hand_are_never_taken_for_signed() {
    let log = Log::varied();
    let name = log.names(".seg").pop().unwrap();
    let bytes = log.read(&name);
    let (mut header, payload) = split(frames(&bytes).last().unwrap());
    header.seq += 1;
    header.prev = sha256(&[
        &[0],
        &split(frames(&bytes).last().unwrap()).0.encode_to_vec(),
    ]);
    header.checkpoint = Some(sha256(&[kept(&log).note().as_bytes()]));
    let forged = join(&header, &payload).0.bytes;
    log.write(&name, &[bytes.clone(), forged.clone()].concat());
    let report = log.verify();
    assert_eq!(
        (report.exit_code(), report.entries, report.unsigned.entries),
        (3, 24, 1),
        "{report}"
    );
    assert_eq!(Reader::open(log.dir()).unwrap().size(), 24);
    let (writer, opened) = log.try_open().unwrap();
    let recovery = opened.recovery.unwrap();
    assert_eq!(
        (writer.next_seq(), recovery.entries_cut, recovery.at_seq),
        (24, 1, 24)
    );
    assert_eq!(std::fs::read(recovery.saved_as.unwrap()).unwrap(), forged);
    assert_eq!(log.read(&name), bytes);
}
