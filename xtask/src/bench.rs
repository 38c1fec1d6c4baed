//! `cargo xtask bench`: what governing costs, in guest instructions.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::cli::BenchOptions;

/// The command.
pub fn run(_options: &BenchOptions) -> Result<ExitCode> {
    bail!("the bench is not wired up yet")
}
