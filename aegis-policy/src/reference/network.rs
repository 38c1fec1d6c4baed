//! Addresses: every rule is asked, one after the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Answer, Reference, Why};
use crate::policy::{Cidr, Default, Effect, NetworkEffect, Protocol, Rule};

impl Reference<'_> {
    /// Whether connecting or sending to an address is allowed. `protocol` is the IP protocol
    /// number.
    #[must_use]
    pub fn network(&self, address: IpAddr, port: u16, protocol: u8) -> Answer {
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
                    return Answer::new(allow, Why::Rule, Some(rule));
                }
            }
        }
        Answer::new(self.policy.default == Default::Allow, Why::Default, None)
    }

    /// The rule of one effect that speaks of an address: the narrowest, then the first.
    fn net_rule(&self, allow: bool, address: IpAddr, port: u16, protocol: u8) -> Option<&Rule> {
        let mut told: Option<(u8, &Rule)> = None;
        for rule in &self.policy.rules {
            let Effect::Network(effect) = &rule.effect else {
                continue;
            };
            let speaks = effect.allow == allow
                && contains(effect.net, address)
                && speaks_of(effect, port, protocol);
            if speaks && told.is_none_or(|(length, _)| effect.net.length() > length) {
                told = Some((effect.net.length(), rule));
            }
        }
        told.map(|(_, rule)| rule)
    }
}

fn speaks_of(effect: &NetworkEffect, port: u16, protocol: u8) -> bool {
    let port_fits = effect.ports.is_empty()
        || effect
            .ports
            .iter()
            .any(|r| r.first <= port && port <= r.last);
    let protocol_fits = match effect.protocol {
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
