//! The agents' states, mapped into our memory: one aligned store changes one, so that no hook sees
//! half of it, and the kill switch needs no system call.

use std::sync::atomic::{AtomicU64, Ordering};

use aegis_common::{limits::MAX_AGENTS, policy::AgentState};
use aya::maps::MapData;
use zerocopy::{FromBytes, IntoBytes};

use super::{KernelError, mapped::Mapped};

/// The mapping.
pub struct AgentStates(Mapped<1>);

impl AgentStates {
    /// Maps the `AGENTS` map.
    pub fn map(map: MapData) -> Result<Self, KernelError> {
        const { assert!(size_of::<AgentState>() == size_of::<u64>()) };
        Mapped::new(map, "AGENTS", MAX_AGENTS).map(Self)
    }

    /// An agent's state.
    pub fn get(&self, slot: u32) -> Result<AgentState, KernelError> {
        let bytes = self.at(slot)?.load(Ordering::SeqCst).to_ne_bytes();
        AgentState::read_from_bytes(&bytes).map_err(|_| KernelError::Slot(slot))
    }

    /// Replaces an agent's state.
    pub fn set(&self, slot: u32, state: AgentState) -> Result<(), KernelError> {
        let mut bytes = [0u8; 8];
        bytes.copy_from_slice(state.as_bytes());
        self.at(slot)?.store(u64::from_ne_bytes(bytes), Ordering::SeqCst);
        Ok(())
    }

    fn at(&self, slot: u32) -> Result<&AtomicU64, KernelError> {
        let [state] = (slot != 0).then(|| self.0.element(slot)).flatten().ok_or(KernelError::Slot(slot))?;
        Ok(state)
    }
}
