//! Who the current task is to us: nobody, or governed by an image.

use aegis_common::{
    counter::Counter,
    event::reason,
    policy::{agent_flag, image_flag},
};

use crate::read::{connection, packet::Packet, table};

/// A governed task.
#[derive(Clone, Copy)]
pub struct Subject {
    /// Its cgroup.
    pub cgroup: u64,
    /// Its agent's slot.
    pub slot: u32,
    /// Index of the image in force.
    pub image: u32,
    /// `image_flag::*`.
    pub flags: u32,
    /// Generation of the image.
    pub generation: u32,
    /// Serial of the image.
    pub serial: u64,
    /// Levels of the image's path rules.
    pub levels: u64,
    /// `perm::*` granted where no rule matches.
    pub default_perms: u32,
    /// 1 when addresses without a rule are allowed.
    pub default_network: u32,
    /// Capabilities that the policy takes away.
    pub dropped_capabilities: u64,
    /// Number of the rule that does.
    pub capability_rule: u32,
    /// Seconds that an answer holds at least.
    pub least_ttl: u32,
    /// Seconds that it holds at most.
    pub most_ttl: u32,
    /// A reason to deny everything, or 0.
    pub blocked: u8,
}

impl Subject {
    /// The current task, if it is governed. A cgroup that points at an agent or image that is not
    /// in use is governed by a policy that denies everything.
    #[inline(always)]
    pub fn current() -> Option<Self> {
        let cgroup = table::current_cgroup();
        Some(Self::of_slot(cgroup, table::slot_of(cgroup)?))
    }

    /// The same where it is to send: who has sent all that it may sends nothing more.
    #[inline(always)]
    pub fn sender() -> Option<Self> {
        let mut subject = Self::current()?;
        if subject.blocked == 0 && subject.has(image_flag::BYTES_OUT) && connection::is_spent(subject.slot) {
            subject.blocked = reason::BYTES_OUT;
        }
        Some(subject)
    }

    /// Who made the socket of a packet, if that is governed.
    #[inline(always)]
    pub fn of_packet(packet: Packet) -> Option<Self> {
        let cgroup = packet.cgroup();
        let slot = table::slot_of(cgroup)?;
        Some(Self::of_slot(cgroup, slot))
    }

    /// The agent that governs `cgroup`.
    #[inline(always)]
    pub fn of_slot(cgroup: u64, slot: u32) -> Self {
        let mut subject = Self {
            cgroup,
            slot,
            image: 0,
            flags: 0,
            generation: 0,
            serial: 0,
            levels: 0,
            default_perms: 0,
            default_network: 0,
            dropped_capabilities: 0,
            capability_rule: 0,
            least_ttl: 0,
            most_ttl: 0,
            blocked: reason::UNCONFIGURED,
        };
        let Some(state) = table::agent(slot) else { return subject.unconfigured() };
        if state.flags & agent_flag::ACTIVE == 0 {
            return subject.unconfigured();
        }
        subject.image = state.image;
        let Some(image) = table::image(state.image) else { return subject.unconfigured() };
        if image.flags & image_flag::READY == 0 {
            return subject.unconfigured();
        }
        subject.flags = image.flags;
        subject.generation = image.generation;
        subject.serial = image.serial;
        subject.levels = image.levels;
        subject.default_perms = image.default_perms;
        subject.default_network = image.default_network;
        subject.dropped_capabilities = image.dropped_capabilities;
        subject.capability_rule = image.capability_rule;
        subject.least_ttl = image.least_ttl;
        subject.most_ttl = image.most_ttl;
        subject.blocked = if state.flags & agent_flag::KILLED != 0 { reason::KILLED } else { 0 };
        subject
    }

    #[inline(always)]
    fn unconfigured(self) -> Self {
        table::count(Counter::Unconfigured);
        self
    }

    /// Whether the image has a flag.
    #[inline(always)]
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}
