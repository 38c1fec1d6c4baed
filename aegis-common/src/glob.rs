//! Path globs: two automata for each image, one over the components of a path, one over the bytes of
//! a component.
//!
//! Both are bit-parallel. A state of an automaton is a set of positions, each of which waits for its
//! next element (a component, a byte); one element takes the positions that it satisfies one further,
//! and leaves those standing that may wait through anything (`**`, `*`).

use crate::{assert_size, path::PathRule};
#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Words of a [`GlobSet`].
pub const GLOB_WORDS: usize = 4;
/// Positions of each automaton.
pub const GLOB_POSITIONS: usize = 64 * GLOB_WORDS;

/// A set of positions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct GlobSet {
    /// Position n is bit n % 64 of word n / 64.
    pub words: [u64; GLOB_WORDS],
}
assert_size!(GlobSet, 32);

impl GlobSet {
    /// The empty set.
    pub const EMPTY: Self = Self { words: [0; GLOB_WORDS] };

    /// Whether no position is in it.
    #[inline(always)]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        let w = &self.words;
        w[0] | w[1] | w[2] | w[3] == 0
    }

    /// The positions in both.
    #[inline(always)]
    #[must_use]
    pub const fn and(&self, other: &Self) -> Self {
        let (a, b) = (&self.words, &other.words);
        Self { words: [a[0] & b[0], a[1] & b[1], a[2] & b[2], a[3] & b[3]] }
    }

    /// The positions in either.
    #[inline(always)]
    #[must_use]
    pub const fn or(&self, other: &Self) -> Self {
        let (a, b) = (&self.words, &other.words);
        Self { words: [a[0] | b[0], a[1] | b[1], a[2] | b[2], a[3] | b[3]] }
    }

    /// Whether every position of `self` is in `other`.
    #[inline(always)]
    #[must_use]
    pub const fn is_within(&self, other: &Self) -> bool {
        let (a, b) = (&self.words, &other.words);
        (a[0] & !b[0]) | (a[1] & !b[1]) | (a[2] & !b[2]) | (a[3] & !b[3]) == 0
    }

    /// Each position one further. The last position of a pattern waits for nothing, so none runs over
    /// into the next pattern.
    #[inline(always)]
    #[must_use]
    pub const fn advanced(&self) -> Self {
        let w = &self.words;
        Self { words: [w[0] << 1, w[1] << 1 | w[0] >> 63, w[2] << 1 | w[1] >> 63, w[3] << 1 | w[2] >> 63] }
    }

    /// Takes the set, in place, through an element that satisfies the positions of `met`, where those
    /// of `stay` may wait through it. From the last word down, so that no copy of the set is needed.
    #[inline(always)]
    pub const fn take(&mut self, met: &Self, stay: &Self) {
        let mut word = GLOB_WORDS;
        while word > 0 {
            word -= 1;
            let carry = if word == 0 { 0 } else { (self.words[word - 1] & met.words[word - 1]) >> 63 };
            let here = self.words[word];
            self.words[word] = (here & met.words[word]) << 1 | carry | (here & stay.words[word]);
        }
    }

    /// Whether the sets have a position in common.
    #[inline(always)]
    #[must_use]
    pub const fn meets(&self, other: &Self) -> bool {
        let (a, b) = (&self.words, &other.words);
        (a[0] & b[0]) | (a[1] & b[1]) | (a[2] & b[2]) | (a[3] & b[3]) != 0
    }

    /// Adds the positions of another set.
    #[inline(always)]
    pub const fn add(&mut self, other: &Self) {
        let mut word = 0;
        while word < GLOB_WORDS {
            self.words[word] |= other.words[word];
            word += 1;
        }
    }

    /// Keeps only the positions of another set.
    #[inline(always)]
    pub const fn keep(&mut self, other: &Self) {
        let mut word = 0;
        while word < GLOB_WORDS {
            self.words[word] &= other.words[word];
            word += 1;
        }
    }

    /// Puts a position in. One that the set has no room for is ignored.
    pub const fn insert(&mut self, position: usize) {
        if position < GLOB_POSITIONS {
            self.words[position / 64] |= 1 << (position % 64);
        }
    }
}

/// The automata of one image.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct GlobTable {
    /// Positions that wait for a component of any name.
    pub any: GlobSet,
    /// Positions that wait for a component of one name; see [`GlobKey::name`].
    pub literal: GlobSet,
    /// Positions that wait for a component that the automaton over bytes accepts.
    pub wild: GlobSet,
    /// Positions that wait through any number of components.
    pub stay: GlobSet,
    /// Positions where a pattern is complete; see [`GlobKey::rule`].
    pub accept: GlobSet,
    /// Positions of patterns that deny: a directory that moves may not lose them.
    pub keep: GlobSet,
    /// Positions of patterns that allow, or that deny making names: a directory that moves may not
    /// win them.
    pub gain: GlobSet,
    /// Positions behind a step of a pattern that denies making names: no symbolic link may be made at
    /// a name that leads there.
    pub names: GlobSet,
    /// Bit (length + first byte) % 64 is set for each name in question: other names are not looked up.
    pub filter: u64,
    /// Bytes: where each pattern begins.
    pub byte_first: GlobSet,
    /// Bytes: positions that wait through any number of bytes.
    pub byte_stay: GlobSet,
    /// Bytes: positions where a pattern is complete; see [`GlobKey::wild`].
    pub byte_accept: GlobSet,
    /// Bytes: for each byte the positions that it satisfies.
    pub bytes: [GlobSet; 256],
}
assert_size!(GlobTable, 8552);

/// Key of what the automata point at.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct GlobKey {
    /// Image the glob belongs to.
    pub image: u32,
    /// Which of the three it is, and the word of a position.
    pub space: u32,
    /// Hash of the name, or the position as a bit of its word.
    pub value: u64,
}
assert_size!(GlobKey, 16);

impl GlobKey {
    const NAME: u32 = 0;
    const WILD: u32 = 16;
    const RULE: u32 = 32;

    /// A component's name, by the keyed hash of this one component: its set are the positions that it
    /// satisfies.
    #[inline(always)]
    #[must_use]
    pub const fn name(image: u32, hash: u64) -> Self {
        Self { image, space: Self::NAME, value: hash }
    }

    /// A position of the automaton over bytes where a pattern is complete: its set are the positions
    /// over components that this satisfies.
    #[inline(always)]
    #[must_use]
    pub const fn wild(image: u32, word: u32, bit: u64) -> Self {
        Self { image, space: Self::WILD + word, value: bit }
    }

    /// A position of the automaton over components where a pattern is complete: its rule holds there
    /// and below.
    #[inline(always)]
    #[must_use]
    pub const fn rule(image: u32, word: u32, bit: u64) -> Self {
        Self { image, space: Self::RULE + word, value: bit }
    }
}

/// What lies behind a [`GlobKey`]: a set, or a rule; the other one is zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct GlobEntry {
    /// Positions over components.
    pub set: GlobSet,
    /// Rule.
    pub rule: PathRule,
}
assert_size!(GlobEntry, 56);

/// Bit of [`GlobTable::filter`] for a name.
#[inline(always)]
#[must_use]
pub const fn filter_bit(length: u32, first: u8) -> u64 {
    1 << ((length + first as u32) & 63)
}

#[cfg(test)]
mod tests {
    use super::{GLOB_POSITIONS, GlobSet};

    fn set(positions: &[usize]) -> GlobSet {
        let mut set = GlobSet::EMPTY;
        positions.iter().for_each(|p| set.insert(*p));
        set
    }

    #[test]
    fn positions_advance_over_the_edges_of_words() {
        assert_eq!(set(&[0, 63, 127, 191]).advanced(), set(&[1, 64, 128, 192]));
        assert_eq!(set(&[GLOB_POSITIONS - 1]).advanced(), GlobSet::EMPTY);
    }

    #[test]
    fn taking_an_element_advances_what_it_satisfies_and_leaves_what_may_wait() {
        let (met, stay) = (set(&[0, 63, 64, 130]), set(&[64, 200]));
        let mut state = set(&[0, 63, 64, 100, 200]);
        let expected = state.and(&met).advanced().or(&state.and(&stay));
        state.take(&met, &stay);
        assert_eq!(state, expected);
        assert_eq!(state, set(&[1, 64, 65, 200]));
    }

    #[test]
    fn a_set_is_within_another_only_with_all_its_positions() {
        for p in 0..GLOB_POSITIONS {
            assert!(set(&[p]).is_within(&set(&[p, 3])));
            assert!(!set(&[p, 3]).is_within(&set(&[p + 1])));
            assert!(!set(&[p]).is_empty());
        }
        assert!(GlobSet::EMPTY.is_within(&GlobSet::EMPTY));
    }
}
