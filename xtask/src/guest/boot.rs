//! From the initramfs to a running system: modules, root file system, then systemd or the job itself.
//!
//! Nothing here returns: PID 1 that exits is a kernel panic, which would hide the reason.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::unistd::{chdir, chroot, execv};

use crate::{Context as _, Result, WORK_DIR, devices, job, mounts};

/// What the kernel command line asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Run the job as a child of this process.
    Plain,
    /// Hand PID 1 to systemd, which starts the job as a service.
    Systemd,
    /// Say that the machine booted and power off: the host wants to know whether its accelerator works.
    Probe,
}

/// Writes a line to the serial console, where the host finds it when nothing else works.
pub fn console(message: &str) {
    if let Ok(mut console) = OpenOptions::new().write(true).open("/dev/console") {
        // Nowhere is left to report a console that fails.
        let _ = writeln!(console, "aegis-vm: {message}");
    }
}

/// The whole life of PID 1.
pub fn run_as_init() -> ExitCode {
    if let Err(error) = boot() {
        console(&error);
        devices::report_failure(&error);
    }
    // The host ends the machine as soon as it has read the last line; the wait is for a host that is slow.
    std::thread::sleep(Duration::from_secs(30));
    power_off()
}

/// Powers off at once; the disk is a throw-away overlay.
pub fn power_off() -> ExitCode {
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    console(&format!("power off: {error}"));
    ExitCode::FAILURE
}

fn boot() -> Result<()> {
    mounts::early()?;
    let mode = mode()?;
    load_modules(Path::new("/modules"))?;
    if mode == Mode::Probe {
        let mut status = devices::open_port(devices::STATUS_PORT)?;
        writeln!(status, "probe").context("tell the host that the machine booted")?;
        return Ok(());
    }
    mounts::root(Path::new("/root"))?;
    enter_root(Path::new("/root"))?;
    match mode {
        Mode::Systemd => start_systemd(),
        _ => {
            mounts::late()?;
            job::run_as_init()
        }
    }
}

fn mode() -> Result<Mode> {
    let line = fs::read_to_string("/proc/cmdline").context("read /proc/cmdline")?;
    let word = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix("aegis.mode="));
    match word {
        None | Some("plain") => Ok(Mode::Plain),
        Some("systemd") => Ok(Mode::Systemd),
        Some("probe") => Ok(Mode::Probe),
        Some(other) => Err(format!(
            "unknown aegis.mode={other} on the kernel command line"
        )),
    }
}

/// Loads every file of the folder in the order of names, which the host made the order of dependencies.
fn load_modules(folder: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(()); // a kernel with every driver built in
    };
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    for file in files {
        let module = fs::File::open(&file).context(file.display())?;
        match finit_module(module, c"", ModuleInitFlags::empty()) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(error) => return Err(format!("load module {}: {error}", file.display())),
        }
    }
    Ok(())
}

/// Moves the mounts over and makes `root` the root, keeping a copy of this program where it can be run again.
fn enter_root(root: &Path) -> Result<()> {
    let work = root.join(WORK_DIR.trim_start_matches('/'));
    fs::create_dir_all(&work).context(work.display())?;
    fs::copy("/init", work.join("guest")).context("copy the guest program into /run")?;
    for folder in ["proc", "sys", "dev"] {
        let from = format!("/{folder}");
        mount(
            Some(from.as_str()),
            &root.join(folder),
            None::<&str>,
            MsFlags::MS_MOVE,
            None::<&str>,
        )
        .context(format!("move {from} into the root"))?;
    }
    chdir(root).context("enter the root")?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .context("move the root to /")?;
    chroot(".").context("chroot")?;
    chdir("/").context("chdir /")
}

fn start_systemd() -> Result<()> {
    let units = Path::new("/run/systemd/system");
    let wants = units.join("multi-user.target.wants");
    fs::create_dir_all(&wants).context(wants.display())?;
    let unit = units.join("aegis-vm-job.service");
    let text = format!(
        "[Unit]\nDescription=Command of the test machine\nAfter=multi-user.target dbus.service\n\
         [Service]\nType=exec\nExecStart={WORK_DIR}/guest job\nStandardInput=null\nStandardOutput=null\n\
         StandardError=journal+console\nKillMode=mixed\nTimeoutStopSec=10\nDelegate=yes\n"
    );
    fs::write(&unit, text).context(unit.display())?;
    std::os::unix::fs::symlink(&unit, wants.join("aegis-vm-job.service"))
        .context("enable the job unit")?;
    let program = CString::new("/lib/systemd/systemd").context("name of systemd")?;
    execv(&program, &[program.as_c_str()]).context("start systemd")?;
    Ok(())
}
