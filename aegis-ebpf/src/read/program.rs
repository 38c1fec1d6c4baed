//! The walk to a program, and what rules say of it beside permissions: which contents its name is pinned
//! to, which arguments it may not have, which address rules are for it.
//!
//! The hooks of an exec alone need that, so a walk does not look for it: the names that one has noted are
//! gone through a second time.

use core::{ffi::c_void, ptr::{read_volatile, write_volatile}};

use aegis_common::{hash::PathHasher, limits::MAX_DEPTH, path::{PathKey, path_flag, perm}};
use aya_ebpf::helpers::generated::bpf_loop;

use super::{
    hash_key,
    kernel::Dentry,
    scratch::{Claim, SPILL, Scratch},
    table,
    walk::{self, DEPTH_MASK, Descent, NAME_MASK, copy_long, hash_long, hash_short, outcome},
};

/// What rules say of a program by its name.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Said {
    /// Hash of the deepest pinned name.
    pub pin: u64,
    /// Ends of the argument rules at any level.
    pub arguments: u64,
    /// Number of the rules that pin, 0 where no name is pinned.
    pub pin_rule: u32,
    /// Filesystem.
    pub dev: u32,
    /// [`view`](aegis_common::net::view) that the deepest name has that address rules are for.
    pub view: u32,
    reserved: u32,
}

/// One walk.
#[repr(C)]
struct Walk {
    dentry: Dentry,
    scratch: *mut Scratch,
    levels: u64,
    image: u32,
    reserved: u32,
}

/// Where rules speak of programs, at one level of the walk.
extern "C" fn look(level: u64, descent: *mut Descent) -> i64 {
    // SAFETY: `bpf_loop` hands back the context it was given, alive for the time of the call; the scratch
    // slot is live and claimed.
    let scratch = unsafe { (*descent).scratch };
    // SAFETY: as above.
    let (walk, said) = unsafe { (&mut (*scratch).walk, &mut (*scratch).said) };
    let level = level as u32 & DEPTH_MASK as u32;
    if level > walk.depth || walk.levels >> level == 0 {
        return 1;
    }
    if level > 0 {
        // SAFETY: the mask keeps the index below MAX_DEPTH.
        let component =
            unsafe { &*walk.components.as_ptr().add((walk.depth - level) as usize & DEPTH_MASK) };
        let length = component.length & NAME_MASK;
        if component.address == 0 {
            hash_short(walk, component, length);
        } else {
            walk.name_at = SPILL as u32 - 8;
            walk.name_length = length;
            // SAFETY: the record is live; behind the spill there is room for a name.
            let place = unsafe { (&raw mut (*scratch).record.bytes).cast::<u8>().add(SPILL - 8) };
            if !copy_long(component.address, length, place) {
                walk.unread = 1;
                return 1;
            }
            hash_long(descent, walk, length, place);
        }
    }
    if (walk.levels >> level) & 1 == 0 {
        return 0;
    }
    let hash = walk.hasher.finish();
    let key = PathKey { image: walk.image, dev: walk.found.dev, hash };
    let Some(rule) = table::path_rule(&key) else { return 0 };
    if rule.flags & path_flag::PROGRAM != 0 {
        said.arguments |= rule.arguments;
        if rule.pin_rule != 0 {
            said.pin = hash;
            said.pin_rule = rule.pin_rule;
        }
    }
    if rule.flags & path_flag::EXE != 0
        && let Some(view) = table::program_view(&key)
    {
        said.view = view;
    }
    0
}

/// A walk as a loop of one turn: the verifier goes on from its end once, not once for each way through.
extern "C" fn walk_once(_turn: u64, walk: *mut Walk) -> i64 {
    // SAFETY: as for `look`.
    let walk = unsafe { &*walk };
    let mut claim = Claim::of(walk.scratch);
    walk::walk(&mut claim, walk.dentry, walk.image, walk.levels, perm::EXEC, 0);
    0
}

/// Begins with nothing said.
#[inline(always)]
pub fn begin(claim: &mut Claim) {
    // SAFETY: the slot is live and claimed; volatile, so that it is not carried over in registers.
    unsafe { write_volatile(&raw mut (*claim.as_ptr()).said, Said::default()) };
}

/// What was said. Read anew, for the verifier: it follows what comes after once, not for each case.
#[inline(always)]
pub fn said(claim: &mut Claim) -> Said {
    // SAFETY: as for `begin`.
    unsafe { read_volatile(&raw const (*claim.as_ptr()).said) }
}

/// Walks to a program and looks at what is said of it. It counts when the walk was whole.
#[inline(always)]
pub fn look_up(claim: &mut Claim, dentry: Dentry, image: u32, levels: u64) {
    let scratch = claim.as_ptr();
    let mut walk = Walk { dentry, scratch, levels, image, reserved: 0 };
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(1, walk_once as *mut c_void, (&raw mut walk).cast(), 0) };
    if claim.walk().found.outcome != outcome::WHOLE {
        return;
    }
    // SAFETY: as for `begin`.
    unsafe { (*scratch).said.dev = (*scratch).walk.found.dev };
    claim.walk().hasher = PathHasher::new(hash_key());
    let mut descent = Descent { scratch };
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(MAX_DEPTH, look as *mut c_void, (&raw mut descent).cast(), 0) };
    walk::conclude(claim, dentry);
}
