//! `cargo xtask bench --log`: the audit log beside a bare file, in wall-clock time of this machine and its disk.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::cli::BenchOptions;
use crate::{build, host, ui};

const PACKAGE: &str = "aegis-bench-log";

/// Builds it as the package is built, runs it and prints its table.
pub fn run(options: &BenchOptions) -> Result<ExitCode> {
    let mut cargo = host::cargo();
    cargo.args(["build", "--quiet", "--release", "--package", PACKAGE]);
    ui::step("bench", "building as the package does; the first time takes minutes");
    host::run_visible(build::with_objects(&mut cargo)).context("build the bench")?;
    let folder = options.dir.clone().unwrap_or_else(|| host::target().join("bench-log"));
    let mut program = Command::new(host::target().join("release").join(PACKAGE));
    program.args(["--entries", &options.entries.to_string(), "--dir"]).arg(&folder);
    ui::step("bench", format_args!("{} entries in {}", options.entries, folder.display()));
    let table = host::output(&mut program).context("measure the log")?;
    ui::line(String::from_utf8_lossy(&table).trim_end());
    if let Some(path) = &options.output {
        let written = File::create(path).and_then(|mut file| file.write_all(&table));
        written.with_context(|| format!("write {}", path.display()))?;
    }
    // Empty by now, unless somebody gave one with something in it.
    let _ = fs::remove_dir(&folder);
    Ok(ExitCode::SUCCESS)
}
