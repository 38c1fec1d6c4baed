//! Where a file gets a name in memory: what is remembered about it ends.

use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::read::memory;

/// `void d_instantiate(struct dentry *dentry, struct inode *inode)`: for every task of the host, before the
/// dentry leads to the inode. Can't refuse.
#[lsm(hook = "d_instantiate")]
pub fn d_instantiate(context: LsmContext) -> i32 {
    memory::forget(context.arg(1));
    0
}
