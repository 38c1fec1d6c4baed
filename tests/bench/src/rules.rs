//! The rules of every case, written once for all who enforce them.

use std::fmt::Write as _;

use aegis_policy::{Policy, check};
use anyhow::{Result, anyhow};

use crate::stage::filler;

/// What a path and all below it may be used for.
pub struct PathRule {
    /// The path.
    pub path: String,
    /// Read.
    pub read: bool,
    /// Write, create and remove.
    pub write: bool,
    /// Run.
    pub exec: bool,
}

/// What the operations need: one rule a line of a manifest.
const NEEDED: [(&str, &str); 5] =
    [("/etc", "r"), ("/usr", "r"), ("/usr", "x"), ("/bench", "w"), ("/dev/null", "w")];

/// `count` rules: what the operations need, and folders that nobody opens.
pub fn path_rules(count: usize) -> impl Iterator<Item = PathRule> {
    let needed = NEEDED.iter().map(|(path, what)| PathRule {
        path: (*path).to_owned(),
        read: *what != "x",
        write: *what == "w",
        exec: *what == "x",
    });
    let fillers = (0..count.saturating_sub(NEEDED.len()))
        .map(|index| PathRule { path: filler(index), read: true, write: false, exec: false });
    needed.chain(fillers)
}

/// How the agent's rules are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Path rules of its own.
    pub rules: usize,
    /// What they allow is recorded, as manifests have it; otherwise nothing that is allowed is.
    pub recorded: bool,
    /// With the rules for a usual Linux system, as manifests have it.
    pub baseline: bool,
    /// What would be refused goes on, and is recorded.
    pub audit: bool,
}

impl Manifest {
    /// The text.
    fn text(self, ports: (u16, u16)) -> Result<String> {
        let list = |wanted: fn(&PathRule) -> bool| -> Result<String> {
            let mut text = String::new();
            for rule in path_rules(self.rules).filter(wanted) {
                write!(text, "\n      - {}", rule.path)?;
            }
            Ok(text)
        };
        let read = list(|rule| rule.read && !rule.write)?;
        let write = list(|rule| rule.write)?;
        let exec = list(|rule| rule.exec)?;
        let baseline = if self.baseline { "linux" } else { "none" };
        let mode = if self.audit { "audit" } else { "enforce" };
        let (tcp, udp) = ports;
        Ok(format!(
            "version: \"1.0\"\nagent:\n  name: bench\nmode: {mode}\nbaseline: {baseline}\npermissions:\n  network:\n    allow:\n      \
             - {{cidr: 127.0.0.1/32, ports: [{tcp}], protocol: tcp}}\n      \
             - {{cidr: 127.0.0.1/32, ports: [{udp}], protocol: udp}}\n  \
             fs:\n    read:{read}\n    write:{write}\n  exec:\n    allow:{exec}\n",
        ))
    }

    /// The policy that it says.
    pub fn policy(self, ports: (u16, u16)) -> Result<Policy> {
        let mut policy = policy(&self.text(ports)?)?;
        if !self.recorded {
            for rule in &mut policy.rules {
                rule.record = false;
            }
        }
        Ok(policy)
    }
}

/// The policy of a manifest's text.
pub fn policy(text: &str) -> Result<Policy> {
    check(text.as_bytes(), "bench.yaml").map_err(|errors| match errors.first() {
        Some(first) => anyhow!("the manifest is refused: {first}"),
        None => anyhow!("the manifest is refused"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_has_as_many_path_rules_as_it_says() {
        for baseline in [false, true] {
            let manifest = |rules| Manifest { rules, recorded: true, baseline, audit: false };
            let count = |rules| manifest(rules).policy((1, 2)).expect("a policy").rules.len();
            assert_eq!(count(1000) - count(10), 990);
        }
        assert_eq!(path_rules(10).count(), 10);
    }

    #[test]
    fn without_records_no_rule_asks_for_one() {
        let manifest = Manifest { rules: 10, recorded: false, baseline: true, audit: false };
        assert!(manifest.policy((1, 2)).expect("a policy").rules.iter().all(|rule| !rule.record));
    }
}
