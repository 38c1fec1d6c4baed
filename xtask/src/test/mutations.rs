//! `cargo xtask mutate`: each kernel program is missing once, and a scenario must notice. One machine for all of them.
//!
//! The runner in the machine does it; which scenario must notice is in `tests/vm/mutations.toml`.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::scenarios::{self, RUNNER, SCENARIOS};
use super::tally::Row;
use crate::build::{self, Built};
use crate::cli::{BuildOptions, MutateOptions};
use crate::setup;
use crate::vm::{self, Copy, VmRequest};
use crate::{host, ui};

const DATA: &str = "tests/vm/mutations.toml";
const DATA_THERE: &str = "/usr/lib/aegis-tests/mutations.toml";
/// Starting the daemon and two runs of a scenario for each program, on an emulated machine that shares the host.
const LIMIT: Duration = Duration::from_secs(2 * 60 * 60);
/// The same for every scenario.
const ALL_LIMIT: Duration = Duration::from_secs(48 * 60 * 60);

/// The command.
pub fn command(options: &MutateOptions) -> Result<ExitCode> {
    if options.markdown {
        let mut cargo = host::cargo();
        cargo.args(["run", "--quiet", "--package", "aegis-vm-tests", "--", "mutate", "--markdown"]);
        cargo.args(["--kernel", &options.kernel, "--mutations", DATA, "--dir", "tests/vm/scenarios"]);
        let table = host::output(cargo.current_dir(host::repository()))?;
        ui::line(String::from_utf8_lossy(&table).trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    let start = Instant::now();
    let built = if options.no_build { build::last(false)? } else { build::build(&BuildOptions::default())? };
    if options.all {
        let mut request = request(&options.kernel, &options.hooks, &built)?;
        request.command.push("--all".into());
        request.limit = ALL_LIMIT;
        return Ok(match vm::run_vm(&request, vm::inherit(false), vm::inherit(true))? {
            vm::Outcome::Status(0) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        });
    }
    let row = row(&options.kernel, &options.hooks, &built)?;
    for failure in &row.failures {
        ui::line(format_args!("not caught: {failure}"));
    }
    ui::line(format_args!("in {:.0} s", start.elapsed().as_secs_f64()));
    ui::line(format_args!("{} caught, {} not", row.passed, row.failures.len()));
    Ok(if row.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The programs that were caught, and a failure for each that was not.
pub fn row(series: &str, hooks: &[String], built: &Built) -> Result<Row> {
    let request = request(series, hooks, built)?;
    ui::step("mutate", request.kernel.describe());
    scenarios::judged_run(&request, &format!("mutate-{series}.log"))
}

fn request(series: &str, hooks: &[String], built: &Built) -> Result<VmRequest> {
    let kernel = setup::kernels(&[series.to_owned()], false)?
        .into_iter()
        .next()
        .context("no such kernel")?
        .1?;
    setup::root_image()?;
    let mut command: Vec<OsString> = [RUNNER, "mutate", "--mutations", DATA_THERE, "--dir", SCENARIOS, "--kernel"]
        .map(OsString::from)
        .into();
    command.push(kernel.ran_as.clone().into());
    for hook in hooks {
        command.extend(["--hook".into(), hook.into()]);
    }
    let mut request = VmRequest::new(kernel, built, command);
    request.copies.push(Copy { from: host::repository().join(DATA), to: DATA_THERE.into(), mode: None });
    request.limit = LIMIT;
    Ok(request)
}
