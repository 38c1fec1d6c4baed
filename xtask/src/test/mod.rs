//! `cargo xtask test`: every test there is, and one honest count at the end.
//!
//! The count is of the tests of the crates, the rules of tidy, the scenarios on each kernel and, with the long suites, the
//! kernel programs whose absence a scenario notices. What did not run
//! counts as failed: a kernel that can't be had, a build that breaks, a machine that dies half way.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::cli::{BuildOptions, TestOptions};
use crate::{build, tidy, ui};

mod crates;
pub mod mutations;
mod scenarios;
mod tally;

use tally::{Row, Tally};

/// The command.
pub fn run(options: &TestOptions) -> Result<ExitCode> {
    let start = Instant::now();
    let mut tally = Tally::default();
    let built = build::build(&BuildOptions {
        release: options.release,
        tests: !options.scenarios_only && !options.release,
        ..BuildOptions::default()
    })?;
    if !options.scenarios_only {
        timed(&mut tally, "walls between parts", tidy_row);
        timed(&mut tally, "crates", || crates::run(options.full));
    }
    for row in scenarios::run(options, &built)? {
        tally.add(row);
    }
    if options.full && options.filter.is_none() {
        timed(&mut tally, "missing programs", || mutations::row(crate::cli::REFERENCE, &[], &built));
    }
    for line in tally.table() {
        ui::line(line);
    }
    ui::line(format_args!("in {:.0} s", start.elapsed().as_secs_f64()));
    let (passed, failed) = tally.count();
    ui::line(format_args!("{passed} passed, {failed} failed"));
    Ok(if failed == 0 && passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn timed(tally: &mut Tally, name: &str, part: impl FnOnce() -> Result<Row>) {
    ui::step("test", name);
    let start = Instant::now();
    let mut row = part().unwrap_or_else(|error| Row::broken(format!("{error:#}")));
    name.clone_into(&mut row.name);
    row.seconds = start.elapsed().as_secs();
    tally.add(row);
}

fn tidy_row() -> Result<Row> {
    let mut row = Row::default();
    for (rule, complaints) in tidy::check()? {
        if complaints.is_empty() {
            row.passed += 1;
        }
        row.failures.extend(
            complaints
                .into_iter()
                .map(|complaint| format!("tidy {rule}: {complaint}")),
        );
    }
    Ok(row)
}
