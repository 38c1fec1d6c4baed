//! Names: questions followed through the rules, answers matched to them, addresses that were learned.

use core::ffi::c_void;

use aegis_common::{
    counter::Counter,
    dns::{self, HEADER, MAX_LABELS, MAX_STEPS, Step, record},
    event::DnsBody,
    hash::PathHasher,
    limits::{PLACE_SETS, PLACES_PER_SET},
    net::{NameKey, PlaceKey, PortRule, Question, ResolverKey, view},
    policy::image_flag,
};
use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::generated::{bpf_loop, bpf_probe_read_kernel},
};

use super::{
    dialogue::{Context, Dialogue, each, parts},
    hash_key,
    kernel::boottime,
    scratch::{Claim, MESSAGE},
    table,
    walk::{load_word, store_word},
};
use crate::{
    maps::{ADDRESSES, NAMES, QUESTIONS, RESOLVERS},
    subject::Subject,
};

const SECOND: u64 = 1_000_000_000;
/// How long a question waits for its answer.
const PATIENCE: u64 = 30 * SECOND;
/// Addresses of an answer that are looked at: as many as a message has room for.
const MAX_ADDRESSES: u32 = 256;
/// Addresses of an answer that its record tells.
const TOLD: u32 = 16;
/// Where they lie in the record's bytes while the answer is read: behind any name.
const ADDRESSES_AT: usize = 256;
const NONE: u32 = u32::MAX;

/// Whether an agent asks this resolver.
#[inline(always)]
pub fn is_resolver(image: u32, address: &[u8; 16]) -> bool {
    RESOLVERS.get_ptr(&ResolverKey { image, address: *address }).is_some()
}

/// Hides from the verifier what it knows of the resolver and of the message's length: it would follow the rest once for each
/// way to them.
#[inline(always)]
pub fn hide(claim: &mut Claim, resolver: &mut [u8; 16], length: &mut u32) {
    let dialogue = claim.dialogue();
    let place = dialogue.resolver.as_mut_ptr();
    // SAFETY: twice eight of sixteen bytes; volatile, so that nothing is carried over in registers.
    unsafe {
        store_word(place, load_word(resolver.as_ptr()));
        store_word(place.add(8), load_word(resolver.as_ptr().add(8)));
        *resolver = (&raw const dialogue.resolver).read_volatile();
        (&raw mut dialogue.length).write_volatile(*length);
        *length = (&raw const dialogue.length).read_volatile();
    }
}

/// Begins with what an agent says or hears, by the rules of an image.
#[inline(always)]
pub fn begin(claim: &mut Claim, subject: &Subject, image: u32) {
    let dialogue = claim.dialogue();
    dialogue.image = image;
    dialogue.slot = subject.slot;
    dialogue.flags = subject.flags;
    dialogue.ttl = [subject.least_ttl, subject.most_ttl];
    dialogue.told = 0;
    dialogue.new = 0;
    dialogue.private = 0;
    dialogue.homeless = 0;
    dialogue.named = 0;
}

/// Reads the question of the message in the slot. False where that is none.
#[inline(always)]
pub fn read_question(claim: &mut Claim, subject: &Subject, length: u32, answer: bool) -> bool {
    let mut context = Context::new(claim);
    // Any program may ask about a name that some program may reach.
    let programs = if subject.has(image_flag::PROGRAMS) { view::ALL } else { view::OTHERS };
    begin(claim, subject, view::of(subject.image, programs));
    let (dialogue, message) = parts(&raw mut context);
    dialogue.step = Step::Bad as u32;
    dialogue.reading.name_end = 0;
    if !dialogue.reading.begin(&message, length, hash_key()) || dialogue.reading.is_answer() != answer {
        return false;
    }
    dialogue.step = Step::More as u32;
    each(claim, MAX_LABELS as u32 + 1, step_of_question);
    claim.dialogue().reading.name_end != 0 && claim.dialogue().step != Step::Bad as u32
}

extern "C" fn step_of_question(_turn: u64, context: *mut Context) -> i64 {
    let (dialogue, message) = parts(context);
    let step = dialogue.reading.step(&message);
    dialogue.step = step as u32;
    i64::from(step != Step::More || dialogue.reading.name_end != 0)
}

/// The rules of the longest name that covers the one in question: the number of the first, and whether it is recorded.
#[inline(always)]
pub fn rule_of_question(claim: &mut Claim) -> Option<PortRule> {
    let dialogue = claim.dialogue();
    dialogue.taken = 0;
    dialogue.named = 0;
    dialogue.hasher = PathHasher::new(hash_key());
    each(claim, MAX_LABELS as u32, look_up_suffix);
    let dialogue = claim.dialogue();
    if dialogue.named == 0 {
        return None;
    }
    let key = NameKey { image: dialogue.image, below: dialogue.question.below, value: dialogue.question.rules };
    // SAFETY: the map is not preallocated: a removed element is not reused while we read it.
    unsafe { NAMES.get(&key) }.map(|rules| rules.rules[0])
}

/// Takes in the next label from the right.
extern "C" fn look_up_suffix(_turn: u64, context: *mut Context) -> i64 {
    let (dialogue, message) = parts(context);
    let (taken, all) = (dialogue.taken, dialogue.reading.labels);
    if taken >= all {
        return 1;
    }
    let start = dialogue.reading.starts[(all - 1 - taken) as usize & (MAX_LABELS - 1)];
    dialogue.taken = taken + 1;
    dialogue.take_label(&message, u32::from(start), all - 1 - taken);
    0
}

/// The set of places for a question.
#[inline(always)]
fn set_of_question(question: &Question) -> u32 {
    let mut hasher = PathHasher::new(hash_key());
    hasher.word(u64::from(question.port) << 16 | u64::from(question.id));
    hasher.finish() as u32 & (PLACE_SETS - 1)
}

/// Where a place of the set is.
#[inline(always)]
pub fn place(dialogue: &Dialogue, index: u32) -> PlaceKey {
    PlaceKey { slot: dialogue.slot, place: dialogue.set * PLACES_PER_SET + index }
}

/// Notes the question in the slot, which goes out to `resolver` from `port`. False where there is no place for it.
#[inline(always)]
pub fn note_question(claim: &mut Claim, resolver: &[u8; 16], port: u16, rule: u32) -> bool {
    find_question(claim, resolver, port);
    let dialogue = claim.dialogue();
    let index = if dialogue.found != NONE { dialogue.found } else { dialogue.free };
    if index == NONE {
        table::count(Counter::QuestionsFull);
        return false;
    }
    let question = &mut dialogue.question;
    question.asked = boottime();
    question.rule = rule;
    question.answered = 0;
    let key = place(dialogue, index);
    let noted = QUESTIONS.insert(&key, &dialogue.question, u64::from(BPF_ANY)).is_ok();
    if !noted {
        table::count(Counter::QuestionsFull);
    }
    noted
}

/// Looks for the place of the question in the slot, and for a free one.
#[inline(always)]
fn find_question(claim: &mut Claim, resolver: &[u8; 16], port: u16) {
    let dialogue = claim.dialogue();
    let question = &mut dialogue.question;
    question.resolver = *resolver;
    question.port = port;
    question.id = dialogue.reading.id;
    question.kind = dialogue.reading.kind;
    question.name = dialogue.reading.question;
    dialogue.set = set_of_question(question);
    dialogue.found = NONE;
    dialogue.free = NONE;
    each(claim, PLACES_PER_SET, look_at_question);
}

extern "C" fn look_at_question(turn: u64, context: *mut Context) -> i64 {
    let (dialogue, _) = parts(context);
    let index = turn as u32 & (PLACES_PER_SET - 1);
    let Some(known) = QUESTIONS.get_ptr(&place(dialogue, index)) else {
        if dialogue.free == NONE {
            dialogue.free = index;
        }
        // Places are taken in order and never given back one by one.
        return 1;
    };
    // SAFETY: a live map value; one that is replaced meanwhile is another question's, and is compared whole.
    let known = unsafe { &*known };
    let question = &dialogue.question;
    let old = boottime().wrapping_sub(known.asked) > PATIENCE;
    let same = known.port == question.port
        && known.id == question.id
        && known.kind == question.kind
        && known.name == question.name
        && same(&known.resolver, &question.resolver);
    if same && !old {
        dialogue.found = index;
        return 1;
    }
    if (old || known.answered != 0) && dialogue.free == NONE {
        dialogue.free = index;
    }
    0
}

/// Whether the answer in the slot is one to a question under way, which it then has. Its place may be taken from now on.
#[inline(always)]
pub fn match_question(claim: &mut Claim, resolver: &[u8; 16], port: u16) -> bool {
    find_question(claim, resolver, port);
    let dialogue = claim.dialogue();
    if dialogue.found == NONE {
        return false;
    }
    let Some(known) = QUESTIONS.get_ptr_mut(&place(dialogue, dialogue.found)) else { return false };
    // SAFETY: as for `look_at_question`. Which of two answers marks it does not matter.
    unsafe {
        dialogue.question = *known;
        (*known).answered = 1;
    }
    true
}

/// Microseconds since the question in the slot left; 0 without one. None waits for an hour.
#[inline(always)]
pub fn taken(claim: &mut Claim) -> u32 {
    let asked = claim.dialogue().question.asked;
    if asked == 0 { 0 } else { (boottime().wrapping_sub(asked) / 1_000) as u32 }
}

/// Learns the addresses of the answer in the slot. False where it can't be read to its end.
#[inline(always)]
pub fn learn(claim: &mut Claim) -> bool {
    let dialogue = claim.dialogue();
    let kind = dialogue.reading.kind;
    if (kind != record::A && kind != record::AAAA) || !dialogue.reading.is_whole() {
        return true;
    }
    let (bytes, end) = (claim.bytes(), claim.dialogue().reading.name_end);
    let learned = &mut claim.dialogue().learned;
    // Without the root's label.
    learned.name_len = end.wrapping_sub(HEADER + 1) & 0xff;
    // SAFETY: 256 bytes lie behind the header of a message, in the room for it or behind.
    unsafe {
        bpf_probe_read_kernel(
            (&raw mut learned.name).cast(),
            learned.name.len() as u32,
            bytes.add(MESSAGE + HEADER as usize).cast(),
        );
    }
    claim.dialogue().steps = MAX_STEPS;
    if claim.dialogue().step == Step::More as u32 {
        each(claim, MAX_ADDRESSES, next_address);
    }
    claim.dialogue().step == Step::End as u32
}

/// Goes on to the next address, and learns it. Loops, of one turn too, so that each part is verified once.
extern "C" fn next_address(_turn: u64, context: *mut Context) -> i64 {
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(MAX_STEPS, step_of_answer as *mut c_void, context.cast(), 0) };
    if parts(context).0.step != Step::Address as u32 {
        return 1;
    }
    // SAFETY: as above.
    unsafe { bpf_loop(1, learn_one as *mut c_void, context.cast(), 0) };
    0
}

extern "C" fn step_of_answer(_turn: u64, context: *mut Context) -> i64 {
    let (dialogue, message) = parts(context);
    // Of all addresses together.
    dialogue.steps = dialogue.steps.wrapping_sub(1);
    let step = if dialogue.steps > MAX_STEPS { Step::Bad } else { dialogue.reading.step(&message) };
    dialogue.step = step as u32;
    i64::from(step != Step::More)
}

extern "C" fn learn_one(_turn: u64, context: *mut Context) -> i64 {
    let (dialogue, _) = parts(context);
    let (high, low) = halves(&dialogue.reading.address);
    if dialogue.told < TOLD {
        let at = ADDRESSES_AT + 16 * (dialogue.told & (TOLD - 1)) as usize;
        // SAFETY: the bytes end far behind.
        unsafe {
            let bytes = (&raw mut (*(*context).scratch).record.bytes).cast::<u8>();
            store_word(bytes.add(at), high);
            store_word(bytes.add(at + 8), low);
        }
        dialogue.told += 1;
    }
    if dns::is_private_halves(u64::from_be(high), u64::from_be(low)) && dialogue.flags & image_flag::PRIVATE_ANSWERS == 0 {
        dialogue.private += 1;
        return 0;
    }
    let [least, most] = dialogue.ttl;
    let ttl = dialogue.reading.ttl;
    let ttl = if ttl < least { least } else { ttl };
    let ttl = if ttl > most { most } else { ttl };
    let learned = &mut dialogue.learned;
    let to = learned.address.as_mut_ptr();
    // SAFETY: twice eight of sixteen bytes.
    unsafe {
        store_word(to, high);
        store_word(to.add(8), low);
    }
    learned.until = boottime() + u64::from(ttl) * SECOND;
    learned.rules = dialogue.question.rules;
    learned.below = dialogue.question.below;
    dialogue.set = set_of_address(&learned.address);
    dialogue.found = NONE;
    dialogue.free = NONE;
    // SAFETY: callback and context fit each other.
    unsafe { bpf_loop(PLACES_PER_SET, look_at_address as *mut c_void, context.cast(), 0) };
    let (dialogue, _) = parts(context);
    if dialogue.found != NONE {
        return 0;
    }
    if dialogue.free == NONE || ADDRESSES.insert(&place(dialogue, dialogue.free), &dialogue.learned, u64::from(BPF_ANY)).is_err()
    {
        dialogue.homeless += 1;
        table::count(Counter::AddressesFull);
        return 0;
    }
    dialogue.new += 1;
    0
}

/// The halves of an address, in network order: loaded whole, not byte by byte.
#[inline(always)]
fn halves(address: &[u8; 16]) -> (u64, u64) {
    let from = address.as_ptr();
    // SAFETY: twice eight of sixteen bytes.
    unsafe { (load_word(from), load_word(from.add(8))) }
}

/// Whether two addresses are one.
#[inline(always)]
pub fn same(one: &[u8; 16], other: &[u8; 16]) -> bool {
    let (one, other) = (halves(one), halves(other));
    (one.0 ^ other.0) | (one.1 ^ other.1) == 0
}

/// The set of places for an address.
#[inline(always)]
pub fn set_of_address(address: &[u8; 16]) -> u32 {
    let (high, low) = halves(address);
    let mut hasher = PathHasher::new(hash_key());
    hasher.word(high);
    hasher.word(low);
    hasher.finish() as u32 & (PLACE_SETS - 1)
}

extern "C" fn look_at_address(turn: u64, context: *mut Context) -> i64 {
    let (dialogue, _) = parts(context);
    let index = turn as u32 & (PLACES_PER_SET - 1);
    let Some(known) = ADDRESSES.get_ptr_mut(&place(dialogue, index)) else {
        if dialogue.free == NONE {
            dialogue.free = index;
        }
        return 1;
    };
    let learned = &dialogue.learned;
    // SAFETY: a live map value. Of two answers that prolong it at once either time is one that holds.
    let (same, until) = unsafe {
        let same = (*known).rules == learned.rules && (*known).below == learned.below && self::same(&(*known).address, &learned.address);
        (same, (&raw const (*known).until).read_volatile())
    };
    if until <= boottime() {
        if dialogue.free == NONE {
            dialogue.free = index;
        }
    } else if same {
        if until < learned.until {
            // SAFETY: as above.
            unsafe { (&raw mut (*known).until).write_volatile(learned.until) };
        }
        dialogue.found = index;
        return 1;
    }
    0
}

/// The rule by which the address in the record's body may be reached that answered a name, if one may; see
/// [`Dialogue::look_in`].
#[inline(always)]
pub fn reached(claim: &mut Claim, subject: &Subject) -> Option<PortRule> {
    let body = claim.network_body();
    let dialogue = claim.dialogue();
    dialogue.slot = subject.slot;
    dialogue.set = set_of_address(&body.address);
    dialogue.found = NONE;
    each(claim, PLACES_PER_SET, look_for_rule);
    let dialogue = claim.dialogue();
    (dialogue.found != NONE).then_some(dialogue.rule)
}

extern "C" fn look_for_rule(turn: u64, context: *mut Context) -> i64 {
    let (dialogue, _) = parts(context);
    // SAFETY: as for `parts`.
    let body = unsafe { Claim::of((*context).scratch) }.network_body();
    let index = turn as u32 & (PLACES_PER_SET - 1);
    // SAFETY: the map is not preallocated: a removed element is not reused while we read it.
    let Some(known) = (unsafe { ADDRESSES.get(&place(dialogue, index)) }) else { return 1 };
    if !same(&known.address, &body.address) || known.until <= boottime() {
        return 0;
    }
    let key = NameKey { image: dialogue.image, below: known.below, value: known.rules };
    // SAFETY: as above.
    let Some(rules) = (unsafe { NAMES.get(&key) }) else { return 0 };
    let Some(rule) = table::port_rule_of(rules, body.port, body.protocol as u8) else { return 0 };
    dialogue.rule = rule;
    dialogue.found = index;
    body.name_len = known.name_len as u16 & 0xff;
    1
}

/// Copies the name that let the address in the record's body be reached behind it, where there is one, and returns its
/// length.
#[inline(always)]
pub fn tell_name(claim: &mut Claim) -> u32 {
    let body = claim.network_body();
    if body.name_len == 0 {
        return 0;
    }
    let dialogue = claim.dialogue();
    // SAFETY: as for `look_for_rule`.
    let known = unsafe { ADDRESSES.get(&place(dialogue, dialogue.found)) };
    // Another address may have taken the place.
    let Some(known) = known.filter(|known| same(&known.address, &body.address)) else {
        body.name_len = 0;
        return 0;
    };
    // SAFETY: the name has 256 bytes, the record's bytes are more.
    unsafe { bpf_probe_read_kernel(claim.bytes().cast(), known.name.len() as u32, (&raw const known.name).cast()) };
    u32::from(body.name_len) & 0xff
}

/// Puts the body of the record of the message in the slot, and behind it the name and the addresses. Returns how many bytes
/// that are.
#[inline(always)]
pub fn describe(claim: &mut Claim, resolver: &[u8; 16], taken: u32) -> u32 {
    let dialogue = claim.dialogue();
    let end = dialogue.reading.name_end;
    // A message that is none has no name.
    let name_len = if end == 0 { 0 } else { end.wrapping_sub(HEADER + 1) & 0xff };
    let kind = if end == 0 { 0 } else { dialogue.reading.kind };
    let told = dialogue.told & 31;
    claim.set_body(DnsBody { resolver: *resolver, kind, name_len: name_len as u8, addresses: told as u8, taken });
    let bytes = claim.bytes();
    // SAFETY: the name is copied from the message's room to the front, then the addresses to behind it; all lie within the
    // record's bytes.
    unsafe {
        bpf_probe_read_kernel(bytes.cast(), 256, bytes.add(MESSAGE + HEADER as usize).cast());
        bpf_probe_read_kernel(
            bytes.add(name_len as usize & 0xff).cast(),
            16 * TOLD,
            bytes.add(ADDRESSES_AT).cast(),
        );
    }
    name_len + 16 * told
}
