//! Decisions that repeat: the first one goes into the ring, the same again only raises a counter.
//!
//! A counter is an element of an array and is found by the key of its decision. It is taken before its record is sent
//! and found only after that is in the ring: what is counted continues a record that was told. Where no counter is
//! free, or another task was quicker, the decision is recorded in full: nothing is lost, it only costs more. The agent
//! gives a counter back when no program that found it still runs; why that loses no count is in
//! `docs/decisions/0020-repetitions.md`.

use core::ffi::c_void;

use aegis_common::{
    counter::Counter,
    event::{flag, reason, verdict},
    hash::PathHasher,
    repeat::{Repeat, RepeatKey},
};
use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_loop};

use super::{
    exchange, fetch_add, hash_key,
    kernel::{Task, boottime, current_uid_gid},
    ring,
    scratch::{BODY, BYTES, Claim, Scratch},
    table,
    walk::{load_word, store_word},
};
use crate::maps::{REPEAT_KEYS, REPEATS};

/// Words of the record's bytes that one turn hashes.
const TURN: u32 = 4;
const EPERM: u16 = 1;
/// Places of an agent's share that are tried.
const TRIES: u32 = 8;
/// Reasons of decisions that are always recorded in full: what they are about is not known, or the agent is out of
/// force.
const SINGLE: u32 = 1 << reason::KILLED
    | 1 << reason::UNCONFIGURED
    | 1 << reason::TOO_DEEP
    | 1 << reason::PATH_CHANGED
    | 1 << reason::DISCONNECTED
    | 1 << reason::READ_FAILED;

#[repr(C)]
struct Context {
    scratch: *mut Scratch,
}

/// Tells the record in `claim`, which says all but who the task is, with a body of `body` bytes and `bytes` bytes
/// behind it: into the ring, or as one more of what is there.
#[inline(always)]
pub fn tell(claim: &mut Claim, body: usize, bytes: u32) {
    let mut context = Context { scratch: claim.as_ptr() };
    let telling = claim.telling();
    telling.body = body as u32;
    telling.bytes = bytes;
    // A loop of one turn: the verifier follows what is in it once, not once for each way to it.
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(1, tell_one as *mut c_void, (&raw mut context).cast(), 0) };
}

extern "C" fn tell_one(_turn: u64, context: *mut Context) -> i64 {
    // SAFETY: callback and context fit each other. Loops of one turn here too, and what one finds lies in the slot.
    unsafe { bpf_loop(1, recognise as *mut c_void, context.cast(), 0) };
    // SAFETY: `bpf_loop` hands back the context it was given, alive for the time of the call; the slot is claimed.
    let mut claim = unsafe { Claim::of((*context).scratch) };
    if claim.telling().counted != 0 {
        return 0;
    }
    claim.header().seq = table::next_sequence();
    if claim.telling().key.object != 0 {
        // SAFETY: callback and context fit each other.
        unsafe { bpf_loop(TRIES, take as *mut c_void, context.cast(), 0) };
    }
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(1, send as *mut c_void, context.cast(), 0) };
    begin(&mut claim);
    0
}

/// Makes the key of the record in the slot, and counts it where that is known.
extern "C" fn recognise(_turn: u64, context: *mut Context) -> i64 {
    // SAFETY: as for `tell_one`.
    let mut claim = unsafe { Claim::of((*context).scratch) };
    let header = claim.header();
    let single = SINGLE >> (header.reason & 31) & 1 | u32::from(header.flags & flag::PATH_CUT);
    let telling = claim.telling();
    telling.counted = 0;
    telling.key.object = 0;
    if single == 0 {
        identify(&mut claim, context);
        claim.telling().counted = u32::from(count(&claim.telling().key));
    }
    0
}

/// Sends the record in the slot.
extern "C" fn send(_turn: u64, context: *mut Context) -> i64 {
    // SAFETY: as for `tell_one`.
    let mut claim = unsafe { Claim::of((*context).scratch) };
    ring::fill_task(claim.header());
    let telling = claim.telling();
    let (body, bytes) = (telling.body as usize, telling.bytes);
    let sent = ring::send(&mut claim, if body > BODY { BODY } else { body }, bytes);
    claim.telling().sent = u32::from(sent);
    if !sent {
        refuse_unrecorded(&mut claim);
    }
    0
}

/// Of what was allowed and could not be recorded: refuses it, where the policy wants nothing unrecorded.
#[inline(always)]
fn refuse_unrecorded(claim: &mut Claim) {
    let header = claim.header();
    if header.verdict == verdict::ALLOW && table::wants_records(header.image) {
        header.verdict = verdict::DENY;
        header.errno = EPERM;
        table::count(Counter::LostDenial);
        table::count(Counter::Unrecorded);
    }
}

/// What the current task is to a key; nothing else in it counts yet.
#[inline(always)]
pub fn current() -> RepeatKey {
    let task = Task::current();
    RepeatKey {
        start: task.leader().start(),
        exec: task.exec_count(),
        pid: task.tgid(),
        uid: current_uid_gid().0,
        cgroup: 0,
        object: 0,
        slot: 0,
        image: 0,
        generation: 0,
        rule: 0,
        kind: 0,
        errno: 0,
        op: 0,
        verdict: 0,
        reason: 0,
        flags: 0,
    }
}

/// Makes the key of the record in `claim`.
#[inline(always)]
fn identify(claim: &mut Claim, context: *mut Context) {
    let (bytes, body) = (claim.bytes(), claim.body());
    let telling = claim.telling();
    let mut hasher = PathHasher::new(hash_key());
    hasher.word(body[0]);
    hasher.word(body[1]);
    if telling.body > 16 {
        hasher.word(body[2]);
    }
    telling.hasher = hasher;
    // What follows the last byte is no part of it: the body says how many there are.
    let end = telling.bytes as usize & (BYTES - 1);
    let mut word = 0;
    while word < TURN as usize {
        // SAFETY: the mask keeps the place below BYTES, and behind that there is room for a name.
        unsafe { store_word(bytes.add(end + 8 * word), 0) };
        word += 1;
    }
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop((telling.bytes + 8 * TURN - 1) / (8 * TURN), hash_some as *mut c_void, context.cast(), 0) };
    let object = claim.telling().hasher.finish();
    let header = claim.header();
    let key = RepeatKey {
        cgroup: header.cgroup,
        object,
        slot: header.slot,
        image: header.image,
        generation: header.generation,
        rule: header.rule,
        kind: header.kind,
        errno: header.errno,
        op: header.op,
        verdict: header.verdict,
        reason: header.reason,
        flags: header.flags,
        ..current()
    };
    claim.telling().key = key;
}

/// Some words of the record's bytes. One way through: what follows the loop is verified once for each.
extern "C" fn hash_some(turn: u64, context: *mut Context) -> i64 {
    // SAFETY: as for `tell_one`.
    let mut claim = unsafe { Claim::of((*context).scratch) };
    let bytes = claim.bytes();
    let telling = claim.telling();
    let mut offset = turn as usize * TURN as usize * 8;
    let mut step = 0;
    while step < TURN {
        // SAFETY: the mask keeps the offset below BYTES, and behind that there is room for a name.
        telling.hasher.word(unsafe { load_word(bytes.add(offset & (BYTES - 1))) });
        offset += 8;
        step += 1;
    }
    0
}

/// Counts one more of what `key` says; false when nothing counts it.
#[inline(always)]
pub fn count(key: &RepeatKey) -> bool {
    let Some(place) = REPEAT_KEYS.get_ptr(key) else { return false };
    // SAFETY: four bytes of a live map value.
    let Some(counter) = REPEATS.get_ptr_mut(unsafe { place.read_volatile() }) else { return false };
    // The kernel uses the memory of a removed element again at once, so that the place may be another key's by now.
    // SAFETY: `counter` points at a live map value. Where it is ours, it stays so until the agent has waited for us.
    if !is_same(key, unsafe { &(*counter).key }) {
        return false;
    }
    let now = boottime();
    // SAFETY: `counter` points at a live map value, which is taken. Times are hints beside the count: of two tasks
    // that count at once either may be the one that is told.
    unsafe {
        let before = fetch_add(&raw mut (*counter).count, 1);
        if before == (&raw const (*counter).seen).read_volatile() {
            (&raw mut (*counter).first).write_volatile(now);
        }
        (&raw mut (*counter).last).write_volatile(now);
    }
    true
}

/// Whether two keys are the same: by words, without a branch for each.
#[inline(always)]
fn is_same(one: &RepeatKey, other: &RepeatKey) -> bool {
    const WORDS: usize = size_of::<RepeatKey>() / 8;
    let (one, other) = ((&raw const *one).cast::<u64>(), (&raw const *other).cast::<u64>());
    let mut differ = 0;
    let mut index = 0;
    while index < WORDS {
        // SAFETY: both keys are that many aligned words, without padding.
        differ |= unsafe { one.add(index).read_volatile() ^ other.add(index).read_volatile() };
        index += 1;
    }
    differ == 0
}

/// Takes a counter of the agent's share for the record in the slot, where this place is free.
extern "C" fn take(turn: u64, context: *mut Context) -> i64 {
    // SAFETY: as for `tell_one`.
    let mut claim = unsafe { Claim::of((*context).scratch) };
    let header = claim.header();
    let place = Repeat::place(header.slot, header.seq, turn as u32);
    let Some(counter) = REPEATS.get_ptr_mut(place) else { return 1 };
    // SAFETY: `counter` points at a live map value.
    if unsafe { exchange(&raw mut (*counter).taken, 1) } != 0 {
        return 0;
    }
    header.counter = place + 1;
    1
}

/// Lets programs find the counter that was taken for the record in `claim`, if one was; or gives it back where the
/// record was lost or another task's is found already.
#[inline(always)]
fn begin(claim: &mut Claim) {
    let sent = claim.telling().sent != 0;
    let header = claim.header();
    let (sequence, place) = (header.seq, header.counter.wrapping_sub(1));
    let Some(counter) = REPEATS.get_ptr_mut(place) else { return };
    let key = &claim.telling().key;
    // SAFETY: `counter` points at a live map value; it is ours, and the agent looks at it once it has a sequence number.
    unsafe {
        (*counter).key = *key;
        if sent && REPEAT_KEYS.insert(key, &place, u64::from(BPF_NOEXIST)).is_ok() {
            exchange(&raw mut (*counter).seq, sequence);
        } else {
            exchange(&raw mut (*counter).taken, 0);
        }
    }
}
