//! The arguments of a program that has not begun.
//!
//! They are read from the new address space (see `strings`): those of the old one can be changed by another
//! thread while they are looked at. The pages are fetched one after another, a word that crosses from one to
//! the next is put together, and each argument is hashed and followed through the rules.

use core::ffi::c_void;

use aegis_common::{
    argument::Followed,
    hash::PathHasher,
    limits::MAX_ARGV,
};
use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_kernel};

use super::{
    hash_key,
    kernel::Strings,
    scratch::{BYTES, Claim, Scratch},
    strings::{PAGE, PAGES, before_first, rest_of_page, zeros},
    table,
    walk::{load_word, store_word},
};

/// What is kept of the page before: less than a word.
const CARRY: u32 = 8;
/// Steps in one page: each takes a byte at least.
const STEPS: u32 = PAGE as u32 + CARRY;
const POSITION_MASK: u32 = BYTES as u32 - 1;

#[repr(C)]
struct Context {
    scratch: *mut Scratch,
}

/// What was read.
#[derive(Clone, Copy)]
pub struct Read {
    /// Ends of the argument rules that fit.
    pub fits: u64,
    /// Bytes of all arguments.
    pub length: u64,
}

/// One word: bytes of an argument, or the end of one and maybe the beginning of the next.
extern "C" fn step(_index: u64, context: *mut Context) -> i64 {
    // SAFETY: `bpf_loop` hands back the context it was given; the scratch slot is live and claimed.
    let scratch = unsafe { (*context).scratch };
    // SAFETY: as above.
    let reading = unsafe { &mut (*scratch).reading };
    let next = reading.next;
    if next.wrapping_add(8) > reading.limit {
        return 1;
    }
    // SAFETY: the mask keeps the place below BYTES, behind which there is room for a word.
    let word = unsafe {
        let bytes = (&raw mut (*scratch).record.bytes).cast::<u8>();
        load_word(bytes.add((next & POSITION_MASK) as usize))
    };
    let ends = zeros(word);
    let mut hasher = reading.hasher;
    if ends == 0 {
        hasher.word(word);
        reading.hasher = hasher;
        reading.length += 8;
        reading.next = next + 8;
        return 0;
    }
    let before = before_first(ends);
    let rest = before.count_ones() / 8;
    if rest > 0 {
        hasher.word(word & before);
    }
    hasher.word(u64::from(reading.length + rest));
    reading.next = next + rest + 1;
    reading.length = 0;
    reading.hasher = PathHasher::new(hash_key());
    if reading.named == 0 {
        reading.named = 1;
    } else if let Some(place) = table::argument_step(reading.image, hasher.finish()) {
        reading.followed.step(place);
    }
    reading.left = reading.left.wrapping_sub(1);
    i64::from(reading.left == 0)
}

/// One page: fetched behind what is left of the one before.
extern "C" fn page(_index: u64, context: *mut Context) -> i64 {
    // SAFETY: as for `step`.
    let scratch = unsafe { (*context).scratch };
    // SAFETY: as for `step`.
    let reading = unsafe { &mut (*scratch).reading };
    let Some((from, fetched)) = rest_of_page(reading.page_table, reading.at, reading.end) else { return 1 };
    let kept = reading.limit.wrapping_sub(reading.next) & (CARRY - 1);
    // SAFETY: the masks keep all places below BYTES, behind which there is room for a word; a page
    // behind CARRY is within them.
    let result = unsafe {
        let bytes = (&raw mut (*scratch).record.bytes).cast::<u8>();
        let last = load_word(bytes.add((reading.limit.wrapping_sub(CARRY) & POSITION_MASK) as usize));
        store_word(bytes, last);
        bpf_probe_read_kernel(
            bytes.add(CARRY as usize).cast(),
            fetched & (2 * PAGE as u32 - 1),
            from as *const c_void,
        )
    };
    if result != 0 {
        return 1;
    }
    reading.next = CARRY - kept;
    reading.limit = CARRY + fetched;
    reading.at += u64::from(fetched);
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(STEPS, step as *mut c_void, context.cast(), 0) };
    i64::from(reading.left == 0)
}

/// Reads all arguments and follows them through the rules of `image`. `None` when one of them can't be
/// read, or there are more bytes than the kernel takes.
#[inline(always)]
pub fn read(claim: &mut Claim, strings: Strings, image: u32) -> Option<Read> {
    let page_table = strings.page_table()?;
    let scratch = claim.as_ptr();
    // SAFETY: the slot is live and claimed.
    let reading = unsafe { &mut (*scratch).reading };
    reading.page_table = page_table;
    reading.at = strings.start;
    // Behind the environment stand the file's name, two bytes at least with its NUL, and eight bytes
    // of zeros: a whole word can be read wherever an argument ends.
    reading.end = strings.end.wrapping_add(8);
    reading.next = CARRY;
    reading.limit = CARRY;
    reading.left = strings.count;
    reading.length = 0;
    reading.image = image;
    reading.named = 0;
    reading.hasher = PathHasher::new(hash_key());
    reading.followed = Followed::default();
    let mut context = Context { scratch };
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(PAGES, page as *mut c_void, (&raw mut context).cast(), 0) };
    // SAFETY: as above.
    let reading = unsafe { &mut (*scratch).reading };
    let unused = u64::from(reading.limit.wrapping_sub(reading.next));
    (reading.left == 0).then_some(Read {
        fits: reading.followed.fits,
        length: reading.at.wrapping_sub(unused).wrapping_sub(strings.start),
    })
}

/// Copies what fits of `length` bytes of arguments into the record's bytes behind a path of `path`
/// bytes; how many they are, and whether some are missing.
#[inline(always)]
pub fn copy(claim: &mut Claim, strings: Strings, length: u64, path: u32) -> (u32, bool) {
    const CAP: u64 = MAX_ARGV as u64 - 1;
    let Some(page_table) = strings.page_table() else { return (0, true) };
    let scratch = claim.as_ptr();
    // SAFETY: the slot is live and claimed.
    let reading = unsafe { &mut (*scratch).reading };
    reading.page_table = page_table;
    reading.at = strings.start;
    reading.end = strings.start.wrapping_add(if length > CAP { CAP } else { length });
    reading.next = path;
    let mut context = Context { scratch };
    // What fits lies in two pages at most.
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(2, copy_page as *mut c_void, (&raw mut context).cast(), 0) };
    // SAFETY: as above.
    let reading = unsafe { &mut (*scratch).reading };
    (reading.next.wrapping_sub(path), reading.at.wrapping_sub(strings.start) < length)
}

/// What is wanted of one page, to a place in the record's bytes that has room for MAX_ARGV behind it.
extern "C" fn copy_page(_index: u64, context: *mut Context) -> i64 {
    // SAFETY: as for `step`.
    let scratch = unsafe { (*context).scratch };
    // SAFETY: as for `step`.
    let reading = unsafe { &mut (*scratch).reading };
    let Some((from, length)) = rest_of_page(reading.page_table, reading.at, reading.end) else { return 1 };
    let length = length & (MAX_ARGV as u32 - 1);
    // One register in the comparison and in the address, for the verifier.
    let place = core::hint::black_box(u64::from(reading.next));
    if place > (BYTES - MAX_ARGV) as u64 {
        return 1;
    }
    // SAFETY: place and length together stay below BYTES.
    let result = unsafe {
        let to = (&raw mut (*scratch).record.bytes).cast::<u8>().add(place as usize);
        bpf_probe_read_kernel(to.cast(), length, from as *const c_void)
    };
    if result != 0 {
        return 1;
    }
    reading.next += length;
    reading.at += u64::from(length);
    0
}
