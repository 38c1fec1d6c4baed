//! The agents' states, mapped into our memory: one aligned store changes one, so that no hook sees
//! half of it, and the kill switch needs no system call.

use std::{
    os::fd::AsFd,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use aegis_common::{limits::MAX_AGENTS, policy::AgentState};
use aya::maps::MapData;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use zerocopy::{FromBytes, IntoBytes};

use super::KernelError;

/// The mapping.
pub struct AgentStates {
    base: NonNull<AtomicU64>,
    length: usize,
    // The mapping keeps the map alive by itself; held for clarity about who owns it.
    _map: MapData,
}

// SAFETY: the mapping is process-wide memory and every access to it is atomic.
unsafe impl Send for AgentStates {}

impl AgentStates {
    /// Maps the `AGENTS` map.
    pub fn map(map: MapData) -> Result<Self, KernelError> {
        let length = MAX_AGENTS as usize * size_of::<AgentState>();
        let size = std::num::NonZeroUsize::new(length).ok_or(KernelError::Slot(0))?;
        // SAFETY: a new shared mapping of a map that was made with BPF_F_MMAPABLE and has this
        // length; nothing else in the process refers to that memory.
        let base = unsafe {
            mmap(
                None,
                size,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                map.fd().as_fd(),
                0,
            )
        }
        .map_err(|error| KernelError::Map {
            action: "map into memory",
            map: "AGENTS",
            detail: error.to_string(),
        })?;
        Ok(Self { base: base.cast(), length, _map: map })
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
        if slot == 0 || slot >= MAX_AGENTS {
            return Err(KernelError::Slot(slot));
        }
        // SAFETY: the slot is inside the mapping, which lives as long as `self`, and an element is
        // eight aligned bytes.
        Ok(unsafe { self.base.add(slot as usize).as_ref() })
    }
}

impl Drop for AgentStates {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`, and no reference into it outlives `self`.
        // A failure would leave a mapping behind in a process that is ending.
        let _ = unsafe { munmap(self.base.cast(), self.length) };
    }
}
