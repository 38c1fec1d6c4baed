//! Every read of kernel memory, and all the unsafe code that is not an entry point.
//!
//! Knows: struct offsets, helpers, how to satisfy the verifier. Must not know: what a rule means.
//!
//! Pointers that came from BTF (hook arguments and what is loaded from them) are dereferenced
//! directly: the verifier checks type and offset, and the kernel handles a fault. Everything else
//! goes through `bpf_probe_read_kernel`.

pub mod arguments;
pub mod connection;
pub mod dialogue;
pub mod environment;
pub mod glob;
pub mod hidden;
pub mod kernel;
pub mod memory;
pub mod names;
pub mod overlay;
pub mod packet;
pub mod program;
pub mod repeat;
pub mod ring;
pub mod running;
pub mod scratch;
pub mod server;
mod strings;
pub mod table;
pub mod walk;

use core::{
    ffi::c_void,
    intrinsics::{AtomicOrdering, atomic_xadd, atomic_xchg},
    ptr::read_volatile,
};

use aegis_common::offsets::{KernelFacts, KernelOffsets};
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

/// Set by the agent before load; the verifier folds the loads to constants.
#[unsafe(no_mangle)]
static KERNEL_OFFSETS: KernelOffsets = KernelOffsets::zeroed();
/// Set by the agent before load.
#[unsafe(no_mangle)]
static KERNEL_FACTS: KernelFacts = KernelFacts {
    setattr_dentry_first: 0,
    five_levels: 0,
    page_offset_base: 0,
    encryption_mask: 0,
    layer_alias: 0,
    perf_type_second: 0,
};
/// Secret key of the path hash, set by the agent before load.
#[unsafe(no_mangle)]
static HASH_KEY: [u64; 2] = [0; 2];

/// Offset of a member, by the name of its field in [`KernelOffsets`].
macro_rules! offset {
    ($field:ident) => {
        $crate::read::constant(&$crate::read::KERNEL_OFFSETS.$field) as usize
    };
}
pub(crate) use offset;

/// Value of a constant that the agent sets before load.
#[inline(always)]
fn constant<T: Copy>(value: &'static T) -> T {
    // SAFETY: a reference is always readable; volatile, so that the compiler does not fold the
    // zeros it sees at build time.
    unsafe { read_volatile(value) }
}

/// Facts that the agent set.
#[inline(always)]
pub fn facts() -> KernelFacts {
    constant(&KERNEL_FACTS)
}

/// The secret key of the path hash.
#[inline(always)]
pub fn hash_key() -> [u64; 2] {
    constant(&HASH_KEY)
}

/// Loads a member through a BTF-typed pointer.
///
/// # Safety
/// `base` must be a pointer that the verifier knows as the struct that `offset` belongs to.
#[inline(always)]
unsafe fn load<T: Copy>(base: *const u8, offset: usize) -> T {
    // SAFETY: the verifier refuses the program when type and offset do not fit; volatile keeps the
    // load where it is.
    unsafe { read_volatile(base.add(offset).cast()) }
}

/// Reads from an address that the verifier knows nothing about.
#[inline(always)]
fn probe<T: Copy + Default>(address: u64, offset: usize) -> Option<T> {
    let mut value = T::default();
    // SAFETY: the helper copies at most `size_of::<T>()` bytes to `value`, or fails.
    let result = unsafe {
        bpf_probe_read_kernel(
            (&raw mut value).cast(),
            size_of::<T>() as u32,
            (address as usize).wrapping_add(offset) as *const c_void,
        )
    };
    (result == 0).then_some(value)
}

/// Adds to a counter in a map, atomically, and returns the value before.
///
/// # Safety
/// `counter` must point into a live map value.
#[inline(always)]
unsafe fn fetch_add(counter: *mut u64, value: u64) -> u64 {
    // SAFETY: the caller's.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(counter, value) }
}

/// Exchanges a word in a map, atomically, and returns the value before.
///
/// # Safety
/// `word` must point into a live map value.
#[inline(always)]
unsafe fn exchange(word: *mut u64, value: u64) -> u64 {
    // SAFETY: the caller's.
    unsafe { atomic_xchg::<u64, { AtomicOrdering::SeqCst }>(word, value) }
}

/// `-EACCES`, as a constant the compiler can't fold into arithmetic: the verifiers of Linux 6.9 to 6.12
/// can't bound `-(condition)`.
#[inline(always)]
pub fn minus_eacces() -> i32 {
    let value: i64;
    // SAFETY: one move of a constant.
    unsafe { core::arch::asm!("{} = -13", out(reg) value) };
    value as i32
}

/// `-EPERM`, likewise.
#[inline(always)]
pub fn minus_eperm() -> i32 {
    let value: i64;
    // SAFETY: one move of a constant.
    unsafe { core::arch::asm!("{} = -1", out(reg) value) };
    value as i32
}
