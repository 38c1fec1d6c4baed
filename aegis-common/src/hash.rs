//! The keyed hash of a path: SipHash-1-3 over its components.
//!
//! Agents choose file names, so the key is random and secret: without it nobody can make two
//! names collide. Each component contributes its length and then its bytes in little-endian words,
//! the last one padded with zeros; the length keeps `a/bc` and `ab/c` apart.

/// Running hash of a component chain. Copying it and calling [`PathHasher::finish`] gives the hash
/// of the prefix read so far.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct PathHasher {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl PathHasher {
    /// Starts at the root of a filesystem.
    #[inline(always)]
    #[must_use]
    pub const fn new(key: [u64; 2]) -> Self {
        Self {
            v0: key[0] ^ 0x736f_6d65_7073_6575,
            v1: key[1] ^ 0x646f_7261_6e64_6f6d,
            v2: key[0] ^ 0x6c79_6765_6e65_7261,
            v3: key[1] ^ 0x7465_6462_7974_6573,
        }
    }

    #[inline(always)]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
    }

    /// Takes in one word: a component's length, or eight of its bytes.
    #[inline(always)]
    pub fn word(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.v0 ^= word;
    }

    /// Takes in one component.
    pub fn component(&mut self, name: &[u8]) {
        self.word(name.len() as u64);
        for chunk in name.chunks(8) {
            let mut bytes = [0u8; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(bytes));
        }
    }

    /// The hash of all components so far.
    #[inline(always)]
    #[must_use]
    pub fn finish(mut self) -> u64 {
        self.v2 ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }
}

/// The keyed hash of one argument: its bytes in little-endian words, the last one padded with zeros,
/// then its length. The length comes last: the kernel reads an argument before it knows its end.
#[must_use]
pub fn argument(key: [u64; 2], bytes: &[u8]) -> u64 {
    let mut hasher = PathHasher::new(key);
    for chunk in bytes.chunks(8) {
        let mut word = [0u8; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hasher.word(u64::from_le_bytes(word));
    }
    hasher.word(bytes.len() as u64);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::{PathHasher, argument};

    fn hash(parts: &[&[u8]]) -> u64 {
        let mut h = PathHasher::new([1, 2]);
        for p in parts {
            h.component(p);
        }
        h.finish()
    }

    #[test]
    fn component_boundaries_are_part_of_the_name() {
        assert_ne!(hash(&[b"a", b"bc"]), hash(&[b"ab", b"c"]));
        assert_ne!(hash(&[b"abc"]), hash(&[b"abc", b""]));
        assert_ne!(hash(&[b"abcdefgh"]), hash(&[b"abcdefgh\0"]));
        assert_ne!(hash(&[]), hash(&[b""]));
    }

    #[test]
    fn arguments_are_told_apart_by_bytes_and_length() {
        let all: [&[u8]; 6] = [b"", b"a", b"a\0", b"delete", b"deletes!", b"deletes!!"];
        for (n, one) in all.iter().enumerate() {
            for (m, other) in all.iter().enumerate() {
                assert_eq!(argument([1, 2], one) == argument([1, 2], other), n == m);
            }
        }
    }

    #[test]
    fn another_key_is_another_hash() {
        assert_ne!(PathHasher::new([1, 2]).finish(), PathHasher::new([2, 1]).finish());
    }
}
