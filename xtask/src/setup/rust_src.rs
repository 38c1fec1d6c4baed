//! The sources of the standard library, of exactly the toolchain in use: `core` is compiled for BPF.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::{archive, mirror, version};
use crate::{host, ui};

/// What `rustc -vV` and `--print sysroot` say.
pub struct Toolchain {
    /// Where it is installed.
    pub sysroot: PathBuf,
    /// `1.95.0`.
    pub release: String,
    /// The commit it was built from.
    pub commit: String,
    /// Major version of its LLVM.
    pub llvm: String,
}

/// The toolchain that cargo uses in this repository.
pub fn toolchain() -> Result<Toolchain> {
    let rustc = || {
        let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        command.current_dir(host::repository());
        command
    };
    let text =
        String::from_utf8(host::output(rustc().arg("-vV"))?).context("output of rustc -vV")?;
    let sysroot = String::from_utf8(host::output(rustc().args(["--print", "sysroot"]))?)
        .context("sysroot of rustc")?;
    let field = |name: &str| {
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value
            .map(str::to_owned)
            .with_context(|| format!("rustc -vV has no {name}"))
    };
    let llvm = field("LLVM version")?;
    Ok(Toolchain {
        sysroot: PathBuf::from(sysroot.trim()),
        release: field("release")?,
        commit: field("commit-hash")?,
        llvm: llvm.split('.').next().unwrap_or_default().to_owned(),
    })
}

/// Puts the sources into the sysroot if they are not there.
pub fn ensure() -> Result<()> {
    let toolchain = toolchain()?;
    let destination = toolchain.sysroot.join("lib/rustlib/src/rust");
    if is_complete(&destination) {
        return Ok(());
    }
    if by_rustup(&toolchain) && is_complete(&destination) {
        return Ok(());
    }
    by_debian(&toolchain, &destination).with_context(|| {
        format!(
            "rust-src for Rust {} (`rustup component add rust-src` did not work either)",
            toolchain.release
        )
    })
}

fn is_complete(folder: &Path) -> bool {
    folder.join("library/core/src/lib.rs").exists() && folder.join("library/Cargo.lock").exists()
}

fn by_rustup(toolchain: &Toolchain) -> bool {
    let Some(rustup) = host::program("rustup") else {
        return false;
    };
    ui::step(
        "rust-src",
        format_args!("rustup component add rust-src for {}", toolchain.release),
    );
    let status = Command::new("timeout")
        .args(["120"])
        .arg(rustup)
        .args(["component", "add", "rust-src"])
        .current_dir(host::repository())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// The same version as Debian packages it.
fn by_debian(toolchain: &Toolchain, destination: &Path) -> Result<()> {
    ui::step(
        "rust-src",
        "rustup has none for us; looking for the Debian package",
    );
    let suites = ["trixie-backports", "trixie", "bookworm"].map(str::to_owned);
    let prefix = format!("{}+", toolchain.release);
    let package = archive::packages(&suites, |name| name == "rust-src")?
        .into_iter()
        .filter(|package| package.version.starts_with(&prefix))
        .max_by(|a, b| version::compare(&a.version, &b.version))
        .with_context(|| format!("Debian has no rust-src {}", toolchain.release))?;
    let file = super::cache_folder("download")?.join("rust-src.deb");
    mirror::download_verified(&package.url, &package.sha256, &file)?;

    let parent = destination.parent().context("the sysroot has no parent")?;
    let denied = || {
        format!(
            "{} can't be written. Install rust-src {} with the tool that installed Rust, or run this once as the owner of that folder",
            parent.display(),
            toolchain.release
        )
    };
    fs::create_dir_all(parent).with_context(denied)?;
    // A dangling or incomplete tree, as an interrupted rustup leaves it, makes way.
    host::remove(destination)?;
    let partial = host::staging(destination).with_context(denied)?;
    let inside = format!("./usr/src/rustc-{}/library", toolchain.release);
    let mut unpacker = host::command("dpkg-deb");
    let mut reader = unpacker
        .arg("--fsys-tarfile")
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .context("run dpkg-deb")?;
    let stream = reader.stdout.take().context("output of dpkg-deb")?;
    let status = host::command("tar")
        .args([
            "--extract",
            "--file",
            "-",
            "--strip-components=4",
            "--no-same-owner",
            "--directory",
        ])
        .arg(&partial)
        .arg(&inside)
        .stdin(stream)
        .status()
        .context("run tar")?;
    if !reader.wait().context("dpkg-deb")?.success() || !status.success() || !is_complete(&partial)
    {
        bail!(
            "{} could not be unpacked, or has no {inside}",
            file.display()
        );
    }
    fs::rename(&partial, destination)
        .with_context(|| format!("put {} in place", destination.display()))?;
    host::remove(&file)
}
