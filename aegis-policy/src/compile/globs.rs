//! Globs as automata: which position stands for what.
//!
//! Knows: positions and the layout of their tables. Must not know: the host, how globs are written.
//!
//! Each tail of each rule takes one position for each of its steps and one for its end, in the order
//! of the rules: of several globs that are complete at one name, the first rule is the one told. Each
//! wild name takes one position for each byte and one for its end, whatever number of tails it is in.

use std::collections::BTreeMap;

use aegis_common::glob::{GLOB_POSITIONS, GlobEntry, GlobKey, GlobSet, GlobTable, filter_bit};
use aegis_common::hash::PathHasher;
use aegis_common::limits;
use aegis_common::path::{PathKey, PathRule, path_flag, perm};

use super::{CompileError, Keys, bounded, number};
use crate::glob::{Name, Piece, Tail};
use crate::policy::{Effect, PathEffect, Policy, Rule};
use crate::resolve::PlacedGlob;
use crate::rules::RuleTable;

/// What the kernel holds for the globs of an image. The lists are sorted by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompiledGlobs {
    /// The automata, when there is a glob.
    pub table: Option<Box<GlobTable>>,
    /// What the automata point at.
    pub entries: Vec<(GlobKey, GlobEntry)>,
    /// Positions that wait from a name on.
    pub starts: Vec<(PathKey, GlobSet)>,
}

/// Tables under construction.
struct Builder {
    table: Box<GlobTable>,
    entries: BTreeMap<GlobKey, GlobEntry>,
    /// Positions over components that are taken.
    used: usize,
    /// Positions over bytes that are taken.
    bytes_used: usize,
    /// Literal names, and who waits for them.
    literals: BTreeMap<Vec<u8>, GlobSet>,
    /// Wild names: where each ends, and who waits for it.
    wilds: BTreeMap<Vec<Piece>, (usize, GlobSet)>,
}

pub(super) fn compile(
    policy: &Policy,
    globs: &[PlacedGlob],
    keys: Keys,
    rules: &mut RuleTable,
) -> Result<CompiledGlobs, CompileError> {
    let mut tails: BTreeMap<(usize, &Tail), usize> = globs.iter().map(|g| ((g.rule, &g.tail), 0)).collect();
    if tails.is_empty() {
        return Ok(CompiledGlobs::default());
    }
    let mut builder = Builder::new();
    for ((index, tail), base) in &mut tails {
        let Some(rule) = policy.rules.get(*index) else { continue };
        let Effect::Path(effect) = &rule.effect else { continue };
        *base = builder.tail(rule, effect, tail)?;
        let told = number(rules, &[*index])?;
        builder.rule(keys, *base + tail.steps().len(), rule, effect, told);
    }
    let starts = starts(globs, &tails, keys);
    let (table, entries) = builder.finish(keys)?;
    bounded("names and ends of globs", entries.len(), limits::MAX_GLOB_ENTRIES)?;
    bounded("places where globs begin", starts.len(), limits::MAX_GLOB_STARTS)?;
    Ok(CompiledGlobs { table: Some(table), entries, starts })
}

/// Where globs begin, and in which positions.
fn starts(globs: &[PlacedGlob], tails: &BTreeMap<(usize, &Tail), usize>, keys: Keys) -> Vec<(PathKey, GlobSet)> {
    let mut starts: BTreeMap<PathKey, GlobSet> = BTreeMap::new();
    for glob in globs {
        let base = tails.get(&(glob.rule, &glob.tail));
        let (Some(base), Some(key)) = (base, keys.chain(&glob.place).last()) else { continue };
        let set = starts.entry(key).or_default();
        (0..glob.tail.steps().len()).filter(|n| glob.active >> n & 1 == 1).for_each(|n| set.insert(base + n));
    }
    starts.into_iter().collect()
}

/// The word and the bit of a position.
fn split(position: usize) -> (u32, u64) {
    (u32::try_from(position / 64).unwrap_or(u32::MAX), 1 << (position % 64))
}

impl Builder {
    fn new() -> Self {
        let empty = GlobSet::EMPTY;
        let table = GlobTable {
            any: empty,
            literal: empty,
            wild: empty,
            stay: empty,
            accept: empty,
            keep: empty,
            gain: empty,
            names: empty,
            filter: 0,
            byte_first: empty,
            byte_stay: empty,
            byte_accept: empty,
            bytes: [empty; 256],
        };
        Self {
            table: Box::new(table),
            entries: BTreeMap::new(),
            used: 0,
            bytes_used: 0,
            literals: BTreeMap::new(),
            wilds: BTreeMap::new(),
        }
    }

    /// Gives a tail its positions, and answers the first.
    fn tail(&mut self, rule: &Rule, effect: &PathEffect, tail: &Tail) -> Result<usize, CompileError> {
        let base = self.used;
        self.used += tail.steps().len() + 1;
        fits("components", rule, self.used)?;
        for (step, position) in tail.steps().iter().zip(base..) {
            let table = &mut self.table;
            if step.anywhere {
                table.stay.insert(position);
            }
            if effect.deny != 0 {
                table.keep.insert(position);
            }
            if effect.deny & perm::NAME != 0 {
                table.names.insert(position + 1);
            }
            if effect.allow != 0 || effect.deny & perm::NAME != 0 {
                table.gain.insert(position);
            }
            match &step.name {
                Name::Any => table.any.insert(position),
                Name::Literal(name) => {
                    table.literal.insert(position);
                    self.literals.entry(name.clone()).or_default().insert(position);
                }
                Name::Wild(pieces) => {
                    table.wild.insert(position);
                    self.wild(rule, pieces, position)?;
                }
            }
        }
        self.table.accept.insert(base + tail.steps().len());
        Ok(base)
    }

    /// Lets a position wait for a wild name.
    fn wild(&mut self, rule: &Rule, pieces: &[Piece], position: usize) -> Result<(), CompileError> {
        if let Some((_, waiting)) = self.wilds.get_mut(pieces) {
            waiting.insert(position);
            return Ok(());
        }
        let mut at = self.bytes_used;
        self.bytes_used += pieces.iter().filter(|p| matches!(p, Piece::One(_))).count() + 1;
        fits("the characters of names", rule, self.bytes_used)?;
        self.table.byte_first.insert(at);
        for piece in pieces {
            match piece {
                Piece::Run => self.table.byte_stay.insert(at),
                Piece::One(set) => {
                    for (byte, satisfied) in (0..=u8::MAX).zip(&mut self.table.bytes) {
                        if set.contains(byte) {
                            satisfied.insert(at);
                        }
                    }
                    at += 1;
                }
            }
        }
        self.table.byte_accept.insert(at);
        let mut waiting = GlobSet::EMPTY;
        waiting.insert(position);
        self.wilds.insert(pieces.to_vec(), (at, waiting));
        Ok(())
    }

    /// The rule of a glob that is complete at a position.
    fn rule(&mut self, keys: Keys, position: usize, rule: &Rule, effect: &PathEffect, told: u32) {
        let (word, bit) = split(position);
        let of = |bits: u8| if bits == 0 { 0 } else { told };
        let rule = PathRule {
            allow: effect.allow,
            deny: effect.deny,
            flags: if rule.record && effect.allow != 0 { path_flag::RECORD } else { 0 },
            allow_rule: of(effect.allow),
            deny_rule: of(effect.deny),
            ..PathRule::default()
        };
        let entry = GlobEntry { rule, ..GlobEntry::default() };
        self.entries.insert(GlobKey::rule(keys.image, word, bit), entry);
    }

    fn finish(mut self, keys: Keys) -> Result<(Box<GlobTable>, Vec<(GlobKey, GlobEntry)>), CompileError> {
        for (name, set) in self.literals {
            let mut hasher = PathHasher::new(keys.hash_key);
            hasher.component(&name);
            let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
            self.table.filter |= filter_bit(length, name.first().copied().unwrap_or(0));
            let entry = GlobEntry { set, ..GlobEntry::default() };
            if self.entries.insert(GlobKey::name(keys.image, hasher.finish()), entry).is_some() {
                return Err(CompileError::Collision);
            }
        }
        for (end, set) in self.wilds.into_values() {
            let (word, bit) = split(end);
            self.entries.insert(GlobKey::wild(keys.image, word, bit), GlobEntry { set, ..GlobEntry::default() });
        }
        Ok((self.table, self.entries.into_iter().collect()))
    }
}

fn fits(what: &'static str, rule: &Rule, needed: usize) -> Result<(), CompileError> {
    if needed > GLOB_POSITIONS {
        return Err(CompileError::Globs { what, rule: rule.id.clone(), needed, limit: GLOB_POSITIONS });
    }
    Ok(())
}
