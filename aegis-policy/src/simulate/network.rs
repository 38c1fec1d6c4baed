//! Addresses and names, as the kernel programs judge them.

use std::net::IpAddr;

use aegis_common::dns;
use aegis_common::event::reason;
use aegis_common::hash::PathHasher;
use aegis_common::net::{IMAGE_BITS, NameKey, PortRules};
use aegis_common::policy::{RULE_DEFAULT, image_flag};

use super::{Decision, Kernel};

impl Kernel<'_> {
    /// Decides connecting or sending to an address. `protocol` is the IP protocol number.
    #[must_use]
    pub fn network(&self, address: IpAddr, port: u16, protocol: u8) -> Decision {
        self.reach(&[], address, port, protocol)
    }

    /// As [`Self::network`], where the address has answered for a name a moment ago.
    #[must_use]
    pub fn named(&self, name: &str, address: IpAddr, port: u16, protocol: u8) -> Decision {
        let bytes = bits(address).to_be_bytes();
        let refused = dns::is_private(&bytes) && !self.flag(image_flag::PRIVATE_ANSWERS);
        let rules = self.rules_of(name).filter(|_| !refused);
        self.reach(rules.map_or(&[], |rules| std::slice::from_ref(rules)), address, port, protocol)
    }

    /// Decides asking a resolver of the agent for the addresses of a name.
    #[must_use]
    pub fn question(&self, name: &str) -> Decision {
        match self.rules_of(name).and_then(|rules| rules.rules.first()) {
            Some(first) => Decision { allowed: true, reason: reason::RULE, rule: first.rule, recorded: first.record == 1 },
            None => self.unnamed(),
        }
    }

    /// The rules of the longest name that covers `name`, met from the right.
    fn rules_of(&self, name: &str) -> Option<&PortRules> {
        let folded = name.to_ascii_lowercase();
        let labels: Vec<&str> = folded.rsplit('.').collect();
        let mut hasher = PathHasher::new(self.hash_key);
        let mut found = None;
        for (index, label) in labels.iter().enumerate() {
            hasher.component(label.as_bytes());
            let last = index + 1 == labels.len();
            let key = NameKey { image: self.image.index, below: u32::from(!last), value: hasher.finish() };
            found = self.names.get(&key).or(found);
        }
        found
    }

    /// What holds where no rule speaks.
    fn unnamed(&self) -> Decision {
        if self.image.image.default_network != 1 {
            return Decision::deny(reason::DEFAULT, RULE_DEFAULT);
        }
        let recorded = self.flag(image_flag::RECORD_DEFAULT);
        Decision { allowed: true, reason: reason::DEFAULT, rule: RULE_DEFAULT, recorded }
    }

    /// Decides by the rules of addresses, then by those of the name.
    fn reach(&self, of_name: &[PortRules], address: IpAddr, port: u16, protocol: u8) -> Decision {
        let bits = bits(address);
        let longest = self
            .image
            .net
            .iter()
            .filter(|(length, key, _)| {
                let mask = u128::MAX
                    .checked_shl(128 - (length - IMAGE_BITS))
                    .unwrap_or(0);
                key.image == self.image.index.to_be_bytes()
                    && u128::from_be_bytes(key.address) == bits & mask
            })
            .max_by_key(|(length, ..)| *length);
        let hit = longest.into_iter().map(|(.., rules)| rules).chain(of_name);
        let hit = hit.filter_map(|rules| port_rule(rules, port, protocol)).next();
        match hit {
            Some((true, rule, record)) => Decision {
                allowed: true,
                reason: reason::RULE,
                rule,
                recorded: record,
            },
            Some((false, rule, _)) => Decision::deny(reason::RULE, rule),
            None => self.unnamed(),
        }
    }
}

/// An address as the kernel's keys have it.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => a.to_ipv6_mapped().to_bits(),
        IpAddr::V6(a) => a.to_bits(),
    }
}

/// The first rule that speaks of a port: whether it allows, its number, whether it is recorded.
fn port_rule(rules: &PortRules, port: u16, protocol: u8) -> Option<(bool, u32, bool)> {
    let count = usize::try_from(rules.count).ok()?;
    let hit = rules.rules.iter().take(count).find(|r| {
        (r.first..=r.last).contains(&port) && (r.protocol == 0 || r.protocol == protocol)
    })?;
    Some((hit.allow == 1, hit.rule, hit.record == 1))
}
