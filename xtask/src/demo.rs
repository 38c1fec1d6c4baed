//! `cargo xtask demo`: shows the whole product once, on this host if its kernel can, else in a machine.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::cli::{BuildOptions, DemoOptions};
use crate::vm::{self, Outcome, VmRequest, inherit};
use crate::{build, host, ui};

/// The demo's entry, in the repository and in the machine.
const SOURCE: &str = "demo/run";
const INSTALLED: &str = "/usr/share/aegis/demo/run";
/// The kernel of the machine: what most hosts have.
const SERIES: &str = "6.12";

/// The command.
pub fn run(options: &DemoOptions) -> Result<ExitCode> {
    let source = host::repository().join(SOURCE);
    if !source.exists() {
        bail!("{} is missing", source.display());
    }
    let built = build::build(&BuildOptions::default())?;
    let reason = match &options.kernel {
        Some(_) => Some("a kernel was asked for".to_owned()),
        None => obstacle(&built.programs),
    };
    let Some(reason) = reason else {
        ui::step(
            "demo",
            "on this host: its kernel takes BPF LSM programs and has cgroup v2",
        );
        return here(&source, &built.programs, options);
    };
    let series = options.kernel.as_deref().unwrap_or(SERIES);
    let kernel = vm::kernel(series)?;
    ui::step(
        "demo",
        format_args!(
            "in a virtual machine with Linux {}: {reason}",
            kernel.release
        ),
    );
    let mut command = vec![INSTALLED.into()];
    command.extend(options.arguments.iter().cloned());
    let mut request = VmRequest::new(kernel, &built, command);
    request.limit = Duration::from_secs(900);
    match vm::run_vm(&request, inherit(false), inherit(true))? {
        Outcome::Status(status) => Ok(ExitCode::from(status)),
        Outcome::TimedOut => bail!("the demo did not end within {} s", request.limit.as_secs()),
    }
}

fn here(source: &Path, programs: &Path, options: &DemoOptions) -> Result<ExitCode> {
    let mut path = programs.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let status = host::command(&source.to_string_lossy())
        .args(&options.arguments)
        .env("PATH", path)
        .status();
    let status = status.with_context(|| format!("run {}", source.display()))?;
    Ok(
        match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(code) => ExitCode::from(code),
            None => bail!("the demo was ended by a signal ({status})"),
        },
    )
}

/// Why this host can't run it; nothing when it can.
fn obstacle(programs: &Path) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("only root may load kernel programs on this host".to_owned());
    }
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return Some("this host's cgroup hierarchy is not version 2".to_owned());
    }
    let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    if !modules.trim().split(',').any(|name| name == "bpf") {
        return Some("BPF LSM is off on this host".to_owned());
    }
    // The rest of what enforcement needs; its status is 0 when nothing is missing.
    let doctor = programs.join("aegis");
    match host::run(host::command(&doctor.to_string_lossy()).arg("doctor")) {
        Ok(()) => None,
        Err(_) => Some("`aegis doctor` says that this host can't enforce".to_owned()),
    }
}
