//! The fixed names: where state, run-time files, pins and configuration live.
//!
//! Knows names only. Nothing here opens or makes a file.

use std::path::{Path, PathBuf};

/// Durable state: the log, its key, the index.
pub const STATE_DIR: &str = "/var/lib/aegis";
/// Run-time state, gone with a reboot: socket, lock, running agents.
pub const RUN_DIR: &str = "/run/aegis";
/// Configuration and policies.
pub const CONFIG_DIR: &str = "/etc/aegis";
/// Pinned maps and links.
pub const PIN_DIR: &str = "/sys/fs/bpf/aegis";
/// Name of the group whose members may use the control socket.
pub const GROUP: &str = "aegis";
/// Name of the folder of governed cgroups below the cgroup mount.
pub const CGROUP: &str = "aegis";

/// The folders of one engine. Tests move them; a host has one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// See [`STATE_DIR`].
    pub state: PathBuf,
    /// See [`RUN_DIR`].
    pub run: PathBuf,
    /// See [`PIN_DIR`].
    pub pins: PathBuf,
}

impl Default for Layout {
    fn default() -> Self {
        Self { state: STATE_DIR.into(), run: RUN_DIR.into(), pins: PIN_DIR.into() }
    }
}

impl Layout {
    /// The layout below other folders.
    #[must_use]
    pub fn new(state: impl Into<PathBuf>, run: impl Into<PathBuf>) -> Self {
        Self { state: state.into(), run: run.into(), ..Self::default() }
    }

    /// Control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run.join("aegisd.sock")
    }

    /// Held by the one engine of a host.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.run.join("aegisd.lock")
    }

    /// One file a running agent: what a new engine needs to take it over.
    #[must_use]
    pub fn agents(&self) -> PathBuf {
        self.run.join("agents")
    }

    /// Segments of the audit log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.state.join("log")
    }

    /// Signing key of the audit log.
    #[must_use]
    pub fn log_key(&self) -> PathBuf {
        self.state.join("log.key")
    }

    /// Witnesses of the audit log, and how many of them are asked for (C2SP tlog-policy).
    #[must_use]
    pub fn witnesses() -> PathBuf {
        Path::new(CONFIG_DIR).join("witnesses.policy")
    }

    /// Index of the audit log.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.state.join("index.sqlite")
    }
}

/// The layout's folders as text, for messages.
#[must_use]
pub fn show(path: &Path) -> String {
    path.display().to_string()
}
