//! Opening files, and receiving open ones.

use aegis_common::{
    event::{op, reason},
    path::perm,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    conclude::Refusal,
    file,
    guarded::{self, Guarded},
    read::{
        kernel::{File, socket_cgroup_at},
        table,
    },
    subject::Subject,
};

/// `__FMODE_EXEC` in `f_flags`: opened by `execve` or `uselib`.
const FMODE_EXEC: u32 = 0x20;
/// Magic number of `sockfs`.
const SOCKFS_MAGIC: u64 = 0x534f_434b;

/// `int file_open(struct file *file)`: fails closed.
#[lsm(hook = "file_open")]
pub fn file_open(context: LsmContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    let file = File::new(context.arg(0));
    if subject.blocked == 0 && file.dentry().superblock().is_pseudo() {
        // A program without a name is for bprm_check_security, which sees every program. A pipe, socket
        // or memfd reached through /proc/self/fd is what the task holds already.
        return 0;
    }
    let (operation, wanted) = if file.flags() & FMODE_EXEC != 0 {
        (op::EXEC, perm::EXEC)
    } else {
        opened_for(file::wanted_by_mode(file.mode()))
    };
    file::open(&subject, file, operation, wanted)
}

/// The operation that opening with an access is, and what it wants. Access mode 3 opens for ioctl alone:
/// no content, but device control, so as for both. Without a branch: the verifier would follow the
/// decision once for each way to it.
#[inline(always)]
const fn opened_for(access: u8) -> (u8, u8) {
    const _: () = assert!(op::OPEN_READ == perm::READ && op::OPEN_WRITE == perm::WRITE);
    const _: () = assert!(op::OPEN_READ_WRITE == perm::READ | perm::WRITE && op::OPEN_NONE == 4);
    let neither = ((access + 3) >> 2) ^ 1;
    (access | neither << 2, access | neither | neither << 1)
}

/// `int file_receive(struct file *file)`: a descriptor from another process is judged as if it were
/// opened here. Fails closed.
#[lsm(hook = "file_receive")]
pub fn file_receive(context: LsmContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    let file = File::new(context.arg(0));
    let superblock = file.dentry().superblock();
    if subject.blocked == 0 && superblock.is_pseudo() {
        if superblock.magic() != SOCKFS_MAGIC {
            return 0;
        }
        // A socket made by somebody else may be connected to anywhere.
        let own = socket_cgroup_at(file.private_data())
            .and_then(table::slot_of)
            .is_some_and(|slot| slot == subject.slot);
        if own {
            return 0;
        }
        return guarded::refuse(&subject, &Guarded {
            op: op::RECEIVE,
            reason: reason::OUTSIDE,
            subject: 0,
            detail: 0,
            refusal: Refusal::Access,
            silent: false,
        });
    }
    let wanted = file::wanted_by_mode(file.mode());
    file::decide(&subject, file.dentry(), op::RECEIVE, wanted)
}
