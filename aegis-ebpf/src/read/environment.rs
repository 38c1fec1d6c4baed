//! The environment of a program: which variables are in it, never what they say.
//!
//! Before the program begins it lies behind the arguments in the new address space (see `strings`), and
//! is read there when a policy denies variables. When it has begun it is read as the task's own memory, for
//! the record. Variables are looked up by how they begin, so a part of the page before is kept.

use core::{ffi::c_void, ptr::addr_of_mut};

use aegis_common::environment::{EVERY_IMAGE, NOT_ALL_READ, VARIABLE, VariablePrefix};
use aya_ebpf::{
    helpers::generated::{bpf_loop, bpf_probe_read_kernel, bpf_probe_read_user},
    maps::lpm_trie,
};

use super::{
    kernel::{Strings, Task},
    scratch::{BYTES, Claim, Scratch},
    strings::{PAGE, PAGES, before_first, every, rest_of_page, zeros},
    table,
    walk::{load_word, store_word},
};

/// What is kept of the page before: more than the beginning of a variable.
const CARRY: u32 = 64;
/// Steps in one page: each takes a byte at least.
const STEPS: u32 = PAGE as u32 + CARRY;
/// Pages that are read for the record alone.
const RECORDED_PAGES: u32 = 32;
const POSITION_MASK: u32 = BYTES as u32 - 1;
const WORDS: usize = VARIABLE / 8;

const _: () = assert!(VARIABLE < CARRY as usize && VARIABLE.is_multiple_of(8));

/// State of a reading. The strings pass through the record's bytes.
#[repr(C)]
pub struct Reading {
    /// Page table, 0 for the current task's own memory.
    page_table: u64,
    /// Address of the first byte that was not fetched yet.
    at: u64,
    /// Where fetching ends.
    end: u64,
    /// Where the environment ends.
    stop: u64,
    /// Where in the record's bytes the next word begins, and what was fetched ends.
    next: u32,
    /// See `next`.
    limit: u32,
    /// Strings before the environment.
    skipped: u32,
    /// 1 where a string begins.
    fresh: u32,
    /// 1 once the end was reached.
    whole: u32,
    /// What was found: a rule, or bits of all known variables.
    found: u32,
    /// Bytes of the name of the variable that a rule denies.
    length: u32,
    reserved: u32,
    /// The beginning of the last variable.
    key: lpm_trie::Key<VariablePrefix>,
}

#[repr(C)]
struct Context {
    scratch: *mut Scratch,
}

#[inline(always)]
fn reading<'a>(scratch: *mut Scratch) -> &'a mut Reading {
    // SAFETY: the scratch slot is live and claimed.
    unsafe { &mut (*scratch).variables }
}

/// Looks at the variable that begins at a place in the record's bytes; true where a rule denies it.
#[inline(always)]
fn look_up(scratch: *mut Scratch, place: u32) -> bool {
    let reading = reading(scratch);
    let name = addr_of_mut!(reading.key.data.name).cast::<u8>();
    let mut word = 0;
    while word < WORDS {
        // SAFETY: the mask keeps the place below BYTES, behind which there is room for a variable.
        unsafe {
            let from = (&raw const (*scratch).record.bytes).cast::<u8>();
            let from = from.add((place & POSITION_MASK) as usize + word * 8);
            store_word(name.add(word * 8), load_word(from));
        }
        word += 1;
    }
    let Some(value) = table::variable(&reading.key) else { return false };
    reading.found |= value;
    reading.key.data.image != EVERY_IMAGE.to_be_bytes()
}

/// One word of a string; at its beginning, the variable.
extern "C" fn step(_index: u64, context: *mut Context) -> i64 {
    // SAFETY: `bpf_loop` hands back the context it was given, alive for the time of the call.
    let scratch = unsafe { (*context).scratch };
    let reading = reading(scratch);
    let next = reading.next;
    let left = reading.limit.wrapping_sub(next);
    if reading.fresh != 0 {
        if reading.at.wrapping_sub(u64::from(left)) >= reading.stop {
            reading.whole = 1;
            return 1;
        }
        if reading.skipped == 0 {
            if left < VARIABLE as u32 && reading.at < reading.end {
                return 1;
            }
            if look_up(scratch, next) {
                return 1;
            }
        }
        reading.fresh = 0;
    }
    if left < 8 {
        return 1;
    }
    // SAFETY: the mask keeps the place below BYTES, behind which there is room for a word.
    let word = unsafe {
        let bytes = (&raw const (*scratch).record.bytes).cast::<u8>();
        load_word(bytes.add((next & POSITION_MASK) as usize))
    };
    let ends = zeros(word);
    if ends == 0 {
        reading.next = next + 8;
        return 0;
    }
    let before = before_first(ends);
    reading.next = next + before.count_ones() / 8 + 1;
    reading.fresh = 1;
    reading.skipped -= u32::from(reading.skipped != 0);
    0
}

/// One page: fetched behind what is left of the one before.
extern "C" fn page(_index: u64, context: *mut Context) -> i64 {
    // SAFETY: as for `step`.
    let scratch = unsafe { (*context).scratch };
    let state = reading(scratch);
    let Some((from, length)) = rest_of_page(state.page_table, state.at, state.end) else { return 1 };
    let kept = state.limit.wrapping_sub(state.next) & (CARRY - 1);
    // SAFETY: the masks keep all places below BYTES, behind which there is room for a word; a page behind
    // CARRY is within them.
    let result = unsafe {
        let bytes = (&raw mut (*scratch).record.bytes).cast::<u8>();
        let mut word = 0;
        while word < CARRY {
            let last = state.limit.wrapping_sub(CARRY - word) & POSITION_MASK;
            store_word(bytes.add(word as usize), load_word(bytes.add(last as usize)));
            word += 8;
        }
        let to = bytes.add(CARRY as usize).cast();
        let length = length & (2 * PAGE as u32 - 1);
        if state.page_table == 0 {
            bpf_probe_read_user(to, length, from as *const c_void)
        } else {
            bpf_probe_read_kernel(to, length, from as *const c_void)
        }
    };
    if result != 0 {
        return 1;
    }
    state.next = CARRY - kept;
    state.limit = CARRY + length;
    state.at += u64::from(length);
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(STEPS, step as *mut c_void, context.cast(), 0) };
    let state = reading(scratch);
    i64::from(state.whole != 0 || state.key.data.image != EVERY_IMAGE.to_be_bytes() && state.found != 0)
}

/// Reads strings from `start` to `stop`, the first `skipped` of which are no variables.
#[inline(always)]
fn read(claim: &mut Claim, page_table: u64, start: u64, stop: u64, skipped: u32, image: u32, pages: u32) {
    let scratch = claim.as_ptr();
    let state = reading(scratch);
    state.page_table = page_table;
    state.at = start;
    // Behind the environment stand the file's name, two bytes at least with its NUL, and eight bytes of
    // zeros: a whole word can be read wherever a variable ends.
    state.end = stop.wrapping_add(8);
    state.stop = stop;
    state.next = CARRY;
    state.limit = CARRY;
    state.skipped = skipped;
    state.fresh = 1;
    state.whole = 0;
    state.found = 0;
    state.key.prefix_len = 8 * size_of::<VariablePrefix>() as u32;
    state.key.data.image = image.to_be_bytes();
    let mut context = Context { scratch };
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(pages, page as *mut c_void, (&raw mut context).cast(), 0) };
}

/// The rule of `image` that denies a variable of a program that has not begun, 0 for none. `None` where the
/// environment can't be read to its end.
#[inline(always)]
pub fn denied(claim: &mut Claim, strings: Strings, image: u32) -> Option<u32> {
    let page_table = strings.page_table()?;
    read(claim, page_table, strings.start, strings.end, strings.count, image, PAGES);
    let state = reading(claim.as_ptr());
    (state.whole != 0 || state.found != 0).then_some(state.found)
}

/// The known variables of a program that has just begun.
#[inline(always)]
pub fn known(claim: &mut Claim, task: Task) -> u32 {
    let Some((start, stop)) = task.environment() else { return NOT_ALL_READ };
    read(claim, 0, start, stop, 0, EVERY_IMAGE, RECORDED_PAGES);
    let state = reading(claim.as_ptr());
    if state.whole == 0 { state.found | NOT_ALL_READ } else { state.found }
}

/// Copies the name of the variable that was denied into the record's bytes behind a path of `path` bytes;
/// how many bytes it has. What is behind its `=` stays here.
#[inline(always)]
pub fn copy_name(claim: &mut Claim, path: u32) -> u32 {
    let state = reading(claim.as_ptr());
    let name = addr_of_mut!(state.key.data.name).cast::<u8>();
    let place = (path & (BYTES as u32 / 2 - 1)) as usize;
    // In map memory: the verifier would follow each length.
    state.length = VARIABLE as u32;
    let mut index = WORDS;
    while index > 0 {
        index -= 1;
        // SAFETY: within the key, and within the record: a path leaves as much room again behind it.
        let word = unsafe {
            let word = load_word(name.add(index * 8));
            store_word(claim.bytes().add(place + index * 8), word);
            word
        };
        let ends = zeros(word) | zeros(word ^ every(b'='));
        if ends != 0 {
            let before = before_first(ends);
            state.length = index as u32 * 8 + before.count_ones() / 8;
        }
    }
    // SAFETY: as for `reading`; volatile, so that it is read anew.
    unsafe { addr_of_mut!(state.length).read_volatile() & 63 }
}
