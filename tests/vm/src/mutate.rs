//! Runs scenarios with one kernel program missing, to see that something notices.
//!
//! A program is taken out by removing the pin of its link, as only root outside an agent can, and put
//! back by attaching it again. The daemon is the one that is shipped: it has no switch for it.

use crate::case::{Case, Claim, Failure};
use crate::daemon::Daemon;
use crate::mutation::{Catch, Mutations};
use crate::report;
use crate::scenario::{Scenario, User};
use crate::stage::Ground;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Where the links of the programs in force are pinned.
const PINS: &str = "/sys/fs/bpf/aegis/links";
/// What detaches and attaches, below the folder of scenarios.
const TOOL: &str = "lib/bpf.py";

/// Scenarios and the kernel they run on.
pub struct Mutants<'a> {
    /// All scenarios.
    pub scenarios: &'a [Scenario],
    /// Where they play.
    pub ground: Ground<'a>,
}

impl Mutants<'_> {
    /// Takes out each program in turn, or those that are named; PASS for each that was caught.
    ///
    /// # Errors
    /// The daemon does not start, or does not say which programs it has.
    pub fn run(&self, mutations: &Mutations, wanted: &[String]) -> Result<bool> {
        let mut daemon = Daemon::start().context("start aegisd")?;
        let programs = programs()?;
        report::message(&format!("kernel {} (series {}), aegisd ready after {:.1?}", report::uname(), self.ground.kernel, daemon.startup));
        let (mut caught, mut survived) = (0, 0);
        for stale in mutations.keys().filter(|name| !programs.contains_key(*name)) {
            survived += 1;
            report::data(&format!("FAIL {stale}: in the list of mutations and no program\n"));
        }
        if let Some(stranger) = wanted.iter().find(|name| !programs.contains_key(*name)) {
            bail!("there is no program {stranger}: `aegis status` lists them");
        }
        for (program, in_force) in programs.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(name)) {
            if !in_force {
                report::message(&format!("{program}: this kernel has no such hook"));
                continue;
            }
            let begun = Instant::now();
            let escapes = match mutations.get(program) {
                // After an error it is not known what is in force: the run ends.
                Some(catch) => self.one(program, catch, &mut daemon).with_context(|| format!("without {program}"))?,
                None => vec!["nothing is said to catch it: `--all` shows what does".to_owned()],
            };
            if escapes.is_empty() {
                caught += 1;
                report::data(&format!("PASS {program}  {:.1} s\n", begun.elapsed().as_secs_f64()));
            } else {
                survived += 1;
                report::data(&format!("FAIL {program}: {}\n", escapes.join("\n     ")));
            }
        }
        daemon.stop()?;
        report::data(&format!("\n{caught} passed, {survived} failed\n"));
        Ok(survived == 0)
    }

    /// Runs every scenario without each of the named programs and prints what fails: for finding what
    /// could catch it.
    ///
    /// # Errors
    /// As for [`Self::run`].
    pub fn discover(&self, wanted: &[String]) -> Result<()> {
        let mut daemon = Daemon::start().context("start aegisd")?;
        for (program, _) in programs()?.into_iter().filter(|(name, on)| *on && (wanted.is_empty() || wanted.contains(name))) {
            for scenario in self.scenarios {
                for &user in &scenario.users {
                    self.take_out(&program)?;
                    let failures = self.play(scenario, user, &[], &mut daemon);
                    self.put_back(&program)?;
                    for failure in failures {
                        report::data(&format!("{program}: {} [{}]: {}\n", scenario.id, user.name(), failure.text));
                    }
                }
            }
        }
        daemon.stop()
    }

    /// Takes out one program; what did not notice.
    fn one(&self, program: &str, catch: &Catch, daemon: &mut Daemon) -> Result<Vec<String>> {
        let scenario = catch.scenario(self.scenarios)?;
        let mut wrong = Vec::new();
        for double in &catch.with {
            self.take_out(double)?;
        }
        if !catch.with.is_empty() {
            for &user in catch.users(scenario) {
                let failures = self.play(scenario, user, &catch.events, daemon);
                let doubles = catch.with.join(", ");
                wrong.extend(catch.fallen(&failures).iter().map(|f| format!("[{}] already without {doubles}: {f}", user.name())));
            }
        }
        self.take_out(program)?;
        for &user in catch.users(scenario) {
            let failures = self.play(scenario, user, &catch.events, daemon);
            let held = catch.survived(scenario, user, self.ground.kernel, &failures);
            if !held.is_empty() {
                let run: Vec<_> = failures.iter().filter(|f| f.claim == Claim::Run).map(|f| f.text.as_str()).collect();
                wrong.push(format!("[{}] {} held in {}: {}", user.name(), held.join(", "), scenario.id, run.join("; ")));
            }
        }
        if is_in_force(program) {
            wrong.push(format!("{} brought the program back: a scenario that starts the daemon shows nothing", scenario.id));
        }
        for out in catch.with.iter().map(String::as_str).chain([program]) {
            self.put_back(out)?;
        }
        Ok(wrong)
    }

    fn play(&self, scenario: &Scenario, user: User, events_of: &[String], daemon: &mut Daemon) -> Vec<Failure> {
        Case::new(scenario, user, self.ground).run_without(daemon, events_of)
    }

    fn take_out(&self, program: &str) -> Result<()> {
        self.tool("take-out", program)?;
        if is_in_force(program) {
            bail!("{program} is still pinned");
        }
        Ok(())
    }

    /// Attaches it again; what a scenario that started the daemon brought back is replaced.
    fn put_back(&self, program: &str) -> Result<()> {
        if is_in_force(program) {
            std::fs::remove_file(Path::new(PINS).join(program))?;
        }
        self.tool("put-back", program)
    }

    fn tool(&self, action: &str, program: &str) -> Result<()> {
        let output = Command::new("python3")
            .arg("-SB")
            .arg(self.ground.scenarios.join(TOOL))
            .args([action, program])
            .env("T", "/")
            .stdin(Stdio::null())
            .output()
            .context("start python3")?;
        if !output.status.success() {
            bail!("{action} {program}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

fn is_in_force(program: &str) -> bool {
    Path::new(PINS).join(program).exists()
}

/// Programs by name, and whether this kernel has their hook.
fn programs() -> Result<BTreeMap<String, bool>> {
    let output = Command::new("aegis").args(["status", "-o", "json"]).stdin(Stdio::null()).output()?;
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).context("aegis status printed no JSON")?;
    let hooks = status.get("hooks").and_then(|h| h.as_array()).context("aegis status names no hooks")?;
    let read = |hook: &serde_json::Value| Some((hook.get("name")?.as_str()?.to_owned(), hook.get("attached")?.as_bool()?));
    let programs: BTreeMap<_, _> = hooks.iter().filter_map(read).collect();
    if programs.is_empty() || programs.len() != hooks.len() {
        bail!("aegis status names {} hooks, {} could be read", hooks.len(), programs.len());
    }
    Ok(programs)
}
