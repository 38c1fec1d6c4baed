//! What is said of programs beside their names: contents, pins, arguments and variables.
//!
//! Knows: how argument rules share one word of 64 bits. Must not know: how the kernel reads arguments.

use std::collections::BTreeMap;

use aegis_common::argument::{ArgumentKey, ArgumentStep, MAX_PATTERNS};
use aegis_common::environment::VariablePrefix;
use aegis_common::hash;
use aegis_common::limits;
use aegis_common::path::{ContentKey, ContentRule, PinKey};

use super::{CompileError, Joint, Keys, bounded, condition, number};
use crate::policy::{Condition, Effect, Policy};
use crate::resolve::{Place, Resolved};
use crate::rules::RuleTable;

/// The argument rules of an image.
pub(super) struct Arguments {
    /// Where each argument stands.
    pub(super) steps: Vec<(ArgumentKey, ArgumentStep)>,
    /// Whose each end is.
    pub(super) rules: Vec<(ArgumentKey, u32)>,
    /// The end of each rule, by index.
    ends: BTreeMap<usize, u64>,
}

impl Arguments {
    /// Gives every argument of every rule a bit, those of one rule side by side.
    pub(super) fn of(
        policy: &Policy,
        keys: Keys,
        rules: &mut RuleTable,
    ) -> Result<Self, CompileError> {
        let lists: Vec<(usize, &Vec<String>)> = policy
            .rules
            .iter()
            .enumerate()
            .filter_map(|(n, rule)| match condition(rule) {
                Condition::Arguments(argv) => Some((n, argv)),
                Condition::None | Condition::Content(_) => None,
            })
            .collect();
        let all: usize = lists.iter().map(|(_, argv)| argv.len()).sum();
        bounded("arguments named by rules", all, MAX_PATTERNS)?;
        let mut bits = (0..u64::BITS).map(|n| 1u64 << n);
        let mut steps: BTreeMap<u64, ArgumentStep> = BTreeMap::new();
        let (mut ends, mut of) = (BTreeMap::new(), Vec::new());
        for (rule, argv) in lists {
            let mut end = 0;
            for (index, (argument, bit)) in argv.iter().zip(&mut bits).enumerate() {
                let step = steps.entry(hash::argument(keys.hash_key, argument.as_bytes())).or_default();
                step.at |= bit;
                step.first |= if index == 0 { bit } else { 0 };
                step.last |= if index + 1 == argv.len() { bit } else { 0 };
                end = bit;
            }
            ends.insert(rule, end);
            of.push((keys.argument(end), number(rules, &[rule])?));
        }
        let steps = steps.into_iter().map(|(value, step)| (keys.argument(value), step)).collect();
        Ok(Self { steps, rules: of, ends })
    }

    /// The ends of some rules, by index.
    pub(super) fn ends(&self, rules: &[usize]) -> u64 {
        rules.iter().filter_map(|rule| self.ends.get(rule)).fold(0, |ends, end| ends | end)
    }
}

impl Keys {
    fn argument(self, value: u64) -> ArgumentKey {
        ArgumentKey { image: self.image, reserved: 0, value }
    }
}

/// What holds for contents under every name.
pub(super) fn contents(
    resolved: &Resolved,
    arguments: &Arguments,
    image: u32,
    rules: &mut RuleTable,
) -> Result<Vec<(ContentKey, ContentRule)>, CompileError> {
    let mut joints: BTreeMap<ContentKey, (Vec<usize>, u64)> = BTreeMap::new();
    for ban in &resolved.contents {
        let key = ContentKey { image, reserved: 0, sha256: ban.sha256 };
        let (members, ends) = joints.entry(key).or_default();
        match arguments.ends.get(&ban.rule) {
            Some(end) => *ends |= end,
            None => members.push(ban.rule),
        }
    }
    bounded("banned programs", joints.len(), limits::MAX_CONTENT_RULES)?;
    let mut out = Vec::with_capacity(joints.len());
    for (key, (mut members, arguments)) in joints {
        members.sort_unstable();
        out.push((key, ContentRule { rule: number(rules, &members)?, reserved: 0, arguments }));
    }
    Ok(out)
}

/// The variables that the rules deny. Of two that begin alike the longer one is told.
pub(super) fn variables(
    policy: &Policy,
    image: u32,
    rules: &mut RuleTable,
) -> Result<Vec<(u32, VariablePrefix, u32)>, CompileError> {
    let mut out = Vec::new();
    for (rule, of) in policy.rules.iter().enumerate() {
        if let Effect::Variable(name) = &of.effect
            && let Some((length, prefix)) = VariablePrefix::new(image, name.as_bytes())
        {
            out.push((length, prefix, number(rules, &[rule])?));
        }
    }
    bounded("denied variables", out.len(), limits::MAX_VARIABLES)?;
    out.sort_unstable();
    Ok(out)
}

/// The contents that pinned names may have: those of the rules that allow something there.
pub(super) fn pins(
    policy: &Policy,
    joints: &BTreeMap<Place, Joint>,
    keys: Keys,
    rules: &mut RuleTable,
) -> Result<Vec<(PinKey, u32)>, CompileError> {
    let mut out = BTreeMap::new();
    for (place, joint) in joints {
        let Some(name) = keys.chain(place).last() else { continue };
        for &rule in &joint.allow_rules {
            if let Some(Condition::Content(sha256)) = policy.rules.get(rule).map(condition) {
                let key = PinKey { image: keys.image, dev: name.dev, place: name.hash, sha256: *sha256 };
                out.insert(key, number(rules, &[rule])?);
            }
        }
    }
    bounded("pinned contents", out.len(), limits::MAX_PINS)?;
    Ok(out.into_iter().collect())
}
