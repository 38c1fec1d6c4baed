//! What is written is read and verified.

use crate::common::{EVENING, Log, append, append_range, body};
use aegis_log::{
    Day, Disclose, Reader, Receipt, Verdict, VerifyOptions, check_consistency, check_inclusion,
    verify_with,
};

#[test]
fn a_log_over_several_segments_and_days_is_intact() {
    let log = Log::varied();
    let report = log.verify();
    assert_eq!(report.verdict(), Verdict::Intact, "{report}");
    assert_eq!(
        (report.entries, report.exit_code(), report.key_trusted),
        (24, 0, false)
    );
    assert!(report.segments >= 3, "{report}");
    // Eight commits after every third entry, one after the fifth, and one before each new segment.
    assert!(report.checkpoints >= 9, "{report}");
}

#[test]
fn entries_are_read_in_every_way() {
    let log = Log::varied();
    let reader = Reader::open(log.dir()).unwrap();
    assert_eq!(reader.size(), 24);
    let all: Vec<_> = reader.entries(0).map(Result::unwrap).collect();
    assert_eq!(all.len(), 24);
    for (seq, entry) in (0..).zip(&all) {
        assert_eq!((entry.header.seq, &entry.body), (seq, &Ok(body(seq))));
        assert_eq!(reader.get(seq).unwrap().as_ref(), Some(entry));
        assert_eq!(&reader.read_at(entry.segment, entry.offset).unwrap(), entry);
        assert_eq!(
            reader.entries(seq).count(),
            usize::try_from(24 - seq).unwrap()
        );
        assert_eq!(reader.seek_time(entry.header.time).unwrap(), seq);
        assert_eq!(reader.seek_time(entry.header.time - 1).unwrap(), seq);
        assert_eq!(reader.seek_time(entry.header.time + 1).unwrap(), seq + 1);
    }
    assert_eq!(reader.get(24).unwrap(), None);
    for before in 0..=25 {
        let backward: Vec<_> = reader
            .entries_rev(before)
            .map(|entry| entry.unwrap().header.seq)
            .collect();
        assert_eq!(backward, (0..before.min(24)).rev().collect::<Vec<_>>());
    }
    assert!(reader.read_at(0, 73).is_err());
    assert!(reader.read_at(5, 72).is_err());
}

#[test]
fn the_position_of_an_appended_entry_is_where_it_is_read() {
    let mut log = Log::new();
    log.segment_bytes = 2000;
    let mut writer = log.open();
    let appended: Vec<_> = (0..40_u64)
        .map(|seq| writer.append(1, EVENING, &body(seq)).unwrap())
        .collect();
    writer.close().unwrap();
    let reader = Reader::open(log.dir()).unwrap();
    for at in appended {
        assert_eq!(
            reader.read_at(at.segment, at.offset).unwrap().header.seq,
            at.seq
        );
    }
}

#[test]
fn long_logs_are_read_backward_and_by_time() {
    let log = Log::new();
    let mut writer = log.open();
    for seq in 0..2000_u64 {
        writer
            .append(1, EVENING - 2_000_000 + seq * 1000, &body(seq))
            .unwrap();
    }
    writer.close().unwrap();
    let reader = Reader::open(log.dir()).unwrap();
    let backward: Vec<_> = reader
        .entries_rev(1999)
        .map(|entry| entry.unwrap().header.seq)
        .collect();
    assert_eq!(backward, (0..1999).rev().collect::<Vec<_>>());
    for seq in [0, 1, 255, 256, 257, 1023, 1999] {
        assert_eq!(
            reader.seek_time(EVENING - 2_000_000 + seq * 1000).unwrap(),
            seq
        );
        assert_eq!(reader.get(seq).unwrap().unwrap().header.seq, seq);
    }
    assert_eq!(reader.seek_time(u64::MAX).unwrap(), 2000);
    assert_eq!(reader.seek_time(0).unwrap(), 0);
}

#[test]
fn a_follower_sees_entries_when_they_are_signed_and_not_before() {
    let mut log = Log::new();
    log.segment_bytes = 1500;
    let mut writer = log.open();
    append(&mut writer, 0);
    writer.commit().unwrap();
    let mut follow = Reader::open(log.dir()).unwrap().follow(0);
    let mut seen = Vec::new();
    let mut take = |follow: &mut aegis_log::Follow, max| {
        let batch = follow.next_batch(max).unwrap();
        seen.extend(batch.iter().map(|entry| entry.header.seq));
        batch.len()
    };
    assert_eq!((take(&mut follow, 10), take(&mut follow, 10)), (1, 0));
    for round in 0..10_u64 {
        let from = 1 + round * 5;
        append_range(&mut writer, from..from + 5);
        assert_eq!(take(&mut follow, 10), 0, "pending entries are not signed");
        writer.commit().unwrap();
        assert_eq!(
            (
                take(&mut follow, 2),
                take(&mut follow, 10),
                take(&mut follow, 10)
            ),
            (2, 3, 0)
        );
    }
    assert_eq!(seen, (0..51).collect::<Vec<_>>());
}

#[test]
fn a_clock_set_back_begins_a_segment_and_a_little_disorder_does_not() {
    let log = Log::new();
    let mut writer = log.open();
    let first = writer.append(1, EVENING, b"a").unwrap();
    let disorder = writer.append(1, EVENING - 5_000_000, b"b").unwrap();
    assert_eq!((disorder.time, disorder.segment), (EVENING, first.segment));
    let back = writer.append(1, EVENING - 3_600_000_000_000, b"c").unwrap();
    assert_eq!((back.time, back.segment), (EVENING - 3_600_000_000_000, 2));
    let forward = writer
        .append(1, EVENING + 400 * crate::common::DAY_NS, b"d")
        .unwrap();
    assert_eq!(forward.segment, 3);
    let ancient = writer.append(1, 0, b"e").unwrap();
    assert_eq!((ancient.segment, ancient.time), (4, 0));
    writer.close().unwrap();
    let report = log.verify();
    assert_eq!(
        (report.verdict(), report.entries, report.segments),
        (Verdict::Intact, 5, 4),
        "{report}"
    );
}

#[test]
fn daily_roots_cover_their_day_and_no_more() {
    let log = Log::varied();
    let reader = Reader::open(log.dir()).unwrap();
    let roots = reader.daily_roots().unwrap();
    let days: Vec<_> = roots
        .iter()
        .map(|(day, root)| (day.to_string(), root.size()))
        .collect();
    assert_eq!(
        days,
        [("2026-11-20".to_owned(), 12), ("2026-11-21".to_owned(), 24)]
    );
    for (day, root) in &roots {
        root.verify(reader.vkey()).unwrap();
        let last = reader.get(root.size() - 1).unwrap().unwrap();
        assert_eq!(Day::of(last.header.time), *day);
    }
    assert_eq!(
        reader
            .daily_root(Day::parse("2026-11-22").unwrap())
            .unwrap(),
        None
    );
}

#[test]
fn receipts_and_consistency_proofs_hold() {
    let log = Log::varied();
    let reader = Reader::open(log.dir()).unwrap();
    let roots: Vec<_> = reader
        .daily_roots()
        .unwrap()
        .into_iter()
        .map(|(_, root)| root)
        .collect();
    let path = reader
        .consistency(roots[0].size(), roots[1].size())
        .unwrap();
    check_consistency(
        &path,
        roots[0].size(),
        roots[0].root(),
        roots[1].size(),
        roots[1].root(),
    )
    .unwrap();
    for entry in reader.entries(0).map(Result::unwrap) {
        let seq = entry.header.seq;
        let shown =
            Receipt::parse(&reader.receipt(seq, Disclose::Body).unwrap().to_string()).unwrap();
        assert_eq!(shown.verify(reader.vkey()).unwrap().body, entry.body.ok());
        let text = reader.receipt(seq, Disclose::Header).unwrap().to_string();
        let withheld = Receipt::parse(&text)
            .unwrap()
            .verify(reader.vkey())
            .unwrap();
        assert_eq!((withheld.header, withheld.body), (entry.header, None));
    }
    assert!(reader.receipt(24, Disclose::Body).is_err());
    assert!(reader.inclusion(3, 25).is_err());
    assert!(check_inclusion(&[], 0, &aegis_log::Hash::ZERO, 24, roots[1].root()).is_err());
}

#[test]
fn every_changed_character_of_a_receipt_is_noticed() {
    let log = Log::varied();
    let reader = Reader::open(log.dir()).unwrap();
    let text = reader
        .receipt(17, Disclose::Body)
        .unwrap()
        .to_string()
        .into_bytes();
    for at in 0..text.len() {
        let mut changed = text.clone();
        changed[at] ^= 1;
        let accepted = String::from_utf8(changed).is_ok_and(|text| {
            Receipt::parse(&text).is_ok_and(|receipt| receipt.verify(reader.vkey()).is_ok())
        });
        assert!(!accepted, "byte {at}");
    }
}

#[test]
fn the_verifier_shows_each_entry_for_a_cross_check() {
    let log = Log::varied();
    let mut seen = Vec::new();
    let report = verify_with(&log.dir(), &VerifyOptions::default(), |info| {
        seen.push(*info)
    })
    .unwrap();
    assert_eq!(report.exit_code(), 0);
    let reader = Reader::open(log.dir()).unwrap();
    let read: Vec<_> = reader
        .entries(0)
        .map(|entry| entry.unwrap().info())
        .collect();
    assert_eq!(seen, read);
}

#[test]
fn commits_without_entries_write_nothing() {
    let log = Log::new();
    let mut writer = log.open();
    assert_eq!(
        (writer.commit().unwrap().size(), writer.durable_seq()),
        (0, None)
    );
    append(&mut writer, 0);
    assert_eq!((writer.pending(), writer.durable_size()), (1, 0));
    assert_eq!(writer.commit().unwrap().size(), 1);
    let before = log.files();
    writer.commit().unwrap();
    assert_eq!(log.files(), before);
    writer.close().unwrap();
}

#[test]
fn what_is_given_up_leaves_no_gap() {
    let log = Log::new();
    let mut writer = log.open();
    append_range(&mut writer, 0..3);
    writer.commit().unwrap();
    append_range(&mut writer, 3..7);
    assert_eq!(writer.discard_pending(), 4);
    append_range(&mut writer, 3..5);
    writer.close().unwrap();
    let report = log.verify();
    assert_eq!(
        (report.verdict(), report.entries),
        (Verdict::Intact, 5),
        "{report}"
    );
}

#[test]
fn the_largest_body_fits_and_a_larger_one_is_refused() {
    let log = Log::new();
    let mut writer = log.open();
    writer
        .append(1, EVENING, &vec![7; aegis_log::MAX_BODY])
        .unwrap();
    let refused = writer.append(1, EVENING, &vec![7; aegis_log::MAX_BODY + 1]);
    assert!(matches!(
        refused,
        Err(aegis_log::AppendError::BodyTooLarge {
            len: 65_536,
            max: 65_535
        })
    ));
    writer.append(1, EVENING, b"").unwrap();
    writer.close().unwrap();
    assert_eq!((log.verify().exit_code(), log.verify().entries), (0, 2));
}
