//! Programs and headers of the host, from Debian packages when root may install them.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{host, ui};

/// Something that must be there, and the Debian package that brings it.
pub struct Need {
    sign: Sign,
    package: &'static str,
}

enum Sign {
    Program(&'static str),
    File(&'static [&'static str]),
}

const fn program(name: &'static str, package: &'static str) -> Need {
    Need {
        sign: Sign::Program(name),
        package,
    }
}

const fn file(paths: &'static [&'static str], package: &'static str) -> Need {
    Need {
        sign: Sign::File(paths),
        package,
    }
}

/// What compiling needs.
pub const BUILD: &[Need] = &[
    program("cc", "gcc"),
    program("make", "make"),
    program("pkg-config", "pkg-config"),
    program("curl", "curl"),
    program("xz", "xz-utils"),
    program("dpkg-deb", "dpkg"),
    program("gpgv", "gpgv"),
    file(&["/usr/include/libelf.h"], "libelf-dev"),
    file(&["/usr/include/zlib.h"], "zlib1g-dev"),
    file(&["/usr/include/seccomp.h"], "libseccomp-dev"),
    file(&["/etc/ssl/certs/ca-certificates.crt"], "ca-certificates"),
];

/// What test machines need.
pub const MACHINE: &[Need] = &[
    program("qemu-system-x86_64", "qemu-system-x86"),
    program("mmdebstrap", "mmdebstrap"),
    program("pip3", "python3-pip"),
    program("mke2fs", "e2fsprogs"),
    program("depmod", "kmod"),
    program("curl", "curl"),
    program("xz", "xz-utils"),
    program("dpkg-deb", "dpkg"),
    program("gpgv", "gpgv"),
    program("setpriv", "util-linux"),
    file(
        &[
            "/usr/share/seabios/bios-256k.bin",
            "/usr/share/qemu/bios-256k.bin",
        ],
        "seabios",
    ),
    file(
        &["/usr/share/keyrings/debian-archive-keyring.gpg"],
        "debian-archive-keyring",
    ),
];

impl Need {
    fn met(&self) -> bool {
        match self.sign {
            Sign::Program(name) => host::program(name).is_some(),
            Sign::File(paths) => paths.iter().any(|path| {
                let multiarch = path.replace("/usr/include/", "/usr/include/x86_64-linux-gnu/");
                Path::new(path).exists() || Path::new(&multiarch).exists()
            }),
        }
    }

    fn what(&self) -> String {
        match self.sign {
            Sign::Program(name) => name.to_owned(),
            Sign::File(paths) => paths.join(" or "),
        }
    }
}

/// Installs what is missing, or says exactly what to install.
pub fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !need.met()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    packages.sort_unstable();
    packages.dedup();
    let list = packages.join(" ");
    let root = nix::unistd::geteuid().is_root();
    if host::program("apt-get").is_none() {
        let things: Vec<String> = missing.iter().map(|need| need.what()).collect();
        bail!(
            "this host has no apt-get. Install what brings {} (Debian's packages are called: {list}), then run this again",
            things.join(", ")
        );
    }
    if !root {
        bail!(
            "packages are missing. Run `sudo apt-get install --no-install-recommends {list}`, then run this again"
        );
    }
    ui::step("install", &list);
    // The lists may be absent (a fresh container) or stale (a version that is gone): then, and only then, update.
    if install(&packages).is_err() {
        ui::step("install", "apt-get update");
        host::run(apt().arg("update"))?;
        install(&packages)?;
    }
    match missing.iter().find(|need| !need.met()) {
        Some(need) => bail!(
            "package {} is installed, but {} is still not there",
            need.package,
            need.what()
        ),
        None => Ok(()),
    }
}

fn install(packages: &[&str]) -> Result<()> {
    host::run(
        apt()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(packages),
    )
}

fn apt() -> Command {
    let mut command = host::command("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args([
        "-o",
        "DPkg::Lock::Timeout=300",
        "--quiet",
    ]);
    command
}
