//! The digest of an image: what was reviewed is what is in force.
//!
//! A SHA-256 over a text that says everything the image says, in an order that depends on content
//! alone. Left out is what changes without changing the meaning: the image's index, the hash key,
//! the generation, file names and line numbers.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ring::digest::{Context, SHA256};

use super::{Joint, network};
use crate::policy::{Policy, Rule};
use crate::resolve::{Place, Resolved};

/// Begins the text. Raised when the text changes shape, so that digests of two versions never
/// seem to speak of the same.
const VERSION: &str = "aegis image 1";

/// Text going into the hash.
struct Text {
    context: Context,
    line: String,
}

impl Text {
    /// One line. Parts are quoted, so that no name can pretend to be two.
    fn line(&mut self, parts: &[&dyn std::fmt::Debug]) {
        self.line.clear();
        for part in parts {
            // Writing to a String cannot fail.
            let _ = write!(self.line, "{part:?} ");
        }
        self.line.push('\n');
        self.context.update(self.line.as_bytes());
    }
}

pub(super) fn digest(
    policy: &Policy,
    resolved: &Resolved,
    joints: &BTreeMap<Place, Joint>,
    net: &network::Prefixes,
) -> [u8; 32] {
    let mut text = Text {
        context: Context::new(&SHA256),
        line: String::new(),
    };
    text.line(&[&VERSION, &policy.name, &policy.runtime, &policy.labels]);
    text.line(&[
        &"is",
        &policy.mode,
        &policy.default,
        &policy.baseline,
        &policy.anonymous_exec,
        &policy.kill,
    ]);
    let limits = &policy.limits;
    text.line(&[
        &"limits",
        &limits.memory_bytes,
        &limits.cpu_millis,
        &limits.pids,
        &limits.execution_time,
    ]);
    let id = |n: &usize| policy.rules.get(*n).map_or("", |r: &Rule| r.id.as_str());
    let ids = |list: &[usize]| list.iter().map(id).collect::<Vec<_>>();
    for rule in &policy.rules {
        text.line(&[&"rule", &rule.id, &rule.text, &rule.record, &rule.effect]);
    }
    for (place, joint) in joints {
        let (allows, denies) = (ids(&joint.allow_rules), ids(&joint.deny_rules));
        text.line(&[
            &"path",
            &place.dev,
            &place.components,
            &joint.allow,
            &joint.deny,
            &joint.record,
            &allows,
            &denies,
        ]);
    }
    for inode in &resolved.inodes {
        text.line(&[&"inode", &inode.dev, &inode.ino, &id(&inode.rule)]);
    }
    for content in &resolved.contents {
        text.line(&[&"content", &content.sha256, &id(&content.rule)]);
    }
    for (prefix, entries) in net {
        text.line(&[&"net", &network::display(*prefix)]);
        for e in entries {
            text.line(&[
                &"ports",
                &e.ports.first,
                &e.ports.last,
                &e.protocol,
                &e.allow,
                &e.record,
                &id(&e.rule),
            ]);
        }
    }
    let mut out = [0; 32];
    let digest = text.context.finish();
    for (to, from) in out.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    out
}
