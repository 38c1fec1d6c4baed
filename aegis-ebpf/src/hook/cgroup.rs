//! Cgroups: a child of a governed cgroup is governed before anything can run in it.

use aegis_common::event::{CgroupBody, kind, reason};
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{
    conclude::{self, Refusal},
    judge::Decision,
    read::{kernel::Cgroup, scratch::Claim, table},
    subject::Subject,
};

/// `void cgroup_mkdir(struct cgroup *cgrp, const char *path)`: inherits. Where the map is full, the
/// agent's kill flag is raised and the failure counted.
#[btf_tracepoint(function = "cgroup_mkdir")]
pub fn cgroup_mkdir(context: BtfTracePointContext) -> i32 {
    let cgroup = Cgroup::new(context.arg(0));
    let (Some(id), Some(parent)) = (cgroup.id(), cgroup.parent_id()) else { return 0 };
    let Some(slot) = table::slot_of(parent) else { return 0 };
    table::govern(id, slot);
    let Some(mut claim) = Claim::take() else {
        table::count(aegis_common::counter::Counter::LostGuard);
        return 0;
    };
    claim.set_body(CgroupBody { id, parent });
    let subject = Subject::of_slot(parent, slot);
    conclude::record(
        &mut claim,
        &subject,
        &Decision::allow(0, reason::DEFAULT, true),
        (kind::CGROUP, 0),
        Refusal::Permission,
        0,
        size_of::<CgroupBody>(),
        0,
    );
    claim.release();
    0
}

/// `void cgroup_release(struct cgroup *cgrp, const char *path)`: nothing runs in it any more.
#[btf_tracepoint(function = "cgroup_release")]
pub fn cgroup_release(context: BtfTracePointContext) -> i32 {
    if let Some(id) = Cgroup::new(context.arg(0)).id() {
        table::forget(id);
    }
    0
}
