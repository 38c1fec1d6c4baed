//! Erasing what the log says about one agent on one day: the key that those entries are encrypted with is destroyed.
//!
//! Two people do it together, and nobody does while a hold holds. Knows what is erased and when it may be; who may ask and
//! who may approve is for [`crate::access`].

use std::path::PathBuf;

use aegis_log::{Day, Keys};

use crate::{
    audit::{AuditError, AuditLog},
    config,
    proto::event::{Daemon, Event, Kind, event::Detail},
};

/// The longest name of an agent that is looked for, in bytes.
const NAME_LONGEST: usize = 256;

/// What is to be erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// The agent, by the name that its policy gives it.
    pub agent: String,
    /// The day, UTC.
    pub day: Day,
}

impl Erasure {
    /// From the words of a request.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(agent: &str, day: &str) -> Result<Self, Refused> {
        let day = Day::parse(day).ok_or_else(|| Refused::Day(day.to_owned()))?;
        if agent.is_empty() || agent.len() > NAME_LONGEST {
            return Err(Refused::Agent);
        }
        Ok(Self { agent: agent.to_owned(), day })
    }
}

/// Why nothing was erased.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The day is none.
    #[error("{0:?} is not a day: write it as 2026-11-20 (UTC)")]
    Day(String),
    /// The agent's name is none.
    #[error("say which agent: the name that its policy gives it, of at most {NAME_LONGEST} bytes")]
    Agent,
    /// There is a hold.
    #[error("nothing is erased while the log is held (audit.hold): {0}")]
    Hold(String),
    /// Whether there is a hold is not known.
    #[error("nothing is erased while it is not known whether the log is held: {0}")]
    Settings(String),
    /// It can't be, or not yet.
    #[error("{0}")]
    Not(String),
    /// The log does not take the entry that tells of it.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// Who asked for it and who approved it, as login uids, and why.
#[derive(Clone, Debug)]
pub struct Two {
    /// Who asked.
    pub asked: u32,
    /// Who approved.
    pub approved: u32,
    /// Why.
    pub reason: String,
}

/// Erases.
#[derive(Clone, Debug)]
pub struct Eraser {
    audit: AuditLog,
    log: PathBuf,
    settings: PathBuf,
}

impl Eraser {
    /// In the log in the folder `log`; `settings` is the configuration's file, which is read each time.
    #[must_use]
    pub const fn new(audit: AuditLog, log: PathBuf, settings: PathBuf) -> Self {
        Self { audit, log, settings }
    }

    /// Whether it could be erased now.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, what: &Erasure) -> Result<(), Refused> {
        self.keys(what).map(drop)
    }

    /// The keys, one of which is to be destroyed.
    fn keys(&self, what: &Erasure) -> Result<Keys, Refused> {
        let settings = config::settings(&self.settings).map_err(|error| Refused::Settings(error.to_string()))?;
        if let Some(hold) = settings.retention.hold {
            return Err(Refused::Hold(hold));
        }
        self.audit.can_erase(what.day).map_err(|error| Refused::Not(error.to_string()))?;
        let opened = Keys::open(&Keys::folder(&self.log), &Keys::kek_file(&self.log));
        let keys = opened.map_err(|error| Refused::Not(error.to_string()))?;
        if keys.has(what.day, &what.agent) {
            return Ok(keys);
        }
        Err(Refused::Not(format!("the log has nothing to erase about the agent {:?} on {}", what.agent, what.day)))
    }

    /// Erases it, and answers the entry that tells of it. The entry is durable before, and where it does not come to it
    /// another one says so.
    ///
    /// # Errors
    /// Why it was not.
    pub fn erase(&self, what: &Erasure, two: &Two) -> Result<u64, Refused> {
        let keys = self.keys(what)?;
        let Erasure { agent, day } = what;
        let Two { asked, approved, reason } = two;
        let text = format!(
            "what entries of {day} say about the agent {agent:?} is erased, as login uid {asked} asked and login uid {approved} \
             approved: {reason}"
        );
        let told = self.tell("erasure", text)?;
        if let Err(error) = self.audit.erase(&keys, *day, agent, told) {
            self.tell("erasure_failed", format!("what entry {told} says was not done: {error}"))?;
            return Err(Refused::Not(error.to_string()));
        }
        Ok(told)
    }

    fn tell(&self, state: &str, text: String) -> Result<u64, AuditError> {
        let detail = Detail::Daemon(Daemon { state: state.to_owned(), text, ..Daemon::default() });
        let event = Event { detail: Some(detail), ..Event::default() };
        self.audit.record(Kind::Daemon, event).map(|durable| durable.seq)
    }
}
