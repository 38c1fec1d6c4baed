//! Memory that becomes code: files, which are shared objects and programs run through their loader, and
//! memory that was written.
//!
//! Files fail closed. Written memory has no name and no content to judge by: it is recorded, once for each
//! program that a process runs, or denied altogether (`exec.write_execute`).

use core::hint::black_box;

use aegis_common::{
    event::{op, reason, written},
    path::perm,
    policy::{RULE_DEFAULT, image_flag},
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    conclude::Refusal,
    file,
    guarded::{self, Guarded},
    judge::Decision,
    read::{
        kernel::{File, Vma},
        table,
    },
    subject::Subject,
};

const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;
const VM_EXEC: u64 = 4;

/// A memfd mapped as code is a program without a name: where those may not run, the walk finds that
/// it has no path, and refuses it.
#[inline(always)]
fn decide(subject: &Subject, mapped: File) -> i32 {
    let dentry = mapped.dentry();
    let anonymous = dentry.superblock().is_pseudo();
    if anonymous && subject.blocked == 0 && subject.has(image_flag::ANONYMOUS_EXEC) {
        return 0;
    }
    file::decide(subject, dentry, op::MAP_EXEC, perm::EXEC)
}

/// Written memory becomes code. `how` is a `written::*`.
#[inline(always)]
fn write_execute(subject: &Subject, how: u64) -> i32 {
    let guarded = Guarded {
        op: op::WRITE_EXECUTE,
        reason: reason::WRITE_EXECUTE,
        subject: 0,
        detail: how,
        refusal: Refusal::Access,
        silent: false,
    };
    let decision = if subject.blocked != 0 {
        Decision::refuse(subject.blocked)
    } else if subject.has(image_flag::NO_WRITE_EXECUTE) {
        Decision::refuse(guarded.reason)
    } else if table::first_code_written() {
        Decision::allow(RULE_DEFAULT, reason::DEFAULT, true)
    } else {
        return 0;
    };
    let result = guarded::conclude(subject, &guarded, decision);
    if result == 0 {
        table::note_code_written();
    }
    result
}

/// `int mmap_file(struct file *file, unsigned long reqprot, unsigned long prot, unsigned long flags)`
#[lsm(hook = "mmap_file")]
pub fn mmap_file(context: LsmContext) -> i32 {
    let file = File::new(context.arg(0));
    let protection = context.arg::<u64>(2);
    if protection & PROT_EXEC == 0 {
        return 0;
    }
    let Some(subject) = Subject::current() else { return 0 };
    if !file.is_null() {
        let result = decide(&subject, file);
        if result != 0 {
            return result;
        }
    }
    // A number of its own: the compiler would join it with the pointer, which the verifier forbids.
    if black_box(protection & PROT_WRITE) != 0 { write_execute(&subject, written::WRITABLE) } else { 0 }
}

/// `int file_mprotect(struct vm_area_struct *vma, unsigned long reqprot, unsigned long prot)`: memory
/// that was mapped otherwise and then made executable.
#[lsm(hook = "file_mprotect")]
pub fn file_mprotect(context: LsmContext) -> i32 {
    let protection = context.arg::<u64>(2);
    if protection & PROT_EXEC == 0 {
        return 0;
    }
    let Some(subject) = Subject::current() else { return 0 };
    let vma = Vma::new(context.arg(0));
    let was_code = black_box(vma.flags() & VM_EXEC) != 0;
    let writable = black_box(protection & PROT_WRITE) != 0;
    if was_code && !writable {
        return 0;
    }
    let file = vma.file();
    let how = if writable {
        written::WRITABLE
    } else if file.is_null() {
        written::ANONYMOUS
    } else if vma.has_own_pages() {
        written::CHANGED
    } else {
        0
    };
    if how != 0 {
        let result = write_execute(&subject, how);
        if result != 0 {
            return result;
        }
    }
    if was_code || file.is_null() {
        return 0;
    }
    decide(&subject, file)
}
