//! What the engine asks of the kernel side. [`crate::kernel::Kernel`] answers it; tests answer it with
//! a table.

use aegis_common::{counter::Counter, net::AgentTraffic, policy::AgentState};
use aegis_policy::CompiledImage;

use crate::kernel::{HookState, Origin};

/// Why the kernel side refused; its text says what to do.
pub type PortError = Box<dyn std::error::Error + Send + Sync>;

/// One hook, as status shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Name.
    pub name: String,
    /// Whether it is attached.
    pub attached: bool,
    /// Why not.
    pub detail: String,
    /// Instructions the verifier walked.
    pub verified_instructions: u64,
}

/// The kernel side.
pub trait KernelPort: Send {
    /// Whether maps of an earlier engine were found and taken over.
    fn adopted(&self) -> bool;
    /// Key of the path hash.
    fn hash_key(&self) -> [u64; 2];
    /// Fills an image, complete last.
    ///
    /// # Errors
    /// It is not in force and must be removed.
    fn install(&mut self, image: &CompiledImage) -> Result<(), PortError>;
    /// Removes an image and all its rules.
    ///
    /// # Errors
    /// Some of it is still there.
    fn remove_image(&mut self, index: u32) -> Result<(), PortError>;
    /// Replaces an agent's state in one store.
    ///
    /// # Errors
    /// It is as it was.
    fn set_agent(&mut self, slot: u32, state: AgentState) -> Result<(), PortError>;
    /// Forgets which names an agent has asked for, and which addresses answered.
    ///
    /// # Errors
    /// Some of it is still there.
    fn forget_names(&mut self, slot: u32) -> Result<(), PortError>;
    /// What an agent sent and received.
    ///
    /// # Errors
    /// It cannot be read.
    fn traffic(&self, slot: u32) -> Result<AgentTraffic, PortError>;
    /// Forgets it, before the slot is given to another one.
    ///
    /// # Errors
    /// It is still there.
    fn forget_traffic(&mut self, slot: u32) -> Result<(), PortError>;
    /// An agent's state.
    ///
    /// # Errors
    /// It cannot be read.
    fn agent(&self, slot: u32) -> Result<AgentState, PortError>;
    /// Keys and System V objects made in an agent are nobody's any more.
    ///
    /// # Errors
    /// Some may still be those of the next agent with this slot.
    fn disown_objects(&mut self, slot: u32) -> Result<(), PortError>;
    /// Governs a cgroup and, from here on, every child it gets.
    ///
    /// # Errors
    /// It is not governed.
    fn bind_cgroup(&mut self, cgroup: u64, slot: u32) -> Result<(), PortError>;
    /// Governs it no longer.
    ///
    /// # Errors
    /// It may still be.
    fn unbind_cgroup(&mut self, cgroup: u64) -> Result<(), PortError>;
    /// The sockets of a slot's cgroups send nothing more once they are governed no longer.
    ///
    /// # Errors
    /// They may still.
    fn cut(&mut self, slot: u32) -> Result<(), PortError>;
    /// All governed cgroups and their slots.
    ///
    /// # Errors
    /// They cannot be read.
    fn cgroups(&self) -> Result<Vec<(u64, u32)>, PortError>;
    /// What was lost, what failed.
    ///
    /// # Errors
    /// They cannot be read.
    fn counters(&self) -> Result<Vec<(Counter, u64)>, PortError>;
    /// State of each hook.
    fn hooks(&self) -> Vec<Hook>;
    /// Takes everything out of the kernel: nothing is governed after it.
    ///
    /// # Errors
    /// Something is still attached.
    fn detach_all(self: Box<Self>) -> Result<(), PortError>;
}

impl KernelPort for crate::kernel::Kernel {
    fn adopted(&self) -> bool {
        *self.origin() != Origin::New
    }

    fn hash_key(&self) -> [u64; 2] {
        Self::hash_key(self)
    }

    fn install(&mut self, image: &CompiledImage) -> Result<(), PortError> {
        Ok(Self::install(self, image)?)
    }

    fn remove_image(&mut self, index: u32) -> Result<(), PortError> {
        Ok(Self::remove_image(self, index)?)
    }

    fn set_agent(&mut self, slot: u32, state: AgentState) -> Result<(), PortError> {
        Ok(Self::set_agent(self, slot, state)?)
    }

    fn forget_names(&mut self, slot: u32) -> Result<(), PortError> {
        Ok(Self::forget_names(self, slot)?)
    }

    fn traffic(&self, slot: u32) -> Result<AgentTraffic, PortError> {
        Ok(Self::traffic(self, slot)?)
    }

    fn forget_traffic(&mut self, slot: u32) -> Result<(), PortError> {
        Ok(Self::forget_traffic(self, slot)?)
    }

    fn agent(&self, slot: u32) -> Result<AgentState, PortError> {
        Ok(Self::agent(self, slot)?)
    }

    fn disown_objects(&mut self, slot: u32) -> Result<(), PortError> {
        Ok(Self::disown_objects(self, slot)?)
    }

    fn bind_cgroup(&mut self, cgroup: u64, slot: u32) -> Result<(), PortError> {
        Ok(Self::bind_cgroup(self, cgroup, slot)?)
    }

    fn unbind_cgroup(&mut self, cgroup: u64) -> Result<(), PortError> {
        Ok(Self::unbind_cgroup(self, cgroup)?)
    }

    fn cut(&mut self, slot: u32) -> Result<(), PortError> {
        Ok(Self::cut(self, slot)?)
    }

    fn cgroups(&self) -> Result<Vec<(u64, u32)>, PortError> {
        Ok(Self::cgroups(self)?)
    }

    fn counters(&self) -> Result<Vec<(Counter, u64)>, PortError> {
        Ok(Self::counters(self)?)
    }

    fn hooks(&self) -> Vec<Hook> {
        let hooks = Self::hooks(self).into_iter().map(|hook| {
            let (attached, detail) = match hook.state {
                HookState::Attached => (true, String::new()),
                HookState::Unavailable(why) => (false, why),
            };
            let verified_instructions = u64::from(hook.verified_instructions);
            Hook { name: hook.name.to_owned(), attached, detail, verified_instructions }
        });
        hooks.collect()
    }

    fn detach_all(self: Box<Self>) -> Result<(), PortError> {
        Ok((*self).detach_all()?)
    }
}
