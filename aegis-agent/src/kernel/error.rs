//! What can go wrong between the agent and the kernel, and what to do about it.

use std::{io, path::PathBuf};

use super::memory::HIDDEN;

/// An error of the kernel side.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The agent was built without its kernel programs.
    #[error("this aegisd was built without its kernel programs: build it with `cargo xtask build`")]
    NoObject,
    /// The kernel would load the programs and never call them.
    #[error(
        "BPF is not among the active security modules ({0}): programs would load and decide nothing; boot with `bpf` in \
         the list of `lsm=`, see `aegis doctor`"
    )]
    LsmInactive(String),
    /// Where packets are looked at.
    #[error("cgroup v2 is needed to look at packets: {path}: {source}")]
    Cgroups {
        /// What was looked for.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The cgroup of agents was removed.
    #[error("{0} was removed, and with it what looks at agents' packets: restart aegisd")]
    AgentsCgroup(PathBuf),
    /// Agents are governed that this engine does not see.
    #[error(
        "the agents that are governed are in another cgroup than {0}, as in a container with a cgroup namespace of its own: start          aegisd where the one before ran"
    )]
    OtherAgents(PathBuf),
    /// The kernel would call the programs, but not always.
    #[error("programs would not see every operation: {0}")]
    HooksSkipped(String),
    /// The pin folder is not on a bpffs.
    #[error("{0} is not on a bpf filesystem: mount one with `mount -t bpf bpf /sys/fs/bpf`")]
    NotBpffs(PathBuf),
    /// A pin can't be made, moved or removed.
    #[error("cannot {action} the pin {path}: {source}; run as root, or look at `aegis doctor`")]
    Pin {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The pinned maps are of another version.
    #[error(
        "the maps pinned at {path} are of ABI {found}, this aegisd speaks {ours}: end the governed agents with the aegisd \
         that started them, then start this one"
    )]
    Abi {
        /// Where the maps are.
        path: PathBuf,
        /// Their ABI.
        found: u64,
        /// Ours.
        ours: u16,
    },
    /// Kernel type information is missing or lacks something.
    #[error("{what}: {detail}; Aegis needs a kernel with CONFIG_DEBUG_INFO_BTF, see `aegis doctor`")]
    Btf {
        /// What was looked for.
        what: String,
        /// What happened.
        detail: String,
    },
    /// The object can't be loaded.
    #[error("cannot load the kernel programs: {0}")]
    Load(String),
    /// A program can't be loaded or attached.
    #[error("cannot {action} the program for {hook}: {detail}; see `aegis doctor`")]
    Program {
        /// What was tried.
        action: &'static str,
        /// For which hook.
        hook: &'static str,
        /// What the kernel said.
        detail: String,
    },
    /// A map can't be read or changed.
    #[error("cannot {action} the map {map}: {detail}")]
    Map {
        /// What was tried.
        action: &'static str,
        /// Which map.
        map: &'static str,
        /// What the kernel said.
        detail: String,
    },
    /// The kernel does not say when its hooks have left an image.
    #[error("cannot wait for the hooks to leave a policy: {0}; the system call membarrier must be allowed to aegisd")]
    Quiesce(io::Error),
    /// The policy has argument rules, which can't be enforced here.
    #[error("the arguments of programs can't be read: {HIDDEN}")]
    Arguments,
    /// No such slot.
    #[error("there is no agent slot {0}")]
    Slot(u32),
    /// The ring has one reader.
    #[error("the event ring was already taken")]
    RingTaken,
    /// No randomness.
    #[error("the system gave no random key: {0}")]
    Random(String),
}
