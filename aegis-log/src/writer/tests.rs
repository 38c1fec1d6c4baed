//! The writer on disks that fill up, fail, and lose power.

use std::path::Path;

use crate::durable::fault::{self, Disk};
use crate::{
    CommitError, OpenError, Reader, Report, Verdict, VerifyOptions, Writer, WriterOptions, verify,
};

mod cuts;
mod cuts_in_a_row;
mod power;

const TIME: u64 = 1_795_000_000_000_000_000;
const HOUR: u64 = 3_600_000_000_000;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn options(root: &Path) -> WriterOptions {
    let mut options = WriterOptions::new(root.join("log"), root.join("log.key"), [1; 16]);
    options.segment_bytes = 3000;
    options
}

fn body(seq: u64) -> Vec<u8> {
    format!(
        "entry {seq} {}",
        "y".repeat(usize::try_from(seq * 31 % 300).unwrap())
    )
    .into_bytes()
}

fn append(writer: &mut Writer, count: u64) {
    for _ in 0..count {
        let seq = writer.next_seq();
        // Some hours, the last of which has all of the last segment of a session.
        let hour = (seq / 8).min(3) * HOUR;
        writer.append(1, TIME + hour, &body(seq)).unwrap();
    }
}

fn verified(root: &Path) -> Report {
    verify(&root.join("log"), &VerifyOptions::default()).unwrap()
}

/// The log holds at least `durable` entries, all as written, and can be gone on with.
fn holds(root: &Path, durable: u64, what: &str) {
    let report = verified(root);
    assert_ne!(report.verdict(), Verdict::Tampered, "{what}: {report}");
    assert!(
        report.entries >= durable,
        "{what}: {durable} were durable: {report}"
    );
    let (mut writer, _) =
        Writer::open(&options(root)).unwrap_or_else(|error| panic!("{what}: {error}"));
    append(&mut writer, 3);
    writer.close().unwrap();
    let report = verified(root);
    assert_eq!(report.verdict(), Verdict::Intact, "{what}: {report}");
    for (seq, entry) in (0..).zip(Reader::open(root.join("log")).unwrap().entries(0)) {
        assert_eq!(entry.unwrap().body, Ok(body(seq)), "{what}");
    }
}

/// Some commits of different sizes over several segments; what fails is tried again once.
fn session(root: &Path, durable: impl FnMut(u64)) -> Result<(), String> {
    let writer = commits(root, durable)?;
    writer.close().map_err(|error| error.to_string())
}

/// The same without an end.
fn commits(root: &Path, mut durable: impl FnMut(u64)) -> Result<Writer, String> {
    let (mut writer, _) = Writer::open(&options(root)).map_err(|error| error.to_string())?;
    for count in [1, 4, 2, 9, 1, 12, 3] {
        append(&mut writer, count);
        let committed = writer.commit().map(|_| ());
        durable(writer.durable_size());
        match committed {
            Ok(()) => {}
            Err(CommitError::Poisoned(why)) => {
                assert!(
                    writer.append(1, TIME, b"").is_err(),
                    "a poisoned log takes nothing"
                );
                return Err(why);
            }
            Err(_) => {
                assert!(writer.pending() > 0, "what failed still waits");
                writer.commit().map_err(|error| error.to_string())?;
                durable(writer.durable_size());
            }
        }
    }
    Ok(writer)
}

#[test]
fn a_disk_that_fills_up_at_any_byte_loses_nothing_that_was_durable() {
    let total = {
        let root = folder();
        let before = fault::install(Disk {
            space: Some(u64::MAX),
            ..Disk::default()
        });
        session(root.path(), |_| {}).unwrap();
        u64::MAX - fault::install(before).space.unwrap()
    };
    for space in (0..total).step_by(37) {
        let root = folder();
        fault::install(Disk {
            space: Some(space),
            ..Disk::default()
        });
        let mut durable = 0;
        let result = session(root.path(), |size| durable = size);
        fault::install(Disk::default());
        assert!(result.is_err(), "{space} bytes are too few");
        holds(root.path(), durable, &format!("{space} bytes"));
    }
}

#[test]
fn a_commit_waits_for_space_and_then_goes_through() {
    let root = folder();
    let (mut writer, _) = Writer::open(&options(root.path())).unwrap();
    append(&mut writer, 5);
    writer.commit().unwrap();
    for space in [0, 10, 400, 3000, 5000] {
        fault::install(Disk {
            space: Some(space),
            ..Disk::default()
        });
        append(&mut writer, 20);
        let durable = writer.durable_size();
        let refused = writer.commit().map(|_| ());
        assert!(
            matches!(refused, Err(CommitError::NoSpace(_))),
            "{space}: {refused:?}"
        );
        assert!(writer.durable_size() >= durable && writer.pending() > 0);
        let report = verified(root.path());
        assert!(
            report.findings.is_empty() && report.entries == writer.durable_size(),
            "{report}"
        );
        assert_eq!(
            report.unsigned,
            crate::Unsigned::default(),
            "what was written in part was taken back"
        );
    }
    fault::install(Disk::default());
    let all = writer.next_seq();
    assert_eq!(writer.commit().unwrap().size(), all);
    writer.close().unwrap();
    holds(root.path(), all, "space again");
}

#[test]
fn an_io_error_at_any_operation_loses_nothing_that_was_durable() {
    let count = {
        let root = folder();
        fault::install(Disk::default());
        session(root.path(), |_| {}).unwrap();
        fault::install(Disk::default()).count
    };
    for fail_at in 0..count {
        for stays_broken in [false, true] {
            let root = folder();
            fault::install(Disk {
                fail_at: Some(fail_at),
                stays_broken,
                ..Disk::default()
            });
            let mut durable = 0;
            let result = session(root.path(), |size| durable = size);
            fault::install(Disk::default());
            assert!(result.is_err() || !stays_broken, "operation {fail_at}");
            holds(
                root.path(),
                durable,
                &format!("operation {fail_at}, stays broken: {stays_broken}"),
            );
        }
    }
}

#[test]
fn a_disk_that_can_be_read_only_is_told() {
    let root = folder();
    session(root.path(), |_| {}).unwrap();
    fault::install(Disk {
        fail_at: Some(0),
        stays_broken: true,
        ..Disk::default()
    });
    let refused = Writer::open(&options(root.path()));
    fault::install(Disk::default());
    assert!(matches!(refused, Err(OpenError::Io(_))), "{refused:?}");
    holds(root.path(), 32, "readable again");
}
