//! Which accelerator the machine runs on: KVM only after a guest has really booted with it.
//!
//! On hosts that are guests themselves `/dev/kvm` may open and the guest then hang; only a trial tells. Its
//! outcome holds for one boot of the host and one QEMU.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::qemu::Machine;
use super::run::{self, Trial};
use crate::setup::Kernel;
use crate::{host, ui};

/// How long the trial guest may take; with a working KVM it takes two seconds.
const TRIAL: Duration = Duration::from_secs(20);
/// Forces one: `kvm` or `tcg`.
const OVERRIDE: &str = "AEGIS_VM_ACCEL";

/// How the guest's instructions are executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// By the processor.
    Kvm,
    /// Translated, the guest's processors taking turns.
    Translated,
    /// Translated, with guest time equal to the instructions executed.
    Counted,
}

impl Accelerator {
    /// QEMU's options for it.
    pub fn arguments(self) -> Vec<&'static str> {
        match self {
            Self::Kvm => vec!["-accel", "kvm", "-cpu", "host", "-rtc", "base=utc"],
            // One host thread for all processors: with a thread each, QEMU 7.2 can run stale translations of code
            // that the kernel has just patched. A few hundred flips of a static key then end in "Oops: int3", and
            // attaching BPF programs patches code all the time.
            // Five-level page tables only make translated memory accesses slower.
            Self::Translated => vec![
                "-accel",
                "tcg,thread=single",
                "-cpu",
                "max,la57=off",
                "-rtc",
                "base=utc",
            ],
            Self::Counted => vec![
                "-accel",
                "tcg,thread=single",
                "-cpu",
                "max,la57=off",
                "-icount",
                "shift=0,sleep=off",
                "-rtc",
                "base=utc,clock=vm",
            ],
        }
    }

    /// A word for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Translated => "tcg",
            Self::Counted => "tcg, counting instructions",
        }
    }
}

/// The accelerator for this host.
pub fn choose(counted: bool, kernel: &Kernel, initramfs: &Path) -> Result<Accelerator> {
    if counted {
        return Ok(Accelerator::Counted);
    }
    match std::env::var(OVERRIDE).as_deref() {
        Ok("kvm") => return Ok(Accelerator::Kvm),
        Ok("tcg") => return Ok(Accelerator::Translated),
        Ok("") | Err(_) => {}
        Ok(other) => bail!("{OVERRIDE}={other}: expected kvm or tcg"),
    }
    let may_open = fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_ok();
    if may_open && works(kernel, initramfs)? {
        Ok(Accelerator::Kvm)
    } else {
        Ok(Accelerator::Translated)
    }
}

fn works(kernel: &Kernel, initramfs: &Path) -> Result<bool> {
    let qemu = host::output(host::command("qemu-system-x86_64").arg("--version"))?;
    let boot =
        fs::read("/proc/sys/kernel/random/boot_id").context("read the boot id of this host")?;
    let key = host::hash([qemu, boot]);
    let folder = host::cache()?.join("kvm");
    let note = folder.join(host::short(&key));
    if let Ok(text) = fs::read_to_string(&note) {
        return Ok(text == "works");
    }
    ui::step(
        "kvm",
        "/dev/kvm opens; booting a trial guest to see whether it works",
    );
    let works = boots(kernel, initramfs)?;
    ui::step(
        "kvm",
        if works {
            "works"
        } else {
            "a guest hangs; using emulation"
        },
    );
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    fs::write(&note, if works { "works" } else { "hangs" })
        .with_context(|| format!("write {}", note.display()))?;
    Ok(works)
}

fn boots(kernel: &Kernel, initramfs: &Path) -> Result<bool> {
    let folder = run::Folder::new()?;
    let machine = Machine {
        folder: folder.path(),
        kernel: &kernel.image(),
        initramfs,
        command_line: "console=ttyS0 quiet panic=-1 aegis.mode=probe",
        disks: &[],
        accelerator: Accelerator::Kvm,
        memory: 1024,
        processors: 2,
        may_reboot: false,
    };
    Ok(run::trial(&machine, TRIAL)? == Trial::Booted)
}
