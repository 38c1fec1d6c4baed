//! A past that is written anew by someone who has the host, the log's key and the key of the epoch under way.

use std::path::Path;

use aegis_log::{
    Code, OpenError, Report, Seal, Verdict, VerifyOptions, Writer, verify, verify_with,
};

use crate::common::{EVENING, Log};

const HOUR: u64 = 3_600_000_000_000;
const EPOCHS: &str = "log.epochs";

/// Three entries an hour; what they say ends with `word`.
fn hours(writer: &mut Writer, hours: std::ops::Range<u64>, word: &str) {
    for hour in hours {
        for at in 0..3 {
            let body = format!("hour {hour} {at} {word}");
            writer
                .append(1, EVENING + hour * HOUR + at, body.as_bytes())
                .unwrap();
        }
        writer.commit().unwrap();
    }
}

fn log_of(count: u64) -> Log {
    let log = Log::new();
    let mut writer = log.open();
    hours(&mut writer, 0..count, "as it was");
    writer.close().unwrap();
    log
}

fn first_seal(log: &Log) -> Vec<String> {
    let all = Seal::parse_all(&String::from_utf8(log.read(EPOCHS)).unwrap()).unwrap();
    all[..1].to_vec()
}

fn with_seals(log: &Log, seals: Vec<String>) -> Report {
    verify(
        &log.dir(),
        &VerifyOptions {
            seals,
            ..VerifyOptions::default()
        },
    )
    .unwrap()
}

fn found(report: &Report, code: Code) {
    assert_eq!(report.verdict(), Verdict::Tampered, "{report}");
    assert!(
        report.findings.iter().any(|finding| finding.code == code),
        "{report}"
    );
}

/// The keys of epochs.
fn keys(log: &Log) -> Vec<String> {
    log.keys()
        .into_iter()
        .filter(|name| name != "log.key")
        .collect()
}

/// Their numbers.
fn numbers(log: &Log) -> Vec<u64> {
    let number = |name: String| name.rsplit_once("epoch-").unwrap().1.parse().unwrap();
    keys(log).into_iter().map(number).collect()
}

/// The file of one of them.
fn key_file(log: &Log, number: u64) -> std::path::PathBuf {
    let vkey = String::from_utf8(log.read("log.vkey")).unwrap();
    let chain = &vkey["aegis/".len()..][..32];
    log.key_file()
        .with_file_name(format!("log.key.{chain}.epoch-{number}"))
}

fn remove_keys(log: &Log) {
    for name in keys(log) {
        std::fs::remove_file(log.key_file().with_file_name(name)).unwrap();
    }
}

/// The log written anew from its beginning with the log's own key, as root could do it: the folder emptied but for the
/// verifier key, other entries at the same times, and keys of epochs made as needed.
fn rewritten(log: &Log, count: u64) -> Log {
    let forged = log.copy();
    for (name, _) in forged.files() {
        if name != "log.vkey" {
            forged.remove(&name);
        }
    }
    remove_keys(&forged);
    let mut writer = forged.open();
    hours(&mut writer, 0..count, "as it never was");
    writer.close().unwrap();
    forged
}

#[test]
fn every_hour_is_sealed_and_its_key_destroyed() {
    let log = log_of(4);
    let report = with_seals(&log, first_seal(&log));
    assert_eq!(report.verdict(), Verdict::Intact, "{report}");
    assert_eq!((report.epochs, report.sealed, report.entries), (4, 12, 12));
    assert_eq!(numbers(&log), [5]);
    // A clean end is sealed, whether the next one goes on in the same hour, the next one, or one that was there before.
    for (hour, epochs) in [(3, 5), (4, 6), (2, 7)] {
        let mut writer = log.open();
        hours(&mut writer, hour..hour + 1, "as it was");
        writer.close().unwrap();
        let report = with_seals(&log, first_seal(&log));
        assert_eq!(
            (report.verdict(), report.epochs),
            (Verdict::Intact, epochs),
            "{report}"
        );
    }
}

#[test]
fn an_hour_that_is_over_is_sealed_without_another_entry() {
    let log = log_of(1);
    let mut writer = log.open();
    hours(&mut writer, 1..2, "as it was");
    writer.end_epoch(EVENING + HOUR + 1).unwrap();
    assert_eq!(with_seals(&log, vec![]).epochs, 1, "it is not over");
    writer.end_epoch(EVENING + 2 * HOUR).unwrap();
    writer.end_epoch(EVENING + 3 * HOUR).unwrap();
    let report = with_seals(&log, vec![]);
    assert_eq!(report.epochs, 2, "one without entries is not over");
    hours(&mut writer, 3..4, "as it was");
    writer.close().unwrap();
    let report = with_seals(&log, first_seal(&log));
    assert_eq!(
        (report.verdict(), report.epochs, report.sealed),
        (Verdict::Intact, 3, 9),
        "{report}"
    );
}

/// A log that was cut back to the end of its first hour, and got entries for the next one that nobody could seal.
fn cut_and_gone_on() -> (Log, Log) {
    let log = log_of(1);
    let forged = log.copy();
    let mut writer = forged.open();
    hours(&mut writer, 1..2, "as it never was");
    drop(writer);
    let mut writer = log.open();
    hours(&mut writer, 1..4, "as it was");
    writer.close().unwrap();
    (log, forged)
}

#[test]
fn entries_that_nobody_sealed_are_not_taken_for_whole() {
    let (log, forged) = cut_and_gone_on();
    let report = with_seals(&forged, first_seal(&log));
    assert_eq!(report.verdict(), Verdict::Incomplete, "{report}");
    assert!(
        report
            .to_string()
            .contains("not sealed: the entries from 3 on"),
        "{report}"
    );
}

#[test]
fn a_held_lock_hides_no_seal() {
    let (log, forged) = cut_and_gone_on();
    forged.write(EPOCHS, &log.read(EPOCHS));
    let lock = std::fs::File::open(forged.dir().join("log.lock")).unwrap();
    lock.lock().unwrap();
    let report = with_seals(&forged, first_seal(&log));
    assert!(report.live);
    found(&report, Code::Epoch);
}

#[test]
fn a_past_written_anew_with_the_log_s_key_is_found_against_the_first_seal() {
    let log = log_of(4);
    let forged = rewritten(&log, 4);
    assert_eq!(
        with_seals(&forged, vec![]).verdict(),
        Verdict::Intact,
        "nothing in the folder can tell"
    );
    found(&with_seals(&forged, first_seal(&log)), Code::KeptEpoch);
}

#[test]
fn a_past_written_anew_under_the_old_seals_is_found() {
    let log = log_of(4);
    let forged = rewritten(&log, 4);
    forged.write(EPOCHS, &log.read(EPOCHS));
    found(&with_seals(&forged, first_seal(&log)), Code::Epoch);
}

#[test]
fn entries_whose_seals_were_taken_away_are_found() {
    let log = log_of(4);
    let all = Seal::parse_all(&String::from_utf8(log.read(EPOCHS)).unwrap()).unwrap();
    for left in 1..all.len() {
        let cut = log.copy();
        cut.write(EPOCHS, format!("{}\n", all[..left].join("\n")).as_bytes());
        let report = with_seals(&cut, first_seal(&log));
        // Of the last hour alone nothing tells that it was sealed.
        if left + 1 == all.len() {
            assert_eq!(report.verdict(), Verdict::Incomplete, "{report}");
        } else {
            found(&report, Code::EpochMissing);
        }
    }
    let gone = log.copy();
    gone.remove(EPOCHS);
    found(&with_seals(&gone, vec![]), Code::EpochMissing);
}

#[test]
fn a_log_shorter_than_its_seals_is_found() {
    let (log, short) = (log_of(4), log_of(2));
    let forged = rewritten(&log, 2);
    forged.write(EPOCHS, &log.read(EPOCHS));
    found(&with_seals(&forged, first_seal(&log)), Code::Epoch);
    found(&with_seals(&short, first_seal(&log)), Code::KeptEpoch);
}

/// Opening refuses, and changes nothing in the log.
fn refuses(log: &Log, expected: impl Fn(&OpenError) -> bool) {
    let before = log.files();
    let error = log.try_open().map(|_| ()).unwrap_err();
    assert!(expected(&error), "{error}");
    assert_eq!(log.files(), before);
}

#[test]
fn a_log_whose_seals_are_not_its_own_is_not_gone_on_with() {
    let log = log_of(4);
    let all = Seal::parse_all(&String::from_utf8(log.read(EPOCHS)).unwrap()).unwrap();
    let tampered = |error: &OpenError| matches!(error, OpenError::Tampered { .. });

    let without_key = log.copy();
    remove_keys(&without_key);
    refuses(&without_key, |error| {
        matches!(error, OpenError::EpochKeyMissing(_))
    });

    let cut = log.copy();
    cut.write(EPOCHS, format!("{}\n", all[..2].join("\n")).as_bytes());
    refuses(&cut, tampered);
    cut.remove(EPOCHS);
    refuses(&cut, tampered);

    let young = log_of(1);
    young.remove(EPOCHS);
    refuses(&young, tampered);

    let forged = rewritten(&log, 4);
    forged.write(EPOCHS, &log.read(EPOCHS));
    remove_keys(&forged);
    std::fs::copy(key_file(&log, 5), key_file(&forged, 5)).unwrap();
    refuses(&forged, tampered);
}

#[test]
fn a_key_that_a_crash_left_over_is_destroyed_at_the_next_start() {
    let log = log_of(2);
    let in_use = std::fs::read(key_file(&log, 3)).unwrap();
    // As it is between the seal and the end of the old key, and between the making of the next key and the seal.
    for number in [2, 4] {
        write_private(&key_file(&log, number), &in_use);
        log.open().close().unwrap();
        assert_eq!(numbers(&log), [3]);
    }
    // A seal that was not written in whole.
    let bytes = log.read(EPOCHS);
    log.write(EPOCHS, &[&bytes[..], b"aegis/"].concat());
    assert_eq!(with_seals(&log, vec![]).verdict(), Verdict::Incomplete);
    log.open().close().unwrap();
    assert_eq!(log.read(EPOCHS), bytes);
}

fn write_private(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, bytes).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_log_that_is_sealed_while_it_is_read_is_intact() {
    let log = log_of(2);
    let mut writer = log.open();
    // The verifier has read the seals when it comes to the first entry; then two more hours are written and sealed.
    let mut written = false;
    let report = verify_with(&log.dir(), &VerifyOptions::default(), |_| {
        if !std::mem::replace(&mut written, true) {
            hours(&mut writer, 2..4, "as it was");
            writer.end_epoch(EVENING + 4 * HOUR).unwrap();
        }
    })
    .unwrap();
    assert!(report.live);
    assert_eq!(report.verdict(), Verdict::Intact, "{report}");
    writer.close().unwrap();
    assert_eq!(with_seals(&log, first_seal(&log)).epochs, 4);
}

#[test]
fn a_log_that_was_moved_away_and_back_has_its_key() {
    let log = log_of(4);
    let away = log.dir().with_file_name("moved");
    std::fs::rename(log.dir(), &away).unwrap();
    log.open().close().unwrap();
    std::fs::rename(log.dir(), log.dir().with_file_name("between")).unwrap();
    std::fs::rename(away, log.dir()).unwrap();
    let mut writer = log.open();
    hours(&mut writer, 4..5, "as it was");
    writer.close().unwrap();
    assert_eq!(
        with_seals(&log, first_seal(&log)).verdict(),
        Verdict::Intact
    );
}
