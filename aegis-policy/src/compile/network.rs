//! Address rules, unfolded for a trie that answers with the longest prefix alone.
//!
//! Knows: prefixes, and which rules hold below each. Must not know: paths.
//!
//! Two things make the trie say what the manifest means:
//! - IPv4 lives inside IPv6 (`::ffff:0:0/96`) in the kernel's keys, but `::/0` in a manifest means
//!   IPv6. Where an IPv6 rule would cover the mapped addresses, an entry of its own keeps them apart.
//! - Connecting to `0.0.0.0` or `::` reaches the loopback. `0.0.0.0` so has the rules of
//!   `127.0.0.1`; `::`, which can reach either loopback, has the denies of both and no allow.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aegis_common::limits::MAX_PORT_RULES;
use aegis_common::net::{IMAGE_BITS, MAPPED_BITS, NetPrefix, PortRule, PortRules};

use super::{CompileError, number};
use crate::policy::{Effect, Policy, PortRange, Protocol};
use crate::rules::RuleTable;

/// A prefix as the trie has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Prefix {
    address: u128,
    /// Of 128.
    length: u32,
    /// IPv4, mapped.
    v4: bool,
}

/// One port range with its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) ports: PortRange,
    pub(super) protocol: Protocol,
    pub(super) allow: bool,
    pub(super) record: bool,
    /// As [`PortRule::server`].
    pub(super) server: u8,
    /// Index of the rule.
    pub(super) rule: usize,
}

/// What holds for each prefix, denies first.
pub(super) type Prefixes = BTreeMap<Prefix, Vec<Entry>>;

const ALL_PORTS: PortRange = PortRange {
    first: 0,
    last: u16::MAX,
};

struct NetRule<'a> {
    index: usize,
    record: bool,
    prefix: Prefix,
    allow: bool,
    protocol: Protocol,
    ports: &'a [PortRange],
}

impl Prefix {
    fn new(address: IpAddr, length: u8) -> Self {
        match address {
            IpAddr::V4(a) => Self {
                address: a.to_ipv6_mapped().to_bits(),
                length: MAPPED_BITS + u32::from(length),
                v4: true,
            },
            IpAddr::V6(a) => Self {
                address: a.to_bits(),
                length: u32::from(length),
                v4: false,
            },
        }
    }

    fn covers(self, other: Self) -> bool {
        let mask = u128::MAX.checked_shl(128 - self.length).unwrap_or(0);
        self.v4 == other.v4 && self.length <= other.length && other.address & mask == self.address
    }
}

/// Works out what holds for every prefix that needs an entry, by the rules that `holds` names.
pub(super) fn prefixes(policy: &Policy, holds: &dyn Fn(usize) -> bool) -> Result<Prefixes, CompileError> {
    let rules: Vec<NetRule> = policy
        .rules
        .iter()
        .enumerate()
        .filter(|(index, _)| holds(*index))
        .filter_map(|(index, rule)| match &rule.effect {
            Effect::Network(effect) => Some(NetRule {
                index,
                record: rule.record,
                prefix: Prefix::new(effect.net.address(), effect.net.length()),
                allow: effect.allow,
                protocol: effect.protocol,
                ports: &effect.ports,
            }),
            _ => None,
        })
        .collect();
    if rules.is_empty() {
        return Ok(Prefixes::new());
    }
    let mut out = unfold(&rules);
    let [any4, any6] = [
        Prefix::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 32),
        Prefix::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 128),
    ];
    let loop4 = Prefix::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 32);
    let loop6 = Prefix::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 128);
    out.insert(any4, entries(&rules, loop4, None));
    let mut both = entries(&rules, loop4, Some(false));
    both.extend(entries(&rules, loop6, Some(false)));
    let mut seen = BTreeSet::new();
    both.retain(|e| seen.insert((e.rule, e.ports)));
    out.insert(any6, both);
    checked(policy, out)
}

/// The same for addresses that are listened at. Here none leads to another one: `0.0.0.0` is every address, and only a rule
/// for all of them has it.
pub(super) fn listened(policy: &Policy) -> Result<Prefixes, CompileError> {
    let all = policy.rules.iter().enumerate();
    let listening = all.filter_map(|(index, rule)| match &rule.effect {
        Effect::Listen(effect) => Some((index, rule.record, effect)),
        _ => None,
    });
    let rules: Vec<NetRule> = listening
        .flat_map(|(index, record, effect)| {
            effect.nets.iter().map(move |net| NetRule {
                index,
                record,
                prefix: Prefix::new(net.address(), net.length()),
                allow: true,
                protocol: Protocol::Tcp,
                ports: std::slice::from_ref(&effect.ports),
            })
        })
        .collect();
    if rules.is_empty() {
        return Ok(Prefixes::new());
    }
    checked(policy, unfold(&rules))
}

/// An entry for each prefix that a rule is about, and one that keeps IPv4 apart from what holds for IPv6.
fn unfold(rules: &[NetRule]) -> Prefixes {
    let mapped = Prefix::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let wanted: BTreeSet<Prefix> = rules.iter().map(|r| r.prefix).chain([mapped]).collect();
    wanted.into_iter().map(|prefix| (prefix, entries(rules, prefix, None))).collect()
}

/// Within the kernel's bounds.
fn checked(policy: &Policy, out: Prefixes) -> Result<Prefixes, CompileError> {
    for (prefix, entries) in &out {
        if entries.len() > MAX_PORT_RULES {
            return Err(too_many(policy, *prefix, entries));
        }
    }
    Ok(out)
}

/// The entries of all rules that cover `prefix`: denies before allows, within each the narrowest
/// prefix first, then in the order of the policy.
fn entries(rules: &[NetRule], prefix: Prefix, only: Option<bool>) -> Vec<Entry> {
    let mut covering: Vec<&NetRule> = rules
        .iter()
        .filter(|r| r.prefix.covers(prefix) && only.is_none_or(|allow| r.allow == allow))
        .collect();
    covering.sort_by_key(|r| (r.allow, std::cmp::Reverse(r.prefix.length), r.index));
    let all = [ALL_PORTS];
    let mut out = Vec::new();
    for rule in covering {
        let ports = if rule.ports.is_empty() { &all[..] } else { rule.ports };
        out.extend(ports.iter().map(|ports| Entry {
            ports: *ports,
            protocol: rule.protocol,
            allow: rule.allow,
            record: rule.record && rule.allow,
            server: 0,
            rule: rule.index,
        }));
    }
    out
}

fn too_many(policy: &Policy, prefix: Prefix, entries: &[Entry]) -> CompileError {
    let mut ids: Vec<&str> = entries
        .iter()
        .filter_map(|e| policy.rules.get(e.rule))
        .map(|r| r.id.as_str())
        .collect();
    ids.dedup();
    CompileError::PortRules {
        prefix: display(prefix),
        needed: entries.len(),
        limit: MAX_PORT_RULES,
        rules: ids.join(", "),
    }
}

/// The prefix as a manifest writes it.
pub(super) fn display(prefix: Prefix) -> String {
    let address = Ipv6Addr::from_bits(prefix.address);
    match address.to_ipv4_mapped().filter(|_| prefix.v4) {
        Some(v4) => format!("{v4}/{}", prefix.length.saturating_sub(MAPPED_BITS)),
        None => format!("{address}/{}", prefix.length),
    }
}

/// The map entries.
pub(super) fn keys(
    prefixes: &Prefixes,
    image: u32,
    rules: &mut RuleTable,
) -> Result<Vec<(u32, NetPrefix, PortRules)>, CompileError> {
    let mut out = Vec::with_capacity(prefixes.len());
    for (prefix, entries) in prefixes {
        let mut value = PortRules {
            count: 0,
            rules: [PortRule::default(); MAX_PORT_RULES],
        };
        for (slot, entry) in value.rules.iter_mut().zip(entries) {
            *slot = PortRule {
                first: entry.ports.first,
                last: entry.ports.last,
                protocol: entry.protocol.number(),
                allow: u8::from(entry.allow),
                record: u8::from(entry.record),
                server: 0,
                rule: number(rules, &[entry.rule])?,
            };
            value.count += 1;
        }
        let key = NetPrefix {
            image: image.to_be_bytes(),
            address: prefix.address.to_be_bytes(),
        };
        out.push((IMAGE_BITS + prefix.length, key, value));
    }
    out.sort_by_key(|(length, key, _)| (*key, *length));
    Ok(out)
}
