//! A scenario as data: what is staged, what is tried, what must come of it outside and inside an
//! agent. Reading and checking only; nothing here runs anything.

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most scenarios that may say of a try that it is open today.
pub const MOST_KNOWN_OPEN: usize = 5;

/// Why a folder of scenarios can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    #[error("{path}: {source}; give --dir the folder that holds the scenarios")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Parse { path: PathBuf, source: Box<toml::de::Error> },
    #[error("{path}: {what}")]
    Invalid { path: PathBuf, what: String },
    #[error("{count} scenarios hold a try that is known to be open, {MOST_KNOWN_OPEN} at most may: close one first")]
    TooManyOpen { count: usize },
    #[error("{dir}: no scenario in it")]
    Empty { dir: PathBuf },
}

/// How much of what takes long is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Extent {
    /// A little of it.
    #[default]
    Sample,
    /// A tenth.
    Tenth,
    /// All of it.
    Whole,
}

impl Extent {
    /// As scenarios are told in `$EXTENT`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Tenth => "tenth",
            Self::Whole => "whole",
        }
    }
}

/// Who the act runs as.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum User {
    /// uid 0 with all capabilities.
    Root,
    /// uid 1000 without any.
    Agent,
}

impl User {
    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Agent => "agent",
        }
    }

    /// User id.
    pub const fn uid(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::Agent => 1000,
        }
    }

    /// Arguments to put before a command so that it runs as this user.
    pub const fn prefix(self) -> &'static [&'static str] {
        match self {
            Self::Root => &[],
            Self::Agent => &["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups"],
        }
    }
}

/// Where the act runs.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Once outside, as the control, and once inside an agent.
    #[default]
    Agent,
    /// Once, outside: the act is an operator's script that starts agents itself.
    Operator,
}

/// One text or several that are as good.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl From<OneOrMore> for Vec<String> {
    fn from(value: OneOrMore) -> Self {
        match value {
            OneOrMore::One(one) => vec![one],
            OneOrMore::More(more) => more,
        }
    }
}

fn one_or_more<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    OneOrMore::deserialize(d).map(Into::into)
}

fn ok() -> Vec<String> {
    vec!["ok".to_owned()]
}

fn both_users() -> Vec<User> {
    vec![User::Root, User::Agent]
}

const fn default_timeout() -> u64 {
    60
}

/// What a scenario claims on one kernel series instead.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Result inside the agent there.
    #[serde(deserialize_with = "one_or_more")]
    pub inside: Vec<String>,
    /// Why this kernel differs.
    pub why: String,
}

/// One thing the act tries.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Try {
    /// As the act prints it; no blanks.
    pub name: String,
    /// Result outside the agent: the control.
    #[serde(default = "ok", deserialize_with = "one_or_more")]
    pub outside: Vec<String>,
    /// Result inside the agent.
    #[serde(alias = "expect", deserialize_with = "one_or_more")]
    pub inside: Vec<String>,
    /// Event it leaves: keys as in the JSON (`op`, `path`, ... are short for those of the kind).
    pub event: Option<toml::Table>,
    /// Set while the attack still succeeds: why, and what will close it.
    pub known_open: Option<String>,
    /// Other claims, by kernel series.
    #[serde(default)]
    pub kernels: BTreeMap<String, Override>,
    /// Only tried as these users (an act can ask for its uid).
    #[serde(default = "both_users")]
    pub users: Vec<User>,
}

impl Try {
    /// Result that is asserted inside the agent on this kernel.
    pub fn inside_on(&self, kernel: &str) -> &[String] {
        if self.known_open.is_some() {
            return &self.outside;
        }
        self.kernels.get(kernel).map_or(&self.inside, |o| &o.inside)
    }

    /// Event that is asserted on this kernel: none where the attack succeeds.
    pub fn event_on(&self, kernel: &str) -> Option<&toml::Table> {
        if self.known_open.is_some() || self.kernels.contains_key(kernel) { None } else { self.event.as_ref() }
    }
}

/// A look at the world after the act, from outside.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// What it looks at, for the report.
    pub what: String,
    /// Shell script; its output is compared.
    pub probe: String,
    /// Output after the act ran outside; `*` stands for anything.
    #[serde(default)]
    pub outside: Option<String>,
    /// Output after the act ran inside.
    #[serde(alias = "expect")]
    pub inside: String,
}

/// One scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its file's path below the folder, without `.toml`.
    pub id: String,
    /// What is tried, in a few words.
    pub title: String,
    /// What passing shows, in one line.
    pub doc: String,
    /// Numbers in the list of attacks; empty for what is no attack.
    #[serde(default)]
    pub attacks: Vec<String>,
    /// Where the act runs.
    #[serde(default)]
    pub kind: Kind,
    /// Users it runs as, each a case of its own.
    #[serde(default = "both_users")]
    pub users: Vec<User>,
    /// Those of them in all but the full suite.
    #[serde(default)]
    pub brief_users: Option<Vec<User>>,
    /// Kernels that it runs on in all but the full suite; every one without it.
    #[serde(default)]
    pub brief_kernels: Option<Vec<String>>,
    /// Manifest of the agent, or `@NAME` for a shipped one; `lib/standard.yaml` when left out.
    pub manifest: Option<String>,
    /// Files beside the scenario (or in `lib/`) that are put into `$T/prog`.
    #[serde(default)]
    pub programs: Vec<String>,
    /// Built once for all runs: file in `$T/prog` by the command that writes it to `$OUT`.
    #[serde(default)]
    pub build: BTreeMap<String, String>,
    /// Shell script that stages the world, as root, outside.
    #[serde(default)]
    pub setup: String,
    /// Shell script that takes away what the setup left outside `$T`.
    #[serde(default)]
    pub cleanup: String,
    /// Servers outside, whose catch is `$T/received`: `tcp ADDR`, `udp ADDR`, `unix PATH`, `unix-dgram PATH`,
    /// `abstract NAME`.
    #[serde(default)]
    pub serve: Vec<String>,
    /// The command that tries, in words separated by blanks.
    pub act: String,
    /// Run it on a terminal.
    #[serde(default)]
    pub tty: bool,
    /// Seconds until it counts as hung.
    #[serde(default = "default_timeout")]
    pub timeout: u64,
    /// The same in the full suite, where the act does more.
    #[serde(default)]
    pub full_timeout: Option<u64>,
    /// Shell scripts that run outside when the act asks (`@step NAME`); `@daemon-kill` and
    /// `@daemon-start` are built in.
    #[serde(default)]
    pub steps: BTreeMap<String, String>,
    /// Program that the events name, where it is not the act's own.
    pub exe: Option<String>,
    /// Rule that every denial of the scenario names, unless its event says otherwise.
    pub rule: Option<String>,
    /// No denial at all may be recorded: honest work.
    #[serde(default)]
    pub quiet: bool,
    /// What the act tries.
    #[serde(rename = "try")]
    pub tries: Vec<Try>,
    /// What is looked at afterwards.
    #[serde(default)]
    pub world: Vec<Probe>,
}

impl Scenario {
    /// Whether some try of it is open today.
    pub fn is_open(&self) -> bool {
        self.tries.iter().any(|t| t.known_open.is_some())
    }

    /// Tries made as this user.
    pub fn tries_as(&self, user: User) -> impl Iterator<Item = &Try> {
        self.tries.iter().filter(move |t| t.users.contains(&user))
    }

    /// Users it runs as.
    pub fn users_in(&self, extent: Extent) -> &[User] {
        self.brief_users.as_deref().filter(|_| extent == Extent::Sample).unwrap_or(&self.users)
    }

    /// Whether it runs on this kernel.
    pub fn runs_on(&self, kernel: &str, extent: Extent) -> bool {
        let some = self.brief_kernels.as_ref().filter(|_| extent == Extent::Sample);
        some.is_none_or(|kernels| kernels.iter().any(|one| one == kernel))
    }

    /// Time after which the act counts as hung.
    pub fn limit(&self, extent: Extent) -> Duration {
        Duration::from_secs(self.full_timeout.filter(|_| extent != Extent::Sample).unwrap_or(self.timeout))
    }

    fn check(&self, id: &str) -> Result<(), String> {
        if self.id != id {
            return Err(format!("id is {:?}, its place says {id:?}", self.id));
        }
        if self.title.trim().is_empty() || self.doc.trim().is_empty() || self.doc.contains('\n') {
            return Err("title and doc are one line each".to_owned());
        }
        let brief = self.users_in(Extent::Sample);
        if brief.is_empty() || brief.iter().any(|user| !self.users.contains(user)) {
            return Err("brief_users are one or more of its users".to_owned());
        }
        if self.brief_kernels.as_ref().is_some_and(Vec::is_empty) {
            return Err("brief_kernels are one or more kernels".to_owned());
        }
        if self.users.is_empty() || self.tries.is_empty() || self.act.trim().is_empty() {
            return Err("a scenario needs users, an act and at least one try".to_owned());
        }
        let mut names = BTreeSet::new();
        for one in &self.tries {
            if one.name.is_empty() || one.name.contains(char::is_whitespace) {
                return Err(format!("try {:?}: a name without blanks is needed", one.name));
            }
            if !names.insert(&one.name) {
                return Err(format!("try {:?} is there twice", one.name));
            }
        }
        if self.kind == Kind::Operator {
            return Ok(());
        }
        self.check_meaning()
    }

    /// An agent's scenario must be able to fail: it needs an act that works outside and is refused
    /// inside (or is honest work, or only recorded), and an event to go with each refusal.
    fn check_meaning(&self) -> Result<(), String> {
        for one in &self.tries {
            let refused = one.inside != one.outside;
            if refused && one.event.is_none() && one.known_open.is_none() {
                return Err(format!("try {:?} is refused inside and names no event", one.name));
            }
            let control = one.name.starts_with("allowed");
            if !refused && one.event.is_none() && one.known_open.is_none() && one.inside != ok() && !control {
                return Err(format!("try {:?} shows nothing: the same result in both places, and no event", one.name));
            }
        }
        if !self.tries.iter().any(|t| t.inside == t.outside) {
            return Err("nothing is allowed inside: an agent that can't do anything at all would pass".to_owned());
        }
        if let Some(probe) = self.world.iter().find(|p| p.outside.is_none()) {
            return Err(format!("probe {:?} says nothing of the control", probe.what));
        }
        Ok(())
    }
}

/// Reads all scenarios below `dir`, in the order of their ids, and checks them.
///
/// # Errors
/// The first file that can't be read or is wrong; too many that are known to be open.
pub fn load(dir: &Path) -> Result<Vec<Scenario>, ScenarioError> {
    let mut files = Vec::new();
    walk(dir, &mut files)?;
    files.sort();
    let mut scenarios = Vec::with_capacity(files.len());
    for path in files {
        let text = std::fs::read_to_string(&path).map_err(|source| ScenarioError::Read { path: path.clone(), source })?;
        let scenario: Scenario = toml::from_str(&text)
            .map_err(|source| ScenarioError::Parse { path: path.clone(), source: Box::new(source) })?;
        let place = path.strip_prefix(dir).unwrap_or(&path).with_extension("");
        scenario.check(&place.to_string_lossy()).map_err(|what| ScenarioError::Invalid { path, what })?;
        scenarios.push(scenario);
    }
    if scenarios.is_empty() {
        return Err(ScenarioError::Empty { dir: dir.to_owned() });
    }
    let count = scenarios.iter().filter(|s| s.is_open()).count();
    if count > MOST_KNOWN_OPEN {
        return Err(ScenarioError::TooManyOpen { count });
    }
    Ok(scenarios)
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), ScenarioError> {
    let read = |source| ScenarioError::Read { path: dir.to_owned(), source };
    for entry in std::fs::read_dir(dir).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "scenario_tests.rs"]
mod tests;
