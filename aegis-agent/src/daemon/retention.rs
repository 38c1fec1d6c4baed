//! Removes entries of the log that are kept no longer.
//!
//! Each removal is an entry first, durable and signed, and is of one segment, so that the log's thread is not kept long.

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use aegis_log::EndedSegment;

use super::{encryption::Encryption, start::daemon};
use crate::{
    audit::{AuditError, AuditLog},
    clock::Moment,
    config,
    proto::event::Kind,
    retention::{Retention, Steady, Why},
};

/// How often it looks. The configuration is read each time, so that a hold begins at once.
const TICK: Duration = Duration::from_secs(15);

/// How long it lets be what could not be done: each try is an entry.
const AGAIN: Duration = Duration::from_secs(3600);

/// The thread that looks after what lies in the log: what is kept no longer goes, what has ended is encrypted.
pub(super) struct Caretaker {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Caretaker {
    /// Starts it. `settings` is the configuration's file, `log` the log's folder.
    pub(super) fn start(audit: AuditLog, settings: PathBuf, log: PathBuf) -> std::io::Result<Self> {
        let (stop, stopped) = sync_channel(0);
        let mut encryption = Encryption::new(audit.clone(), log);
        let mut work = Work::new(audit, settings);
        let thread = thread::Builder::new().name("caretaker".into()).spawn(move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = work.look(&stopped) {
                    tracing::error!(%error, "entries that are kept no longer are not removed");
                }
                if let Err(error) = encryption.look(&|| is_over(&stopped)) {
                    tracing::error!(%error, "segments that have ended are not encrypted");
                }
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends it.
    pub(super) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread that looks after the log panicked");
        }
    }
}

/// Whether the daemon ends.
fn is_over(stopped: &Receiver<()>) -> bool {
    stopped.try_recv() != Err(TryRecvError::Empty)
}

struct Work {
    audit: AuditLog,
    settings: PathBuf,
    /// What the file said when it was looked at last.
    last: Option<Retention>,
    /// The hold that was told last.
    held: Option<String>,
    /// Whether there was a file: that it is gone is no configuration then.
    had_file: bool,
    /// Whether it was told that the configuration is wrong.
    told_wrong: bool,
    /// When something could not be done.
    failed: Option<Instant>,
    steady: Steady,
}

impl Work {
    fn new(audit: AuditLog, settings: PathBuf) -> Self {
        let steady = Steady::new(Moment::now());
        Self { audit, settings, last: None, held: None, had_file: false, told_wrong: false, failed: None, steady }
    }

    fn look(&mut self, stopped: &Receiver<()>) -> Result<(), AuditError> {
        let now = self.steady.time(Moment::now());
        if self.failed.is_some_and(|at| at.elapsed() < AGAIN) {
            return Ok(());
        }
        let done = self.remove(stopped, now);
        self.failed = done.as_ref().err().map(|_| Instant::now());
        done
    }

    fn remove(&mut self, stopped: &Receiver<()>, now: Option<u64>) -> Result<(), AuditError> {
        // Once for each segment: a hold that comes meanwhile holds the next.
        while let Some(retention) = self.configured() {
            self.tell_hold(&retention)?;
            // Nothing is removed by the word of a file that is just being edited: two looks have to agree.
            let agree = self.last.as_ref() == Some(&retention);
            self.last = Some(retention.clone());
            if !agree || is_over(stopped) {
                return Ok(());
            }
            let Some((segment, why)) = retention.due(&self.audit.ended_segments()?, now) else { return Ok(()) };
            let told = self.tell("retention", said(&retention, &segment, why))?;
            if let Err(error) = self.audit.prune(segment.end, told) {
                self.tell("retention_failed", format!("what entry {told} says was not done: {error}"))?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// What the file says now. Where it is wrong nothing is removed.
    fn configured(&mut self) -> Option<Retention> {
        let there = self.settings.symlink_metadata().is_ok();
        self.had_file |= there;
        let read = match config::settings(&self.settings) {
            Ok(_) if self.had_file && !there => Err("the file is gone; without one it is kept for 90 days once aegisd is restarted".to_owned()),
            Ok(settings) => Ok(settings.retention),
            Err(error) => Err(error.to_string()),
        };
        let wrong = read.is_err();
        if let Err(error) = &read
            && !self.told_wrong
        {
            let file = self.settings.display();
            tracing::error!(%file, error, "no entries are removed until the configuration is right again");
        }
        self.told_wrong = wrong;
        self.last = self.last.take().filter(|_| !wrong);
        read.ok()
    }

    fn tell_hold(&mut self, retention: &Retention) -> Result<(), AuditError> {
        if self.held == retention.hold {
            return Ok(());
        }
        let (state, text) = match (&self.held, &retention.hold) {
            (_, Some(hold)) => ("hold", format!("nothing is removed from the log (audit.hold): {hold}")),
            (held, None) => ("hold_released", format!("no longer held: {}", held.as_deref().unwrap_or_default())),
        };
        self.tell(state, text)?;
        self.held.clone_from(&retention.hold);
        Ok(())
    }

    fn tell(&self, state: &str, text: String) -> Result<u64, AuditError> {
        self.audit.record(Kind::Daemon, daemon(state, text)).map(|durable| durable.seq)
    }
}

/// What is removed, and by which rule, for the log.
fn said(retention: &Retention, segment: &EndedSegment, why: Why) -> String {
    let EndedSegment { first, end, day, bytes, .. } = segment;
    let rule = match why {
        Why::Age => {
            let days = retention.age.map_or(0, |age| age.as_secs() / 86_400);
            format!("kept for {days} days (audit.retention.age)")
        }
        Why::Size => format!("kept up to {} bytes (audit.retention.size)", retention.size.unwrap_or_default()),
    };
    format!("entries {first} to {}, of {day}, {bytes} bytes, are to go: {rule}; their hashes and checkpoints stay", end - 1)
}
