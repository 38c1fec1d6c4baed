//! The job: unpack what the host sent, run the command, report how it ended, reboot when asked.
//!
//! Protocol, one line each on the status port: `start STAGE`, `end STAGE exit|signal N out BYTES err BYTES`,
//! `fail REASON`. Stage 1 is the command, stage 2 the one after the reboot.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2, sync};

use crate::{Context as _, Result, WORK_DIR, devices, pump};

/// Counts the boots of one disk, so that a reset in the middle of the command is a reboot like any other.
const MARKER: &str = "/var/lib/aegis-vm-boots";
/// Where plain boots put the command; systemd has its own ideas.
const JOB_CGROUP: &str = "/sys/fs/cgroup/job";

struct Job {
    argv: Vec<Vec<u8>>,
    after_reboot: Option<Vec<u8>>,
    user: String,
}

/// How a command ended.
struct End {
    word: &'static str,
    code: i32,
    out: u64,
    err: u64,
}

/// Runs the job under the guest's own init.
pub fn run_as_init() -> Result<()> {
    let mut status = devices::open_port(devices::STATUS_PORT)?;
    if run(&mut status, JOB_CGROUP)? {
        stop_everything();
        reboot(RebootMode::RB_AUTOBOOT).context("reboot")?;
    }
    Ok(())
}

/// Runs the job as a service of systemd.
pub fn run_under_systemd() -> ExitCode {
    let outcome =
        devices::open_port(devices::STATUS_PORT).and_then(|mut status| run(&mut status, "-"));
    match outcome {
        Ok(true) => {
            let asked = Command::new("/bin/systemctl")
                .args(["reboot", "--no-block"])
                .status();
            if !asked.is_ok_and(|status| status.success()) {
                devices::report_failure("`systemctl reboot` failed");
                return ExitCode::FAILURE;
            }
        }
        Ok(false) => {}
        Err(error) => {
            devices::report_failure(&error);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// True when the machine is to be rebooted for the second stage.
fn run(status: &mut File, cgroup: &str) -> Result<bool> {
    let stage = count_boot()?;
    unpack(stage == 1)?;
    let job = read_job()?;
    let argv = match stage {
        1 => job.argv.clone(),
        2 => match &job.after_reboot {
            Some(line) => vec![b"/bin/bash".to_vec(), b"-c".to_vec(), line.clone()],
            None => {
                return Err(
                    "the machine rebooted, and no command was given for after that".to_owned(),
                );
            }
        },
        _ => return Err(format!("the machine rebooted again: boot number {stage}")),
    };
    prepare_packages(stage)?;
    writeln!(status, "start {stage}").context("status port")?;
    let end = command(&argv, &job.user, cgroup)?;
    let End {
        word,
        code,
        out,
        err,
    } = end;
    writeln!(status, "end {stage} {word} {code} out {out} err {err}").context("status port")?;
    Ok(stage == 1 && job.after_reboot.is_some())
}

fn count_boot() -> Result<u32> {
    let before: u32 = fs::read_to_string(MARKER)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    let mut file = File::create(MARKER).context(MARKER)?;
    write!(file, "{}", before + 1).context(MARKER)?;
    file.sync_all().context(MARKER)?;
    Ok(before + 1)
}

/// Unpacks the job disk over the root; after a reboot only the job's own description, never the copies.
fn unpack(everything: bool) -> Result<()> {
    let disk = devices::disk(devices::JOB_DISK)?;
    let mut tar = Command::new("/bin/tar");
    tar.args([
        "--extract",
        "--preserve-permissions",
        "--numeric-owner",
        "--keep-directory-symlink",
    ]);
    tar.arg("--file").arg(&disk).args(["--directory", "/"]);
    if !everything {
        tar.arg(WORK_DIR.trim_start_matches('/'));
    }
    let output = tar.stdin(Stdio::null()).output().context("run tar")?;
    if !output.status.success() {
        return Err(format!(
            "unpack the job: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(())
}

fn read_job() -> Result<Job> {
    let folder = Path::new(WORK_DIR).join("job");
    let argv = fs::read(folder.join("argv")).context("the job's command")?;
    let user = fs::read_to_string(folder.join("user")).context("the job's user")?;
    Ok(Job {
        argv: argv.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect(),
        after_reboot: fs::read(folder.join("then")).ok(),
        user,
    })
}

/// Installs the packages that came with the job, before the command starts.
fn prepare_packages(stage: u32) -> Result<()> {
    let folder = Path::new("/var/cache/aegis-vm");
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    if stage != 1 {
        return Ok(());
    }
    let packages: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    let output = Command::new("/usr/bin/dpkg")
        .arg("--install")
        .args(&packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("run dpkg")?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        return Err(format!(
            "dpkg --install failed: {}",
            String::from_utf8_lossy(&text)
        ));
    }
    Ok(())
}

fn command(argv: &[Vec<u8>], user: &str, cgroup: &str) -> Result<End> {
    let (out_reader, out_writer) = pipe2(OFlag::O_CLOEXEC).context("pipe")?;
    let (err_reader, err_writer) = pipe2(OFlag::O_CLOEXEC).context("pipe")?;
    let (out_stop, out_stopper) = pipe2(OFlag::O_CLOEXEC).context("pipe")?;
    let (err_stop, err_stopper) = pipe2(OFlag::O_CLOEXEC).context("pipe")?;
    let out = pump::start(out_reader, devices::open_port(devices::OUT_PORT)?, out_stop);
    let err = pump::start(err_reader, devices::open_port(devices::ERR_PORT)?, err_stop);

    let child = Command::new(Path::new(WORK_DIR).join("guest"))
        .args(["exec", user, cgroup])
        .args(argv.iter().map(|word| OsStr::from_bytes(word)))
        .stdin(Stdio::null())
        .stdout(out_writer)
        .stderr(err_writer)
        .spawn()
        .context("start the command")?;
    let pid = i32::try_from(child.id()).context("process id")?;
    let (word, code) = reap_until(Pid::from_raw(pid))?;
    drop((out_stopper, err_stopper));
    let finish = |pump: std::thread::JoinHandle<std::io::Result<u64>>| match pump.join() {
        Ok(count) => count.context("carry output to the host"),
        Err(_) => Err("the output thread panicked".to_owned()),
    };
    Ok(End {
        word,
        code,
        out: finish(out)?,
        err: finish(err)?,
    })
}

/// Waits for the command, reaping every orphan on the way as PID 1 must.
fn reap_until(command: Pid) -> Result<(&'static str, i32)> {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == command => return Ok(("exit", code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == command => {
                return Ok(("signal", signal as i32));
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(format!("wait for the command: {error}")),
        }
    }
}

/// An orderly end before the reboot: daemons get their SIGTERM and a moment, then the disk is flushed.
fn stop_everything() {
    let everyone = Pid::from_raw(-1);
    // ESRCH only says that nobody is left.
    let _ = kill(everyone, Signal::SIGTERM);
    for _ in 0..100 {
        while let Ok(status) = waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
        }
        if !anyone_left() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = kill(everyone, Signal::SIGKILL);
    sync();
}

/// Whether a process with a program of its own is left: kernel threads have no command line.
fn anyone_left() -> bool {
    let Ok(entries) = fs::read_dir("/proc") else {
        return false;
    };
    entries.flatten().any(|entry| {
        let pid = entry
            .file_name()
            .to_string_lossy()
            .parse::<u32>()
            .unwrap_or(1);
        pid > 1 && fs::read(entry.path().join("cmdline")).is_ok_and(|line| !line.is_empty())
    })
}
