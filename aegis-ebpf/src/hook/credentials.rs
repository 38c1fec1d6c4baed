//! Where credentials are made: an overlay makes some to act with, from its mounter's.

use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::read::{overlay, table};

/// `int cred_prepare(struct cred *new, const struct cred *old, gfp_t gfp)`. Refuses nothing.
#[lsm(hook = "cred_prepare")]
pub fn cred_prepare(context: LsmContext) -> i32 {
    if table::slot_of(table::current_cgroup()).is_some() {
        overlay::prepared(context.arg(0));
    }
    0
}
