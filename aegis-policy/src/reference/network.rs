//! Addresses: every rule is asked, one after the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Answer, Reference, Why};
use crate::policy::{Cidr, Default, Effect, HostName, NameEffect, PortRange, Protocol, Rule, ServerCheck};

const TCP: u8 = 6;

impl Reference<'_> {
    /// From now on a program asks about addresses, or one that has no name.
    pub fn run_by(&mut self, program: Option<&str>) {
        self.program = program.map(|path| self.names.spot(path.as_bytes())).filter(|spot| spot.depth() <= super::DEEPEST);
    }

    /// Whether a rule about addresses is for the program that asks.
    fn is_for_it(&self, rule: &Rule) -> bool {
        match self.programs.iter().find(|(id, _)| *id == rule.id) {
            None => true,
            Some((_, spots)) => self.program.as_ref().is_some_and(|own| spots.iter().any(|at| at.is_at_or_above(own))),
        }
    }

    /// Whether connecting or sending to an address is allowed. `protocol` is the IP protocol
    /// number.
    #[must_use]
    pub fn network(&self, address: IpAddr, port: u16, protocol: u8) -> Answer {
        match self.by_address(address, port, protocol) {
            Some((allow, rule)) => Answer::new(allow, Why::Rule, Some(rule)),
            None => self.by_default(),
        }
    }

    /// Whether a TCP socket may listen at an address, `::` and `0.0.0.0` being every one.
    #[must_use]
    pub fn listen(&self, address: IpAddr, port: u16) -> Answer {
        let mut told: Option<(u8, &Rule)> = None;
        for rule in &self.policy.rules {
            let Effect::Listen(effect) = &rule.effect else { continue };
            let fits = |net: &&Cidr| contains(**net, address.to_canonical());
            let narrowest = effect.nets.iter().filter(fits).map(|net| net.length()).max();
            let narrowest = narrowest.filter(|_| effect.ports.first <= port && port <= effect.ports.last);
            if let Some(length) = narrowest.filter(|length| told.is_none_or(|(best, _)| *length > best)) {
                told = Some((length, rule));
            }
        }
        told.map_or_else(|| self.by_default(), |(_, rule)| Answer::new(true, Why::Rule, Some(rule)))
    }

    /// As [`Self::network`], where the address has answered for a name a moment ago.
    #[must_use]
    pub fn named(&self, name: &str, address: IpAddr, port: u16, protocol: u8) -> Answer {
        if let Some((allow, rule)) = self.by_address(address, port, protocol) {
            return Answer::new(allow, Why::Rule, Some(rule));
        }
        match self.reached(name, address, port, protocol) {
            None => self.by_default(),
            Some(rule) if protocol != TCP && self.enforces(rule, port) => {
                Answer::new(false, Why::NoServerName, Some(rule))
            }
            Some(rule) => Answer::new(true, Why::Rule, Some(rule)),
        }
    }

    /// Whether a TCP connection may go on that begins with the name of a server, where the address has answered for `name`
    /// alone and the connection itself was allowed.
    #[must_use]
    pub fn opening(&self, name: &str, said: Option<&str>, address: IpAddr, port: u16) -> Answer {
        if let Some((_, rule)) = self.by_address(address, port, TCP) {
            return Answer::new(true, Why::Rule, Some(rule));
        }
        let Some(rule) = self.reached(name, address, port, TCP).filter(|_| self.policy.default == Default::Deny) else {
            return Answer::new(true, Why::Default, None);
        };
        if self.server_check(rule, port) == ServerCheck::Off {
            return Answer::new(true, Why::Rule, Some(rule));
        }
        // It fits when the same name in the manifest covers both.
        let why = match said.map(|said| self.covering(said)) {
            None => Why::NoServerName,
            Some(covering) if covering == self.covering(name) => Why::Rule,
            Some(_) => Why::ServerName,
        };
        Answer::new(why == Why::Rule || !self.enforces(rule, port), why, Some(rule))
    }

    fn reached(&self, name: &str, address: IpAddr, port: u16, protocol: u8) -> Option<&Rule> {
        let refused = is_inside(address.to_canonical()) && !self.policy.dns.private_answers;
        self.name_rule(name, Some((port, protocol)), false).filter(|_| !refused)
    }

    /// The longest name in the manifest that covers one.
    fn covering(&self, name: &str) -> Option<&HostName> {
        match &self.name_rule(name, None, true)?.effect {
            Effect::Name(effect) => Some(&effect.name),
            _ => None,
        }
    }

    fn enforces(&self, rule: &Rule, port: u16) -> bool {
        self.policy.default == Default::Deny && self.server_check(rule, port) == ServerCheck::Enforce
    }

    fn server_check(&self, rule: &Rule, port: u16) -> ServerCheck {
        match &rule.effect {
            Effect::Name(NameEffect { sni: Some(check), .. }) => *check,
            Effect::Name(_) if port == 80 || port == 443 => self.policy.sni,
            _ => ServerCheck::Off,
        }
    }

    /// Whether the addresses of a name may be asked for: any program may ask for what some program may reach.
    #[must_use]
    pub fn question(&self, name: &str) -> Answer {
        let rule = self.name_rule(name, None, true);
        rule.map_or_else(|| self.by_default(), |rule| Answer::new(true, Why::Rule, Some(rule)))
    }

    fn by_default(&self) -> Answer {
        Answer::new(self.policy.default == Default::Allow, Why::Default, None)
    }

    /// The rule that allows a name, at a port and protocol where one is asked about: the one that names it, then those for
    /// what is below another name, the longest first, then the first.
    fn name_rule(&self, name: &str, at: Option<(u16, u8)>, anyone: bool) -> Option<&Rule> {
        let name = name.to_ascii_lowercase();
        let mut told: Option<(usize, &Rule)> = None;
        for rule in self.policy.rules.iter().filter(|rule| anyone || self.is_for_it(rule)) {
            let Effect::Name(effect) = &rule.effect else {
                continue;
            };
            let written = effect.name.labels.join(".");
            let rank = if effect.name.below {
                name.strip_suffix(&format!(".{written}")).filter(|front| !front.is_empty()).map(|_| written.len())
            } else {
                (name == written).then_some(usize::MAX)
            };
            let speaks = at.is_none_or(|(port, protocol)| speaks_of(&effect.ports, effect.protocol, port, protocol));
            if let Some(rank) = rank.filter(|rank| speaks && told.is_none_or(|(best, _)| *rank > best)) {
                told = Some((rank, rule));
            }
        }
        told.map(|(_, rule)| rule)
    }

    fn by_address(&self, address: IpAddr, port: u16, protocol: u8) -> Option<(bool, &Rule)> {
        // What the kernel connects to when it is asked for "any address": itself.
        let (denied_by, allowed_by) = match address.to_canonical() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => {
                let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
                (vec![here], vec![here])
            }
            // Either loopback, depending on the socket: never opened by a rule.
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => (
                vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
                Vec::new(),
            ),
            other => (vec![other], vec![other]),
        };
        for (allow, addresses) in [(false, denied_by), (true, allowed_by)] {
            for address in addresses {
                if let Some(rule) = self.net_rule(allow, address, port, protocol) {
                    return Some((allow, rule));
                }
            }
        }
        None
    }

    /// The rule of one effect that speaks of an address: the narrowest, then the first.
    fn net_rule(&self, allow: bool, address: IpAddr, port: u16, protocol: u8) -> Option<&Rule> {
        let mut told: Option<(u8, &Rule)> = None;
        for rule in self.policy.rules.iter().filter(|rule| self.is_for_it(rule)) {
            let Effect::Network(effect) = &rule.effect else {
                continue;
            };
            let speaks = effect.allow == allow
                && contains(effect.net, address)
                && speaks_of(&effect.ports, effect.protocol, port, protocol);
            if speaks && told.is_none_or(|(length, _)| effect.net.length() > length) {
                told = Some((effect.net.length(), rule));
            }
        }
        told.map(|(_, rule)| rule)
    }
}

/// Addresses that nobody out there answers with: of the host, of its networks, of a cloud's own services.
fn is_inside(address: IpAddr) -> bool {
    let inside = [
        "0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
        "192.0.0.0/24", "198.18.0.0/15", "168.63.129.16/32", "224.0.0.0/3", "::/64", "fc00::/7", "fe80::/9", "ff00::/8",
        "100::/64", "64:ff9b:1::/48",
    ];
    let embedded = match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(a) => match a.octets() {
            [0x20, 0x02, w, x, y, z, ..] | [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, w, x, y, z] => {
                Some(Ipv4Addr::new(w, x, y, z).into())
            }
            _ => None,
        },
    };
    let within = |text: &str| {
        let (net, length) = text.split_once('/')?;
        Cidr::new(net.parse().ok()?, length.parse().ok()?).ok()
    };
    embedded.is_some_and(is_inside) || inside.iter().any(|net| within(net).is_some_and(|net| contains(net, address)))
}

fn speaks_of(ports: &[PortRange], protocol_of_rule: Protocol, port: u16, protocol: u8) -> bool {
    let port_fits = ports.is_empty() || ports.iter().any(|r| r.first <= port && port <= r.last);
    let protocol_fits = match protocol_of_rule {
        Protocol::Any => true,
        Protocol::Tcp => protocol == 6,
        Protocol::Udp => protocol == 17,
    };
    port_fits && protocol_fits
}

/// Compares bit by bit.
fn contains(net: Cidr, address: IpAddr) -> bool {
    let bits = |address: IpAddr| -> Vec<bool> {
        let octets = match address {
            IpAddr::V4(a) => a.octets().to_vec(),
            IpAddr::V6(a) => a.octets().to_vec(),
        };
        octets
            .iter()
            .flat_map(|o| (0..8).rev().map(move |n| o >> n & 1 == 1))
            .collect()
    };
    let (net_bits, own) = (bits(net.address()), bits(address));
    net_bits.len() == own.len()
        && net_bits
            .iter()
            .zip(&own)
            .take(usize::from(net.length()))
            .all(|(a, b)| a == b)
}
