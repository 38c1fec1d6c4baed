//! Encrypts segments of the log that have ended.
//!
//! A segment at a time, on a thread that nobody waits for: the log's own thread only puts it in place.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use aegis_log::{EndedSegment, Keys, encrypt_segment};
use prost::Message as _;

use super::start::daemon;
use crate::{
    audit::{AuditError, AuditLog},
    proto::event::{Event, Kind},
};

/// How long it lets be what could not be done: each try is an entry.
const AGAIN: Duration = Duration::from_secs(3600);

/// Encrypts what has ended.
pub(super) struct Encryption {
    audit: AuditLog,
    log: PathBuf,
    /// The keys, once they were there.
    keys: Option<Keys>,
    /// When something could not be done.
    failed: Option<Instant>,
}

impl Encryption {
    pub(super) const fn new(audit: AuditLog, log: PathBuf) -> Self {
        Self { audit, log, keys: None, failed: None }
    }

    /// Encrypts the segments that have ended, until `stop` says so.
    pub(super) fn look(&mut self, stop: &dyn Fn() -> bool) -> Result<(), AuditError> {
        if self.failed.is_some_and(|at| at.elapsed() < AGAIN) {
            return Ok(());
        }
        let segments = self.audit.ended_segments()?;
        for segment in segments.iter().filter(|segment| !segment.encrypted) {
            if stop() {
                return Ok(());
            }
            if let Err(why) = self.encrypt(segment) {
                self.failed = Some(Instant::now());
                let text = format!("entries {} to {} stay as they are in the log, in the clear: {why}", segment.first, segment.end - 1);
                tracing::error!(%text, "a segment was not encrypted");
                self.audit.record(Kind::Daemon, daemon("encryption_failed", text))?;
                return Ok(());
            }
        }
        self.failed = None;
        self.forget(&segments);
        Ok(())
    }

    fn encrypt(&mut self, segment: &EndedSegment) -> Result<(), String> {
        let keys = match &self.keys {
            Some(keys) => keys,
            None => {
                let made = Keys::create(&Keys::folder(&self.log), &Keys::kek_file(&self.log));
                self.keys.insert(made.map_err(|error| error.to_string())?)
            }
        };
        let draft = encrypt_segment(&self.log, segment, keys, &mut owner).map_err(|error| error.to_string())?;
        self.audit.put_encrypted(draft).map_err(|error| error.to_string())
    }

    /// Destroys the keys of days of which retention has removed everything.
    fn forget(&self, segments: &[EndedSegment]) {
        let days = segments.iter().flat_map(|segment| [segment.day, segment.next_day]);
        let (Some(oldest), Some(keys)) = (days.min(), &self.keys) else { return };
        if let Err(error) = keys.forget_before(oldest) {
            tracing::error!(%error, "the keys of entries that retention removed are still there; it is tried again");
        }
    }
}

/// Whom an entry is about: the agent, by the name that its policy gives it, or nobody.
fn owner(_: u32, body: &[u8]) -> String {
    Event::decode(body).map(|event| event.agent).unwrap_or_default()
}
