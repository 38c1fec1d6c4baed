//! DNS messages, as far as names are enforced by them: one question, and the addresses that answer it.
//!
//! One source for the kernel programs and the host. A [`Reading`] goes through a message in steps that each look at one
//! label, so that a program can take them in a bounded loop. Nothing here follows a pointer forward, and no step reads
//! behind the end. What does not fit is [`Step::Bad`]: refused, never guessed at.
//!
//! Names are hashed, with the case of ASCII folded. In reading order for comparing names of one message; from the right,
//! label by label, for rules (see [`hash_of`]), so that a rule about `*.example.org` is met on the way.
//!
//! Knows: RFC 1035, 3596 and 6891. Must not know: which names are allowed, who asks.

use crate::{hash::PathHasher, net::MAPPED_PREFIX};

/// Longest message that is read. A longer one is refused.
pub const MAX_MESSAGE: u32 = 4095;
/// Longest question. Programs ask in far less; the rest would carry something else.
pub const MAX_QUESTION: u32 = 512;
/// Longest name on the wire, the root label included.
pub const MAX_NAME: u32 = 255;
/// Longest label.
pub const MAX_LABEL: u32 = 63;
/// Most labels of a name.
pub const MAX_LABELS: usize = 128;
/// Steps after which a message is refused: many more than any honest one takes.
pub const MAX_STEPS: u32 = 2048;
/// Bytes before the question.
pub const HEADER: u32 = 12;
/// Port of resolvers.
pub const PORT: u16 = 53;

/// Types of records.
pub mod record {
    /// An IPv4 address.
    pub const A: u16 = 1;
    /// Another name of the same host.
    pub const CNAME: u16 = 5;
    /// An IPv6 address.
    pub const AAAA: u16 = 28;
    /// Not a record: what the sender understands (EDNS).
    pub const OPT: u16 = 41;
}

/// The class of the Internet.
const IN: u16 = 1;
/// Bits of the header's second word.
const RESPONSE: u16 = 1 << 15;
const OPCODE: u16 = 0xf << 11;
const TRUNCATED: u16 = 1 << 9;
const RCODE: u16 = 0xf;

/// Where a message's bytes are. What is asked for may lie behind the end; then anything may be answered.
pub trait Message {
    /// One byte.
    fn byte(&self, at: u32) -> u8;
    /// Eight bytes, the first the least significant.
    fn word(&self, at: u32) -> u64;
}

impl Message for [u8] {
    fn byte(&self, at: u32) -> u8 {
        self.get(at as usize).copied().unwrap_or(0)
    }
    fn word(&self, at: u32) -> u64 {
        let mut bytes = [0; 8];
        let from = self.get(at as usize..).unwrap_or_default();
        bytes.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        u64::from_le_bytes(bytes)
    }
}

/// Two bytes in network order.
#[inline(always)]
pub(crate) fn short(message: &(impl Message + ?Sized), at: u32) -> u16 {
    (message.byte(at) as u16) << 8 | message.byte(at + 1) as u16
}

/// Four bytes in network order.
#[inline(always)]
pub(crate) fn long(message: &(impl Message + ?Sized), at: u32) -> u32 {
    (short(message, at) as u32) << 16 | short(message, at + 2) as u32
}

/// Small letters for the capitals among eight bytes.
#[inline(always)]
#[must_use]
pub const fn fold(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let low = word & !HIGH;
    // The high bit of each byte: at least A; above Z.
    let from_a = low + (0x80 - b'A' as u64) * EACH;
    let above_z = low + (0x7f - b'Z' as u64) * EACH;
    word | ((from_a & !above_z & !word & HIGH) >> 2)
}

/// Takes in the label at `at`, whose length was checked.
#[inline(always)]
fn label(hasher: &mut PathHasher, message: &(impl Message + ?Sized), at: u32, length: u32) {
    hasher.word(length as u64);
    let mut offset = 0;
    while offset <= MAX_LABEL {
        if offset >= length {
            break;
        }
        let word = fold(message.word(at + 1 + offset));
        let left = length - offset;
        let kept = if left < 8 { !(u64::MAX << (8 * (left & 7))) } else { u64::MAX };
        hasher.word(word & kept);
        offset += 8;
    }
}

/// Takes in the label at `at` of a name that was read.
#[inline(always)]
pub fn label_at(hasher: &mut PathHasher, message: &(impl Message + ?Sized), at: u32) {
    label(hasher, message, at, u32::from(message.byte(at)) & MAX_LABEL);
}

/// The hash of a name for rules: of its labels in small letters, the rightmost first.
#[must_use]
pub fn hash_of<'n>(key: [u64; 2], labels_from_the_right: impl Iterator<Item = &'n [u8]>) -> u64 {
    let mut hasher = PathHasher::new(key);
    labels_from_the_right.for_each(|label| hasher.component(label));
    hasher.finish()
}

/// The labels of a name as it is on the wire, without the root's; what is behind an odd length is left out.
pub fn labels(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = name;
    core::iter::from_fn(move || {
        let (length, behind) = rest.split_first()?;
        let length = *length as usize;
        if length == 0 || length > behind.len() {
            return None;
        }
        let (label, behind) = behind.split_at(length);
        rest = behind;
        Some(label)
    })
}

/// Whether an address is one that a name out there has no business to answer with: of this host, of its networks, of the
/// services that a cloud has for its machines. IPv4 is `::ffff:a.b.c.d`.
#[inline(always)]
#[must_use]
pub const fn is_private(address: &[u8; 16]) -> bool {
    let a = address;
    let high = u64::from_be_bytes([a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]]);
    let low = u64::from_be_bytes([a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]]);
    is_private_halves(high, low)
}

/// As [`is_private`], of the halves of an address as numbers.
#[inline(always)]
#[must_use]
pub const fn is_private_halves(high: u64, low: u64) -> bool {
    let v4 = (low & 0xffff_ffff) as u32;
    if high == 0 {
        // ::, ::1, and what else embeds an IPv4 address without being one.
        return low >> 32 != 0xffff || is_private_v4(v4);
    }
    // Translated by NAT64: 64:ff9b::/96, and the one for private use beside it, 64:ff9b:1::/48.
    if high == 0x0064_ff9b_0000_0000 && low >> 32 == 0 {
        return is_private_v4(v4);
    }
    if high >> 16 == 0x0064_ff9b_0001 {
        return true;
    }
    // 6to4 carries an IPv4 address behind 2002.
    if high >> 48 == 0x2002 {
        return is_private_v4((high >> 16 & 0xffff_ffff) as u32);
    }
    // fc00::/7, fe80::/10, fec0::/10, ff00::/8, 100::/64.
    high >> 57 == 0xfc >> 1 || high >> 55 == 0xfe80 >> 7 || high >> 56 == 0xff || high == 0x0100_0000_0000_0000
}

/// As [`is_private`].
#[inline(always)]
const fn is_private_v4(address: u32) -> bool {
    let first = address >> 24;
    first == 0
        || first == 10
        || first == 127
        || first >= 224
        || address >> 16 == 0xa9fe // 169.254/16
        || address >> 20 == 0xac1 // 172.16/12
        || address >> 16 == 0xc0a8 // 192.168/16
        || address >> 22 == 0x0191 // 100.64/10
        || address >> 8 == 0x00c0_0000 // 192.0.0/24
        || address >> 17 == 0x6309 // 198.18/15
        || address == 0xa83f_8110 // 168.63.129.16, of Azure
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Step {
    /// There is more.
    More = 0,
    /// The end was reached.
    End = 1,
    /// This is no message that is believed.
    Bad = 2,
    /// An address of the name in question; there is more.
    Address = 3,
}

/// Where the reading of a name stands.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Walk {
    /// The next byte.
    at: u32,
    /// A pointer must lead before this: each leads further to the front, so none leads in a circle.
    before: u32,
    /// Where the message goes on behind the name; 0 until that is known.
    after: u32,
    /// Bytes of the name so far.
    length: u32,
    hasher: PathHasher,
}

impl Walk {
    #[inline(always)]
    const fn begin(&mut self, at: u32, key: [u64; 2]) {
        self.at = at;
        self.before = at;
        self.after = 0;
        self.length = 0;
        self.hasher = PathHasher::new(key);
    }

    /// Takes in a label, or follows a pointer.
    #[inline(always)]
    fn step(&mut self, message: &(impl Message + ?Sized), end: u32) -> Step {
        let at = self.at;
        if at >= end {
            return Step::Bad;
        }
        let first = message.byte(at) as u32;
        if first >= 0xc0 {
            let to = (first & 0x3f) << 8 | message.byte(at + 1) as u32;
            if at + 1 >= end || to < HEADER || to >= self.before {
                return Step::Bad;
            }
            if self.after == 0 {
                self.after = at + 2;
            }
            self.at = to;
            self.before = to;
            return Step::More;
        }
        if first == 0 {
            if self.after == 0 {
                self.after = at + 1;
            }
            return Step::End;
        }
        let length = self.length + first + 1;
        if first > MAX_LABEL || at + 1 + first > end || length >= MAX_NAME {
            return Step::Bad;
        }
        let mut hasher = self.hasher;
        label(&mut hasher, message, at, first);
        self.hasher = hasher;
        self.length = length;
        self.at = at + 1 + first;
        Step::More
    }
}

/// What is being read.
mod phase {
    pub const QUESTION: u32 = 0;
    pub const OWNER: u32 = 1;
    pub const ALIAS: u32 = 2;
    pub const END: u32 = 3;
}

/// A message being read.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    key: [u64; 2],
    walk: Walk,
    phase: u32,
    /// Length of the message.
    end: u32,
    /// Records of the answer still to come.
    records: u32,
    /// Where the next record begins.
    next: u32,
    /// The name whose addresses count: the question's, then what it is another name of.
    wanted: u64,
    /// Hash of the name in question.
    pub question: u64,
    /// Behind the name in question; it begins at [`HEADER`].
    pub name_end: u32,
    /// Seconds for which `address` may be kept.
    pub ttl: u32,
    /// Number that answer and question share.
    pub id: u16,
    /// Type in question.
    pub kind: u16,
    /// Second word of the header.
    flags: u16,
    additional: u16,
    /// Labels of the name in question.
    pub labels: u32,
    /// The last address, IPv4 as `::ffff:a.b.c.d`.
    pub address: [u8; 16],
    /// Where they begin.
    pub starts: [u16; MAX_LABELS],
}

impl Default for Reading {
    fn default() -> Self {
        Self::new()
    }
}

impl Reading {
    /// Of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            key: [0; 2],
            walk: Walk { at: 0, before: 0, after: 0, length: 0, hasher: PathHasher::new([0; 2]) },
            phase: 0,
            end: 0,
            records: 0,
            next: 0,
            wanted: 0,
            question: 0,
            name_end: 0,
            ttl: 0,
            id: 0,
            kind: 0,
            flags: 0,
            additional: 0,
            labels: 0,
            address: [0; 16],
            starts: [0; MAX_LABELS],
        }
    }

    /// Begins with a message of `length` bytes. False where its header is none of a question or an answer to one.
    #[inline(always)]
    #[must_use]
    pub fn begin(&mut self, message: &(impl Message + ?Sized), length: u32, key: [u64; 2]) -> bool {
        if length <= HEADER || length > MAX_MESSAGE {
            return false;
        }
        self.key = key;
        self.end = length;
        self.phase = phase::QUESTION;
        self.labels = 0;
        self.id = short(message, 0);
        self.flags = short(message, 2);
        self.records = short(message, 6) as u32;
        self.additional = short(message, 10);
        self.walk.begin(HEADER, key);
        let others = self.records != 0 || short(message, 8) != 0 || self.additional > 1;
        let only_asks = !others && length <= MAX_QUESTION && self.flags & (TRUNCATED | RCODE) == 0;
        self.flags & OPCODE == 0 && short(message, 4) == 1 && (self.is_answer() || only_asks)
    }

    /// Whether it answers.
    #[inline(always)]
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        self.flags & RESPONSE != 0
    }

    /// Whether the whole answer is here, and says that there is something.
    #[inline(always)]
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.flags & (TRUNCATED | RCODE) == 0
    }

    /// Goes one step further. After [`Step::End`] of a question its name, type and labels are known; an answer ends behind
    /// its last record that counts.
    #[inline(always)]
    pub fn step(&mut self, message: &(impl Message + ?Sized)) -> Step {
        if self.phase == phase::END {
            return Step::End;
        }
        if self.phase == phase::QUESTION {
            let at = self.walk.at;
            self.starts[self.labels as usize & (MAX_LABELS - 1)] = (at & 0xffff) as u16;
            self.labels += 1;
        }
        match self.walk.step(message, self.end) {
            Step::End => {}
            other => return other,
        }
        let (hash, after) = (self.walk.hasher.finish(), self.walk.after);
        match self.phase {
            phase::QUESTION => self.asked(message, hash, after),
            phase::OWNER => self.record(message, hash, after),
            // The other name ends where its record ends.
            _ if after == self.next => {
                self.wanted = hash;
                self.next_record()
            }
            _ => Step::Bad,
        }
    }

    /// Behind the name in question.
    #[inline(always)]
    fn asked(&mut self, message: &(impl Message + ?Sized), hash: u64, after: u32) -> Step {
        // The root's label is none.
        self.labels -= 1;
        self.name_end = after;
        self.question = hash;
        self.wanted = hash;
        self.next = after + 4;
        if self.next > self.end || short(message, after + 2) != IN {
            return Step::Bad;
        }
        self.kind = short(message, after);
        if self.is_answer() { self.next_record() } else { self.ends(message) }
    }

    /// Whether nothing is behind a question but what EDNS puts there.
    #[inline(always)]
    fn ends(&self, message: &(impl Message + ?Sized)) -> Step {
        const FIXED: u32 = 11;
        let at = self.next;
        let plain = self.additional == 0 && at == self.end;
        let extended = self.additional == 1
            && at + FIXED <= self.end
            && message.byte(at) == 0
            && short(message, at + 1) == record::OPT
            && at + FIXED + short(message, at + 9) as u32 == self.end;
        if plain || extended { Step::End } else { Step::Bad }
    }

    #[inline(always)]
    const fn next_record(&mut self) -> Step {
        if self.records == 0 || (self.kind != record::A && self.kind != record::AAAA) || !self.is_whole() {
            self.phase = phase::END;
            return Step::End;
        }
        self.records -= 1;
        self.phase = phase::OWNER;
        self.walk.begin(self.next, self.key);
        Step::More
    }

    /// Behind the name of a record.
    #[inline(always)]
    fn record(&mut self, message: &(impl Message + ?Sized), hash: u64, after: u32) -> Step {
        const FIXED: u32 = 10;
        let data = after + FIXED;
        if data > self.end {
            return Step::Bad;
        }
        let kind = short(message, after);
        let length = short(message, after + 8) as u32;
        self.next = data + length;
        if self.next > self.end {
            return Step::Bad;
        }
        if short(message, after + 2) != IN || hash != self.wanted {
            return self.next_record();
        }
        if kind == record::CNAME {
            self.phase = phase::ALIAS;
            self.walk.begin(data, self.key);
            return Step::More;
        }
        if kind != self.kind {
            return self.next_record();
        }
        self.ttl = long(message, after + 4);
        if kind == record::A && length == 4 {
            self.address = [0; 16];
            self.address[10] = MAPPED_PREFIX[10];
            self.address[11] = MAPPED_PREFIX[11];
            self.address[12] = message.byte(data);
            self.address[13] = message.byte(data + 1);
            self.address[14] = message.byte(data + 2);
            self.address[15] = message.byte(data + 3);
        } else if kind == record::AAAA && length == 16 {
            let (high, low) = (message.word(data).to_le_bytes(), message.word(data + 8).to_le_bytes());
            let mut index = 0;
            while index < 8 {
                self.address[index] = high[index];
                self.address[index + 8] = low[index];
                index += 1;
            }
        } else {
            return Step::Bad;
        }
        // Behind the last one the next step is the end.
        let _ = self.next_record();
        Step::Address
    }
}
