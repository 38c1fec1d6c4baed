//! What a slot number in a record stands for. The engine writes it, the pipeline reads it.
//!
//! Knows names, hashes and rule tables. Not a stage: both sides know this table and not each other.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use aegis_policy::RuleTable;

use crate::mountinfo::Mount;

/// A policy image and the rules behind its numbers.
#[derive(Debug)]
pub struct ImageView {
    /// Hex SHA-256 of the image.
    pub sha256: String,
    /// Rules by number.
    pub rules: RuleTable,
}

/// An agent as records name it.
#[derive(Debug)]
pub struct AgentView {
    /// Name.
    pub name: String,
    /// Id of this run.
    pub session: String,
    /// Images by index: the one in force, and those of earlier generations.
    images: RwLock<HashMap<u32, Arc<ImageView>>>,
    /// The mounts that it sees, where they are others than the host's.
    mounts: RwLock<Option<Arc<[Mount]>>>,
    /// Operations that went on.
    pub allowed: AtomicU64,
    /// Operations that were refused.
    pub denied: AtomicU64,
}

impl AgentView {
    /// An agent without images.
    #[must_use]
    pub fn new(name: &str, session: &str) -> Self {
        Self {
            name: name.to_owned(),
            session: session.to_owned(),
            images: RwLock::default(),
            mounts: RwLock::default(),
            allowed: AtomicU64::new(0),
            denied: AtomicU64::new(0),
        }
    }

    /// An image that decides, or did.
    #[must_use]
    pub fn image(&self, index: u32) -> Option<Arc<ImageView>> {
        self.images.read().unwrap_or_else(PoisonError::into_inner).get(&index).cloned()
    }

    /// Makes an image known. To be called before it decides.
    pub fn add_image(&self, index: u32, image: ImageView) {
        self.images.write().unwrap_or_else(PoisonError::into_inner).insert(index, Arc::new(image));
    }

    /// The mounts that it sees, where they are others than the host's.
    #[must_use]
    pub fn mounts(&self) -> Option<Arc<[Mount]>> {
        self.mounts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes known what it sees where.
    pub fn set_mounts(&self, mounts: Vec<Mount>) {
        *self.mounts.write().unwrap_or_else(PoisonError::into_inner) = Some(mounts.into());
    }

    /// Counts recorded decisions.
    pub fn count(&self, denied: bool, times: u64) {
        let counter = if denied { &self.denied } else { &self.allowed };
        counter.fetch_add(times, Ordering::Relaxed);
    }
}

/// Slot -> agent. An agent that ended stays until its slot is given out again: its last records may
/// still be on their way.
#[derive(Debug, Default)]
pub struct Directory(RwLock<HashMap<u32, Arc<AgentView>>>);

impl Directory {
    /// Who has the slot, or had it last.
    #[must_use]
    pub fn agent(&self, slot: u32) -> Option<Arc<AgentView>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&slot).cloned()
    }

    /// Gives the slot to an agent.
    pub fn set(&self, slot: u32, agent: Arc<AgentView>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(slot, agent);
    }
}
