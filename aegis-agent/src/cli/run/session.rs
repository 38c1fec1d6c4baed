//! The agent as the daemon knows it: made, entered, ended.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::unistd::Pid;
use tonic::{Code, Response, Status, transport::Channel};

use super::{
    signals::Signals,
    supervise::Ended,
    voice::Voice,
};
use crate::{
    cli::{client::Client, failure::Failure},
    escape,
    proto::control::{
        AdmitRequest, CreateAgentReply, CreateAgentRequest, FinishRequest, StatusRequest,
        control_client::ControlClient,
    },
};

/// Making an agent reads and hashes what its policy names.
const CREATE: Duration = Duration::from_secs(180);
const ADMIT: Duration = Duration::from_secs(30);
/// Ending an agent waits for what it left behind to die.
const FINISH: Duration = Duration::from_secs(60);
/// How long a daemon that is not there at the end is waited for: a restart, not an outage.
const RETURN: Duration = Duration::from_secs(2);
/// How often signals are looked for while the daemon is asked.
const LOOK: Duration = Duration::from_millis(50);
/// A transient engine that ends with its last agent can end just as it is asked for the next one.
const ATTEMPTS: u32 = 4;

/// What is to run.
#[derive(Debug)]
pub struct What {
    /// The policy as it stands in the file.
    pub manifest: Vec<u8>,
    /// The file, for messages.
    pub manifest_path: PathBuf,
    /// Name of the agent, empty for the manifest's.
    pub name: String,
    /// The command.
    pub command: Vec<OsString>,
    /// Whether nothing is to be denied.
    pub audit_only: bool,
}

/// An agent that lives.
#[derive(Debug)]
pub struct Session {
    socket: PathBuf,
    client: Client,
    agent: CreateAgentReply,
}

impl Session {
    /// Has the daemon make the agent, `prepare` the child for it, and the daemon put the child into it.
    ///
    /// # Errors
    /// What the daemon answered, or [`Failure::Signal`] when we were asked to end meanwhile.
    pub fn begin(
        socket: &Path,
        what: &What,
        child: Pid,
        signals: &Signals,
        ensure: impl Fn() -> Result<PathBuf, Failure>,
        prepare: &mut dyn FnMut(&CreateAgentReply) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let (client, agent) = create(socket, what, signals, ensure)?;
        let mut session = Self { socket: socket.to_path_buf(), client, agent };
        if what.audit_only {
            session.check_enforces_nothing()?;
        }
        if let Err(failure) = prepare(&session.agent) {
            session.give_up(&failure);
            return Err(failure);
        }
        let pid = child.as_raw().unsigned_abs();
        let request = AdmitRequest { session: session.agent.session.clone(), pid };
        let admitted = session.ask(ADMIT, signals, async |control| control.admit(request).await);
        match admitted {
            Ok(_) => Ok(session),
            Err(failure) => {
                session.give_up(&failure);
                Err(failure)
            }
        }
    }

    /// Nothing may be called unenforced that is not: a person who was told so relies on it.
    fn check_enforces_nothing(&mut self) -> Result<(), Failure> {
        if self.agent.mode != "enforce" {
            return Ok(());
        }
        let status = self.client.ask(ADMIT, async |control| control.status(StatusRequest {}).await);
        let failure = match status {
            Ok(status) if !status.enforcing => return Ok(()),
            Ok(_) => Failure::Broken(
                "the daemon would enforce this policy although --audit-only was given: leave the option out, or write `mode: audit` in the policy".to_owned(),
            ),
            Err(failure) => failure,
        };
        self.give_up(&failure);
        Err(failure)
    }

    /// What the daemon said of the agent.
    #[must_use]
    pub const fn agent(&self) -> &CreateAgentReply {
        &self.agent
    }

    /// Says what the person must know before the command runs.
    pub fn announce(&self, voice: Voice, audit_only: bool) {
        let agent = &self.agent;
        for warning in &agent.warnings {
            voice.say(warning);
        }
        if audit_only {
            voice.say(&format!("agent {} is recorded, and may do whatever its user may", agent.name));
        }
    }

    /// Tells the daemon how the command ended, and the person when it was not by itself. The
    /// command's exit code stands, whatever happens here.
    pub fn finish(&mut self, ended: Ended, voice: Voice) {
        let (exit_code, exit_signal) = match ended {
            Ended::Exited(code) => (code, 0),
            Ended::Signaled(signal) => (0, (signal as i32).unsigned_abs()),
        };
        let request = FinishRequest { session: self.agent.session.clone(), exit_code, exit_signal };
        let name = escape::text(&self.agent.name);
        match self.tell_the_end(&request) {
            Ok(ended_by) => match ended_by.as_str() {
                "" => {}
                "kill" => voice.say(&format!("agent {name} was ended by aegis kill")),
                "execution_time" => voice.say(&format!("agent {name} was ended: its execution_time is used up")),
                other => voice.say(&format!("agent {name} was ended: {other}")),
            },
            // A daemon that came back has found the agent's cgroup empty and ended it already.
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => voice.say(&format!(
                "agent {name} has ended, but the daemon could not be told ({}); it stayed governed to its end, and the \
                 daemon will find it gone when it is back",
                status.message()
            )),
        }
    }

    /// The daemon may have been restarted since we last asked: the connection of then is no good now,
    /// and a new daemon may be about to open its socket.
    fn tell_the_end(&mut self, request: &FinishRequest) -> Result<String, Status> {
        let until = Instant::now() + RETURN;
        loop {
            let question = request.clone();
            let status = match self.client.try_ask(FINISH, async |control| control.finish(question).await) {
                Ok(reply) => return Ok(reply.ended_by),
                Err(status) => status,
            };
            if !is_gone(&status) || Instant::now() > until {
                return Err(status);
            }
            thread::sleep(LOOK);
            match Client::connect(&self.socket) {
                Ok(client) => self.client = client,
                Err(Failure::NotRunning(_)) => {}
                Err(failure) => return Err(Status::unavailable(failure.to_string())),
            }
        }
    }

    /// Nothing ran. The daemon clears up at once when it is told, else when it finds the cgroup empty.
    fn give_up(&mut self, failure: &Failure) {
        let exit_signal = if let Failure::Signal(number) = failure { number.unsigned_abs() } else { 0 };
        let session = self.agent.session.clone();
        let request = FinishRequest { session, exit_code: i32::from(super::OWN_FAILURE), exit_signal };
        let _ = self.client.try_ask(FINISH, async |control| control.finish(request).await);
    }

    fn ask<T>(
        &mut self,
        patience: Duration,
        signals: &Signals,
        question: impl AsyncFnOnce(&mut ControlClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        interruptible(&mut self.client, patience, signals, question)?.map_err(|status| Failure::refused(&status))
    }
}

fn create(
    socket: &Path,
    what: &What,
    signals: &Signals,
    ensure: impl Fn() -> Result<PathBuf, Failure>,
) -> Result<(Client, CreateAgentReply), Failure> {
    let request = CreateAgentRequest {
        name: what.name.clone(),
        manifest: what.manifest.clone(),
        manifest_path: String::from_utf8_lossy(what.manifest_path.as_os_str().as_bytes()).into_owned(),
        argv: what.command.iter().cloned().map(OsString::into_vec).collect(),
        audit_only: what.audit_only,
    };
    let mut socket = socket.to_path_buf();
    for attempt in 1.. {
        let answer = match Client::connect(&socket) {
            Ok(mut client) => {
                let question = request.clone();
                interruptible(&mut client, CREATE, signals, async |control| control.create_agent(question).await)?
                    .map(|agent| (client, agent))
            }
            Err(Failure::NotRunning(text)) => Err(Status::unavailable(text)),
            Err(failure) => return Err(failure),
        };
        match answer {
            Ok(begun) => return Ok(begun),
            Err(status) if attempt < ATTEMPTS && never_arrived(&status) => socket = ensure()?,
            Err(status) => return Err(Failure::refused(&status)),
        }
    }
    Err(Failure::NotRunning("the daemon ends whenever it is asked".to_owned()))
}

/// Whether nobody answers any more. A connection that broke comes as `Unknown` from the transport.
fn is_gone(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled)
}

/// Only a request that no daemon took may be repeated: else there would be two agents.
fn never_arrived(status: &Status) -> bool {
    status.code() == Code::Unavailable
}

/// Asks, and looks for signals meanwhile: a request to end comes through even when the daemon hangs.
fn interruptible<T>(
    client: &mut Client,
    patience: Duration,
    signals: &Signals,
    question: impl AsyncFnOnce(&mut ControlClient<Channel>) -> Result<Response<T>, Status>,
) -> Result<Result<T, Status>, Failure> {
    client.wait(async |control| {
        let answer = tokio::time::timeout(patience, question(control));
        tokio::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return Ok(match answer {
                    Ok(answer) => answer.map(Response::into_inner),
                    Err(_) => Err(Status::deadline_exceeded("no answer in time")),
                }),
                () = tokio::time::sleep(LOOK) => {}
            }
            while let Some(arrived) = signals.next()? {
                if arrived.ends() {
                    return Err(Failure::Signal(arrived.signal as i32));
                }
            }
        }
    })
}
