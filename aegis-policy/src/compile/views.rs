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
        let mut out = Self { views: BTreeMap::new(), rules: BTreeMap::new() };
        for at in &resolved.programs {
            let covering = resolved.programs.iter().filter(|other| other.place.covers(&at.place));
            let rules: BTreeSet<usize> = covering.map(|other| other.rule).collect();
            bounded("programs with rules of their own", out.rules.len(), view::MOST)?;
            let next = view::OTHERS + 1 + u32::try_from(out.rules.len()).unwrap_or(u32::MAX);
            let number = *out.rules.entry(rules).or_insert(next);
            out.views.insert(at.place.clone(), number);
        }
        bounded("programs with rules of their own", out.rules.len(), view::MOST)?;
        Ok(out)
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
            // Nobody reaches an address in it.
            let names = names::patterns(policy, &|_| true)?;
            out.push(View { number: view::ALL, prefixes: network::Prefixes::new(), names });
        }
        out.sort_by_key(|view| view.number);
        bounded("address prefixes", out.iter().map(|view| view.prefixes.len()).sum(), MAX_NET_PREFIXES)?;
        bounded("names", out.iter().map(|view| view.names.len()).sum(), MAX_NAMES)?;
        Ok(out)
    }
}

fn view_of(policy: &Policy, number: u32, holds: &dyn Fn(usize) -> bool) -> Result<View, CompileError> {
    Ok(View { number, prefixes: network::prefixes(policy, holds)?, names: names::patterns(policy, holds)? })
}
