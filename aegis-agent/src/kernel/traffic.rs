//! What went over the agents' sockets, mapped into our memory: read while programs count.

use std::sync::atomic::Ordering;

use aegis_common::{limits::MAX_AGENTS, net::AgentTraffic};
use aya::maps::MapData;
use zerocopy::{FromBytes, IntoBytes};

use super::{KernelError, mapped::Mapped};

const WORDS: usize = size_of::<AgentTraffic>() / size_of::<u64>();

/// The mapping.
pub struct TrafficCounters(Mapped<WORDS>);

impl TrafficCounters {
    /// Maps the `TRAFFIC` map.
    pub fn map(map: MapData) -> Result<Self, KernelError> {
        Mapped::new(map, "TRAFFIC", MAX_AGENTS).map(Self)
    }

    /// What the agent of a slot sent and received.
    pub fn get(&self, slot: u32) -> Result<AgentTraffic, KernelError> {
        let words = self.0.load(slot).ok_or(KernelError::Slot(slot))?;
        AgentTraffic::read_from_bytes(words.as_bytes()).map_err(|_| KernelError::Slot(slot))
    }

    /// Begins anew. To be called while the slot governs no cgroup.
    pub fn forget(&self, slot: u32) -> Result<(), KernelError> {
        let words = self.0.element(slot).ok_or(KernelError::Slot(slot))?;
        words.iter().for_each(|word| word.store(0, Ordering::SeqCst));
        Ok(())
    }
}
