//! The mounts of the machine: what the initramfs needs, the root, and what systemd would mount.
//!
//! The late mounts copy systemd's flags and propagation, so that what holds under this init holds on a real
//! host. Only plain boots use them; with `--systemd` systemd does its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::{Context as _, Result, devices};

fn attach(kind: &str, target: &Path, flags: MsFlags, data: Option<&str>) -> Result<()> {
    fs::create_dir_all(target).context(target.display())?;
    mount(Some(kind), target, Some(kind), flags, data)
        .context(format!("mount {kind} on {}", target.display()))
}

fn no_exec() -> MsFlags {
    MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC
}

/// What this program itself needs before there is a root.
pub fn early() -> Result<()> {
    attach("proc", Path::new("/proc"), no_exec(), None)?;
    attach("sysfs", Path::new("/sys"), no_exec(), None)?;
    attach(
        "devtmpfs",
        Path::new("/dev"),
        MsFlags::MS_NOSUID,
        Some("mode=755"),
    )
}

/// Mounts the root disk, the modules disk in it, and a fresh `/run`.
pub fn root(target: &Path) -> Result<()> {
    let disk = devices::disk(devices::ROOT_DISK)?;
    fs::create_dir_all(target).context(target.display())?;
    mount(
        Some(&disk),
        target,
        Some("ext4"),
        MsFlags::MS_NOATIME,
        None::<&str>,
    )
    .context("mount the root disk")?;
    let modules = target.join("usr/lib/modules");
    fs::create_dir_all(&modules).context(modules.display())?;
    let disk = devices::disk(devices::MODULES_DISK)?;
    mount(
        Some(&disk),
        &modules,
        Some("ext4"),
        MsFlags::MS_RDONLY,
        None::<&str>,
    )
    .context("mount the modules disk")?;
    attach(
        "tmpfs",
        &target.join("run"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=755,size=50%"),
    )
}

/// Everything a program expects of a running system, in the new root.
pub fn late() -> Result<()> {
    let root = Path::new("/");
    mount(
        None::<&str>,
        root,
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_SHARED,
        None::<&str>,
    )
    .context("make / shared")?;
    attach(
        "cgroup2",
        Path::new("/sys/fs/cgroup"),
        no_exec(),
        Some("nsdelegate,memory_recursiveprot"),
    )?;
    attach(
        "securityfs",
        Path::new("/sys/kernel/security"),
        no_exec(),
        None,
    )?;
    attach("bpf", Path::new("/sys/fs/bpf"), no_exec(), Some("mode=700"))?;
    attach("tracefs", Path::new("/sys/kernel/tracing"), no_exec(), None)?;
    attach("debugfs", Path::new("/sys/kernel/debug"), no_exec(), None)?;
    attach(
        "devpts",
        Path::new("/dev/pts"),
        MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC,
        Some("mode=620,gid=5,ptmxmode=000"),
    )?;
    attach(
        "tmpfs",
        Path::new("/dev/shm"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=1777"),
    )?;
    attach("mqueue", Path::new("/dev/mqueue"), no_exec(), None)?;
    attach(
        "tmpfs",
        Path::new("/tmp"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=1777,size=50%"),
    )?;
    for folder in ["/run/lock", "/run/user"] {
        fs::create_dir_all(folder).context(folder)?;
    }
    for (link, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
    ] {
        // devtmpfs of a kernel that makes them itself has them already
        let _ = std::os::unix::fs::symlink(to, Path::new("/dev").join(link));
    }
    static_nodes()?;
    controllers()?;
    publish_config()?;
    nix::unistd::sethostname("aegis-vm").context("set the host name")?;
    let status = Command::new("/sbin/ip")
        .args(["link", "set", "lo", "up"])
        .status()
        .context("run ip")?;
    if !status.success() {
        return Err("`ip link set lo up` failed".to_owned());
    }
    Ok(())
}

/// The release of the running kernel.
fn release() -> Result<String> {
    let text =
        fs::read_to_string("/proc/sys/kernel/osrelease").context("read the kernel release")?;
    Ok(text.trim().to_owned())
}

/// Device nodes whose driver loads when they are opened (`/dev/net/tun`, `/dev/fuse`): udev would make them.
fn static_nodes() -> Result<()> {
    let list = format!("/lib/modules/{}/modules.devname", release()?);
    let text = fs::read_to_string(&list).context(&list)?;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let (Some(_module), Some(name), Some(device)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let (kind, numbers) = device.split_at(device.len().min(1));
        let Some((major, minor)) = numbers.split_once(':') else {
            continue;
        };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else {
            continue;
        };
        let kind = if kind == "b" {
            SFlag::S_IFBLK
        } else {
            SFlag::S_IFCHR
        };
        let node = Path::new("/dev").join(name);
        if node.exists() {
            continue;
        }
        if let Some(parent) = node.parent() {
            fs::create_dir_all(parent).context(parent.display())?;
        }
        mknod(
            &node,
            kind,
            Mode::from_bits_truncate(0o600),
            makedev(major, minor),
        )
        .context(node.display())?;
        // As udev's rules have it: these two are for everybody.
        if matches!(name, "net/tun" | "fuse") {
            fs::set_permissions(&node, fs::Permissions::from_mode(0o666))
                .context(node.display())?;
        }
    }
    Ok(())
}

/// Turns the controllers on for children of the root, as systemd does, and makes the cgroup of the job.
fn controllers() -> Result<()> {
    let root = Path::new("/sys/fs/cgroup");
    for controller in ["cpu", "memory", "pids", "io", "cpuset"] {
        let file = root.join("cgroup.subtree_control");
        fs::write(&file, format!("+{controller}"))
            .context(format!("turn on the {controller} controller"))?;
    }
    let job = root.join("job");
    fs::create_dir_all(&job).context(job.display())
}

/// Programs look for the kernel's configuration in `/boot`; it comes with the modules.
fn publish_config() -> Result<()> {
    let release = release()?;
    let link = format!("/boot/config-{release}");
    if !Path::new(&link).exists() {
        std::os::unix::fs::symlink(format!("/lib/modules/{release}/config"), &link)
            .context(&link)?;
    }
    Ok(())
}
