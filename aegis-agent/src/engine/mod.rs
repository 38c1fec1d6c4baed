//! The engine: agents, from the first cgroup to the last entry.
//!
//! Knows sessions and their states, and drives the kernel side, cgroups and the log through narrow
//! interfaces. Knows nothing of sockets, of records from the ring, or of BPF.
//!
//! Order is the safety of it. An agent is governed before anything can run in it (image, slot, cgroup,
//! file, entries, each undone when a later one fails), and nothing is taken back while a task is left.

pub mod cgroup;
pub mod port;
pub mod process;
pub mod session;

mod admit;
mod adopt;
mod create;
mod finish;
mod host;
mod kill;
mod refresh;
mod registry;
mod resolvers;
mod runtime;
mod tmpdir;
mod view;
mod warden;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use aegis_common::{net::Traffic, policy::agent_flag};
use aegis_policy::{CompileError, Diagnostic, ResolveError, policy::RuntimeRuleError};

use self::{
    cgroup::{CgroupError, CgroupPort},
    port::{KernelPort, PortError},
    registry::Registry,
    session::{Session, State},
};
pub use self::{create::Create, finish::Finished, host::Host, kill::Outcome, warden::Warden};
use crate::{
    audit::{AuditError, AuditLog},
    directory::Directory,
    paths::Layout,
    pipeline::Flusher,
};

/// How long the ring's last records are waited for.
const FLUSH: Duration = Duration::from_secs(5);

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Process.
    pub pid: u32,
    /// Login uid, `u32::MAX` where none is set.
    pub login_uid: u32,
    /// Program.
    pub exe: Vec<u8>,
}

/// Why the engine refused.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The manifest is not good.
    #[error("{}", list(.0))]
    Manifest(Vec<Diagnostic>),
    /// The name is not good.
    #[error("the agent's name {0:?} is not one: use letters, digits, `.`, `_` and `-`, at most 63, beginning with a letter or digit")]
    Name(String),
    /// The name would be redacted.
    #[error("the agent's name looks like a secret ({0}), and names stand in every entry: choose another")]
    SecretName(String),
    /// The host could not answer the manifest's questions.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The manifest does not fit the kernel's tables.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A rule for this run does not fit.
    #[error(transparent)]
    Runtime(#[from] RuntimeRuleError),
    /// Nothing can be enforced here.
    #[error("nothing can be enforced on this host: {0}\nRun with --audit-only to record without enforcing, or see `aegis doctor`")]
    NotEnforcing(String),
    /// The kernel side refused.
    #[error("{step}: {source}")]
    Kernel {
        /// What was tried.
        step: &'static str,
        /// Why not.
        source: PortError,
    },
    /// The cgroup could not be handled.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The log did not take an entry.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A file could not be handled.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// All slots are in use.
    #[error("{0} agents run already, which is as many as one host takes; end one first")]
    Full(u32),
    /// No such agent.
    #[error("there is no agent {0:?}; `aegis agents` lists those there are")]
    Unknown(String),
    /// The process is not one that may be admitted.
    #[error("process {pid} cannot be admitted: {why}")]
    Admit {
        /// Which.
        pid: u32,
        /// Why not.
        why: String,
    },
    /// The agent is in the wrong state for it.
    #[error("agent {session} is {state}: {advice}")]
    State {
        /// Which.
        session: String,
        /// Its state.
        state: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// Somebody else's.
    #[error("agent {0} was started by another user; ask as that user or as root")]
    NotYours(String),
    /// The engine ends.
    #[error("the engine is about to end; ask again in a second")]
    Closing,
}

fn list(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What an engine is made of.
pub struct Parts {
    /// Folders.
    pub layout: Layout,
    /// Where TMPDIRs are made.
    pub tmp: PathBuf,
    /// The log.
    pub audit: AuditLog,
    /// Table for the pipeline.
    pub directory: Arc<Directory>,
    /// The kernel side; `None` where it takes nothing.
    pub kernel: Arc<Mutex<Option<Box<dyn KernelPort>>>>,
    /// Why nothing is enforced; `None` when it is.
    pub not_enforcing: Option<String>,
    /// Programs of an earlier engine that stay in force though this one could not take them over.
    pub left_in_force: usize,
    /// Cgroups; `None` where there are none.
    pub cgroups: Option<Box<dyn CgroupPort>>,
}

/// The engine of a host.
pub struct Engine {
    parts: Parts,
    registry: Mutex<Registry>,
    flusher: OnceLock<Flusher>,
}

impl Engine {
    /// An engine without agents; see [`Engine::adopt`].
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts, registry: Mutex::default(), flusher: OnceLock::new() }
    }

    /// Why nothing is enforced; `None` when it is.
    #[must_use]
    pub fn not_enforcing(&self) -> Option<&str> {
        self.parts.not_enforcing.as_deref()
    }

    /// The log.
    #[must_use]
    pub const fn audit(&self) -> &AuditLog {
        &self.parts.audit
    }

    /// Folders.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.parts.layout
    }

    /// The pipeline runs: from here on its records can be waited for.
    pub fn pipeline_runs(&self, flusher: Flusher) {
        if self.flusher.set(flusher).is_err() {
            tracing::error!("the engine had a pipeline already");
        }
    }

    /// Waits until what the kernel has written is in the hands of the log; answers whether it is.
    #[must_use]
    pub fn flush(&self) -> bool {
        self.flusher.get().is_none_or(|pipeline| pipeline.flush(FLUSH))
    }

    /// Runs `f` with the kernel side, if there is one.
    pub fn with_kernel<T>(&self, f: impl FnOnce(&mut dyn KernelPort) -> T) -> Option<T> {
        let mut kernel = self.parts.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        kernel.as_mut().map(|k| f(k.as_mut()))
    }

    /// All sessions as they stand.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        self.registry().sessions.values().cloned().collect()
    }

    /// Tasks of a session.
    #[must_use]
    pub fn task_count(&self, session: &Session) -> u32 {
        let tasks = self.parts.cgroups.as_ref().and_then(|c| c.tasks(&session.saved.cgroup).ok());
        tasks.map_or(0, |t| u32::try_from(t.len()).unwrap_or(u32::MAX))
    }

    /// What a session's agent sent and received so far.
    #[must_use]
    pub fn traffic(&self, session: &Session) -> Traffic {
        self.with_kernel(|kernel| kernel.traffic(session.saved.slot)).and_then(Result::ok).unwrap_or_default().passed
    }

    /// Whether a cgroup path (as `/proc/PID/cgroup` shows it) belongs to an agent.
    #[must_use]
    pub fn is_governed(&self, cgroup: &str) -> bool {
        // Every folder below ours is an agent's, also one that this engine does not know.
        let base = format!("/{}/", crate::paths::CGROUP);
        cgroup.starts_with(&base)
    }

    /// Takes no more agents when none is left and none is being made; answers whether it is closed now.
    #[must_use]
    pub fn close_when_idle(&self) -> bool {
        let mut registry = self.registry();
        if registry.sessions.is_empty() && registry.making == 0 {
            registry.closed = true;
        }
        registry.closed
    }

    /// Takes no more agents.
    pub fn close(&self) {
        self.registry().closed = true;
    }

    /// Whether there has been an agent, and whether there is one now.
    #[must_use]
    pub fn activity(&self) -> (bool, bool) {
        let registry = self.registry();
        (registry.had_agent, !registry.sessions.is_empty() || registry.making > 0)
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cgroups(&self) -> Result<&dyn CgroupPort, EngineError> {
        self.parts.cgroups.as_deref().ok_or(EngineError::Cgroup(CgroupError::NoCgroup2))
    }

    fn session(&self, id: &str) -> Result<Session, EngineError> {
        self.registry().sessions.get(id).cloned().ok_or_else(|| EngineError::Unknown(id.to_owned()))
    }

    /// Runs `f` with the session, where it is still there.
    fn update<T>(&self, id: &str, f: impl FnOnce(&mut Session) -> T) -> Option<T> {
        self.registry().sessions.get_mut(id).map(f)
    }

    /// A kernel step whose failure stops what is being done. Without a kernel side there is nothing to do.
    fn kernel_step(
        &self,
        step: &'static str,
        f: impl FnOnce(&mut dyn KernelPort) -> Result<(), PortError>,
    ) -> Result<(), EngineError> {
        self.with_kernel(f).unwrap_or(Ok(())).map_err(|source| EngineError::Kernel { step, source })
    }

    /// Raises or clears the kill flag. What else the state says may change at the same time (a policy that
    /// is loaded anew): it is read and written under one lock.
    fn set_killed(&self, session: &Session, killed: bool) -> Result<(), EngineError> {
        let slot = session.saved.slot;
        self.kernel_step("setting the kill flag", |k| {
            let mut state = k.agent(slot)?;
            if killed {
                state.flags |= agent_flag::KILLED;
            } else {
                state.flags &= !agent_flag::KILLED;
            }
            k.set_agent(slot, state)
        })
    }

    /// Whether a peer may act on a session: who started it, and root.
    fn check_owner(session: &Session, peer: &Peer) -> Result<(), EngineError> {
        if peer.uid == 0 || peer.uid == session.saved.uid {
            Ok(())
        } else {
            Err(EngineError::NotYours(session.saved.session.clone()))
        }
    }

    fn refuse_ending(session: &Session) -> Result<(), EngineError> {
        if session.state == State::Ending {
            return Err(EngineError::State {
                session: session.saved.session.clone(),
                state: session.state.word(),
                advice: "it is gone in a moment",
            });
        }
        Ok(())
    }
}

/// Says what could not be undone: it goes on being governed, and somebody must know.
fn report<T>(step: &str, result: Result<T, impl std::fmt::Display>) {
    if let Err(error) = result {
        tracing::error!(step, %error, "left behind");
    }
}

#[cfg(test)]
mod tests;
