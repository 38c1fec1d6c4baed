//! Calls that an overlay makes on its layers, in the task that called the overlay.
//!
//! Knows: how such a call is told from the task's own, in a way that the task cannot bring about. Must not
//! know: how it is judged. The argument is in `docs/decisions/0019-overlays.md`. Whatever is not proven to be such a call
//! is the task's own.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;

use super::{
    facts,
    hidden::HiddenDentry,
    kernel::{File, OVERLAYFS_SUPER_MAGIC, SuperBlock, Task},
    memory, offset, probe,
    scratch::{Claim, Scratch},
    table,
    walk::Descent,
};

/// Words of an overlay's private data that its mounter's credentials are looked for in: they are the 15th to
/// 20th, and the struct has more than these on every kernel.
const INFO_WORDS: u32 = 22;

#[repr(C)]
struct Opening {
    file: File,
    scratch: *mut Scratch,
    serial: u64,
    wanted: u8,
}

/// Notes for the walk whether an overlay opens a file in a layer for the current thread, whether the image of this
/// serial has let it through before, and the dentry to judge where the file's own is the overlay's.
#[inline(always)]
pub fn note_opening(claim: &mut Claim, file: File, serial: u64, wanted: u8) {
    let mut opening = Opening { file, scratch: claim.as_ptr(), serial, wanted };
    // SAFETY: callback and context fit each other. Loops of one turn: the verifier goes on from their end once.
    unsafe {
        bpf_loop(1, look_at_opening as *mut c_void, (&raw mut opening).cast(), 0);
        bpf_loop(1, recall as *mut c_void, (&raw mut opening).cast(), 0);
    }
}

extern "C" fn recall(_turn: u64, opening: *mut Opening) -> i64 {
    // SAFETY: `bpf_loop` hands back the context it was given; its slot is live and claimed.
    let (opening, walk) = unsafe { (&*opening, &mut (*(*opening).scratch).walk) };
    walk.recalled = 0;
    if walk.below != 0 {
        let wanted = opening.wanted | memory::below(1);
        let known = memory::recall(opening.file, opening.file.dentry(), opening.serial, wanted);
        walk.recalled = u32::from(!known.is_none());
    }
    0
}

extern "C" fn look_at_opening(_turn: u64, opening: *mut Opening) -> i64 {
    // SAFETY: `bpf_loop` hands back the context it was given; its slot is live and claimed.
    let (file, walk) = unsafe { ((*opening).file, &mut (*(*opening).scratch).walk) };
    walk.below = 0;
    walk.hidden = HiddenDentry::NONE;
    if !Task::current().has_lent_credentials() {
        return 0;
    }
    let dentry = file.dentry();
    if facts().layer_alias != 0 && dentry.superblock().is_overlay() && !dentry.is_of(file.inode_pointer()) {
        walk.below = 1;
        walk.hidden = file.inode().some_name();
    } else {
        walk.below = u32::from(file.is_internal());
    }
    0
}

/// Credentials that an overlay acts with.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Lender {
    /// Address of the overlay's superblock.
    superblock: u64,
    /// Address of its mounter's credentials: these, or those that these were made from.
    mounter: u64,
}

/// Notes that the current thread is let through on a filesystem: what lends it credentials next may be this one.
#[inline(always)]
pub fn enter(superblock: SuperBlock) {
    if superblock.is_overlay() {
        table::enter_overlay(superblock.address());
    }
}

/// Notes for the walk whether an overlay acts on its layers for the current thread.
#[inline(always)]
pub fn note_acting(claim: &mut Claim) {
    let mut context = Descent { scratch: claim.as_ptr() };
    // SAFETY: callback and context fit each other; as in `note_opening`.
    unsafe { bpf_loop(1, look_at_acting as *mut c_void, (&raw mut context).cast(), 0) };
}

extern "C" fn look_at_acting(_turn: u64, context: *mut Descent) -> i64 {
    // SAFETY: `bpf_loop` hands back the context it was given; its slot is live and claimed.
    unsafe { (*(*context).scratch).walk.below = u32::from(acts()) };
    0
}

/// Whether an overlay acts for the current thread.
#[inline(always)]
pub fn acts() -> bool {
    lender().is_some()
}

/// The overlay that lends the current thread its credentials. The first time it is one that the thread was let
/// through on, or is just looking a name up on.
#[inline(always)]
fn lender() -> Option<Lender> {
    let task = Task::current();
    if !task.has_lent_credentials() {
        return None;
    }
    let used = task.credentials()?;
    if let Some(known) = table::lender(used)
        && is_mounter(known.superblock, known.mounter)
    {
        return Some(known);
    }
    // Nothing is known of them, or it was of an overlay that is gone, whose credentials had the same address.
    let mut found = Lender { superblock: table::entered_overlay(), mounter: used };
    if !is_mounter(found.superblock, used) {
        found.superblock = task.reached()?;
        if !is_mounter(found.superblock, used) {
            return None;
        }
    }
    table::set_lender(used, &found);
    Some(found)
}

/// A governed thread makes credentials from those that it acts with.
#[inline(always)]
pub fn prepared(new: u64) {
    if let Some(lender) = lender() {
        table::set_lender(new, &lender);
    } else {
        // Whatever was known by this address is gone; and no overlay acts for the thread now, so that what it is
        // lent next is not what it was lent before.
        table::forget_lender(new);
        table::leave_overlay();
    }
}

/// Private data of the overlay whose superblock is at an address; `None` where it is none, or not any more.
#[inline(always)]
fn overlay_info(superblock: u64) -> Option<u64> {
    let magic: u64 = probe(superblock, offset!(sb_magic))?;
    let root: u64 = probe(superblock, offset!(sb_root))?;
    if magic != OVERLAYFS_SUPER_MAGIC || root == 0 {
        return None;
    }
    probe(superblock, offset!(sb_info))
}

/// A word of a struct that the running kernel has no description of.
#[inline(always)]
fn word_of(address: u64, index: u64) -> Option<u64> {
    probe(address, index as usize * size_of::<u64>())
}

#[repr(C)]
struct Search {
    info: u64,
    used: u64,
    found: u32,
}

extern "C" fn compare(index: u64, search: *mut Search) -> i64 {
    // SAFETY: `bpf_loop` hands back the context it was given, alive for the time of the call.
    let search = unsafe { &mut *search };
    search.found = u32::from(word_of(search.info, index) == Some(search.used));
    i64::from(search.found)
}

/// Whether credentials are those of who mounted an overlay, which is still mounted. The struct that holds them
/// belongs to a module, which may be loaded later than these programs and so described nowhere: they are
/// looked for in the whole of it. An address of live credentials is in no other member.
#[inline(always)]
fn is_mounter(superblock: u64, used: u64) -> bool {
    let Some(info) = overlay_info(superblock) else { return false };
    let mut search = Search { info, used, found: 0 };
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(INFO_WORDS, compare as *mut c_void, (&raw mut search).cast(), 0) };
    search.found == 1
}
