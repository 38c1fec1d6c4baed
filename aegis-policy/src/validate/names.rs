//! Host names and `network.dns`.
//!
//! Knows: how a name is spelled so that it can be met in a question. Must not know: hashes, resolvers of a host.

use std::net::IpAddr;

use aegis_common::limits::RESOLVERS_PER_AGENT;

use super::values::{self, Wrong};
use super::{value, word};
use crate::diagnostic::{Diagnostics, quote};
use crate::manifest::{DnsTexts, Text};
use crate::policy::{Dns, HostName, ServerCheck};

/// Longest name as a person writes it.
const LONGEST: usize = 253;
/// Longest label.
const LONGEST_LABEL: usize = 63;
/// Most seconds that an answer holds.
const MOST_TTL: u64 = 86_400;
const EXAMPLE: &str = "write a name such as \"api.example.org\", or \"*.example.org\" for all names below it";

/// `api.openai.com`, `*.googleapis.com`.
pub(super) fn host_name(text: &str, allow: bool) -> Result<HostName, Wrong> {
    let shown = quote(text);
    let wrong = |message: String, advice: &str| Err((message, advice.to_owned()));
    if let Ok(cidr) = values::cidr(text) {
        return wrong(
            format!("{shown} is an address where a host name is expected"),
            &format!("write {{cidr: {cidr}, ports: [443]}}"),
        );
    }
    if text.contains('/') {
        return wrong(format!("{shown} is a URL or has a path; a host is a bare name"), EXAMPLE);
    }
    if !allow {
        return wrong(
            format!("the host name {shown} cannot be denied: an address answers to many names"),
            "deny addresses: {cidr: 192.0.2.0/24}",
        );
    }
    if text.contains(':') {
        return wrong(
            format!("{shown} has a port or is no name"),
            "name ports beside it: {host: \"packages.example.org\", ports: [443]}",
        );
    }
    if text == "*" {
        return wrong(
            "the host name `*` would let any bytes out in a question".to_owned(),
            "name what the agent needs: \"*.example.org\"",
        );
    }
    if !text.is_ascii() {
        return wrong(
            format!("{shown} is not in ASCII"),
            "write the name as it is asked for, in its encoded form (xn--…)",
        );
    }
    if text.ends_with('.') {
        return wrong(
            format!("{shown} ends with a dot"),
            "leave the last dot out: every name here is a whole one",
        );
    }
    let folded = text.to_ascii_lowercase();
    let (below, name) = folded.strip_prefix("*.").map_or((false, folded.as_str()), |name| (true, name));
    if name.contains('*') {
        return wrong(format!("{shown} has a `*` that does not stand for whole labels in front"), EXAMPLE);
    }
    let labels: Vec<String> = name.split('.').map(str::to_owned).collect();
    if let Some(label) = labels.iter().find(|label| !is_label(label)) {
        return wrong(
            format!("{} of {shown} is no label", quote(label)),
            "labels have 1 to 63 letters, digits, `-` and `_`, and no `-` at either end",
        );
    }
    if name.len() > LONGEST {
        return wrong(format!("{shown} is longer than a name can be"), EXAMPLE);
    }
    if labels.last().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return wrong(format!("{shown} ends with a number, as an address does"), EXAMPLE);
    }
    Ok(HostName { below, labels })
}

fn is_label(label: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=LONGEST_LABEL).contains(&label.len())
        && label.bytes().all(good)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// `sni` of `network`, or of a rule.
pub(super) fn sni(text: Option<&Text>, errors: &mut Diagnostics) -> Option<ServerCheck> {
    let words = [ServerCheck::Enforce, ServerCheck::Record, ServerCheck::Off].map(|check| (check.word(), check));
    word(text, "sni", &words, errors)
}

/// `network.dns`.
pub(super) fn dns(texts: &DnsTexts, errors: &mut Diagnostics) -> Dns {
    let defaults = Dns::default();
    let least = value(texts.min_ttl.as_ref(), ttl, errors);
    let most = value(texts.max_ttl.as_ref(), ttl, errors);
    // Each alone moves the other's default along.
    let least_ttl = least.unwrap_or_else(|| defaults.least_ttl.min(most.unwrap_or(u32::MAX)));
    let most_ttl = most.unwrap_or_else(|| defaults.most_ttl.max(least_ttl));
    if let Some(text) = texts.max_ttl.as_ref().filter(|_| least_ttl > most_ttl) {
        errors.error(text.at, "`dns.max_ttl` is below `dns.min_ttl`", "write the longer time as `max_ttl`");
    }
    let answers = [("deny", false), ("allow", true)];
    Dns {
        resolvers: resolvers(&texts.resolvers, errors),
        least_ttl,
        most_ttl,
        private_answers: word(texts.private_answers.as_ref(), "dns.private_answers", &answers, errors)
            .unwrap_or(defaults.private_answers),
    }
}

fn resolvers(texts: &[Text], errors: &mut Diagnostics) -> Vec<IpAddr> {
    let mut out = Vec::new();
    for text in texts {
        let Some(address) = value(Some(text), resolver, errors) else { continue };
        if out.contains(&address) {
            errors.error(text.at, format!("the resolver {address} is written twice"), "delete one of them");
        }
        out.push(address);
    }
    if let Some(text) = texts.get(RESOLVERS_PER_AGENT as usize) {
        errors.error(
            text.at,
            format!("more than {RESOLVERS_PER_AGENT} resolvers"),
            "name those that the agent's programs ask",
        );
    }
    out
}

fn resolver(text: &str) -> Result<IpAddr, Wrong> {
    let address = text.parse().ok().filter(|address: &IpAddr| !address.is_unspecified() && !address.is_multicast());
    address.map(|address| address.to_canonical()).ok_or_else(|| {
        (format!("{} is no address of a resolver", quote(text)), "write an address: 192.0.2.53 or 2001:db8::53".to_owned())
    })
}

/// Whole seconds.
fn ttl(text: &str) -> Result<u32, Wrong> {
    let time = values::duration(text)?;
    let seconds = time.as_secs();
    let whole = time.subsec_nanos() == 0 && (1..=MOST_TTL).contains(&seconds);
    u32::try_from(seconds).ok().filter(|_| whole).ok_or_else(|| {
        (format!("{} is no time that an answer holds", quote(text)), "write whole seconds, from 1s to 24h".to_owned())
    })
}
