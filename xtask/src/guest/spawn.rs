//! The last step before the command: session, cgroup, identity, environment, exec.
//!
//! This runs in a process of its own, so that no code runs between fork and exec of the threaded init.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use nix::unistd::{chdir, setsid};

use crate::users::Account;
use crate::{Context as _, Result};

/// `exec USER CGROUP|- PROGRAM ARGS…`: becomes the command. Exits 126 or 127 as a shell does when it can't.
pub fn become_command(arguments: Vec<OsString>) -> ExitCode {
    match prepare(&arguments) {
        Ok(mut command) => {
            let error = command.exec();
            complain(&format!(
                "{}: {error}",
                command.get_program().to_string_lossy()
            ));
            ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound {
                127
            } else {
                126
            })
        }
        Err(message) => {
            complain(&message);
            ExitCode::from(125)
        }
    }
}

fn complain(message: &str) {
    // The command's own standard error: the only place a person looks.
    let _ = writeln!(std::io::stderr(), "aegis-vm: {message}");
}

fn prepare(arguments: &[OsString]) -> Result<Command> {
    let [user, cgroup, program, rest @ ..] = arguments else {
        return Err("exec needs a user, a cgroup and a program".to_owned());
    };
    let account = Account::named(&user.to_string_lossy())?;
    setsid().context("setsid")?;
    if cgroup.as_bytes() != b"-" {
        let file = std::path::Path::new(cgroup).join("cgroup.procs");
        fs::write(&file, "0").context(file.display())?;
    }
    account.assume()?;
    chdir(account.home.as_str()).context(&account.home)?;
    let mut command = Command::new(program);
    command.args(rest).env_clear().envs(account.environment());
    Ok(command)
}
