//! The rules behind the numbers that the kernel reports.
//!
//! Knows: number -> rule. Must not know: where numbers are stored.
//!
//! One key of the kernel's map carries one number for what it grants and one for what it denies.
//! Where several rules meet at one name (`fs.write: /work` and `exec.allow: /work`), the number
//! stands for all of them, and [`RuleTable::decided`] picks the one that an operation was about.

use std::collections::BTreeMap;

use aegis_common::policy::{RULE_DEFAULT, RULE_FIRST};

use crate::policy::{Effect, Origin, Policy};

/// What is told of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// Stable id.
    pub id: String,
    /// Where it was written: `file:line`, `baseline:linux`, `built-in`, `runtime`.
    pub origin: String,
    /// The rule as a person would write it.
    pub text: String,
    /// `perm::*` that it grants (0 for rules about addresses).
    pub allow: u8,
    /// `perm::*` that it denies (0 for rules about addresses).
    pub deny: u8,
}

/// All rules of an image by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleTable {
    rules: Vec<RuleInfo>,
    /// Numbers behind the single rules: several rules at one name, by index.
    joint: Vec<Vec<usize>>,
    numbers: BTreeMap<Vec<usize>, u32>,
}

impl RuleTable {
    /// The table of a policy's single rules.
    pub(crate) fn new(policy: &Policy) -> Self {
        let rules = policy
            .rules
            .iter()
            .map(|rule| {
                let (allow, deny) = match &rule.effect {
                    Effect::Path(path) => (path.allow, path.deny),
                    _ => (0, 0),
                };
                RuleInfo {
                    id: rule.id.clone(),
                    origin: rule.origin.to_string(),
                    text: rule.text.clone(),
                    allow,
                    deny,
                }
            })
            .collect();
        Self {
            rules,
            joint: Vec::new(),
            numbers: BTreeMap::new(),
        }
    }

    /// The number for one or several rules, given by index. `None` when numbers ran out.
    pub(crate) fn number(&mut self, members: &[usize]) -> Option<u32> {
        if let [one] = members {
            return number_of(*one);
        }
        if let Some(number) = self.numbers.get(members) {
            return Some(*number);
        }
        let number = number_of(self.rules.len() + self.joint.len())?;
        self.joint.push(members.to_vec());
        self.numbers.insert(members.to_vec(), number);
        Some(number)
    }

    /// All rules behind a number. Empty for the default and for unknown numbers.
    #[must_use]
    pub fn members(&self, number: u32) -> Vec<&RuleInfo> {
        let Some(index) = number
            .checked_sub(RULE_FIRST)
            .and_then(|n| usize::try_from(n).ok())
        else {
            return Vec::new();
        };
        if let Some(rule) = self.rules.get(index) {
            return vec![rule];
        }
        let joint = index
            .checked_sub(self.rules.len())
            .and_then(|n| self.joint.get(n));
        joint
            .into_iter()
            .flatten()
            .filter_map(|&n| self.rules.get(n))
            .collect()
    }

    /// The rule that decided an operation: of those behind `number`, the first that denies (or
    /// grants) something that was wanted. `wanted` is 0 for addresses. `None` for
    /// [`RULE_DEFAULT`] and for numbers that the table does not have.
    #[must_use]
    pub fn decided(&self, number: u32, wanted: u8, denied: bool) -> Option<&RuleInfo> {
        if number == RULE_DEFAULT {
            return None;
        }
        let members = self.members(number);
        let about = |r: &&&RuleInfo| wanted & if denied { r.deny } else { r.allow } != 0;
        members
            .iter()
            .find(about)
            .or_else(|| members.first())
            .copied()
    }

    /// The single rules in order; the first has number [`RULE_FIRST`].
    #[must_use]
    pub fn rules(&self) -> &[RuleInfo] {
        &self.rules
    }
}

fn number_of(index: usize) -> Option<u32> {
    u32::try_from(index).ok()?.checked_add(RULE_FIRST)
}

impl Origin {
    /// Whether a person wrote it for this agent.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        matches!(self, Self::Manifest { .. })
    }
}
