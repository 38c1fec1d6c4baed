//! System calls that the policy bans. seccomp refuses them at the entry, by a filter that `aegis run`
//! installs; here the refusal is recorded, and what a banned call does is refused where other calls
//! can do the same.

use aegis_common::{
    event::{op, reason},
    policy::{SyscallKey, image_flag},
};
use aya_ebpf::{
    macros::{fentry, lsm},
    programs::{FEntryContext, LsmContext},
};

use crate::{
    conclude::Refusal,
    guarded::{self, Guarded},
    read::{kernel::Task, table},
    subject::Subject,
};

/// `void audit_seccomp(unsigned long syscall, long signr, int code)`: called for what a filter with
/// `SECCOMP_FILTER_FLAG_LOG` refuses. Records and can't refuse. A filter of the agent's own, over a
/// call that the policy does not ban, is its own affair.
#[fentry(function = "audit_seccomp")]
pub fn audit_seccomp(context: FEntryContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    let call: u64 = context.arg(0);
    let entry = if Task::current().in_compat_call() { SyscallKey::COMPAT } else { 0 };
    let number = call as u32 & !SyscallKey::COMPAT;
    let key = SyscallKey { image: subject.image, number: number | entry };
    let Some(rule) = table::syscall_rule(&key) else { return 0 };
    // seccomp has refused it: what is answered here is not asked.
    guarded::refuse_by(
        &subject,
        &Guarded {
            op: op::SYSCALL,
            reason: reason::RULE,
            subject: u64::from(number),
            detail: u64::from(entry != 0),
            refusal: Refusal::Permission,
            silent: false,
        },
        rule,
    );
    0
}

/// `int userns_create(const struct cred *cred)`: a user namespace is where capabilities grow, and clone
/// makes one as unshare does, with flags that seccomp can't read. Fails closed.
#[lsm(hook = "userns_create")]
pub fn userns_create(_context: LsmContext) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    if subject.blocked == 0 && !subject.has(image_flag::NO_USER_NAMESPACE) {
        return 0;
    }
    guarded::refuse(&subject, &Guarded {
        op: op::USER_NAMESPACE,
        reason: reason::GUARD,
        subject: 0,
        detail: 0,
        refusal: Refusal::Permission,
        silent: false,
    })
}
