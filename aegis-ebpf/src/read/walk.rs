//! From a dentry to the rules on its path.
//!
//! Up along `d_parent` to the root, noting each name; then down again, hashing the chain and
//! looking up each level that has rules. Both are `bpf_loop`s: unrolled, they would exceed the
//! verifier's budget. The chain is walked once more at the end: a dentry whose sequence counter
//! moved was renamed meanwhile, and the walk is void.

use core::ffi::c_void;

use aegis_common::{
    hash::PathHasher,
    limits::{MAX_DEPTH, MAX_NAME, MAX_PATH},
    path::PathKey,
};
use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_kernel};

use super::{
    hash_key,
    kernel::Dentry,
    scratch::{BYTES, Claim, Found, SPILL, Scratch, WalkState},
    table,
};

/// How a walk ended: numbers, since they lie in map memory.
pub mod outcome {
    /// At the root, with nothing moved.
    pub const WHOLE: u32 = 0;
    /// Deeper than the walk goes.
    pub const TOO_DEEP: u32 = 1;
    /// At a dentry that is not the root of its filesystem.
    pub const DISCONNECTED: u32 = 2;
    /// Something was renamed meanwhile.
    pub const CHANGED: u32 = 3;
    /// A name could not be read.
    pub const UNREAD: u32 = 4;
}

const DEPTH_MASK: usize = MAX_DEPTH as usize - 1;
const NAME_MASK: u32 = MAX_NAME as u32 - 1;
const POSITION_MASK: usize = BYTES - 1;

#[repr(C)]
struct Climb {
    dentry: Dentry,
    scratch: *mut Scratch,
}

#[repr(C)]
struct Descent {
    scratch: *mut Scratch,
    hasher: PathHasher,
}

#[repr(C)]
struct Words {
    hasher: PathHasher,
    name: *const u8,
    length: u32,
}

/// One component up; ends at the root.
extern "C" fn climb(index: u64, climb: *mut Climb) -> i64 {
    // SAFETY: `bpf_loop` hands back the context it was given, alive for the time of the call.
    let climb = unsafe { &mut *climb };
    let dentry = climb.dentry;
    let parent = dentry.parent();
    // SAFETY: the scratch slot is live and claimed.
    let walk = unsafe { &mut (*climb.scratch).walk };
    let sequence = dentry.sequence();
    // Bit 31 remembers that some counter was odd: a rename under way.
    walk.sequence = (walk.sequence.wrapping_add(sequence) & 0x7fff_ffff)
        | (walk.sequence & 0x8000_0000)
        | (sequence << 31);
    if parent.is(dentry) {
        return 1;
    }
    let at = index as usize & DEPTH_MASK;
    // SAFETY: `at` is below MAX_DEPTH.
    unsafe {
        *walk.names.as_mut_ptr().add(at) = dentry.name();
        *walk.lengths.as_mut_ptr().add(at) = dentry.name_len();
    }
    walk.depth = index as u32 + 1;
    climb.dentry = parent;
    0
}

/// The same chain again, for its sequence counters alone.
extern "C" fn recheck(_index: u64, climb: *mut Climb) -> i64 {
    // SAFETY: as for `climb`.
    let climb = unsafe { &mut *climb };
    let dentry = climb.dentry;
    let parent = dentry.parent();
    // SAFETY: as for `climb`.
    let walk = unsafe { &mut (*climb.scratch).walk };
    walk.sequence = walk.sequence.wrapping_sub(dentry.sequence()) & 0x7fff_ffff;
    if parent.is(dentry) {
        return 1;
    }
    climb.dentry = parent;
    0
}

/// Eight bytes of a name.
#[inline(always)]
unsafe fn word_at(name: *const u8, offset: u32, length: u32) -> u64 {
    // SAFETY: the caller's: `offset` is within the name, and eight bytes behind it are within the
    // record's spill.
    let word = unsafe { name.add(offset as usize).cast::<u64>().read_unaligned() };
    let rest = length - offset;
    if rest < 8 { word & ((1u64 << ((rest & 7) * 8)) - 1) } else { word }
}

extern "C" fn hash_word(index: u64, words: *mut Words) -> i64 {
    // SAFETY: as for `climb`.
    let words = unsafe { &mut *words };
    // The first two words were hashed without a call.
    let offset = (index as u32 & 31) * 8 + 16;
    if offset >= words.length || offset > NAME_MASK {
        return 1;
    }
    // SAFETY: `offset` is below `length`, which is at most 255.
    let word = unsafe { word_at(words.name, offset, words.length) };
    words.hasher.word(word);
    0
}

#[inline(always)]
fn look_up(walk: &mut WalkState, hasher: PathHasher, level: u32) {
    if (walk.levels >> (level & 63)) & 1 == 0 {
        return;
    }
    let found = &mut walk.found;
    let key = PathKey { image: walk.image, dev: found.dev, hash: hasher.finish() };
    let Some(rule) = table::path_rule(&key) else { return };
    let (allow, deny) = (u32::from(rule.allow), u32::from(rule.deny));
    if deny & found.wanted != 0 && found.deny & found.wanted == 0 {
        found.deny_rule = rule.deny_rule;
    }
    if allow & found.wanted != 0 {
        found.allow_rule = rule.allow_rule;
        found.rule_flags = u32::from(rule.flags);
    }
    found.allow |= allow;
    found.deny |= deny;
}

/// One component down: copies its name into the record, hashes it, looks it up.
extern "C" fn descend(index: u64, descent: *mut Descent) -> i64 {
    // SAFETY: as for `climb`.
    let descent = unsafe { &mut *descent };
    let index = index as u32;
    let scratch = descent.scratch;
    // SAFETY: as for `climb`.
    let walk = unsafe { &mut (*scratch).walk };
    if index >= walk.depth {
        return 1;
    }
    let at = (walk.depth - 1 - index) as usize & DEPTH_MASK;
    // SAFETY: `at` is below MAX_DEPTH.
    let (from, length) =
        unsafe { (*walk.names.as_ptr().add(at), *walk.lengths.as_ptr().add(at) & NAME_MASK) };
    // SAFETY: the record is live.
    let bytes = unsafe { (&raw mut (*scratch).record.bytes).cast::<u8>() };
    let position = walk.found.end;
    let fits = walk.found.cut == 0 && position + length < walk.limit;
    // SAFETY: the mask keeps the position below BYTES, and a name is shorter than MAX_NAME.
    let name = unsafe {
        if fits {
            let place = bytes.add(position as usize & POSITION_MASK);
            *place = b'/';
            walk.found.end = position + 1 + length;
            place.add(1)
        } else {
            walk.found.cut = 1;
            bytes.add(SPILL - 8)
        }
    };
    // SAFETY: `length` is at most 255; both places have room for that and eight bytes more.
    if unsafe { bpf_probe_read_kernel(name.cast(), length, from as *const c_void) } != 0 {
        walk.unread = 1;
        return 1;
    }
    let mut words = Words { hasher: descent.hasher, name, length };
    words.hasher.word(u64::from(length));
    if length > 0 {
        // SAFETY: as for `hash_word`.
        words.hasher.word(unsafe { word_at(name, 0, length) });
    }
    if length > 8 {
        // SAFETY: as for `hash_word`.
        words.hasher.word(unsafe { word_at(name, 8, length) });
    }
    if length > 16 {
        // SAFETY: callback and context fit each other.
        unsafe {
            bpf_loop(30, hash_word as *mut c_void, (&raw mut words).cast(), 0);
        }
    }
    descent.hasher = words.hasher;
    look_up(walk, words.hasher, index + 1);
    0
}

/// Walks from `dentry` to the root of its filesystem and joins what the rules of `image` say about
/// `wanted` on that path. The path goes to the record's bytes from `start` on; what was found is read
/// with [`Claim::found`].
#[inline(always)]
pub fn walk(claim: &mut Claim, dentry: Dentry, image: u32, levels: u64, wanted: u8, start: u32) {
    let scratch = claim.as_ptr();
    let superblock = dentry.superblock();
    let state = claim.walk();
    state.levels = levels;
    state.depth = 0;
    state.limit = start + MAX_PATH as u32 - 1;
    state.image = image;
    state.sequence = 0;
    state.unread = 0;
    state.found = Found {
        outcome: outcome::UNREAD,
        dev: superblock.dev(),
        hash: 0,
        wanted: u32::from(wanted),
        allow: 0,
        deny: 0,
        allow_rule: 0,
        deny_rule: 0,
        rule_flags: 0,
        end: start,
        cut: 0,
    };

    let mut up = Climb { dentry, scratch };
    // SAFETY: callback and context fit each other. One turn more than the deepest path, for its root.
    unsafe { bpf_loop(MAX_DEPTH + 1, climb as *mut c_void, (&raw mut up).cast(), 0) };
    if !up.dentry.parent().is(up.dentry) || claim.walk().depth > MAX_DEPTH {
        claim.walk().found.outcome = outcome::TOO_DEEP;
        return;
    }
    if !up.dentry.is(superblock.root()) {
        claim.walk().found.outcome = outcome::DISCONNECTED;
        return;
    }
    let mut down = Descent { scratch, hasher: PathHasher::new(hash_key()) };
    look_up(claim.walk(), down.hasher, 0);
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(MAX_DEPTH, descend as *mut c_void, (&raw mut down).cast(), 0) };

    let mut again = Climb { dentry, scratch };
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(MAX_DEPTH + 1, recheck as *mut c_void, (&raw mut again).cast(), 0) };
    let state = claim.walk();
    state.found.hash = down.hasher.finish();
    state.found.outcome = if state.unread != 0 {
        outcome::UNREAD
    } else if state.sequence != 0 {
        outcome::CHANGED
    } else {
        outcome::WHOLE
    };
}
