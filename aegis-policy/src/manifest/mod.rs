//! The shapes of a manifest: which keys there are and what kind of value each takes.
//!
//! Knows: the language's structure. Must not know: what a path, an address or a size means
//! (`validate`), nor YAML (`parse`).

mod language;
mod read;

use crate::diagnostic::{Diagnostics, Position, quote};
use crate::parse::{Kind, Node, Value};
use language::{
    AGENT, BAN_ENTRY, CAPABILITIES, DEGRADED, DNS, ENVIRONMENT, EXEC, FS, FS_ENTRY, KILL, Keys, LISTEN_ENTRY, NETWORK, NETWORK_ENTRY,
    PERMISSIONS, PROCESS, RUN_ENTRY, SYSCALLS, TOP,
};
use read::Fields;
pub(crate) use read::nearest;

/// A value as written, with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Where.
    pub at: Position,
    /// What.
    pub text: String,
    /// Written without quotes.
    pub plain: bool,
}

/// An entry of `fs` or `exec`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathEntry {
    /// Where the entry begins.
    pub at: Position,
    /// The path.
    pub path: Text,
    /// The rule's id, if given.
    pub id: Option<Text>,
    /// Arguments, of `exec.deny`.
    pub argv: Option<Vec<Text>>,
    /// Digest of the content, of `exec.allow`.
    pub sha256: Option<Text>,
}

/// An entry of `network`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetEntry {
    /// Where the entry begins.
    pub at: Position,
    /// What it is about.
    pub target: NetTarget,
    /// Ports, if given.
    pub ports: Option<PortList>,
    /// Protocol, if given.
    pub protocol: Option<Text>,
    /// What server names are held to, if given.
    pub sni: Option<Text>,
    /// The program that it is for, if given.
    pub exe: Option<Text>,
    /// The rule's id, if given.
    pub id: Option<Text>,
}

/// A list of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortList {
    /// Where the list begins.
    pub at: Position,
    /// Numbers and ranges.
    pub ports: Vec<Text>,
}

/// What an entry of `network` is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetTarget {
    /// A host name.
    Host(Text),
    /// Addresses.
    Cidr(Text),
    /// A Unix socket.
    Unix(Text),
}

/// One entry under `network.listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenEntry {
    /// Where the entry begins.
    pub at: Position,
    /// `address`.
    pub address: Text,
    /// `port`.
    pub port: Text,
    /// The rule's id, if given.
    pub id: Option<Text>,
}

/// `network.dns`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsTexts {
    /// `resolvers`.
    pub resolvers: Vec<Text>,
    /// `min_ttl`.
    pub min_ttl: Option<Text>,
    /// `max_ttl`.
    pub max_ttl: Option<Text>,
    /// `private_answers`.
    pub private_answers: Option<Text>,
}

/// A manifest whose shape is good as far as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// `version`.
    pub version: Option<Text>,
    /// `agent.name`.
    pub name: Option<Text>,
    /// `agent.runtime`.
    pub runtime: Option<Text>,
    /// `agent.labels`.
    pub labels: Vec<(Text, Text)>,
    /// `mode`.
    pub mode: Option<Text>,
    /// `default`.
    pub default: Option<Text>,
    /// `baseline`.
    pub baseline: Option<Text>,
    /// `permissions.fs.read`.
    pub fs_read: Vec<PathEntry>,
    /// `permissions.fs.write`.
    pub fs_write: Vec<PathEntry>,
    /// `permissions.fs.deny`.
    pub fs_deny: Vec<PathEntry>,
    /// `permissions.exec.allow`.
    pub exec_allow: Vec<PathEntry>,
    /// `permissions.exec.deny`.
    pub exec_deny: Vec<PathEntry>,
    /// `permissions.exec.anonymous`.
    pub exec_anonymous: Option<Text>,
    /// `permissions.exec.environment.deny`.
    pub environment_deny: Vec<Text>,
    /// `permissions.exec.write_execute`.
    pub write_execute: Option<Text>,
    /// `permissions.network.allow`.
    pub network_allow: Vec<NetEntry>,
    /// `permissions.network.deny`.
    pub network_deny: Vec<NetEntry>,
    /// `permissions.network.listen`.
    pub network_listen: Vec<ListenEntry>,
    /// `permissions.network.dns`.
    pub dns: DnsTexts,
    /// `permissions.network.max_bytes_out`.
    pub max_bytes_out: Option<Text>,
    /// `permissions.network.sni`.
    pub sni: Option<Text>,
    /// `permissions.process.no_new_privileges`.
    pub no_new_privileges: Option<Text>,
    /// `permissions.process.capabilities.drop`, with the position of the list.
    pub capabilities_drop: Option<(Position, Vec<Text>)>,
    /// `permissions.process.signal_others`.
    pub signal_others: Option<Text>,
    /// `permissions.syscalls.deny`.
    pub syscalls_deny: Vec<Text>,
    /// `permissions.execution_time`.
    pub execution_time: Option<Text>,
    /// `permissions.memory`.
    pub memory: Option<Text>,
    /// `permissions.cpu_quota`.
    pub cpu_quota: Option<Text>,
    /// `permissions.pids`.
    pub pids: Option<Text>,
    /// `kill.action`.
    pub kill_action: Option<Text>,
    /// `degraded.audit_full`.
    pub audit_full: Option<Text>,
}

/// Reads the shapes. What is wrong goes to `errors` and is left out of the result.
pub fn read(root: &Node, errors: &mut Diagnostics) -> Manifest {
    let mut out = Manifest::default();
    let Some(top) = Fields::of(root, "the manifest", TOP, errors) else {
        return out;
    };
    match top.get("version") {
        Some(node) => out.version = read::text(node, "`version`", "version: \"1.0\"", errors),
        None => errors.error(
            root.at,
            "`version` is missing",
            "begin the file with version: \"1.0\"",
        ),
    }
    match top.get("agent") {
        Some(node) => agent(node, &mut out, errors),
        None => errors.error(
            root.at,
            "`agent` is missing",
            "write agent: {name: \"my-agent\"}",
        ),
    }
    let mut word = |name: &str, example: &str| {
        top.get(name)
            .and_then(|node| read::text(node, &format!("`{name}`"), example, errors))
    };
    out.mode = word("mode", "mode: enforce");
    out.default = word("default", "default: deny");
    out.baseline = word("baseline", "baseline: linux");
    if let Some(node) = top.get("permissions") {
        permissions(node, &mut out, errors);
    }
    if let Some(kill) = top
        .get("kill")
        .and_then(|node| Fields::of(node, "`kill`", KILL, errors))
    {
        out.kill_action = kill
            .get("action")
            .and_then(|n| read::text(n, "`kill.action`", "action: freeze", errors));
    }
    if let Some(degraded) = top
        .get("degraded")
        .and_then(|node| Fields::of(node, "`degraded`", DEGRADED, errors))
    {
        out.audit_full = degraded
            .get("audit_full")
            .and_then(|n| read::text(n, "`degraded.audit_full`", "audit_full: block_all", errors));
    }
    out
}

fn agent(node: &Node, out: &mut Manifest, errors: &mut Diagnostics) {
    let Some(fields) = Fields::of(node, "`agent`", AGENT, errors) else {
        return;
    };
    match fields.get("name") {
        Some(name) => out.name = read::text(name, "`agent.name`", "name: \"my-agent\"", errors),
        None => errors.error(
            node.at,
            "`agent.name` is missing",
            "write name: \"my-agent\" under `agent`",
        ),
    }
    out.runtime = fields
        .get("runtime")
        .and_then(|n| read::text(n, "`agent.runtime`", "runtime: \"python:3.11\"", errors));
    let Some(labels) = fields.get("labels") else {
        return;
    };
    let Value::Map(entries) = &labels.value else {
        errors.error(
            labels.at,
            format!(
                "`agent.labels` must be a mapping, found {}",
                read::found(labels)
            ),
            "write labels: {team: payments}",
        );
        return;
    };
    for (key, value) in entries {
        let name = Text {
            at: key.at,
            text: key.text.clone(),
            plain: true,
        };
        let what = format!("label {}", quote(&key.text));
        if let Some(value) = read::text(value, &what, "team: payments", errors) {
            out.labels.push((name, value));
        }
    }
}

fn permissions(node: &Node, out: &mut Manifest, errors: &mut Diagnostics) {
    let Some(fields) = Fields::of(node, "`permissions`", PERMISSIONS, errors) else {
        return;
    };
    if let Some(network) = fields
        .get("network")
        .and_then(|n| Fields::of(n, "`network`", NETWORK, errors))
    {
        out.network_allow = addresses(network.get("allow"), "`network.allow`", errors);
        out.network_deny = addresses(network.get("deny"), "`network.deny`", errors);
        out.network_listen = listen(network.get("listen"), errors);
        if let Some(node) = network.get("dns") {
            out.dns = dns(node, errors);
        }
        out.max_bytes_out =
            network.get("max_bytes_out").and_then(|n| read::text(n, "`network.max_bytes_out`", "max_bytes_out: 200MB", errors));
        out.sni = network.get("sni").and_then(|n| read::word(n, "`network.sni`", SNI, errors));
    }
    if let Some(fs) = fields
        .get("fs")
        .and_then(|n| Fields::of(n, "`fs`", FS, errors))
    {
        out.fs_read = paths(fs.get("read"), "`fs.read`", FS_ENTRY, errors);
        out.fs_write = paths(fs.get("write"), "`fs.write`", FS_ENTRY, errors);
        out.fs_deny = paths(fs.get("deny"), "`fs.deny`", FS_ENTRY, errors);
    }
    if let Some(exec) = fields
        .get("exec")
        .and_then(|n| Fields::of(n, "`exec`", EXEC, errors))
    {
        out.exec_allow = paths(exec.get("allow"), "`exec.allow`", RUN_ENTRY, errors);
        out.exec_deny = paths(exec.get("deny"), "`exec.deny`", BAN_ENTRY, errors);
        let anonymous = exec.get("anonymous");
        out.exec_anonymous =
            anonymous.and_then(|n| read::text(n, "`exec.anonymous`", "anonymous: deny", errors));
        let memory = exec.get("write_execute");
        out.write_execute =
            memory.and_then(|n| read::text(n, "`exec.write_execute`", "write_execute: deny", errors));
        if let Some(environment) = exec.get("environment") {
            out.environment_deny = variables(environment, errors);
        }
    }
    if let Some(process) = fields
        .get("process")
        .and_then(|n| Fields::of(n, "`process`", PROCESS, errors))
    {
        process_of(&process, out, errors);
    }
    if let Some(syscalls) = fields
        .get("syscalls")
        .and_then(|n| Fields::of(n, "`syscalls`", SYSCALLS, errors))
        && let Some(deny) = syscalls.get("deny")
    {
        for entry in read::list(deny, "`syscalls.deny`", SYSCALL_EXAMPLE, errors) {
            let name = read::text(entry, "an entry of `syscalls.deny`", SYSCALL_EXAMPLE, errors);
            out.syscalls_deny.extend(name);
        }
    }
    let mut value = |name: &str, example: &str| {
        fields
            .get(name)
            .and_then(|node| read::scalar(node, &format!("`{name}`"), example, errors))
    };
    out.execution_time = value("execution_time", "execution_time: 300s");
    out.memory = value("memory", "memory: 512MB");
    out.cpu_quota = value("cpu_quota", "cpu_quota: 0.5");
    out.pids = value("pids", "pids: 256");
}

const SNI: &str = "sni: enforce";

fn listen(node: Option<&Node>, errors: &mut Diagnostics) -> Vec<ListenEntry> {
    const EXAMPLE: &str = "{address: 127.0.0.1, port: 3000}";
    let Some(node) = node else { return Vec::new() };
    let mut out = Vec::new();
    for entry in read::list(node, "`network.listen`", &format!("[{EXAMPLE}]"), errors) {
        let Some(fields) = Fields::of(entry, "an entry of `network.listen`", LISTEN_ENTRY, errors) else { continue };
        let mut need = |key: &str| {
            let Some(node) = fields.get(key) else {
                errors.error(entry.at, format!("an entry of `network.listen` has no `{key}`"), format!("write {EXAMPLE}"));
                return None;
            };
            read::scalar(node, &format!("`{key}`"), EXAMPLE, errors)
        };
        let (address, port) = (need("address"), need("port"));
        let id = id(&fields, errors);
        if let (Some(address), Some(port)) = (address, port) {
            out.push(ListenEntry { at: entry.at, address, port, id });
        }
    }
    out
}

fn dns(node: &Node, errors: &mut Diagnostics) -> DnsTexts {
    const EXAMPLE: &str = "resolvers: [192.0.2.53]";
    let Some(fields) = Fields::of(node, "`network.dns`", DNS, errors) else {
        return DnsTexts::default();
    };
    let resolvers = fields.get("resolvers").map(|n| read::list(n, "`dns.resolvers`", EXAMPLE, errors));
    let resolvers = resolvers.unwrap_or_default().iter();
    let resolvers = resolvers.filter_map(|n| read::text(n, "an entry of `dns.resolvers`", EXAMPLE, errors)).collect();
    let mut time = |name: &str, example: &str| {
        fields.get(name).and_then(|n| read::scalar(n, &format!("`dns.{name}`"), example, errors))
    };
    DnsTexts {
        resolvers,
        min_ttl: time("min_ttl", "min_ttl: 60s"),
        max_ttl: time("max_ttl", "max_ttl: 300s"),
        private_answers: fields
            .get("private_answers")
            .and_then(|n| read::text(n, "`dns.private_answers`", "private_answers: deny", errors)),
    }
}

/// Names under `exec.environment.deny`.
fn variables(node: &Node, errors: &mut Diagnostics) -> Vec<Text> {
    let Some(fields) = Fields::of(node, "`exec.environment`", ENVIRONMENT, errors) else {
        return Vec::new();
    };
    let Some(deny) = fields.get("deny") else {
        return Vec::new();
    };
    let names = read::list(deny, "`exec.environment.deny`", VARIABLE_EXAMPLE, errors);
    let text = |n| read::text(n, "an entry of `exec.environment.deny`", VARIABLE_EXAMPLE, errors);
    names.iter().filter_map(text).collect()
}

fn process_of(process: &Fields<'_>, out: &mut Manifest, errors: &mut Diagnostics) {
    out.no_new_privileges = process
        .get("no_new_privileges")
        .and_then(|n| read::truth(n, "`process.no_new_privileges`", "no_new_privileges: true", errors));
    out.signal_others = process
        .get("signal_others")
        .and_then(|n| read::text(n, "`process.signal_others`", "signal_others: deny", errors));
    let drop = process
        .get("capabilities")
        .and_then(|n| Fields::of(n, "`process.capabilities`", CAPABILITIES, errors))
        .and_then(|capabilities| capabilities.get("drop").cloned());
    out.capabilities_drop = drop.map(|drop| {
        let names = read::list(&drop, "`capabilities.drop`", "drop: [ALL]", errors);
        let text = |n| read::text(n, "an entry of `capabilities.drop`", "drop: [ALL]", errors);
        (drop.at, names.iter().filter_map(text).collect())
    });
}

const SYSCALL_EXAMPLE: &str = "names of system calls: deny: [mount, keyctl]";
const VARIABLE_EXAMPLE: &str = "names of variables: deny: [LD_PRELOAD, \"NODE_*\"]";
const PATH_EXAMPLE: &str = "a path: [\"/data/inputs\"]";

/// A list of paths: text, or mappings with `path`.
fn paths(node: Option<&Node>, what: &str, keys: Keys, errors: &mut Diagnostics) -> Vec<PathEntry> {
    let Some(node) = node else { return Vec::new() };
    let mut out = Vec::new();
    for entry in read::list(node, what, PATH_EXAMPLE, errors) {
        let name = format!("an entry of {what}");
        if !matches!(entry.value, Value::Map(_)) {
            let path = read::text(entry, &name, "a path: \"/data/inputs\"", errors);
            out.extend(path.map(|path| PathEntry {
                at: entry.at,
                path,
                id: None,
                argv: None,
                sha256: None,
            }));
            continue;
        }
        let Some(fields) = Fields::of(entry, &name, keys, errors) else {
            continue;
        };
        let id = id(&fields, errors);
        let Some(path) = fields.get("path") else {
            errors.error(
                entry.at,
                format!("{name} has no `path`"),
                "write {path: \"/data/inputs\"}",
            );
            continue;
        };
        let path = read::text(path, "`path`", "path: \"/data/inputs\"", errors);
        let argv = fields.get("argv").map(|n| arguments(n, errors));
        let digest = fields.get("sha256");
        let sha256 = digest.and_then(|n| read::text(n, "`sha256`", "sha256: \"9f86d0…\"", errors));
        // An entry without its condition would say more than was meant; there is an error then.
        out.extend(path.map(|path| PathEntry {
            at: entry.at,
            path,
            id,
            argv,
            sha256,
        }));
    }
    out
}

/// A list of arguments; an empty one is an error.
fn arguments(node: &Node, errors: &mut Diagnostics) -> Vec<Text> {
    const EXAMPLE: &str = "argv: [\"delete\", \"namespace\"]";
    let nodes = read::list(node, "`argv`", EXAMPLE, errors);
    if nodes.is_empty() && matches!(node.value, Value::List(_)) {
        errors.error(
            node.at,
            "`argv` is an empty list",
            "leave `argv` out to deny the program whatever its arguments",
        );
    }
    let read = |n| read::text(n, "an argument", EXAMPLE, errors);
    nodes.iter().filter_map(read).collect()
}

fn id(fields: &Fields<'_>, errors: &mut Diagnostics) -> Option<Text> {
    fields
        .get("id")
        .and_then(|n| read::text(n, "`id`", "id: \"build-output\"", errors))
}

/// A list of addresses: text (a host), or mappings with `host`, `cidr` or `unix`.
fn addresses(node: Option<&Node>, what: &str, errors: &mut Diagnostics) -> Vec<NetEntry> {
    let Some(node) = node else { return Vec::new() };
    let mut out = Vec::new();
    for entry in read::list(node, what, "[{cidr: 192.0.2.0/24, ports: [443]}]", errors) {
        let name = format!("an entry of {what}");
        if !matches!(entry.value, Value::Map(_)) {
            let host = read::text(entry, &name, "{cidr: 192.0.2.0/24, ports: [443]}", errors);
            out.extend(host.map(|host| NetEntry {
                at: entry.at,
                target: NetTarget::Host(host),
                ports: None,
                protocol: None,
                sni: None,
                exe: None,
                id: None,
            }));
            continue;
        }
        let Some(fields) = Fields::of(entry, &name, NETWORK_ENTRY, errors) else {
            continue;
        };
        let id = id(&fields, errors);
        let ports = fields.get("ports").map(|n| ports(n, errors));
        let protocol = fields
            .get("protocol")
            .and_then(|n| read::text(n, "`protocol`", "protocol: tcp", errors));
        let sni = fields.get("sni").and_then(|n| read::word(n, "`sni`", SNI, errors));
        let exe = fields.get("exe").and_then(|n| read::text(n, "`exe`", "exe: /usr/lib/postgresql/16/bin/psql", errors));
        if let Some(target) = target(entry, &name, &fields, errors) {
            out.push(NetEntry {
                at: entry.at,
                target,
                ports,
                protocol,
                sni,
                exe,
                id,
            });
        }
    }
    out
}

fn target(
    entry: &Node,
    name: &str,
    fields: &Fields<'_>,
    errors: &mut Diagnostics,
) -> Option<NetTarget> {
    const EXAMPLE: &str = "{cidr: 192.0.2.0/24, ports: [443]}";
    let present: Vec<(&str, &Node)> = ["host", "cidr", "unix"]
        .iter()
        .filter_map(|key| fields.get(key).map(|n| (*key, n)))
        .collect();
    match present.as_slice() {
        [("host", node)] => read::text(node, "`host`", EXAMPLE, errors).map(NetTarget::Host),
        [("cidr", node)] => read::text(node, "`cidr`", EXAMPLE, errors).map(NetTarget::Cidr),
        [("unix", node)] => {
            read::text(node, "`unix`", "{unix: \"/run/app.sock\"}", errors).map(NetTarget::Unix)
        }
        [] => {
            errors.error(
                entry.at,
                format!("{name} names no address"),
                format!("write {EXAMPLE}"),
            );
            None
        }
        [.., (second, node)] => {
            errors.error(
                node.at,
                format!("{name} has `{second}` beside another target"),
                "make an entry of its own for each of `cidr` and `unix`",
            );
            None
        }
    }
}

fn ports(node: &Node, errors: &mut Diagnostics) -> PortList {
    const EXAMPLE: &str = "ports: [443, \"6000-6100\"]";
    let nodes = read::list(node, "`ports`", EXAMPLE, errors);
    if nodes.is_empty() && matches!(node.value, Value::List(_)) {
        errors.error(
            node.at,
            "`ports` is an empty list",
            "leave `ports` out to mean every port",
        );
    }
    let number = |n: &Node| match &n.value {
        Value::Scalar(s) => matches!(s.kind(), Kind::Integer | Kind::Text),
        Value::List(_) | Value::Map(_) => false,
    };
    let mut out = Vec::new();
    for port in nodes {
        if number(port) {
            out.extend(read::scalar(port, "a port", EXAMPLE, errors));
        } else {
            errors.error(
                port.at,
                format!(
                    "a port must be a number or a range, found {}",
                    read::found(port)
                ),
                format!("write {EXAMPLE}"),
            );
        }
    }
    PortList {
        at: node.at,
        ports: out,
    }
}
