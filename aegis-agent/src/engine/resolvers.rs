//! Whom an agent asks for names: the manifest's resolvers, or those of `resolv.conf` as the agent will see it.
//!
//! Read once, before anything runs in the agent, and kept: what it does to its `resolv.conf` later changes nothing.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use aegis_common::limits::RESOLVERS_PER_AGENT;
use aegis_policy::policy::{Effect, Policy};

use super::{EngineError, host::Host};

const FILE: &str = "/etc/resolv.conf";

/// The resolvers of an agent, none where it has no names.
pub(super) fn of(policy: &Policy, host: &Host) -> Result<Vec<IpAddr>, EngineError> {
    let named = policy.rules.iter().any(|rule| matches!(rule.effect, Effect::Name(_)));
    if !named || !policy.dns.resolvers.is_empty() {
        return Ok(policy.dns.resolvers.clone());
    }
    match host.view().read(Path::new(FILE)) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(parse(b"")),
        Err(source) => Err(EngineError::Io { path: FILE.into(), source }),
    }
}

/// The addresses behind `nameserver`. Where there is none programs ask the host itself, by resolv.conf(5).
fn parse(text: &[u8]) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for line in String::from_utf8_lossy(text).lines() {
        let mut words = line.split_ascii_whitespace();
        let server = (words.next() == Some("nameserver")).then(|| words.next()).flatten();
        // Behind `%` stands the interface of a link-local address.
        let address = server.and_then(|text| text.split('%').next()?.parse::<IpAddr>().ok());
        let address = address.map(|address| address.to_canonical());
        found.extend(address.filter(|address| !found.contains(address)));
    }
    found.truncate(RESOLVERS_PER_AGENT as usize);
    if found.is_empty() {
        found.push(Ipv4Addr::LOCALHOST.into());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<String> {
        parse(text.as_bytes()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn resolvers_are_those_that_programs_ask() {
        let text = "# nameserver 192.0.2.1\nsearch example.org\nnameserver 192.0.2.53\n\tnameserver  2001:db8::53 # here\n\
                    nameserver fe80::1%eth0\nnameserver 192.0.2.53\nnameserver ::ffff:192.0.2.54\nnameservers 192.0.2.2\n\
                    nameserver nonsense\n";
        assert_eq!(parsed(text), ["192.0.2.53", "2001:db8::53", "fe80::1", "192.0.2.54"]);
    }

    #[test]
    fn without_any_the_host_itself_is_asked() {
        assert_eq!(parsed("options edns0\n"), ["127.0.0.1"]);
    }

    #[test]
    fn no_more_are_taken_than_the_kernel_has_room_for() {
        let many: String = (1..20).map(|n| format!("nameserver 192.0.2.{n}\n")).collect();
        assert_eq!(parsed(&many).len(), RESOLVERS_PER_AGENT as usize);
    }
}
