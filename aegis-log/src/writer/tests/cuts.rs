//! The power goes once: after any operation, after one that failed, and while the log is repaired.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::power::{Coin, Cut, files_of, put_files};
use super::{commits, folder, holds, options, session};
use crate::Writer;
use crate::durable::fault::{self, Disk, Done};

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
