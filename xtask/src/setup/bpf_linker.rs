//! bpf-linker, built against the toolchain's own LLVM: bitcode is only read reliably by the LLVM that wrote it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::rust_src::{self, Toolchain};
use crate::{host, ui};

const VERSION: &str = "0.13.0";

/// Builds it once per toolchain; the path is `target/tools/bin/bpf-linker`, a link into the cache.
pub fn ensure() -> Result<PathBuf> {
    let toolchain = rust_src::toolchain()?;
    let library = llvm_library(&toolchain)?;
    // The run path of the program points into the sysroot, so that is part of its identity.
    let key = host::hash([
        VERSION,
        &toolchain.commit,
        &toolchain.sysroot.to_string_lossy(),
    ]);
    let folder =
        super::cache_folder("tools")?.join(format!("bpf-linker-{VERSION}-{}", host::short(&key)));
    if !folder.join("bin/bpf-linker").exists() {
        build(&toolchain, &library, &folder)?;
    }
    let link = host::target().join("tools/bin/bpf-linker");
    let program = folder.join("bin/bpf-linker");
    if fs::read_link(&link).ok().as_deref() != Some(&program) {
        fs::create_dir_all(host::target().join("tools/bin")).context("create target/tools/bin")?;
        host::remove(&link)?;
        symlink(&program, &link).with_context(|| format!("link {}", link.display()))?;
    }
    Ok(link)
}

/// The shared LLVM that rustc itself loads.
fn llvm_library(toolchain: &Toolchain) -> Result<PathBuf> {
    let folder = toolchain.sysroot.join("lib");
    let prefix = format!("libLLVM.so.{}.", toolchain.llvm);
    let entries = fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    let found = entries.flatten().map(|entry| entry.path()).find(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
    });
    found.with_context(|| {
        format!(
            "{} has no {prefix}*: bpf-linker needs the LLVM of a toolchain from rustup (a distribution's rustc links its own)",
            folder.display()
        )
    })
}

fn build(toolchain: &Toolchain, library: &Path, folder: &Path) -> Result<()> {
    ui::step(
        "bpf-linker",
        format_args!(
            "building {VERSION} against LLVM {} of Rust {}",
            toolchain.llvm, toolchain.release
        ),
    );
    let partial = host::staging(folder)?;
    let prefix = partial.join("llvm");
    fs::create_dir_all(prefix.join("lib")).context("folder for LLVM")?;
    for name in [
        format!("libLLVM-{}.so", toolchain.llvm),
        "libLLVM.so".to_owned(),
    ] {
        symlink(library, prefix.join("lib").join(name)).context("link LLVM")?;
    }
    let run_path = format!(
        "-C link-arg=-Wl,-rpath,{}",
        toolchain.sysroot.join("lib").display()
    );
    let mut cargo = host::cargo();
    cargo
        .args([
            "install",
            "bpf-linker",
            "--version",
            VERSION,
            "--locked",
            "--no-default-features",
        ])
        .args(["--features", &format!("llvm-{}", toolchain.llvm), "--root"])
        .arg(&partial)
        .env("LLVM_PREFIX", &prefix)
        .env("RUSTFLAGS", run_path)
        .env("CARGO_TARGET_DIR", partial.join("build"))
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    host::run_visible(&mut cargo).context("build bpf-linker")?;
    let program = partial.join("bin/bpf-linker");
    if host::run(host::command(&program.to_string_lossy()).arg("--version")).is_err() {
        bail!("the new {} does not start", program.display());
    }
    host::remove(&partial.join("build"))?;
    host::remove(&prefix)?;
    fs::rename(&partial, folder).with_context(|| format!("put {} in place", folder.display()))
}
