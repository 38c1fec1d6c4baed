//! From a dentry to the rules on its path.
//!
//! Up along `d_parent` to the root, noting each name; then down again, hashing the chain and
//! looking up each level that has rules and taking the globs that began above through each name. Both are
//! `bpf_loop`s: unrolled, they would exceed the verifier's budget. The chain is walked once more at the end: if
//! one dentry's sequence counter is not what it was, something was renamed meanwhile, and the walk is void. Each
//! counter is compared by itself: in a sum, one dentry's renames could make up for another's.

use core::ffi::c_void;

use aegis_common::{
    hash::PathHasher,
    limits::{MAX_DEPTH, MAX_NAME, MAX_PATH},
    path::{PathKey, path_flag},
};
use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_kernel};

use super::{
    facts, glob, hash_key,
    hidden::{self, HiddenDentry},
    kernel::Dentry,
    load, offset,
    scratch::{BYTES, Claim, Component, Found, SHORT_WORDS, SPILL, Scratch, WalkState},
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

pub(super) const DEPTH_MASK: usize = MAX_DEPTH as usize - 1;
pub(super) const NAME_MASK: u32 = MAX_NAME as u32 - 1;
const POSITION_MASK: usize = BYTES - 1;
/// Words of the longest name.
const NAME_WORDS: u32 = MAX_NAME as u32 / 8;

/// Components that one turn of a loop takes: a turn costs as much as a component.
const TURN: u32 = 4;
const TURNS: u32 = (MAX_DEPTH + TURN) / TURN;
const SHORT: u32 = 8 * SHORT_WORDS as u32;

#[repr(C)]
struct Climb {
    dentry: Dentry,
    scratch: *mut Scratch,
}

/// What a way down takes along lies in map memory: nested loops take this one context from the stack, of
/// which there is little.
#[repr(C)]
pub struct Descent {
    /// The slot.
    pub scratch: *mut Scratch,
}

/// Where a dentry holds a name that is short enough: behind its inode. Whether that is so on this
/// kernel, and for this name, only the address of the name tells.
#[inline(always)]
fn short_name() -> usize {
    offset!(dentry_inode) + size_of::<u64>()
}

/// Notes the name of a dentry whose counter stood at `sequence`.
#[inline(always)]
fn note(dentry: Dentry, sequence: u32, component: &mut Component) {
    component.sequence = sequence;
    let length = dentry.name_len();
    let address = dentry.name();
    component.length = length;
    if length >= SHORT || address != dentry.as_ptr() as u64 + short_name() as u64 {
        component.address = address;
        return;
    }
    component.address = 0;
    let word = |index: usize| -> u64 {
        // SAFETY: a dentry with such an address holds its name there; the verifier checks that
        // the word lies inside it.
        unsafe { load(dentry.as_ptr(), short_name() + 8 * index) }
    };
    component.words[0] = word(0);
    if length > 8 {
        component.words[1] = word(1);
    }
    if length > 16 {
        component.words[2] = word(2);
        component.words[3] = word(3);
    }
}

/// Some components up; ends at the root.
extern "C" fn climb(turn: u64, climb: *mut Climb) -> i64 {
    // SAFETY: `bpf_loop` hands back the context it was given, alive for the time of the call.
    let climb = unsafe { &mut *climb };
    // SAFETY: the scratch slot is live and claimed.
    let walk = unsafe { &mut (*climb.scratch).walk };
    let mut dentry = climb.dentry;
    let mut moving = walk.moving;
    let mut index = turn as u32 * TURN;
    let mut step = 0;
    let mut root = 0;
    while step < TURN {
        // The counter before parent and name, here; behind the parent, when the chain is walked again: where it
        // is the same, neither has changed in between.
        let sequence = dentry.sequence();
        let parent = dentry.parent();
        moving |= sequence;
        if parent.is(dentry) {
            root = 1;
            break;
        }
        // SAFETY: the mask keeps the index below MAX_DEPTH.
        note(dentry, sequence, unsafe { &mut *walk.components.as_mut_ptr().add(index as usize & DEPTH_MASK) });
        index += 1;
        dentry = parent;
        step += 1;
    }
    walk.moving = moving;
    walk.depth = index;
    climb.dentry = dentry;
    root
}

/// The same chain again, for its sequence counters alone.
extern "C" fn recheck_some(turn: u64, climb: *mut Climb) -> i64 {
    // SAFETY: as for `climb`.
    let climb = unsafe { &mut *climb };
    // SAFETY: as for `climb`.
    let walk = unsafe { &mut (*climb.scratch).walk };
    let mut dentry = climb.dentry;
    let mut index = turn as u32 * TURN;
    let mut step = 0;
    while step < TURN {
        let parent = dentry.parent();
        if parent.is(dentry) {
            walk.same = u32::from(index == walk.depth);
            return 1;
        }
        // SAFETY: the mask keeps the index below MAX_DEPTH.
        let noted = unsafe { (*walk.components.as_ptr().add(index as usize & DEPTH_MASK)).sequence };
        if dentry.sequence() != noted {
            return 1;
        }
        dentry = parent;
        index += 1;
        step += 1;
    }
    climb.dentry = dentry;
    0
}

/// What of a word belongs to a name: `rest` bytes of it, or all.
#[inline(always)]
const fn cut(word: u64, rest: u32) -> u64 {
    if rest < 8 { word & ((1u64 << ((rest & 7) * 8)) - 1) } else { word }
}

/// Loads a word from wherever it lies: the compiler would do it byte by byte.
///
/// # Safety
/// Eight bytes at `from` must be readable.
#[inline(always)]
pub unsafe fn load_word(from: *const u8) -> u64 {
    let word: u64;
    // SAFETY: the caller's; the processors that Aegis runs on load unaligned words.
    unsafe { core::arch::asm!("{} = *(u64 *)({} + 0)", out(reg) word, in(reg) from) };
    word
}

/// Stores a word wherever it is to lie.
///
/// # Safety
/// Eight bytes at `to` must be writable, and nobody else's.
#[inline(always)]
pub(super) unsafe fn store_word(to: *mut u8, word: u64) {
    // SAFETY: as for `load_word`.
    unsafe { core::arch::asm!("*(u64 *)({} + 0) = {}", in(reg) to, in(reg) word) };
}

/// Eight bytes of a name.
#[inline(always)]
unsafe fn word_at(name: *const u8, offset: u32, length: u32) -> u64 {
    // SAFETY: the caller's: `offset` is within the name, and eight bytes behind it are within the
    // record's spill.
    cut(unsafe { load_word(name.add(offset as usize)) }, length - offset)
}

/// The name that the walk has reached, in the record, and its length.
#[inline(always)]
pub fn named(scratch: *mut Scratch) -> (*const u8, u32) {
    // SAFETY: as for `climb`.
    let walk = unsafe { &(*scratch).walk };
    let at = walk.name_at as usize;
    let at = if at < SPILL { at } else { SPILL - 8 };
    // SAFETY: the record is live; behind the spill there is room for a name.
    let name = unsafe { (&raw const (*scratch).record.bytes).cast::<u8>().add(at) };
    (name, walk.name_length & NAME_MASK)
}

/// One word of the name that the walk has reached, from the one that `walk.word` names on.
extern "C" fn hash_word(index: u64, descent: *mut Descent) -> i64 {
    // SAFETY: as for `climb`.
    let scratch = unsafe { (*descent).scratch };
    // SAFETY: as for `climb`.
    let walk = unsafe { &mut (*scratch).walk };
    let (name, length) = named(scratch);
    let offset = ((index as u32 + walk.word) * 8) & NAME_MASK;
    if offset >= length {
        return 1;
    }
    // SAFETY: `offset` is below `length`, which is at most 255.
    walk.words.word(unsafe { word_at(name, offset, length) });
    0
}

/// The hash of the name that the walk has reached, by itself.
///
/// # Safety
/// The context of a descent that is under way.
#[inline(always)]
pub unsafe fn hash_alone(descent: *mut Descent, length: u32) -> u64 {
    // SAFETY: the caller's, and as for `climb`.
    let walk = unsafe { &mut (*(*descent).scratch).walk };
    walk.word = 0;
    walk.words = PathHasher::new(hash_key());
    walk.words.word(u64::from(length));
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(NAME_WORDS, hash_word as *mut c_void, descent.cast(), 0) };
    walk.words.finish()
}

#[inline(always)]
fn look_up(walk: &mut WalkState, hasher: PathHasher, level: u32) {
    if (walk.levels >> (level & 63)) & 1 == 0 {
        return;
    }
    let found = &mut walk.found;
    let key = PathKey { image: walk.image, dev: found.dev, hash: hasher.finish() };
    found.hash = key.hash;
    let Some(rule) = table::path_rule(&key) else { return };
    walk.join(&rule, level);
    if rule.flags & path_flag::STARTS != 0 {
        glob::start(walk, table::glob_starts(&key));
    }
}

/// Copies a name from its address to `place`; false when it can't be read.
#[inline(always)]
pub(super) fn copy_long(address: u64, length: u32, place: *mut u8) -> bool {
    // SAFETY: `length` is at most 255; the place has room for that and eight bytes more.
    unsafe { bpf_probe_read_kernel(place.cast(), length, address as *const c_void) == 0 }
}

/// Copies a short name to `place`, and a part of what lies behind its end.
#[inline(always)]
fn copy_short(component: &Component, length: u32, place: *mut u8) {
    // SAFETY: as for `copy_long`.
    unsafe {
        store_word(place, component.words[0]);
        if length > 8 {
            store_word(place.add(8), component.words[1]);
        }
        if length > 16 {
            store_word(place.add(16), component.words[2]);
            store_word(place.add(24), component.words[3]);
        }
    }
}

/// Takes a name that was read with its dentry into the chain.
#[inline(always)]
pub(super) fn hash_short(walk: &mut WalkState, component: &Component, length: u32) {
    let mut hasher = walk.hasher;
    hasher.word(u64::from(length));
    let mut index = 0;
    while index < SHORT_WORDS {
        let offset = index as u32 * 8;
        if offset >= length {
            break;
        }
        hasher.word(cut(component.words[index], length - offset));
        index += 1;
    }
    walk.hasher = hasher;
}

/// Takes a name of any length into the chain.
#[inline(always)]
pub(super) fn hash_long(descent: *mut Descent, walk: &mut WalkState, length: u32, place: *const u8) {
    let mut hasher = walk.hasher;
    hasher.word(u64::from(length));
    if length > 0 {
        // SAFETY: as for `hash_word`.
        hasher.word(unsafe { word_at(place, 0, length) });
    }
    if length > 8 {
        // SAFETY: as for `hash_word`.
        hasher.word(unsafe { word_at(place, 8, length) });
    }
    walk.words = hasher;
    if length > 16 {
        walk.word = 2;
        // SAFETY: callback and context fit each other.
        unsafe { bpf_loop(NAME_WORDS - 2, hash_word as *mut c_void, descent.cast(), 0) };
    }
    walk.hasher = walk.words;
}

/// The component at `index` from the root, and the place in the record that its name goes to. What
/// does not fit there goes behind it: it is still hashed.
#[inline(always)]
fn component_at<'a>(scratch: *mut Scratch, index: u32) -> (&'a Component, u32, *mut u8) {
    // SAFETY: as for `climb`.
    let walk = unsafe { &mut (*scratch).walk };
    let at = (walk.depth - 1 - index) as usize & DEPTH_MASK;
    // SAFETY: the mask keeps `at` below MAX_DEPTH.
    let component = unsafe { &*walk.components.as_ptr().add(at) };
    let length = component.length & NAME_MASK;
    // SAFETY: the record is live.
    let bytes = unsafe { (&raw mut (*scratch).record.bytes).cast::<u8>() };
    let position = walk.found.end;
    // SAFETY: the mask keeps the position below BYTES, and a name is shorter than MAX_NAME.
    let place = unsafe {
        if walk.found.cut == 0 && position + length < walk.limit {
            let place = bytes.add(position as usize & POSITION_MASK);
            *place = b'/';
            walk.found.end = position + 1 + length;
            walk.name_at = (position & POSITION_MASK as u32) + 1;
            place.add(1)
        } else {
            walk.found.cut = 1;
            walk.name_at = SPILL as u32 - 8;
            bytes.add(SPILL - 8)
        }
    };
    walk.name_length = length;
    (component, length, place)
}

/// One component down: copies its name, hashes it, takes the globs through it, looks it up. Ends where no
/// rule can be any more.
extern "C" fn descend_one(index: u64, descent: *mut Descent) -> i64 {
    // SAFETY: as for `climb`.
    let scratch = unsafe { (*descent).scratch };
    let index = index as u32 & DEPTH_MASK as u32;
    // SAFETY: as for `climb`.
    let walk = unsafe { &mut (*scratch).walk };
    walk.hashed = index;
    let deeper = walk.levels >> index >> 1 != 0;
    let waiting = walk.globs.waiting != 0;
    if index >= walk.depth || !(deeper || waiting) {
        return 1;
    }
    let (component, length, place) = component_at(scratch, index);
    if component.address == 0 {
        copy_short(component, length, place);
        if deeper {
            hash_short(walk, component, length);
        }
    } else {
        if !copy_long(component.address, length, place) {
            walk.unread = 1;
            return 1;
        }
        if deeper {
            hash_long(descent, walk, length, place);
        }
    }
    if waiting {
        glob::step(descent);
    }
    if deeper {
        look_up(walk, walk.hasher, index + 1);
    }
    if waiting {
        glob::join(descent);
    }
    0
}

/// One component down, below all rules: copies its name.
extern "C" fn spell_some(index: u64, descent: *mut Descent) -> i64 {
    // SAFETY: as for `climb`.
    let descent = unsafe { &mut *descent };
    let scratch = descent.scratch;
    // SAFETY: as for `climb`.
    let walk = unsafe { &mut (*scratch).walk };
    let mut index = walk.hashed + index as u32 * 2;
    let mut step = 0;
    while step < 2 {
        if index >= walk.depth {
            return 1;
        }
        let (component, length, place) = component_at(scratch, index);
        if component.address == 0 {
            copy_short(component, length, place);
        } else if !copy_long(component.address, length, place) {
            walk.unread = 1;
            return 1;
        }
        index += 1;
        step += 1;
    }
    0
}

/// Copies the path of `dentry` to the record's bytes, and looks nothing up. That nothing moved meanwhile, the
/// caller must see for itself.
#[inline(always)]
pub fn spell(claim: &mut Claim, dentry: Dentry) {
    begin(claim, dentry.superblock().dev(), 0, 0, 0, 0);
    if !rise(claim, dentry) {
        return;
    }
    let mut down = Descent { scratch: claim.as_ptr() };
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(MAX_DEPTH / 2, spell_some as *mut c_void, (&raw mut down).cast(), 0) };
    let state = claim.walk();
    state.found.outcome = if state.unread != 0 { outcome::UNREAD } else { outcome::WHOLE };
}

/// Walks from `dentry` to the root of its filesystem and joins what the rules of `image` say about
/// `wanted` on that path. The path goes to the record's bytes from `start` on; what was found is read
/// with [`Claim::found`].
#[inline(always)]
pub fn walk(claim: &mut Claim, dentry: Dentry, image: u32, levels: u64, wanted: u8, start: u32) {
    begin(claim, dentry.superblock().dev(), image, levels, wanted, start);
    if rise(claim, dentry) {
        descend(claim, levels);
        conclude(claim, dentry);
    }
}

/// Walks like [`walk`], from the dentry whose address stands in the slot where there is one.
#[inline(always)]
pub fn walk_either(claim: &mut Claim, dentry: Dentry, image: u32, levels: u64, wanted: u8) {
    if facts().layer_alias == 0 {
        return walk(claim, dentry, image, levels, wanted, 0);
    }
    begin(claim, 0, image, levels, wanted, 0);
    let mut way = Climb { dentry, scratch: claim.as_ptr() };
    // SAFETY: callback and context fit each other. Loops of one turn, as in `glob`.
    unsafe { bpf_loop(1, rise_either as *mut c_void, (&raw mut way).cast(), 0) };
    if claim.walk().rose == 0 {
        return;
    }
    descend(claim, levels);
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(1, recheck_either as *mut c_void, (&raw mut way).cast(), 0) };
    settle(claim);
}

extern "C" fn rise_either(_turn: u64, way: *mut Climb) -> i64 {
    // SAFETY: as for `climb`.
    let way = unsafe { &*way };
    let mut claim = Claim::of(way.scratch);
    let hidden = claim.walk().hidden;
    let (dev, rose) = if hidden == HiddenDentry::NONE {
        (way.dentry.superblock().dev(), rise(&mut claim, way.dentry))
    } else {
        let (dev, root) = hidden.filesystem().unwrap_or((0, HiddenDentry::NONE));
        (dev, hidden::rise(&mut claim, hidden, root))
    };
    claim.walk().found.dev = dev;
    claim.walk().rose = u32::from(rose);
    0
}

extern "C" fn recheck_either(_turn: u64, way: *mut Climb) -> i64 {
    // SAFETY: as for `climb`.
    let way = unsafe { &*way };
    let mut claim = Claim::of(way.scratch);
    let hidden = claim.walk().hidden;
    if hidden == HiddenDentry::NONE {
        recheck(&mut claim, way.dentry);
    } else {
        hidden::recheck(&mut claim, hidden);
    }
    0
}

/// Down from the root along the names noted.
#[inline(always)]
fn descend(claim: &mut Claim, levels: u64) {
    let mut down = Descent { scratch: claim.as_ptr() };
    let state = claim.walk();
    state.hasher = PathHasher::new(hash_key());
    look_up(state, state.hasher, 0);
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(MAX_DEPTH, descend_one as *mut c_void, (&raw mut down).cast(), 0) };
    let state = claim.walk();
    // An anchor stands at or above a rule: below the deepest level there is none with this name.
    let deeper = if state.depth == 0 { levels } else { levels >> ((state.depth - 1) & 63) >> 1 };
    if deeper == 0 {
        state.found.hash = 0;
    } else if deeper & 1 == 0 {
        state.found.hash = state.hasher.finish();
    }
    if state.hashed < state.depth {
        // SAFETY: callback and context fit each other.
        unsafe { bpf_loop(MAX_DEPTH / 2, spell_some as *mut c_void, (&raw mut down).cast(), 0) };
    }
}

/// The end of a walk: the same chain again, and how it ended.
#[inline(always)]
pub(super) fn conclude(claim: &mut Claim, dentry: Dentry) {
    recheck(claim, dentry);
    settle(claim);
}

/// Notes in the walk whether the chain is still the same.
#[inline(always)]
fn recheck(claim: &mut Claim, dentry: Dentry) {
    let mut again = Climb { dentry, scratch: claim.as_ptr() };
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(TURNS, recheck_some as *mut c_void, (&raw mut again).cast(), 0) };
}

/// How the walk ended.
#[inline(always)]
fn settle(claim: &mut Claim) {
    let state = claim.walk();
    state.found.outcome = if state.unread != 0 {
        outcome::UNREAD
    } else if state.same == 0 || state.moving & 1 != 0 {
        outcome::CHANGED
    } else {
        outcome::WHOLE
    };
}

/// Begins a walk.
#[inline(always)]
fn begin(claim: &mut Claim, dev: u32, image: u32, levels: u64, wanted: u8, start: u32) {
    let state = claim.walk();
    state.levels = levels;
    state.depth = 0;
    state.limit = start + MAX_PATH as u32 - 1;
    state.image = image;
    state.moving = 0;
    state.unread = 0;
    state.same = 0;
    state.told = 0;
    state.hashed = 0;
    glob::begin(state);
    state.found = Found {
        outcome: outcome::UNREAD,
        dev,
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
}

/// Up to the root, noting each name. False where it does not end there.
#[inline(always)]
fn rise(claim: &mut Claim, dentry: Dentry) -> bool {
    let mut up = Climb { dentry, scratch: claim.as_ptr() };
    // SAFETY: callback and context fit each other. Room for one more than the deepest path, for its root.
    unsafe { bpf_loop(TURNS, climb as *mut c_void, (&raw mut up).cast(), 0) };
    if !up.dentry.parent().is(up.dentry) || claim.walk().depth > MAX_DEPTH {
        claim.walk().found.outcome = outcome::TOO_DEEP;
        return false;
    }
    if !up.dentry.is(dentry.superblock().root()) {
        claim.walk().found.outcome = outcome::DISCONNECTED;
        return false;
    }
    true
}
