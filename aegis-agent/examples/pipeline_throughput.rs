//! How many records a second the agent takes from the ring to signed, durable and indexed, without a kernel.
//!
//! `cargo run --release -p aegis-agent --example pipeline_throughput [-- RECORDS [FOLDER]]`
//!
//! Records as the kernel programs write them go through decode, enrich, decide, audit and index as in the
//! daemon. After it the log is verified from its files, and every record must be in it; and its entries are redacted
//! once more, by themselves, to see what that costs.
#![allow(clippy::print_stdout, reason = "a program for people to run")]

#[path = "../src/testkit.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the unit tests, which use all of it")]
mod testkit;

use std::{
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    time::{Duration, Instant},
};

use aegis_common::repeat::{Repeat, RepeatKey};
use aegis_agent::{
    audit::{AuditLog, Batching},
    directory::Directory,
    pipeline::{Begin, Pipeline, RecordSource, RepeatSource},
    proto::event::Event,
    query::Lookup as _,
    redact::Redactor,
    store::{Index, IndexWriter},
};
use aegis_log::{Reader, VerifyOptions, Writer, WriterOptions, host_boot_id, verify};
use anyhow::{Context, ensure};
use prost::Message as _;
use testkit::Record;

/// Records of the prepared round, given out again and again with new numbers.
const ROUND: u64 = 4096;
/// One in so many is a fork, which is not logged.
const FORKS: u64 = 16;

/// A ring that always has a record, up to a count.
struct Ring {
    round: Vec<Vec<u8>>,
    next: u64,
    count: u64,
    read: Arc<AtomicU64>,
}

impl RecordSource for Ring {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn drain(&mut self, max: usize, take: &mut dyn FnMut(&[u8])) -> usize {
        let mut given = 0;
        while given < max && self.next <= self.count {
            let at = usize::try_from(self.next % ROUND).unwrap_or(0);
            let record = &mut self.round[at];
            // The sequence number stands behind version, kind and length.
            record[8..16].copy_from_slice(&self.next.to_ne_bytes());
            take(record);
            self.next += 1;
            given += 1;
        }
        self.read.store(self.next - 1, Ordering::Relaxed);
        given
    }
}

/// A kernel side in which no decision repeats.
struct NoRepeats;

impl RepeatSource for NoRepeats {
    fn each(&self, _: &mut dyn FnMut(u32, &Repeat)) {}
    fn seen(&mut self, _: u32, _: u64) {}
    fn hide(&mut self, _: &RepeatKey) -> bool {
        true
    }
    fn quiet(&self) -> Receiver<()> {
        sync_channel(1).1
    }
    fn give_back(&mut self, _: u32) {}
}

fn round() -> Vec<Vec<u8>> {
    let mut records: Vec<Vec<u8>> = Vec::new();
    for n in 0..ROUND {
        let path = format!("/home/agent/project/src/module_{}/file_{n}.py", n % 37);
        let mut record = match n % FORKS {
            0 => Record::fork(n, 5_000_000 + u32::try_from(n).unwrap_or(0), 600 + n),
            1 => Record::exec(n, b"/usr/bin/git", &[b"git", b"-C", path.as_bytes(), b"status", b"--porcelain"]),
            2 => Record::exit(n, 0),
            3 | 4 => Record::network(n, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 7], 443),
            _ => Record::file(n, path.as_bytes(), b""),
        };
        // As many processes as a busy agent has.
        record.header.pid = 4_000_000 + u32::try_from(n % 61).unwrap_or(0);
        record.header.tid = record.header.pid + u32::from(n % FORKS == 2);
        records.push(record.bytes());
    }
    records
}

/// Processor nanoseconds that redacting an entry takes, as the log has them: none holds a secret.
fn redaction(log: &Path) -> anyhow::Result<f64> {
    const ENTRIES: usize = 100_000;
    let redactor = Redactor::new(Vec::new())?;
    let reader = Reader::open(log)?;
    let mut events = Vec::new();
    for entry in reader.entries(0).take(ENTRIES) {
        events.push(Event::decode(entry?.body.unwrap_or_default().as_slice())?);
    }
    let now = || Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime));
    let begun = now()?;
    events.iter_mut().for_each(|event| redactor.event(event));
    let took = now()? - begun;
    ensure!(events.iter().all(|event| event.redacted.is_empty()), "something was taken for a secret");
    Ok(took.as_nanos() as f64 / events.len() as f64)
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().map_or(Ok(1_000_000), |a| a.parse()).context("RECORDS is not a number")?;
    let scratch = tempfile::tempdir()?;
    let folder = arguments.next().map_or_else(|| scratch.path().to_path_buf(), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    let log = folder.join("log");

    let (writer, _) = Writer::open(&WriterOptions::new(&log, folder.join("log.key"), host_boot_id()?))?;
    let index = Index::open(&folder.join("index.sqlite"), writer.chain_id())?;
    let (index, rows, index_thread) = IndexWriter::start(index, log.clone())?;
    let (audit, audit_thread) = AuditLog::start(writer, Arc::new(Redactor::new(Vec::new())?), Batching::default(), rows)?;
    let read = Arc::new(AtomicU64::new(0));
    let ring = Ring { round: round(), next: 1, count, read: read.clone() };
    let expected = (1..=count).filter(|n| !(n % ROUND).is_multiple_of(FORKS)).count() as u64;

    let begun = Instant::now();
    let directory = Arc::new(Directory::default());
    let nothing_lost = Box::new(|| Some(Vec::new()));
    let pipeline = Pipeline::start(Box::new(ring), Box::new(NoRepeats), nothing_lost, Begin::default(), None, directory, audit.clone())?;
    let progress = audit.progress().clone();
    while progress.durable_size() < expected {
        ensure!(!audit_thread.is_finished(), "the log's thread ended");
        ensure!(begun.elapsed() < Duration::from_secs(600), "not done in ten minutes");
        std::thread::sleep(Duration::from_millis(1));
    }
    let durable = begun.elapsed();
    ensure!(index.wait_for(expected, Duration::from_secs(600)), "the index did not catch up");
    let indexed = begun.elapsed();
    let commits = progress.commits();
    pipeline.stop();
    audit.stop();
    drop(audit);
    audit_thread.join().map_err(|_| anyhow::anyhow!("the log's thread panicked"))??;
    index_thread.join().map_err(|_| anyhow::anyhow!("the index thread panicked"))?;

    let report = verify(&log, &VerifyOptions::default())?;
    ensure!(report.exit_code() == 0, "the log does not verify: {report}");
    ensure!(progress.durable_size() == expected, "{} entries, not {expected}", progress.durable_size());
    let bytes: u64 = std::fs::read_dir(&log)?.flatten().filter_map(|e| e.metadata().ok()).map(|m| m.len()).sum();
    let rate = |t: Duration| count as f64 / t.as_secs_f64();
    println!("records      {count} ({expected} logged, the rest forks)");
    println!("durable      {:.2} s, {:.0} records/s, {commits} commits", durable.as_secs_f64(), rate(durable));
    println!("indexed      {:.2} s, {:.0} records/s", indexed.as_secs_f64(), rate(indexed));
    println!("bytes/entry  {:.0}", bytes as f64 / expected as f64);
    println!("redaction    {:.0} ns of a processor an entry", redaction(&log)?);
    println!("verified     {}", report.to_string().lines().next().unwrap_or_default());
    Ok(())
}
