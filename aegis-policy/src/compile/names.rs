//! Names, unfolded for a look-up that answers with the longest name alone.
//!
//! Knows: names and which rules hold for each. Must not know: prefixes, paths.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use aegis_common::dns;
use aegis_common::limits::{MAX_PORT_RULES, RESOLVERS_PER_AGENT};
use aegis_common::net::{NameKey, PortRule, PortRules, ResolverKey, server_check};

use super::network::Entry;
use super::{CompileError, bounded, number};
use crate::policy::{Effect, HostName, NameEffect, Policy, ServerCheck};
use crate::rules::RuleTable;

/// What holds for each name.
pub(super) type Patterns = BTreeMap<HostName, Vec<Entry>>;

/// Works out what holds for every name that a rule is about: its own rules, and those of all names that cover it, of those
/// that `holds` names.
pub(super) fn patterns(policy: &Policy, holds: &dyn Fn(usize) -> bool) -> Patterns {
    let all = policy.rules.iter().enumerate();
    let rules: Vec<(usize, bool, &NameEffect)> = all
        .filter_map(|(index, rule)| match &rule.effect {
            Effect::Name(effect) => Some((index, rule.record, effect)),
            _ => None,
        })
        .collect();
    let mut out = Patterns::new();
    for (_, _, wanted) in &rules {
        let covers = |(index, _, effect): &&(usize, bool, &NameEffect)| holds(*index) && effect.name.covers(&wanted.name);
        let mut covering: Vec<_> = rules.iter().filter(covers).collect();
        if covering.is_empty() {
            continue;
        }
        covering.sort_by_key(|(index, _, effect)| (effect.name.below, Reverse(effect.name.labels.len()), *index));
        let entries: Vec<Entry> = covering
            .into_iter()
            .flat_map(|(index, record, effect)| {
                effect.ports.iter().map(|ports| Entry {
                    ports: *ports,
                    protocol: effect.protocol,
                    allow: true,
                    record: *record,
                    server: server(policy.sni, effect.sni),
                    rule: *index,
                })
            })
            .collect();
        out.insert(wanted.name.clone(), entries);
    }
    out
}

/// Within the kernel's bounds.
pub(super) fn check(policy: &Policy, patterns: &Patterns) -> Result<(), CompileError> {
    let Some((name, entries)) = patterns.iter().find(|(_, entries)| entries.len() > MAX_PORT_RULES) else { return Ok(()) };
    let mut ids: Vec<&str> = entries.iter().filter_map(|e| policy.rules.get(e.rule)).map(|r| r.id.as_str()).collect();
    ids.dedup();
    Err(CompileError::PortRules {
        prefix: name.to_string(),
        needed: entries.len(),
        limit: MAX_PORT_RULES,
        rules: ids.join(", "),
    })
}

/// See [`PortRule::server`].
const fn server(of_policy: ServerCheck, of_rule: Option<ServerCheck>) -> u8 {
    match of_rule {
        Some(check) => check.number() | check.number() << server_check::OTHERS,
        None => of_policy.number(),
    }
}

/// The map entries.
pub(super) fn keys(
    patterns: &Patterns,
    image: u32,
    hash_key: [u64; 2],
    rules: &mut RuleTable,
) -> Result<Vec<(NameKey, PortRules)>, CompileError> {
    let mut out = Vec::with_capacity(patterns.len());
    for (name, entries) in patterns {
        let labels = name.labels.iter().rev().map(String::as_bytes);
        let key = NameKey {
            image,
            below: u32::from(name.below),
            value: dns::hash_of(hash_key, labels),
        };
        let mut value = PortRules { count: 0, rules: [PortRule::default(); MAX_PORT_RULES] };
        for (slot, entry) in value.rules.iter_mut().zip(entries) {
            *slot = PortRule {
                first: entry.ports.first,
                last: entry.ports.last,
                protocol: entry.protocol.number(),
                allow: 1,
                record: u8::from(entry.record),
                server: entry.server,
                rule: number(rules, &[entry.rule])?,
            };
            value.count += 1;
        }
        out.push((key, value));
    }
    out.sort_unstable_by_key(|(key, _)| *key);
    if out.windows(2).any(|w| matches!(w, [a, b] if a.0 == b.0)) {
        return Err(CompileError::Collision);
    }
    Ok(out)
}

/// The resolvers.
pub(super) fn resolvers(policy: &Policy, image: u32) -> Result<Vec<ResolverKey>, CompileError> {
    let mut out: Vec<ResolverKey> = policy
        .dns
        .resolvers
        .iter()
        .map(|resolver| {
            let address = match resolver {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => *address,
            };
            ResolverKey { image, address: address.octets() }
        })
        .collect();
    out.sort_unstable();
    out.dedup();
    bounded("resolvers", out.len(), RESOLVERS_PER_AGENT)?;
    Ok(out)
}
