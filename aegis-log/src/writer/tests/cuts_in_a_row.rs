//! The power goes again and again: each run goes on with what the disk of the one before held, so that what is left of one
//! cut and its repair meets the next.

use std::collections::BTreeMap;
use std::mem::{Discriminant, discriminant};
use std::path::{Path, PathBuf};

use super::power::{Coin, Cut, files_of, put_files};
use super::{HOUR, TIME, folder, options, verified};
use crate::durable::fault::{self, Disk, Done};
use crate::{Keys, Reader, Verdict, VerifyOptions, Writer, WriterOptions, encrypt_segment, verify};

/// Entries of one hour.
const HOURLY: u64 = 150;

/// What one run asked of the disk and was told.
struct Run {
    ops: Vec<Done>,
    /// How many entries were reported durable after how many operations.
    durable: Vec<(usize, u64)>,
    /// What the log says once all is written, entry by entry.
    bodies: Vec<Vec<u8>>,
}

fn roomy(root: &Path) -> WriterOptions {
    WriterOptions {
        segment_bytes: 40_000,
        ..options(root)
    }
}

/// The keys beside the log, made where there are none.
fn keys(root: &Path) -> Keys {
    let log = root.join("log");
    Keys::create(&Keys::folder(&log), &Keys::kek_file(&log)).unwrap()
}

fn operations() -> usize {
    let disk = fault::install(Disk::default());
    let count = disk.record.as_ref().map_or(0, Vec::len);
    fault::install(disk);
    count
}

/// Goes on with a log that says `kept`, in commits of any size, and ends it or not.
fn run(root: &Path, number: u64, kept: &[Vec<u8>], coin: &mut Coin) -> Run {
    fault::install(Disk {
        record: Some(Vec::new()),
        ..Disk::default()
    });
    let (mut writer, _) = Writer::open(&roomy(root)).unwrap();
    let keys = keys(root);
    let mut bodies = kept.to_vec();
    assert_eq!(writer.next_seq(), bodies.len() as u64, "run {number}");
    let mut durable = vec![(0, bodies.len() as u64)];
    for _ in 0..coin.below(12) {
        for _ in 0..=coin.below(12) {
            let seq = bodies.len() as u64;
            // No other run writes the same, whatever number its entries get.
            let padding = usize::try_from(coin.below(400)).unwrap();
            bodies.push(format!("run {number} entry {seq} {}", "z".repeat(padding)).into_bytes());
            let time = TIME + seq / HOURLY * HOUR;
            writer.append(1, time, &bodies[bodies.len() - 1]).unwrap();
        }
        writer.commit().unwrap();
        durable.push((operations(), writer.durable_size()));
        if coin.below(16) == 0 {
            writer.end_epoch(u64::MAX).unwrap();
        }
        let ended = writer.ended_segments().unwrap();
        let plain = ended.iter().find(|segment| !segment.encrypted);
        if let Some(segment) = plain.filter(|_| coin.below(3) == 0) {
            let owner = &mut |_: u32, body: &[u8]| format!("agent {}", body.len() % 3);
            let draft = encrypt_segment(&root.join("log"), segment, &keys, owner).unwrap();
            writer.put_encrypted(draft).unwrap();
        }
        if ended.len() > 1 && coin.below(4) == 0 {
            let told = bodies.len() as u64;
            bodies.push(format!("run {number} entry {told} removed").into_bytes());
            let time = TIME + told / HOURLY * HOUR;
            writer.append(90, time, &bodies[bodies.len() - 1]).unwrap();
            writer.commit().unwrap();
            durable.push((operations(), writer.durable_size()));
            writer.prune(ended[0].end, told).unwrap();
        }
    }
    if coin.below(4) == 0 {
        writer.close().unwrap();
    } else {
        drop(writer);
    }
    let ops = fault::install(Disk::default()).record.unwrap();
    Run {
        ops,
        durable,
        bodies,
    }
}

impl Run {
    /// Entries reported durable by this operation.
    fn promised(&self, after: usize) -> u64 {
        let reported = self.durable.iter().rev().find(|(at, _)| *at <= after);
        reported.map_or(0, |(_, size)| *size)
    }
}

/// What the log says. All of it is as one run wrote it, and what was promised is there.
fn said(root: &Path, run: &Run, promised: u64, what: &str) -> Vec<Vec<u8>> {
    if run.bodies.is_empty() || !root.join("log/log.vkey").exists() {
        assert_eq!(promised, 0, "{what}");
        return Vec::new();
    }
    let log = root.join("log");
    let keys = Keys::beside(&log);
    let options = VerifyOptions {
        keys: keys.clone(),
        ..VerifyOptions::default()
    };
    let report = verify(&log, &options).unwrap();
    assert_ne!(report.verdict(), Verdict::Tampered, "{what}: {report}");
    assert_eq!(report.unread.withheld, 0, "{what}: {report}");
    assert!(
        report.entries >= promised,
        "{what}: {promised} were durable: {report}"
    );
    let reader = Reader::open_with(log, keys).unwrap();
    // What retention removed is known from before.
    let removed = usize::try_from(reader.first()).unwrap();
    let kept = reader.entries(0).map(|entry| entry.unwrap().body.unwrap());
    let said: Vec<_> = run.bodies.iter().take(removed).cloned().chain(kept).collect();
    assert_eq!(said.len() as u64, report.entries, "{what}");
    assert!(
        run.bodies.starts_with(&said),
        "{what}: it says other things"
    );
    said
}

/// Cuts the power so many times and returns how many entries there are in the end.
fn cut_in_a_row(cuts: u64, seed: u64) -> usize {
    let root = folder();
    std::fs::create_dir(root.path().join("log")).unwrap();
    let mut coin = Coin(seed);
    let mut disk: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    let mut kept = Vec::new();
    let mut last_done: Vec<Discriminant<Done>> = Vec::new();
    for number in 0..cuts {
        let run = run(root.path(), number, &kept, &mut coin);
        let after = usize::try_from(coin.below(run.ops.len() as u64 + 1)).unwrap();
        let mut cut = Cut::of(&disk);
        run.ops[..after].iter().for_each(|op| cut.ask(op));
        disk = cut.state(&mut || coin.flip());
        put_files(root.path(), &disk);
        let last = after.checked_sub(1).map(|last| &run.ops[last]);
        let what = format!("cut {number}, after operation {after}, {last:?}");
        kept = said(root.path(), &run, run.promised(after), &what);
        last_done.extend(last.map(discriminant));
        last_done.dedup();
    }
    let (writer, _) = Writer::open(&roomy(root.path())).unwrap();
    writer.close().unwrap();
    let report = verified(root.path());
    assert_eq!(report.verdict(), Verdict::Intact, "{report}");
    assert_eq!(report.entries, kept.len() as u64);
    assert!(report.pruned.as_ref().is_some_and(|pruned| pruned.size() > 100), "{report}");
    assert!(report.unread.withheld > 100, "{report}");
    assert!(
        files_of(root.path()).len() > 10 && report.epochs > 2,
        "{report}"
    );
    // After every kind of operation the power went at least once: create, write, cut, sync, rename, remove, sync a folder.
    let mut kinds: Vec<Discriminant<Done>> = Vec::new();
    for kind in last_done {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    assert_eq!(kinds.len(), 7, "{kinds:?}");
    kept.len()
}

#[test]
fn power_cuts_in_a_row_lose_nothing_that_was_durable() {
    assert!(cut_in_a_row(110, 0x2545_f491_4f6c_dd1d) > 500);
}

#[test]
#[ignore = "five hundred power cuts take a minute"]
fn five_hundred_power_cuts_in_a_row_lose_nothing_that_was_durable() {
    assert!(cut_in_a_row(500, 0x1234_5678_9abc_def1) > 4_000);
}
