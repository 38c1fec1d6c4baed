//! `cargo xtask bench --network`: real clients with nothing in between, behind a proxy's sandbox, and under Aegis.
//!
//! The network and the clients are those of the scenario `network/clients`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::vm::Copy;
use crate::{host, ui};

/// The scripts here, and where they are in the machine.
const SCRIPTS: &str = "tests/bench/network";
const SCRIPTS_THERE: &str = "/usr/lib/aegis-tests/network";
/// What they take from the scenarios.
const SHARED: &str = "tests/vm/scenarios/network";
const FROM_SCENARIOS: [&str; 6] = [
    "names_net.py",
    "clients_net.py",
    "clients_tls.py",
    "client_commands.py",
    "client_python.py",
    "client_node.mjs",
];
/// The packages compared with.
const PEERS_THERE: &str = "/usr/lib/aegis-peers/node_modules";

/// What to run in the machine, and with what in it.
pub fn job() -> Result<(Vec<OsString>, Vec<Copy>)> {
    let there = |name: &str| Path::new(SCRIPTS_THERE).join(name);
    let command = vec!["python3".into(), "-SB".into(), there("beside.py").into()];
    let here = host::repository();
    let mut copies = vec![Copy {
        from: peers()?,
        to: PEERS_THERE.into(),
        mode: None,
    }];
    for name in FROM_SCENARIOS {
        copies.push(Copy {
            from: here.join(SHARED).join(name),
            to: there(name),
            mode: None,
        });
    }
    let scripts = here.join(SCRIPTS);
    for entry in fs::read_dir(&scripts).with_context(|| format!("read {}", scripts.display()))? {
        let from = entry?.path();
        if from.is_file() {
            let to = there(&from.file_name().unwrap_or_default().to_string_lossy());
            copies.push(Copy {
                from,
                to,
                mode: None,
            });
        }
    }
    Ok((command, copies))
}

/// Gets the packages that are compared with, by the hashes of their lock file; runs none of their scripts.
fn peers() -> Result<PathBuf> {
    let npm = host::program("npm").context(
        "this needs npm to get what it compares with: install it (Debian: `apt-get install npm`) and try again",
    )?;
    let folder = host::target().join("vm/peers");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    for name in ["package.json", "package-lock.json"] {
        let from = host::repository().join(SCRIPTS).join("peers").join(name);
        host::copy_if_changed(&from, &folder.join(name))?;
    }
    ui::step("bench", "getting what is compared with from npm");
    // Another version of Node than this host's runs them, which npm would warn about.
    host::run(
        Command::new(npm)
            .args([
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
            ])
            .current_dir(&folder),
    )
    .context("get the packages")?;
    Ok(folder.join("node_modules"))
}
