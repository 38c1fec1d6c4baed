//! A child of the caller is let into its agent, and nothing else is.

use super::{
    Engine, EngineError, Peer,
    process::{self, Held},
    session::State,
};

impl Engine {
    /// Moves a child of the peer into the agent.
    ///
    /// # Errors
    /// It was not moved, or it ended meanwhile.
    pub fn admit(&self, id: &str, pid: u32, peer: &Peer) -> Result<(), EngineError> {
        let session = self.session(id)?;
        Self::check_owner(&session, peer)?;
        if !matches!(session.state, State::Created | State::Running) {
            return Err(EngineError::State {
                session: id.to_owned(),
                state: session.state.word(),
                advice: "nothing more can be let in; thaw it first",
            });
        }
        let refuse = |why: String| EngineError::Admit { pid, why };
        // From here the id means one process as long as it is alive.
        let held = Held::open(pid).map_err(|e| refuse(e.to_string()))?;
        let checked = || -> std::io::Result<Option<&'static str>> {
            Ok(if process::stat(pid)?.ppid != peer.pid {
                Some("it is not a child of the process that asks")
            } else if process::uid(pid)? != peer.uid {
                Some("it runs as another user than the process that asks")
            } else if self.is_governed(&process::cgroup(pid)?) {
                Some("it belongs to an agent already")
            } else if !session.host.view().is_of(pid)? {
                Some("it sees other files than the process that made the agent: its root or its mounts are others")
            } else {
                None
            })
        };
        if let Some(why) = checked().map_err(|e| refuse(e.to_string()))? {
            return Err(refuse(why.into()));
        }
        let confined = process::confinement(pid).map_err(|e| refuse(e.to_string()))?;
        if !session.banned_calls.is_empty() && !confined.filtered {
            return Err(refuse("its policy bans system calls, and it has no seccomp filter".into()));
        }
        if session.no_new_privileges && !confined.no_new_privileges {
            return Err(refuse("its policy says no_new_privileges, and it has not set that".into()));
        }
        if !held.is_alive() {
            return Err(refuse("it has ended".into()));
        }
        self.cgroups()?.admit(&session.saved.cgroup, pid)?;
        if !held.is_alive() {
            return Err(refuse("it ended while it was admitted".into()));
        }
        self.update(id, |s| {
            s.populated = true;
            if s.state == State::Created {
                s.state = State::Running;
            }
        });
        Ok(())
    }
}
