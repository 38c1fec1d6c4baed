//! Objects of the kernel that are no files: keys and keyrings, and System V's shared memory, semaphores and
//! queues. Ordinary permissions would let an agent use those of everybody who runs as the same user, which for
//! root is the host. Here it uses what was made in it, and nothing else.
//!
//! Whose an object is, is known by its address. Every object of these kinds passes an allocation hook, whoever
//! makes it: an address that is used again is its new owner's. Objects that are not known are refused.

use aegis_common::event::{op, reason};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    conclude::Refusal,
    guarded::{self, Guarded},
    read::{
        kernel::{self, Task},
        table,
    },
    subject::Subject,
};

#[inline(always)]
fn refuse(subject: &Subject, operation: u8, reason: u8, what: u64, detail: u64) -> i32 {
    guarded::refuse(subject, &Guarded {
        op: operation,
        reason,
        subject: what,
        detail,
        refusal: Refusal::Access,
        silent: false,
    })
}

/// Notes who makes the object at an address.
#[inline(always)]
fn made(subject: Option<Subject>, address: Option<u64>, operation: u8) -> i32 {
    let Some(subject) = subject else {
        forget(address);
        return 0;
    };
    let Some(address) = address else { return refuse(&subject, operation, reason::READ_FAILED, 0, 0) };
    if subject.blocked != 0 {
        return refuse(&subject, operation, reason::GUARD, 0, 0);
    }
    // Where that fails the object is nobody's, and will be refused.
    table::own(address, subject.slot);
    0
}

/// The object at an address is no agent's.
#[inline(always)]
fn forget(address: Option<u64>) {
    if let Some(address) = address {
        table::disown(address);
    }
}

/// Whether the current task may use the object at an address; `names` is what a record says of it.
#[inline(always)]
fn used(address: Option<u64>, operation: u8, names: impl FnOnce(u64) -> (u64, u64)) -> i32 {
    let Some(subject) = Subject::current() else { return 0 };
    let Some(address) = address else { return refuse(&subject, operation, reason::READ_FAILED, 0, 0) };
    if subject.blocked == 0 && table::owner(address) == Some(subject.slot) {
        return 0;
    }
    let (what, detail) = names(address);
    refuse(&subject, operation, reason::OUTSIDE, what, detail)
}

/// `int key_alloc(struct key *key, const struct cred *cred, unsigned long flags)`
#[lsm(hook = "key_alloc")]
pub fn key_alloc(context: LsmContext) -> i32 {
    let key = kernel::first_argument(&context);
    // The kernel looks for keys of its own on a task's behalf, with credentials of its own.
    if Task::current().has_lent_credentials() {
        forget(key);
        return 0;
    }
    match Subject::current() {
        // A key that stands for a request: the kernel runs /sbin/request-key as root to answer it.
        Some(subject) if key.is_none_or(kernel::is_key_request) => refuse(&subject, op::KEY, reason::GUARD, 0, 0),
        subject => made(subject, key, op::KEY),
    }
}

/// `int key_permission(key_ref_t key_ref, const struct cred *cred, enum key_need_perm need_perm)`: the lowest
/// bit of the reference says whether the caller possesses the key.
#[lsm(hook = "key_permission")]
pub fn key_permission(context: LsmContext) -> i32 {
    let key = kernel::first_argument(&context).map(|reference| reference & !1);
    if Task::current().has_lent_credentials() {
        return 0;
    }
    used(key, op::KEY, |key| (kernel::key_serial(key), u64::from(context.arg::<u32>(2))))
}

/// `int shm_alloc_security(struct kern_ipc_perm *perm)`
#[lsm(hook = "shm_alloc_security")]
pub fn shm_alloc_security(context: LsmContext) -> i32 {
    made(Subject::current(), kernel::first_argument(&context), op::IPC)
}

/// `int sem_alloc_security(struct kern_ipc_perm *perm)`
#[lsm(hook = "sem_alloc_security")]
pub fn sem_alloc_security(context: LsmContext) -> i32 {
    made(Subject::current(), kernel::first_argument(&context), op::IPC)
}

/// `int msg_queue_alloc_security(struct kern_ipc_perm *perm)`
#[lsm(hook = "msg_queue_alloc_security")]
pub fn msg_queue_alloc_security(context: LsmContext) -> i32 {
    made(Subject::current(), kernel::first_argument(&context), op::IPC)
}

/// `int ipc_permission(struct kern_ipc_perm *ipcp, short flag)`: finding, attaching, sending, receiving, waiting.
#[lsm(hook = "ipc_permission")]
pub fn ipc_permission(context: LsmContext) -> i32 {
    used(kernel::first_argument(&context), op::IPC, kernel::ipc_names)
}

/// What the owner and root may do without permission to read or write: change, lock and remove. A question about
/// all objects has none.
#[inline(always)]
fn control(context: &LsmContext) -> i32 {
    let object = kernel::first_argument(context);
    if object == Some(0) {
        return 0;
    }
    used(object, op::IPC, kernel::ipc_names)
}

/// `int shm_shmctl(struct kern_ipc_perm *perm, int cmd)`
#[lsm(hook = "shm_shmctl")]
pub fn shm_shmctl(context: LsmContext) -> i32 {
    control(&context)
}

/// `int sem_semctl(struct kern_ipc_perm *perm, int cmd)`
#[lsm(hook = "sem_semctl")]
pub fn sem_semctl(context: LsmContext) -> i32 {
    control(&context)
}

/// `int msg_queue_msgctl(struct kern_ipc_perm *perm, int cmd)`
#[lsm(hook = "msg_queue_msgctl")]
pub fn msg_queue_msgctl(context: LsmContext) -> i32 {
    control(&context)
}
