//! The same rules for Landlock.

use anyhow::{Context as _, Result};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus,
};

use crate::rules::{PathRule, path_rules};

/// Everything that Landlock of Linux 6.7 covers; older ones cover what they know.
const COVERED: ABI = ABI::V4;

/// Confines this process: `all` when ports are covered too, else `files`.
pub fn confine(rules: usize, tcp_port: u16) -> Result<String> {
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(COVERED))?
        .handle_access(AccessNet::ConnectTcp)?
        .create()
        .context("make a Landlock ruleset")?;
    for rule in path_rules(rules) {
        let target = PathFd::new(&rule.path).with_context(|| format!("open {}", rule.path))?;
        let mut wanted = access(&rule);
        if !std::path::Path::new(&rule.path).is_dir() {
            wanted &= AccessFs::from_file(COVERED);
        }
        ruleset = ruleset.add_rule(PathBeneath::new(target, wanted))?;
    }
    let status = ruleset
        .add_rule(NetPort::new(tcp_port, AccessNet::ConnectTcp))?
        .restrict_self()
        .context("enforce the Landlock ruleset")?;
    Ok(if status.ruleset == RulesetStatus::FullyEnforced { "all" } else { "files" }.to_owned())
}

fn access(rule: &PathRule) -> BitFlags<AccessFs> {
    let mut wanted = BitFlags::empty();
    if rule.read {
        wanted |= AccessFs::ReadFile | AccessFs::ReadDir;
    }
    if rule.write {
        wanted |= AccessFs::from_write(COVERED);
    }
    if rule.exec {
        wanted |= AccessFs::Execute;
    }
    wanted
}
