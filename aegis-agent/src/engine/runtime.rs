//! Rules that a run needs beyond its manifest.

use aegis_common::path::perm;
use aegis_policy::{glob::Pattern, policy::{Effect, Policy}};

use super::{Engine, Peer, process, session::RuntimeRule, tmpdir::TmpDir};

impl Engine {
    /// Rules that hold for one run: its own TMPDIR, the caller's terminal, and folders of this engine that
    /// are not in their usual places.
    pub(super) fn runtime_rules(&self, policy: &Policy, tmpdir: &TmpDir, peer: &Peer) -> Vec<RuntimeRule> {
        let rule = |id: &str, path: String, allow, deny| RuntimeRule { id: id.into(), path, allow, deny };
        let mut rules = Vec::new();
        if tmpdir.is_some() {
            rules.push(rule("session:tmpdir", tmpdir.path.display().to_string(), tmpdir_permissions(policy), 0));
        }
        if let Some(terminal) = process::stat(peer.pid).ok().and_then(|s| process::terminal(s.tty)) {
            rules.push(rule("session:terminal", terminal, perm::READ | perm::WRITE, 0));
        }
        let (own, usual) = (&self.parts.layout, crate::paths::Layout::default());
        for (id, path, usual) in [
            ("session:deny:state", &own.state, &usual.state),
            ("session:deny:run", &own.run, &usual.run),
        ] {
            if path != usual {
                rules.push(rule(id, path.display().to_string(), 0, perm::ALL));
            }
        }
        rules
    }
}

/// An agent may run programs in its TMPDIR only where it may already run what it writes elsewhere.
fn tmpdir_permissions(policy: &Policy) -> u8 {
    let paths = |bit: u8| {
        policy.rules.iter().filter_map(move |rule| match &rule.effect {
            Effect::Path(path) if rule.origin.is_manifest() && path.allow & bit != 0 => Some(&path.patterns),
            _ => None,
        }).flatten()
    };
    // All that a glob means lies below its prefix.
    let within = |inner: &Pattern, outer: &Pattern| outer.tail.is_empty() && outer.prefix.covers(&inner.prefix);
    let runs_own = paths(perm::EXEC).any(|run| paths(perm::WRITE).any(|w| within(run, w) || within(w, run)));
    perm::READ | perm::WRITE | perm::NAME | if runs_own { perm::EXEC } else { 0 }
}
