//! An agent ends: what is left of it is stopped, its cgroup removed, its last entry written.
//!
//! Nothing is taken back while a task is left: a cgroup that does not empty stays governed.

use std::time::{Duration, Instant};

use aegis_common::{
    net::AgentTraffic,
    policy::{AgentState, agent_flag},
};

use super::{
    Engine, EngineError, Peer, report,
    cgroup::CgroupPort,
    port::KernelPort,
    session::{EndedBy, Session, State},
};
use crate::{
    audit::Durable,
    clock,
    proto::event::{self, Event, Kind, event::Detail},
};

/// How long tasks may take to end after they were killed. A task in an uninterruptible wait takes longer.
const EMPTY: Duration = Duration::from_secs(10);

/// How long connections that it left may take to end: their last packets are under way when it is gone. What takes longer is
/// counted in its last entry.
const CLOSE: Duration = Duration::from_secs(1);

/// How an agent ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Sequence number of its last entry.
    pub seq: u64,
    /// Who ended it, when it did not end by itself.
    pub ended_by: Option<EndedBy>,
}

/// What its first process left, as the client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    pub code: i32,
    pub signal: u32,
}

impl Exit {
    /// Nobody saw it.
    pub const UNKNOWN: Self = Self { code: -1, signal: 0 };
}

impl Engine {
    /// The agent's command has ended.
    ///
    /// # Errors
    /// It could not be ended, or its last entry is not durable.
    pub fn finish(&self, id: &str, code: i32, signal: u32, peer: &Peer) -> Result<Finished, EngineError> {
        Self::check_owner(&self.session(id)?, peer)?;
        self.end(id, Exit { code, signal }, "")
    }

    /// Ends a session, whoever asks. `text` says why, when it is not its command's end.
    pub(super) fn end(&self, id: &str, exit: Exit, text: &str) -> Result<Finished, EngineError> {
        let before = self.begin_end(id)?;
        let ended = self.end_session(id, exit, text);
        if ended.is_err() {
            // It is still governed and can be ended again.
            self.update(id, |s| s.state = before);
        }
        ended
    }

    /// Only one ends it; answers its state before.
    fn begin_end(&self, id: &str) -> Result<State, EngineError> {
        let mut registry = self.registry();
        let session = registry.sessions.get_mut(id).ok_or_else(|| EngineError::Unknown(id.to_owned()))?;
        Self::refuse_ending(session)?;
        Ok(std::mem::replace(&mut session.state, State::Ending))
    }

    fn end_session(&self, id: &str, exit: Exit, text: &str) -> Result<Finished, EngineError> {
        let cgroups = self.cgroups()?;
        self.tell_pressure(id);
        let session = self.session(id)?;
        let folder = &session.saved.cgroup;
        let mut traffic = AgentTraffic::default();
        let used = if cgroups.present(folder) {
            empty(cgroups, &session)?;
            let used = cgroups.used(folder);
            traffic = self.last_traffic(session.saved.slot);
            if !self.flush() {
                tracing::warn!(session = id, "records of the agent may come after its last entry");
            }
            // Its sockets can outlive it. Before the kernel forgets its cgroups.
            self.kernel_step("holding its sockets", |k| {
                let killed = k.agent(session.saved.slot)?.flags & agent_flag::KILLED != 0;
                if killed { k.cut(session.saved.slot) } else { Ok(()) }
            })?;
            cgroups.remove(folder)?;
            used
        } else {
            super::cgroup::Used::default()
        };
        self.release(&session);

        let agent = event::Agent {
            state: "ended".into(),
            exit_code: exit.code,
            exit_signal: exit.signal,
            duration_ns: clock::length(session.age()),
            usage: Some(event::Usage {
                cpu_usec: used.cpu_usec,
                memory_peak: used.memory_peak,
                pids_peak: used.pids_peak,
                io_read: used.io_read,
                io_write: used.io_write,
                oom_kills: session.pressure.oom_kills,
                traffic: Some(crate::enrich::traffic(&traffic.passed)),
                packets_refused: traffic.refused,
                connections_open: traffic.open,
                connections_untold: traffic.untold,
            }),
            text: ended_text(&session, text),
            cgroup: cgroups.shown(folder),
            ..event::Agent::default()
        };
        let recorded =
            self.audit().record(Kind::Agent, Event { detail: Some(Detail::AgentState(agent)), ..session.event() });
        // The session is gone, whether its last entry is durable or waits for the disk.
        report("removing the agent's file", session.saved.remove(&self.parts.layout.agents()));
        report("removing the TMPDIR", session.saved.tmpdir.remove());
        let mut registry = self.registry();
        registry.sessions.remove(id);
        registry.slots.free(session.saved.slot);
        registry.images.free(session.saved.image_index);
        drop(registry);
        let Durable { seq, .. } = recorded?;
        tracing::info!(agent = session.saved.name, session = id, seq, "ended");
        Ok(Finished { seq, ended_by: session.saved.ended_by })
    }

    /// What it sent and received, once its connections are over or have taken too long.
    fn last_traffic(&self, slot: u32) -> AgentTraffic {
        let until = Instant::now() + CLOSE;
        loop {
            let traffic = self.with_kernel(|kernel| kernel.traffic(slot)).and_then(Result::ok).unwrap_or_default();
            if traffic.open == 0 || Instant::now() >= until {
                return traffic;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Takes the agent out of the kernel's tables. Its cgroup is gone: what stays behind governs nothing.
    fn release(&self, session: &Session) {
        let saved = &session.saved;
        // Those that it made too: the kernel keeps a cgroup as long as pages are charged to it.
        let release = |k: &mut dyn KernelPort| {
            let all = k.cgroups()?.into_iter().filter(|(_, slot)| *slot == saved.slot);
            all.map(|(cgroup, _)| cgroup).chain([saved.cgroup_id]).try_for_each(|cgroup| k.unbind_cgroup(cgroup))
        };
        report("releasing the cgroups", self.kernel_step("releasing the cgroups", release));
        report("disowning objects", self.kernel_step("disowning objects", |k| k.disown_objects(saved.slot)));
        report(
            "freeing the slot",
            self.kernel_step("freeing the slot", |k| k.set_agent(saved.slot, AgentState::default())),
        );
        report("forgetting names", self.kernel_step("forgetting names", |k| k.forget_names(saved.slot)));
        report("removing the image", self.kernel_step("removing the image", |k| k.remove_image(saved.image_index)));
    }
}

fn ended_text(session: &Session, text: &str) -> String {
    match session.saved.ended_by {
        Some(by) if text.is_empty() => format!("ended by {}", by.word()),
        Some(by) => format!("ended by {}; {text}", by.word()),
        None => text.to_owned(),
    }
}

/// Ends every task and waits until none is left.
pub(super) fn empty(cgroups: &dyn CgroupPort, session: &Session) -> Result<(), EngineError> {
    let folder = &session.saved.cgroup;
    let until = Instant::now() + EMPTY;
    while cgroups.events(folder)?.populated {
        cgroups.kill(folder)?;
        if Instant::now() >= until {
            return Err(EngineError::State {
                session: session.saved.session.clone(),
                state: "not empty",
                advice: "a task does not end (it waits in the kernel); it stays governed, ask again later",
            });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
