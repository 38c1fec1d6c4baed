//! `cargo xtask demo`.
use std::process::ExitCode;
use anyhow::{Result, bail};
use crate::cli::DemoOptions;
/// The command.
pub fn run(_options: &DemoOptions) -> Result<ExitCode> { bail!("not yet") }
