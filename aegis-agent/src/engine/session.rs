//! One run of one agent: what the engine keeps of it, and what of that outlives the engine.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use aegis_common::policy::{AgentState, agent_flag};
use aegis_policy::policy::{KillAction, Limits, Mode};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{cgroup::Pressure, host::Host, process::ProcessId, tmpdir::TmpDir};
use crate::{directory::AgentView, proto::event::Event};

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing was admitted yet.
    Created,
    /// It runs.
    Running,
    /// The kill switch holds it.
    Killed,
    /// It is being ended: whoever set this does it.
    Ending,
}

impl State {
    /// As status shows it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Killed => "killed",
            Self::Ending => "ending",
        }
    }
}

/// Who ended it, when it did not end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The kill switch.
    Kill,
    /// Its time was over.
    ExecutionTime,
}

impl EndedBy {
    /// As the reply says it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::ExecutionTime => "execution_time",
        }
    }
}

/// The part of a session that a new engine needs to take it over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saved {
    /// Version of this file.
    pub version: u32,
    /// Name.
    pub name: String,
    /// Id of the run.
    pub session: String,
    /// Slot in the kernel's tables.
    pub slot: u32,
    /// Image in the kernel's tables.
    pub image_index: u32,
    /// Generation of the policy.
    pub generation: u32,
    /// Hex SHA-256 of the image.
    pub image: String,
    /// Folder of the cgroup.
    pub cgroup: PathBuf,
    /// Id of the cgroup.
    pub cgroup_id: u64,
    /// TMPDIR.
    pub tmpdir: TmpDir,
    /// The manifest.
    pub manifest: Encoded,
    /// Its name, for messages.
    pub manifest_path: String,
    /// What was added to it for this run.
    #[serde(flatten)]
    pub added: Added,
    /// Who made it.
    pub uid: u32,
    /// The process that made it.
    pub client: ProcessId,
    /// Whether its paths mean something else to it than to the daemon.
    #[serde(default)]
    pub own_view: bool,
    /// Start, nanoseconds since boot.
    pub started: u64,
    /// Start, nanoseconds since the Unix epoch.
    pub started_unix: u64,
    /// Whether the kernel holds it to its policy.
    pub enforced: bool,
    /// Who has ended it.
    pub ended_by: Option<EndedBy>,
}

/// What holds for one run, beside the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// Rules: id, path, permissions.
    pub runtime_rules: Vec<RuntimeRule>,
    /// Whom the agent asks for names.
    #[serde(default)]
    pub resolvers: Vec<IpAddr>,
}

/// A rule that holds for one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeRule {
    /// Stable id.
    pub id: String,
    /// Where.
    pub path: String,
    /// `perm::*` granted.
    pub allow: u8,
    /// `perm::*` denied.
    pub deny: u8,
}

/// Bytes that a file holds in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Encoded(pub Vec<u8>);

impl TryFrom<String> for Encoded {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        STANDARD.decode(text).map(Self)
    }
}

impl From<Encoded> for String {
    fn from(bytes: Encoded) -> Self {
        STANDARD.encode(bytes.0)
    }
}

/// Version of [`Saved`].
const VERSION: u32 = 1;

impl Saved {
    /// Version to be written.
    pub const VERSION: u32 = VERSION;

    fn file(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.json", self.session))
    }

    /// Writes it: after this, an engine that dies leaves an agent that can be taken over.
    ///
    /// # Errors
    /// It is not written; an earlier one is whole.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        use io::Write as _;
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        let name = self.file(folder);
        let new = name.with_extension("new");
        let mut file = fs::File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, &name)?;
        fs::File::open(folder)?.sync_all()
    }

    /// Removes the file.
    ///
    /// # Errors
    /// It is still there.
    pub fn remove(&self, folder: &Path) -> io::Result<()> {
        match fs::remove_file(self.file(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// All that are there. One that cannot be read is an error with its name: it is not passed over.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn read_all(folder: &Path) -> io::Result<Vec<Result<Self, String>>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|e| e != "json") {
                continue;
            }
            let read = fs::read(&path).map_err(|e| e.to_string());
            let saved = read.and_then(|t| serde_json::from_slice::<Self>(&t).map_err(|e| e.to_string()));
            let saved = saved.and_then(|s| {
                if s.version == VERSION { Ok(s) } else { Err(format!("version {} is not {VERSION}", s.version)) }
            });
            all.push(saved.map_err(|e| format!("{}: {e}", path.display())));
        }
        Ok(all)
    }
}

/// A session of this engine.
#[derive(Clone, Debug)]
pub struct Session {
    /// What outlives the engine.
    pub saved: Saved,
    /// What its paths mean.
    pub host: Host,
    /// Where it is.
    pub state: State,
    /// Enforce or audit.
    pub mode: Mode,
    /// Bounds.
    pub limits: Limits,
    /// Whether set-uid programs give nothing, for root too.
    pub no_new_privileges: bool,
    /// System calls that the policy bans.
    pub banned_calls: Vec<String>,
    /// What the kill switch does behind the flag.
    pub kill: KillAction,
    /// Name of the policy.
    pub policy: String,
    /// As records name it.
    pub view: Arc<AgentView>,
    /// Whether a task has been in the cgroup.
    pub populated: bool,
    /// Since when it has had none again.
    pub empty_since: Option<Instant>,
    /// Limits reached, as last told.
    pub pressure: Pressure,
}

impl Session {
    /// Its state in the kernel's tables while nothing is wrong.
    #[must_use]
    pub const fn agent_state(&self) -> AgentState {
        AgentState { flags: agent_flag::ACTIVE, image: self.saved.image_index }
    }

    /// How long it has run.
    #[must_use]
    pub fn age(&self) -> Duration {
        Duration::from_nanos(crate::clock::boottime().saturating_sub(self.saved.started))
    }

    /// An entry about it, with nothing in it yet.
    #[must_use]
    pub fn event(&self) -> Event {
        Event {
            agent: self.saved.name.clone(),
            session: self.saved.session.clone(),
            generation: self.saved.generation,
            image: self.saved.image.clone(),
            ..Event::default()
        }
    }
}

/// `enforce` or `audit`.
#[must_use]
pub const fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Audit => "audit",
    }
}
