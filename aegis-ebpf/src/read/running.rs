//! Which program a process runs, as far as rules about addresses are for one.
//!
//! Noted when a program begins, with the leader of its threads; a child runs what its parent runs. Without a note a
//! process is one of the others: it has what is for all programs, and nothing more.

use core::{ffi::c_void, ptr};

use aegis_common::{net::view, policy::image_flag};
use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE, bpf_map_type, task_struct},
    helpers::generated::{bpf_task_storage_delete, bpf_task_storage_get},
};

use super::{kernel::Task, table};
use crate::{maps::RUNNING, subject::Subject};

/// Storage of tasks, as a map is declared in BTF: the loader reads the types of the fields.
#[repr(C)]
pub struct TaskStorage<T> {
    r#type: *const [i32; bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: the fields are never dereferenced; the kernel synchronises the map that they stand for.
unsafe impl<T> Sync for TaskStorage<T> {}

impl<T> TaskStorage<T> {
    /// A declaration.
    pub const fn new() -> Self {
        Self { r#type: ptr::null(), key: ptr::null(), value: ptr::null(), max_entries: ptr::null(), map_flags: ptr::null() }
    }
}

/// What is noted.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Running {
    /// Programs that the process had begun by then: a note of an earlier one says nothing.
    execs: u64,
    /// [`Image::programs`](aegis_common::policy::Image::programs) of the image that it was looked up in.
    programs: u32,
    /// [`view`] of its rules.
    view: u32,
}

#[inline(always)]
fn map() -> *mut c_void {
    (&raw const RUNNING).cast_mut().cast()
}

#[inline(always)]
fn task(leader: Task) -> *mut task_struct {
    leader.as_ptr().cast_mut().cast()
}

/// Notes what the leader of some threads runs. False where there is no memory for it: then it is one of the others.
#[inline(always)]
fn note(leader: Task, running: Running) -> bool {
    let mut running = running;
    // SAFETY: the helper copies the value where it makes one; what it answers lives until the program ends.
    unsafe {
        let value = (&raw mut running).cast::<c_void>();
        let known = bpf_task_storage_get(map(), task(leader), value, BPF_LOCAL_STORAGE_GET_F_CREATE.into());
        known.cast::<Running>().as_mut().map(|known| *known = running).is_some()
    }
}

/// A program begins: nothing is known of it yet.
#[inline(always)]
pub fn forget() {
    // SAFETY: the current task is alive; there may be no value.
    unsafe { bpf_task_storage_delete(map(), task(Task::current().leader())) };
}

/// Notes the view of the program that the current process runs from now on. False where it can't.
#[inline(always)]
pub fn begin(subject: &Subject, view: u32) -> bool {
    let leader = Task::current().leader();
    note(leader, Running { execs: leader.exec_count(), programs: meaning(subject.image), view })
}

/// A child runs what the current process runs. False where that can't be noted.
#[inline(always)]
pub fn inherit(child: Task) -> bool {
    of(Task::current().leader()).is_none_or(|running| note(child, running))
}

/// What the views of an image mean.
#[inline(always)]
pub fn meaning(image: u32) -> u32 {
    table::image(image).map_or(0, |image| image.programs)
}

#[inline(always)]
fn of(leader: Task) -> Option<Running> {
    // SAFETY: as for `note`.
    unsafe { bpf_task_storage_get(map(), task(leader), ptr::null_mut(), 0).cast::<Running>().as_ref().copied() }
}

/// The image of an agent as the program that asks sees its rules: the number in their keys.
#[inline(always)]
pub fn image(subject: &Subject) -> u32 {
    if !subject.has(image_flag::PROGRAMS) {
        return subject.image;
    }
    let leader = Task::current().leader();
    match of(leader) {
        Some(running) if running.programs == meaning(subject.image) && running.execs == leader.exec_count() => {
            view::of(subject.image, running.view)
        }
        _ => subject.image,
    }
}
