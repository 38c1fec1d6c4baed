//! `cargo xtask test`.
use std::process::ExitCode;
use anyhow::{Result, bail};
use crate::cli::TestOptions;
/// The command.
pub fn run(_options: &TestOptions) -> Result<ExitCode> { bail!("not yet") }
