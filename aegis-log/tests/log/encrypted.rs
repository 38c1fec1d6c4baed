//! Segments at rest: encrypted ones give what the plain ones gave, are checked without keys, and say nothing once their key
//! was destroyed.

use aegis_log::{
    Code, Day, Disclose, EraseError, ExportOptions, Keys, OpenCheck, ProveError, Reader, Report, Unread, Verdict, VerifyOptions,
    Writer, encrypt_segment, verify, verify_export,
};

use crate::common::{DAY_NS, EVENING, Log, append_range, body, folder};

/// What the daemon itself does.
const TELLING: u32 = 90;

fn keys(log: &Log) -> Keys {
    Keys::create(&Keys::folder(&log.dir()), &Keys::kek_file(&log.dir())).unwrap()
}

/// Whom an entry is about: each kind is somebody's.
fn owner(kind: u32, _: &[u8]) -> String {
    format!("agent-{kind}")
}

/// Encrypts all that has ended.
fn encrypt(log: &Log, writer: &mut Writer, keys: &Keys) -> usize {
    let ended = writer.ended_segments().unwrap();
    let plain = || ended.iter().filter(|segment| !segment.encrypted);
    for segment in plain() {
        let draft = encrypt_segment(&log.dir(), segment, keys, &mut owner).unwrap();
        writer.put_encrypted(draft).unwrap();
    }
    plain().count()
}

/// A log of 24 entries of which all segments but the last are encrypted, and how many entries those have.
fn encrypted() -> (Log, u64) {
    let log = Log::varied();
    let mut writer = log.open();
    let end = writer.ended_segments().unwrap().last().unwrap().end;
    assert!(encrypt(&log, &mut writer, &keys(&log)) > 2);
    writer.close().unwrap();
    (log, end)
}

fn erase(writer: &mut Writer, keys: &Keys, day: Day, owner: &str) -> Result<u64, EraseError> {
    let told = writer.append(TELLING, EVENING + 9_000_000_000, b"erased").unwrap().seq;
    writer.commit().unwrap();
    writer.erase(keys, day, owner, told).map(|()| told)
}

fn with_keys(log: &Log) -> Report {
    let keys = Keys::beside(&log.dir());
    assert!(keys.is_some());
    let options = VerifyOptions { keys, ..VerifyOptions::default() };
    verify(&log.dir(), &options).unwrap()
}

#[test]
fn what_was_encrypted_is_read_as_before() {
    let (plain, (log, end)) = (Log::varied(), encrypted());
    let reader = Reader::open(log.dir()).unwrap();
    let forward: Vec<_> = reader.entries(0).map(|entry| entry.unwrap()).collect();
    assert_eq!(forward.len(), 24);
    // The same bytes at the same places, so that an index made before still holds.
    let before = Reader::open(plain.dir()).unwrap();
    for (entry, was) in forward.iter().zip(before.entries(0)) {
        let was = was.unwrap();
        assert_eq!(entry.body, Ok(body(entry.header.seq)));
        assert_eq!((entry.segment, entry.offset, entry.header.time), (was.segment, was.offset, was.header.time));
        assert_eq!(reader.read_at(was.segment, was.offset).unwrap(), *entry);
        assert_eq!(reader.get(entry.header.seq).unwrap().as_ref(), Some(entry));
        assert_eq!(reader.seek_time(entry.header.time).unwrap(), entry.header.seq);
        let receipt = reader.receipt(entry.header.seq, Disclose::Body).unwrap();
        assert_eq!(receipt.verify(reader.vkey()).unwrap().body.as_ref(), entry.body.as_ref().ok());
    }
    let mut backward: Vec<_> = reader.entries_rev(u64::MAX).map(|entry| entry.unwrap()).collect();
    backward.reverse();
    assert_eq!(backward, forward);
    let report = with_keys(&log);
    assert_eq!((report.verdict(), report.entries, report.unread.withheld), (Verdict::Intact, 24, 0));
    assert!(end > 12);
}

#[test]
fn nothing_of_what_entries_say_is_in_the_files() {
    let (log, _) = encrypted();
    let mut found = 0;
    for (name, bytes) in log.files() {
        let says = bytes.windows(6).any(|window| window == b"entry ");
        found += usize::from(says);
        assert!(!says || name == *log.names(".seg").last().unwrap(), "{name}");
    }
    assert_eq!(found, 1, "the last segment has not ended");
}

#[test]
fn all_but_what_entries_say_is_checked_without_keys() {
    let (log, end) = encrypted();
    let report = log.verify();
    assert_eq!((report.verdict(), report.entries), (Verdict::Intact, 24));
    assert_eq!((report.unread.withheld, report.unread.erased), (end, 0));
    assert_eq!(report.to_json()["unread"]["withheld"], end);
    assert!(report.to_string().contains("their keys are not here"), "{report}");
    let reader = Reader::open_with(log.dir(), Keys::none()).unwrap();
    for entry in reader.entries(0) {
        let entry = entry.unwrap();
        let expected = if entry.header.seq < end { Err(Unread::Withheld) } else { Ok(body(entry.header.seq)) };
        assert_eq!(entry.body, expected);
    }
    // A proof that it is there needs no key; one that shows what it says does.
    let shown = reader.receipt(1, Disclose::Header).unwrap();
    assert_eq!(shown.verify(reader.vkey()).unwrap().header.seq, 1);
    let refused = reader.receipt(1, Disclose::Body);
    assert!(matches!(refused, Err(ProveError::Unread { seq: 1, why: Unread::Withheld })));
}

#[test]
fn every_changed_byte_of_an_encrypted_segment_is_found_without_keys_and_so_is_every_cut() {
    let (log, _) = encrypted();
    let name = log.names(".seg")[1].clone();
    let bytes = log.read(&name);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        log.write(&name, &changed);
        for report in [log.verify(), with_keys(&log)] {
            assert_eq!(report.verdict(), Verdict::Tampered, "byte {at}");
        }
    }
    for len in (0..bytes.len()).step_by(7) {
        log.write(&name, &bytes[..len]);
        assert_eq!(log.verify().verdict(), Verdict::Tampered, "{len} bytes");
    }
    log.write(&name, &[&bytes[..], b"x"].concat());
    assert_eq!(log.verify().verdict(), Verdict::Tampered);
    log.write(&name, &bytes);
    assert_eq!(log.verify().verdict(), Verdict::Intact);
}

#[test]
fn the_encrypted_segment_of_another_place_is_found() {
    let (log, _) = encrypted();
    let names = log.names(".seg");
    let (first, second) = (log.read(&names[0]), log.read(&names[1]));
    log.write(&names[0], &second);
    log.write(&names[1], &first);
    assert_eq!(log.verify().findings[0].code, Code::SegmentHeader);
}

#[test]
fn a_plain_entry_that_is_made_to_look_like_an_unread_one_is_found() {
    let log = Log::varied();
    let name = log.names(".seg")[0].clone();
    let bytes = log.read(&name);
    for frame_type in [2, 4] {
        let mut changed = bytes.clone();
        changed[72] = frame_type;
        log.write(&name, &changed);
        let report = log.verify();
        assert_eq!(report.findings[0].code, Code::EntryDamaged);
        assert!(Reader::open(log.dir()).unwrap().get(0).is_err());
    }
}

#[test]
fn what_was_erased_says_nothing_and_all_else_holds() {
    let (log, end) = encrypted();
    let day = Day::of(EVENING);
    let mut writer = log.open();
    let keys = keys(&log);
    let told = erase(&mut writer, &keys, day, "agent-2").unwrap();
    writer.close().unwrap();
    let reader = Reader::open_with(log.dir(), keys).unwrap();
    let mut erased = 0;
    for entry in reader.entries(0) {
        let entry = entry.unwrap();
        let gone = entry.header.kind == 2 && entry.header.seq < end && Day::of(entry.header.time) == day;
        erased += u64::from(gone);
        assert_eq!(entry.body.as_ref().err(), gone.then_some(&Unread::Erased), "{}", entry.header.seq);
    }
    assert!(erased > 0);
    let report = with_keys(&log);
    assert_eq!(report.verdict(), Verdict::Intact, "{report}");
    assert_eq!((report.unread.erased, report.unread.withheld), (erased, 0));
    assert!(report.to_string().contains("erased: what"), "{report}");
    let refused = reader.receipt(1, Disclose::Body);
    assert!(matches!(refused, Err(ProveError::Unread { seq: 1, why: Unread::Erased })));
    // Of an export its header is there, and the tree holds.
    let out = folder();
    let options = ExportOptions { bodies: true, ..ExportOptions::default() };
    reader.export_tiles(&out.path().join("x"), &options, &mut |_, _| {}).unwrap();
    let report = verify_export(&out.path().join("x"), &VerifyOptions::default(), &mut |_, _| {}).unwrap();
    assert_eq!((report.verdict(), report.bodies), (Verdict::Intact, Some(told + 1 - erased)));
}

#[test]
fn nothing_is_erased_before_it_is_encrypted_or_told() {
    let (log, _) = encrypted();
    let mut writer = log.open();
    let keys = keys(&log);
    let day = Day::of(EVENING);
    let next = writer.next_seq();
    assert!(matches!(writer.erase(&keys, day, "agent-2", next), Err(EraseError::Untold)));
    let tomorrow = Day::of(EVENING + DAY_NS);
    let early = erase(&mut writer, &keys, tomorrow, "agent-2");
    assert!(matches!(early, Err(EraseError::Early(day)) if day == tomorrow));
    let nobody = erase(&mut writer, &keys, day, "nobody");
    assert!(matches!(nobody, Err(EraseError::Nothing { .. })));
    let without = erase(&mut writer, &Keys::none(), day, "agent-2");
    assert!(matches!(without, Err(EraseError::Keys(_))));
    writer.close().unwrap();
    assert_eq!(with_keys(&log).unread.erased, 0);
}

#[test]
fn a_key_that_is_gone_without_a_word_is_found() {
    let (log, _) = encrypted();
    let folder = Keys::folder(&log.dir());
    let key = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(&key).unwrap();
    let report = with_keys(&log);
    assert_eq!(report.verdict(), Verdict::Tampered);
    assert_eq!(report.findings[0].code, Code::Erased);
    // A word that the log's key did not sign is none.
    std::fs::write(key.with_extension("erased"), b"erased\n").unwrap();
    assert_eq!(with_keys(&log).findings[0].code, Code::Erased);
}

#[test]
fn a_statement_that_no_entry_tells_of_is_found() {
    let (log, _) = encrypted();
    let mut writer = log.open();
    let keys = keys(&log);
    // An entry of another kind is no telling one.
    writer.erase(&keys, Day::of(EVENING), "agent-2", 3).unwrap();
    writer.close().unwrap();
    let report = with_keys(&log);
    assert_eq!((report.verdict(), report.findings[0].code), (Verdict::Tampered, Code::Erased));
}

#[test]
fn the_log_goes_on_and_is_encrypted_and_removed_further() {
    let (log, _) = encrypted();
    for check in [OpenCheck::Tail, OpenCheck::Full] {
        let mut options = log.options();
        options.check = check;
        let (mut writer, report) = Writer::open(&options).unwrap();
        assert!(report.recovery.is_none());
        let next = writer.next_seq();
        for seq in next..next + 12 {
            writer.append(1, EVENING + 10_000_000_000 + seq, &body(seq)).unwrap();
            writer.commit().unwrap();
        }
        let keys = keys(&log);
        assert!(encrypt(&log, &mut writer, &keys) > 0);
        let end = writer.ended_segments().unwrap()[0].end;
        let told = writer.append(TELLING, EVENING + 11_000_000_000, b"removed").unwrap().seq;
        writer.commit().unwrap();
        writer.prune(end, told).unwrap();
        writer.close().unwrap();
        let report = with_keys(&log);
        assert_eq!((report.verdict(), report.unread.withheld), (Verdict::Intact, 0), "{report}");
    }
}

#[test]
fn a_segment_that_was_encrypted_is_not_written_to_when_what_followed_it_is_gone() {
    let mut log = Log::new();
    log.segment_bytes = 2400;
    let mut writer = log.open();
    let keys = keys(&log);
    for seq in 0..24 {
        writer.append(1, EVENING - DAY_NS / 2, &body(seq)).unwrap();
        writer.commit().unwrap();
    }
    encrypt(&log, &mut writer, &keys);
    drop(writer);
    // As if power had gone before anything of the last segment was signed: only its opening checkpoint is there.
    let (segs, notes) = (log.names(".seg"), log.names(".notes"));
    let end: u64 = segs.last().unwrap()[..20].parse().unwrap();
    let all = log.read(notes.last().unwrap());
    let opening = all.windows(2).enumerate().filter(|(_, pair)| pair == b"\n\n").nth(1).unwrap().0 + 2;
    log.remove(segs.last().unwrap());
    log.write(notes.last().unwrap(), &all[..opening]);
    let tree = log.read("tree-0.hashes");
    log.write("tree-0.hashes", &tree[..usize::try_from(end * 32).unwrap()]);
    let before = log.read(&segs[segs.len() - 2]);
    let mut writer = log.open();
    assert_eq!(writer.next_seq(), end);
    writer.append(1, EVENING - DAY_NS / 2, &body(end)).unwrap();
    writer.commit().unwrap();
    writer.close().unwrap();
    assert_eq!(log.read(&segs[segs.len() - 2]), before);
    let report = with_keys(&log);
    assert_eq!((report.verdict(), report.entries), (Verdict::Intact, end + 1), "{report}");
}

#[test]
fn a_reader_goes_on_while_segments_are_encrypted_under_it() {
    let log = Log::varied();
    let mut writer = log.open();
    let keys = keys(&log);
    let reader = Reader::open_with(log.dir(), keys.clone()).unwrap();
    let mut entries = reader.entries(0);
    assert_eq!(entries.next().unwrap().unwrap().body, Ok(body(0)));
    encrypt(&log, &mut writer, &keys);
    for (seq, entry) in (1..).zip(entries) {
        assert_eq!(entry.unwrap().body, Ok(body(seq)));
    }
}

#[test]
fn a_damaged_segment_is_not_encrypted() {
    let log = Log::varied();
    let mut writer = log.open();
    let keys = keys(&log);
    let ended = writer.ended_segments().unwrap();
    let name = log.names(".seg")[1].clone();
    let bytes = log.read(&name);
    for at in [3, 50, 90, 300, bytes.len() - 3] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        log.write(&name, &changed);
        let made = encrypt_segment(&log.dir(), &ended[1], &keys, &mut owner);
        assert!(made.is_err(), "byte {at}");
        assert_eq!(log.names(".new-"), Vec::<String>::new());
        assert!(log.files().iter().all(|(name, _)| !name.starts_with(".new-")));
    }
    log.write(&name, &bytes);
    assert_eq!(encrypt(&log, &mut writer, &keys), ended.len());
}

#[test]
fn many_owners_and_blocks_take_little_room() {
    let mut log = Log::new();
    log.segment_bytes = 4 << 20;
    let mut writer = log.open();
    let said = |seq: u64| {
        format!("{{\"seq\":{seq},\"path\":\"/home/agent/project/src/module-{}.rs\",\"program\":\"/usr/bin/rustc\",\"verdict\":\"allowed\",\"rule\":\"files.read[3]\"}}", seq % 97)
            .repeat(2)
            .into_bytes()
    };
    for seq in 0..16_000_u64 {
        writer.append(u32::try_from(seq % 7).unwrap() + 1, EVENING - DAY_NS / 2 + seq * 1_000, &said(seq)).unwrap();
        if seq % 500 == 499 {
            writer.commit().unwrap();
        }
    }
    let segment = writer.ended_segments().unwrap()[0].clone();
    let keys = keys(&log);
    let before = segment.bytes;
    let draft = encrypt_segment(&log.dir(), &segment, &keys, &mut owner).unwrap();
    writer.put_encrypted(draft).unwrap();
    let after = writer.ended_segments().unwrap()[0].bytes;
    assert!(after * 4 < before, "{after} of {before} bytes");
    let reader = Reader::open_with(log.dir(), keys).unwrap();
    for entry in reader.entries(0) {
        let entry = entry.unwrap();
        assert_eq!(entry.body, Ok(said(entry.header.seq)));
    }
    append_range(&mut writer, 0..0);
    writer.close().unwrap();
    assert_eq!(with_keys(&log).verdict(), Verdict::Intact);
}
