//! The rules of a manifest, each with its id.
//!
//! Knows: what each list of the language grants and denies. Must not know: what other rules there
//! are on a host.

use std::collections::HashMap;

use aegis_common::path::perm;

use super::paths::RulePath;
use super::values::Wrong;
use super::{names, paths, programs, value, values};
use crate::capability;
use crate::diagnostic::{Diagnostics, Position, escape, quote};
use crate::manifest::{ListenEntry, Manifest, NetEntry, NetTarget, PathEntry, Text};
use crate::path::AbsPath;
use crate::policy::{
    Condition, Effect, ListenEffect, NameEffect, NetworkEffect, Origin, PathEffect, PortRange, Protocol, Rule, SyscallEffect,
};
use crate::syscall::{self, NameError};

/// Most rules of one manifest, and most paths that they stand for.
const MAX_RULES: usize = 100_000;
/// Longest id that a manifest gives.
const MAX_ID: usize = 64;
/// Ids of rules that no manifest wrote begin so.
const RESERVED: [&str; 4] = ["baseline:", "builtin:", "runtime:", "session:"];

/// What a list of paths says.
struct Kind {
    /// Name of the list, first part of the id.
    name: &'static str,
    allow: u8,
    deny: u8,
    ban_content: bool,
}

const READ: Kind = Kind {
    name: "fs.read",
    allow: perm::READ,
    deny: 0,
    ban_content: false,
};
const WRITE: Kind = Kind {
    name: "fs.write",
    allow: perm::READ | perm::WRITE | perm::NAME,
    deny: 0,
    ban_content: false,
};
const DENY: Kind = Kind {
    name: "fs.deny",
    allow: 0,
    deny: perm::ALL,
    ban_content: false,
};
const RUN: Kind = Kind {
    name: "exec.allow",
    allow: perm::EXEC,
    deny: 0,
    ban_content: false,
};
const BAN: Kind = Kind {
    name: "exec.deny",
    allow: 0,
    deny: perm::EXEC,
    ban_content: true,
};
/// Connecting to a Unix socket is writing to it.
const SOCKET: Kind = Kind {
    name: "network.allow",
    allow: perm::WRITE,
    deny: 0,
    ban_content: false,
};
const NO_SOCKET: Kind = Kind {
    name: "network.deny",
    allow: 0,
    deny: perm::WRITE,
    ban_content: false,
};

/// Where a bare host name may be reached.
const HTTPS: PortRange = PortRange { first: 443, last: 443 };

/// The rules so far.
#[derive(Default)]
struct Rules {
    list: Vec<Rule>,
    /// Paths that they stand for: braces can stand for far more than was written.
    paths: usize,
}

impl Rules {
    /// Takes a rule; false when that was one too many.
    fn take(&mut self, rule: Option<Rule>, at: Position, errors: &mut Diagnostics) -> bool {
        self.paths += rule.as_ref().map_or(0, |rule| match &rule.effect {
            Effect::Path(effect) => effect.patterns.len(),
            _ => 1,
        });
        self.list.extend(rule);
        if self.paths > MAX_RULES {
            errors.error(
                at,
                format!("the rules up to here stand for more than {MAX_RULES} paths, addresses and calls"),
                "name directories instead of single files, and write fewer alternatives in braces",
            );
        }
        self.paths <= MAX_RULES
    }
}

/// All rules in the order of the language: network, fs, exec, process, syscalls.
pub(super) fn of_manifest(manifest: &Manifest, errors: &mut Diagnostics) -> Vec<Rule> {
    let mut out = Rules::default();
    for (allow, entries) in [(true, &manifest.network_allow), (false, &manifest.network_deny)] {
        for entry in entries {
            let rule = network(entry, allow, errors);
            if !out.take(rule, entry.at, errors) {
                return out.list;
            }
        }
    }
    for entry in &manifest.network_listen {
        let rule = listen(entry, errors);
        if !out.take(rule, entry.at, errors) {
            return out.list;
        }
    }
    for (kind, entries) in [
        (&READ, &manifest.fs_read),
        (&WRITE, &manifest.fs_write),
        (&DENY, &manifest.fs_deny),
        (&RUN, &manifest.exec_allow),
        (&BAN, &manifest.exec_deny),
    ] {
        for entry in entries {
            let rule = path(entry, kind, errors);
            if !out.take(rule, entry.at, errors) {
                return out.list;
            }
        }
    }
    programs::bound(&manifest.exec_deny, errors);
    for name in &manifest.environment_deny {
        let rule = programs::variable(name, errors).map(|prefix| Rule {
            id: format!("exec.environment.deny:{}", name.text),
            origin: origin(name.at, errors),
            text: format!("exec.environment.deny: {}", name.text),
            record: true,
            effect: Effect::Variable(prefix),
        });
        if !out.take(rule, name.at, errors) {
            return out.list;
        }
    }
    let capabilities = capabilities(manifest, errors);
    out.list.extend(capabilities);
    for name in &manifest.syscalls_deny {
        let rule = syscall(name, errors);
        if !out.take(rule, name.at, errors) {
            return out.list;
        }
    }
    out.list
}

fn origin(at: Position, errors: &Diagnostics) -> Origin {
    Origin::Manifest {
        file: errors.file().clone(),
        line: at.line,
    }
}

/// The id: given, or made of the content.
fn id(given: Option<&Text>, content: &str, errors: &mut Diagnostics) -> String {
    let Some(given) = given else {
        return escape(content);
    };
    let good = |c: char| c.is_ascii_alphanumeric() || "._:/-".contains(c);
    if given.text.is_empty() || given.text.len() > MAX_ID || !given.text.chars().all(good) {
        errors.error(
            given.at,
            format!("{} cannot be a rule's id", quote(&given.text)),
            format!("use up to {MAX_ID} letters, digits, `.`, `_`, `:`, `/` and `-`"),
        );
    } else if RESERVED.iter().any(|r| given.text.starts_with(r)) || given.text == "default" {
        errors.error(
            given.at,
            format!("the id {} is reserved", quote(&given.text)),
            "choose one that does not begin with baseline:, builtin:, runtime: or session:",
        );
    }
    given.text.clone()
}

fn path(entry: &PathEntry, kind: &Kind, errors: &mut Diagnostics) -> Option<Rule> {
    let path = value(Some(&entry.path), paths::rule_path, errors);
    let condition = programs::condition(entry, errors);
    if let Some(path) = &path {
        programs::plain(entry, &path.patterns, errors);
    }
    let (short, long) = programs::told(&condition);
    let content = path
        .as_ref()
        .map(|p| format!("{}:{p}{short}", kind.name))
        .unwrap_or_default();
    let id = id(entry.id.as_ref(), &content, errors);
    let text = format!("{}: {}{long}", kind.name, path.as_ref()?);
    Some(path_rule(id, text, path?, kind, condition, origin(entry.at, errors)))
}

fn path_rule(
    id: String,
    text: String,
    path: RulePath,
    kind: &Kind,
    condition: Condition,
    origin: Origin,
) -> Rule {
    let effect = PathEffect {
        written: path.written.into_bytes(),
        patterns: path.patterns,
        allow: kind.allow,
        deny: kind.deny,
        ban_content: kind.ban_content,
        condition,
    };
    Rule {
        id,
        origin,
        text,
        record: true,
        effect: Effect::Path(effect),
    }
}

fn network(entry: &NetEntry, allow: bool, errors: &mut Diagnostics) -> Option<Rule> {
    if let Some(sni) = entry.sni.as_ref().filter(|_| !matches!(entry.target, NetTarget::Host(_))) {
        errors.error(sni.at, "`sni` belongs to a host name", "delete `sni`, or write the rule with `host`");
    }
    let cidr = match &entry.target {
        NetTarget::Host(host) => return host_name(entry, host, allow, errors),
        NetTarget::Unix(path) => return unix(entry, path, allow, errors),
        NetTarget::Cidr(cidr) => value(Some(cidr), values::cidr, errors),
    };
    let ports = ports(entry, errors);
    let protocol =
        value(entry.protocol.as_ref(), values::protocol, errors).unwrap_or(Protocol::Any);
    let name = if allow {
        "network.allow"
    } else {
        "network.deny"
    };
    let exe = programs::exe(entry, allow, errors);
    let target = reached(cidr.map(|c| c.to_string()).unwrap_or_default(), &ports, protocol, exe.as_ref());
    let id = id(entry.id.as_ref(), &content_of(name, &target), errors);
    let effect = NetworkEffect {
        allow,
        net: cidr?,
        ports,
        protocol,
        exe,
    };
    Some(Rule {
        id,
        origin: origin(entry.at, errors),
        text: format!("{name}: {target}"),
        record: true,
        effect: Effect::Network(effect),
    })
}

/// A host name: TCP to port 443, unless the entry says more.
fn host_name(entry: &NetEntry, host: &Text, allow: bool, errors: &mut Diagnostics) -> Option<Rule> {
    let ports = if entry.ports.is_none() { vec![HTTPS] } else { ports(entry, errors) };
    let protocol = value(entry.protocol.as_ref(), values::protocol, errors).unwrap_or(Protocol::Tcp);
    let name = value(Some(host), |text| names::host_name(text, allow), errors);
    let exe = programs::exe(entry, allow, errors);
    let shown = name.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut target = reached(shown, &ports, protocol, exe.as_ref());
    let sni = names::sni(entry.sni.as_ref(), errors);
    if let Some(check) = sni {
        target = format!("{target} sni {}", check.word());
    }
    let id = id(entry.id.as_ref(), &content_of("network.allow", &target), errors);
    let effect = NameEffect { name: name?, ports, protocol, sni, exe };
    Some(Rule {
        id,
        origin: origin(entry.at, errors),
        text: format!("network.allow: {target}"),
        record: true,
        effect: Effect::Name(effect),
    })
}

/// Listening at an address and port. TCP: who receives datagrams answers no one by that alone.
fn listen(entry: &ListenEntry, errors: &mut Diagnostics) -> Option<Rule> {
    let nets = value(Some(&entry.address), values::listened, errors);
    let ports = value(Some(&entry.port), values::ports, errors);
    let shown: Option<String> = nets.as_ref().zip(ports).map(|(nets, ports)| {
        let nets: Vec<String> = nets.iter().map(ToString::to_string).collect();
        format!("{} port {ports}", nets.join(","))
    });
    let target = shown.unwrap_or_default();
    let id = id(entry.id.as_ref(), &format!("network.listen:{}", target.replace(" port ", ":")), errors);
    let effect = ListenEffect { nets: nets?, ports: ports? };
    Some(Rule {
        id,
        origin: origin(entry.at, errors),
        text: format!("network.listen: {target}"),
        record: true,
        effect: Effect::Listen(effect),
    })
}

/// What an entry of `network` opens or closes, as a person would write it.
fn reached(what: String, ports: &[PortRange], protocol: Protocol, exe: Option<&AbsPath>) -> String {
    let shown: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let mut target = what;
    if !shown.is_empty() {
        target = format!("{target} ports {}", shown.join(","));
    }
    if protocol != Protocol::Any {
        target = format!("{target} {}", protocol.name());
    }
    if let Some(exe) = exe {
        target = format!("{target} exe {exe}");
    }
    target
}

/// The id that is made from it.
fn content_of(name: &str, target: &str) -> String {
    format!("{name}:{}", target.replace(" ports", "").replace(' ', ":"))
}

fn capabilities(manifest: &Manifest, errors: &mut Diagnostics) -> Option<Rule> {
    let (at, names) = manifest.capabilities_drop.as_ref()?;
    let bits = names.iter().filter_map(|name| value(Some(name), capability_bits, errors));
    let dropped = bits.fold(0, |all, bits| all | bits);
    if names.is_empty() {
        errors.error(*at, "`capabilities.drop` is an empty list", "write drop: [ALL], or delete it");
    }
    let shown: Vec<&str> = names.iter().map(|name| name.text.as_str()).collect();
    let text = escape(&format!("process.capabilities.drop: {}", shown.join(", ")));
    Some(Rule {
        id: "process.capabilities.drop".to_owned(),
        origin: origin(*at, errors),
        text,
        record: true,
        effect: Effect::Capabilities(dropped),
    })
}

fn capability_bits(name: &str) -> Result<u64, Wrong> {
    capability::bits(name).ok_or_else(|| {
        let known = capability::NAMES.into_iter().chain([capability::ALL]);
        let advice = match crate::manifest::nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write a name of capabilities(7), such as CAP_NET_RAW, or ALL".to_owned(),
        };
        (format!("{} is no capability", quote(name)), advice)
    })
}

fn syscall(name: &Text, errors: &mut Diagnostics) -> Option<Rule> {
    let numbers = value(Some(name), numbers, errors)?;
    let text = name.text.clone();
    Some(Rule {
        id: format!("syscalls.deny:{text}"),
        origin: origin(name.at, errors),
        text: format!("syscalls.deny: {text}"),
        record: true,
        effect: Effect::Syscall(SyscallEffect { name: text, numbers }),
    })
}

fn numbers(name: &str) -> Result<Vec<u32>, Wrong> {
    syscall::numbers(name).map_err(|error| match error {
        NameError::Unknown => (
            format!("{} is no system call of x86-64 Linux", quote(name)),
            match syscall::nearest(name) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write the name as `man 2 syscalls` has it".to_owned(),
            },
        ),
        NameError::Needed => (
            format!("without `{name}` no program starts or ends"),
            "delete it; what must not run at all needs no agent".to_owned(),
        ),
    })
}

/// The ports in ascending order, none twice.
fn ports(entry: &NetEntry, errors: &mut Diagnostics) -> Vec<PortRange> {
    let texts = entry.ports.iter().flat_map(|list| &list.ports);
    let mut read: Vec<(PortRange, Position)> = texts
        .filter_map(|t| value(Some(t), values::ports, errors).map(|p| (p, t.at)))
        .collect();
    read.sort_unstable();
    for pair in read.windows(2) {
        if let [(a, _), (b, at)] = pair
            && b.first <= a.last
        {
            errors.error(
                *at,
                format!("the ports {b} overlap with {a}"),
                "name each port once",
            );
        }
    }
    read.into_iter().map(|(ports, _)| ports).collect()
}

fn unix(entry: &NetEntry, path: &Text, allow: bool, errors: &mut Diagnostics) -> Option<Rule> {
    for (at, what) in [
        entry.ports.as_ref().map(|p| (p.at, "ports")),
        entry.protocol.as_ref().map(|p| (p.at, "protocol")),
        entry.exe.as_ref().map(|p| (p.at, "exe")),
    ]
    .into_iter()
    .flatten()
    {
        errors.error(
            at,
            format!("a Unix socket has no `{what}`"),
            format!("delete `{what}`"),
        );
    }
    let kind = if allow { &SOCKET } else { &NO_SOCKET };
    let socket = value(Some(path), socket_path, errors);
    let content = socket
        .as_ref()
        .map(|p| format!("{}:unix:{p}", kind.name))
        .unwrap_or_default();
    let id = id(entry.id.as_ref(), &content, errors);
    let text = format!("{}: unix {}", kind.name, socket.as_ref()?);
    let origin = origin(entry.at, errors);
    Some(path_rule(id, text, socket?, kind, Condition::None, origin))
}

fn socket_path(text: &str) -> Result<RulePath, Wrong> {
    if text.starts_with('@') {
        return Err((
            "not enforced by this version: abstract Unix sockets".to_owned(),
            "name a socket that has a path".to_owned(),
        ));
    }
    paths::rule_path(text)
}

/// Every id stands for one rule: a rule that is written twice, or an id that is given twice, is an
/// error at the second place.
pub(super) fn unique_ids(rules: &[Rule], manifest: &Manifest, errors: &mut Diagnostics) {
    let mut seen: HashMap<&str, &Origin> = HashMap::new();
    for rule in rules {
        if let Some(first) = seen.insert(&rule.id, &rule.origin) {
            let at = position_of(rule, manifest);
            errors.error(
                at,
                format!(
                    "the rule {} is written twice, first in {first}",
                    quote(&rule.id)
                ),
                "delete one of them, or give each an `id` of its own",
            );
        }
    }
}

/// Where a rule was written: its origin has the line, the entries have the column.
fn position_of(rule: &Rule, manifest: &Manifest) -> Position {
    let Origin::Manifest { line, .. } = rule.origin else {
        return Position::START;
    };
    let paths = [
        &manifest.fs_read,
        &manifest.fs_write,
        &manifest.fs_deny,
        &manifest.exec_allow,
        &manifest.exec_deny,
    ];
    let all = paths.into_iter().flatten().map(|e| e.at);
    let nets = manifest
        .network_allow
        .iter()
        .chain(&manifest.network_deny)
        .map(|e| e.at);
    all.chain(nets)
        .chain(manifest.environment_deny.iter().map(|name| name.at))
        .chain(manifest.syscalls_deny.iter().map(|name| name.at))
        .chain(manifest.capabilities_drop.as_ref().map(|(at, _)| *at))
        .filter(|at| at.line == line)
        .max_by_key(|at| at.column)
        .unwrap_or(Position { line, column: 1 })
}
