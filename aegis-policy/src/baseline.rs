//! The shipped rule sets.
//!
//! Knows: what programs of a usual Linux need in order to start and run, and which of the host's
//! secrets lie among it. Must not know: any one host.
//!
//! Each line has its reason. A manifest cannot take a deny back: who needs such a file writes
//! `baseline: none` and names what is needed.

use aegis_common::path::perm;

use crate::path::AbsPath;
use crate::policy::{Effect, Origin, PathEffect, Rule};

const READ: u8 = perm::READ;
const READ_EXEC: u8 = perm::READ | perm::EXEC;
const READ_WRITE: u8 = perm::READ | perm::WRITE;

/// One allowed path: what is granted there, and why.
type Allow = (&'static str, u8, &'static str);
/// One denied path, and why.
type Deny = (&'static str, &'static str);

/// Holds for every agent, with every baseline: what the governor itself stands on.
const BUILT_IN: &[Deny] = &[
    ("/etc/aegis", "policies and configuration of the governor"),
    ("/var/lib/aegis", "its log, index and keys"),
    ("/run/aegis", "its socket and run-time files"),
    ("/sys/fs/bpf", "its pinned programs and maps"),
];

const LINUX_ALLOW: &[Allow] = &[
    (
        "/usr",
        READ_EXEC,
        "programs, libraries, headers, interpreters, time zones, certificates",
    ),
    (
        "/bin",
        READ_EXEC,
        "programs, where it is no link to /usr/bin",
    ),
    (
        "/sbin",
        READ_EXEC,
        "programs, where it is no link to /usr/sbin",
    ),
    (
        "/lib",
        READ_EXEC,
        "libraries and the dynamic loader, where it is no link to /usr/lib",
    ),
    ("/lib32", READ_EXEC, "32-bit libraries, where it is no link"),
    (
        "/lib64",
        READ_EXEC,
        "the dynamic loader of x86-64, where it is no link",
    ),
    ("/libx32", READ_EXEC, "x32 libraries, where it is no link"),
    (
        "/etc",
        READ,
        "configuration that every program reads: passwd, nsswitch.conf, ld.so.cache, ssl, localtime, alternatives",
    ),
    (
        "/proc",
        READ,
        "a process reads itself: /proc/self, meminfo, cpuinfo, sys; others' memory and environment need ptrace rights, which agents lack",
    ),
    (
        "/sys/devices/system",
        READ,
        "number and layout of CPUs and memory: libc, make -j, Node, Java, OpenMP",
    ),
    (
        "/sys/fs/cgroup",
        READ,
        "runtimes size themselves by their cgroup's limits: Java, Go, Node",
    ),
    (
        "/sys/kernel/mm/transparent_hugepage",
        READ,
        "allocators of Go, Java and jemalloc",
    ),
    ("/dev/null", READ_WRITE, "every shell"),
    ("/dev/zero", READ_WRITE, "memory mappings, dd"),
    ("/dev/full", READ_WRITE, "tests of full disks"),
    (
        "/dev/random",
        READ_WRITE,
        "random numbers; writing adds to the pool",
    ),
    (
        "/dev/urandom",
        READ_WRITE,
        "random numbers; writing adds to the pool",
    ),
    (
        "/dev/tty",
        READ_WRITE,
        "the process's own terminal: shells, pagers, prompts",
    ),
    (
        "/dev/ptmx",
        READ_WRITE,
        "new pseudo terminals: script, expect, test runners",
    ),
    ("/dev/pts", READ_WRITE, "the terminals made from it"),
    (
        "/run/systemd/resolve",
        READ,
        "/etc/resolv.conf leads here under systemd-resolved",
    ),
    (
        "/run/resolvconf",
        READ,
        "/etc/resolv.conf leads here under resolvconf",
    ),
    (
        "/run/NetworkManager/resolv.conf",
        READ,
        "/etc/resolv.conf leads here under NetworkManager",
    ),
    (
        "/var/lib/ca-certificates",
        READ,
        "/etc/ssl/certs leads here on SUSE",
    ),
];

const LINUX_DENY: &[Deny] = &[
    ("/etc/shadow", "password hashes"),
    (
        "/etc/shadow-",
        "password hashes, the copy before the last change",
    ),
    ("/etc/gshadow", "group passwords"),
    (
        "/etc/gshadow-",
        "group passwords, the copy before the last change",
    ),
    ("/etc/security/opasswd", "old password hashes"),
    ("/etc/sudoers", "who may become root"),
    ("/etc/sudoers.d", "who may become root"),
    ("/etc/ssh/ssh_host_rsa_key", "identity of the host"),
    ("/etc/ssh/ssh_host_dsa_key", "identity of the host"),
    ("/etc/ssh/ssh_host_ecdsa_key", "identity of the host"),
    ("/etc/ssh/ssh_host_ed25519_key", "identity of the host"),
    ("/etc/ssl/private", "private keys"),
    ("/etc/pki/tls/private", "private keys on Fedora and Red Hat"),
    ("/etc/letsencrypt", "private keys and account keys"),
    ("/etc/krb5.keytab", "Kerberos identity of the host"),
    ("/etc/ipsec.secrets", "keys of tunnels"),
    ("/etc/ipsec.d", "keys of tunnels"),
    ("/etc/wireguard", "keys of tunnels"),
    ("/etc/openvpn", "keys of tunnels"),
    ("/etc/ppp", "passwords of dial-up and tunnels"),
    (
        "/etc/NetworkManager/system-connections",
        "passwords of wireless networks and tunnels",
    ),
    ("/etc/netplan", "passwords of wireless networks"),
    ("/etc/wpa_supplicant", "passwords of wireless networks"),
    ("/etc/apt/auth.conf", "passwords of package archives"),
    ("/etc/apt/auth.conf.d", "passwords of package archives"),
    ("/etc/credstore", "credentials of services"),
    ("/etc/credstore.encrypted", "credentials of services"),
    ("/etc/docker/key.json", "identity of the container engine"),
    ("/etc/kubernetes", "administrator and node credentials"),
    ("/etc/rancher", "administrator and node credentials"),
    (
        "/etc/mysql/debian.cnf",
        "the database's maintenance password",
    ),
    ("/etc/bind/rndc.key", "control of the name server"),
    ("/proc/kcore", "the kernel's memory"),
    (
        "/proc/kmsg",
        "the kernel's log, taken from whoever else reads it",
    ),
    ("/proc/sysrq-trigger", "reboots the host"),
];

/// The rules that hold for every agent.
pub(crate) fn built_in() -> impl Iterator<Item = Rule> {
    BUILT_IN.iter().filter_map(|(path, why)| {
        rule(
            format!("builtin:deny:{path}"),
            Origin::BuiltIn,
            path,
            0,
            perm::ALL,
            why,
        )
    })
}

/// The rules of `baseline: linux`.
pub(crate) fn linux() -> impl Iterator<Item = Rule> {
    let origin = Origin::Baseline("linux");
    let allow = LINUX_ALLOW.iter().filter_map(|(path, bits, why)| {
        let name = if bits & perm::WRITE != 0 {
            "write"
        } else if bits & perm::EXEC != 0 {
            "exec"
        } else {
            "read"
        };
        rule(
            format!("baseline:{name}:{path}"),
            Origin::Baseline("linux"),
            path,
            *bits,
            0,
            why,
        )
    });
    let deny = LINUX_DENY.iter().filter_map(move |(path, why)| {
        rule(
            format!("baseline:deny:{path}"),
            origin.clone(),
            path,
            0,
            perm::ALL,
            why,
        )
    });
    allow.chain(deny)
}

/// Baseline rules are not recorded where they allow: every program start would be fifty records.
fn rule(id: String, origin: Origin, path: &str, allow: u8, deny: u8, why: &str) -> Option<Rule> {
    let text = format!("{path}: {why}");
    let path = AbsPath::parse(path.as_bytes()).ok()?;
    Some(Rule {
        id,
        origin,
        text,
        record: false,
        effect: Effect::Path(PathEffect::at(path, allow, deny)),
    })
}

#[cfg(test)]
mod tests {
    use super::{BUILT_IN, LINUX_ALLOW, LINUX_DENY, built_in, linux};

    #[test]
    fn every_line_of_the_tables_becomes_a_rule_and_has_a_reason() {
        assert_eq!(built_in().count(), BUILT_IN.len());
        assert_eq!(linux().count(), LINUX_ALLOW.len() + LINUX_DENY.len());
        assert!(LINUX_ALLOW.iter().all(|(.., why)| why.len() > 5));
        assert!(
            LINUX_DENY
                .iter()
                .chain(BUILT_IN)
                .all(|(_, why)| why.len() > 5)
        );
    }

    #[test]
    fn the_tables_stay_shallow_because_each_level_costs_a_look_up_at_every_open() {
        let deepest = linux().chain(built_in()).filter_map(|r| match r.effect {
            crate::policy::Effect::Path(p) => Some(p.patterns[0].prefix.depth()),
            _ => None,
        });
        assert!(deepest.max() <= Some(4));
    }
}
