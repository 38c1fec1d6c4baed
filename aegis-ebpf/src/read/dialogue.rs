//! What is being found out about a message: a question, an answer, the beginning of a connection.
//!
//! The message lies in the record's bytes at [`MESSAGE`], and everything that a step finds out in the slot: what the
//! verifier does not follow cannot multiply its states.

use core::ffi::c_void;

use aegis_common::{
    dns::{self, Message, Reading},
    hash::PathHasher,
    net::{Learned, NameKey, PortRule, Question},
    opening,
};
use aya_ebpf::helpers::generated::bpf_loop;

use super::{
    scratch::{Claim, MESSAGE, Scratch},
    server::Check,
    walk::load_word,
};
use crate::maps::NAMES;

/// What is being found out.
#[repr(C)]
pub struct Dialogue {
    /// The message.
    pub reading: Reading,
    /// The beginning of a connection.
    pub opening: opening::Reading,
    /// The last step, as [`Step`].
    pub step: u32,
    /// Image whose rules count.
    pub image: u32,
    /// Slot of the agent.
    pub(super) slot: u32,
    /// Flags of the image.
    pub(super) flags: u32,
    /// Steps that are left for the answer.
    pub(super) steps: u32,
    /// Labels of the name that were taken in, from the right.
    pub(super) taken: u32,
    /// 1 once rules were found.
    pub named: u32,
    /// Of the labels that were taken in.
    pub hasher: PathHasher,
    /// The question.
    pub question: Question,
    /// The address that is being learned.
    pub(super) learned: Learned,
    /// Least and most seconds that it holds.
    pub(super) ttl: [u32; 2],
    /// Addresses told, taken, and not taken because they are not public.
    pub told: u32,
    /// See `told`.
    pub new: u32,
    /// See `told`.
    pub private: u32,
    /// Addresses for which there was no place.
    pub homeless: u32,
    /// A set of places, the one that is looked for in it, or else a free one.
    pub set: u32,
    pub(super) free: u32,
    pub(super) found: u32,
    /// See [`names::hide`](super::names::hide).
    pub(super) resolver: [u8; 16],
    /// See [`names::hide`](super::names::hide).
    pub(super) length: u32,
    /// What lets an address be reached.
    pub(super) rule: PortRule,
    /// The name that a connection begins with, held against those.
    pub check: Check,
}

impl Dialogue {
    /// Looks rules up in an image. Answers it anew, for the verifier: it follows what comes after once, not for each way here.
    #[inline(always)]
    pub fn look_in(&mut self, image: u32) -> u32 {
        let place = &raw mut self.image;
        // SAFETY: the slot is live and claimed; volatile, so that it is not carried over in registers.
        unsafe {
            place.write_volatile(image);
            place.read_volatile()
        }
    }

    /// Takes in a label, the next one to the left, and notes rules about the name so far: about itself, or where something is
    /// `left`, about what is below it.
    #[inline(always)]
    pub fn take_label(&mut self, message: &InSlot, at: u32, left: u32) {
        let mut hasher = self.hasher;
        dns::label_at(&mut hasher, message, at);
        self.hasher = hasher;
        // Behind the hash: before it, the verifier would follow that once for each.
        let key = NameKey { image: self.image, below: u32::from(left != 0), value: hasher.finish() };
        if NAMES.get_ptr(&key).is_some() {
            self.named = 1;
            self.question.rules = key.value;
            self.question.below = key.below;
        }
    }
}

/// What a loop goes over.
#[repr(C)]
pub struct Context {
    /// The slot.
    pub scratch: *mut Scratch,
}

impl Context {
    /// Of a claimed slot.
    #[inline(always)]
    pub const fn new(claim: &Claim) -> Self {
        Self { scratch: claim.as_ptr() }
    }
}

/// The message in a slot.
pub struct InSlot(*mut u8);

impl InSlot {
    /// Writes one byte.
    #[inline(always)]
    pub fn write(&mut self, at: u32, byte: u8) {
        // SAFETY: the mask keeps the place inside the message's room.
        unsafe { self.0.add((at & dns::MAX_MESSAGE) as usize).write_volatile(byte) };
    }
}

impl Message for InSlot {
    #[inline(always)]
    fn byte(&self, at: u32) -> u8 {
        // SAFETY: the mask keeps the place inside the message's room.
        unsafe { self.0.add((at & dns::MAX_MESSAGE) as usize).read_volatile() }
    }
    #[inline(always)]
    fn word(&self, at: u32) -> u64 {
        // SAFETY: as above; behind the room there is more than a word.
        unsafe { load_word(self.0.add((at & dns::MAX_MESSAGE) as usize)) }
    }
}

/// The dialogue and the message of the slot in a callback's context.
#[inline(always)]
pub fn parts<'a>(context: *mut Context) -> (&'a mut Dialogue, InSlot) {
    // SAFETY: `bpf_loop` hands back the context it was given, alive for the time of the call; the slot is claimed.
    unsafe {
        let scratch = (*context).scratch;
        let bytes = (&raw mut (*scratch).record.bytes).cast::<u8>();
        (&mut (*scratch).dialogue, InSlot(bytes.add(MESSAGE)))
    }
}

/// Runs a loop over the slot.
#[inline(always)]
pub fn each(claim: &Claim, turns: u32, callback: extern "C" fn(u64, *mut Context) -> i64) {
    let mut context = Context::new(claim);
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(turns, callback as *mut c_void, (&raw mut context).cast(), 0) };
}
