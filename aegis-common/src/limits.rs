//! Bounds that both sides honour.

/// Deepest path the walk follows, in components below the root of its filesystem; deeper is denied.
pub const MAX_DEPTH: u32 = 64;
/// Longest path carried in an event; a longer one is cut and flagged, its verdict is not affected.
pub const MAX_PATH: usize = 4096;
/// Room for one more component behind a full path buffer.
pub const MAX_NAME: usize = 256;
/// Bytes of argv carried in an exec event.
pub const MAX_ARGV: usize = 4096;
/// Agents governed at one time on one host. Slot 0 is never given out.
pub const MAX_AGENTS: u32 = 1024;
/// Policy images held at one time: two for each agent, so that a swap always has room.
pub const MAX_IMAGES: u32 = 2 * MAX_AGENTS;
/// Cgroups governed at one time.
pub const MAX_CGROUPS: u32 = 65_536;
/// Cgroups of agents that ended killed, which are remembered for their sockets.
pub const MAX_CUT: u32 = 16_384;
/// Path rules of all images together.
pub const MAX_PATH_RULES: u32 = 1 << 20;
/// Anchors (directories with a rule at or below them) of all images together.
pub const MAX_ANCHORS: u32 = 1 << 20;
/// Names and positions that globs look up, of all images together.
pub const MAX_GLOB_ENTRIES: u32 = 1 << 17;
/// Places where globs begin, of all images together.
pub const MAX_GLOB_STARTS: u32 = 1 << 17;
/// Inode rules of all images together.
pub const MAX_INODE_RULES: u32 = 1 << 18;
/// Content rules of all images together.
pub const MAX_CONTENT_RULES: u32 = 1 << 14;
/// Contents to which names are pinned, of all images together.
pub const MAX_PINS: u32 = 1 << 14;
/// Arguments that rules name, and ends of argument rules, of all images together each.
pub const MAX_ARGUMENTS: u32 = 1 << 17;
/// Denied variables of all images together, and the known ones.
pub const MAX_VARIABLES: u32 = 1 << 14;
/// Programs that address rules are for, of all images together.
pub const MAX_PROGRAMS: u32 = 1 << 14;
/// Banned system calls of all images together, both entries counted.
pub const MAX_SYSCALL_RULES: u32 = 1 << 16;
/// Keys and System V objects of all agents.
pub const MAX_OBJECTS: u32 = 1 << 14;
/// Address prefixes of all images together.
pub const MAX_NET_PREFIXES: u32 = 1 << 16;
/// Port rules that one address prefix can carry, its covering prefixes' rules included.
pub const MAX_PORT_RULES: usize = 16;
/// Names that rules allow, of all images together.
pub const MAX_NAMES: u32 = 1 << 16;
/// Resolvers of one agent.
pub const RESOLVERS_PER_AGENT: u32 = 8;
/// Resolvers of all images together.
pub const MAX_RESOLVERS: u32 = MAX_IMAGES * RESOLVERS_PER_AGENT;
/// Ends of connections, and beginnings of those that others open, that are recorded of one agent within a second.
pub const ENDS_A_SECOND: u64 = 64;
/// Sets of places that each agent has for questions, and for addresses.
pub const PLACE_SETS: u32 = 1 << 10;
/// Places of a set.
pub const PLACES_PER_SET: u32 = 8;
/// Questions under way, and addresses that are known, of all agents together each.
pub const MAX_PLACES: u32 = 1 << 17;
/// Agents that have a share of the repeat counters to themselves; beyond it, those whose slots are equal modulo
/// this have one together.
pub const REPEAT_SHARES: u32 = 32;
/// Repeat counters of one share.
pub const REPEATS_PER_SHARE: u32 = 1024;
/// Repeat counters.
pub const MAX_REPEATS: u32 = REPEAT_SHARES * REPEATS_PER_SHARE;
/// Size of the event ring in bytes.
pub const RING_BYTES: u32 = 1 << 23;
