//! `aegis-vm-tests`: runs the enforcement scenarios in a disposable machine, as root.
//!
//! Knows: how to stage a scenario, run its act outside and inside an agent, and compare what
//! happened with what the scenario claims. Must not know: anything of Aegis but its command line,
//! its JSON, and where its programs are pinned (to take one out). It links no Aegis crate, so it cannot inherit their mistakes.

mod case;
mod collector;
mod daemon;
mod events;
mod mutate;
mod mutation;
mod outcome;
mod pattern;
mod process;
mod report;
mod scenario;
mod stage;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use scenario::{Extent, User};
use stage::Ground;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about = "Runs the Aegis enforcement scenarios inside a test machine")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the scenarios: PASS or FAIL for each scenario and user, a table, then the totals.
    Run {
        /// Kernel series, as in kernels.toml; scenarios may claim the opposite on some of them.
        #[arg(long)]
        kernel: String,
        /// Only scenarios whose id contains this text.
        #[arg(long)]
        filter: Option<String>,
        /// Folder of scenarios.
        #[arg(long, default_value = "scenarios")]
        dir: PathBuf,
        /// Print every act's output and every event of a scenario that fails.
        #[arg(long)]
        verbose: bool,
        /// Only the controls, outside any agent and without an engine: for writing scenarios.
        #[arg(long)]
        controls: bool,
        /// How much of what takes long is done: questions, tests of a program's own suite.
        #[arg(long, value_enum, default_value_t)]
        extent: Extent,
        /// Scenarios that are for both users run as this one alone.
        #[arg(long, value_enum)]
        user: Option<User>,
    },
    /// Take out one kernel program after the other: PASS where the scenario named for it notices.
    Mutate {
        /// Kernel series, as in kernels.toml.
        #[arg(long, required_unless_present = "markdown", default_value = "")]
        kernel: String,
        /// Only these programs.
        #[arg(long = "hook", value_name = "NAME")]
        hooks: Vec<String>,
        /// Run every scenario without each program and print what fails: to find what could catch it.
        #[arg(long)]
        all: bool,
        /// Run nothing; print the table of docs/mutations.md.
        #[arg(long)]
        markdown: bool,
        /// What must catch each program.
        #[arg(long, default_value = "mutations.toml")]
        mutations: PathBuf,
        /// Folder of scenarios.
        #[arg(long, default_value = "scenarios")]
        dir: PathBuf,
    },
    /// List the scenarios.
    List {
        /// As the table of docs/attack-table.md.
        #[arg(long)]
        markdown: bool,
        /// Folder of scenarios.
        #[arg(long, default_value = "scenarios")]
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run { kernel, filter, dir, verbose, controls, extent, user } => {
            let ground = Ground { kernel: &kernel, scenarios: &dir, extent };
            run(ground, filter.as_deref(), user, verbose, controls)
        }
        Command::Mutate { kernel, hooks, all, markdown, mutations, dir } => {
            let how = if markdown { Mutate::Markdown } else if all { Mutate::All } else { Mutate::Judge };
            mutate(&kernel, &hooks, how, &mutations, &dir)
        }
        Command::List { markdown, dir } => list(&dir, markdown).map(|()| true),
    }
    .map_or_else(
        |error| {
            report::message(&format!("aegis-vm-tests: {error:#}"));
            ExitCode::from(2)
        },
        |passed| if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE },
    )
}

fn list(dir: &Path, markdown: bool) -> Result<()> {
    let scenarios = scenario::load(dir)?;
    let text = if markdown { report::markdown(&scenarios) } else { report::plain(&scenarios) };
    report::data(&text);
    Ok(())
}

/// What to do about missing programs.
enum Mutate {
    Judge,
    All,
    Markdown,
}

fn mutate(kernel: &str, hooks: &[String], how: Mutate, mutations: &Path, dir: &Path) -> Result<bool> {
    let scenarios = scenario::load(dir)?;
    let mutations = mutation::load(mutations, &scenarios)?;
    if matches!(how, Mutate::Markdown) {
        report::data(&mutation::markdown(&mutations, &scenarios)?);
        return Ok(true);
    }
    require_root()?;
    let mutants = mutate::Mutants { scenarios: &scenarios, ground: Ground { kernel, scenarios: dir, extent: Extent::Sample } };
    match how {
        Mutate::All => mutants.discover(hooks).map(|()| true),
        _ => mutants.run(&mutations, hooks),
    }
}

fn require_root() -> Result<()> {
    if nix::unistd::Uid::effective().is_root() {
        return Ok(());
    }
    bail!("run this as root, in a disposable machine: scenarios mount, kill and write system files")
}

fn run(ground: Ground<'_>, filter: Option<&str>, only: Option<User>, verbose: bool, controls: bool) -> Result<bool> {
    require_root()?;
    let all = scenario::load(ground.scenarios)?;
    let chosen: Vec<_> = all.iter().filter(|s| filter.is_none_or(|f| s.id.contains(f))).collect();
    if chosen.is_empty() {
        bail!("no scenario matches {filter:?}: `aegis-vm-tests list` shows what there is");
    }
    if controls {
        return Ok(run_controls(&chosen, ground));
    }
    let mut daemon = daemon::Daemon::start().context("start aegisd")?;
    report::message(&format!("kernel {} (series {}), aegisd ready after {:.1?}", report::uname(), ground.kernel, daemon.startup));
    // Who names a scenario wants it.
    let runs = |scenario: &&scenario::Scenario| filter.is_some() || scenario.runs_on(ground.kernel, ground.extent);
    let (chosen, left): (Vec<_>, Vec<_>) = chosen.into_iter().partition(runs);
    for scenario in left {
        report::message(&format!("{}: on {} in the full suite only", scenario.id, ground.kernel));
    }
    let mut results = Vec::new();
    for scenario in chosen {
        let users = scenario.users_in(ground.extent);
        for &user in users.iter().filter(|&user| users.len() == 1 || only.is_none_or(|only| only == *user)) {
            let mut case = case::Case::new(scenario, user, ground);
            let result = case.run(&mut daemon, verbose);
            report::data(&result.line());
            results.push(result);
        }
    }
    let stopped = daemon.stop();
    report::data(&report::table(&results));
    if let Err(error) = stopped {
        report::data(&format!("FAIL daemon/stop: {error:#}\n"));
        report::data(&report::totals(&results, 1));
        return Ok(false);
    }
    report::data(&report::totals(&results, 0));
    Ok(results.iter().all(|r| r.failures.is_empty()))
}

fn run_controls(chosen: &[&scenario::Scenario], ground: Ground<'_>) -> bool {
    let mut results = Vec::new();
    for scenario in chosen {
        for &user in scenario.users_in(ground.extent) {
            let result = case::Case::new(scenario, user, ground).run_control();
            report::data(&result.line());
            results.push(result);
        }
    }
    report::data(&report::totals(&results, 0));
    results.iter().all(|r| r.failures.is_empty())
}
