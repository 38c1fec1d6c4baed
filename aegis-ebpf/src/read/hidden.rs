//! The ways up of a walk from a dentry that no hook was given: by address, one component a turn.
//!
//! Knows what `walk` knows of ways up. What can't be read makes the walk void.

use core::ffi::c_void;

use aegis_common::limits::MAX_DEPTH;
use aya_ebpf::helpers::generated::bpf_loop;

use super::{
    offset, probe,
    scratch::{Claim, Scratch},
    walk::{DEPTH_MASK, outcome},
};

/// `struct dentry`, by address: one that no hook is given. What can't be read is `None`.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HiddenDentry(u64);

impl HiddenDentry {
    /// None, where the hook was given the dentry that it is about.
    pub const NONE: Self = Self(0);

    /// The one at an address.
    #[inline(always)]
    pub const fn at(address: u64) -> Self {
        Self(address)
    }
    /// The directory it stands in; itself at the root.
    #[inline(always)]
    pub fn parent(self) -> Option<Self> {
        probe(self.0, offset!(dentry_parent)).map(Self)
    }
    /// Address of its name.
    #[inline(always)]
    pub fn name(self) -> Option<u64> {
        probe(self.0, offset!(dentry_name))
    }
    /// Length of its name.
    #[inline(always)]
    pub fn name_len(self) -> Option<u32> {
        probe(self.0, offset!(dentry_name_len))
    }
    /// See [`Dentry::sequence`](super::kernel::Dentry::sequence).
    #[inline(always)]
    pub fn sequence(self) -> Option<u32> {
        probe(self.0, offset!(dentry_seq))
    }
    /// Device and root of its filesystem.
    #[inline(always)]
    pub fn filesystem(self) -> Option<(u32, Self)> {
        let superblock: u64 = probe(self.0, offset!(dentry_sb))?;
        Some((probe(superblock, offset!(sb_dev))?, Self(probe(superblock, offset!(sb_root))?)))
    }
}

#[repr(C)]
struct Climb {
    dentry: HiddenDentry,
    scratch: *mut Scratch,
}

/// One component up; ends at the root, or where nothing can be read.
extern "C" fn climb(index: u64, climb: *mut Climb) -> i64 {
    // SAFETY: `bpf_loop` hands back the context it was given, alive for the time of the call.
    let climb = unsafe { &mut *climb };
    // SAFETY: the scratch slot is live and claimed.
    let walk = unsafe { &mut (*climb.scratch).walk };
    let dentry = climb.dentry;
    walk.depth = index as u32;
    // The counter before parent and name, as on other ways up.
    let (Some(sequence), Some(parent)) = (dentry.sequence(), dentry.parent()) else {
        walk.unread = 1;
        return 1;
    };
    walk.moving |= sequence;
    if parent == dentry || index >= u64::from(MAX_DEPTH) {
        return 1;
    }
    let (Some(address), Some(length)) = (dentry.name(), dentry.name_len()) else {
        walk.unread = 1;
        return 1;
    };
    // SAFETY: the mask keeps the index below MAX_DEPTH.
    let component = unsafe { &mut *walk.components.as_mut_ptr().add(index as usize & DEPTH_MASK) };
    component.sequence = sequence;
    component.length = length;
    component.address = address;
    climb.dentry = parent;
    0
}

/// The same chain again, for its sequence counters alone.
extern "C" fn compare(index: u64, climb: *mut Climb) -> i64 {
    // SAFETY: as for `climb`.
    let climb = unsafe { &mut *climb };
    // SAFETY: as for `climb`.
    let walk = unsafe { &mut (*climb.scratch).walk };
    let dentry = climb.dentry;
    let (Some(parent), Some(sequence)) = (dentry.parent(), dentry.sequence()) else { return 1 };
    if parent == dentry {
        walk.same = u32::from(index as u32 == walk.depth);
        return 1;
    }
    // SAFETY: the mask keeps the index below MAX_DEPTH.
    let noted = unsafe { (*walk.components.as_ptr().add(index as usize & DEPTH_MASK)).sequence };
    climb.dentry = parent;
    i64::from(sequence != noted)
}

/// Up to `root`, noting each name. False where it does not end there.
#[inline(always)]
pub fn rise(claim: &mut Claim, dentry: HiddenDentry, root: HiddenDentry) -> bool {
    let mut up = Climb { dentry, scratch: claim.as_ptr() };
    // SAFETY: callback and context fit each other. One turn more than the deepest path has, for its root.
    unsafe { bpf_loop(MAX_DEPTH + 1, climb as *mut c_void, (&raw mut up).cast(), 0) };
    let walk = claim.walk();
    if walk.unread != 0 || up.dentry == root {
        return walk.unread == 0;
    }
    walk.found.outcome = if walk.depth < MAX_DEPTH { outcome::DISCONNECTED } else { outcome::TOO_DEEP };
    false
}

/// Notes in the walk whether the chain is still the same.
#[inline(always)]
pub fn recheck(claim: &mut Claim, dentry: HiddenDentry) {
    let mut again = Climb { dentry, scratch: claim.as_ptr() };
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(MAX_DEPTH + 1, compare as *mut c_void, (&raw mut again).cast(), 0) };
}
