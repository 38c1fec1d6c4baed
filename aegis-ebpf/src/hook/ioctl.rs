//! Device control. On terminals it can type for somebody else; on files and directories it changes
//! flags and attributes through a descriptor that was opened for reading. Fails closed: a command that is
//! not known to ask only needs what changing the file needs.
//!
//! File systems that copy on write have commands on whole trees: snapshots, streams, searches and deletions
//! go past the names in them, and past every rule that stands in one. No policy allows those.

use aegis_common::{
    event::{op, reason},
    path::perm,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    conclude::Refusal,
    file,
    guarded::{self, Guarded},
    read::kernel::File,
    subject::Subject,
};

const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;
const FIOSETOWN: u32 = 0x8901;
const SIOCSPGRP: u32 = 0x8902;

/// Whether a command on a file or directory only asks, or is decided where the descriptor was opened:
/// cloning and deduplicating need one that is open for writing.
#[inline(always)]
const fn only_asks(command: u32) -> bool {
    const TERMINAL: u32 = 0x54;
    matches!(
        command,
        1 | 2                                             // FIBMAP, FIGETBSZ
            | 0xc020_660b                                 // FS_IOC_FIEMAP
            | 0x8008_6601 | 0x8004_6601                   // FS_IOC_GETFLAGS
            | 0x8008_7601 | 0x8004_7601                   // FS_IOC_GETVERSION
            | 0x801c_581f                                 // FS_IOC_FSGETXATTR
            | 0x8100_9431 | 0x8011_1500 | 0x8081_1501     // FS_IOC_GETFSLABEL, GETFSUUID, GETFSSYSFSPATH
            | 0xc004_6686 | 0xc028_6687                   // FS_IOC_MEASURE_VERITY, READ_VERITY_METADATA
            | 0x4004_9409 | 0x4020_940d | 0xc018_9436     // FICLONE, FICLONERANGE, FIDEDUPERANGE
            | 0xc068_6611 // PROCMAP_QUERY
    ) || command >> 8 & 0xff == TERMINAL
}

/// Whether a command on a file or directory, if it does more than ask, may be one on a whole tree.
#[inline(always)]
const fn on_a_tree(command: u32) -> bool {
    const BTRFS: u32 = 0x94;
    const BCACHEFS: u32 = 0xbc;
    let kind = command >> 8 & 0xff;
    kind == BTRFS || kind == BCACHEFS
}

#[inline(always)]
fn decide(file: File, command: u32) -> i32 {
    let mut guard = match command {
        TIOCSTI | TIOCLINUX => op::TERMINAL_INPUT,
        // A descriptor given to another process as its owner signals that process.
        FIOSETOWN | SIOCSPGRP => op::SIGNAL,
        _ => 0,
    };
    if guard == 0 && only_asks(command) {
        return 0;
    }
    let Some(subject) = Subject::current() else { return 0 };
    let dentry = file.dentry();
    if guard == 0 {
        if subject.blocked == 0 && (dentry.superblock().is_pseudo() || !file.inode().is_stored()) {
            // Devices, sockets and pipes: who may open them may control them.
            return 0;
        }
        if on_a_tree(command) {
            guard = op::IOCTL;
        }
    }
    if guard != 0 {
        let owner = guard == op::SIGNAL;
        return guarded::refuse(&subject, &Guarded {
            op: guard,
            reason: reason::GUARD,
            subject: if owner { 0 } else { u64::from(command) },
            detail: if owner { u64::from(command) } else { 0 },
            refusal: Refusal::Permission,
            silent: false,
        });
    }
    file::decide(&subject, dentry, op::IOCTL, perm::WRITE | perm::NAME)
}

/// `int file_ioctl(struct file *file, unsigned int cmd, unsigned long arg)`
#[lsm(hook = "file_ioctl")]
pub fn file_ioctl(context: LsmContext) -> i32 {
    decide(File::new(context.arg(0)), context.arg(1))
}

/// `int file_ioctl_compat(struct file *file, unsigned int cmd, unsigned long arg)`: the same from
/// 32-bit programs, which have a hook of their own since Linux 6.8.
#[lsm(hook = "file_ioctl_compat")]
pub fn file_ioctl_compat(context: LsmContext) -> i32 {
    decide(File::new(context.arg(0)), context.arg(1))
}
