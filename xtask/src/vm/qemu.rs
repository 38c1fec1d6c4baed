//! The QEMU command line: what the machine is made of.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use super::accel::Accelerator;
use crate::host;

/// Ports that the guest finds by these names; the guest program has the same constants.
pub const PORTS: [&str; 3] = ["aegis.out", "aegis.err", "aegis.status"];
/// Socket of the serial console in the run folder.
pub const CONSOLE: &str = "console";

/// A disk of the machine.
pub struct Disk<'a> {
    /// Name under which the guest finds it.
    pub serial: &'a str,
    /// File of the host.
    pub file: &'a Path,
    /// Writes go to a temporary overlay that lives as long as the machine; otherwise there are none.
    pub throw_away: bool,
}

/// A machine to start.
pub struct Machine<'a> {
    /// Folder with the sockets.
    pub folder: &'a Path,
    /// Kernel image.
    pub kernel: &'a Path,
    /// Initramfs.
    pub initramfs: &'a Path,
    /// Kernel command line.
    pub command_line: &'a str,
    /// Disks.
    pub disks: &'a [Disk<'a>],
    /// How instructions are executed.
    pub accelerator: Accelerator,
    /// Megabytes of memory.
    pub memory: u32,
    /// Processors.
    pub processors: u32,
    /// A reset of the guest starts it again instead of ending the machine.
    pub may_reboot: bool,
}

impl Machine<'_> {
    /// The command that runs it. It dies with the thread that starts it.
    pub fn command(&self) -> Command {
        let mut command = host::command("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        command.arg(
            host::program("qemu-system-x86_64").unwrap_or_else(|| "qemu-system-x86_64".into()),
        );
        command.args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-nic",
            "none",
        ]);
        command.args(["-machine", "pc,usb=off,vmport=off,hpet=off"]);
        command.args(self.accelerator.arguments());
        command.args([
            "-smp",
            &self.processors.to_string(),
            "-m",
            &self.memory.to_string(),
        ]);
        command
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.initramfs);
        command.args(["-append", self.command_line]);
        if !self.may_reboot {
            command.arg("-no-reboot");
        }
        command.args([
            "-chardev",
            &self.socket(CONSOLE),
            "-serial",
            &format!("chardev:{CONSOLE}"),
        ]);
        command.args(["-device", "virtio-serial-pci"]);
        for port in PORTS {
            command.args(["-chardev", &self.socket(port)]);
            command.args([
                "-device",
                &format!("virtserialport,chardev={port},name={port}"),
            ]);
        }
        for disk in self.disks {
            command.arg("-drive").arg(drive(disk));
            let device = format!("virtio-blk-pci,drive={0},serial={0}", disk.serial);
            command.args(["-device", &device]);
        }
        command
    }

    fn socket(&self, name: &str) -> String {
        format!(
            "socket,id={name},path={}",
            escape(&self.folder.join(name).to_string_lossy())
        )
    }
}

fn drive(disk: &Disk<'_>) -> OsString {
    let access = if disk.throw_away {
        "snapshot=on"
    } else {
        "readonly=on"
    };
    let file = escape(&disk.file.to_string_lossy());
    // Nothing on these disks outlives the machine, so flushing them to the host's disk would only cost time.
    format!(
        "if=none,format=raw,cache=unsafe,id={},{access},file={file}",
        disk.serial
    )
    .into()
}

/// QEMU's option syntax doubles commas.
fn escape(path: &str) -> String {
    path.replace(',', ",,")
}
