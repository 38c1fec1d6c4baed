//! `cargo xtask build`: the kernel objects, then the programs that carry them, then what goes into machines.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cli::BuildOptions;
use crate::{host, setup, ui};

/// A crate that compiles for the kernel. An object of its own is for what some kernels can't load.
struct Object {
    /// The package, whose binary has the same name.
    package: &'static str,
    /// Its place in `target/`.
    output: &'static str,
    /// The variable that tells the agent's build where it is.
    variable: &'static str,
}

const OBJECTS: &[Object] = &[Object {
    package: "aegis-ebpf",
    output: "aegis-ebpf.o",
    variable: "AEGIS_EBPF_OBJECT",
}];

/// Packages of user space; the test programs come with them, they run beside them.
const PROGRAMS: &[&str] = &["aegis-agent", "aegis-log", "aegis-vm-tests", "aegis-agreement"];

/// What a build produced.
pub struct Built {
    /// Folder of the programs.
    pub programs: PathBuf,
    /// The program that is PID 1 of test machines.
    pub guest: PathBuf,
}

/// The command.
pub fn run(options: &BuildOptions) -> Result<()> {
    let built = build(options)?;
    ui::step("built", built.programs.display());
    Ok(())
}

/// Builds what changed.
pub fn build(options: &BuildOptions) -> Result<Built> {
    let linker = setup::toolchain()?;
    if !places(options.release).programs.join("aegisd").exists() {
        ui::step("build", "kernel programs, then aegisd and aegis: some minutes the first time");
    }
    for object in OBJECTS {
        kernel_object(object, &linker, options)
            .with_context(|| format!("build {} for the kernel", object.package))?;
    }
    let mut cargo = host::cargo();
    cargo.arg("build");
    if options.tests {
        // In one go: what the tests depend on turns on features of what the programs depend on, and cargo would
        // compile half of that once more. It takes minutes on a fresh clone: let it be seen.
        cargo.arg("--all-targets");
    } else {
        cargo.arg("--quiet");
        for package in PROGRAMS {
            cargo.args(["--package", package]);
        }
    }
    if options.release {
        cargo.arg("--release");
    }
    host::run_visible(with_objects(&mut cargo)).context("build the programs")?;
    guest()?;
    Ok(places(options.release))
}

/// What the last build of this profile made, whether or not the sources have changed since.
pub fn last(release: bool) -> Result<Built> {
    let built = places(release);
    if !built.guest.exists() {
        guest()?;
    }
    Ok(built)
}

fn places(release: bool) -> Built {
    Built {
        programs: host::target().join(if release { "release" } else { "debug" }),
        guest: host::target().join("guest/release/aegis-vm-guest"),
    }
}

/// Tells a cargo where the kernel objects are.
pub fn with_objects(cargo: &mut Command) -> &mut Command {
    for object in OBJECTS {
        cargo.env(object.variable, host::target().join(object.output));
    }
    cargo
}

fn kernel_object(object: &Object, linker: &Path, options: &BuildOptions) -> Result<()> {
    let target = host::target().join("bpf");
    let mut cargo = host::cargo();
    cargo
        .args([
            "build",
            "--quiet",
            "--release",
            "--target",
            "bpfel-unknown-none",
            "-Z",
            "build-std=core",
        ])
        .args(["--package", object.package, "--target-dir"])
        .arg(&target)
        // The pinned stable toolchain may use what is unstable, for this target only.
        .env("RUSTC_BOOTSTRAP", "1")
        // Version 3 of the instruction set has the atomic operations that return the old value.
        .env(
            "RUSTFLAGS",
            "-C debuginfo=2 -C link-arg=--btf -C target-cpu=v3",
        )
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker)
        // The workspace's release profile is for programs: the BTF must survive, and bpf-linker does the
        // optimising across crates itself.
        .env("CARGO_PROFILE_RELEASE_STRIP", "none")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort");
    if !options.features.is_empty() {
        cargo.args(["--features", &options.features.join(",")]);
    }
    host::run_visible(&mut cargo)?;
    let made = target
        .join("bpfel-unknown-none/release")
        .join(object.package);
    host::copy_if_changed(&made, &host::target().join(object.output))
}

/// The program that is PID 1 of the test machines: static, so that it runs before there is a root.
fn guest() -> Result<()> {
    let mut cargo = host::cargo();
    cargo
        .args([
            "build",
            "--quiet",
            "--release",
            "--package",
            "xtask",
            "--bin",
            "aegis-vm-guest",
        ])
        .args(["--no-default-features", "--target-dir"])
        .arg(host::target().join("guest"))
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    host::run_visible(&mut cargo).context("build the program that runs inside the machines")
}
