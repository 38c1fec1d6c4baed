//! `cargo xtask tidy`: the walls between the parts, checked where Cargo can't.
//!
//! Each rule is a function from the source tree to complaints. It knows text, not types: what it can't see it must
//! not claim, and each has a planted violation in its tests.

use std::process::ExitCode;

use anyhow::Result;

use crate::{host, ui};

mod abi;
mod shape;
mod source;
mod unsafety;
mod walls;

use source::Tree;

/// A rule: its name for messages, and the check.
type Rule = (&'static str, fn(&Tree) -> Vec<String>);

const RULES: &[Rule] = &[
    ("dependencies", walls::dependencies),
    ("aya-in-kernel-only", walls::aya),
    ("stages", walls::stages),
    ("hooks", walls::hooks),
    ("unsafe", unsafety::check),
    ("event-kinds", abi::kinds),
    ("counters", abi::counters),
    ("length", shape::length),
    ("machine-paths", shape::machine_paths),
    ("headers", shape::headers),
];

/// The command.
pub fn run() -> Result<ExitCode> {
    let mut failed = 0;
    for (rule, complaints) in check()? {
        for complaint in &complaints {
            ui::line(format_args!("{rule}: {complaint}"));
        }
        failed += complaints.len();
    }
    ui::line(format_args!("{} rules, {failed} complaints", RULES.len()));
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Every rule with its complaints.
pub fn check() -> Result<Vec<(&'static str, Vec<String>)>> {
    let tree = Tree::read(host::repository())?;
    Ok(RULES
        .iter()
        .map(|(name, rule)| (*name, rule(&tree)))
        .collect())
}
