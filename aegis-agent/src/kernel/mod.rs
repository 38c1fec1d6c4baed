//! The kernel side of the agent: load, attach, pin, fill the maps, read the ring.
//!
//! Knows: aya, BTF, bpffs. Must not know: manifests, agents' names, the log.
//! Architecture invariant: nothing else in the agent imports aya or calls bpf().

mod agents_cgroup;
pub mod doctor;
mod error;
mod kept;
mod load;
mod mapped;
mod memory;
mod offsets;
mod pin;
mod programs;
mod quiesce;
mod repeats;
mod ring;
mod states;
mod tables;
mod traffic;

use std::path::PathBuf;

use aegis_common::{
    counter::Counter,
    net::AgentTraffic,
    policy::{AgentState, image_flag},
};
use aegis_policy::CompiledImage;

pub use error::KernelError;
pub use programs::{HookState, HookStatus};
pub use repeats::RepeatCounters;
pub use ring::EventRing;

/// How an engine is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder on a bpffs for maps and links.
    pub pin_dir: PathBuf,
    /// Name of the cgroup, below the mount, in which all agents are.
    pub cgroup: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self { pin_dir: PathBuf::from("/sys/fs/bpf/aegis"), cgroup: "aegis" }
    }
}

/// What an engine finds in the kernel, and makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing: programs and tables are new.
    New,
    /// An engine of this build: its tables and its programs, which stay in force.
    Kept,
    /// An engine whose tables are taken over and whose programs are replaced, and why.
    Replaced(String),
}

/// Programs attached and maps open. Dropping it leaves both pinned: enforcement goes on.
pub struct Kernel {
    pins: pin::Pins,
    agents: agents_cgroup::AgentsCgroup,
    tables: tables::Tables,
    states: states::AgentStates,
    traffic: traffic::TrafficCounters,
    hooks: Vec<HookStatus>,
    hash_key: [u64; 2],
    origin: Origin,
    /// Whether the arguments of a program can be read before it begins.
    reads_arguments: bool,
    ring: Option<(EventRing, RepeatCounters)>,
}

/// How many programs the pins of an earlier engine hold in force.
#[must_use]
pub fn pinned_programs(options: &Options) -> usize {
    pin::in_force(&options.pin_dir)
}

impl Kernel {
    /// Loads the programs, attaches them, and pins links and maps. Maps that an earlier engine left
    /// are taken over with all they hold. Its programs stay if they are the very same; else they leave when ours are in force.
    ///
    /// # Errors
    /// Where the kernel takes no such program, where the pins are of another ABI, or where a
    /// required program does not load. Nothing new stays attached then.
    pub fn start(options: &Options) -> Result<Self, KernelError> {
        let pins = pin::Pins::open(&options.pin_dir)?;
        load::load(pins, agents_cgroup::AgentsCgroup::open(options.cgroup)?)
    }

    /// What was in the kernel before.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Key of the path hash.
    #[must_use]
    pub fn hash_key(&self) -> [u64; 2] {
        self.hash_key
    }

    /// Programs and their state.
    #[must_use]
    pub fn hooks(&self) -> Vec<HookStatus> {
        self.hooks.clone()
    }

    /// Fills an image: all its rules first, the image itself, which makes it valid, last.
    ///
    /// # Errors
    /// When a map is full; what was inserted is removed again. When the image has argument rules and
    /// arguments can't be read on this host.
    pub fn install(&mut self, image: &CompiledImage) -> Result<(), KernelError> {
        if image.image.flags & (image_flag::ARGUMENTS | image_flag::ENVIRONMENT) != 0 && !self.reads_arguments {
            return Err(KernelError::Arguments);
        }
        self.tables.install(image)
    }

    /// Removes an image and all its rules, once no hook can still be reading it.
    ///
    /// # Errors
    /// When a map can't be read or changed.
    pub fn remove_image(&mut self, index: u32) -> Result<(), KernelError> {
        quiesce::wait_for_hooks()?;
        self.tables.remove_image(index)
    }

    /// Sets an agent's state, in one aligned store: this is the kill switch.
    ///
    /// # Errors
    /// When there is no such slot.
    pub fn set_agent(&mut self, slot: u32, state: AgentState) -> Result<(), KernelError> {
        self.states.set(slot, state)
    }

    /// Forgets which names the agent of a slot has asked for, and which addresses answered.
    ///
    /// # Errors
    /// When a map can't be read or changed.
    pub fn forget_names(&mut self, slot: u32) -> Result<(), KernelError> {
        self.tables.forget_names(slot)
    }

    /// What an agent sent and received.
    ///
    /// # Errors
    /// When there is no such slot.
    pub fn traffic(&self, slot: u32) -> Result<AgentTraffic, KernelError> {
        self.traffic.get(slot)
    }

    /// Forgets what the agent of a slot sent and received. To be called before the slot governs a cgroup.
    ///
    /// # Errors
    /// When there is no such slot.
    pub fn forget_traffic(&mut self, slot: u32) -> Result<(), KernelError> {
        self.traffic.forget(slot)
    }

    /// An agent's state.
    ///
    /// # Errors
    /// When there is no such slot.
    pub fn agent(&self, slot: u32) -> Result<AgentState, KernelError> {
        self.states.get(slot)
    }

    /// What was made in an agent is nobody's any more: its slot may be given to another one.
    ///
    /// # Errors
    /// When the map can't be read or changed.
    pub fn disown_objects(&mut self, slot: u32) -> Result<(), KernelError> {
        self.tables.disown_objects(slot)
    }

    /// Lets a slot govern a cgroup, which is below that of all agents.
    ///
    /// # Errors
    /// When the map is full, and where its packets would not be looked at.
    pub fn bind_cgroup(&mut self, cgroup: u64, slot: u32) -> Result<(), KernelError> {
        self.agents.check()?;
        self.tables.bind_cgroup(cgroup, slot)
    }

    /// Lets a cgroup go. One that is not governed is no error.
    ///
    /// # Errors
    /// When the map can't be changed.
    pub fn unbind_cgroup(&mut self, cgroup: u64) -> Result<(), KernelError> {
        self.tables.unbind_cgroup(cgroup)
    }

    /// The sockets of a slot's cgroups send nothing more once they are governed no longer.
    ///
    /// # Errors
    /// When the map can't be read or changed.
    pub fn cut(&mut self, slot: u32) -> Result<(), KernelError> {
        self.tables.cut(slot)
    }

    /// Every governed cgroup and its slot.
    ///
    /// # Errors
    /// When the map can't be read.
    pub fn cgroups(&self) -> Result<Vec<(u64, u32)>, KernelError> {
        self.tables.cgroups()
    }

    /// All counters.
    ///
    /// # Errors
    /// When the map can't be read.
    pub fn counters(&self) -> Result<Vec<(Counter, u64)>, KernelError> {
        self.tables.counters()
    }

    /// The ring of records and what counts their repetitions; they can be taken once.
    ///
    /// # Errors
    /// When it was taken before.
    pub fn take_ring(&mut self) -> Result<(EventRing, RepeatCounters), KernelError> {
        self.ring.take().ok_or(KernelError::RingTaken)
    }

    /// Detaches every program and removes every pin: nothing is governed any more.
    ///
    /// # Errors
    /// When a pin can't be removed.
    pub fn detach_all(self) -> Result<(), KernelError> {
        self.pins.remove_all()
    }
}
