//! What must catch each kernel program that is missing, as data: `mutations.toml`. Reading and
//! checking only; nothing here runs anything.

use crate::case::{Claim, Failure};
use crate::scenario::{Kind, Scenario, User};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Catches by the name of the program, as `aegis status` has it.
pub type Mutations = BTreeMap<String, Catch>;

/// What fails when a program is missing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catch {
    /// The scenario that must fail.
    pub scenario: String,
    /// Tries that then give what they give outside; those that are allowed no longer succeed.
    #[serde(default)]
    pub tries: Vec<String>,
    /// Probes of the world, by their `what`, that then find something else.
    #[serde(default)]
    pub probes: Vec<String>,
    /// Tries whose event is then missing: for programs that only record, with `why`.
    #[serde(default)]
    pub events: Vec<String>,
    /// Programs that refuse the same a second time: they are left out too. Without them alone, none
    /// of the above may fail.
    #[serde(default)]
    pub with: Vec<String>,
    /// Users as whom it must fail; those of the scenario and the tries unless given.
    #[serde(default)]
    pub users: Vec<User>,
    /// What a reader of the table should know.
    #[serde(default)]
    pub why: String,
}

/// Reads the file and checks it against the scenarios.
///
/// # Errors
/// It can't be read, or names what no scenario has.
pub fn load(path: &Path, scenarios: &[Scenario]) -> Result<Mutations> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mutations: Mutations = toml::from_str(&text).with_context(|| format!("read {}", path.display()))?;
    for (program, catch) in &mutations {
        catch.check(scenarios).with_context(|| format!("{}: {program}", path.display()))?;
    }
    Ok(mutations)
}

impl Catch {
    fn check(&self, scenarios: &[Scenario]) -> Result<()> {
        let scenario = self.scenario(scenarios)?;
        for name in self.tries.iter().chain(&self.events) {
            if !scenario.tries.iter().any(|t| &t.name == name) {
                bail!("{} has no try {name:?}", self.scenario);
            }
        }
        if let Some(what) = self.probes.iter().find(|what| !scenario.world.iter().any(|p| &p.what == *what)) {
            bail!("{} has no probe {what:?}", self.scenario);
        }
        if self.tries.is_empty() && self.probes.is_empty() && self.events.is_empty() {
            bail!("name the tries or probes that catch it");
        }
        if !self.events.is_empty() && self.why.is_empty() {
            bail!("caught by an event and not by an effect: say why that is all there is");
        }
        if let Some(user) = self.users.iter().find(|user| !scenario.users.contains(user)) {
            bail!("{} does not run as {}", self.scenario, user.name());
        }
        Ok(())
    }

    /// The scenario, found by its id.
    ///
    /// # Errors
    /// There is none.
    pub fn scenario<'a>(&self, scenarios: &'a [Scenario]) -> Result<&'a Scenario> {
        scenarios.iter().find(|s| s.id == self.scenario).with_context(|| format!("there is no scenario {:?}", self.scenario))
    }

    /// Users as whom it is run.
    pub fn users<'a>(&'a self, scenario: &'a Scenario) -> &'a [User] {
        if self.users.is_empty() { &scenario.users } else { &self.users }
    }

    /// The named claims that hold in spite of the missing program, or were not put to the test.
    pub fn survived(&self, scenario: &Scenario, user: User, kernel: &str, failures: &[Failure]) -> Vec<String> {
        let mut held = Vec::new();
        let tried = scenario.tries_as(user).any(|t| self.tries.contains(&t.name));
        if !tried && self.probes.is_empty() && self.events.is_empty() {
            held.push("nothing that is named is tried as this user; it".to_owned());
        }
        for one in scenario.tries_as(user).filter(|t| self.tries.contains(&t.name)) {
            let refused = one.inside_on(kernel) != one.outside.as_slice() && scenario.kind == Kind::Agent;
            let fell = failures.iter().any(|f| match &f.claim {
                // A refusal must have turned into what the control shows, not into another refusal.
                Claim::Try(name, Some(found)) => *name == one.name && (!refused || one.outside.contains(found)),
                _ => false,
            });
            if !fell {
                let other = failures.iter().find(|f| matches!(&f.claim, Claim::Try(name, _) if *name == one.name));
                held.push(other.map_or_else(|| format!("try {}", one.name), |f| format!("try {} ({})", one.name, f.text)));
            }
        }
        let among = |claim: &Claim| failures.iter().any(|f| f.claim == *claim);
        held.extend(self.probes.iter().filter(|w| !among(&Claim::Probe((*w).clone()))).map(|w| format!("probe {w:?}")));
        held.extend(self.events.iter().filter(|n| !among(&Claim::Event((*n).clone()))).map(|n| format!("event of {n}")));
        held
    }

    /// The named claims that are among the failures.
    pub fn fallen<'a>(&self, failures: &'a [Failure]) -> Vec<&'a str> {
        let named = |claim: &Claim| match claim {
            // A try that reported nothing was not refused less than before.
            Claim::Try(name, found) => found.is_some() && self.tries.contains(name),
            Claim::Probe(what) => self.probes.contains(what),
            Claim::Event(name) => self.events.contains(name),
            Claim::Run => false,
        };
        failures.iter().filter(|f| named(&f.claim)).map(|f| f.text.as_str()).collect()
    }

    /// What catches it, in words.
    pub fn told(&self) -> String {
        let mut text = self.tries.join(", ");
        for what in &self.probes {
            let _ = write!(text, "{}probe \u{201c}{what}\u{201d}", if text.is_empty() { "" } else { "; " });
        }
        for name in &self.events {
            let _ = write!(text, "{}event of {name}", if text.is_empty() { "" } else { "; " });
        }
        text
    }
}

/// docs/mutations.md.
pub fn markdown(mutations: &Mutations, scenarios: &[Scenario]) -> Result<String> {
    let mut text = format!(
        "# What catches a missing program\n\n\
         Generated by `cargo xtask mutate --markdown` from [mutations.toml](../tests/vm/mutations.toml); do not edit. `cargo xtask mutate` takes each of the {} programs \
         out of the kernel and runs the scenario; a try that is refused must then succeed as it does outside an agent, an allowed one must fail, a probe must find\nanother world. \
         [Decision 0018](decisions/0018-mutations.md) says how. \u{201c}Left out with it\u{201d} are programs that refuse the same a second time: without them alone nothing may change.\n\n\
         | program | scenario | caught by | as | left out with it | remark |\n|---|---|---|---|---|---|\n",
        mutations.len()
    );
    for (program, catch) in mutations {
        let scenario = catch.scenario(scenarios)?;
        let users: Vec<_> = catch.users(scenario).iter().map(|u| u.name()).collect();
        let _ = writeln!(
            text,
            "| `{program}` | `{}` | {} | {} | {} | {} |",
            catch.scenario,
            catch.told().replace('|', "\\|"),
            users.join(", "),
            catch.with.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", "),
            catch.why
        );
    }
    Ok(text)
}

#[cfg(test)]
#[path = "mutation_tests.rs"]
mod tests;
