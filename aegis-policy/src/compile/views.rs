//! Rules about addresses and names, as each program sees them.
//!
//! A rule with `exe` is for one program. The kernel looks rules up in the view of the program that asks: all that
//! hold for it, so that there is one look-up and none of the rules says whose it is.
//!
//! Knows: which rules hold for which program. Must not know: how prefixes and names are unfolded.

use std::collections::{BTreeMap, BTreeSet};

use aegis_common::limits::{MAX_NAMES, MAX_NET_PREFIXES, MAX_PROGRAMS};
use aegis_common::net::view;
use aegis_common::path::PathKey;
use ring::digest::{Context, SHA256};

use super::{CompileError, Keys, bounded, names, network};
use crate::policy::Policy;
use crate::resolve::{Place, Resolved};

/// What holds for one program.
pub(super) struct View {
    /// [`view`] in the keys.
    pub(super) number: u32,
    pub(super) prefixes: network::Prefixes,
    pub(super) names: names::Patterns,
}

impl View {
    /// The image as it is in the keys.
    pub(super) const fn image(&self, image: u32) -> u32 {
        view::of(image, self.number)
    }
}

/// The programs that rules are for.
pub(super) struct Programs {
    /// The view of what is at each place and below it.
    views: BTreeMap<Place, u32>,
    /// The rules with `exe` of each view.
    rules: BTreeMap<BTreeSet<usize>, u32>,
}

impl Programs {
    pub(super) fn of(resolved: &Resolved) -> Result<Self, CompileError> {
        let mut at: BTreeMap<&Place, BTreeSet<usize>> = BTreeMap::new();
        for program in &resolved.programs {
            at.entry(&program.place).or_default().insert(program.rule);
        }
        let covering = |place: &Place| -> BTreeSet<usize> {
            at.iter().filter(|(other, _)| other.covers(place)).flat_map(|(_, rules)| rules).copied().collect()
        };
        let sets: BTreeMap<&Place, BTreeSet<usize>> = at.keys().map(|place| (*place, covering(place))).collect();
        // Numbered by the rules alone: where programs are may change while they run.
        let distinct: BTreeSet<&BTreeSet<usize>> = sets.values().collect();
        bounded("programs with rules of their own", distinct.len(), view::MOST)?;
        let rules: BTreeMap<BTreeSet<usize>, u32> = distinct.into_iter().cloned().zip(view::OTHERS + 1..).collect();
        let views = sets.iter().filter_map(|(place, set)| Some(((*place).clone(), *rules.get(set)?))).collect();
        Ok(Self { views, rules })
    }

    /// See [`Image::programs`](aegis_common::policy::Image::programs).
    pub(super) fn digest(&self, policy: &Policy) -> u32 {
        let mut context = Context::new(&SHA256);
        for (rules, number) in &self.rules {
            context.update(&number.to_le_bytes());
            for rule in rules.iter().filter_map(|rule| policy.rules.get(*rule)) {
                for text in [&rule.id, &rule.text] {
                    context.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
                    context.update(text.as_bytes());
                }
            }
        }
        context.finish().as_ref().first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    /// The map entries.
    pub(super) fn keys(&self, keys: Keys) -> Result<Vec<(PathKey, u32)>, CompileError> {
        bounded("places of programs with rules of their own", self.views.len(), MAX_PROGRAMS)?;
        let mut out: Vec<(PathKey, u32)> =
            self.views.iter().filter_map(|(place, number)| Some((keys.chain(place).last()?, *number))).collect();
        out.sort_unstable();
        Ok(out)
    }

    /// What holds for each of them, for all others, and for all together.
    pub(super) fn views(&self, policy: &Policy) -> Result<Vec<View>, CompileError> {
        let for_all = |rule: usize| policy.rules.get(rule).is_some_and(|rule| rule.effect.exe().is_none());
        let mut out = vec![view_of(policy, view::OTHERS, &for_all)?];
        for (rules, number) in &self.rules {
            out.push(view_of(policy, *number, &|rule| for_all(rule) || rules.contains(&rule))?);
        }
        if policy.rules.iter().any(|rule| rule.effect.exe().is_some()) {
            // Nobody reaches an address in it, and of a name the first rule is told.
            let mut names = names::patterns(policy, &|_| true);
            names.values_mut().for_each(|entries| entries.truncate(1));
            out.push(View { number: view::ALL, prefixes: network::Prefixes::new(), names });
        }
        out.sort_by_key(|view| view.number);
        bounded("address prefixes", out.iter().map(|view| view.prefixes.len()).sum(), MAX_NET_PREFIXES)?;
        bounded("names", out.iter().map(|view| view.names.len()).sum(), MAX_NAMES)?;
        Ok(out)
    }
}

fn view_of(policy: &Policy, number: u32, holds: &dyn Fn(usize) -> bool) -> Result<View, CompileError> {
    let names = names::patterns(policy, holds);
    names::check(policy, &names)?;
    Ok(View { number, prefixes: network::prefixes(policy, holds)?, names })
}
