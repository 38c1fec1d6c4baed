//! Names made, removed and changed, where no file is opened.
//!
//! All fail closed. `dentry` is the second argument of every one but `inode_setattr` before 6.2.

use aegis_common::{
    event::{op, reason},
    path::perm,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    conclude::Refusal,
    file,
    guarded::{self, Guarded},
    read::kernel::{Dentry, Path, setattr_dentry},
    subject::Subject,
};

/// Judges making or removing the name `dentry` as the current task.
#[inline(always)]
fn name(dentry: Dentry, operation: u8) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    file::change(&subject, dentry, operation, perm::NAME)
}

/// Judges changing a file that may have no name (a pipe's mode, a memfd's size).
#[inline(always)]
fn change(dentry: Dentry, operation: u8, wanted: u8) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    if subject.blocked == 0 && dentry.superblock().is_pseudo() {
        return 0;
    }
    file::change(&subject, dentry, operation, wanted)
}

/// `int inode_create(struct inode *dir, struct dentry *dentry, umode_t mode)`
#[lsm(hook = "inode_create")]
pub fn inode_create(context: LsmContext) -> i32 {
    name(Dentry::new(context.arg(1)), op::CREATE)
}

/// `int inode_mkdir(struct inode *dir, struct dentry *dentry, umode_t mode)`
#[lsm(hook = "inode_mkdir")]
pub fn inode_mkdir(context: LsmContext) -> i32 {
    name(Dentry::new(context.arg(1)), op::MKDIR)
}

/// `int inode_mknod(struct inode *dir, struct dentry *dentry, umode_t mode, dev_t dev)`: a device
/// node would open the device under a name that the policy allows.
#[lsm(hook = "inode_mknod")]
pub fn inode_mknod(context: LsmContext) -> i32 {
    const S_IFMT: u32 = 0xf000;
    const S_IFCHR: u32 = 0x2000;
    const S_IFBLK: u32 = 0x6000;
    let Some(subject) = Subject::current() else { return 0 };
    let kind = context.arg::<u32>(2) & S_IFMT;
    let device: u32 = context.arg(3);
    // Device 0/0 is the whiteout that overlay filesystems make: it opens nothing.
    if kind == S_IFBLK || (kind == S_IFCHR && device != 0) {
        return guarded::refuse(&subject, &Guarded {
            op: op::DEVICE_NODE,
            reason: reason::GUARD,
            subject: u64::from(device),
            detail: u64::from(kind),
            refusal: Refusal::Permission,
            silent: false,
        });
    }
    file::change(&subject, Dentry::new(context.arg(1)), op::MKNOD, perm::NAME)
}

/// `int inode_symlink(struct inode *dir, struct dentry *dentry, const char *old_name)`
#[lsm(hook = "inode_symlink")]
pub fn inode_symlink(context: LsmContext) -> i32 {
    name(Dentry::new(context.arg(1)), op::SYMLINK)
}

/// `int inode_unlink(struct inode *dir, struct dentry *dentry)`
#[lsm(hook = "inode_unlink")]
pub fn inode_unlink(context: LsmContext) -> i32 {
    name(Dentry::new(context.arg(1)), op::UNLINK)
}

/// `int inode_rmdir(struct inode *dir, struct dentry *dentry)`
#[lsm(hook = "inode_rmdir")]
pub fn inode_rmdir(context: LsmContext) -> i32 {
    name(Dentry::new(context.arg(1)), op::RMDIR)
}

/// `int path_truncate(const struct path *path)`
#[lsm(hook = "path_truncate")]
pub fn path_truncate(context: LsmContext) -> i32 {
    change(Path::new(context.arg(0)).dentry(), op::TRUNCATE, perm::WRITE)
}

/// `int inode_setattr([struct mnt_idmap *idmap,] struct dentry *dentry, struct iattr *attr)`
#[lsm(hook = "inode_setattr")]
pub fn inode_setattr(context: LsmContext) -> i32 {
    change(setattr_dentry(&context), op::SETATTR, perm::NAME)
}

/// `int inode_setxattr(idmap, struct dentry *dentry, const char *name, ...)`
#[lsm(hook = "inode_setxattr")]
pub fn inode_setxattr(context: LsmContext) -> i32 {
    change(Dentry::new(context.arg(1)), op::SETXATTR, perm::NAME)
}

/// `int inode_removexattr(idmap, struct dentry *dentry, const char *name)`
#[lsm(hook = "inode_removexattr")]
pub fn inode_removexattr(context: LsmContext) -> i32 {
    change(Dentry::new(context.arg(1)), op::SETXATTR, perm::NAME)
}

/// `int inode_set_acl(idmap, struct dentry *dentry, const char *acl_name, struct posix_acl *kacl)`: since 6.2 no
/// other hook is asked about access control lists.
#[lsm(hook = "inode_set_acl")]
pub fn inode_set_acl(context: LsmContext) -> i32 {
    change(Dentry::new(context.arg(1)), op::SETXATTR, perm::NAME)
}

/// `int inode_remove_acl(idmap, struct dentry *dentry, const char *acl_name)`
#[lsm(hook = "inode_remove_acl")]
pub fn inode_remove_acl(context: LsmContext) -> i32 {
    change(Dentry::new(context.arg(1)), op::SETXATTR, perm::NAME)
}

/// `int inode_file_setattr(struct dentry *dentry, struct file_kattr *fa)`: flags set by `file_setattr`, which is no
/// ioctl.
#[lsm(hook = "inode_file_setattr")]
pub fn inode_file_setattr(context: LsmContext) -> i32 {
    change(Dentry::new(context.arg(0)), op::SETATTR, perm::NAME)
}
