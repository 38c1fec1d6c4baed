//! Argument rules: which arguments, in which order, a program may not be run with.
//!
//! A rule is a list of arguments. It fits when they occur in this order among those behind the
//! program's name, others between them or not. All lists of an image stand one behind the other in the
//! 64 bits of one word: bit n says that its list has been followed up to its n-th argument. So one word
//! follows all rules at once, whatever the number of arguments.

use crate::assert_size;
#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Arguments that the rules of one image name, all together.
pub const MAX_PATTERNS: u32 = u64::BITS;

/// An argument that some rule names, by its keyed hash; or the end of a rule, by its bit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct ArgumentKey {
    /// Image the rule belongs to.
    pub image: u32,
    /// Zero.
    pub reserved: u32,
    /// See [`crate::hash::argument`].
    pub value: u64,
}
assert_size!(ArgumentKey, 16);

/// Where an argument stands in the rules of an image.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct ArgumentStep {
    /// The bits that stand for it.
    pub at: u64,
    /// Those of them that begin a rule.
    pub first: u64,
    /// Those of them that end a rule.
    pub last: u64,
}
assert_size!(ArgumentStep, 24);

/// How far the rules of an image have been followed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    reached: u64,
    /// Ends of the rules that fit.
    pub fits: u64,
}

impl Followed {
    /// Takes in one argument.
    #[inline(always)]
    pub const fn step(&mut self, step: ArgumentStep) {
        self.reached |= ((self.reached << 1) | step.first) & step.at;
        self.fits |= self.reached & step.last;
    }
}

#[cfg(test)]
mod tests {
    use super::{ArgumentStep, Followed};

    // Two rules: [a, b] in bits 0 and 1, [b, b] in bits 2 and 3.
    const A: ArgumentStep = ArgumentStep { at: 0b0001, first: 0b0001, last: 0 };
    const B: ArgumentStep = ArgumentStep { at: 0b1110, first: 0b0100, last: 0b1010 };

    fn fits(arguments: &[ArgumentStep]) -> u64 {
        let mut followed = Followed::default();
        arguments.iter().for_each(|step| followed.step(*step));
        followed.fits
    }

    #[test]
    fn a_rule_fits_in_its_order_alone() {
        assert_eq!(fits(&[A, B]), 0b0010);
        assert_eq!(fits(&[B, A]), 0);
        assert_eq!(fits(&[A]), 0);
        assert_eq!(fits(&[B, A, B]), 0b1010);
    }

    #[test]
    fn one_argument_is_no_two_steps() {
        assert_eq!(fits(&[B]), 0);
        assert_eq!(fits(&[B, B]), 0b1000);
    }

    #[test]
    fn the_end_of_a_rule_is_not_the_beginning_of_the_next() {
        // Only rule [a] in bit 0 and [c, b] in bits 1 and 2: a, b must not fit the second.
        let a = ArgumentStep { at: 0b001, first: 0b001, last: 0b001 };
        let b = ArgumentStep { at: 0b100, first: 0, last: 0b100 };
        assert_eq!(fits(&[a, b]), 0b001);
    }
}
