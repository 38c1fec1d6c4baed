//! What the operator configures: files below [`crate::paths::CONFIG_DIR`].
//!
//! Reads them and says whose they must be. What stands in them is others' business.

mod settings;
pub(crate) mod yaml;

use std::{
    collections::BTreeSet,
    fs::{self, File, Metadata},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use aegis_policy::Diagnostic;

pub use self::settings::Settings;
use crate::{
    redact::{
        RedactError, Redactor,
        own::{self, Rule},
    },
};

/// Largest file of rules, in bytes.
const LARGEST: u64 = 256 * 1024;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or folder cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else could have written it.
    #[error("{path} {what}: an owner of root, no links, and no write permission for others (`chown root {path}; chmod go-w {path}`)")]
    Owner {
        /// Which.
        path: PathBuf,
        /// What is wrong about it.
        what: String,
    },
    /// It is not what it should be.
    #[error("{path}: {what}")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong and what to do.
        what: String,
    },
    /// What stands in it is wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Rules(Vec<Diagnostic>),
    /// The rules cannot be used together.
    #[error(transparent)]
    Redact(#[from] RedactError),
}

/// What `aegis.yaml` says; the defaults where there is none.
///
/// # Errors
/// A file that cannot be read, that others could have written, or that holds something wrong.
pub fn settings(path: &Path) -> Result<Settings, ConfigError> {
    let mistyped = path.with_extension("yml");
    if mistyped.symlink_metadata().is_ok() {
        // It is meant to be this one, and nobody would notice that it is passed over.
        return Err(ConfigError::File { path: mistyped, what: format!("rename it to {}; it is not read", path.display()) });
    }
    match open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Settings::default()),
        _ => settings::read(&contents(path)?, &path.display().to_string()).map_err(ConfigError::Rules),
    }
}

/// The redactor with the rules of a folder; with the built-in ones alone where there is no such folder.
/// Answers how many rules of the operator's it has, too.
///
/// # Errors
/// A file that cannot be read, that others could have written, or that holds something wrong.
pub fn redactor(folder: &Path) -> Result<(Redactor, usize), ConfigError> {
    let rules = rules(folder)?;
    let count = rules.len();
    Ok((Redactor::new(rules)?, count))
}

/// The rules of all files `*.yaml` of a folder, in the order of their names.
fn rules(folder: &Path) -> Result<Vec<Rule>, ConfigError> {
    let wrong = |path: &Path| {
        let path = path.to_path_buf();
        move |source| ConfigError::Io { path, source }
    };
    let opened = match open(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(wrong(folder))?,
    };
    check_owner(folder, &opened.metadata().map_err(wrong(folder))?)?;
    let entries = fs::read_dir(folder).map_err(wrong(folder))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(wrong(folder))?;
    paths.sort();
    let (mut rules, mut names, mut errors) = (Vec::new(), BTreeSet::new(), Vec::new());
    for path in paths {
        match path.extension().and_then(|e| e.to_str()) {
            Some("yaml") => {}
            // It is meant to be one, and nobody would notice that it is passed over.
            Some("yml") => return Err(ConfigError::File { path, what: "rename it to `.yaml`; other files are not read".into() }),
            _ => continue,
        }
        match own::read(&contents(&path)?, &path.display().to_string(), &mut names) {
            Ok(read) => rules.extend(read),
            Err(found) => errors.extend(found),
        }
    }
    if errors.is_empty() { Ok(rules) } else { Err(ConfigError::Rules(errors)) }
}

fn contents(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let io = |source| ConfigError::Io { path: path.into(), source };
    let file = open(path).map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => ConfigError::Owner { path: path.into(), what: "is a symbolic link".into() },
        _ => io(error),
    })?;
    let metadata = file.metadata().map_err(io)?;
    check_owner(path, &metadata)?;
    if !metadata.is_file() {
        return Err(ConfigError::File { path: path.into(), what: "it is no file; remove or rename it".into() });
    }
    let mut text = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut text).map_err(io)?;
    if text.len() as u64 > LARGEST {
        return Err(ConfigError::File { path: path.into(), what: format!("it has more than {LARGEST} bytes; rules are shorter") });
    }
    Ok(text)
}

fn open(path: &Path) -> io::Result<File> {
    // Not blocked by a pipe in the place of a file.
    File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)
}

/// Root's or the daemon's own, and nobody else can write to it.
fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), ConfigError> {
    let own = rustix::process::geteuid().as_raw();
    let what = match (metadata.uid(), metadata.mode() & 0o022) {
        (uid, _) if uid != 0 && uid != own => format!("belongs to uid {uid}"),
        (_, 0) => return Ok(()),
        (_, _) => format!("may be written by others (mode {:o})", metadata.mode() & 0o7777),
    };
    Err(ConfigError::Owner { path: path.into(), what })
}

#[cfg(test)]
mod tests;
