//! Every key of the manifest language, and whether this version enforces it.
//!
//! A key that the language has but this version does not enforce is refused, never skipped: a
//! manifest that loads is enforced as a whole.

/// What a key stands for in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Support {
    /// Enforced.
    Known,
    /// Part of the language, not enforced yet: why, and what to do meanwhile.
    Later(&'static str, &'static str),
}

use Support::{Known, Later};

/// Keys of one mapping.
pub(super) type Keys = &'static [(&'static str, Support)];

pub(super) const TOP: Keys = &[
    ("version", Known),
    ("agent", Known),
    (
        "bind",
        Later(
            "services, containers and cgroups are not bound by themselves",
            "delete `bind` and start the agent with `aegis run --policy FILE -- COMMAND`",
        ),
    ),
    ("mode", Known),
    ("default", Known),
    ("baseline", Known),
    ("permissions", Known),
    (
        "approvals",
        Later(
            "nobody is asked for approval",
            "delete `approvals`; what is not allowed is denied",
        ),
    ),
    ("degraded", Known),
    ("kill", Known),
];

pub(super) const DEGRADED: Keys = &[
    ("audit_full", Known),
    (
        "daemon_down",
        Later(
            "what is loaded stays in force without the daemon, always",
            "delete `daemon_down`",
        ),
    ),
    (
        "dns_down",
        Later(
            "a name that no resolver answers leads nowhere, always",
            "delete `dns_down`",
        ),
    ),
];

pub(super) const AGENT: Keys = &[("name", Known), ("runtime", Known), ("labels", Known)];

pub(super) const PERMISSIONS: Keys = &[
    ("network", Known),
    ("fs", Known),
    ("exec", Known),
    ("syscalls", Known),
    ("process", Known),
    ("execution_time", Known),
    ("memory", Known),
    ("cpu_quota", Known),
    ("pids", Known),
    (
        "rates",
        Later(
            "rates are not counted",
            "delete `rates`; `pids`, `memory` and `cpu_quota` bound what an agent can do at one time",
        ),
    ),
    (
        "budgets",
        Later("budgets are not counted", "delete `budgets`"),
    ),
    (
        "windows",
        Later(
            "time windows are not watched",
            "delete `windows` and start the agent from a timer",
        ),
    ),
    (
        "delegation",
        Later(
            "nested agents are not told apart",
            "delete `delegation`; children stay in the agent's cgroup and under its policy",
        ),
    ),
];

pub(super) const NETWORK: Keys = &[
    ("allow", Known),
    (
        "ask",
        Later(
            "nobody is asked for approval",
            "delete `ask`; what `allow` does not name is denied",
        ),
    ),
    ("deny", Known),
    ("dns", Known),
    ("sni", Known),
    ("listen", Known),
    ("max_bytes_out", Known),
];

pub(super) const DNS: Keys = &[
    ("resolvers", Known),
    ("min_ttl", Known),
    ("max_ttl", Known),
    ("private_answers", Known),
];

/// Keys of one entry under `network.listen`.
pub(super) const LISTEN_ENTRY: Keys = &[("id", Known), ("address", Known), ("port", Known)];

/// Keys of one entry under `network.allow` or `network.deny`.
pub(super) const NETWORK_ENTRY: Keys = &[
    ("id", Known),
    ("host", Known),
    ("cidr", Known),
    ("unix", Known),
    ("ports", Known),
    ("protocol", Known),
    ("sni", Known),
    ("exe", Known),
    (
        "risk",
        Later("nobody is asked for approval", "delete `risk`"),
    ),
];

pub(super) const FS: Keys = &[
    ("read", Known),
    ("write", Known),
    ("deny", Known),
    (
        "ask",
        Later(
            "nobody is asked for approval",
            "delete `ask`; put what must not happen under `deny`",
        ),
    ),
];

/// Keys of one entry under `fs`.
pub(super) const FS_ENTRY: Keys = &[
    ("id", Known),
    ("path", Known),
    (
        "ops",
        Later(
            "single operations are not told apart",
            "delete `ops`: `write` means create, change, rename and delete",
        ),
    ),
    ("over", Later("rates are not counted", "delete `over`")),
    (
        "risk",
        Later("nobody is asked for approval", "delete `risk`"),
    ),
];

pub(super) const EXEC: Keys = &[
    ("allow", Known),
    ("deny", Known),
    ("anonymous", Known),
    ("environment", Known),
    ("write_execute", Known),
];

pub(super) const ENVIRONMENT: Keys = &[("deny", Known)];

/// Keys of one entry under `exec.allow`.
pub(super) const RUN_ENTRY: Keys = &[("id", Known), ("path", Known), ("sha256", Known)];

/// Keys of one entry under `exec.deny`.
pub(super) const BAN_ENTRY: Keys = &[("id", Known), ("path", Known), ("argv", Known)];

pub(super) const PROCESS: Keys = &[
    ("no_new_privileges", Known),
    ("capabilities", Known),
    ("signal_others", Known),
];

pub(super) const CAPABILITIES: Keys = &[("drop", Known)];

pub(super) const SYSCALLS: Keys = &[("deny", Known)];

pub(super) const KILL: Keys = &[("action", Known)];
