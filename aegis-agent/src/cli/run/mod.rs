//! `aegis run`: a command as a governed agent, from its first instruction on.
//!
//! Order matters. The engine is made sure of; the child is forked while there is one thread, and
//! waits; the daemon makes a governed cgroup with the policy in force and moves the child into it;
//! only then the child becomes the command. Whatever fails before that ends the child unused.
//!
//! Knows nothing of policies and cgroups: those are the daemon's. When the daemon goes away the
//! command stays governed (the kernel does that) and this program goes on waiting for it.

mod child;
mod engine;
mod fds;
mod seccomp;
mod session;
mod signals;
mod supervise;
mod voice;

use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use self::{
    child::Orders,
    session::{Session, What},
    signals::Signals,
    supervise::{Ended, Watch},
    voice::Voice,
};
use super::{args::Run as Args, failure::Failure, policy};
use crate::{paths::CONFIG_DIR, proto::control::CreateAgentReply};

/// Exit code when aegis itself failed, as `env`, `timeout` and container runners have it.
pub const OWN_FAILURE: u8 = 125;

/// Runs a command, and tells its exit code.
#[must_use]
pub fn run(args: &Args, socket: Option<&Path>) -> u8 {
    let voice = Voice::new(args.audit_only);
    match governed(args, socket, voice) {
        Ok(ended) => ended.code(),
        Err(Failure::Signal(number)) => u8::try_from(128 + number).unwrap_or(OWN_FAILURE),
        Err(failure) => {
            if matches!(failure, Failure::Unable(_)) {
                engine::explain(voice);
            }
            voice.say(&failure.to_string());
            OWN_FAILURE
        }
    }
}

fn governed(args: &Args, socket: Option<&Path>, voice: Voice) -> Result<Ended, Failure> {
    fds::check_open(&args.pass_fd)?;
    signals::watch_children()?;
    let what = what(args)?;
    let socket = socket.map(Path::to_path_buf);
    let ensure = || engine::ensure(socket.as_deref(), args.audit_only, voice);
    let path = ensure()?;
    let mut waiting = child::start(&args.command, &args.pass_fd, voice)?;
    let pid = waiting.pid();
    let begun = Signals::take().and_then(|signals| {
        let mut prepare = |agent: &CreateAgentReply| waiting.prepare(&orders(agent, args.audit_only));
        let session = Session::begin(&path, &what, pid, &signals, ensure, &mut prepare)?;
        Ok((signals, session))
    });
    let (signals, mut session) = match begun {
        Ok(begun) => begun,
        Err(failure) => {
            // A signal of the terminal reached the child first: then that is the story.
            return Err(waiting.dismiss().map_or(failure, |signal| Failure::Signal(signal as i32)));
        }
    };
    session.announce(voice, args.audit_only);
    let agent = session.agent();
    // A child that has gone already is found by the wait.
    let _ = waiting.release();
    let watch = Watch { pid, cgroup: Path::new(&agent.cgroup), agent: &agent.name, voice };
    let ended = watch.wait(&signals)?;
    session.finish(ended, voice);
    Ok(ended)
}

fn orders(agent: &CreateAgentReply, audit_only: bool) -> Orders {
    Orders {
        tmpdir: agent.tmpdir.clone(),
        // For anyone but root the policy would else end at the first set-uid program.
        no_new_privs: agent.no_new_privs || !geteuid().is_root(),
        agent: agent.name.clone(),
        banned_calls: agent.banned_calls.clone(),
        record_only: audit_only || agent.mode == "audit",
    }
}

fn what(args: &Args) -> Result<What, Failure> {
    let path = match &args.policy {
        Some(path) => path.clone(),
        None => default_policy()?,
    };
    Ok(What {
        manifest: policy::read(&path)?,
        manifest_path: path,
        name: args.name.clone().unwrap_or_default(),
        command: args.command.clone(),
        audit_only: args.audit_only,
    })
}

/// Only the administrator's: a policy found in the current folder could be the agent's own work.
fn default_policy() -> Result<PathBuf, Failure> {
    let path = Path::new(CONFIG_DIR).join("policies/default.yaml");
    if path.exists() {
        return Ok(path);
    }
    Err(Failure::Usage(format!("no policy: name one with --policy FILE (there is no {})", path.display())))
}
