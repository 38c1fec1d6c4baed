//! The strings of a program, arguments and environment: where they lie, and where one of them ends.
//!
//! Before the program begins they lie in its new address space, which nobody but the kernel can reach yet. No
//! helper reads that, so its page table is walked by hand (x86-64).

use super::{facts, probe};

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Pages that are looked at. The kernel takes three quarters of 8 MiB of strings at most
/// (`bprm_stack_limits`), which begin and end within a page.
pub const PAGES: u32 = 6 * 256 + 2;

/// Where all of memory is mapped, at the address that a page table's entry stands for.
#[inline(always)]
fn mapped(entry: u64) -> Option<u64> {
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
    let facts = facts();
    let base: u64 = probe(facts.page_offset_base, 0)?;
    let encrypted: u64 =
        if facts.encryption_mask == 0 { 0 } else { probe(facts.encryption_mask, 0)? };
    Some(base.wrapping_add(entry & ADDRESS & !encrypted))
}

/// One level of the page table; `None` where nothing is mapped, or a large page.
#[inline(always)]
fn descend(table: u64, address: u64, shift: u32) -> Option<u64> {
    const PRESENT: u64 = 1;
    const LARGE: u64 = 1 << 7;
    let entry: u64 = probe(table, (((address >> shift) & 511) * 8) as usize)?;
    // The bit means something else in the last level.
    let large = if shift == 12 { 0 } else { LARGE };
    if entry & (PRESENT | large) == PRESENT { mapped(entry) } else { None }
}

/// The kernel's address of a byte in the new address space.
#[inline(always)]
fn translate(page_table: u64, address: u64) -> Option<u64> {
    let mut table = page_table;
    if facts().five_levels == 1 {
        table = descend(table, address, 48)?;
    }
    let table = descend(table, address, 39)?;
    let table = descend(table, address, 30)?;
    let table = descend(table, address, 21)?;
    Some(descend(table, address, 12)?.wrapping_add(address & (PAGE - 1)))
}

/// The kernel's address of the byte at `at`, and how many bytes up to `end` are in its page. Without a
/// page table the address is the current task's own.
#[inline(always)]
pub fn rest_of_page(page_table: u64, at: u64, end: u64) -> Option<(u64, u32)> {
    if at >= end {
        return None;
    }
    let room = PAGE - (at & (PAGE - 1));
    let rest = end - at;
    let length = core::hint::black_box(if room < rest { room } else { rest }) as u32;
    let from = if page_table == 0 { at } else { translate(page_table, at)? };
    Some((from, length))
}

/// A word that has this in every byte.
#[inline(always)]
pub const fn every(byte: u8) -> u64 {
    0x0101_0101_0101_0101 * byte as u64
}

/// Bytes of a word that are zero: the lowest bit that is set is right, those above may be wrong.
#[inline(always)]
pub const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(every(1)) & !word & every(0x80)
}

/// All bits of the bytes before the first that `zeros` found.
#[inline(always)]
pub const fn before_first(zeros: u64) -> u64 {
    ((zeros & zeros.wrapping_neg()) >> 7) - 1
}
