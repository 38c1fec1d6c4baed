//! The writer on disks that fill up, fail, and lose power.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::durable::fault::{self, Disk, Done};
use crate::{
    CommitError, OpenError, Reader, Report, Verdict, VerifyOptions, Writer, WriterOptions, verify,
};

const SECTOR: usize = 512;
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
        assert_eq!(entry.unwrap().body, body(seq), "{what}");
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

/// What the disk may hold after the power went.
#[derive(Default)]
struct Cut {
    files: Vec<Contents>,
    /// Names as they are durable, and what was asked since.
    names: BTreeMap<PathBuf, usize>,
    unsynced_names: Vec<NameOp>,
    /// Names as the program sees them.
    seen: BTreeMap<PathBuf, usize>,
}

#[derive(Default)]
struct Contents {
    synced: Vec<u8>,
    unsynced: Vec<Done>,
}

enum NameOp {
    Put(PathBuf, usize),
    Take(PathBuf),
}

impl Cut {
    /// A disk on which these files are durable.
    fn of(files: &BTreeMap<PathBuf, Vec<u8>>) -> Self {
        let mut cut = Self::default();
        for (path, bytes) in files {
            cut.names.insert(path.clone(), cut.files.len());
            cut.files.push(Contents {
                synced: bytes.clone(),
                unsynced: Vec::new(),
            });
        }
        cut.seen.clone_from(&cut.names);
        cut
    }

    fn ask(&mut self, op: &Done) {
        match op {
            Done::Create(path) => {
                self.files.push(Contents::default());
                self.put(path, self.files.len() - 1);
            }
            Done::Write { path, .. } | Done::Cut { path, .. } => {
                // Files opened without having been created here begin empty.
                if !self.seen.contains_key(path) {
                    self.files.push(Contents::default());
                    self.put(path, self.files.len() - 1);
                }
                let file = self.seen[path];
                self.files[file].unsynced.push(op.clone());
            }
            Done::Sync(path) => {
                if let Some(&file) = self.seen.get(path) {
                    let contents = &mut self.files[file];
                    for op in std::mem::take(&mut contents.unsynced) {
                        apply(&mut contents.synced, &op, &mut |_| true);
                    }
                }
            }
            Done::Rename { from, to } => {
                let file = self.seen.remove(from).unwrap();
                self.unsynced_names.push(NameOp::Take(from.clone()));
                self.put(to, file);
            }
            Done::Remove(path) => {
                self.seen.remove(path);
                self.unsynced_names.push(NameOp::Take(path.clone()));
            }
            Done::SyncDir(dir) => {
                // The key lies in another folder than the log; only that folder's names become durable.
                let in_dir = |path: &PathBuf| path.parent() == Some(dir);
                for op in std::mem::take(&mut self.unsynced_names) {
                    match op {
                        NameOp::Put(path, file) if in_dir(&path) => {
                            self.names.insert(path, file);
                        }
                        NameOp::Take(path) if in_dir(&path) => {
                            self.names.remove(&path);
                        }
                        other => self.unsynced_names.push(other),
                    }
                }
            }
        }
    }

    fn put(&mut self, path: &Path, file: usize) {
        self.seen.insert(path.to_path_buf(), file);
        self.unsynced_names
            .push(NameOp::Put(path.to_path_buf(), file));
    }

    /// One of the states the disk may be in: each unsynced sector and name is there or not.
    fn state(&self, random: &mut impl FnMut() -> bool) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut names = self.names.clone();
        for op in &self.unsynced_names {
            match op {
                NameOp::Put(path, file) if random() => {
                    names.insert(path.clone(), *file);
                }
                NameOp::Take(path) if random() => {
                    names.remove(path);
                }
                _ => {}
            }
        }
        let contents = |file: usize, random: &mut dyn FnMut() -> bool| {
            let mut bytes = self.files[file].synced.clone();
            for op in &self.files[file].unsynced {
                apply(&mut bytes, op, &mut |_| random());
            }
            bytes
        };
        names
            .into_iter()
            .map(|(path, file)| (path, contents(file, random)))
            .collect()
    }
}

/// Does what was asked of a file, but for the sectors that did not make it.
fn apply(bytes: &mut Vec<u8>, op: &Done, reaches_disk: &mut dyn FnMut(usize) -> bool) {
    match op {
        Done::Write {
            offset, bytes: new, ..
        } => {
            let start = usize::try_from(*offset).unwrap();
            let mut at = 0;
            while at < new.len() {
                let sector_end = ((start + at) / SECTOR + 1) * SECTOR;
                let end = (sector_end - start).min(new.len());
                if reaches_disk(start + at) {
                    bytes.resize(bytes.len().max(start + end), 0);
                    bytes[start + at..start + end].copy_from_slice(&new[at..end]);
                }
                at = end;
            }
        }
        Done::Cut { len, .. } => {
            let len = if reaches_disk(0) {
                usize::try_from(*len).unwrap()
            } else {
                bytes.len()
            };
            bytes.resize(len, 0);
        }
        _ => {}
    }
}

/// Everything asked of the disk, and how much was durable after how many operations.
struct Recorded {
    ops: Vec<Done>,
    /// How many operations were done when one failed.
    failed: Option<usize>,
    durable: Vec<(usize, u64)>,
}

fn record(root: &Path, sessions: usize, fail_at: Option<usize>) -> Recorded {
    fault::install(Disk {
        record: Some(Vec::new()),
        fail_at,
        ..Disk::default()
    });
    let mut durable = vec![(0, 0)];
    for _ in 0..sessions {
        let result = session(root, |size| {
            let disk = fault::install(Disk::default());
            durable.push((disk.record.as_ref().unwrap().len(), size));
            fault::install(disk);
        });
        assert!(result.is_ok() || fail_at.is_some(), "{result:?}");
    }
    let disk = fault::install(Disk::default());
    Recorded {
        ops: disk.record.unwrap(),
        failed: disk.failed_after,
        durable,
    }
}

/// xorshift64: the same power cuts in every run.
struct Coin(u64);

impl Coin {
    fn flip(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 63 == 1
    }
}

impl Recorded {
    /// Cuts the power after this many operations and looks at one of the states the disk may be in then.
    fn cut_after(
        &self,
        before: &BTreeMap<PathBuf, Vec<u8>>,
        after: usize,
        root: &Path,
        coin: &mut Coin,
        what: &str,
    ) {
        let mut cut = Cut::of(before);
        self.ops[..after].iter().for_each(|op| cut.ask(op));
        let promised = self
            .durable
            .iter()
            .rev()
            .find(|(at, _)| *at <= after)
            .unwrap()
            .1;
        let crashed = folder();
        std::fs::create_dir(crashed.path().join("log")).unwrap();
        for (path, bytes) in cut.state(&mut || coin.flip()) {
            let path = crashed.path().join(path.strip_prefix(root).unwrap());
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
                .unwrap();
        }
        let last = self.ops.get(after.wrapping_sub(1));
        holds(
            crashed.path(),
            promised,
            &format!("{what}, power cut after operation {after}, {last:?}"),
        );
    }
}

#[test]
fn a_power_cut_after_any_operation_loses_nothing_that_was_durable() {
    let root = folder();
    let recorded = record(root.path(), 2, None);
    assert!(recorded.ops.len() > 125 && recorded.durable.last().unwrap().1 == 64);
    let mut coin = Coin(0x9e37_79b9_7f4a_7c15);
    for after in 0..=recorded.ops.len() {
        for _ in 0..4 {
            recorded.cut_after(
                &BTreeMap::new(),
                after,
                root.path(),
                &mut coin,
                "no failure",
            );
        }
    }
}

#[test]
fn a_power_cut_after_a_failed_operation_loses_nothing_that_was_durable() {
    let mut coin = Coin(0xd1b5_4a32_d192_ed03);
    let mut failures = 0;
    for fail_at in 0.. {
        let root = folder();
        let recorded = record(root.path(), 1, Some(fail_at));
        let Some(failed) = recorded.failed else { break };
        failures += 1;
        for after in failed..=(failed + 8).min(recorded.ops.len()) {
            for _ in 0..2 {
                recorded.cut_after(
                    &BTreeMap::new(),
                    after,
                    root.path(),
                    &mut coin,
                    &format!("operation {fail_at} failed"),
                );
            }
        }
    }
    assert!(failures > 100, "{failures}");
}

/// Folders as crashes leave them, with the number of entries that were durable.
fn crashed_folders() -> Vec<(&'static str, tempfile::TempDir, u64)> {
    let make = |what, crash: &dyn Fn(&Path)| {
        let root = folder();
        drop(commits(root.path(), |_| {}).unwrap());
        crash(&root.path().join("log"));
        (what, root, 32)
    };
    let last = |log: &Path, suffix: &str| {
        let mut names: Vec<_> = std::fs::read_dir(log)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.retain(|name| name.to_str().unwrap().ends_with(suffix));
        names.into_iter().max().unwrap()
    };
    let add = |path: PathBuf, more: &[u8]| {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(more);
        std::fs::write(path, bytes).unwrap();
    };
    let mut folders = vec![
        make("torn entries", &|log| add(last(log, ".seg"), &[1; 700])),
        make("torn checkpoint", &|log| {
            add(last(log, ".notes"), b"aegis/")
        }),
        make("no tree", &|log| {
            std::fs::write(log.join("tree-0.hashes"), b"").unwrap()
        }),
    ];
    // The last segment without any checkpoint but its first, and what follows from that for the tree.
    let (what, root, _) = make("unsigned segment", &|_| {});
    let log = root.path().join("log");
    let notes = last(&log, ".notes");
    let text = std::fs::read_to_string(&notes).unwrap();
    let first = text.match_indices("\n\n").nth(1).unwrap().0 + 2;
    std::fs::write(&notes, &text[..first]).unwrap();
    let size: u64 = text.lines().nth(1).unwrap().parse().unwrap();
    let tree = std::fs::OpenOptions::new()
        .write(true)
        .open(log.join("tree-0.hashes"))
        .unwrap();
    tree.set_len(size * 32).unwrap();
    folders.push((what, root, size));
    folders
}

#[test]
fn a_power_cut_or_failure_during_recovery_loses_nothing_that_was_durable() {
    let mut coin = Coin(0x2545_f491_4f6c_dd1d);
    for (what, root, durable) in crashed_folders() {
        let keep = files_of(root.path());
        let mut count = 0;
        for fail_at in std::iter::once(None).chain((0..12).map(Some)) {
            put_files(root.path(), &keep);
            fault::install(Disk {
                record: Some(Vec::new()),
                fail_at,
                ..Disk::default()
            });
            let opened = Writer::open(&options(root.path()));
            let disk = fault::install(Disk::default());
            assert_eq!(
                opened.is_err(),
                disk.failed_after.is_some(),
                "{what}: {opened:?}"
            );
            let recorded = Recorded {
                ops: disk.record.unwrap(),
                failed: None,
                durable: vec![(0, durable)],
            };
            count += recorded.ops.len();
            drop(opened);
            for after in 0..=recorded.ops.len() {
                for _ in 0..3 {
                    recorded.cut_after(&keep, after, root.path(), &mut coin, what);
                }
            }
        }
        assert!(count > 8, "{what}: {count}");
    }
}

fn files_of(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let list = |dir: &Path| {
        std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let all = [list(root), list(&root.join("log"))].concat();
    all.into_iter()
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

fn put_files(root: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    files_of(root)
        .keys()
        .for_each(|path| std::fs::remove_file(path).unwrap());
    for (path, bytes) in files {
        std::fs::write(path, bytes).unwrap();
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
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
