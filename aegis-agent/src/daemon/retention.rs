//! Removes entries of the log that are kept no longer.
//!
//! Each removal is an entry first, durable and signed, and is of one segment, so that the log's thread is not kept long.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use aegis_log::EndedSegment;

use super::start::daemon;
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

/// The thread that looks after the log's length.
pub(super) struct Caretaker {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Caretaker {
    /// Starts it. `settings` is the configuration's file.
    pub(super) fn start(audit: AuditLog, settings: PathBuf) -> std::io::Result<Self> {
        let (stop, stopped) = sync_channel(0);
        let mut work = Work { audit, settings, held: None, told_wrong: false, failed: None, steady: Steady::new(Moment::now()) };
        let thread = thread::Builder::new().name("retention".into()).spawn(move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = work.look(&stopped) {
                    tracing::error!(%error, "entries that are kept no longer are not removed");
                }
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends it.
    pub(super) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread of retention panicked");
        }
    }
}

struct Work {
    audit: AuditLog,
    settings: PathBuf,
    /// The hold that was told last.
    held: Option<String>,
    /// Whether it was told that the configuration is wrong.
    told_wrong: bool,
    /// When entries could not be removed.
    failed: Option<Instant>,
    steady: Steady,
}

impl Work {
    fn look(&mut self, stopped: &Receiver<()>) -> Result<(), AuditError> {
        let now = self.steady.time(Moment::now());
        let Some(retention) = self.configured() else { return Ok(()) };
        self.tell_hold(&retention)?;
        if self.failed.is_some_and(|at| at.elapsed() < AGAIN) {
            return Ok(());
        }
        while stopped.try_recv() == Err(TryRecvError::Empty) {
            let Some((segment, why)) = retention.due(&self.audit.ended_segments()?, now) else { break };
            let told = self.tell("retention", said(&retention, &segment, why))?;
            if let Err(error) = self.audit.prune(segment.end, told) {
                self.failed = Some(Instant::now());
                self.tell("retention_failed", format!("as entry {told} says, and was not done: {error}"))?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// What the file says now. Where it is wrong nothing is removed.
    fn configured(&mut self) -> Option<Retention> {
        match config::settings(Path::new(&self.settings)) {
            Ok(settings) => {
                self.told_wrong = false;
                Some(settings.retention)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.told_wrong, true) {
                    tracing::error!(%error, "no entries are removed until the configuration is right again");
                }
                None
            }
        }
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
    let EndedSegment { first, end, day, bytes } = segment;
    let rule = match why {
        Why::Age => {
            let days = retention.age.map_or(0, |age| age.as_secs() / 86_400);
            format!("kept for {days} days (audit.retention.age)")
        }
        Why::Size => format!("kept up to {} bytes (audit.retention.size)", retention.size.unwrap_or_default()),
    };
    format!("entries {first} to {}, of {day}, {bytes} bytes, are removed: {rule}; their hashes and checkpoints stay", end - 1)
}
