//! `aegis-bench`: what governing costs, in a test machine whose time is counted in instructions.
//!
//! Runs as root in a disposable machine only: it makes files and cgroups, loads AppArmor profiles, and
//! attaches the kernel programs. `cargo xtask bench` boots that machine.

mod apparmor;
mod case;
mod check;
mod client;
mod governor;
mod landlock;
mod operation;
mod rules;
mod stage;
mod table;
mod worker;

use std::io::{Write as _, stdout};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

use case::{Bench, By, Case};
use governor::Governor;
use operation::Operation;
use rules::Manifest;
use stage::Stage;
use table::Table;

/// Folders made for rules that are there only to be many, as many as any peer's case has.
const FILLERS: usize = 1_000;

#[derive(Parser)]
#[command(version, about = "Counts what governing costs, in guest instructions")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Every case beside every other, as a table
    Run {
        /// Batches of which the best counts
        #[arg(long, default_value_t = 9)]
        batches: usize,
        /// Only cases whose name contains this, beside the plain one
        #[arg(long, default_value = "")]
        case: String,
        /// Only this operation, by the head of its column; repeatable
        #[arg(long = "operation", value_parser = named)]
        operations: Vec<Operation>,
    },
    /// What each program adds to each operation of a governed process, found by taking it out of force
    Hooks {
        /// Batches of which the best counts
        #[arg(long, default_value_t = 5)]
        batches: usize,
        /// Measure a process that is not governed instead
        #[arg(long)]
        ungoverned: bool,
    },
    /// Names of every length and paths of every depth, against rules that name them
    Check,
    /// The process that is measured
    #[command(hide = true)]
    Worker {
        /// Port of the TCP listener
        tcp: u16,
        /// Port of the UDP listener
        udp: u16,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Run { batches, case, operations } => run(batches, &case, &operations),
        Command::Hooks { batches, ungoverned } => hooks(batches, ungoverned),
        Command::Check => {
            let count = check::run()?;
            writeln!(stdout().lock(), "{count} opens and renames came out as expected, with their records")?;
            Ok(())
        }
        Command::Worker { tcp, udp } => worker::serve(tcp, udp),
    }
}

fn named(name: &str) -> Result<Operation, String> {
    Operation::parse(name).ok_or_else(|| format!("one of {}", Operation::ALL.map(Operation::name).join(", ")))
}

const fn aegis(name: &'static str, rules: usize, recorded: bool, baseline: bool) -> Case {
    Case { name, by: By::Aegis(Manifest { rules, recorded, baseline, audit: false }) }
}

const fn other(name: &'static str, by: By) -> Case {
    Case { name, by }
}

/// What is measured before Aegis is attached, after the plain case.
const PEERS: [Case; 4] = [
    other("Landlock, 10 rules", By::Landlock(10)),
    other("Landlock, 1,000 rules", By::Landlock(1_000)),
    other("AppArmor, 10 rules", By::AppArmor(10)),
    other("AppArmor, 1,000 rules", By::AppArmor(1_000)),
];

/// What is measured while it is attached.
const OURS: [Case; 9] = [
    other("Aegis, not governed", By::Nobody),
    aegis("Aegis, 10 rules", 10, false, false),
    aegis("Aegis, 1,000 rules", 1_000, false, false),
    aegis("Aegis, 50,000 rules", 50_000, false, false),
    aegis("Aegis, 10 rules and the baseline", 10, false, true),
    aegis("Aegis, 10 rules, recorded", 10, true, false),
    aegis("Aegis, 1,000 rules, recorded", 1_000, true, false),
    aegis("Aegis, 50,000 rules, recorded", 50_000, true, false),
    other(
        "Aegis, 10 rules, audit mode",
        By::Aegis(Manifest { rules: 10, recorded: false, baseline: false, audit: true }),
    ),
];

/// Rules from which on only opens of the same file are measured: nothing else looks at more of them, and putting
/// them in force anew for each batch would take long. In audit mode too: what goes on there leaves records of its own.
const MANY: usize = 50_000;

fn run(batches: usize, filter: &str, operations: &[Operation]) -> Result<()> {
    let stage = Stage::set(FILLERS)?;
    let mut bench = Bench { stage: &stage, batches, governor: None, checked: true };
    let mut table = Table::default();
    let mut measure = |bench: &mut Bench<'_>, case: &Case| -> Result<()> {
        let again_only = matches!(case.by, By::Aegis(manifest) if manifest.rules >= MANY || manifest.audit);
        let wanted = |operation: &Operation| {
            (operations.is_empty() || operations.contains(operation)) && (!again_only || (operation.opens() && !operation.opens_many()))
        };
        let chosen: Vec<_> = Operation::ALL.into_iter().filter(wanted).collect();
        table.add(case.name, bench.measure(case, &chosen)?);
        Ok(())
    };
    measure(&mut bench, &other("plain", By::Nobody))?;
    for case in PEERS.iter().filter(|case| case.name.contains(filter)) {
        measure(&mut bench, case)?;
    }
    bench.governor = Some(Governor::start()?);
    for case in OURS.iter().filter(|case| case.name.contains(filter)) {
        measure(&mut bench, case)?;
    }
    if let Some(governor) = bench.governor.take() {
        governor.end()?;
    }
    // Nothing that ran between has changed what the first row is.
    measure(&mut bench, &other("plain again", By::Nobody))?;
    let name = nix::sys::utsname::uname().context("ask for the kernel's release")?;
    let mut out = stdout().lock();
    writeln!(out, "Linux {}\n\n{}\n{}", name.release().display(), table.markdown(), table.spread())?;
    Ok(())
}

fn hooks(batches: usize, ungoverned: bool) -> Result<()> {
    let stage = Stage::set(0)?;
    let mut bench = Bench { stage: &stage, batches, governor: Some(Governor::start()?), checked: false };
    let case = if ungoverned { other("hooks", By::Nobody) } else { aegis("hooks", 10, false, false) };
    let programs = bench.governor.as_ref().map(Governor::programs).unwrap_or_default();
    let mut out = stdout().lock();
    write!(out, "{:<28}", "instructions each adds")?;
    for operation in Operation::ALL {
        write!(out, "{:>9}", operation.name())?;
    }
    writeln!(out)?;
    let mut all = best(bench.measure(&case, &Operation::ALL)?);
    for program in programs {
        if let Some(governor) = &bench.governor {
            governor.detach(program)?;
        }
        let rest = best(bench.measure(&case, &Operation::ALL)?);
        write!(out, "{program:<28}")?;
        for (with, without) in all.iter().zip(&rest) {
            write!(out, "{:>9.0}", with - without)?;
        }
        writeln!(out)?;
        all = rest;
    }
    write!(out, "{:<28}", "without any")?;
    for rest in all {
        write!(out, "{rest:>9.0}")?;
    }
    writeln!(out)?;
    Ok(())
}

/// The best batch of each operation.
fn best(row: case::Row) -> Vec<f64> {
    row.into_iter().filter_map(|(_, cost)| Some(cost?.best)).collect()
}
