//! How a client opens a connection: the name of the server that its first bytes ask for, in the `server_name` of a TLS
//! ClientHello (RFC 8446, RFC 6066) or the `Host` of an HTTP/1 request (RFC 9112).
//!
//! One source for the kernel programs and the host, in steps like [`crate::dns`]. What one server might read in another
//! way than this is [`Step::Bad`]: a hello in several records, two names, an absolute target, a folded line, an end that is
//! not there yet. What is neither of the two is bad as well.
//!
//! Knows: these two formats. Must not know: which names are allowed, sockets.

use crate::dns::{MAX_LABEL, MAX_MESSAGE, MAX_NAME, Message, Step, fold, long, short};

/// Steps after which an opening is refused: one a byte, at worst.
pub const MAX_STEPS: u32 = MAX_MESSAGE + 1;
/// Longest name in text: what fits a name on the wire.
const LONGEST: u32 = MAX_NAME - 2;
/// Longest method.
const METHOD: u32 = 24;
/// Length of the version behind a request's target.
const VERSION: u32 = 9;

/// First byte of a TLS record with a handshake in it, and the second, whatever the version.
const HANDSHAKE: u8 = 22;
const MAJOR: u8 = 3;
const CLIENT_HELLO: u8 = 1;
/// Bytes of a record's header.
const RECORD: u32 = 5;
/// Where the session's id begins: behind both headers, the version and the random bytes.
const SESSION: u32 = RECORD + 4 + 2 + 32;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

const CR: u8 = b'\r';
const LF: u8 = b'\n';

/// A message that can be changed, byte by byte, where it lies.
pub trait MessageMut: Message {
    /// Writes one byte.
    fn put(&mut self, at: u32, byte: u8);
}

impl MessageMut for [u8] {
    fn put(&mut self, at: u32, byte: u8) {
        if let Some(place) = self.get_mut(at as usize) {
            *place = byte;
        }
    }
}

/// What a step to the left came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// There is more.
    More,
    /// A label is complete, its length in front of it here.
    Label(u32),
    /// There are no more.
    End,
    /// This is no host name.
    Bad,
}

/// What is being read.
mod phase {
    // A session's id, ciphers, compression: in the order in which they stand.
    pub const SESSION: u32 = 0;
    pub const CIPHERS: u32 = 1;
    pub const EXTENSIONS: u32 = 3;
    pub const EXTENSION: u32 = 4;
    pub const METHOD: u32 = 5;
    pub const TARGET: u32 = 6;
    pub const REQUEST: u32 = 7;
    pub const LINE: u32 = 8;
    pub const REST: u32 = 9;
    pub const VALUE: u32 = 10;
    pub const NAME: u32 = 11;
    pub const PORT: u32 = 12;
}

/// An opening being read.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    phase: u32,
    /// The next byte.
    at: u32,
    /// Length of what is there.
    end: u32,
    /// Where the name begins, at least one byte behind the front; 0 until it is found.
    pub name_at: u32,
    /// Behind the name.
    pub name_end: u32,
    /// The label that is read, from the right: where it ends.
    label_end: u32,
}

impl Reading {
    /// Begins with the first `length` bytes of a stream. False where they begin neither.
    #[inline(always)]
    #[must_use]
    pub fn begin(&mut self, message: &(impl Message + ?Sized), length: u32) -> bool {
        self.end = length;
        self.name_at = 0;
        self.name_end = 0;
        self.label_end = 0;
        self.at = 0;
        if length == 0 || length > MAX_MESSAGE {
            return false;
        }
        if message.byte(0) == HANDSHAKE {
            return self.begin_hello(message);
        }
        self.phase = phase::METHOD;
        true
    }

    /// The front of a hello, which has to fill one record.
    #[inline(always)]
    fn begin_hello(&mut self, message: &(impl Message + ?Sized)) -> bool {
        let record = short(message, 3) as u32;
        let whole = RECORD + record;
        let length = long(message, RECORD);
        if message.byte(1) != MAJOR || whole > self.end || length != (CLIENT_HELLO as u32) << 24 | record.wrapping_sub(4) {
            return false;
        }
        self.phase = phase::SESSION;
        self.at = SESSION;
        self.end = whole;
        true
    }

    /// The next part of a hello before its extensions, which has its length in front.
    #[inline(always)]
    fn part(&mut self, message: &(impl Message + ?Sized)) -> Step {
        let at = self.at;
        let next = if self.phase == phase::CIPHERS {
            at + 2 + short(message, at) as u32
        } else if self.phase == phase::EXTENSIONS {
            at + 2
        } else {
            at + 1 + message.byte(at) as u32
        };
        let fits = next < self.end
            || self.phase == phase::EXTENSIONS && next == self.end;
        if !fits || self.phase == phase::EXTENSIONS && next + short(message, at) as u32 != self.end {
            return Step::Bad;
        }
        self.at = next;
        self.phase += 1;
        Step::More
    }

    /// Whether a name was found, once the end is reached.
    #[inline(always)]
    #[must_use]
    pub const fn is_named(&self) -> bool {
        self.name_at != 0
    }

    /// Goes one step further.
    #[inline(always)]
    pub fn step(&mut self, message: &(impl Message + ?Sized)) -> Step {
        if self.phase < phase::EXTENSION {
            return self.part(message);
        }
        if self.phase == phase::EXTENSION {
            return self.extension(message);
        }
        let at = self.at;
        if at >= self.end {
            return Step::Bad;
        }
        let byte = message.byte(at);
        let blank = byte == b' ' || byte == b'\t';
        let ends = byte == LF || byte == CR;
        self.at = at + 1;
        if self.phase == phase::METHOD {
            if byte == b' ' && at != 0 {
                self.phase = phase::TARGET;
            } else if at >= METHOD || !byte.is_ascii_uppercase() && byte != b'-' {
                return Step::Bad;
            }
            return Step::More;
        }
        if self.phase == phase::TARGET {
            // Another form would name a server itself.
            let own = byte == b'/' || byte == b'*' && message.byte(at + 1) == b' ';
            self.phase = phase::REQUEST;
            return if own { Step::More } else { Step::Bad };
        }
        if self.phase == phase::LINE {
            if ends {
                return if self.is_line_end(message, at) { Step::End } else { Step::Bad };
            }
            let word = fold(message.word(at));
            let separator = (word >> 32) as u8;
            let host = word as u32 == u32::from_le_bytes(*b"host");
            // A line that goes on with the one before, or a blank before the colon.
            if blank || host && (separator == b' ' || separator == b'\t') {
                return Step::Bad;
            }
            self.phase = phase::REST;
            if host && separator == b':' {
                // The second name.
                if self.is_named() {
                    return Step::Bad;
                }
                self.at = at + 5;
                self.phase = phase::VALUE;
            }
            return Step::More;
        }
        if self.phase == phase::VALUE {
            if !blank {
                self.at = at;
                self.name_at = at;
                self.phase = phase::NAME;
            }
            return Step::More;
        }
        if self.phase == phase::NAME {
            if !(blank || ends || byte == b':') {
                return Step::More;
            }
            self.name_end = at;
            self.phase = phase::PORT;
        }
        if ends {
            // Without a version the server answers at once, whatever follows.
            let versioned = at > VERSION && message.word(at - VERSION) == u64::from_le_bytes(*b" HTTP/1.") && message.byte(at - 1).is_ascii_digit();
            if self.phase == phase::REQUEST && !versioned {
                return Step::Bad;
            }
            return self.next_line(message, at);
        }
        if self.phase == phase::PORT {
            return if blank || byte == b':' || byte.is_ascii_digit() { Step::More } else { Step::Bad };
        }
        // The rest of a line: eight bytes at once where none of them ends it.
        if !has_line_end(message.word(at)) && at + 8 <= self.end {
            self.at = at + 8;
        }
        Step::More
    }

    /// Whether a line ends at `at`: a CR means nothing alone.
    #[inline(always)]
    fn is_line_end(&self, message: &(impl Message + ?Sized), at: u32) -> bool {
        message.byte(at) == LF || at + 1 < self.end && message.byte(at + 1) == LF
    }

    #[inline(always)]
    fn next_line(&mut self, message: &(impl Message + ?Sized), at: u32) -> Step {
        if !self.is_line_end(message, at) {
            return Step::Bad;
        }
        self.at = at + if message.byte(at) == LF { 1 } else { 2 };
        self.phase = phase::LINE;
        Step::More
    }

    /// The next extension of a hello.
    #[inline(always)]
    fn extension(&mut self, message: &(impl Message + ?Sized)) -> Step {
        let at = self.at;
        if at == self.end {
            return Step::End;
        }
        let data = at + 4;
        let length = short(message, at + 2) as u32;
        self.at = data + length;
        if self.at > self.end {
            return Step::Bad;
        }
        if short(message, at) != SERVER_NAME {
            return Step::More;
        }
        // A list of one name.
        let name = data + 5;
        let one = length >= 5
            && short(message, data) as u32 == length - 2
            && message.byte(data + 2) == HOST_NAME
            && short(message, data + 3) as u32 == length - 5;
        if !one || self.is_named() {
            return Step::Bad;
        }
        self.name_at = name;
        self.name_end = self.at;
        Step::More
    }

    /// Goes to the left through the name that was found, a byte a step, and puts before each label its length, in the place
    /// of the dot: as names are on the wire.
    #[inline(always)]
    pub fn step_left(&mut self, message: &mut (impl MessageMut + ?Sized)) -> Left {
        if self.label_end == 0 {
            self.at = self.name_end;
            self.label_end = self.name_end;
            let length = self.name_end.wrapping_sub(self.name_at);
            return if length == 0 || length > LONGEST { Left::Bad } else { Left::More };
        }
        if self.left() == 0 {
            return Left::End;
        }
        let at = self.at - 1;
        self.at = at;
        let byte = message.byte(at);
        if self.left() == 0 || byte == b'.' {
            let length = self.label_end.wrapping_sub(at + 1);
            if length == 0 || length > MAX_LABEL {
                return Left::Bad;
            }
            message.put(at, length as u8);
            self.label_end = at;
            return Left::Label(at);
        }
        let good = byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if good { Left::More } else { Left::Bad }
    }

    /// How much of the name is left of the last label.
    #[inline(always)]
    #[must_use]
    pub const fn left(&self) -> u32 {
        (self.at + 1).wrapping_sub(self.name_at)
    }
}

/// Whether one of eight bytes is CR or LF.
#[inline(always)]
const fn has_line_end(word: u64) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let cr = word ^ (CR as u64 * EACH);
    let lf = word ^ (LF as u64 * EACH);
    ((cr.wrapping_sub(EACH) & !cr) | (lf.wrapping_sub(EACH) & !lf)) & (0x80 * EACH) != 0
}
