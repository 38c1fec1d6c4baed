//! Records into the ring: filled in place, sent whole, or counted as lost.

use core::ffi::c_void;

use aegis_common::{
    ABI_VERSION,
    counter::Counter,
    event::{EventHeader, kind, verdict},
    limits::RING_BYTES,
    net::Actor,
};
use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::{bpf_ringbuf_output, bpf_ringbuf_query},
};

use super::{
    kernel::{Task, boottime, current_comm, current_uid_gid},
    scratch::{BODY, BYTES, Claim},
    table,
};
use crate::maps::EVENTS;

/// Fills what every record says about the current task.
#[inline(always)]
pub fn fill_task(header: &mut EventHeader) {
    let task = Task::current();
    let (uid, gid) = current_uid_gid();
    header.abi = ABI_VERSION;
    header.boottime = boottime();
    header.start = task.leader().start();
    header.pid = task.tgid();
    header.tid = task.tid();
    header.ppid = task.parent().tgid();
    header.uid = uid;
    header.gid = gid;
    header.reserved = [0; 2];
    current_comm(&mut header.comm);
}

/// Fills what every record says about the task that asked, where it is not the current one.
#[inline(always)]
pub fn fill_asker(claim: &mut Claim) {
    // SAFETY: two parts of a slot that is claimed.
    let asker = unsafe { &(*claim.as_ptr()).dialogue.question.asker };
    let header = claim.header();
    header.abi = ABI_VERSION;
    header.boottime = boottime();
    header.start = asker.start;
    header.pid = asker.pid;
    header.tid = asker.tid;
    header.ppid = asker.ppid;
    header.uid = asker.uid;
    header.gid = asker.gid;
    header.reserved = [0; 2];
    header.comm = asker.comm;
}

/// What is kept of the current task for that.
#[inline(always)]
pub fn note_asker(asker: &mut Actor) {
    let task = Task::current();
    let (uid, gid) = current_uid_gid();
    asker.start = task.leader().start();
    asker.pid = task.tgid();
    asker.tid = task.tid();
    asker.ppid = task.parent().tgid();
    asker.uid = uid;
    asker.gid = gid;
    asker.reserved = 0;
    current_comm(&mut asker.comm);
}

/// Bytes that wait to be read.
#[inline(always)]
fn waiting() -> u64 {
    // SAFETY: the helper reads the map's own counters.
    unsafe { bpf_ringbuf_query((&raw const EVENTS).cast_mut().cast::<c_void>(), u64::from(BPF_RB_AVAIL_DATA)) }
}

/// Whether the longest record might not find room.
#[inline(always)]
pub fn is_full() -> bool {
    // With what the ring puts before each record.
    const LONGEST: usize = 16 + size_of::<EventHeader>() + BODY + BYTES;
    waiting() > u64::from(RING_BYTES) - LONGEST as u64
}

/// Whether the reader has to be woken: for what it must hear of at once, and when the ring fills
/// (waking costs more than ten times the record itself).
#[inline(always)]
fn wakeup(urgent: bool) -> u64 {
    if urgent || waiting() > u64::from(RING_BYTES) / 4 {
        u64::from(BPF_RB_FORCE_WAKEUP)
    } else {
        u64::from(BPF_RB_NO_WAKEUP)
    }
}

/// Sends the record in `claim` with a body of `body` bytes and `bytes` bytes behind it. False when it is
/// lost.
#[inline(always)]
pub fn send(claim: &mut Claim, body: usize, bytes: u32) -> bool {
    const HEADER: usize = size_of::<EventHeader>();
    const ALL: u32 = (HEADER + BODY + BYTES) as u32;
    let length = (HEADER + body) as u32 + ((bytes + 7) & !7);
    // The barrier keeps the bound in the form that the verifier follows.
    let length = core::hint::black_box(if length > ALL { ALL } else { length }) & 0x3fff;
    let length = if length > ALL { ALL } else { length };
    let header = claim.header();
    header.len = length;
    let (kind, verdict) = (header.kind, header.verdict);
    let record = (&raw mut *header).cast::<c_void>();
    // SAFETY: the record begins with its header and is at least ALL bytes long.
    let result = unsafe {
        bpf_ringbuf_output(
            (&raw const EVENTS).cast_mut().cast(),
            record,
            u64::from(length),
            wakeup(verdict != verdict::ALLOW),
        )
    };
    if result != 0 {
        table::count(match kind {
            kind::FILE => Counter::LostFile,
            kind::NETWORK | kind::UNIX | kind::DNS => Counter::LostNetwork,
            kind::GUARD | kind::CGROUP => Counter::LostGuard,
            _ => Counter::LostProcess,
        });
        if verdict == verdict::DENY {
            table::count(Counter::LostDenial);
        }
    }
    result == 0
}
