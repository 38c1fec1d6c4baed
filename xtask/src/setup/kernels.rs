//! The kernels of the matrix in the cache: resolved from the archive, unpacked, ready to boot.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::archive::{self, Package};
use super::{matrix, mirror};
use crate::vm::Cpio;
use crate::{host, ui};

/// Changes when the layout of a cached kernel does.
const RECIPE: &str = "3";
/// Changes when the choice among the kernels of the archive does.
const CHOICE: &str = "2";
/// How long an answer of the package index is good for: patches come about weekly.
const FRESH: Duration = Duration::from_secs(7 * 24 * 3600);
/// Drivers the machine needs before it has a root file system; most are built in on newer kernels.
const BOOT_MODULES: &[&str] = &["virtio_pci", "virtio_blk", "virtio_console"];

/// A kernel that can be booted.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The series that was asked for.
    pub series: String,
    /// The series it is of: another one when the archive no longer has the wanted one.
    pub ran_as: String,
    /// `uname -r`.
    pub release: String,
    /// Debian's version.
    pub version: String,
    folder: PathBuf,
}

impl Kernel {
    /// The image.
    pub fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// The file system with the modules.
    pub fn modules(&self) -> PathBuf {
        self.folder.join("modules.img")
    }

    /// The part of the initramfs that holds early drivers.
    pub fn boot_archive(&self) -> PathBuf {
        self.folder.join("boot.cpio")
    }

    /// Whether another series stands in for the wanted one.
    pub fn is_substitute(&self) -> bool {
        self.series != self.ran_as
    }

    /// One line for tables.
    pub fn describe(&self) -> String {
        let note = if self.is_substitute() {
            format!(
                "  ran as {}: the archive no longer has {}",
                self.ran_as, self.series
            )
        } else {
            String::new()
        };
        format!(
            "{:<6} {} (Debian {}){note}",
            self.series, self.release, self.version
        )
    }
}

/// What the archive had at some moment.
#[derive(Serialize, Deserialize, Default)]
struct Resolution {
    at: u64,
    #[serde(default)]
    kernel: Vec<Resolved>,
}

#[derive(Serialize, Deserialize, Clone)]
struct Resolved {
    series: String,
    ran_as: String,
    version: String,
    packages: Vec<File>,
}

#[derive(Serialize, Deserialize, Clone)]
struct File {
    url: String,
    sha256: String,
}

/// The kernels of these series, got if they are not in the cache.
pub fn ensure(series: &[String], refresh: bool) -> Result<Vec<(String, Result<Kernel>)>> {
    let resolution = resolution(refresh)?;
    let outcomes = series.iter().map(|wanted| {
        let found = resolution
            .kernel
            .iter()
            .find(|kernel| kernel.series == *wanted);
        let outcome = match found {
            Some(resolved) => prepare(resolved),
            None => Err(anyhow::anyhow!(
                "not in the matrix; `cargo xtask vm --kernel list` prints it"
            )),
        };
        (wanted.clone(), outcome)
    });
    Ok(outcomes.collect())
}

/// The answer of the package index, from the cache while it is fresh. Without a network an old one still serves.
fn resolution(refresh: bool) -> Result<Resolution> {
    let text = fs::read(host::repository().join("tests/vm/kernels.toml"))
        .context("read tests/vm/kernels.toml")?;
    let key = host::hash([CHOICE.as_bytes(), &text]);
    let path = super::cache_folder("kernels")?.join(format!("matrix-{}.toml", host::short(&key)));
    let known: Option<Resolution> = fs::read_to_string(&path)
        .ok()
        .and_then(|text| toml::from_str(&text).ok());
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    if let Some(known) = &known
        && !refresh
        && now.saturating_sub(Duration::from_secs(known.at)) < FRESH
    {
        return Ok(Resolution {
            at: known.at,
            kernel: known.kernel.clone(),
        });
    }
    match (resolve(now.as_secs()), known) {
        (Ok(resolution), _) => {
            let text = toml::to_string(&resolution).context("write the resolution")?;
            let partial = path.with_extension("partial");
            fs::write(&partial, text).with_context(|| format!("write {}", partial.display()))?;
            fs::rename(&partial, &path)
                .with_context(|| format!("put {} in place", path.display()))?;
            Ok(resolution)
        }
        (Err(error), Some(known)) => {
            ui::warn(format_args!(
                "the package index can't be had, using the kernels known from before: {error:#}"
            ));
            Ok(known)
        }
        (Err(error), None) => {
            Err(error.context("find the kernels of the matrix in the package index"))
        }
    }
}

fn resolve(at: u64) -> Result<Resolution> {
    let matrix = matrix::load()?;
    let index = archive::packages(&matrix.suites, |name| {
        name.starts_with("linux-") && name.ends_with(&matrix.flavour)
    })?;
    let candidates = matrix::candidates(&index, &matrix.flavour);
    let mut kernel = Vec::new();
    for entry in &matrix.kernels {
        let wanted =
            matrix::series_of(&entry.series).with_context(|| format!("series {}", entry.series))?;
        let chosen =
            matrix::choose(wanted, &candidates).context("the archive has no kernel at all")?;
        let file = |package: &Package| File {
            url: package.url.clone(),
            sha256: package.sha256.clone(),
        };
        kernel.push(Resolved {
            series: entry.series.clone(),
            ran_as: format!("{}.{}", chosen.series.0, chosen.series.1),
            version: chosen.version.clone(),
            packages: chosen.packages.iter().map(file).collect(),
        });
    }
    Ok(Resolution { at, kernel })
}

/// Downloads and unpacks, unless the same packages have been unpacked before.
fn prepare(resolved: &Resolved) -> Result<Kernel> {
    let hashes = resolved.packages.iter().map(|file| file.sha256.as_str());
    let key = host::hash(std::iter::once(RECIPE).chain(hashes));
    let folder =
        super::cache_folder("kernels")?.join(format!("{}-{}", resolved.ran_as, host::short(&key)));
    if !folder.join("release").exists() {
        let partial = host::staging(&folder)?;
        unpack(resolved, &partial)
            .with_context(|| format!("prepare Linux {}", resolved.version))?;
        fs::rename(&partial, &folder)
            .with_context(|| format!("put {} in place", folder.display()))?;
    }
    let release =
        fs::read_to_string(folder.join("release")).context("read the kernel's release")?;
    Ok(Kernel {
        series: resolved.series.clone(),
        ran_as: resolved.ran_as.clone(),
        release,
        version: resolved.version.clone(),
        folder,
    })
}

fn unpack(resolved: &Resolved, folder: &Path) -> Result<()> {
    let tree = folder.join("tree");
    let deb = folder.join("package.deb");
    for package in &resolved.packages {
        mirror::download_verified(&package.url, &package.sha256, &deb)?;
        host::run(
            host::command("dpkg-deb")
                .arg("--extract")
                .arg(&deb)
                .arg(&tree),
        )?;
        host::remove(&deb)?;
    }
    ui::step("unpack", format_args!("Linux {}", resolved.version));
    // One place for everything, wherever this version's packaging puts it.
    let lib = tree.join("lib/modules");
    if lib.exists() {
        fs::create_dir_all(tree.join("usr/lib")).context("usr/lib")?;
        fs::rename(&lib, tree.join("usr/lib/modules")).context("move the modules")?;
    }
    let modules = tree.join("usr/lib/modules");
    let release = only_entry(&modules)?;
    let own = modules.join(&release);
    let boot = tree.join("boot");
    for (name, new) in [
        ("vmlinuz", folder.join("vmlinuz")),
        ("config", own.join("config")),
        ("System.map", own.join("System.map")),
    ] {
        let (old, split) = (boot.join(format!("{name}-{release}")), own.join(name));
        let from = if old.exists() { old } else { split };
        if from != new {
            fs::rename(&from, &new).with_context(|| format!("{} of {release}", from.display()))?;
        }
    }
    host::remove(&own.join("System.map"))?;
    // depmod looks in /lib/modules or /usr/lib/modules, depending on its age.
    host::remove(&tree.join("lib"))?;
    symlink("usr/lib", tree.join("lib")).context("link lib to usr/lib")?;
    host::run(
        host::command("depmod")
            .arg("--basedir")
            .arg(&tree)
            .arg(&release),
    )?;
    fs::write(folder.join("boot.cpio"), boot_archive(&own)?).context("write boot.cpio")?;
    modules_image(&modules, &folder.join("modules.img"))?;
    host::remove(&tree)?;
    fs::write(folder.join("release"), &release).context("write the release")
}

fn only_entry(folder: &Path) -> Result<String> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    match names.as_slice() {
        [name] => Ok(name.to_string_lossy().into_owned()),
        _ => bail!(
            "{} should hold the modules of one kernel, and holds {names:?}",
            folder.display()
        ),
    }
}

/// The early drivers with their dependencies, numbered in the order in which they load.
fn boot_archive(modules: &Path) -> Result<Vec<u8>> {
    let dependencies =
        fs::read_to_string(modules.join("modules.dep")).context("read modules.dep")?;
    let mut files: Vec<&str> = Vec::new();
    for name in BOOT_MODULES {
        let line = dependencies.lines().find(|line| {
            let file = line
                .split(':')
                .next()
                .unwrap_or_default()
                .rsplit('/')
                .next()
                .unwrap_or_default();
            file.split(".ko")
                .next()
                .unwrap_or_default()
                .replace('-', "_")
                == *name
        });
        // No line: built into the kernel.
        let Some((file, needs)) = line.and_then(|line| line.split_once(':')) else {
            continue;
        };
        // depmod lists what is needed last first.
        for file in needs.split_whitespace().rev().chain([file]) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    let mut archive = Cpio::default();
    archive.folder("modules");
    for (number, file) in files.iter().enumerate() {
        let path = modules.join(file);
        let data = if path
            .extension()
            .is_some_and(|extension| extension.as_bytes() == b"xz")
        {
            host::output(
                host::command("xz")
                    .args(["--decompress", "--stdout"])
                    .arg(&path),
            )?
        } else {
            fs::read(&path).with_context(|| format!("read {}", path.display()))?
        };
        let stem = Path::new(file)
            .file_name()
            .map(|name| name.to_string_lossy().replace(".xz", ""))
            .unwrap_or_default();
        archive.file(&format!("modules/{number:02}-{stem}"), 0o644, &data)?;
    }
    // No trailer: another archive follows it.
    Ok(archive.without_end())
}

fn modules_image(modules: &Path, image: &Path) -> Result<()> {
    let size = String::from_utf8(host::output(
        host::command("du")
            .args(["--summarize", "--block-size=1M"])
            .arg(modules),
    )?)?;
    let used: u64 = size
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .context("size of the modules")?;
    host::run(
        host::command("mke2fs")
            .args([
                "-q",
                "-F",
                "-t",
                "ext4",
                "-O",
                "^has_journal",
                "-m",
                "0",
                "-E",
                "root_owner=0:0",
                "-d",
            ])
            .arg(modules)
            .arg(image)
            .arg(format!("{}M", used + used / 10 + 16)),
    )
}
