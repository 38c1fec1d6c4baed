//! What a crash leaves behind is cut off and told; what was signed is never mended.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{EVENING, Log, append, append_range, body};
use aegis_log::{OpenCheck, OpenError, Reader, Verdict, Writer};

/// A log of five signed entries, and the same after four more were signed.
fn two_states() -> (Log, Vec<(String, Vec<u8>)>) {
    let log = Log::new();
    let mut writer = log.open();
    append_range(&mut writer, 0..2);
    writer.commit().unwrap();
    append_range(&mut writer, 2..5);
    writer.close().unwrap();
    let before = log.copy();
    let mut writer = log.open();
    append_range(&mut writer, 5..9);
    writer.close().unwrap();
    let after = log.files();
    (before, after)
}

fn content<'a>(files: &'a [(String, Vec<u8>)], suffix: &str) -> (&'a str, &'a [u8]) {
    let (name, bytes) = files
        .iter()
        .find(|(name, _)| name.ends_with(suffix))
        .unwrap();
    (name, bytes)
}

/// Opens, goes on with entry `next`, closes, and holds the result against what it must be.
fn goes_on_from(log: &Log, next: u64, what: &str) -> aegis_log::OpenReport {
    let (mut writer, report) = log
        .try_open()
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(
        (writer.next_seq(), report.last.map(|last| last.seq)),
        (next, next.checked_sub(1)),
        "{what}"
    );
    append_range(&mut writer, next..next + 2);
    writer.close().unwrap();
    let verified = log.verify();
    assert_eq!(
        (verified.verdict(), verified.entries),
        (Verdict::Intact, next + 2),
        "{what}: {verified}"
    );
    let reader = Reader::open(log.dir()).unwrap();
    for (seq, entry) in (0..).zip(reader.entries(0)) {
        assert_eq!(entry.unwrap().body, Ok(body(seq)), "{what}");
    }
    report
}

#[test]
fn entries_torn_at_every_byte_are_cut_off_and_set_aside() {
    let (before, after) = two_states();
    let (name, whole) = content(&after, ".seg");
    let signed = before.read(name).len();
    for len in signed..=whole.len() {
        let log = before.copy();
        log.write(name, &whole[..len]);
        let verified = log.verify();
        assert_eq!(
            verified.exit_code(),
            if len == signed { 0 } else { 3 },
            "{verified}"
        );
        let report = goes_on_from(&log, 5, &format!("{len} bytes"));
        match report.recovery {
            None => assert_eq!(len, signed),
            Some(recovery) => {
                assert_eq!(
                    (recovery.at_seq, recovery.bytes_cut),
                    (5, u64::try_from(len - signed).unwrap())
                );
                assert!(
                    recovery.entries_cut <= 4
                        && !recovery.torn_checkpoint
                        && !recovery.tree_rebuilt
                );
                assert_eq!(
                    std::fs::read(recovery.saved_as.unwrap()).unwrap(),
                    whole[signed..len]
                );
            }
        }
    }
}

#[test]
fn a_checkpoint_torn_at_every_byte_is_cut_off_with_its_entries() {
    let (before, after) = two_states();
    let (entries_name, entries) = content(&after, ".seg");
    let (name, whole) = content(&after, ".notes");
    let signed = before.read(name).len();
    for len in signed..whole.len() {
        let log = before.copy();
        log.write(entries_name, entries);
        log.write(name, &whole[..len]);
        assert_eq!(log.verify().exit_code(), 3);
        let recovery = goes_on_from(&log, 5, &format!("{len} bytes"))
            .recovery
            .unwrap();
        assert_eq!(
            (recovery.entries_cut, recovery.torn_checkpoint),
            (4, len > signed)
        );
    }
}

#[test]
fn garbage_and_holes_after_the_last_checkpoint_are_cut_off() {
    let (before, after) = two_states();
    let (name, whole) = content(&after, ".seg");
    let signed = before.read(name).len();
    let mut damaged = whole.to_vec();
    damaged[signed + 20] ^= 1;
    for tail in [
        &[0; 700][..],
        &[0xff; 30],
        &damaged[signed..],
        &whole[signed + 1..],
    ] {
        let log = before.copy();
        log.write(name, &[&whole[..signed], tail].concat());
        let recovery = goes_on_from(&log, 5, "garbage").recovery.unwrap();
        assert_eq!(
            (recovery.entries_cut, recovery.bytes_cut),
            (0, u64::try_from(tail.len()).unwrap())
        );
    }
}

#[test]
fn a_segment_that_was_about_to_begin_begins_again() {
    let mut log = Log::new();
    let mut writer = log.open();
    append_range(&mut writer, 0..5);
    writer.close().unwrap();
    let before = log.copy();
    log.segment_bytes = 100;
    let mut writer = log.open();
    append(&mut writer, 5);
    writer.close().unwrap();
    let (notes, entries) = (log.names(".notes")[1].clone(), log.names(".seg")[1].clone());
    let opening = log.read(&log.names(".notes")[0]);
    let opening = &opening[opening.len() - log.read(&notes).len() / 2..];
    assert!(log.read(&notes).starts_with(opening));
    let segment = log.read(&entries);
    let lens = std::iter::once(None).chain((0..=segment.len()).map(Some));
    for len in lens {
        let crashed = before.copy();
        crashed.write(&notes, opening);
        if let Some(len) = len {
            crashed.write(&entries, &segment[..len]);
        }
        assert_ne!(
            crashed.verify().exit_code(),
            1,
            "{len:?}: {}",
            crashed.verify()
        );
        let report = goes_on_from(&crashed, 5, &format!("{len:?}"));
        assert_eq!(
            report.recovery.is_some(),
            len.is_some_and(|len| len > 72),
            "{len:?}"
        );
    }
}

#[test]
fn what_was_cut_off_is_told_until_an_entry_is_signed() {
    let (log, _) = two_states();
    let name = log.names(".seg").pop().unwrap();
    let tear = |with: &[u8]| log.write(&name, &[&log.read(&name), with].concat());
    tear(b"first");
    let first = log.try_open().unwrap().1.recovery.unwrap();
    let again = log.try_open().unwrap().1.recovery.unwrap();
    assert_eq!(
        (again.bytes_cut, &again.earlier),
        (
            0,
            &vec![(first.saved_as.clone().unwrap(), first.sha256.unwrap())]
        )
    );
    tear(b"second");
    let second = log.try_open().unwrap().1.recovery.unwrap();
    assert_eq!((second.bytes_cut, &second.earlier), (6, &again.earlier));
    assert!(
        second
            .to_string()
            .contains(&first.sha256.unwrap().to_string()),
        "{second}"
    );
    goes_on_from(&log, 5, "told");
    assert_eq!(log.try_open().unwrap().1.recovery, None);
}

#[test]
fn unfinished_files_are_removed() {
    let log = Log::varied();
    log.write(".new-00000000000000000024-2026-11-21.notes", b"half");
    assert_eq!(log.verify().exit_code(), 0);
    log.open().close().unwrap();
    assert!(log.names("").iter().all(|name| !name.starts_with(".new-")));
}

#[test]
fn the_stored_tree_is_made_anew_when_it_is_lost_or_damaged() {
    let log = Log::varied();
    let whole = log.read("tree-0.hashes");
    let last_segment = usize::try_from(
        log.names(".seg").last().unwrap()[..20]
            .parse::<u64>()
            .unwrap(),
    )
    .unwrap()
        * 32;
    let mut hole = whole.clone();
    hole[last_segment..].fill(0);
    let mut early = whole.clone();
    early[40] ^= 1;
    for damaged in [
        &[][..],
        &whole[..whole.len() - 1],
        &whole[..64],
        &hole,
        &early,
    ] {
        log.write("tree-0.hashes", damaged);
        let (writer, report) = log.try_open().unwrap();
        assert!(report.recovery.unwrap().tree_rebuilt);
        drop(writer);
        assert_eq!(log.read("tree-0.hashes"), whole);
        assert_eq!(log.verify().exit_code(), 0);
    }
}

#[test]
fn a_log_of_which_only_the_key_was_written_is_begun() {
    let log = Log::new();
    drop(log.open());
    let vkey = log.read("log.vkey");
    assert_eq!(
        log.verify().exit_code(),
        3,
        "there is nothing to vouch for yet"
    );
    let (writer, report) = log.try_open().unwrap();
    assert!(!report.created && report.recovery.is_none() && report.last.is_none());
    drop(writer);
    assert_eq!(log.read("log.vkey"), vkey);
    goes_on_from(&log, 0, "begun");
}

#[test]
fn keys_that_are_gone_open_to_others_or_another_log_s_are_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let log = Log::varied();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&log.key_file()), mode(&log.dir())), (0o600, 0o700));
    for name in log.names("") {
        assert_eq!(
            mode(&log.dir().join(&name)),
            if name == "log.vkey" || name == "log.epochs" { 0o644 } else { 0o600 },
            "{name}"
        );
    }
    std::fs::set_permissions(log.key_file(), std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(
        log.try_open(),
        Err(OpenError::KeyMode { mode: 0o640, .. })
    ));
    std::fs::copy(Log::varied().key_file(), log.key_file()).unwrap();
    std::fs::set_permissions(log.key_file(), std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(log.try_open(), Err(OpenError::KeyMismatch(_))));
    std::fs::write(log.key_file(), b"no key").unwrap();
    assert!(matches!(log.try_open(), Err(OpenError::Key { .. })));
    std::fs::remove_file(log.key_file()).unwrap();
    assert!(matches!(log.try_open(), Err(OpenError::KeyMissing(_))));
    assert!(
        !log.key_file().exists(),
        "no other key is made for a log that is there"
    );
}

#[test]
fn a_lost_verifier_key_is_written_again_from_the_private_one() {
    let log = Log::varied();
    let vkey = log.read("log.vkey");
    log.remove("log.vkey");
    assert_eq!(log.verify().exit_code(), 1);
    log.open().close().unwrap();
    assert_eq!((log.read("log.vkey"), log.verify().exit_code()), (vkey, 0));
}

#[test]
fn only_one_writer_at_a_time_and_the_verifier_knows_of_it() {
    let log = Log::varied();
    let mut writer = log.open();
    assert!(matches!(log.try_open(), Err(OpenError::Locked(_))));
    append(&mut writer, 24);
    writer.commit().unwrap();
    let name = log.names(".seg").pop().unwrap();
    let mut growing = log.read(&name);
    growing.extend_from_slice(&[1, 0, 150]);
    log.write(&name, &growing);
    let report = log.verify();
    assert!(
        report.live && report.unsigned.bytes == 3 && report.exit_code() == 0,
        "{report}"
    );
    drop(writer);
    let report = log.verify();
    assert!(!report.live && report.exit_code() == 3, "{report}");
}

/// Where the child of the test below has its log.
const CHILD: &str = "AEGIS_LOG_TEST_DIR";

/// Appends until it is killed, and says what is durable.
#[expect(clippy::print_stdout, reason = "the test that started it listens")]
fn append_until_killed(root: &std::path::Path) -> ! {
    let mut options =
        aegis_log::WriterOptions::new(root.join("log"), root.join("log.key"), [0xb0; 16]);
    options.segment_bytes = 20_000;
    let (mut writer, _) = Writer::open(&options).unwrap();
    loop {
        let seq = writer.next_seq();
        writer
            .append(1, EVENING + seq * 1_000_000, &body(seq))
            .unwrap();
        if seq % 7 == 6 {
            writer.commit().unwrap();
            println!("durable {}", writer.durable_size());
        }
    }
}

/// The process that is killed is this test again, with a folder in its environment.
#[test]
fn killed_at_any_moment_nothing_durable_is_lost() {
    if let Some(root) = std::env::var_os(CHILD) {
        append_until_killed(root.as_ref());
    }
    let log = Log::new();
    let root = log.dir().parent().unwrap().to_path_buf();
    let mut acknowledged = 0;
    for round in 0..20_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "recovery::killed_at_any_moment_nothing_durable_is_lost",
                "--nocapture",
            ])
            .env(CHILD, &root)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let durable = |line: &str| {
            line.strip_prefix("durable ")
                .map(|size| size.parse::<u64>().unwrap())
        };
        // The first line shows that it runs; the moment after it is different each time.
        let first = lines.find_map(|line| durable(&line.unwrap())).unwrap();
        std::thread::sleep(Duration::from_micros(round * 1_700));
        child.kill().unwrap();
        child.wait().unwrap();
        let last = lines
            .map_while(Result::ok)
            .filter_map(|line| durable(&line))
            .last()
            .unwrap_or(first);
        assert!(last > acknowledged, "it went on from where it was");
        acknowledged = last;
        let report = log.verify();
        assert_ne!(report.verdict(), Verdict::Tampered, "{report}");
        assert!(
            report.entries >= acknowledged,
            "{acknowledged} were durable: {report}"
        );
    }
    let mut options = log.options();
    options.check = OpenCheck::Full;
    let (writer, _) = Writer::open(&options).unwrap();
    writer.close().unwrap();
    let report = log.verify();
    assert!(
        report.exit_code() == 0 && report.entries >= acknowledged,
        "{report}"
    );
    for (seq, entry) in (0..).zip(Reader::open(log.dir()).unwrap().entries(0)) {
        assert_eq!(entry.unwrap().body, Ok(body(seq)));
    }
}
