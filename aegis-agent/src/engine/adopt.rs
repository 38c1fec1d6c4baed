//! A new engine takes over what an earlier one left: agents that run, cgroups, tables.
//!
//! The kernel went on enforcing meanwhile. Where its tables are gone (somebody removed the pins), the
//! agents are brought under their policy again before anything else happens.

use std::collections::BTreeSet;

use aegis_common::policy::agent_flag;
use aegis_policy::check;

use super::{
    Engine, EngineError,
    cgroup::{Events, Pressure},
    create, finish,
    host::Host,
    report,
    session::{Saved, Session, State},
};
use crate::proto::event::{self, Event, Kind, event::Detail};

impl Engine {
    /// Takes over the agents of an earlier engine, before the pipeline runs: records that wait in the ring
    /// are theirs.
    ///
    /// # Errors
    /// The folder of agents cannot be read.
    pub fn adopt(&self) -> Result<(), EngineError> {
        let folder = self.parts.layout.agents();
        let all = Saved::read_all(&folder).map_err(|source| EngineError::Io { path: folder.clone(), source })?;
        for saved in all {
            match saved {
                Ok(saved) => {
                    let id = saved.session.clone();
                    if let Err(error) = self.take_over(saved) {
                        self.tell("agent_not_adopted", format!("agent {id}: {error}"));
                    }
                }
                Err(error) => self.tell("agent_not_adopted", error),
            }
        }
        self.tell_strangers();
        Ok(())
    }

    /// What can wait until the pipeline runs: the last entry of agents that are gone, and policies whose
    /// paths have come to mean something else on this host.
    pub fn settle(&self) {
        let Ok(cgroups) = self.cgroups() else { return };
        for session in self.sessions() {
            if !cgroups.present(&session.saved.cgroup) {
                let ended = self.end(&session.saved.session, finish::Exit::UNKNOWN, "it ended while no engine ran, its exit status is not known");
                report("ending an agent that is gone", ended);
            }
        }
        self.refresh();
    }

    fn take_over(&self, saved: Saved) -> Result<(), EngineError> {
        let id = saved.session.clone();
        let cgroups = self.cgroups()?;
        let there = cgroups.id(&saved.cgroup).is_ok_and(|found| found == saved.cgroup_id);
        let claimed = {
            let mut registry = self.registry();
            // Both are taken, also where one is not free.
            let (slot, image) = (registry.slots.claim(saved.slot), registry.images.claim(saved.image_index));
            slot && image
        };
        if !claimed {
            return Err(EngineError::State {
                session: id,
                state: "in conflict with another agent",
                advice: "its slot or image is taken; it stays governed, end its tasks",
            });
        }
        let policy = check(&saved.manifest.0, &saved.manifest_path).map_err(EngineError::Manifest)?;
        // Without its client the agent is ended in a moment; until then what the kernel holds stays as it is.
        let seen = if saved.client.is_alive() { Host::seen_by(saved.client).ok() } else { None };
        let unseen = saved.own_view && seen.is_none();
        let host = seen.unwrap_or_default();
        let (compiled, _) =
            self.compile(policy.clone(), &saved.added, saved.image_index, saved.generation, &host)?;
        let events = if there { cgroups.events(&saved.cgroup)? } else { Events::default() };
        let mut session = Session {
            view: create::view(&saved, &compiled, &host),
            host,
            state: if events.populated { State::Running } else { State::Created },
            mode: policy.mode,
            limits: policy.limits,
            banned_calls: create::banned_calls(&policy),
            no_new_privileges: policy.no_new_privileges,
            kill: policy.kill,
            policy: policy.name.clone(),
            populated: events.populated,
            empty_since: None,
            pressure: if there { cgroups.pressure(&saved.cgroup) } else { Pressure::default() },
            saved,
        };
        self.parts.directory.set(session.saved.slot, session.view.clone());
        let mut text = String::new();
        if there {
            text = self.hold(&mut session, (!unseen).then_some(&compiled), crate::words::hex(&compiled.hash))?;
        }
        let event = session.event();
        let mut registry = self.registry();
        registry.had_agent = true;
        registry.sessions.insert(id.clone(), session);
        drop(registry);
        if !there {
            return Ok(());
        }
        let agent = event::Agent { state: "adopted".into(), text, ..event::Agent::default() };
        self.audit().record(Kind::Agent, Event { detail: Some(Detail::AgentState(agent)), ..event })?;
        Ok(())
    }

    /// Makes sure that the kernel holds the agent to its policy; answers what there is to say of it.
    fn hold(
        &self,
        session: &mut Session,
        compiled: Option<&aegis_policy::CompiledImage>,
        hash: String,
    ) -> Result<String, EngineError> {
        let (slot, cgroup) = (session.saved.slot, session.saved.cgroup_id);
        let held = self.with_kernel(|k| {
            let bound = k.adopted() && k.cgroups().is_ok_and(|all| all.contains(&(cgroup, slot)));
            bound.then(|| k.agent(slot).ok()).flatten()
        });
        let Some(held) = held else {
            return Ok(match self.parts.left_in_force {
                0 => "nothing is enforced".into(),
                left => format!(
                    "the {left} programs of the engine before stay in force without this one, which reads no records: kill and thaw \
                     only freeze"
                ),
            });
        };
        let in_force = held.filter(|s| s.flags & agent_flag::ACTIVE != 0 && s.image == session.saved.image_index);
        let Some(state) = in_force else {
            let compiled = compiled.ok_or_else(|| EngineError::State {
                session: session.saved.session.clone(),
                state: "without its policy and its client",
                advice: "what its paths mean cannot be told any more; end its tasks",
            })?;
            self.govern_now(session, compiled)?;
            session.saved.image = hash;
            return Ok("its policy was not in force any more: it was brought into force again, what happened in between is not known".into());
        };
        if state.flags & agent_flag::KILLED != 0 {
            session.state = State::Killed;
        }
        Ok("its policy stayed in force".into())
    }

    /// Cgroups that the kernel governs and no agent claims stay governed.
    fn tell_strangers(&self) {
        let Ok(cgroups) = self.cgroups() else { return };
        let governed = self.with_kernel(|k| k.cgroups().unwrap_or_default()).unwrap_or_default();
        let slots: BTreeSet<u32> = self.sessions().iter().map(|s| s.saved.slot).collect();
        let mut strange: BTreeSet<u32> = BTreeSet::new();
        for (_, slot) in governed {
            if !slots.contains(&slot) && strange.insert(slot) {
                self.registry().slots.claim(slot);
            }
        }
        if !strange.is_empty() {
            let text = format!("{} slots govern cgroups of which no engine knows: they stay governed", strange.len());
            self.tell("strange_cgroups", text);
        }
        let known: BTreeSet<_> = self.sessions().into_iter().map(|s| s.saved.cgroup).collect();
        for folder in cgroups.list() {
            if known.contains(&folder) || cgroups.events(&folder).is_ok_and(|e| e.populated) {
                continue;
            }
            report("removing an empty cgroup", cgroups.remove(&folder));
        }
    }

    fn tell(&self, state: &str, text: String) {
        tracing::error!(state, text);
        let daemon = event::Daemon { state: state.to_owned(), text, ..event::Daemon::default() };
        let event = Event { detail: Some(Detail::Daemon(daemon)), ..Event::default() };
        report("telling it in the log", self.audit().record(Kind::Daemon, event));
    }
}
