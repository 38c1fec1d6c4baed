//! Addresses and names, as the kernel programs judge them.

use std::net::IpAddr;

use aegis_common::dns;
use aegis_common::event::reason;
use aegis_common::hash::PathHasher;
use aegis_common::limits::MAX_DEPTH;
use aegis_common::net::{IMAGE_BITS, NameKey, NetPrefix, PortRule, PortRules, server_check, view};
use aegis_common::path::path_flag;
use aegis_common::policy::{RULE_DEFAULT, image_flag};

use super::{Decision, Kernel};
use crate::resolve::Place;

const TCP: u8 = 6;

impl Kernel<'_> {
    /// The same image as the process that runs a program sees its rules about addresses; without a place, one that has no name.
    #[must_use]
    pub fn run_by(mut self, program: Option<&Place>) -> Self {
        self.view = view::OTHERS;
        let whole = program.filter(|place| place.components.len() <= MAX_DEPTH as usize);
        for key in whole.map(|place| self.hashes(place)).unwrap_or_default() {
            let rule = self.paths.get(&key).filter(|rule| rule.flags & path_flag::EXE != 0);
            let view = rule.and_then(|_| self.image.programs.iter().find(|(at, _)| *at == key));
            self.view = view.map_or(self.view, |(_, view)| *view);
        }
        self
    }

    /// Decides connecting or sending to an address. `protocol` is the IP protocol number.
    #[must_use]
    pub fn network(&self, address: IpAddr, port: u16, protocol: u8) -> Decision {
        self.reach(None, address, port, protocol)
    }

    /// Decides listening at an address with TCP.
    #[must_use]
    pub fn listen(&self, address: IpAddr, port: u16) -> Decision {
        let rule = self.longest(self.image.index | NetPrefix::LISTEN, address, port, TCP);
        rule.map_or_else(|| self.unnamed(), granted)
    }

    /// As [`Self::network`], where the address has answered for a name a moment ago.
    #[must_use]
    pub fn named(&self, name: &str, address: IpAddr, port: u16, protocol: u8) -> Decision {
        let bytes = bits(address).to_be_bytes();
        let refused = dns::is_private(&bytes) && !self.flag(image_flag::PRIVATE_ANSWERS);
        let rules = self.rules_of(name, self.view).filter(|_| !refused);
        self.reach(rules.map(|(_, rules)| rules), address, port, protocol)
    }

    /// Decides what becomes of a TCP connection that begins with the name of a server, where the address has answered for
    /// `name` alone and the connection itself was allowed.
    #[must_use]
    pub fn opening(&self, name: &str, said: Option<&str>, address: IpAddr, port: u16) -> Decision {
        let by_address = self.by_address(address, port, TCP);
        if let Some(rule) = by_address {
            return Decision { allowed: true, reason: reason::RULE, rule: rule.rule, recorded: false };
        }
        let bytes = bits(address).to_be_bytes();
        let refused = dns::is_private(&bytes) && !self.flag(image_flag::PRIVATE_ANSWERS);
        let known = self.rules_of(name, self.view).filter(|_| !refused && self.image.image.default_network != 1);
        let rule = known.and_then(|(key, rules)| Some((key, port_rule(rules, port, TCP)?)));
        let Some((key, rule)) = rule else {
            return Decision { allowed: true, reason: reason::DEFAULT, rule: RULE_DEFAULT, recorded: false };
        };
        let reason = match said.map(|said| self.rules_of(said, self.view)) {
            None => reason::NO_SERVER_NAME,
            Some(Some((said, _))) if said == key => reason::RULE,
            Some(_) => reason::SERVER_NAME,
        };
        match rule.server_check(port) {
            server_check::OFF => Decision { allowed: true, reason: reason::RULE, rule: rule.rule, recorded: false },
            server_check::RECORD => Decision { allowed: true, reason, rule: rule.rule, recorded: true },
            _ => Decision { allowed: reason == reason::RULE, reason, rule: rule.rule, recorded: reason != reason::RULE },
        }
    }

    /// Decides asking a resolver of the agent for the addresses of a name.
    #[must_use]
    pub fn question(&self, name: &str) -> Decision {
        let view = if self.flag(image_flag::PROGRAMS) { view::ALL } else { view::OTHERS };
        match self.rules_of(name, view).and_then(|(_, rules)| rules.rules.first()) {
            Some(first) => Decision { allowed: true, reason: reason::RULE, rule: first.rule, recorded: first.record == 1 },
            None => self.unnamed(),
        }
    }

    /// The rules of the longest name that covers `name`, met from the right, and where they are.
    fn rules_of(&self, name: &str, view: u32) -> Option<(NameKey, &PortRules)> {
        let folded = name.to_ascii_lowercase();
        let labels: Vec<&str> = folded.rsplit('.').collect();
        let mut hasher = PathHasher::new(self.hash_key);
        let mut found = None;
        for (index, label) in labels.iter().enumerate() {
            hasher.component(label.as_bytes());
            let last = index + 1 == labels.len();
            let key = NameKey { image: view::of(self.image.index, view), below: u32::from(!last), value: hasher.finish() };
            found = self.names.get(&key).map(|rules| (key, rules)).or(found);
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
    fn reach(&self, of_name: Option<&PortRules>, address: IpAddr, port: u16, protocol: u8) -> Decision {
        if let Some(rule) = self.by_address(address, port, protocol) {
            return if rule.allow == 1 { granted(rule) } else { Decision::deny(reason::RULE, rule.rule) };
        }
        let Some(rule) = of_name.and_then(|rules| port_rule(rules, port, protocol)) else { return self.unnamed() };
        let hidden = protocol != TCP && rule.server_check(port) == server_check::ENFORCE;
        if hidden && self.image.image.default_network != 1 {
            return Decision::deny(reason::NO_SERVER_NAME, rule.rule);
        }
        granted(rule)
    }

    /// The rule that speaks of an address.
    fn by_address(&self, address: IpAddr, port: u16, protocol: u8) -> Option<&PortRule> {
        self.longest(view::of(self.image.index, self.view), address, port, protocol)
    }

    /// The rule that speaks of an address under an image.
    fn longest(&self, image: u32, address: IpAddr, port: u16, protocol: u8) -> Option<&PortRule> {
        let bits = bits(address);
        let longest = self
            .image
            .net
            .iter()
            .filter(|(length, key, _)| {
                let mask = u128::MAX
                    .checked_shl(128 - (length - IMAGE_BITS))
                    .unwrap_or(0);
                key.image == image.to_be_bytes()
                    && u128::from_be_bytes(key.address) == bits & mask
            })
            .max_by_key(|(length, ..)| *length);
        longest.and_then(|(.., rules)| port_rule(rules, port, protocol))
    }
}

/// An address as the kernel's keys have it.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => a.to_ipv6_mapped().to_bits(),
        IpAddr::V6(a) => a.to_bits(),
    }
}

const fn granted(rule: &PortRule) -> Decision {
    Decision { allowed: true, reason: reason::RULE, rule: rule.rule, recorded: rule.record == 1 }
}

/// The first rule that speaks of a port.
fn port_rule(rules: &PortRules, port: u16, protocol: u8) -> Option<&PortRule> {
    let count = usize::try_from(rules.count).ok()?;
    rules.rules.iter().take(count).find(|r| {
        (r.first..=r.last).contains(&port) && (r.protocol == 0 || r.protocol == protocol)
    })
}
