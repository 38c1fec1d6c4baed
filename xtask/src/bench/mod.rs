//! `cargo xtask bench`: what governing costs, in guest instructions.
//!
//! One machine whose time is counted in instructions, with the security modules of the peers that Aegis is
//! compared with; the program in it measures, checks and prints. The log alone is measured on this machine.

mod log;
mod network;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cli::{BenchOptions, BuildOptions};
use crate::vm::{self, Copy, Outcome, Sink, VmRequest};
use crate::build::Built;
use crate::{build, host, ui};

const PACKAGE: &str = "aegis-bench";
/// Its place in the machine.
const PROGRAM: &str = "/usr/lib/aegis-tests/aegis-bench";
/// The order that Debian and Ubuntu have, with `bpf` last.
const MODULES: &str = "lockdown,capability,landlock,yama,apparmor,bpf";
/// An emulated machine executes some hundred million instructions a second, and one a nanosecond is counted.
const LIMIT: Duration = Duration::from_secs(45 * 60);

/// The command.
pub fn run(options: &BenchOptions) -> Result<ExitCode> {
    if options.log {
        return log::run(options);
    }
    let built = build::build(&BuildOptions::default())?;
    let (command, copies) = if options.network {
        network::job()?
    } else {
        counts(options, &built)?
    };
    let mut request = VmRequest::new(vm::kernel(&options.kernel)?, &built, command);
    request.copies = copies;
    request.counted = true;
    MODULES.clone_into(&mut request.lsm);
    request.limit = LIMIT;
    ui::step("bench", "counting instructions; this takes some minutes");
    let report = Report::default();
    let outcome = vm::run_vm(&request, Box::new(report.clone()), vm::inherit(true))?;
    if let Some(path) = &options.output {
        fs::write(path, report.bytes()).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(match outcome {
        Outcome::Status(status) => ExitCode::from(status),
        Outcome::TimedOut => {
            ui::warn(format_args!(
                "stopped at the time limit of {} s",
                LIMIT.as_secs()
            ));
            ExitCode::from(124)
        }
    })
}

/// The program that measures single operations, and what it is to do.
fn counts(options: &BenchOptions, built: &Built) -> Result<(Vec<OsString>, Vec<Copy>)> {
    let mut cargo = host::cargo();
    cargo.args(["build", "--quiet", "--package", PACKAGE]);
    host::run_visible(build::with_objects(&mut cargo)).context("build the bench")?;
    let mut command = vec![
        PROGRAM.into(),
        if options.hooks { "hooks" } else { "run" }.into(),
    ];
    for operation in &options.operations {
        command.extend(["--operation".into(), operation.into()]);
    }
    if options.hooks && options.ungoverned {
        command.push("--ungoverned".into());
    }
    let program = Copy {
        from: slim(&built.programs.join(PACKAGE))?,
        to: PROGRAM.into(),
        mode: Some(0o755),
    };
    Ok((command, vec![program]))
}

/// The program without its debugging sections, which would only slow the boot.
fn slim(program: &Path) -> Result<PathBuf> {
    let Some(strip) = host::program("strip") else {
        return Ok(program.to_path_buf());
    };
    let slim = host::target().join("vm/programs").join(PACKAGE);
    fs::create_dir_all(slim.parent().unwrap_or(&slim))
        .context("make the folder of stripped programs")?;
    host::run(
        Command::new(strip)
            .arg("--strip-debug")
            .arg("-o")
            .arg(&slim)
            .arg(program),
    )?;
    Ok(slim)
}

/// Shows what the program prints, and keeps it.
#[derive(Clone, Default)]
struct Report(Arc<Mutex<Vec<u8>>>);

impl Report {
    fn bytes(&self) -> Vec<u8> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Write for Report {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        let mut shown: Sink = vm::inherit(false);
        shown.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
