//! The program inside the test machine: PID 1 of the initramfs, then whatever runs the command.
//!
//! It knows the kernel's mounts, the disks and ports that `xtask vm` attaches, and the job that comes on one of
//! them. It must know nothing of Aegis: what is installed and run is the host's choice. It is a static binary,
//! built without the `host` feature, because it runs before there is a root file system.

use std::process::ExitCode;

mod boot;
mod devices;
mod job;
mod mounts;
mod pump;
mod spawn;
mod users;

/// Where the guest keeps its own copy and the unpacked job; on the tmpfs of `/run`.
pub const WORK_DIR: &str = "/run/aegis-vm";

/// What can go wrong in the guest; the text reaches the operator through the status port or the console.
pub type Result<T> = std::result::Result<T, String>;

/// Adds what was being done to an error.
pub trait Context<T> {
    /// Turns the error into `doing: error`.
    fn context(self, doing: impl std::fmt::Display) -> Result<T>;
}

impl<T, E: std::fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl std::fmt::Display) -> Result<T> {
        self.map_err(|error| format!("{doing}: {error}"))
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if std::process::id() == 1 {
        return boot::run_as_init();
    }
    match arguments.next() {
        Some(word) if word == "job" => job::run_under_systemd(),
        Some(word) if word == "exec" => spawn::become_command(arguments.collect()),
        _ => {
            boot::console("aegis-vm-guest is started by the test machine, not by hand");
            ExitCode::from(2)
        }
    }
}
