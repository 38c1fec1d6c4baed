//! What only someone who kept a checkpoint or the key elsewhere finds out: an end cut off whole, forks,
//! logs of others.

use crate::common::{Log, append_range};
use crate::tamper::first_bad;
use aegis_log::{Code, OpenError, Reader, SignedCheckpoint, VerifierKey, VerifyOptions, verify};

pub fn kept(log: &Log) -> SignedCheckpoint {
    Reader::open(log.dir())
        .unwrap()
        .checkpoint()
        .unwrap()
        .clone()
}

fn against(log: &Log, kept: &[SignedCheckpoint]) -> aegis_log::Report {
    verify(
        &log.dir(),
        &VerifyOptions {
            checkpoints: kept.to_vec(),
            ..VerifyOptions::default()
        },
    )
    .unwrap()
}

#[test]
fn an_end_cut_off_whole_is_found_against_a_kept_checkpoint() {
    let log = Log::new();
    let mut writer = log.open();
    append_range(&mut writer, 0..5);
    writer.close().unwrap();
    let yesterday = log.copy();
    let earlier = kept(&log);
    let mut writer = log.open();
    append_range(&mut writer, 5..9);
    writer.close().unwrap();
    let later = kept(&log);
    assert_eq!(
        against(&log, &[earlier.clone(), later.clone()]).exit_code(),
        0
    );
    // The whole folder of yesterday is a perfect log, but for who remembers today.
    assert_eq!(yesterday.verify().exit_code(), 0);
    assert_eq!(
        against(&yesterday, std::slice::from_ref(&earlier)).exit_code(),
        0
    );
    let report = against(&yesterday, &[earlier, later]);
    assert_eq!(
        (
            report.exit_code(),
            report.findings[0].seq,
            report.findings[0].until
        ),
        (1, Some(5), Some(8)),
        "{report}"
    );
    assert!(report.to_string().contains("cut off"), "{report}");
}

#[test]
fn a_fork_is_found_against_a_kept_checkpoint() {
    let log = Log::new();
    let mut writer = log.open();
    append_range(&mut writer, 0..5);
    writer.close().unwrap();
    let fork = log.copy();
    for (log, count) in [(&log, 8), (&fork, 12)] {
        let mut writer = log.open();
        append_range(&mut writer, 5..count);
        writer.close().unwrap();
    }
    let report = against(&fork, &[kept(&log)]);
    assert_eq!(
        (report.exit_code(), report.findings[0].code),
        (1, Code::KeptCheckpoint),
        "{report}"
    );
    assert!(report.to_string().contains("fork"), "{report}");
}

#[test]
fn kept_checkpoints_that_are_forged_or_of_others_are_refused() {
    let (log, other) = (Log::varied(), Log::varied());
    assert_eq!(
        against(&log, &[kept(&other)]).findings[0].code,
        Code::KeptCheckpoint
    );
    let forged = kept(&log).note().replacen("\n24\n", "\n20\n", 1);
    let forged = SignedCheckpoint::parse_all(&forged).unwrap();
    assert_eq!(
        against(&log, &forged).findings[0].code,
        Code::KeptCheckpoint
    );
}

#[test]
fn the_end_cut_off_with_its_checkpoints_is_remembered_by_the_tree() {
    let log = Log::new();
    let mut writer = log.open();
    append_range(&mut writer, 0..5);
    writer.commit().unwrap();
    let earlier = log.files();
    append_range(&mut writer, 5..9);
    writer.close().unwrap();
    for (name, bytes) in earlier
        .iter()
        .filter(|(name, _)| !name.ends_with(".hashes"))
    {
        log.write(name, bytes);
    }
    let finding = first_bad(&log);
    assert_eq!(
        (finding.seq, finding.until),
        (Some(5), Some(8)),
        "{finding}"
    );
    assert!(matches!(log.try_open(), Err(OpenError::Tampered { .. })));
}

#[test]
fn segments_of_another_host_are_found() {
    let (log, other) = (Log::varied(), Log::varied());
    for suffix in [".seg", ".notes"] {
        let name = log.names(suffix)[1].clone();
        let own = log.read(&name);
        log.write(&name, &other.read(&other.names(suffix)[1]));
        first_bad(&log);
        log.write(&name, &own);
    }
    for (name, bytes) in other.files() {
        log.write(&name, &bytes);
    }
    // A whole folder of another host is that host's; the key from elsewhere tells.
    assert_eq!(log.verify().exit_code(), 0);
    let key =
        VerifierKey::parse(&String::from_utf8(Log::varied().read("log.vkey")).unwrap()).unwrap();
    let report = verify(
        &log.dir(),
        &VerifyOptions {
            key: Some(key),
            ..VerifyOptions::default()
        },
    )
    .unwrap();
    assert_eq!(
        (report.exit_code(), report.findings[0].code),
        (1, Code::Vkey)
    );
    assert!(matches!(log.try_open(), Err(OpenError::KeyMismatch(_))));
}

#[test]
fn a_log_made_anew_with_another_key_is_found_by_who_has_the_key() {
    let log = Log::varied();
    let key = VerifierKey::parse(&String::from_utf8(log.read("log.vkey")).unwrap()).unwrap();
    let trusted = VerifyOptions {
        key: Some(key),
        checkpoints: vec![kept(&log)],
        ..VerifyOptions::default()
    };
    let report = verify(&log.dir(), &trusted).unwrap();
    assert!(
        report.exit_code() == 0 && report.key_trusted && report.kept == 1,
        "{report}"
    );
    let anew = Log::varied();
    assert_eq!(verify(&anew.dir(), &trusted).unwrap().exit_code(), 1);
}
