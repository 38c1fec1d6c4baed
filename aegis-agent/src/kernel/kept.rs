//! Programs that an engine of this very build left in force: they stay, nothing is loaded a second time.
//!
//! What a program does is decided by the object, by what its constants were set to, and by the maps behind it. One digest
//! stands for the first two, and the pins show the third. Whatever differs or is missing has every program loaded
//! and attached anew.

use std::collections::BTreeSet;

use aegis_common::{
    offsets::{KernelFacts, KernelOffsets},
    policy::engine,
};
use aya::{
    maps::{Array, MapData, MapError},
    programs::links::{FdLink, PinnedLink},
};
use ring::digest;
use zerocopy::IntoBytes;

use super::{
    HookStatus, KernelError,
    load::chain,
    pin::Pins,
    programs::{PROGRAMS, Spec},
    tables,
};

// Each program has a word of the map.
const _: () = assert!(PROGRAMS.len() <= engine::MOST_PROGRAMS as usize);

/// Stands for what programs were made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Make([u64; 2]);

impl Make {
    /// Of an object whose constants are set to these.
    pub fn of(object: &[u8], offsets: &KernelOffsets, facts: &KernelFacts, hash_key: &[u64; 2]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [object, offsets.as_bytes(), facts.as_bytes(), hash_key.as_bytes()] {
            context.update(&part.len().to_ne_bytes());
            context.update(part);
        }
        let mut half = [0u64; 2];
        half.as_mut_bytes().copy_from_slice(&context.finish().as_ref()[..size_of::<[u64; 2]>()]);
        Self(half)
    }
}

/// The programs that the pins hold in force, if they are all there are to be and of this make; else what is otherwise.
pub fn keep(pins: &Pins, state: &Array<MapData, u64>, make: Make, reads_arguments: bool) -> Result<Vec<HookStatus>, String> {
    let word = |index| state.get(&index, 0).map_err(|error| error.to_string());
    if Make([word(engine::MAKE_0)?, word(engine::MAKE_1)?]) != make {
        return Err("they are of another build, or were not all in force".into());
    }
    let mut pinned: BTreeSet<String> = pins.programs().map_err(|error| error.to_string())?.into_iter().collect();
    let mut hooks = Vec::with_capacity(PROGRAMS.len());
    for (place, spec) in (engine::PROGRAMS..).zip(PROGRAMS) {
        let left = Left(word(place)?);
        hooks.push(match (pinned.remove(spec.name), left, spec.why_missing(reads_arguments)) {
            (true, left, _) if left.program() == program_at(pins, spec)? => HookStatus::attached(spec, left.verified()),
            (false, Left(0), Some(why)) => HookStatus::unavailable(spec, why),
            _ => return Err(format!("{} is not as it was left", spec.name)),
        });
    }
    match pinned.first() {
        Some(stranger) => Err(format!("{stranger} is no program of this build")),
        None => Ok(hooks),
    }
}

fn program_at(pins: &Pins, spec: &Spec) -> Result<u32, String> {
    let link = PinnedLink::from_pin(pins.link(spec.name)).map_err(|error| format!("{}: {}", spec.name, chain(&error)))?;
    program_of(&link.into()).map_err(|error| format!("{}: {error}", spec.name))
}

/// From here on nobody may keep the programs, until [`leave`].
pub fn disown(state: &mut Array<MapData, u64>) -> Result<(), KernelError> {
    leave_make(state, Make([0; 2]))
}

/// Leaves word of the programs in force for the next engine, what they are made of last.
pub fn leave(state: &mut Array<MapData, u64>, make: Make, programs: &[Left]) -> Result<(), KernelError> {
    for (place, left) in (engine::PROGRAMS..).zip(programs) {
        state.set(place, left.0, 0).map_err(|error| changing(&error))?;
    }
    leave_make(state, make)
}

fn leave_make(state: &mut Array<MapData, u64>, make: Make) -> Result<(), KernelError> {
    for (index, half) in [engine::MAKE_0, engine::MAKE_1].into_iter().zip(make.0) {
        state.set(index, half, 0).map_err(|error| changing(&error))?;
    }
    Ok(())
}

/// Number of the program behind a link.
pub fn program_of(link: &FdLink) -> Result<u32, String> {
    link.info().map(|info| info.program_id()).map_err(|error| chain(&error))
}

fn changing(error: &MapError) -> KernelError {
    tables::failed("change", "ENGINE", error)
}

/// What is left of a program: its number above the instructions that the verifier processed for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left(u64);

impl Left {
    /// Of a program in force; the default is one that the kernel has to do without.
    pub fn new(program: u32, verified: u32) -> Self {
        Self(u64::from(program) << u32::BITS | u64::from(verified))
    }

    fn program(self) -> u32 {
        (self.0 >> u32::BITS) as u32
    }

    fn verified(self) -> u32 {
        self.0 as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_decides_over_the_make() {
        let (offsets, facts) = (KernelOffsets::default(), KernelFacts::default());
        let make = Make::of(b"object", &offsets, &facts, &[1, 2]);
        assert_eq!(make, Make::of(b"object", &offsets, &facts, &[1, 2]));
        assert_ne!(make, Make::of(b"objecT", &offsets, &facts, &[1, 2]));
        assert_ne!(make, Make::of(b"object", &offsets, &facts, &[2, 1]));
        let other = KernelFacts { five_levels: 1, ..facts };
        assert_ne!(make, Make::of(b"object", &offsets, &other, &[1, 2]));
        assert_ne!(make, Make([0; 2]));
    }

    #[test]
    fn what_is_left_of_a_program_is_both_numbers() {
        let left = Left::new(u32::MAX - 1, 47_889);
        assert_eq!((left.program(), left.verified()), (u32::MAX - 1, 47_889));
    }
}
