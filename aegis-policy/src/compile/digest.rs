//! The digest of an image: what was reviewed is what is in force.
//!
//! A SHA-256 over fields that say everything the image says, in an order that depends on content
//! alone. Each field is its length (eight bytes, little endian) and its bytes, so that no name can
//! pass for two. Left out is what changes without changing the meaning: the image's index, the hash
//! key, the generation, file names and line numbers.

use std::collections::BTreeMap;

use ring::digest::{Context, SHA256};

use super::names::Patterns;
use super::network::{self, Prefixes};
use super::{Joint, views::View};
use crate::policy::{Baseline, Condition, Default, Effect, KillAction, Mode, Policy};
use crate::resolve::{Place, Resolved};

/// Begins the text. Raised when the fields change, so that digests of two versions never seem to
/// speak of the same.
const VERSION: &str = "aegis image 5";

/// Fields going into the hash.
struct Fields(Context);

impl Fields {
    fn bytes(&mut self, bytes: &[u8]) {
        self.number(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    /// A value that may be absent.
    fn maybe(&mut self, number: Option<u64>) {
        self.number(u64::from(number.is_some()));
        self.number(number.unwrap_or(0));
    }

    /// How many fields follow.
    fn count(&mut self, name: &str, count: usize) {
        self.text(name);
        self.number(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

pub(super) fn digest(
    policy: &Policy,
    resolved: &Resolved,
    joints: &BTreeMap<Place, Joint>,
    views: &[View],
    listened: &Prefixes,
) -> [u8; 32] {
    let mut fields = Fields(Context::new(&SHA256));
    fields.text(VERSION);
    fixed(&mut fields, policy);
    rules(&mut fields, policy);
    let id = |n: usize| id(policy, n);
    fields.count("paths", joints.len());
    for (place, joint) in joints {
        fields.number(u64::from(place.dev));
        fields.count("components", place.components.len());
        place.components.iter().for_each(|c| fields.bytes(c));
        fields.bytes(&[joint.allow, joint.deny, u8::from(joint.record)]);
        for members in
            [&joint.allow_rules, &joint.deny_rules, &joint.argument_rules, &joint.pin_rules, &joint.exe_rules]
        {
            fields.count("members", members.len());
            members.iter().for_each(|n| fields.text(id(*n)));
        }
    }
    fields.count("globs", resolved.globs.len());
    for glob in &resolved.globs {
        fields.number(u64::from(glob.place.dev));
        fields.count("components", glob.place.components.len());
        glob.place.components.iter().for_each(|c| fields.bytes(c));
        fields.text(id(glob.rule));
        fields.text(&glob.tail.to_string());
        fields.number(glob.active);
    }
    fields.count("inodes", resolved.inodes.len());
    for inode in &resolved.inodes {
        fields.number(u64::from(inode.dev));
        fields.number(inode.ino);
        fields.text(id(inode.rule));
    }
    fields.count("contents", resolved.contents.len());
    for content in &resolved.contents {
        fields.bytes(&content.sha256);
        fields.text(id(content.rule));
    }
    fields.count("views", views.len());
    for view in views {
        fields.number(u64::from(view.number));
        prefixes(&mut fields, policy, &view.prefixes);
        names(&mut fields, policy, &view.names);
    }
    prefixes(&mut fields, policy, listened);
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(fields.0.finish().as_ref()) {
        *to = *from;
    }
    out
}

fn id(policy: &Policy, rule: usize) -> &str {
    policy.rules.get(rule).map_or("", |rule| rule.id.as_str())
}

fn prefixes(fields: &mut Fields, policy: &Policy, prefixes: &Prefixes) {
    fields.count("prefixes", prefixes.len());
    for (prefix, entries) in prefixes {
        fields.text(&network::display(*prefix));
        fields.count("ports", entries.len());
        for e in entries {
            fields.number(u64::from(e.ports.first));
            fields.number(u64::from(e.ports.last));
            fields.bytes(&[e.protocol.number(), u8::from(e.allow), u8::from(e.record)]);
            fields.text(id(policy, e.rule));
        }
    }
}

fn names(fields: &mut Fields, policy: &Policy, names: &Patterns) {
    fields.count("names", names.len());
    for (name, entries) in names {
        fields.text(&name.to_string());
        fields.count("ports", entries.len());
        for e in entries {
            fields.number(u64::from(e.ports.first));
            fields.number(u64::from(e.ports.last));
            fields.bytes(&[e.protocol.number(), u8::from(e.record), e.server]);
            fields.text(id(policy, e.rule));
        }
    }
}

/// What is said of the agent as a whole.
fn fixed(fields: &mut Fields, policy: &Policy) {
    fields.text(&policy.name);
    fields.text(policy.runtime.as_deref().unwrap_or_default());
    fields.count("labels", policy.labels.len());
    for (key, value) in &policy.labels {
        fields.text(key);
        fields.text(value);
    }
    fields.text(match policy.mode {
        Mode::Enforce => "enforce",
        Mode::Audit => "audit",
    });
    fields.text(match policy.default {
        Default::Deny => "deny",
        Default::Allow => "allow",
    });
    fields.text(match policy.baseline {
        Baseline::None => "none",
        Baseline::Linux => "linux",
    });
    fields.text(match policy.kill {
        KillAction::Freeze => "freeze",
        KillAction::Kill => "kill",
    });
    fields.number(u64::from(policy.anonymous_exec));
    fields.number(u64::from(policy.write_execute));
    fields.number(u64::from(policy.record_or_deny));
    fields.count("resolvers", policy.dns.resolvers.len());
    policy.dns.resolvers.iter().for_each(|resolver| fields.text(&resolver.to_string()));
    fields.number(u64::from(policy.dns.least_ttl));
    fields.number(u64::from(policy.dns.most_ttl));
    fields.number(u64::from(policy.dns.private_answers));
    fields.bytes(&[policy.sni.number()]);
    fields.number(u64::from(policy.no_new_privileges));
    fields.maybe(policy.limits.memory_bytes);
    fields.maybe(policy.limits.cpu_millis.map(u64::from));
    fields.maybe(policy.limits.pids.map(u64::from));
    fields.maybe(policy.limits.bytes_out);
    let millis = policy.limits.execution_time.map(|t| t.as_millis());
    fields.maybe(millis.map(|t| u64::try_from(t).unwrap_or(u64::MAX)));
}

/// The rules as written: what a host's mounts and links made of them follows.
fn rules(fields: &mut Fields, policy: &Policy) {
    fields.count("rules", policy.rules.len());
    for rule in &policy.rules {
        fields.text(&rule.id);
        fields.text(&rule.text);
        fields.number(u64::from(rule.record));
        if let Some(exe) = rule.effect.exe() {
            fields.text("exe");
            fields.text(&exe.to_string());
        }
        match &rule.effect {
            Effect::Path(path) => {
                fields.bytes(&path.written);
                fields.bytes(&[path.allow, path.deny, u8::from(path.ban_content)]);
                match &path.condition {
                    Condition::None => fields.text("no condition"),
                    Condition::Arguments(argv) => {
                        fields.count("arguments", argv.len());
                        argv.iter().for_each(|argument| fields.text(argument));
                    }
                    Condition::Content(sha256) => {
                        fields.text("content");
                        fields.bytes(sha256);
                    }
                }
            }
            Effect::Network(net) => {
                fields.text(&net.net.to_string());
                fields.bytes(&[u8::from(net.allow), net.protocol.number()]);
                fields.count("ports", net.ports.len());
                for ports in &net.ports {
                    fields.text(&ports.to_string());
                }
            }
            Effect::Name(name) => {
                fields.text(&name.name.to_string());
                fields.bytes(&[name.protocol.number()]);
                fields.maybe(name.sni.map(|check| u64::from(check.number())));
                fields.count("ports", name.ports.len());
                for ports in &name.ports {
                    fields.text(&ports.to_string());
                }
            }
            Effect::Listen(listen) => {
                fields.count("nets", listen.nets.len());
                listen.nets.iter().for_each(|net| fields.text(&net.to_string()));
                fields.text(&listen.ports.to_string());
            }
            Effect::Syscall(call) => fields.text(&call.name),
            Effect::Variable(name) => fields.text(name),
            Effect::Capabilities(dropped) => fields.number(*dropped),
        }
    }
}
