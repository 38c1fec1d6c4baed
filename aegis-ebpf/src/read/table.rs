//! Look-ups in the maps, as plain values.

use aegis_common::{
    argument::{ArgumentKey, ArgumentStep},
    counter::Counter,
    environment::VariablePrefix,
    glob::{GlobEntry, GlobKey, GlobSet, GlobTable},
    net::{MAPPED_BITS, MAPPED_PREFIX, NetPrefix, PortRule, PortRules},
    path::{ContentKey, ContentRule, InodeKey, InodeRule, PathKey, PathRule, PinKey},
    policy::{AgentState, Image, RULE_DEFAULT, SyscallKey, agent_flag, engine, image_flag},
};
use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::generated::{bpf_get_current_cgroup_id, bpf_get_current_pid_tgid},
    maps::lpm_trie,
};

use super::{fetch_add, kernel::Task, overlay::Lender};
use crate::maps::{
    AGENTS, ANCHORS, ARGUMENT_RULES, ARGUMENT_STEPS, CGROUPS, CODE_WRITERS, CONTENT_RULES, COUNTERS, CUT, ENGINE, ENTERED,
    EXECS, ExecProgress, GLOB_ENTRIES, GLOB_STARTS, GLOB_TABLES, IMAGES, INODE_RULES, LENDERS, NET_RULES, OBJECTS,
    PATH_RULES, PINS, PROGRAMS, SYSCALL_RULES, VARIABLES,
};

/// Adds one to a counter.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: `value` points at a live map value.
        unsafe { fetch_add(value, 1) };
    }
}

/// The next sequence number, from 1.
#[inline(always)]
pub fn next_sequence() -> u64 {
    ENGINE.get_ptr_mut(engine::SEQUENCE).map_or(0, |value| {
        // SAFETY: `value` points at a live map value.
        unsafe { fetch_add(value, 1) }.wrapping_add(1)
    })
}

/// Cgroup of the current task.
#[inline(always)]
pub fn current_cgroup() -> u64 {
    // SAFETY: the helper has no arguments.
    unsafe { bpf_get_current_cgroup_id() }
}

/// Process and thread id of the current task, in the initial namespace.
#[inline(always)]
pub fn current_ids() -> u64 {
    // SAFETY: the helper has no arguments.
    unsafe { bpf_get_current_pid_tgid() }
}

/// Slot that governs a cgroup.
#[inline(always)]
pub fn slot_of(cgroup: u64) -> Option<u32> {
    // SAFETY: the map is not preallocated: a removed element is not reused while we read it.
    unsafe { CGROUPS.get(&cgroup) }.copied()
}

/// Lets `slot` govern a cgroup; on failure raises the agent's kill flag, since a cgroup that should
/// be governed is not.
#[inline(always)]
pub fn govern(cgroup: u64, slot: u32) {
    if CGROUPS.insert(&cgroup, &slot, u64::from(BPF_ANY)).is_err() {
        count(Counter::InheritFailed);
        if let Some(state) = AGENTS.get_ptr_mut(slot) {
            // SAFETY: `state` points at a live map value; the agent writes it whole, and a flag
            // lost to such a write would be raised again by the next failure.
            unsafe { (*state).flags |= agent_flag::KILLED };
        }
    }
}

/// Forgets a cgroup that is gone.
#[inline(always)]
pub fn forget(cgroup: u64) {
    // A cgroup that was never governed is not in the map.
    let _ = CGROUPS.remove(&cgroup);
}

/// Whether nothing more is sent of what is left of a cgroup's sockets.
#[inline(always)]
pub fn is_cut(cgroup: u64) -> bool {
    CUT.get_ptr(&cgroup).is_some()
}

/// State of an agent.
#[inline(always)]
pub fn agent(slot: u32) -> Option<&'static AgentState> {
    AGENTS.get(slot)
}

/// Fixed part of an image.
#[inline(always)]
pub fn image(index: u32) -> Option<&'static Image> {
    IMAGES.get(index)
}

/// Whether what an image allows is refused where it can't be recorded.
#[inline(always)]
pub fn wants_records(index: u32) -> bool {
    image(index).is_some_and(|image| image.flags & image_flag::RECORD_OR_DENY != 0)
}

/// Rule at a name.
#[inline(always)]
pub fn path_rule(key: &PathKey) -> Option<PathRule> {
    // SAFETY: as for `slot_of`.
    unsafe { PATH_RULES.get(key) }.copied()
}

/// Whether a rule stands at or below a name.
#[inline(always)]
pub fn holds_rule(key: &PathKey) -> bool {
    ANCHORS.get_ptr(key).is_some()
}

/// The automata of an image's globs, if it has globs.
#[inline(always)]
pub fn glob_table(index: u32) -> Option<&'static GlobTable> {
    if image(index)?.flags & image_flag::GLOBS == 0 {
        return None;
    }
    // SAFETY: as for `slot_of`.
    unsafe { GLOB_TABLES.get(&index) }
}

/// What the automata point at.
#[inline(always)]
pub fn glob(key: &GlobKey) -> Option<&'static GlobEntry> {
    // SAFETY: as for `slot_of`.
    unsafe { GLOB_ENTRIES.get(key) }
}

/// Positions in which globs wait from a name on.
#[inline(always)]
pub fn glob_starts(key: &PathKey) -> Option<&'static GlobSet> {
    // SAFETY: as for `slot_of`.
    unsafe { GLOB_STARTS.get(key) }
}

/// Rule on a file whatever its name.
#[inline(always)]
pub fn inode_rule(key: &InodeKey) -> Option<InodeRule> {
    // SAFETY: as for `slot_of`.
    unsafe { INODE_RULES.get(key) }.copied()
}

/// What holds for a content.
#[inline(always)]
pub fn content_rule(image: u32, sha256: &[u8; 32]) -> ContentRule {
    let key = ContentKey { image, reserved: 0, sha256: *sha256 };
    // SAFETY: as for `slot_of`.
    unsafe { CONTENT_RULES.get(&key) }.copied().unwrap_or_default()
}

/// Whether a pinned name may have a content.
#[inline(always)]
pub fn is_pinned(key: &PinKey) -> bool {
    PINS.get_ptr(key).is_some()
}

/// Where an argument stands in the rules of an image.
#[inline(always)]
pub fn argument_step(image: u32, hash: u64) -> Option<ArgumentStep> {
    let key = ArgumentKey { image, reserved: 0, value: hash };
    // SAFETY: as for `slot_of`.
    unsafe { ARGUMENT_STEPS.get(&key) }.copied()
}

/// Of several argument rules that fit, given by their ends, the first.
#[inline(always)]
pub fn argument_rule(image: u32, ends: u64) -> u32 {
    let key = ArgumentKey { image, reserved: 0, value: ends & ends.wrapping_neg() };
    // SAFETY: as for `slot_of`.
    unsafe { ARGUMENT_RULES.get(&key) }.copied().unwrap_or(RULE_DEFAULT)
}

/// What is said of a variable of the environment, by the longest prefix: a rule, or the bit of a known one.
#[inline(always)]
pub fn variable(key: &lpm_trie::Key<VariablePrefix>) -> Option<u32> {
    VARIABLES.get(key).copied()
}

/// Rule that bans a system call.
#[inline(always)]
pub fn syscall_rule(key: &SyscallKey) -> Option<u32> {
    // SAFETY: as for `slot_of`.
    unsafe { SYSCALL_RULES.get(key) }.copied()
}

/// The port rule that decides about an address, if any.
#[inline(always)]
pub fn port_rule(image: u32, address: [u8; 16], port: u16, protocol: u8) -> Option<PortRule> {
    let key = lpm_trie::Key::new(
        aegis_common::net::IMAGE_BITS + 128,
        NetPrefix { image: image.to_be_bytes(), address },
    );
    port_rule_of(NET_RULES.get(&key)?, port, protocol)
}

/// The view of the address rules that the program at a name has.
#[inline(always)]
pub fn program_view(key: &PathKey) -> Option<u32> {
    // SAFETY: the map is not preallocated: a removed element is not reused while we read it.
    unsafe { PROGRAMS.get(key) }.copied()
}

/// The rule by which may be listened at an address, if any.
#[inline(always)]
pub fn listen_rule(image: u32, address: [u8; 16], port: u16, protocol: u8) -> Option<PortRule> {
    port_rule(image | NetPrefix::LISTEN, address, port, protocol)
}

/// The first of some rules that speaks of a port.
#[inline(always)]
pub fn port_rule_of(rules: &PortRules, port: u16, protocol: u8) -> Option<PortRule> {
    let mut index = 0;
    while index < rules.rules.len() {
        if index as u32 >= rules.count {
            return None;
        }
        let rule = rules.rules[index];
        if (rule.protocol == 0 || rule.protocol == protocol) && rule.first <= port && port <= rule.last
        {
            return Some(rule);
        }
        index += 1;
    }
    None
}

/// An IPv4 address in the form that rules have.
#[inline(always)]
pub fn mapped(ipv4: [u8; 4]) -> [u8; 16] {
    const _: () = assert!(MAPPED_BITS == 96);
    let mut address = [0u8; 16];
    address[10] = MAPPED_PREFIX[10];
    address[11] = MAPPED_PREFIX[11];
    address[12] = ipv4[0];
    address[13] = ipv4[1];
    address[14] = ipv4[2];
    address[15] = ipv4[3];
    address
}

/// Begins the record of an exec.
#[inline(always)]
pub fn begin_exec() {
    let _ = EXECS.remove(&current_ids());
}

/// Notes checks of this exec that are due, or done.
#[inline(always)]
pub fn note_exec(due: u32, done: u32) {
    let thread = current_ids();
    let before = EXECS.get_ptr(&thread).map_or(ExecProgress { due: 0, done: 0 }, |entry| {
        // SAFETY: the entry belongs to the current thread, which is here.
        unsafe { *entry }
    });
    let after = ExecProgress {
        due: before.due.wrapping_add(due),
        done: before.done.wrapping_add(done),
    };
    // A failed insert leaves the exec without its proof: it is denied at the end.
    let _ = EXECS.insert(&thread, &after, u64::from(BPF_ANY));
}

/// Ends the record of an exec: true when all checks that were due were done.
#[inline(always)]
pub fn exec_was_checked() -> bool {
    let thread = current_ids();
    let complete = EXECS.get_ptr(&thread).is_some_and(|entry| {
        // SAFETY: as for `note_exec`.
        let progress = unsafe { *entry };
        progress.due > 0 && progress.done >= progress.due
    });
    let _ = EXECS.remove(&thread);
    complete
}

/// Superblock of the overlay that the current thread was let through on last; 0 for none.
#[inline(always)]
pub fn entered_overlay() -> u64 {
    // SAFETY: the entry is the current thread's, which is here.
    ENTERED.get_ptr(&current_ids()).map_or(0, |superblock| unsafe { *superblock })
}

/// Notes it.
#[inline(always)]
pub fn enter_overlay(superblock: u64) {
    if entered_overlay() != superblock {
        // A failed insert can make what the overlay does for the thread be denied.
        let _ = ENTERED.insert(&current_ids(), &superblock, u64::from(BPF_ANY));
    }
}

/// Forgets it.
#[inline(always)]
pub fn leave_overlay() {
    let _ = ENTERED.remove(&current_ids());
}

/// What is known of credentials.
#[inline(always)]
pub fn lender(credentials: u64) -> Option<Lender> {
    // SAFETY: an entry that is replaced meanwhile is proven like any other.
    LENDERS.get_ptr(&credentials).map(|lender| unsafe { *lender })
}

/// Notes it.
#[inline(always)]
pub fn set_lender(credentials: u64, lender: &Lender) {
    // A failed insert is found out anew, or denied.
    let _ = LENDERS.insert(&credentials, lender, u64::from(BPF_ANY));
}

/// Forgets it.
#[inline(always)]
pub fn forget_lender(credentials: u64) {
    let _ = LENDERS.remove(&credentials);
}

/// Slot of the agent that the object at an address was made in.
#[inline(always)]
pub fn owner(address: u64) -> Option<u32> {
    // SAFETY: four bytes. An entry that is replaced meanwhile is of an object that is gone.
    unsafe { OBJECTS.get(&address) }.copied()
}

/// Notes it.
#[inline(always)]
pub fn own(address: u64, slot: u32) {
    if OBJECTS.insert(&address, &slot, u64::from(BPF_ANY)).is_err() {
        // The object that had the address before may have been another agent's.
        disown(address);
    }
}

/// No agent's object is at an address any more.
#[inline(always)]
pub fn disown(address: u64) {
    // Most have no entry.
    let _ = OBJECTS.remove(&address);
}

/// Whether this program of the current process makes code of written memory for the first time, as far as
/// that is known.
#[inline(always)]
pub fn first_code_written() -> bool {
    let process = Task::current();
    let (tgid, start) = (process.tgid(), process.leader().start());
    // SAFETY: as for `note_exec`: a number that its own process writes.
    unsafe { CODE_WRITERS.get(&tgid) }.is_none_or(|known| *known != start)
}

/// That it did was recorded.
#[inline(always)]
pub fn note_code_written() {
    let process = Task::current();
    // A failed insert means that it is recorded again.
    let _ = CODE_WRITERS.insert(&process.tgid(), &process.leader().start(), u64::from(BPF_ANY));
}

/// The current process begins another program.
#[inline(always)]
pub fn forget_code_written() {
    // Most have none.
    let _ = CODE_WRITERS.remove(&Task::current().tgid());
}
