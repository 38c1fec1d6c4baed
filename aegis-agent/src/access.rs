//! Who may read the log through the daemon, and until when; and who may have something in it erased.
//!
//! A person is a login uid: it is set when somebody logs in, and `su` and `sudo` do not change it. Times are nanoseconds since
//! boot. What was asked for and approved is kept in memory alone: a daemon that starts anew knows of no approval.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{clock, erasure::Erasure, record::NO_LOGIN};

/// What the log is read for, longest, in bytes.
const REASON_LONGEST: usize = 512;
/// How long somebody may think about a request.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// Requests and approvals that are kept at most, of all people and of one.
const MOST: usize = 64;
const MOST_OF_ONE: usize = 8;

/// What reading the log takes (`audit.access`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadAccess {
    /// Whoever may use the control socket reads.
    #[default]
    Open,
    /// They say why.
    Reason,
    /// Another person has approved it.
    TwoPerson,
}

impl ReadAccess {
    /// All of them, by the words of the configuration.
    pub const WORDS: [(&str, Self); 3] = [("open", Self::Open), ("reason", Self::Reason), ("two-person", Self::TwoPerson)];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, access)| *access == self).map_or("", |(word, _)| word)
    }
}

/// What the operator configures about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `audit.access`.
    pub access: ReadAccess,
    /// `audit.elevation`: how long an approval holds at most.
    pub elevation: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { access: ReadAccess::default(), elevation: Duration::from_secs(3600) }
    }
}

/// Why somebody does not read, ask or approve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no reason.
    #[error("on this host the log is read for a reason (audit.access): say it with --reason")]
    NoReason,
    /// There is no reason.
    #[error("something is erased for a reason: say it with --reason")]
    NoReasonToErase,
    /// It is too long.
    #[error("the reason has more than {REASON_LONGEST} bytes: say it in fewer")]
    LongReason,
    /// The login uid is not set.
    #[error("nobody has logged in for this process (it has no login uid, as services have none), so that it is not known who asks: log in")]
    Nobody,
    /// Who logged in is not who asks.
    #[error(
        "user {uid} asks, and user {login_uid} logged in for this process: ask as the user who logged in, or as root (sudo keeps \
         who logged in)"
    )]
    AnotherUser {
        /// User.
        uid: u32,
        /// Login uid.
        login_uid: u32,
    },
    /// There is no approval.
    #[error(
        "on this host the log is read by two people (audit.access: two-person): ask with `aegis log access --reason TEXT`, and have \
         somebody else approve it (`aegis approvals approve`)"
    )]
    NotApproved,
    /// There is nothing to ask for.
    #[error("on this host nobody's approval is needed to read the log (audit.access: {0})")]
    NotNeeded(&'static str),
    /// For longer than there is.
    #[error("approvals hold for {} minutes at most here (audit.elevation)", .0.as_secs() / 60)]
    TooLong(Duration),
    /// Too many wait.
    #[error("{0} requests wait or hold already: wait until some end")]
    TooMany(usize),
    /// It is not there, or not any more.
    #[error("no request {0} waits: `aegis approvals` lists those that do")]
    Unknown(u64),
    /// One person is not two.
    #[error("request {0} is your own: another person decides about it")]
    Own(u64),
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    /// User.
    pub uid: u32,
    /// Login uid.
    pub login_uid: u32,
}

impl Who {
    /// The person, where it is certain: who has no login uid may give itself any, and then is another user than that.
    fn person(self) -> Result<u32, Refused> {
        let Self { uid, login_uid } = self;
        match login_uid {
            NO_LOGIN => Err(Refused::Nobody),
            _ if uid != 0 && uid != login_uid => Err(Refused::AnotherUser { uid, login_uid }),
            person => Ok(person),
        }
    }
}

/// What somebody asks another's approval for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Reading the log.
    Read,
    /// Erasing something in it.
    Erase(Erasure),
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its number.
    pub id: u64,
    /// For what.
    pub what: What,
    /// Who asked, as a login uid.
    pub person: u32,
    /// Why.
    pub reason: String,
    /// How long it is to hold.
    pub span: Duration,
    /// Who approved it, as a login uid; nobody yet.
    pub approved_by: Option<u32>,
    /// When it ends: as a request, or as an approval.
    pub until: u64,
    /// Whether somebody is deciding about it: others do not, and it does not end meanwhile.
    deciding: bool,
}

/// How somebody may read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// The approved request by which.
    pub request: Option<u64>,
    /// Until when.
    pub until: Option<u64>,
}

/// Keeps who asked and who approved.
#[derive(Debug)]
pub struct Readers {
    settings: Settings,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    asked: Vec<Asked>,
}

impl Readers {
    /// With nothing asked yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, state: Mutex::default() }
    }

    /// What reading takes here.
    #[must_use]
    pub const fn access(&self) -> ReadAccess {
        self.settings.access
    }

    /// Whether somebody may read now.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn read(&self, who: Who, reason: &str, now: u64) -> Result<Granted, Refused> {
        match self.settings.access {
            ReadAccess::Open => Ok(Granted::default()),
            _ if reason.len() > REASON_LONGEST => Err(Refused::LongReason),
            ReadAccess::Reason if reason.trim().is_empty() => Err(Refused::NoReason),
            ReadAccess::Reason => Ok(Granted::default()),
            ReadAccess::TwoPerson => {
                let person = who.person()?;
                let state = self.state(now);
                let own = state.asked.iter().filter(|asked| {
                    asked.what == What::Read && asked.person == person && asked.approved_by.is_some()
                });
                let longest = own.max_by_key(|asked| asked.until).ok_or(Refused::NotApproved)?;
                Ok(Granted { request: Some(longest.id), until: Some(longest.until) })
            }
        }
    }

    /// Asks for others' approval; without a span for as long as there is.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn ask(&self, who: Who, reason: &str, span: Option<Duration>, now: u64) -> Result<Asked, Refused> {
        let Settings { access, elevation } = self.settings;
        let span = span.unwrap_or(elevation);
        if access != ReadAccess::TwoPerson {
            return Err(Refused::NotNeeded(access.word()));
        }
        let person = who.person()?;
        if reason.trim().is_empty() {
            return Err(Refused::NoReason);
        }
        if reason.len() > REASON_LONGEST {
            return Err(Refused::LongReason);
        }
        if span > elevation {
            return Err(Refused::TooLong(elevation));
        }
        self.add(What::Read, person, reason, span, now)
    }

    /// Asks for another's approval to erase something. It takes two on every host.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn ask_to_erase(&self, who: Who, reason: &str, what: Erasure, now: u64) -> Result<Asked, Refused> {
        let person = who.person()?;
        if reason.trim().is_empty() {
            return Err(Refused::NoReasonToErase);
        }
        if reason.len() > REASON_LONGEST {
            return Err(Refused::LongReason);
        }
        self.add(What::Erase(what), person, reason, Duration::ZERO, now)
    }

    fn add(&self, what: What, person: u32, reason: &str, span: Duration, now: u64) -> Result<Asked, Refused> {
        let mut state = self.state(now);
        let own = state.asked.iter().filter(|asked| asked.person == person).count();
        if own >= MOST_OF_ONE || state.asked.len() >= MOST {
            return Err(Refused::TooMany(if own >= MOST_OF_ONE { own } else { MOST }));
        }
        state.last += 1;
        let (id, until) = (state.last, after(now, PATIENCE));
        let asked = Asked { id, what, person, reason: reason.to_owned(), span, approved_by: None, until, deciding: false };
        state.asked.push(asked.clone());
        Ok(asked)
    }

    /// What waits or holds.
    #[must_use]
    pub fn list(&self, now: u64) -> Vec<Asked> {
        self.state(now).asked.clone()
    }

    /// Takes back a request that its entry could not be written for.
    pub fn forget(&self, id: u64, now: u64) {
        self.state(now).asked.retain(|asked| asked.id != id);
    }

    /// Somebody begins to decide about a request that waits; nobody else does until [`Readers::decide`].
    ///
    /// # Errors
    /// [`Refused`].
    pub fn begin(&self, id: u64, who: Who, now: u64) -> Result<Asked, Refused> {
        let person = who.person()?;
        let mut state = self.state(now);
        let waits = state.asked.iter_mut().find(|asked| asked.id == id && asked.approved_by.is_none() && !asked.deciding);
        let asked = waits.ok_or(Refused::Unknown(id))?;
        if asked.person == person {
            return Err(Refused::Own(id));
        }
        asked.deciding = true;
        Ok(Asked { approved_by: Some(person), ..asked.clone() })
    }

    /// Ends what was begun: what is approved holds from now on, what is denied is gone, and without a decision the request
    /// waits on.
    pub fn decide(&self, begun: Asked, approve: Option<bool>, now: u64) -> Asked {
        let mut state = self.state(now);
        let decided = match approve {
            Some(true) => Asked { until: after(now, begun.span), deciding: false, ..begun },
            _ => Asked { approved_by: None, deciding: false, ..begun },
        };
        state.asked.retain(|asked| asked.id != decided.id);
        // What was approved to be erased is done once, and not a right that lasts.
        let is_over = approve == Some(false) || (approve.is_some() && decided.what != What::Read);
        if !is_over {
            state.asked.push(decided.clone());
        }
        decided
    }

    /// Without what has ended by now.
    fn state(&self, now: u64) -> std::sync::MutexGuard<'_, State> {
        // Each change is whole, so that a panic elsewhere leaves it usable.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked.retain(|asked| asked.deciding || asked.until > now);
        state
    }
}

fn after(now: u64, span: Duration) -> u64 {
    now.saturating_add(clock::length(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Who = Who { uid: 1000, login_uid: 1000 };
    /// By way of sudo.
    const BOB: Who = Who { uid: 0, login_uid: 1001 };
    const NONE: Who = Who { uid: 1000, login_uid: NO_LOGIN };
    const MINUTE: Duration = Duration::from_secs(60);

    fn readers(access: ReadAccess) -> Readers {
        Readers::new(Settings { access, elevation: 10 * MINUTE })
    }

    fn decide(readers: &Readers, id: u64, who: Who, approve: bool, now: u64) -> Result<Asked, Refused> {
        Ok(readers.decide(readers.begin(id, who, now)?, Some(approve), now))
    }

    #[test]
    fn an_open_log_is_read_by_all_and_another_for_a_reason() {
        assert_eq!(readers(ReadAccess::Open).read(NONE, "", 0), Ok(Granted::default()));
        let readers = readers(ReadAccess::Reason);
        assert_eq!(readers.read(ALICE, " ", 0), Err(Refused::NoReason));
        assert_eq!(readers.read(ALICE, &"x".repeat(513), 0), Err(Refused::LongReason));
        assert_eq!(readers.read(NONE, "incident 7", 0), Ok(Granted::default()));
        assert_eq!(readers.ask(ALICE, "incident 7", None, 0), Err(Refused::NotNeeded("reason")));
    }

    #[test]
    fn two_people_are_two_and_the_same_one_never_is() {
        let readers = readers(ReadAccess::TwoPerson);
        assert_eq!(readers.read(ALICE, "incident 7", 0), Err(Refused::NotApproved));
        let asked = readers.ask(ALICE, "incident 7", Some(MINUTE), 0).unwrap();
        assert_eq!(decide(&readers, asked.id, ALICE, true, 0), Err(Refused::Own(asked.id)));
        assert_eq!(decide(&readers, asked.id, NONE, true, 0), Err(Refused::Nobody));
        // Who gave itself another login uid is not believed, nor is an account that somebody changed to.
        let another = Who { uid: 1000, login_uid: 1001 };
        let refused = Refused::AnotherUser { uid: 1000, login_uid: 1001 };
        assert_eq!(decide(&readers, asked.id, another, true, 0), Err(refused.clone()));
        assert_eq!(readers.ask(another, "r", None, 0), Err(refused.clone()));
        assert_eq!(readers.read(another, "r", 0), Err(refused));
        assert_eq!(readers.read(ALICE, "", 0), Err(Refused::NotApproved));
        let approved = decide(&readers, asked.id, BOB, true, 5).unwrap();
        assert_eq!((approved.person, approved.approved_by), (1000, Some(1001)));
        assert_eq!(readers.read(ALICE, "", 6), Ok(Granted { request: Some(asked.id), until: Some(approved.until) }));
        // It is hers alone, and decided once.
        assert_eq!(readers.read(BOB, "", 6), Err(Refused::NotApproved));
        assert_eq!(decide(&readers, asked.id, BOB, true, 6), Err(Refused::Unknown(asked.id)));
    }

    #[test]
    fn an_approval_ends_with_its_time_and_a_request_with_patience() {
        let readers = readers(ReadAccess::TwoPerson);
        let minute = u64::try_from(MINUTE.as_nanos()).unwrap();
        let asked = readers.ask(ALICE, "r", Some(MINUTE), 0).unwrap();
        decide(&readers, asked.id, BOB, true, 5).unwrap();
        assert!(readers.read(ALICE, "", minute + 4).is_ok());
        assert_eq!(readers.read(ALICE, "", minute + 5), Err(Refused::NotApproved));
        assert_eq!(readers.ask(ALICE, "r", Some(11 * MINUTE), 0), Err(Refused::TooLong(10 * MINUTE)));
        let waits = readers.ask(ALICE, "r", None, minute).unwrap();
        assert_eq!(waits.span, 10 * MINUTE);
        assert_eq!(decide(&readers, waits.id, BOB, true, waits.until), Err(Refused::Unknown(waits.id)));
        assert!(readers.list(waits.until).is_empty());
    }

    #[test]
    fn two_who_decide_at_once_are_one_and_an_undecided_request_waits_on() {
        let readers = readers(ReadAccess::TwoPerson);
        let asked = readers.ask(ALICE, "r", None, 0).unwrap();
        let begun = readers.begin(asked.id, BOB, 0).unwrap();
        let carol = Who { uid: 1002, login_uid: 1002 };
        assert_eq!(readers.begin(asked.id, carol, 0), Err(Refused::Unknown(asked.id)));
        assert_eq!(readers.read(ALICE, "", 0), Err(Refused::NotApproved));
        // Its patience ends while somebody decides.
        assert_eq!(readers.decide(begun, None, asked.until - 1), asked);
        let begun = readers.begin(asked.id, carol, asked.until - 1).unwrap();
        readers.decide(begun, Some(true), asked.until + 1);
        assert!(readers.read(ALICE, "", asked.until + 2).is_ok());
        readers.forget(asked.id, asked.until + 2);
        assert_eq!(readers.read(ALICE, "", asked.until + 2), Err(Refused::NotApproved));
    }

    #[test]
    fn an_erasure_takes_two_people_on_every_host_and_lets_nobody_read() {
        for access in [ReadAccess::Open, ReadAccess::TwoPerson] {
            let readers = readers(access);
            let what = Erasure::new("coder", "2026-11-20").unwrap();
            let ask = |who, reason| readers.ask_to_erase(who, reason, what.clone(), 0);
            assert_eq!(ask(ALICE, " "), Err(Refused::NoReasonToErase));
            assert_eq!(ask(NONE, "r"), Err(Refused::Nobody));
            let asked = ask(ALICE, "she asked for it").unwrap();
            assert_eq!(decide(&readers, asked.id, ALICE, true, 0), Err(Refused::Own(asked.id)));
            // Without a decision it waits on.
            let begun = readers.begin(asked.id, BOB, 0).unwrap();
            readers.decide(begun, None, 0);
            let approved = decide(&readers, asked.id, BOB, true, 0).unwrap();
            assert_eq!((approved.what, approved.approved_by), (What::Erase(what), Some(1001)));
            assert!(readers.list(0).is_empty(), "it is done once");
            if access == ReadAccess::TwoPerson {
                assert_eq!(readers.read(ALICE, "", 0), Err(Refused::NotApproved));
            }
        }
    }

    #[test]
    fn what_is_denied_is_gone_and_nobody_asks_without_end() {
        let readers = readers(ReadAccess::TwoPerson);
        let asked = readers.ask(ALICE, "r", None, 0).unwrap();
        decide(&readers, asked.id, BOB, false, 0).unwrap();
        assert_eq!(readers.read(ALICE, "", 0), Err(Refused::NotApproved));
        assert_eq!(readers.ask(NONE, "r", None, 0), Err(Refused::Nobody));
        assert_eq!(readers.ask(ALICE, "", None, 0), Err(Refused::NoReason));
        for _ in 0..MOST_OF_ONE {
            readers.ask(ALICE, "r", None, 0).unwrap();
        }
        assert_eq!(readers.ask(ALICE, "r", None, 0), Err(Refused::TooMany(MOST_OF_ONE)));
        assert!(readers.ask(BOB, "r", None, 0).is_ok());
    }
}
