//! Looks after running agents: time limits, limits that were reached, agents whose client is gone.

use std::{
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    Engine, EngineError, finish,
    session::{EndedBy, Session, State},
};
use crate::proto::event::{self, Event, Kind, Verdict, event::Detail};

/// How often it looks.
const TICK: Duration = Duration::from_millis(100);
/// How long an empty agent waits for its client, which is about to report the exit status.
const CLIENT: Duration = Duration::from_secs(10);

/// The thread that looks after agents.
pub struct Warden {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Warden {
    /// Starts it.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start(engine: Arc<Engine>) -> std::io::Result<Self> {
        let (stop, stopped) = sync_channel(0);
        let thread = thread::Builder::new().name("warden".into()).spawn(move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                engine.look_after();
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends it.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the warden panicked");
        }
    }
}

impl Engine {
    /// One look at every agent.
    pub fn look_after(&self) {
        for session in self.sessions() {
            if session.state == State::Ending {
                continue;
            }
            let id = session.saved.session.clone();
            self.tell_pressure(&id);
            let done = self.look_at_time(&session).and_then(|()| self.look_at_tasks(&session));
            match done {
                // Somebody else ended it in between.
                Ok(()) | Err(EngineError::Unknown(_) | EngineError::State { .. }) => {}
                Err(error) => tracing::error!(session = id, %error, "looking after the agent"),
            }
        }
    }

    fn look_at_time(&self, session: &Session) -> Result<(), EngineError> {
        let over = session.limits.execution_time.is_some_and(|most| session.age() >= most);
        if !over || session.saved.ended_by == Some(EndedBy::ExecutionTime) {
            return Ok(());
        }
        let stopped = self.time_over(session);
        let most = session.limits.execution_time.unwrap_or_default();
        self.tell_limit(session, format!("execution_time: {} s are over; all tasks were ended", most.as_secs_f64()), Verdict::Kill);
        stopped
    }

    fn look_at_tasks(&self, session: &Session) -> Result<(), EngineError> {
        let id = &session.saved.session;
        let (cgroups, folder) = (self.cgroups()?, &session.saved.cgroup);
        let populated = cgroups.present(folder) && cgroups.events(folder)?.populated;
        if populated {
            self.update(id, |s| {
                s.populated = true;
                s.empty_since = None;
            });
            return Ok(());
        }
        let since = self.update(id, |s| *s.empty_since.get_or_insert_with(Instant::now));
        let client = session.saved.client.is_alive();
        let waited = since.is_some_and(|at| at.elapsed() >= CLIENT);
        if client && !(session.populated && waited) {
            return Ok(());
        }
        let text = if client { "its client did not report the end" } else { "its client was gone" };
        self.end(id, finish::Exit::default(), text).map(|_| ())
    }

    /// Tells of limits that were reached since the last look.
    pub(super) fn tell_pressure(&self, id: &str) {
        let Ok(session) = self.session(id) else { return };
        let Ok(cgroups) = self.cgroups() else { return };
        let now = cgroups.pressure(&session.saved.cgroup);
        let before = session.pressure;
        if now.oom_kills <= before.oom_kills && now.pids_max <= before.pids_max {
            return;
        }
        self.update(id, |s| s.pressure = now);
        let oom = now.oom_kills.saturating_sub(before.oom_kills);
        if oom > 0 {
            let text = format!("memory: the limit was reached and {oom} tasks were ended, {} in all", now.oom_kills);
            self.tell_limit(&session, text, Verdict::Kill);
        }
        let pids = now.pids_max.saturating_sub(before.pids_max);
        if pids > 0 {
            let text = format!("pids: the limit was reached and {pids} forks were refused, {} in all", now.pids_max);
            self.tell_limit(&session, text, Verdict::Deny);
        }
    }

    fn tell_limit(&self, session: &Session, text: String, verdict: Verdict) {
        let agent = event::Agent { state: "limit".into(), text, ..event::Agent::default() };
        let event =
            Event { verdict: verdict as i32, detail: Some(Detail::AgentState(agent)), ..session.event() };
        if let Err(error) = self.audit().record(Kind::Agent, event) {
            tracing::error!(%error, "a reached limit is not in the log yet");
        }
    }
}
