//! Every map, by the name under which it is pinned. All are plain types that Linux 6.1 has.

use aegis_common::{
    argument::{ArgumentKey, ArgumentStep},
    counter::COUNTERS as COUNTER_COUNT,
    environment::VariablePrefix,
    glob::{GlobEntry, GlobKey, GlobSet, GlobTable},
    limits,
    net::{AgentTraffic, Connection, Learned, NameKey, NetPrefix, PlaceKey, PortRules, Question, ResolverKey},
    path::{ContentKey, ContentRule, InodeKey, InodeRule, PathKey, PathRule, PinKey},
    policy::{AgentState, Image, SyscallKey},
    repeat::{Repeat, RepeatKey},
};
use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    btf_maps::{InodeStorage, SkStorage},
    macros::{btf_map, map},
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf, lpm_trie::LpmTrie},
};

use crate::read::{memory::Entry, overlay::Lender, packet::Asker, running::{Running, TaskStorage}, scratch::Scratch};

/// Cgroup id to slot. Written by the agent and by the cgroup hooks.
#[map]
pub static CGROUPS: HashMap<u64, u32> = HashMap::pinned(limits::MAX_CGROUPS, BPF_F_NO_PREALLOC);
/// Slot to state. Mapped into the agent's memory, so that a state changes in one store.
#[map]
pub static AGENTS: Array<AgentState> = Array::pinned(limits::MAX_AGENTS, BPF_F_MMAPABLE);
/// Image index to its fixed part.
#[map]
pub static IMAGES: Array<Image> = Array::pinned(limits::MAX_IMAGES, 0);
/// Names.
#[map]
pub static PATH_RULES: HashMap<PathKey, PathRule> =
    HashMap::pinned(limits::MAX_PATH_RULES, BPF_F_NO_PREALLOC);
/// Names at or above which a rule stands.
#[map]
pub static ANCHORS: HashMap<PathKey, u32> = HashMap::pinned(limits::MAX_ANCHORS, BPF_F_NO_PREALLOC);
/// Image index to the automata of its globs.
#[map]
pub static GLOB_TABLES: HashMap<u32, GlobTable> = HashMap::pinned(limits::MAX_IMAGES, BPF_F_NO_PREALLOC);
/// What the automata point at.
#[map]
pub static GLOB_ENTRIES: HashMap<GlobKey, GlobEntry> =
    HashMap::pinned(limits::MAX_GLOB_ENTRIES, BPF_F_NO_PREALLOC);
/// Names where globs begin.
#[map]
pub static GLOB_STARTS: HashMap<PathKey, GlobSet> =
    HashMap::pinned(limits::MAX_GLOB_STARTS, BPF_F_NO_PREALLOC);
/// Files with several names.
#[map]
pub static INODE_RULES: HashMap<InodeKey, InodeRule> =
    HashMap::pinned(limits::MAX_INODE_RULES, BPF_F_NO_PREALLOC);
/// Programs by content.
#[map]
pub static CONTENT_RULES: HashMap<ContentKey, ContentRule> =
    HashMap::pinned(limits::MAX_CONTENT_RULES, BPF_F_NO_PREALLOC);
/// Contents that pinned names may have.
#[map]
pub static PINS: HashMap<PinKey, u32> = HashMap::pinned(limits::MAX_PINS, BPF_F_NO_PREALLOC);
/// Arguments that rules name.
#[map]
pub static ARGUMENT_STEPS: HashMap<ArgumentKey, ArgumentStep> =
    HashMap::pinned(limits::MAX_ARGUMENTS, BPF_F_NO_PREALLOC);
/// Ends of argument rules, and whose they are.
#[map]
pub static ARGUMENT_RULES: HashMap<ArgumentKey, u32> =
    HashMap::pinned(limits::MAX_ARGUMENTS, BPF_F_NO_PREALLOC);
/// Denied variables of the environment, by the number of the rule; known ones, by their bit.
#[map]
pub static VARIABLES: LpmTrie<VariablePrefix, u32> = LpmTrie::pinned(limits::MAX_VARIABLES, 0);
/// Programs that address rules are for, to their view of them.
#[map]
pub static PROGRAMS: HashMap<PathKey, u32> = HashMap::pinned(limits::MAX_PROGRAMS, BPF_F_NO_PREALLOC);
/// Process to the program that it runs. Pinned, so that a new engine knows those that run.
#[btf_map]
pub static RUNNING: TaskStorage<Running> = TaskStorage::new();
/// Banned system calls.
#[map]
pub static SYSCALL_RULES: HashMap<SyscallKey, u32> =
    HashMap::pinned(limits::MAX_SYSCALL_RULES, BPF_F_NO_PREALLOC);
/// Addresses.
#[map]
pub static NET_RULES: LpmTrie<NetPrefix, PortRules> = LpmTrie::pinned(limits::MAX_NET_PREFIXES, 0);
/// Address of a key or System V object to the slot of the agent that it was made in. An evicted entry means that the
/// agent may not use it any more.
#[map]
pub static OBJECTS: LruHashMap<u64, u32> = LruHashMap::pinned(limits::MAX_OBJECTS, 0);
/// Names that may be asked for.
#[map]
pub static NAMES: HashMap<NameKey, PortRules> = HashMap::pinned(limits::MAX_NAMES, BPF_F_NO_PREALLOC);
/// Resolvers that agents ask.
#[map]
pub static RESOLVERS: HashMap<ResolverKey, u32> = HashMap::pinned(limits::MAX_RESOLVERS, BPF_F_NO_PREALLOC);
/// Questions under way.
#[map]
pub static QUESTIONS: HashMap<PlaceKey, Question> = HashMap::pinned(limits::MAX_PLACES, BPF_F_NO_PREALLOC);
/// Addresses that answered names.
#[map]
pub static ADDRESSES: HashMap<PlaceKey, Learned> = HashMap::pinned(limits::MAX_PLACES, BPF_F_NO_PREALLOC);
/// Socket to the resolver that it was last let send to: where its packets go is another matter, behind NAT. It lives as
/// long as the socket. Pinned by the agent: what was connected under an earlier engine still asks.
#[btf_map]
pub static ASKERS: SkStorage<Asker> = SkStorage::new();
/// Counts of losses and failures; see `aegis_common::counter`.
#[map]
pub static COUNTERS: Array<u64> = Array::pinned(COUNTER_COUNT, 0);
/// What outlives an engine; see `aegis_common::policy::engine`.
#[map]
pub static ENGINE: Array<u64> = Array::pinned(aegis_common::policy::engine::LENGTH, 0);
/// Decisions that repeat, to their counters.
#[map]
pub static REPEAT_KEYS: HashMap<RepeatKey, u32> = HashMap::pinned(limits::MAX_REPEATS, BPF_F_NO_PREALLOC);
/// The counters. Mapped into the agent's memory: a counter is read while programs count.
#[map]
pub static REPEATS: Array<Repeat> = Array::pinned(limits::MAX_REPEATS, BPF_F_MMAPABLE);
/// The records themselves.
#[map]
pub static EVENTS: RingBuf = RingBuf::pinned(limits::RING_BYTES, 0);

/// An exec under way: how many checks by sleepable programs it needs, and how many it passed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ExecProgress {
    /// Checks due to the files that reached `bprm_check_security`.
    pub due: u32,
    /// Checks done.
    pub done: u32,
}
/// Thread to its exec under way. An evicted entry denies that exec.
#[map]
pub static EXECS: LruHashMap<u64, ExecProgress> = LruHashMap::with_max_entries(8192, 0);

/// Thread to the superblock of the overlay that it was let through on last. An evicted entry can make what the
/// overlay does for it next be denied.
#[map]
pub static ENTERED: LruHashMap<u64, u64> = LruHashMap::with_max_entries(8192, 0);
/// Address of credentials to the overlay that acts with them. What stands here is proven again at each use.
#[map]
pub static LENDERS: LruHashMap<u64, Lender> = LruHashMap::with_max_entries(1024, 0);
/// Process to its start, once its making code of written memory was recorded. An evicted entry means that it
/// is recorded again.
#[map]
pub static CODE_WRITERS: LruHashMap<u32, u64> = LruHashMap::with_max_entries(4096, 0);

/// What was allowed on a file; it lives as long as the file's inode is in memory. Not pinned: a new engine's
/// programs begin without.
#[btf_map]
pub static KNOWN_FILES: InodeStorage<Entry> = InodeStorage::new();

/// Slot to what went over the agent's sockets. Mapped into the agent's memory.
#[map]
pub static TRAFFIC: Array<AgentTraffic> = Array::pinned(limits::MAX_AGENTS, BPF_F_MMAPABLE);

/// Cgroups of agents that ended killed: their sockets send nothing more. An evicted one's do, if there still are any.
#[map]
pub static CUT: LruHashMap<u64, u32> = LruHashMap::pinned(limits::MAX_CUT, 0);

/// Connections of agents. Pinned, so that one is looked at whichever engine saw it begin.
#[btf_map]
pub static CONNECTIONS: SkStorage<Connection> = SkStorage::new();

/// How many dentries [`SEEN`] tells apart.
pub const SEEN_DENTRIES: u32 = 4096;
/// The dentry and image of the last walk in each place: an entry costs more than a walk, so it is made when a
/// file is walked to for the second time. A hint: whatever it says, no verdict depends on it.
#[map]
pub static SEEN: Array<u64> = Array::with_max_entries(SEEN_DENTRIES, 0);

/// Slots of scratch memory on each CPU: hooks can be preempted, so one is not enough.
pub const SCRATCH_SLOTS: u32 = 4;
/// Room to decide and to build a record in.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(SCRATCH_SLOTS, 0);
