//! Looks after running agents: time limits, limits that were reached, agents whose client is gone.

use std::{
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use aegis_common::policy::agent_flag;

use super::{
    Engine, EngineError, finish,
    session::{EndedBy, Session, State},
};
use crate::{
    mountinfo::Watch,
    proto::event::{self, Event, Kind, Verdict, event::Detail},
};

/// How often it looks.
const TICK: Duration = Duration::from_millis(100);
/// How long mounts must have been left alone.
const SETTLED: Duration = Duration::from_millis(300);
/// How long somebody who raises the kill flag may take to say so.
const SAYS: Duration = Duration::from_millis(50);
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
        let mounts = Watch::begin()?;
        let thread = thread::Builder::new().name("warden".into()).spawn(move || {
            let mut changed: Option<Instant> = None;
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                engine.look_after();
                // Mounts come in series: what they mean is asked when they have settled.
                if mounts.changed() | engine.views_changed() {
                    changed = Some(Instant::now());
                } else if changed.is_some_and(|at| at.elapsed() >= SETTLED) {
                    changed = None;
                    engine.refresh();
                }
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
            let looked = self.look_at_time(&session).and_then(|()| self.look_at_flag(&session));
            let done = looked.and_then(|()| self.look_at_tasks(&session));
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

    /// The kernel raises the kill flag by itself where a child cgroup could not be governed.
    fn look_at_flag(&self, session: &Session) -> Result<(), EngineError> {
        let killed = |state: &Session| matches!(state.state, State::Killed | State::Ending) || state.saved.ended_by.is_some();
        let raised = || {
            let state = self.with_kernel(|k| k.agent(session.saved.slot)).and_then(Result::ok);
            state.is_some_and(|s| s.flags & agent_flag::KILLED != 0)
        };
        if killed(session) || !raised() {
            return Ok(());
        }
        thread::sleep(SAYS);
        if killed(&self.session(&session.saved.session)?) || !raised() {
            return Ok(());
        }
        self.update(&session.saved.session, |s| s.state = State::Killed);
        let text = "cgroups: one below it could not be governed, the kernel denies everything from there on";
        self.tell_limit(session, text.to_owned(), Verdict::Kill);
        Ok(())
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
            // An agent lives as long as who ran it. One that the kill switch stopped is kept for whoever looks at it.
            if session.saved.client.is_alive() || session.state == State::Killed {
                return Ok(());
            }
            let text = "the `aegis run` that held it was killed: its remaining tasks were ended";
            return self.end(id, finish::Exit::UNKNOWN, text).map(|_| ());
        }
        let since = self.update(id, |s| *s.empty_since.get_or_insert_with(Instant::now));
        let client = session.saved.client.is_alive();
        let waited = since.is_some_and(|at| at.elapsed() >= CLIENT);
        if client && !(session.populated && waited) {
            return Ok(());
        }
        let text = if client { "its client did not report its exit status" } else { "its client was gone, its exit status is not known" };
        self.end(id, finish::Exit::UNKNOWN, text).map(|_| ())
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
