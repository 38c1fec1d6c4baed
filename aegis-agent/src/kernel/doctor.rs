//! What this kernel can and can't do for Aegis, and how to change it.

use std::fs;

use nix::unistd::Uid;

use super::memory;

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// Whether enforcement is possible as far as this goes.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What to do when it is not ok, or what follows; may be empty.
    pub advice: String,
}

/// Looks at everything that enforcement needs. Reads only.
#[must_use]
pub fn examine() -> Vec<Finding> {
    vec![privilege(), kernel_version(), bpf_lsm(), btf(), cgroup2(), bpffs(), preemption(), digest(), arguments()]
}

fn finding(check: &'static str, ok: bool, found: impl Into<String>, advice: &str) -> Finding {
    let advice = if ok { String::new() } else { advice.to_owned() };
    Finding { check, ok, found: found.into(), advice }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn privilege() -> Finding {
    let root = Uid::effective().is_root();
    finding(
        "privilege",
        root,
        if root { "root" } else { "not root" },
        "the engine needs CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN: run aegisd as a service or as root",
    )
}

/// Major and minor number of a release string.
fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn running() -> (String, Option<(u32, u32)>) {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".into());
    let version = parse_release(&release);
    (release, version)
}

fn kernel_version() -> Finding {
    let (release, version) = running();
    let ok = version.is_some_and(|version| version >= (6, 1));
    finding("kernel", ok, release, "Aegis needs Linux 6.1 or later")
}

/// Where the kernel lists its active security modules.
pub(super) const MODULES: &str = "/sys/kernel/security/lsm";

/// The active security modules, as the kernel lists them.
pub(super) fn active_modules() -> std::io::Result<String> {
    Ok(fs::read_to_string(MODULES)?.trim().to_owned())
}

/// Whether BPF programs are called at security hooks.
pub(super) fn lists_bpf(modules: &str) -> bool {
    modules.split(',').any(|name| name == "bpf")
}

fn bpf_lsm() -> Finding {
    let advice = "boot with `bpf` in the list of `lsm=` (add it to GRUB_CMDLINE_LINUX with the list that \
                  /sys/kernel/security/lsm shows, then update-grub and reboot)";
    match active_modules() {
        Ok(list) => {
            let ok = lists_bpf(&list);
            finding("bpf-lsm", ok, list, advice)
        }
        Err(error) => finding(
            "bpf-lsm",
            false,
            format!("{MODULES} can't be read: {error}"),
            "mount securityfs (`mount -t securityfs securityfs /sys/kernel/security`); if the kernel has none, \
             it is built without LSM support",
        ),
    }
}

fn btf() -> Finding {
    let present = fs::metadata("/sys/kernel/btf/vmlinux").is_ok();
    finding(
        "btf",
        present,
        if present { "/sys/kernel/btf/vmlinux" } else { "none" },
        "use a kernel with CONFIG_DEBUG_INFO_BTF=y (Debian 12, Ubuntu 22.04, Fedora 37, RHEL 9 and later have it)",
    )
}

fn mounted(kind: &str) -> Option<String> {
    read("/proc/self/mountinfo")?.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        (right.split(' ').next() == Some(kind)).then(|| left.split(' ').nth(4).unwrap_or("?").to_owned())
    })
}

fn cgroup2() -> Finding {
    let place = mounted("cgroup2");
    // On a hybrid system the v2 tree has no controllers: agents are governed, limits are not.
    finding(
        "cgroup2",
        place.is_some(),
        place.unwrap_or_else(|| "not mounted".into()),
        "mount the unified hierarchy (`mount -t cgroup2 none /sys/fs/cgroup`), or boot with \
         systemd.unified_cgroup_hierarchy=1",
    )
}

fn bpffs() -> Finding {
    let place = mounted("bpf");
    finding(
        "bpffs",
        place.is_some(),
        place.unwrap_or_else(|| "not mounted".into()),
        "`mount -t bpf bpf /sys/fs/bpf`",
    )
}

/// Before Linux 6.2 the kernel skips an LSM program when another task was preempted inside it on the
/// same CPU; with full preemption that is a way around every hook.
pub(super) fn preemption() -> Finding {
    let (_, version) = running();
    let full = read("/proc/cmdline").is_some_and(|line| {
        line.split_whitespace().any(|word| word == "preempt=full")
    }) || read("/sys/kernel/debug/sched/preempt").is_some_and(|modes| modes.contains("(full)"));
    let safe = version.is_some_and(|version| version >= (6, 2)) || !full;
    finding(
        "preemption",
        safe,
        if full { "full" } else { "voluntary, lazy or none" },
        "this kernel skips hooks when it is preempted inside one: boot with preempt=voluntary, or use Linux 6.2 or later",
    )
}

/// `bpf_ima_file_hash` answers with the boot-time digest; content rules are written in SHA-256.
fn digest() -> Finding {
    let other = read("/proc/cmdline").and_then(|line| {
        line.split_whitespace().find_map(|word| word.strip_prefix("ima_hash=").map(str::to_owned))
    });
    let ok = other.as_deref().is_none_or(|name| name == "sha256");
    finding(
        "digest",
        ok,
        other.unwrap_or_else(|| "sha256".into()),
        "programs are denied by SHA-256: boot with ima_hash=sha256",
    )
}

/// What `exec.deny` entries with `argv` need. Without it they are refused, all else is enforced.
fn arguments() -> Finding {
    let readable = memory::find().page_offset_base != 0;
    let (found, advice) = if readable { ("read before a program begins", "") } else { ("not readable", memory::HIDDEN) };
    Finding { check: "arguments", ok: true, found: found.into(), advice: advice.into() }
}

#[cfg(test)]
mod tests {
    use super::{lists_bpf, parse_release};

    #[test]
    fn a_module_is_listed_by_its_whole_name() {
        assert!(lists_bpf("lockdown,capability,bpf"));
        assert!(!lists_bpf("lockdown,capability,landlock"));
        assert!(!lists_bpf("bpfx,xbpf"));
        assert!(!lists_bpf(""));
    }

    #[test]
    fn releases_of_distributions_are_understood() {
        assert_eq!(parse_release("6.12.117+deb12-cloud-amd64"), Some((6, 12)));
        assert_eq!(parse_release("7.2-rc1"), Some((7, 2)));
        assert_eq!(parse_release("nonsense"), None);
    }
}
