//! Retention: the oldest segments are removed, and what stays of them holds.

use aegis_log::{
    Code, Disclose, ExportOptions, OpenCheck, OpenError, PruneError, ReadError, Reader, Receipt,
    ProveError, SignedCheckpoint, Verdict, VerifyOptions, Writer, verify, verify_export,
};

use crate::common::{EVENING, Log, append_range, body, folder};

/// What the daemon itself does.
const TELLING: u32 = 90;

/// Tells of it, and removes the first `segments` that have ended: how many entries that were.
fn prune(writer: &mut Writer, segments: usize) -> u64 {
    let end = writer.ended_segments().unwrap()[segments - 1].end;
    let told = writer.append(TELLING, EVENING + 9_000_000_000, b"removed").unwrap().seq;
    writer.commit().unwrap();
    writer.prune(end, told).unwrap();
    end
}

/// A log whose first two segments were removed, and how many entries they had.
pub fn pruned() -> (Log, u64) {
    let log = Log::varied();
    let mut writer = log.open();
    let end = prune(&mut writer, 2);
    writer.close().unwrap();
    (log, end)
}

fn code(log: &Log) -> Code {
    log.verify().findings.first().expect("a finding").code
}

#[test]
fn what_stays_holds_and_says_what_was_removed() {
    let (log, end) = pruned();
    let report = log.verify();
    assert_eq!((report.verdict(), report.entries), (Verdict::Intact, 25));
    let said = report.pruned.as_ref().unwrap();
    assert_eq!((said.size(), said.told()), (end, 24));
    assert_eq!(report.to_json()["pruned"]["entries"], end);
    assert!(report.to_string().contains("removed by retention"), "{report}");
    assert_eq!(log.names(".notes").len(), log.names(".seg").len() + 2);
}

#[test]
fn what_is_kept_is_read_and_what_is_not_is_an_error_that_says_so() {
    let (log, end) = pruned();
    let reader = Reader::open(log.dir()).unwrap();
    assert_eq!((reader.first(), reader.size()), (end, 25));
    let seqs = |entries: Vec<_>| -> Vec<u64> {
        let entries = entries.into_iter().map(|entry: Result<aegis_log::Entry, _>| entry.unwrap());
        entries.map(|entry| entry.header.seq).collect()
    };
    let kept: Vec<u64> = (end..25).collect();
    assert_eq!(seqs(reader.entries(0).collect()), kept);
    let mut backward = seqs(reader.entries_rev(u64::MAX).collect());
    backward.reverse();
    assert_eq!(backward, kept);
    assert_eq!(reader.get(end).unwrap().unwrap().body, Ok(body(end)));
    assert!(matches!(reader.get(end - 1), Err(ReadError::Pruned { seq, first }) if (seq, first) == (end - 1, end)));
    assert_eq!(reader.seek_time(0).unwrap(), end);
    assert_eq!(reader.clone().follow(0).next_batch(100).unwrap().len(), kept.len());
    // The roots of days stay, that of the day whose entries are gone too.
    assert_eq!(reader.daily_roots().unwrap().len(), 2);
}

#[test]
fn a_reader_that_looked_before_says_what_happened() {
    let log = Log::varied();
    let mut writer = log.open();
    let reader = Reader::open(log.dir()).unwrap();
    let end = prune(&mut writer, 1);
    assert!(matches!(reader.get(0), Err(ReadError::Pruned { seq: 0, first }) if first == end));
    assert!(reader.get(end).unwrap().is_some());
}

#[test]
fn checkpoints_and_receipts_from_before_still_hold() {
    let log = Log::varied();
    let reader = Reader::open(log.dir()).unwrap();
    let early = reader.checkpoint_at(3).unwrap().unwrap();
    let receipt = reader.receipt(1, Disclose::Body).unwrap().to_string();
    let mut writer = log.open();
    let end = prune(&mut writer, 2);
    assert!(end > 3);
    writer.close().unwrap();
    let options = VerifyOptions {
        checkpoints: vec![early.clone()],
        ..VerifyOptions::default()
    };
    assert_eq!(verify(&log.dir(), &options).unwrap().verdict(), Verdict::Intact);
    let reader = Reader::open(log.dir()).unwrap();
    reader.owns(&early).unwrap();
    reader.prove(3, reader.checkpoint().unwrap()).unwrap();
    assert_eq!(reader.checkpoint_at(3).unwrap().unwrap(), early);
    reader.receipt(end, Disclose::Body).unwrap();
    assert!(reader.receipt(1, Disclose::Body).is_err());
    Receipt::parse(&receipt).unwrap().verify(reader.vkey()).unwrap();
}

#[test]
fn the_log_goes_on_and_more_is_removed() {
    let (log, first) = pruned();
    for check in [OpenCheck::Tail, OpenCheck::Full] {
        let mut options = log.options();
        options.check = check;
        let (mut writer, report) = Writer::open(&options).unwrap();
        assert!(report.recovery.is_none());
        let next = writer.next_seq();
        for seq in next..next + 9 {
            writer.append(1, EVENING + 10_000_000_000 + seq, &body(seq)).unwrap();
            writer.commit().unwrap();
        }
        let end = prune(&mut writer, 1);
        assert!(end > first);
        writer.close().unwrap();
        assert_eq!(log.verify().verdict(), Verdict::Intact);
    }
}

#[test]
fn only_whole_segments_are_removed_and_only_when_an_entry_tells_of_it() {
    let log = Log::varied();
    let mut writer = log.open();
    let ends: Vec<u64> = writer.ended_segments().unwrap().iter().map(|s| s.end).collect();
    assert!(ends.len() > 2 && *ends.last().unwrap() < 24);
    let within = (1..24).find(|seq| !ends.contains(seq)).unwrap();
    for (end, told) in [(0, 23), (within, 23), (24, 23), (ends[0], ends[0] - 1), (ends[0], 24)] {
        let refused = writer.prune(end, told);
        assert!(matches!(refused, Err(PruneError::Place)), "{end} {told}");
    }
    writer.prune(ends[0], ends[0]).unwrap();
    writer.close().unwrap();
    // It was no entry of that kind.
    assert_eq!(code(&log), Code::Pruned);
}

#[test]
fn without_the_statement_or_with_another_it_is_tampering() {
    let (log, end) = pruned();
    let without = log.copy();
    without.remove("log.pruned");
    assert_eq!(code(&without), Code::SegmentMissing);
    assert!(matches!(without.try_open(), Err(OpenError::Tampered { .. })));

    let altered = log.copy();
    let text = String::from_utf8(log.read("log.pruned")).unwrap();
    altered.write("log.pruned", text.replacen(&format!("\n{end}\n"), "\n1\n", 1).as_bytes());
    assert_eq!(code(&altered), Code::Pruned);
    assert!(matches!(altered.try_open(), Err(OpenError::Tampered { .. })));

    // That of another log of the same size.
    let (other, _) = pruned();
    let swapped = log.copy();
    swapped.write("log.pruned", &other.read("log.pruned"));
    assert_eq!(code(&swapped), Code::Pruned);
    assert!(matches!(swapped.try_open(), Err(OpenError::Tampered { .. })));
}

#[test]
fn one_more_segment_taken_away_is_missed() {
    let (log, end) = pruned();
    log.remove(&log.names(".seg")[0]);
    let report = log.verify();
    assert_eq!((report.findings[0].code, report.findings[0].seq), (Code::SegmentMissing, Some(end)));
    assert!(log.try_open().is_err());
}

#[test]
fn a_changed_hash_checkpoint_or_name_among_what_stays_is_found() {
    let (log, end) = pruned();
    let hash = log.copy();
    let mut bytes = log.read("tree-0.hashes");
    bytes[33] ^= 1;
    hash.write("tree-0.hashes", &bytes);
    assert_eq!(code(&hash), Code::Tree);

    let short = log.copy();
    short.write("tree-0.hashes", &log.read("tree-0.hashes")[..32 * 2]);
    assert_eq!(code(&short), Code::Tree);
    assert!(matches!(short.try_open(), Err(OpenError::Tampered { .. })));

    let notes = log.names(".notes");
    // Of a removed segment nothing but the statement tells which checkpoints there were, and on which day.
    let mut without_one = 0;
    for name in &notes[..2] {
        let texts = String::from_utf8(log.read(name)).unwrap();
        // Text and signature of a note are parted by an empty line too.
        let each: Vec<&str> = texts.split_inclusive("\n\n").collect();
        if each.len() < 6 {
            continue;
        }
        let fewer = log.copy();
        let without = [&each[..2], &each[4..]].concat().concat();
        fewer.write(name, without.as_bytes());
        assert_eq!(code(&fewer), Code::CheckpointMissing);
        without_one += 1;
    }
    assert!(without_one > 0);
    let renamed = log.copy();
    let bytes = log.read(&notes[0]);
    renamed.remove(&notes[0]);
    renamed.write(&notes[0].replace("2026", "2025"), &bytes);
    assert_eq!(code(&renamed), Code::CheckpointMissing);
    for name in &notes[..2] {
        let gone = log.copy();
        gone.remove(name);
        assert!(!gone.verify().findings.is_empty(), "{name}");
        let cut = log.copy();
        let bytes = log.read(name);
        cut.write(name, &bytes[..bytes.len() - 3]);
        assert!(!cut.verify().findings.is_empty(), "{name}");
    }
    assert!(end > 0);
}

#[test]
fn what_a_power_cut_left_is_removed_at_the_next_start() {
    let before = Log::varied();
    let mut writer = before.open();
    writer.append(TELLING, EVENING + 9_000_000_000, b"removed").unwrap();
    writer.close().unwrap();
    let after = before.copy();
    let mut writer = after.open();
    let end = writer.ended_segments().unwrap()[1].end;
    writer.prune(end, 24).unwrap();
    writer.close().unwrap();
    // The statement was durable, and no file was gone yet.
    before.write("log.pruned", &after.read("log.pruned"));
    let report = before.verify();
    assert_eq!((report.verdict(), Reader::open(before.dir()).unwrap().first()), (Verdict::Intact, end));
    before.open().close().unwrap();
    assert_eq!(before.names(".seg"), after.names(".seg"));
    assert_eq!(before.verify().verdict(), Verdict::Intact);
}

#[test]
fn upper_levels_of_the_tree_are_made_anew_from_hashes_and_entries() {
    let (log, end) = long();
    assert!(end > 256);
    let whole = log.read("tree-1.hashes");
    log.remove("tree-1.hashes");
    let (writer, report) = log.try_open().unwrap();
    assert!(report.recovery.unwrap().tree_rebuilt);
    writer.close().unwrap();
    assert_eq!(log.read("tree-1.hashes"), whole);
    assert_eq!(log.verify().verdict(), Verdict::Intact);
}

#[test]
fn what_is_put_back_is_not_removed_in_the_place_of_what_is_next() {
    let log = Log::varied();
    let names = log.names(".seg");
    let first = log.read(&names[0]);
    let mut writer = log.open();
    let end = prune(&mut writer, 2);
    log.write(&names[0], &first);
    let ended = writer.ended_segments().unwrap();
    assert!(ended.iter().all(|segment| segment.first >= end), "{ended:?}");
    assert!(matches!(writer.prune(end, 24), Err(PruneError::Place)));
    writer.close().unwrap();
    log.open().close().unwrap();
    assert!(!log.names(".seg").contains(&names[0]));
    assert_eq!(log.verify().verdict(), Verdict::Intact);
}

#[test]
fn damage_among_the_hashes_that_are_to_stay_stops_the_removal() {
    let log = Log::varied();
    let mut writer = log.open();
    let end = writer.ended_segments().unwrap()[1].end;
    let told = writer.append(TELLING, EVENING + 9_000_000_000, b"removed").unwrap().seq;
    writer.commit().unwrap();
    let mut bytes = log.read("tree-0.hashes");
    bytes[0] ^= 1;
    log.write("tree-0.hashes", &bytes);
    assert!(matches!(writer.prune(end, told), Err(PruneError::Damaged(_))));
    assert_eq!(Reader::open(log.dir()).unwrap().first(), 0);
    assert!(Reader::open(log.dir()).unwrap().get(0).unwrap().is_some());
}

/// A log of 900 entries, of which those of the first segments are gone; how many these are.
fn long() -> (Log, u64) {
    let mut log = Log::new();
    log.segment_bytes = 40_000;
    let mut writer = log.open();
    append_range(&mut writer, 0..900);
    writer.commit().unwrap();
    let told = writer.append(TELLING, EVENING + 900_000_000_000, b"removed").unwrap().seq;
    writer.commit().unwrap();
    let end = writer.ended_segments().unwrap()[2].end;
    writer.prune(end, told).unwrap();
    writer.close().unwrap();
    (log, end)
}

#[test]
fn an_export_has_the_hashes_of_what_was_removed_and_is_intact() {
    let (log, end) = long();
    let reader = Reader::open(log.dir()).unwrap();
    let out = folder();
    for (name, bodies) in [("headers", false), ("bodies", true)] {
        let dir = out.path().join(name);
        let options = ExportOptions {
            bodies,
            checkpoint: None,
        };
        reader.export_tiles(&dir, &options, &mut |_, _| {}).unwrap();
        let report = verify_export(&dir, &VerifyOptions::default(), &mut |_, _| {}).unwrap();
        assert_eq!((report.verdict(), report.entries), (Verdict::Intact, 901), "{report}");
        assert_eq!(report.pruned.as_ref().unwrap().size(), end);
        assert_eq!(report.bodies, bodies.then_some(901 - end), "all that are kept");
        assert!(!dir.join("tile/entries/000").exists() && end > 256 && end % 256 > 0);

        let findings = |dir: &std::path::Path| {
            verify_export(dir, &VerifyOptions::default(), &mut |_, _| {}).unwrap().findings
        };
        let tile = dir.join("tile/0/000");
        let bytes = std::fs::read(&tile).unwrap();
        let mut changed = bytes.clone();
        changed[5] ^= 1;
        std::fs::write(&tile, changed).unwrap();
        assert!(!findings(&dir).is_empty());
        std::fs::write(&tile, bytes).unwrap();
        let statement = std::fs::read(dir.join("log.pruned")).unwrap();
        std::fs::remove_file(dir.join("log.pruned")).unwrap();
        assert_eq!(findings(&dir)[0].code, Code::SegmentMissing);
        std::fs::write(dir.join("log.pruned"), statement).unwrap();
        assert!(findings(&dir).is_empty());
    }
}

#[test]
fn an_export_has_the_entry_that_tells_of_what_was_removed() {
    let (log, _) = long();
    let reader = Reader::open(log.dir()).unwrap();
    let early: SignedCheckpoint = {
        let sizes = 1..reader.first();
        sizes.rev().find_map(|size| reader.checkpoint_at(size).unwrap()).unwrap()
    };
    let out = folder();
    let options = ExportOptions {
        bodies: true,
        checkpoint: Some(early.clone()),
    };
    let refused = reader.export_tiles(&out.path().join("early"), &options, &mut |_, _| {});
    assert!(matches!(refused, Err(ProveError::Pruned { told: 900 })), "{refused:?}");
    assert!(!out.path().join("early").exists());
}

/// Somebody without the key makes an export of before look as if retention had been at work.
#[test]
fn an_export_from_before_with_a_later_statement_is_not_intact() {
    let mut log = Log::new();
    log.segment_bytes = 40_000;
    let mut writer = log.open();
    append_range(&mut writer, 0..900);
    writer.commit().unwrap();
    let out = folder();
    let dir = out.path().join("full");
    let reader = Reader::open(log.dir()).unwrap();
    reader.export_tiles(&dir, &ExportOptions::default(), &mut |_, _| {}).unwrap();
    let told = writer.append(TELLING, EVENING + 900_000_000_000, b"removed").unwrap().seq;
    writer.commit().unwrap();
    let end = writer.ended_segments().unwrap()[2].end;
    writer.prune(end, told).unwrap();
    std::fs::write(dir.join("log.pruned"), log.read("log.pruned")).unwrap();
    std::fs::remove_file(dir.join("tile/entries/000")).unwrap();
    let report = verify_export(&dir, &VerifyOptions::default(), &mut |_, _| {}).unwrap();
    assert_eq!(report.findings[0].code, Code::Pruned, "{report}");
}
