//! Files mapped as code: shared objects, and programs run through their loader.
//!
//! Both fail closed. Anonymous memory (a JIT's) has no file and is not judged here.

use aegis_common::{event::op, path::perm, policy::image_flag};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    file,
    read::kernel::{File, Vma},
    subject::Subject,
};

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

/// `int mmap_file(struct file *file, unsigned long reqprot, unsigned long prot, unsigned long flags)`
#[lsm(hook = "mmap_file")]
pub fn mmap_file(context: LsmContext) -> i32 {
    let file = File::new(context.arg(0));
    if file.is_null() || context.arg::<u64>(2) & PROT_EXEC == 0 {
        return 0;
    }
    let Some(subject) = Subject::current() else { return 0 };
    decide(&subject, file)
}

/// `int file_mprotect(struct vm_area_struct *vma, unsigned long reqprot, unsigned long prot)`: a
/// file mapped for reading and then made executable.
#[lsm(hook = "file_mprotect")]
pub fn file_mprotect(context: LsmContext) -> i32 {
    if context.arg::<u64>(2) & PROT_EXEC == 0 {
        return 0;
    }
    let Some(subject) = Subject::current() else { return 0 };
    let vma = Vma::new(context.arg(0));
    if vma.flags() & VM_EXEC != 0 {
        return 0;
    }
    let file = vma.file();
    if file.is_null() {
        return 0;
    }
    decide(&subject, file)
}
