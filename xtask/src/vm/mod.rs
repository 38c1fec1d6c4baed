//! `cargo xtask vm`: a command in a disposable machine on a chosen kernel.
//!
//! The machine has no network: the command and the files go in on a raw disk, output and status come out on
//! virtio ports. The guest's half is the program in `guest/`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::build::Built;
use crate::cli::{BuildOptions, VmOptions};
use crate::setup::{self, Kernel};
use crate::{build, host, ui};

mod accel;
mod cpio;
mod install;
mod job;
mod ports;
mod protocol;
mod qemu;
mod run;

pub use cpio::Cpio;
pub use job::Copy;
pub use ports::{Sink, inherit};
pub use run::Outcome;

use accel::Accelerator;
use qemu::{Disk, Machine};

/// Security modules of the machines unless `--lsm` says otherwise.
pub const DEFAULT_LSM: &str = "lockdown,capability,landlock,bpf";
/// Status at the time limit, as timeout(1) has it.
const TIMED_OUT: u8 = 124;
/// Console logs that are kept.
const LOGS: usize = 40;

/// Which system runs in the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// The guest program as init, with the programs of the last build copied in.
    Plain,
    /// systemd, with the package installed or the programs of the last build copied in.
    Systemd {
        /// Install the package.
        package: bool,
    },
}

/// A command to run in a machine.
pub struct VmRequest {
    /// The kernel.
    pub kernel: Kernel,
    /// Folder of the programs to install.
    pub programs: PathBuf,
    /// The program that is PID 1.
    pub guest: PathBuf,
    /// The command.
    pub command: Vec<OsString>,
    /// Whom to run it as.
    pub user: String,
    /// What else to copy in.
    pub copies: Vec<Copy>,
    /// A line of shell for after a reboot of the same disk.
    pub reboot_then: Option<OsString>,
    /// What runs as PID 1.
    pub system: System,
    /// Guest time equals instructions executed.
    pub counted: bool,
    /// Security modules, in order.
    pub lsm: String,
    /// More of the kernel command line.
    pub append: Vec<String>,
    /// Megabytes of memory.
    pub memory: u32,
    /// Processors; one when instructions are counted, else two, unless given.
    pub processors: Option<u32>,
    /// When to give up, from the start of the machine.
    pub limit: Duration,
    /// Show the console on standard error.
    pub console: bool,
}

impl VmRequest {
    /// A request with the defaults of the command line.
    pub fn new(kernel: Kernel, built: &Built, command: Vec<OsString>) -> Self {
        Self {
            kernel,
            programs: built.programs.clone(),
            guest: built.guest.clone(),
            command,
            user: "root".to_owned(),
            copies: Vec::new(),
            reboot_then: None,
            system: System::Plain,
            counted: false,
            lsm: DEFAULT_LSM.to_owned(),
            append: Vec::new(),
            memory: 2048,
            processors: None,
            limit: Duration::from_secs(300),
            console: false,
        }
    }
}

/// The command.
pub fn command(options: &VmOptions) -> Result<ExitCode> {
    if options.kernel == "list" {
        return list();
    }
    if options.command.is_empty() {
        bail!(
            "no command given: cargo xtask vm --kernel {} -- COMMAND ARGS…",
            options.kernel
        );
    }
    let start = Instant::now();
    let built = if options.no_build {
        build::last(options.release)?
    } else {
        build::build(&BuildOptions {
            release: options.release,
            ..BuildOptions::default()
        })?
    };
    let kernel = kernel(&options.kernel)?;
    let mut request = VmRequest::new(kernel, &built, options.command.clone());
    request.copies = options
        .copy
        .iter()
        .map(|text| Copy::parse(text))
        .collect::<Result<_>>()?;
    request.user.clone_from(&options.user);
    request.reboot_then.clone_from(&options.reboot_then);
    request.system = if options.systemd {
        System::Systemd {
            package: !options.no_package,
        }
    } else {
        System::Plain
    };
    request.counted = options.icount;
    request.lsm.clone_from(&options.lsm);
    request.append.clone_from(&options.append);
    request.memory = options.memory;
    request.processors = options.cpus;
    request.limit = Duration::from_secs(options.timeout);
    request.console = options.console;
    if options.verbose {
        ui::step(
            "build",
            format_args!("{:.1} s", start.elapsed().as_secs_f64()),
        );
    }
    let start = Instant::now();
    let outcome = run_vm(&request, inherit(false), inherit(true))?;
    if options.verbose {
        ui::step(
            "machine",
            format_args!("{:.1} s", start.elapsed().as_secs_f64()),
        );
    }
    Ok(ExitCode::from(match outcome {
        Outcome::Status(status) => status,
        Outcome::TimedOut => {
            ui::warn(format_args!(
                "stopped at the time limit of {} s",
                options.timeout
            ));
            TIMED_OUT
        }
    }))
}

fn list() -> Result<ExitCode> {
    let matrix = setup::matrix()?;
    let mut complete = true;
    for (series, outcome) in setup::kernels(&matrix.series(), false)? {
        let claims = matrix
            .kernels
            .iter()
            .find(|entry| entry.series == series)
            .map_or("", |entry| &entry.claims);
        match outcome {
            Ok(kernel) => ui::line(format_args!("{}\n       {claims}", kernel.describe())),
            Err(error) => {
                complete = false;
                ui::line(format_args!("{series:<6} can't be had: {error:#}"));
            }
        }
    }
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(125)
    })
}

/// The kernel that stands for this series, said aloud when it is another one.
pub fn kernel(series: &str) -> Result<Kernel> {
    let (_, outcome) = setup::kernels(&[series.to_owned()], false)?
        .pop()
        .context("no kernel")?;
    let kernel = outcome.with_context(|| format!("kernel {series}"))?;
    if kernel.is_substitute() {
        ui::warn(kernel.describe());
    }
    Ok(kernel)
}

/// Boots a machine, runs the command in it, and ends the machine.
pub fn run_vm(request: &VmRequest, out: Sink, err: Sink) -> Result<Outcome> {
    let image = setup::root_image()?;
    let folder = run::Folder::new()?;
    let initramfs = folder.path().join("initramfs");
    fs::write(&initramfs, initramfs_bytes(request)?).context("write the initramfs")?;
    let accelerator = accel::choose(request.counted, &request.kernel, &initramfs)?;

    let archive = folder.path().join("job.tar");
    let mut copies = Vec::new();
    let mut packages = Vec::new();
    match request.system {
        System::Systemd { package: true } => packages.push(package()?),
        System::Plain | System::Systemd { package: false } => {
            copies.extend(install::copies(&request.programs)?)
        }
    }
    copies.extend(request.copies.iter().cloned());
    let job = job::Job {
        argv: &request.command,
        user: &request.user,
        after_reboot: request.reboot_then.as_deref(),
        copies: &copies,
        packages: &packages,
    };
    job::write(&job, &archive)?;

    let disks = [
        Disk {
            serial: "aegis-root",
            file: &image,
            throw_away: true,
        },
        Disk {
            serial: "aegis-modules",
            file: &request.kernel.modules(),
            throw_away: false,
        },
        Disk {
            serial: "aegis-job",
            file: &archive,
            throw_away: false,
        },
    ];
    let processors = request
        .processors
        .unwrap_or(if accelerator == Accelerator::Counted {
            1
        } else {
            2
        });
    let machine = Machine {
        folder: folder.path(),
        kernel: &request.kernel.image(),
        initramfs: &initramfs,
        command_line: &command_line(request),
        disks: &disks,
        accelerator,
        memory: request.memory,
        processors,
        may_reboot: request.reboot_then.is_some(),
    };
    let streams = run::Streams {
        out,
        err,
        log: console_log(&request.kernel)?,
        show_console: request.console,
    };
    let stages = if request.reboot_then.is_some() { 2 } else { 1 };
    run::job(&machine, streams, request.limit, stages).with_context(|| {
        format!(
            "machine on Linux {} ({})",
            request.kernel.release,
            accelerator.name()
        )
    })
}

/// Early drivers, then the guest program as `/init`.
fn initramfs_bytes(request: &VmRequest) -> Result<Vec<u8>> {
    let early = request.kernel.boot_archive();
    let mut bytes = fs::read(&early).with_context(|| format!("read {}", early.display()))?;
    let program =
        fs::read(&request.guest).with_context(|| format!("read {}", request.guest.display()))?;
    let mut archive = Cpio::default();
    archive.folder("dev");
    archive.character_device("dev/console", (5, 1));
    archive.file("init", 0o755, &program)?;
    bytes.extend(archive.end());
    Ok(bytes)
}

fn command_line(request: &VmRequest) -> String {
    let mut words = vec![
        "console=ttyS0".to_owned(),
        if request.console {
            "loglevel=6"
        } else {
            "quiet"
        }
        .to_owned(),
        // Long enough for the host to read the trace before the machine resets.
        "panic=30".to_owned(),
        format!("lsm={}", request.lsm),
        // The processor's random numbers are as good as this machine will ever have.
        "random.trust_cpu=on".to_owned(),
        // Time lost to the host is not the guest's fault.
        "nowatchdog rcupdate.rcu_cpu_stall_suppress=1 tsc=reliable no_timer_check".to_owned(),
        "mitigations=off cgroup_no_v1=all".to_owned(),
    ];
    if request.system != System::Plain {
        words.push(
            "aegis.mode=systemd systemd.show_status=0 systemd.unified_cgroup_hierarchy=1"
                .to_owned(),
        );
    }
    words.extend(request.append.iter().cloned());
    words.join(" ")
}

/// The package that `cargo xtask dist` made.
fn package() -> Result<PathBuf> {
    let folder = host::target().join("dist");
    let found = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut packages: Vec<PathBuf> = found
        .filter(|path| path.extension() == Some("deb".as_ref()))
        .collect();
    packages.sort();
    match packages.pop() {
        Some(package) if packages.is_empty() => Ok(package),
        Some(_) => bail!(
            "{} holds several .deb files: keep the one to install",
            folder.display()
        ),
        None => bail!(
            "--systemd installs the package, and {} has none yet: run `cargo xtask dist` first",
            folder.display()
        ),
    }
}

/// A new log in `target/vm/console`, where the last ones stay.
fn console_log(kernel: &Kernel) -> Result<PathBuf> {
    let folder = host::target().join("vm/console");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).context("protect the logs")?;
    let modified = |path: &PathBuf| path.metadata().and_then(|data| data.modified()).ok();
    let mut old: Vec<PathBuf> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    old.sort_by_key(modified);
    let surplus = old.len().saturating_sub(LOGS);
    for path in old.drain(..surplus) {
        // Another run may have removed it already.
        let _ = fs::remove_file(path);
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Ok(folder.join(format!(
        "{}-{}-{}.log",
        kernel.ran_as,
        now.as_millis(),
        std::process::id()
    )))
}
