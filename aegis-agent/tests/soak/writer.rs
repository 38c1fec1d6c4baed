//! The process that is killed. It writes as the daemon does: the log's thread, group commits by number, by age and at once
//! for denials, the index behind it; entries run through the hours faster than the clock, so that epochs and days end.
//!
//! What it says, a line each, and what that promises:
//!
//! - `begins SEQ`: the next entry is number SEQ and its first.
//! - `recorded SEQ`: its first entry is durable under this number.
//! - `durable SIZE`: the first SIZE entries of the log are.
//! - `settled N`: its own first N entries are.
//! - `closed`: all are, sealed, and it ends.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use aegis_agent::{
    audit::{AuditLog, Batching, Progress},
    clock,
    record::Draft,
    redact::Redactor,
    store::{Index, IndexWriter},
};
use aegis_log::{Reader, Writer, WriterOptions};

use crate::entry::Id;

/// Where the log of the process to be killed is.
pub const ROOT: &str = "AEGIS_SOAK_ROOT";
/// The number of its life.
pub const LIFE: &str = "AEGIS_SOAK_LIFE";

/// Entries in what is taken for an hour.
const HOURLY: u64 = 8192;
const HOUR: u64 = 3_600_000_000_000;
/// Entries after which the writer asks for all of them to be made durable.
const SETTLED: u64 = 3000;

pub fn log(root: &Path) -> PathBuf {
    root.join("log")
}

pub fn index(root: &Path) -> PathBuf {
    root.join("index.sqlite")
}

pub fn options(root: &Path) -> WriterOptions {
    let mut options = WriterOptions::new(log(root), root.join("log.key"), [7; 16]);
    options.segment_bytes = 1 << 20;
    options
}

/// Writes until it is killed, or until standard input ends.
pub fn live(root: &Path) -> ! {
    let life = std::env::var(LIFE).unwrap().parse().unwrap();
    let (writer, _) = Writer::open(&options(root)).unwrap();
    // The test harness left its line unfinished.
    say(format_args!("\nbegins {}", writer.next_seq()));
    let mut index = Index::open(&index(root), writer.chain_id()).unwrap();
    index.catch_up(&mut Reader::open(log(root)).unwrap()).unwrap();
    let (_, rows, index_thread) = IndexWriter::start(index, log(root)).unwrap();
    let redactor = Arc::new(Redactor::new(Vec::new()).unwrap());
    let (audit, audit_thread) = AuditLog::start(writer, redactor, Batching::default(), rows).unwrap();
    let told = audit.progress().clone();
    thread::spawn(move || tell(&told));
    let ended = Arc::new(AtomicBool::new(false));
    let end = ended.clone();
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        end.store(true, Ordering::Relaxed);
    });
    write(&audit, life, &ended);
    audit.stop();
    drop(audit);
    audit_thread.join().unwrap().unwrap();
    index_thread.join().unwrap();
    say("closed");
    exit(0)
}

fn write(audit: &AuditLog, life: u32, ended: &AtomicBool) {
    let first = Id { life, n: 0 };
    let durable = audit.record(first.kind(), first.event()).unwrap();
    say(format_args!("recorded {}", durable.seq));
    let mut n = 1;
    while !ended.load(Ordering::Relaxed) {
        // As many at once as a ring gives: few, or many.
        let count = 1 + n * 7 % 97;
        audit.send((n..n + count).map(|n| draft(Id { life, n })).collect()).unwrap();
        n += count;
        if n % SETTLED < count {
            let (done, settled) = sync_channel(1);
            audit.durable(done).unwrap();
            settled.recv().unwrap();
            say(format_args!("settled {n}"));
        }
    }
}

fn draft(id: Id) -> Draft {
    let time = clock::wall() + id.n / HOURLY * HOUR;
    Draft { kind: id.kind() as u32, time, event: id.event(), urgent: id.is_urgent() }
}

/// Says what became durable, as soon as it did.
fn tell(progress: &Progress) {
    let mut told = 0;
    loop {
        let size = progress.durable_size();
        if size > told {
            say(format_args!("durable {size}"));
            told = size;
        }
        thread::sleep(Duration::from_micros(200));
    }
}

/// One write a line: it arrives whole or not at all.
fn say(what: impl std::fmt::Display) {
    std::io::stdout().lock().write_all(format!("{what}\n").as_bytes()).unwrap();
}
