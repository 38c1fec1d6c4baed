//! Starting the writer, killing it, and keeping what it said.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use aegis_log::{Reader, Seal, SignedCheckpoint, Verdict, VerifyOptions, verify};

use crate::check::{self, Life};
use crate::{WRITER, writer};

/// How long lives last, in milliseconds.
pub struct Pace {
    /// There are this many at least.
    kills: u32,
    most: u64,
    /// One life in eight lasts this long at most.
    rare: u64,
    /// Lives from one verification to the next.
    verified_each: u32,
}

/// Killed as soon as it got going, or before.
pub const BRISK: Pace = Pace { kills: 24, most: 60, rare: 400, verified_each: 4 };
/// The same, and some go on for seconds.
pub const MIXED: Pace = Pace { kills: 150, most: 300, rare: 5000, verified_each: 16 };

/// A writer that says nothing for so long is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// Kills writers until `total` entries were acknowledged, lets the last one end, and looks at what there is.
#[expect(clippy::print_stdout, reason = "what the run was like, for --nocapture")]
pub fn soak(total: u64, pace: &Pace) {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let mut random = Random(0x2545_f491_4f6c_dd1d ^ u64::from(std::process::id()));
    let mut lives: Vec<Life> = Vec::new();
    let mut kept = Kept::default();
    let acknowledged = |lives: &[Life]| lives.iter().map(|life| life.acknowledged).sum::<u64>();
    let begun = Instant::now();
    while acknowledged(&lives) < total || lives.len() < pace.kills as usize {
        let number = u32::try_from(lives.len()).unwrap();
        let most = if number % 8 == 7 { pace.rare } else { pace.most };
        let mut writer = Running::start(root, number);
        // One in three may be killed before it has opened the log.
        if number % 3 > 0 {
            writer.until_acknowledged(1);
        }
        let life = writer.kill_after(Duration::from_micros(random.below(most * 1000)));
        kept.look(root, &life, number.is_multiple_of(pace.verified_each));
        lives.push(life);
    }
    let number = u32::try_from(lives.len()).unwrap();
    lives.push(Running::start(root, number).end());
    let killed = lives.len() - 1;
    let entries = kept.all(root, &lives);
    println!(
        "{} acknowledged, {entries} in the log, {killed} kills in {:.0} s, {} checkpoints kept",
        acknowledged(&lives),
        begun.elapsed().as_secs_f64(),
        kept.checkpoints.len()
    );
}

/// A writer that runs.
struct Running {
    child: Child,
    life: Arc<Mutex<Life>>,
    listener: thread::JoinHandle<()>,
}

impl Running {
    fn start(root: &Path, number: u32) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", WRITER, "--nocapture"])
            .env(writer::ROOT, root)
            .env(writer::LIFE, number.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let life = Arc::new(Mutex::new(Life::default()));
        let (said, heard) = (child.stdout.take().unwrap(), life.clone());
        let listener = thread::spawn(move || listen(said, &heard));
        Self { child, life, listener }
    }

    /// Kills it. What it said before counts.
    fn kill_after(mut self, delay: Duration) -> Life {
        thread::sleep(delay);
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the writer ended by itself ({status})");
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.heard()
    }

    fn until_acknowledged(&mut self, count: u64) {
        let begun = Instant::now();
        while self.life.lock().unwrap().acknowledged < count {
            assert!(begun.elapsed() < STUCK && self.child.try_wait().unwrap().is_none(), "the writer writes nothing");
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Lets it write something, and end.
    fn end(mut self) -> Life {
        self.until_acknowledged(1000);
        drop(self.child.stdin.take());
        let status = self.child.wait().unwrap();
        let life = self.heard();
        assert!(status.success() && life.closed, "the last writer did not end as it should ({status})");
        life
    }

    fn heard(self) -> Life {
        self.listener.join().expect("what the writer says is understood");
        std::mem::take(&mut *self.life.lock().unwrap())
    }
}

fn listen(said: ChildStdout, life: &Mutex<Life>) {
    for line in BufReader::new(said).lines() {
        life.lock().unwrap().hear(&line.unwrap());
    }
}

/// What an auditor kept on the way.
#[derive(Default)]
struct Kept {
    checkpoints: Vec<SignedCheckpoint>,
    seals: String,
}

impl Kept {
    /// Looks at what a killed writer left, before the next one repairs it.
    fn look(&mut self, root: &Path, life: &Life, verified: bool) {
        let dir = writer::log(root);
        if life.begins.is_none() && !dir.join("log.vkey").exists() {
            return;
        }
        let reader = Reader::open(&dir).unwrap();
        let promised = life.begins.unwrap_or(0) + life.acknowledged;
        assert!(reader.size() >= promised, "{promised} entries were acknowledged, {} are signed", reader.size());
        self.checkpoints.extend(reader.checkpoint().cloned());
        self.checkpoints.dedup();
        let seals = std::fs::read_to_string(dir.join("log.epochs")).unwrap_or_default();
        // The last may be cut short; a whole one ends with a signature and an empty line.
        let mut ends = seals.rmatch_indices("\n\n").map(|(end, _)| &seals[..end + 2]);
        let whole = ends.find(|seals| seals.trim_end().lines().next_back().is_some_and(|line| line.starts_with('—')));
        self.seals = whole.unwrap_or_default().to_owned();
        if verified {
            let report = verify(&dir, &self.options(&reader)).unwrap();
            assert_ne!(report.verdict(), Verdict::Tampered, "{report}");
            assert!(report.entries >= promised, "{promised} were acknowledged: {report}");
        }
    }

    fn options(&self, reader: &Reader) -> VerifyOptions {
        VerifyOptions {
            key: Some(reader.vkey().clone()),
            checkpoints: self.checkpoints.clone(),
            seals: if self.seals.is_empty() { Vec::new() } else { Seal::parse_all(&self.seals).unwrap() },
            ..VerifyOptions::default()
        }
    }

    /// Looks at all of it once the last writer ended; returns how many entries there are.
    fn all(&self, root: &Path, lives: &[Life]) -> u64 {
        let reader = Reader::open(writer::log(root)).unwrap();
        let report = verify(reader.dir(), &self.options(&reader)).unwrap();
        assert_eq!(report.verdict(), Verdict::Intact, "{report}");
        assert!(report.epochs > 1 && report.sealed == report.entries && self.checkpoints.len() > 1, "{report}");
        let written = check::hold(check::events(&reader), lives).unwrap_or_else(|what| panic!("{what}"));
        assert_eq!(written.iter().sum::<u64>(), report.entries);
        check::index(&writer::index(root), &reader, &written);
        report.entries
    }
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
