//! What was decided about a file before, so that opening it again needs no walk.
//!
//! An entry lies in the storage of the file's inode and says what an image allowed under one dentry, and the
//! sequence counters of that dentry and all above it. It counts only for that dentry, that image, that
//! permission, and while every counter stands where it stood: then no name on the path has changed since.
//! Why that holds whatever runs beside it is in `docs/decisions/0015-verdict-cache.md`.
//!
//! An entry is never changed, only replaced whole: a reader sees all of the old one or all of the new one.

use core::ffi::c_void;

use aegis_common::limits::MAX_DEPTH;
use aya_ebpf::{
    bindings::inode,
    helpers::generated::{bpf_jiffies64, bpf_loop},
};

use super::{
    kernel::{Dentry, File},
    scratch::{Claim, Scratch},
};
use crate::maps::{KNOWN_FILES, SEEN, SEEN_DENTRIES};

/// Components of the deepest path that is remembered.
const CHAIN: usize = 32;
/// Verdicts that an entry holds: of several agents, for reading, writing and running.
const VERDICTS: usize = 4;
/// Dentries that one turn of the loop compares.
const TURN: u32 = 8;
/// Ticks after which a verdict is worked out anew. A sequence counter comes around after 2^31 renames, which
/// no machine makes in this time (a minute, or ten where a second has a hundred ticks).
const LIFETIME: u64 = 60_000;

/// What stands beside `perm::*` where an overlay opened the file in a layer (1; 0 where none did): such a verdict
/// grants nothing to who names the layer.
#[inline(always)]
pub const fn below(below: u32) -> u8 {
    (below as u8 & 1) << 7
}

const _: () = assert!(CHAIN <= MAX_DEPTH as usize && CHAIN.is_power_of_two() && VERDICTS.is_power_of_two());

/// An operation that was allowed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Verdict {
    /// Serial of the image that allowed it; 0 in a place that is free.
    serial: u64,
    /// Tick at which it did.
    tick: u64,
    /// Number of the rule.
    rule: u32,
    /// `perm::*` that were wanted, and [`below`].
    wanted: u8,
    /// `reason::*`.
    reason: u8,
    /// 1 when such an operation is recorded.
    record: u8,
    /// Zero.
    reserved: u8,
}

/// What is known about a file.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Entry {
    /// Address of the dentry that it was opened by.
    dentry: u64,
    /// Components of its path.
    depth: u64,
    /// What a record of it is about, as repeat counters know it; 0 where none was made.
    object: u64,
    verdicts: [Verdict; VERDICTS],
    /// Sequence counters of the dentry and of those above it, without the root.
    sequences: [u32; CHAIN],
}

/// A verdict that was found, and the entry that it is from: no `Option`, whose contents the verifier would have
/// to see set where there are none.
#[derive(Clone, Copy)]
pub struct Known {
    /// Null where nothing was found.
    entry: *const Entry,
    /// Number of the rule.
    pub rule: u32,
    /// `reason::*`.
    pub reason: u8,
    /// 1 when such an operation is recorded.
    pub record: u8,
    /// What its record is about, as repeat counters know it, or 0.
    pub object: u64,
}

#[repr(C)]
struct Comparison {
    dentry: Dentry,
    entry: *const Entry,
    same: u32,
}

/// Some dentries up, against what is known.
extern "C" fn compare(turn: u64, comparison: *mut Comparison) -> i64 {
    // SAFETY: `bpf_loop` hands back the context it was given, alive for the time of the call.
    let comparison = unsafe { &mut *comparison };
    // SAFETY: the entry is a map value; it is freed only when no program can be reading it any more.
    let entry = unsafe { &*comparison.entry };
    let mut dentry = comparison.dentry;
    let mut index = turn as u32 * TURN;
    let mut step = 0;
    while step < TURN {
        // The parent before the counter: if the counter has not moved, it was the parent all the time.
        let parent = dentry.parent();
        if parent.is(dentry) {
            comparison.same = u32::from(u64::from(index) == entry.depth);
            return 1;
        }
        // SAFETY: the mask keeps the index inside.
        let known = unsafe { *entry.sequences.as_ptr().add(index as usize & (CHAIN - 1)) };
        if dentry.sequence() != known {
            return 1;
        }
        dentry = parent;
        index += 1;
        step += 1;
    }
    comparison.dentry = dentry;
    0
}

/// Whether an entry was made under this dentry and no name on its path has changed since.
#[inline(always)]
fn stands(entry: *const Entry, dentry: Dentry) -> bool {
    // SAFETY: as in `compare`.
    if unsafe { (*entry).dentry } != dentry.as_ptr() as u64 {
        return false;
    }
    let mut comparison = Comparison { dentry, entry, same: 0 };
    // SAFETY: callback and context fit each other. One turn more than the chain has, for the root.
    unsafe {
        bpf_loop(
            CHAIN as u32 / TURN + 1,
            compare as *mut c_void,
            (&raw mut comparison).cast(),
            0,
        );
    }
    comparison.same == 1
}

#[inline(always)]
fn tick() -> u64 {
    // SAFETY: the helper has no arguments.
    unsafe { bpf_jiffies64() }
}

/// Whether the dentry at this address was judged by this image before, as far as that is known; it is from now on.
#[inline(always)]
fn was_seen(address: u64, serial: u64) -> bool {
    /// Dentries lie at multiples of this.
    const ALIGNMENT: u64 = 64;
    let place = (address / ALIGNMENT) as u32 & (SEEN_DENTRIES - 1);
    let Some(seen) = SEEN.get_ptr_mut(place) else { return false };
    let mark = address ^ serial;
    // SAFETY: `seen` points at a live map value; whoever writes to it at the same time only changes the hint.
    unsafe {
        let before = seen.read_volatile();
        seen.write_volatile(mark);
        before == mark
    }
}

#[inline(always)]
fn entry_of(inode: *mut inode) -> Option<*const Entry> {
    // SAFETY: the helper takes any inode, and answers null for one without an entry.
    let entry = unsafe { KNOWN_FILES.get_ptr_mut(inode) };
    (!entry.is_null()).then_some(entry.cast_const())
}

/// What the image of this serial is known to have allowed: `wanted` on `file` under its name `dentry`.
#[inline(always)]
pub fn recall(file: File, dentry: Dentry, serial: u64, wanted: u8) -> Known {
    let mut known = Known { entry: core::ptr::null(), rule: 0, reason: 0, record: 0, object: 0 };
    let inode = file.inode_pointer();
    if !dentry.is_of(inode) {
        return known;
    }
    let Some(entry) = entry_of(inode) else { return known };
    // SAFETY: as in `compare`; the place is inside.
    let verdict = unsafe {
        let verdicts = &(*entry).verdicts;
        let place = place_of(verdicts, serial, wanted);
        &*verdicts.as_ptr().add(place)
    };
    let fits = verdict.serial == serial && verdict.wanted == wanted && serial != 0;
    if fits && tick().wrapping_sub(verdict.tick) < LIFETIME && stands(entry, dentry) {
        known.entry = entry;
        known.rule = verdict.rule;
        known.reason = verdict.reason;
        known.record = verdict.record;
        // SAFETY: as in `compare`.
        known.object = unsafe { (*entry).object };
    }
    known
}

/// Where a verdict stands, if it is there: each is there once. Without a branch, which would have the verifier
/// follow all that comes after once for each place.
#[inline(always)]
fn place_of(verdicts: &[Verdict; VERDICTS], serial: u64, wanted: u8) -> usize {
    let mut place = 0;
    let mut index = 1;
    while index < VERDICTS {
        let other = (verdicts[index].serial ^ serial) | u64::from(verdicts[index].wanted ^ wanted);
        let same = ((other | other.wrapping_neg()) >> 63) ^ 1;
        place |= core::hint::black_box(same) * index as u64;
        index += 1;
    }
    place as usize & (VERDICTS - 1)
}

/// Lays by what is to be remembered of the walk in `claim`: in memory, so that the verifier follows what comes until
/// then once.
#[inline(always)]
pub fn lay_by(claim: &mut Claim, allowed: Verdict) {
    // SAFETY: the slot is live and claimed.
    unsafe { (*claim.as_ptr()).allowed = allowed };
}

/// Remembers what was laid by: what an image allows on `file` under its name `dentry`, which the walk in `claim` has
/// followed from end to end, and what the record of that is about.
#[inline(always)]
pub fn remember(claim: &mut Claim, file: File, dentry: Dentry) {
    let mut keeping = Keeping { scratch: claim.as_ptr(), file, dentry };
    // A loop of one turn: the verifier goes on from its end once, not once for each way through.
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(1, keep as *mut c_void, (&raw mut keeping).cast(), 0) };
}

#[repr(C)]
struct Keeping {
    scratch: *mut Scratch,
    file: File,
    dentry: Dentry,
}

extern "C" fn keep(_turn: u64, keeping: *mut Keeping) -> i64 {
    // SAFETY: `bpf_loop` hands back the context it was given, alive for the time of the call.
    let (mut claim, file, dentry) =
        unsafe { (Claim::of((*keeping).scratch), (*keeping).file, (*keeping).dentry) };
    let claim = &mut claim;
    // SAFETY: the slot is live and claimed.
    let allowed = unsafe { (&raw const (*claim.as_ptr()).allowed).read_volatile() };
    if allowed.serial == 0 {
        return 0;
    }
    let object = if allowed.record == 1 { claim.object() } else { 0 };
    let inode = file.inode_pointer();
    let depth = claim.walk().depth;
    // SAFETY: the slot is live and claimed. Through memory, since the verifier forbids arithmetic on the pointer.
    let address = unsafe {
        let place = &raw mut (*claim.as_ptr()).entry.dentry;
        place.write_volatile(dentry.as_ptr() as u64);
        place.read_volatile()
    };
    if !was_seen(address, allowed.serial) {
        return 0;
    }
    // An inode that the kernel keeps to itself gets its dentries unseen by `d_instantiate`.
    if !dentry.is_of(inode) || depth as usize > CHAIN || dentry.inode().is_private() {
        return 0;
    }
    let old = entry_of(inode).filter(|old| stands(*old, dentry));
    // SAFETY: the slot is live and claimed.
    let (entry, components) =
        unsafe { (&mut (*claim.as_ptr()).entry, &(*claim.as_ptr()).walk.components) };
    entry.depth = u64::from(depth);
    entry.object = match old {
        // SAFETY: as in `compare`.
        Some(old) if object == 0 => unsafe { (*old).object },
        _ => object,
    };
    let mut index = 0;
    while index < CHAIN {
        entry.sequences[index] = components[index].sequence;
        index += 1;
    }
    // In the place of the same verdict, or of none, or of any.
    let mut place = allowed.tick as usize;
    let mut index = VERDICTS;
    while index > 0 {
        index -= 1;
        let verdict = match old {
            // SAFETY: as in `compare`.
            Some(old) => unsafe { (*old).verdicts[index] },
            None => Verdict::NONE,
        };
        if verdict.serial == 0 || (verdict.serial == allowed.serial && verdict.wanted == allowed.wanted) {
            place = index;
        }
        entry.verdicts[index] = verdict;
    }
    // SAFETY: the mask keeps the place inside.
    unsafe { *entry.verdicts.as_mut_ptr().add(place & (VERDICTS - 1)) = allowed };
    // SAFETY: the helpers take any inode. Where another task's entry comes between the two, that one stays.
    unsafe {
        let _ = KNOWN_FILES.delete(inode);
        let _ = KNOWN_FILES.get_or_insert_ptr_mut(inode, Some(entry));
    }
    0
}

impl Known {
    /// Whether nothing is known.
    #[inline(always)]
    pub fn is_none(&self) -> bool {
        self.entry.is_null()
    }
    /// Whether no name on the path has changed until now.
    #[inline(always)]
    pub fn stands(&self, dentry: Dentry) -> bool {
        stands(self.entry, dentry)
    }
}

impl Verdict {
    /// None.
    pub const NONE: Self = Self { serial: 0, tick: 0, rule: 0, wanted: 0, reason: 0, record: 0, reserved: 0 };

    /// Allowed now.
    #[inline(always)]
    pub fn now(serial: u64, wanted: u8, rule: u32, reason: u8, record: bool) -> Self {
        Self { serial, tick: tick(), rule, wanted, reason, record: u8::from(record), reserved: 0 }
    }
}

/// Forgets what is known about the file at an inode, by whatever name.
#[inline(always)]
pub fn forget(inode: *mut inode) {
    // SAFETY: the helper takes any inode. Most have no entry.
    let _ = unsafe { KNOWN_FILES.delete(inode) };
}
