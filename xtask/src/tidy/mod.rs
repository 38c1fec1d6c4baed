//! `cargo xtask tidy`.
use std::process::ExitCode;
use anyhow::{Result, bail};
/// The command.
pub fn run() -> Result<ExitCode> { bail!("not yet") }
