//! What of Aegis is in the machine, and where: the same places as the package's.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

use super::job::Copy;
use crate::host;

/// Programs by name and the path the package gives them.
const PROGRAMS: &[(&str, &str)] = &[
    ("aegis", "/usr/bin/aegis"),
    ("aegis-verify", "/usr/bin/aegis-verify"),
    ("aegisd", "/usr/sbin/aegisd"),
    ("aegis-vm-tests", "/usr/lib/aegis-tests/aegis-vm-tests"),
    ("aegis-agreement", "/usr/lib/aegis-tests/aegis-agreement"),
];

/// Folders and files of the repository by the path the package gives them; what is not there yet is left out.
const FILES: &[(&str, &str)] = &[
    ("packaging/etc/aegis.yaml", "/etc/aegis/aegis.yaml"),
    (
        "packaging/systemd/aegisd.service",
        "/usr/lib/systemd/system/aegisd.service",
    ),
    (
        "packaging/sysusers.d/aegis.conf",
        "/usr/lib/sysusers.d/aegis.conf",
    ),
    (
        "packaging/tmpfiles.d/aegis.conf",
        "/usr/lib/tmpfiles.d/aegis.conf",
    ),
    ("tests/vm/scenarios", "/usr/lib/aegis-tests/scenarios"),
    ("demo", "/usr/share/aegis/demo"),
];

/// The copies that install what was built last.
pub fn copies(programs: &Path) -> Result<Vec<Copy>> {
    let mut copies = Vec::new();
    for (name, to) in PROGRAMS {
        let from = programs.join(name);
        if from.exists() {
            copies.push(Copy {
                from: slim(&from)?,
                to: to.into(),
                mode: Some(0o755),
            });
        }
    }
    for (name, to) in FILES {
        let from = host::repository().join(name);
        if from.exists() {
            copies.push(Copy {
                from,
                to: to.into(),
                mode: None,
            });
        }
    }
    if let Ok(entries) = std::fs::read_dir(host::repository().join("policies")) {
        let manifests = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension() == Some("yaml".as_ref()));
        for from in manifests {
            let to = Path::new("/etc/aegis/policies").join(from.file_name().unwrap_or_default());
            copies.push(Copy {
                from,
                to,
                mode: Some(0o644),
            });
        }
    }
    Ok(copies)
}

/// The program without its debugging sections, which are most of it and would only slow the boot.
fn slim(program: &Path) -> Result<PathBuf> {
    let Some(strip) = host::program("strip") else {
        return Ok(program.to_path_buf());
    };
    let name = program
        .file_name()
        .context("a program without a name")?
        .to_string_lossy()
        .into_owned();
    let profile = program
        .parent()
        .and_then(Path::file_name)
        .unwrap_or_default();
    let folder = host::target().join("vm/programs").join(profile);
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let slim = folder.join(&name);
    let modified = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    if modified(&slim).is_some_and(|made| Some(made) > modified(program)) {
        return Ok(slim);
    }
    // Two machines may start at the same time, so each makes its own and renames it.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let partial = folder.join(format!(
        "{name}.{}.{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    ));
    host::run(
        std::process::Command::new(strip)
            .arg("--strip-debug")
            .arg("-o")
            .arg(&partial)
            .arg(program),
    )?;
    std::fs::rename(&partial, &slim).with_context(|| format!("put {} in place", slim.display()))?;
    Ok(slim)
}
