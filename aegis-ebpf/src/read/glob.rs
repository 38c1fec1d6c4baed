//! One component through the automata of an image's globs.
//!
//! Knows: positions, and how to take them further. Must not know: dentries, hooks. Everything that is
//! carried from one component or byte to the next lies in map memory.

use core::ffi::c_void;

use aegis_common::{
    glob::{GLOB_POSITIONS, GLOB_WORDS, GlobKey, GlobSet, GlobTable, filter_bit},
    limits::MAX_NAME,
};
use aya_ebpf::helpers::generated::bpf_loop;

use super::{
    scratch::{Claim, Scratch, WalkState},
    table,
    walk::{Descent, hash_alone, load_word, named},
};

/// Where the globs of an image stand on a path.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Positions {
    /// Positions that wait for the next component.
    pub active: GlobSet,
    /// Those that the last component was waited for in.
    pub entered: GlobSet,
}

impl Positions {
    /// On no glob's path.
    pub const NONE: Self = Self { active: GlobSet::EMPTY, entered: GlobSet::EMPTY };
}

/// What a walk keeps for its globs.
#[repr(C)]
pub struct Globs {
    /// Where they stand.
    pub at: Positions,
    /// Where they stood at the end of the walk before, kept by [`Claim::keep`].
    pub kept: Positions,
    /// Positions that the component under way satisfies.
    met: GlobSet,
    /// The automaton over bytes; before and after, positions that are still to be looked up.
    bytes: GlobSet,
    /// Image.
    image: u32,
    /// 1 while some position is active.
    pub waiting: u32,
}

#[repr(C)]
struct Bytes {
    scratch: *mut Scratch,
    table: &'static GlobTable,
}

/// The globs of a walk.
#[inline(always)]
fn globs<'a>(scratch: *mut Scratch) -> &'a mut Globs {
    // SAFETY: the scratch slot is live and claimed.
    unsafe { &mut (*scratch).walk.globs }
}

/// Begins a walk.
#[inline(always)]
pub fn begin(walk: &mut WalkState) {
    walk.globs.at = Positions::NONE;
    walk.globs.image = walk.image;
    walk.globs.waiting = 0;
}

/// Globs begin at the name that the walk has reached. Their automata must be there: where they are
/// not, the walk is void.
#[inline(always)]
pub fn start(walk: &mut WalkState, starts: Option<&GlobSet>) {
    let Some(starts) = starts else {
        walk.unread = 1;
        return;
    };
    walk.globs.at.active.add(starts);
    walk.globs.waiting = 1;
}

/// Takes the lowest position out of a set: its word, and its bit in there.
#[inline(always)]
fn take_lowest(set: &mut GlobSet) -> Option<(u32, u64)> {
    let mut word = 0;
    while word < GLOB_WORDS {
        let bits = set.words[word];
        if bits != 0 {
            let bit = bits & bits.wrapping_neg();
            set.words[word] = bits ^ bit;
            return Some((word as u32, bit));
        }
        word += 1;
    }
    None
}

/// One byte of a name through the automaton over bytes.
extern "C" fn take_byte(index: u64, bytes: *mut Bytes) -> i64 {
    // SAFETY: `bpf_loop` hands back the context it was given, alive for the time of the call.
    let bytes = unsafe { &*bytes };
    let (name, length) = named(bytes.scratch);
    let index = index as u32 & (MAX_NAME as u32 - 1);
    if index >= length {
        return 1;
    }
    // SAFETY: `index` is within the name, and a byte is below 256.
    let satisfied = unsafe { &*bytes.table.bytes.as_ptr().add(usize::from(*name.add(index as usize))) };
    globs(bytes.scratch).bytes.take(satisfied, &bytes.table.byte_stay);
    0
}

/// One pattern that the name satisfies: the positions that wait for it.
extern "C" fn meet(_turn: u64, descent: *mut Descent) -> i64 {
    // SAFETY: as for `take_byte`.
    let scratch = unsafe { (*descent).scratch };
    let globs = globs(scratch);
    let Some((word, bit)) = take_lowest(&mut globs.bytes) else { return 1 };
    let Some(entry) = table::glob(&GlobKey::wild(globs.image, word, bit)) else {
        // SAFETY: as for `globs`.
        unsafe { (*scratch).walk.unread = 1 };
        return 1;
    };
    globs.met.add(&entry.set);
    0
}

/// One glob that is complete at the level reached: its rule is joined.
extern "C" fn join_one(_turn: u64, descent: *mut Descent) -> i64 {
    // SAFETY: as for `globs`.
    let walk = unsafe { &mut (*(*descent).scratch).walk };
    let Some((word, bit)) = take_lowest(&mut walk.globs.bytes) else { return 1 };
    let Some(entry) = table::glob(&GlobKey::rule(walk.image, word, bit)) else {
        walk.unread = 1;
        return 1;
    };
    walk.join(&entry.rule, walk.hashed + 1);
    0
}

/// Takes the waiting positions through the name that the walk has reached. A loop of one turn, like
/// what it calls: the verifier goes on from its end once, not once for each way through.
extern "C" fn take(_turn: u64, descent: *mut Descent) -> i64 {
    // SAFETY: as for `take_byte`.
    let scratch = unsafe { (*descent).scratch };
    let Some(table) = table::glob_table(globs(scratch).image) else {
        // SAFETY: as for `globs`.
        unsafe { (*scratch).walk.unread = 1 };
        return 1;
    };
    let globs = globs(scratch);
    let (name, length) = named(scratch);
    globs.met = table.any;
    // SAFETY: eight bytes at a name's place are within the record.
    let first = unsafe { load_word(name) } as u8;
    if globs.at.active.meets(&table.literal) && table.filter & filter_bit(length, first) != 0 {
        // SAFETY: as for `take_byte`.
        let hash = unsafe { hash_alone(descent, length) };
        if let Some(entry) = table::glob(&GlobKey::name(globs.image, hash)) {
            globs.met.add(&entry.set);
        }
    }
    if globs.at.active.meets(&table.wild) {
        globs.bytes = table.byte_first;
        let mut bytes = Bytes { scratch, table };
        // SAFETY: callback and context fit each other.
        unsafe { bpf_loop(MAX_NAME as u32, take_byte as *mut c_void, (&raw mut bytes).cast(), 0) };
        globs.bytes.keep(&table.byte_accept);
        // SAFETY: callback and context fit each other.
        unsafe { bpf_loop(GLOB_POSITIONS as u32, meet as *mut c_void, descent.cast(), 0) };
    }
    globs.at.entered = globs.at.active;
    globs.at.entered.take(&globs.met, &GlobSet::EMPTY);
    globs.at.active.keep(&table.stay);
    globs.at.active.add(&globs.at.entered);
    globs.waiting = u32::from(!globs.at.active.is_empty());
    globs.bytes = globs.at.entered;
    globs.bytes.keep(&table.accept);
    0
}

/// Takes the waiting positions through the name that the walk has reached.
#[inline(always)]
pub fn step(descent: *mut Descent) {
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(1, take as *mut c_void, descent.cast(), 0) };
}

/// Joins the rules of the globs that the name completed.
#[inline(always)]
pub fn join(descent: *mut Descent) {
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(GLOB_POSITIONS as u32, join_one as *mut c_void, descent.cast(), 0) };
}

/// Whether what globs say of the names below a directory would change by its moving from the name
/// kept to the name found: a deny lost, an allow won, or a name come to be that may not be made.
/// `lifted` is what the old name itself denies and the new one does not.
#[inline(always)]
pub fn change_below(claim: &mut Claim, image: u32, lifted: u32) -> bool {
    let Some(table) = table::glob_table(image) else { return false };
    let globs = &claim.walk().globs;
    let (old, new) = (&globs.kept.active, &globs.at.active);
    !old.and(&table.keep).is_within(new)
        || !new.and(&table.gain).is_within(old)
        || (lifted != 0 && new.meets(&table.gain))
}

/// Whether the name found is a step of a glob that denies making names: a symbolic link there would
/// choose what the glob means.
#[inline(always)]
pub fn is_step(claim: &mut Claim, image: u32) -> bool {
    let Some(table) = table::glob_table(image) else { return false };
    claim.walk().globs.at.entered.meets(&table.names)
}
