//! Servers: the name in the first bytes of a connection, held against the names by which its address was reached.
//!
//! The bytes lie where messages do, and everything that a step finds out in the slot: see `names`.

use core::ffi::c_void;

use aegis_common::{
    dns::{self, Step},
    hash::PathHasher,
    limits::PLACES_PER_SET,
    net::{NameKey, PortRule, server_check},
    opening::{Left, MAX_STEPS, MessageMut},
};
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

use super::{
    hash_key,
    dialogue::{Context, InSlot, each, parts},
    names::{begin, place, same, set_of_address},
    scratch::{Claim, MESSAGE},
    table,
};
use crate::{
    judge,
    maps::{ADDRESSES, NAMES},
    subject::Subject,
};

/// Longest name, with what it takes to find its end.
const NAME_STEPS: u32 = dns::MAX_NAME + 1;

/// What the first bytes say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The name of a server.
    Name,
    /// None.
    Nothing,
    /// What is not believed.
    Odd,
}

/// What is being found out.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Check {
    /// When the connection was opened.
    opened: u64,
    /// How many bytes there are.
    length: u32,
    /// Whether a rule was found that the address was reached by: the one that checks least.
    reached: u32,
    /// Whether the name fits one of them.
    fits: u32,
    /// It.
    rule: PortRule,
}

impl MessageMut for InSlot {
    #[inline(always)]
    fn put(&mut self, at: u32, byte: u8) {
        self.write(at, byte);
    }
}

/// Judges the first `length` bytes of a connection, which lie in the slot, and leaves what comes of it there. The address is
/// that of the record's body, the rules those of an image.
#[inline(always)]
pub fn judge(claim: &mut Claim, subject: &Subject, image: u32, length: u32, opened: u64) {
    begin(claim, subject, image);
    let check = &mut claim.dialogue().check;
    check.length = length;
    check.opened = opened;
    // Loops, of one turn too, so that each part is verified once.
    each(claim, 1, begin_reading);
    each(claim, MAX_STEPS, step);
    each(claim, NAME_STEPS, step_left);
    each(claim, 1, find_set);
    each(claim, PLACES_PER_SET, look_for_name);
    each(claim, 1, decide);
}

extern "C" fn begin_reading(_turn: u64, context: *mut Context) -> i64 {
    let (dialogue, message) = parts(context);
    dialogue.hasher = PathHasher::new(hash_key());
    let begun = dialogue.opening.begin(&message, dialogue.check.length);
    dialogue.step = if begun { Step::More } else { Step::Bad } as u32;
    0
}

extern "C" fn step(_turn: u64, context: *mut Context) -> i64 {
    let (dialogue, message) = parts(context);
    if dialogue.step != Step::More as u32 {
        return 1;
    }
    dialogue.step = dialogue.opening.step(&message) as u32;
    0
}

/// Goes to the left, and looks for rules at each label.
extern "C" fn step_left(_turn: u64, context: *mut Context) -> i64 {
    let (dialogue, mut message) = parts(context);
    if dialogue.step != Step::End as u32 || !dialogue.opening.is_named() {
        return 1;
    }
    match dialogue.opening.step_left(&mut message) {
        Left::More => 0,
        Left::Bad => {
            dialogue.step = Step::Bad as u32;
            1
        }
        Left::End => 1,
        Left::Label(at) => {
            let left = dialogue.opening.left();
            dialogue.take_label(&message, at, left);
            0
        }
    }
}

extern "C" fn find_set(_turn: u64, context: *mut Context) -> i64 {
    let (dialogue, _) = parts(context);
    // SAFETY: as for `parts`.
    let body = unsafe { Claim::of((*context).scratch) }.network_body();
    dialogue.set = set_of_address(&body.address);
    dialogue.check.reached = 0;
    dialogue.check.fits = 0;
    // Without a rule that the address was reached by, it is refused.
    dialogue.check.rule = PortRule { server: server_check::ENFORCE | server_check::ENFORCE << server_check::OTHERS, ..PortRule::NONE };
    0
}

/// Holds what was said against a name by which the agent reaches the address: whether it fits, and the rule that says what
/// becomes of it if not.
extern "C" fn look_for_name(turn: u64, context: *mut Context) -> i64 {
    let (dialogue, _) = parts(context);
    // SAFETY: as for `parts`.
    let body = unsafe { Claim::of((*context).scratch) }.network_body();
    // SAFETY: the map is not preallocated: a removed element is not reused while we read it.
    let Some(known) = (unsafe { ADDRESSES.get(&place(dialogue, turn as u32 & (PLACES_PER_SET - 1))) }) else { return 1 };
    // It may have ended since: what counts is when the connection was allowed.
    if !same(&known.address, &body.address) || known.until <= dialogue.check.opened {
        return 0;
    }
    let key = NameKey { image: dialogue.image, below: known.below, value: known.rules };
    // SAFETY: as above.
    let Some(rules) = (unsafe { NAMES.get(&key) }) else { return 0 };
    let Some(rule) = table::port_rule_of(rules, body.port, body.protocol as u8) else { return 0 };
    let check = &mut dialogue.check;
    if dialogue.named != 0 && dialogue.question.rules == known.rules && dialogue.question.below == known.below {
        check.fits = 1;
        check.rule = rule;
        return 1;
    }
    if check.reached == 0 || rule.server_check(body.port) < check.rule.server_check(body.port) {
        check.reached = 1;
        check.rule = rule;
    }
    0
}

extern "C" fn decide(_turn: u64, context: *mut Context) -> i64 {
    let (dialogue, _) = parts(context);
    // SAFETY: as for `parts`.
    let mut claim = unsafe { Claim::of((*context).scratch) };
    let said = if dialogue.step != Step::End as u32 {
        Said::Odd
    } else if dialogue.opening.is_named() {
        Said::Name
    } else {
        Said::Nothing
    };
    let (check, body) = (&dialogue.check, claim.network_body());
    // Of a name that is none of a host nothing is told.
    body.name_len = if said == Said::Name { (dialogue.opening.name_end - dialogue.opening.name_at + 1) as u16 & 0xff } else { 0 };
    let decision = judge::server(said, check.fits != 0, check.rule.rule, check.rule.server_check(body.port));
    claim.decide(decision);
    0
}

/// Copies the name that was said behind the record's body, and returns its length.
#[inline(always)]
pub fn tell(claim: &mut Claim) -> u32 {
    let at = claim.dialogue().opening.name_at.wrapping_sub(1) & dns::MAX_MESSAGE;
    let bytes = claim.bytes();
    // SAFETY: both lie within the record's bytes.
    unsafe { bpf_probe_read_kernel(bytes.cast::<c_void>(), 256, bytes.add(MESSAGE + at as usize).cast()) };
    u32::from(claim.network_body().name_len) & 0xff
}
