//! The kill switch: flag first, freezer second, proof third, entry before the answer.

use std::time::{Duration, Instant};

use aegis_policy::policy::KillAction;

use super::{
    Engine, EngineError, Peer,
    cgroup::{CgroupPort, Task},
    finish,
    session::{EndedBy, Session, State},
};
use crate::{
    clock,
    proto::event::{Event, Kind, Operator, Verdict, event::Detail},
};

/// How long the freezer may take.
const FREEZE: Duration = Duration::from_secs(5);
/// How often the freezer is asked while it is likely to be done in a moment, and how long that is.
const EAGER: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(50));
/// How often it is asked later.
const PATIENT: Duration = Duration::from_millis(2);
/// Between two looks at the time a task has run: a task that runs gets some of it.
const LOOK: Duration = Duration::from_millis(2);

/// What the kill switch did to one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Name.
    pub name: String,
    /// Id of the run.
    pub session: String,
    /// From the request to the flag, nanoseconds.
    pub flag_ns: u64,
    /// From the request to the last frozen (or ended) task, nanoseconds.
    pub frozen_ns: u64,
    /// Tasks found frozen (or ended).
    pub tasks: u32,
    /// Whether all of them are.
    pub frozen: bool,
    /// Sequence number of the entry.
    pub seq: u64,
}

impl Engine {
    /// Stops all agents of a name, or one by its session. The flag is set on all before the first is frozen.
    ///
    /// # Errors
    /// There is none, or an entry is not durable (the agent is stopped all the same).
    pub fn kill(&self, name: &str, reason: &str, peer: &Peer) -> Result<Vec<Outcome>, EngineError> {
        let asked = Instant::now();
        let ids = self.registry().named(name);
        if ids.is_empty() {
            return Err(EngineError::Unknown(name.to_owned()));
        }
        let mut flagged = Vec::new();
        let mut failed = None;
        for id in ids {
            let Ok(session) = self.session(&id) else { continue };
            if session.state == State::Ending {
                continue;
            }
            // A flag that cannot be set is no reason not to freeze.
            if let Err(error) = self.set_killed(&session, true) {
                tracing::error!(session = id, %error, "the kill flag could not be set");
                failed = Some(error);
            }
            flagged.push((session, clock::length(asked.elapsed())));
        }
        let mut outcomes = Vec::new();
        for (session, flag_ns) in flagged {
            match self.stop(&session, asked, flag_ns, reason, peer) {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) => {
                    tracing::error!(session = session.saved.session, %error, "the kill switch");
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(outcomes),
        }
    }

    fn stop(
        &self,
        session: &Session,
        asked: Instant,
        flag_ns: u64,
        reason: &str,
        peer: &Peer,
    ) -> Result<Outcome, EngineError> {
        let cgroups = self.cgroups()?;
        let id = &session.saved.session;
        let end = session.kill == KillAction::Kill;
        let marked = self.update(id, |s| {
            if s.state != State::Ending {
                s.state = State::Killed;
            }
            if end {
                s.saved.ended_by = Some(EndedBy::Kill);
            }
        });
        if marked.is_none() {
            return Err(EngineError::Unknown(id.clone()));
        }
        let (done, tasks) = if end { end_all(cgroups, session) } else { freeze_all(cgroups, session) };
        let frozen_ns = clock::length(asked.elapsed());
        // The proof takes time of its own, which is not the agent's.
        let (frozen, count) = if end || !done { (done, tasks) } else { prove(cgroups, session) };
        let word = if end { "ended" } else { "frozen" };
        let outcome = if frozen { word.to_owned() } else { format!("not all tasks are {word}; the kill flag holds") };
        let entry = Operator {
            duration_ns: frozen_ns,
            tasks: count,
            outcome,
            ..operator("kill", session, peer, reason)
        };
        let seq = self.record_operator(session, entry, Verdict::Kill)?;
        Ok(Outcome {
            name: session.saved.name.clone(),
            session: id.clone(),
            flag_ns,
            frozen_ns,
            tasks: count,
            frozen,
            seq,
        })
    }

    /// Lets killed agents go on. The flag goes first, while every task is still frozen: no call fails
    /// for a flag that no longer stands.
    ///
    /// # Errors
    /// There is none that is killed and can go on, or an entry is not durable.
    pub fn thaw(&self, name: &str, reason: &str, peer: &Peer) -> Result<Vec<String>, EngineError> {
        let ids = self.registry().named(name);
        let mut thawed = Vec::new();
        let mut ended = None;
        for id in &ids {
            let Ok(session) = self.session(id) else { continue };
            if session.state != State::Killed || session.saved.ended_by.is_some() {
                ended = Some(session);
                continue;
            }
            let cgroups = self.cgroups()?;
            self.set_killed(&session, false)?;
            if let Err(error) = cgroups.freeze(&session.saved.cgroup, false) {
                self.set_killed(&session, true)?;
                return Err(error.into());
            }
            self.update(id, |s| s.state = State::Running);
            let entry = Operator { outcome: "running".into(), ..operator("thaw", &session, peer, reason) };
            self.record_operator(&session, entry, Verdict::Allow)?;
            thawed.push(id.clone());
        }
        match ended {
            _ if ids.is_empty() => Err(EngineError::Unknown(name.to_owned())),
            Some(session) if thawed.is_empty() => Err(EngineError::State {
                session: session.saved.session.clone(),
                state: session.state.word(),
                advice: "there is nothing to thaw",
            }),
            _ => Ok(thawed),
        }
    }

    fn record_operator(&self, session: &Session, entry: Operator, verdict: Verdict) -> Result<u64, EngineError> {
        let event =
            Event { verdict: verdict as i32, detail: Some(Detail::Operator(entry)), ..session.event() };
        Ok(self.audit().record(Kind::Operator, event)?.seq)
    }

    /// The agent's time is over: the flag, then the end of every task. The client, or the warden, ends the
    /// session when it sees that nothing runs.
    pub(super) fn time_over(&self, session: &Session) -> Result<(), EngineError> {
        let id = &session.saved.session;
        self.set_killed(session, true)?;
        self.update(id, |s| s.saved.ended_by = Some(EndedBy::ExecutionTime));
        finish::empty(self.cgroups()?, session)
    }
}

/// An entry about what a peer asked.
pub(super) fn operator(action: &str, session: &Session, peer: &Peer, reason: &str) -> Operator {
    Operator {
        action: action.to_owned(),
        uid: peer.uid,
        login_uid: peer.login_uid,
        exe: peer.exe.clone(),
        pid: peer.pid,
        target: session.saved.name.clone(),
        outcome: "ok".to_owned(),
        reason: reason.to_owned(),
        ..Operator::default()
    }
}

/// Freezes and waits; answers whether the kernel says that all are, and how many there were.
fn freeze_all(cgroups: &dyn CgroupPort, session: &Session) -> (bool, u32) {
    let folder = &session.saved.cgroup;
    if let Err(error) = cgroups.freeze(folder, true) {
        tracing::error!(%error, "the freezer");
        return (false, 0);
    }
    let begun = Instant::now();
    loop {
        match cgroups.events(folder) {
            Ok(events) if events.frozen => return (true, 0),
            Ok(_) if begun.elapsed() < FREEZE => {}
            _ => return (false, 0),
        }
        std::thread::sleep(if begun.elapsed() < EAGER.1 { EAGER.0 } else { PATIENT });
    }
}

fn end_all(cgroups: &dyn CgroupPort, session: &Session) -> (bool, u32) {
    let tasks = cgroups.tasks(&session.saved.cgroup).map_or(0, |t| count(&t));
    (finish::empty(cgroups, session).is_ok(), tasks)
}

/// Looks at every task: the kernel says frozen, no task has run meanwhile and none has come.
fn prove(cgroups: &dyn CgroupPort, session: &Session) -> (bool, u32) {
    let folder = &session.saved.cgroup;
    let look = || cgroups.tasks(folder);
    let Ok(before) = look() else { return (false, 0) };
    std::thread::sleep(LOOK);
    let Ok(after) = look() else { return (false, count(&before)) };
    let still = cgroups.events(folder).is_ok_and(|e| e.frozen);
    let frozen = before.iter().filter(|t| after.contains(t)).count();
    let all = still && frozen == before.len() && after.len() == before.len();
    (all, u32::try_from(frozen).unwrap_or(u32::MAX))
}

fn count(tasks: &[Task]) -> u32 {
    u32::try_from(tasks.len()).unwrap_or(u32::MAX)
}
