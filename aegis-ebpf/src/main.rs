//! The kernel programs of Aegis.
//!
//! `hook/` holds one file a family of hooks, thin entries that never import one another; `read/`
//! holds every kernel read and all the unsafe code; `subject` says who the current task is;
//! `judge` turns what was looked up into a decision; `conclude` records it and gives the return value.
//!
//! The panic handler loops for ever: the verifier refuses a program in which a panic survives.
#![no_std]
#![no_main]
#![feature(core_intrinsics, asm_experimental_arch)]
#![allow(internal_features, reason = "atomics of the BPF target exist only as intrinsics")]

mod conclude;
mod file;
mod guarded;
mod hook;
mod judge;
mod maps;
mod read;
mod subject;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Kernel helpers are reserved for GPL-compatible programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
