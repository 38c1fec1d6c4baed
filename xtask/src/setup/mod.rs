//! `cargo xtask setup`: gets what is missing, in the order of need, and nothing twice.
//!
//! Every step looks before it works, writes to a partial name and renames: an interrupted run is simply run
//! again. One setup at a time holds the lock; the others wait.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cli::SetupOptions;
use crate::{host, ui};

mod archive;
mod bpf_linker;
mod image;
mod kernels;
mod matrix;
mod mirror;
mod packages;
mod rust_src;
mod version;

pub use kernels::Kernel;
pub use matrix::load as matrix;

/// The whole setup.
pub fn run(options: &SetupOptions) -> Result<()> {
    let wanted = if options.kernels.is_empty() {
        matrix()?.series()
    } else {
        options.kernels.clone()
    };
    toolchain()?;
    for (series, outcome) in kernels(&wanted, options.refresh)? {
        let kernel = outcome.with_context(|| format!("kernel {series}"))?;
        ui::step("kernel", kernel.describe());
    }
    ui::step("image", root_image()?.display());
    ui::step("ready", "cargo xtask vm --kernel 6.12 -- uname -a");
    Ok(())
}

/// What `cargo xtask build` needs; returns the path of bpf-linker.
pub fn toolchain() -> Result<PathBuf> {
    let _lock = lock()?;
    packages::ensure(packages::BUILD)?;
    rust_src::ensure()?;
    bpf_linker::ensure()
}

/// The kernels of these series, each got if it is not in the cache. One that can't be had does not stop the
/// others: the caller decides, and must not count it as a pass.
pub fn kernels(series: &[String], refresh: bool) -> Result<Vec<(String, Result<Kernel>)>> {
    let _lock = lock()?;
    packages::ensure(packages::MACHINE)?;
    kernels::ensure(series, refresh)
}

/// The root file system of the test machines.
pub fn root_image() -> Result<PathBuf> {
    let _lock = lock()?;
    packages::ensure(packages::MACHINE)?;
    image::ensure()
}

/// Waits for a setup that is under way elsewhere. The lock goes with the file.
fn lock() -> Result<File> {
    let path = host::cache()?.join("setup.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    // A setup that finds everything in place is over at once, and not worth a word.
    for _ in 0..20 {
        if file.try_lock().is_ok() {
            return Ok(file);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    ui::step("waiting", "another cargo xtask is setting up");
    file.lock()
        .with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

/// A folder of the cache, made if need be.
fn cache_folder(name: &str) -> Result<PathBuf> {
    let folder = host::cache()?.join(name);
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder)
}
