//! Programs that an engine of this very build left in force: they stay, nothing is loaded a second time.
//!
//! What a program does is decided by the object, by what its constants were set to, by the maps behind it, and by where it
//! is attached. One digest stands for all of that. Whatever differs or is missing has every program loaded and attached anew.

use std::{collections::BTreeSet, path::PathBuf};

use aegis_common::policy::engine;
use aya::{
    maps::{Array, MapData, MapError, MapInfo},
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
    /// Of all that decides.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(&part.len().to_ne_bytes());
            context.update(part);
        }
        let mut half = [0u64; 2];
        half.as_mut_bytes().copy_from_slice(&context.finish().as_ref()[..size_of::<[u64; 2]>()]);
        Self(half)
    }
}

/// Numbers of the maps that are pinned: those that programs in force look into, unless one was made anew.
pub fn map_ids(pins: &Pins) -> Result<Vec<u32>, KernelError> {
    let id = |path: PathBuf| MapInfo::from_pin(path).map(|info| info.id());
    pins.map_pins()?.into_iter().map(id).collect::<Result<_, _>>().map_err(|error| tables::failed("examine", "maps", &error))
}

/// The programs that the pins hold in force, if they are all there are to be and of this make; else what is otherwise.
pub fn keep(pins: &Pins, state: &Array<MapData, u64>, make: Make, reads_arguments: bool) -> Result<Vec<HookStatus>, String> {
    let word = |index| state.get(&index, 0).map_err(|error| error.to_string());
    if Make([word(engine::MAKE_0)?, word(engine::MAKE_1)?]) != make {
        return Err("they are of another build, use other maps, or were not all in force".into());
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
        u32::try_from(self.0 >> u32::BITS).unwrap_or_default()
    }

    fn verified(self) -> u32 {
        u32::try_from(self.0 & u64::from(u32::MAX)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_decides_over_the_make() {
        let make = Make::of(&[b"object", b"constants"]);
        assert_eq!(make, Make::of(&[b"object", b"constants"]));
        assert_ne!(make, Make::of(&[b"objecT", b"constants"]));
        assert_ne!(make, Make::of(&[b"object", b"constants", b""]));
        assert_ne!(make, Make::of(&[b"objectc", b"onstants"]), "where one ends and the next begins");
        assert_ne!(make, Make([0; 2]));
    }

    #[test]
    fn what_is_left_of_a_program_is_both_numbers() {
        let left = Left::new(u32::MAX - 1, 47_889);
        assert_eq!((left.program(), left.verified()), (u32::MAX - 1, 47_889));
    }
}
