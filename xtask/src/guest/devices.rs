//! The disks and ports that the host attached, found by the names the host gave them.
//!
//! Names, not positions: the order in which the kernel probes virtio devices is not promised.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::{Context as _, Result};

/// Disk with the root file system.
pub const ROOT_DISK: &str = "aegis-root";
/// Disk with the kernel's modules.
pub const MODULES_DISK: &str = "aegis-modules";
/// Raw disk that holds the job as a tar archive.
pub const JOB_DISK: &str = "aegis-job";

/// Port for what the command writes to its standard output.
pub const OUT_PORT: &str = "aegis.out";
/// Port for what the command writes to its standard error.
pub const ERR_PORT: &str = "aegis.err";
/// Port for the lines of the protocol between guest and host.
pub const STATUS_PORT: &str = "aegis.status";

/// How long devices may take to appear; emulated machines on a busy host are slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// The device node of the disk with this serial.
pub fn disk(serial: &str) -> Result<PathBuf> {
    wait_for(&format!("disk {serial}"), || {
        find(Path::new("/sys/block"), "serial", serial)
    })
}

/// Opens the port with this name for writing.
pub fn open_port(name: &str) -> Result<File> {
    let node = wait_for(&format!("port {name}"), || {
        find(Path::new("/sys/class/virtio-ports"), "name", name)
    })?;
    OpenOptions::new()
        .write(true)
        .open(&node)
        .context(node.display())
}

/// Tells the host why there will be no result; best effort, the console has the message too.
pub fn report_failure(message: &str) {
    if let Ok(mut port) = open_port(STATUS_PORT) {
        let line = message.replace('\n', " ");
        let _ = writeln!(port, "fail {line}");
    }
}

fn find(class: &Path, attribute: &str, wanted: &str) -> Option<PathBuf> {
    fs::read_dir(class).ok()?.flatten().find_map(|entry| {
        let value = fs::read_to_string(entry.path().join(attribute)).ok()?;
        (value.trim_end() == wanted).then(|| Path::new("/dev").join(entry.file_name()))
    })
}

fn wait_for(what: &str, mut look: impl FnMut() -> Option<PathBuf>) -> Result<PathBuf> {
    let start = Instant::now();
    loop {
        if let Some(node) = look().filter(|node| node.exists()) {
            return Ok(node);
        }
        if start.elapsed() > PATIENCE {
            return Err(format!(
                "{what} did not appear within {} s",
                PATIENCE.as_secs()
            ));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
