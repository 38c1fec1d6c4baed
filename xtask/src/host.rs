//! The machine the tasks run on: where things lie, which programs there are, how to run them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

/// The repository this xtask was built from.
pub fn repository() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        // Cargo sets the variable for what it runs; the compiled-in path serves a copied binary.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        Path::new(&manifest)
            .parent()
            .map(Path::to_path_buf)
            .unwrap_or_default()
    })
}

/// Cargo's target folder, shared with ordinary builds.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => repository().join(folder),
        None => repository().join("target"),
    }
}

/// The cache that outlives a clone: `$XDG_CACHE_HOME/aegis`, by default `~/.cache/aegis`.
pub fn cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME")
        .filter(|value| Path::new(value).is_absolute())
    {
        Some(folder) => PathBuf::from(folder),
        None => match std::env::var_os("HOME").filter(|value| !value.is_empty()) {
            Some(home) => Path::new(&home).join(".cache"),
            None => bail!(
                "neither XDG_CACHE_HOME nor HOME is set: set one, kernels and images are cached there"
            ),
        },
    };
    let folder = base.join("aegis");
    fs::create_dir_all(&folder)
        .with_context(|| format!("create the cache folder {}", folder.display()))?;
    Ok(folder)
}

/// A new empty folder beside `destination`, to be renamed to it when complete. What an interrupted run left
/// there is removed; the caller holds the setup lock.
pub fn staging(destination: &Path) -> Result<PathBuf> {
    let mut name = destination
        .file_name()
        .context("a destination without a name")?
        .to_owned();
    name.push(".partial");
    let folder = destination.with_file_name(name);
    if folder.exists() {
        remove(&folder)?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder)
}

/// Removes a file or a whole folder, if it is there.
pub fn remove(path: &Path) -> Result<()> {
    let outcome = if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match outcome {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The file of this name in `PATH` or the system's administration folders.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| {
            fs::metadata(file)
                .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
        })
}

/// A command by its name, found in the administration folders too.
pub fn command(name: &str) -> Command {
    Command::new(program(name).unwrap_or_else(|| name.into()))
}

/// Runs the command; an error carries the end of what it printed.
pub fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs the command and returns its standard output; an error carries the end of what it printed.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {name}"))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(30)..].join("\n");
        bail!("{name} failed ({}):\n{tail}", output.status);
    }
    Ok(output.stdout)
}

/// Runs the command with its output going to the operator.
pub fn run_visible(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    // Standard output belongs to the result of the task, so everything goes to standard error.
    let stderr = std::io::stderr();
    let visible = std::os::fd::AsFd::as_fd(&stderr)
        .try_clone_to_owned()
        .context("duplicate standard error")?;
    let status = command
        .stdin(Stdio::null())
        .stdout(visible)
        .status()
        .with_context(|| format!("run {name}"))?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    Ok(())
}

/// The cargo that runs this task, free of what the outer cargo said about xtask's own package.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repository());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST_")
            || text == "CARGO_CRATE_NAME"
        {
            command.env_remove(&name);
        }
    }
    command
}

/// SHA-256 of a file, in hexadecimal.
pub fn hash_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut hasher = Sha256::new();
    std::io::copy(&mut file, &mut hasher).with_context(|| format!("read {}", path.display()))?;
    Ok(hexadecimal(&hasher.finalize()))
}

/// SHA-256 over several inputs, each with its length so that they can't run into each other.
pub fn hash<B: AsRef<[u8]>>(inputs: impl IntoIterator<Item = B>) -> String {
    let mut hasher = Sha256::new();
    for input in inputs {
        let bytes = input.as_ref();
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    hexadecimal(&hasher.finalize())
}

/// The part of a hash that names a cache entry.
pub fn short(hash: &str) -> &str {
    hash.get(..16).unwrap_or(hash)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Copies the file unless the destination has the same bytes already, so that time stamps tell of changes.
pub fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let mut partial = to.as_os_str().to_owned();
    partial.push(OsStr::new(".partial"));
    fs::write(&partial, new).with_context(|| format!("write {}", Path::new(&partial).display()))?;
    fs::rename(&partial, to).with_context(|| format!("put {} in place", to.display()))
}
