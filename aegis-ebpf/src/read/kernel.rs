//! Kernel structs as the hooks see them: one type a struct, one method a member.
//!
//! A value of these types is a pointer that the verifier knows by its BTF type; a method loads one
//! member. [`Inode`] is an address that was read by hand, and is only ever probed.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    bindings::{file, inode, task_struct},
    helpers::generated::{
        bpf_get_current_task_btf, bpf_ima_file_hash, bpf_ktime_get_boot_ns, bpf_probe_read_kernel, bpf_probe_read_user,
    },
};

use super::{hidden::HiddenDentry, load, offset, probe, scratch::Claim};

/// `sb->s_flags`: a filesystem that can't be mounted (pipes, sockets, memfd, anonymous inodes).
const SB_NOUSER: u64 = 1 << 31;
/// Magic number of overlay filesystems.
pub const OVERLAYFS_SUPER_MAGIC: u64 = 0x794c_7630;
/// `HASH_ALGO_SHA256` of the kernel's list of digests.
const HASH_ALGO_SHA256: i64 = 4;

macro_rules! pointer {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        #[repr(transparent)]
        pub struct $name(*const u8);

        impl $name {
            /// From a hook's argument of this type.
            #[inline(always)]
            #[allow(dead_code, reason = "not every struct is an argument of a hook")]
            pub const fn new(pointer: *const u8) -> Self {
                Self(pointer)
            }

            /// Whether there is none.
            #[inline(always)]
            #[allow(dead_code, reason = "not every struct is optional somewhere")]
            pub const fn is_null(self) -> bool {
                self.0.is_null()
            }

            /// The pointer.
            #[inline(always)]
            #[allow(dead_code, reason = "not every struct is handed to a helper")]
            pub const fn as_ptr(self) -> *const u8 {
                self.0
            }
        }
    };
}

pointer!(/** `struct file` */ File);
pointer!(/** `struct path` */ Path);
pointer!(/** `struct dentry` */ Dentry);
pointer!(/** `struct super_block` */ SuperBlock);
pointer!(/** `struct task_struct` */ Task);
pointer!(/** `struct linux_binprm` */ Binprm);
pointer!(/** `struct vm_area_struct` */ Vma);
pointer!(/** `struct socket` */ Socket);
pointer!(/** `struct sock` */ Sock);
pointer!(/** `struct unix_sock` */ UnixSock);
pointer!(/** `struct cgroup` */ Cgroup);
pointer!(/** `struct msghdr` */ Message);

// SAFETY (all methods below): the pointer is of the struct that the offset belongs to; the verifier
// refuses the program otherwise.
macro_rules! member {
    ($self:ident . $field:ident) => {
        // SAFETY: see above: type and offset belong together, and the verifier checks it.
        unsafe { load($self.0, offset!($field)) }
    };
}

// Behind the macros that it uses.
mod socket;

pub use socket::{Address, socket_cgroup_at};

impl File {
    /// Its name.
    #[inline(always)]
    pub fn dentry(self) -> Dentry {
        Dentry(member!(self.file_dentry))
    }
    /// Whether it was opened by a mount that is in no namespace: such mounts are made by the kernel for itself,
    /// and no path of a task leads through one.
    #[inline(always)]
    pub fn is_internal(self) -> bool {
        /// `ERR_PTR(-EINVAL)`.
        const MNT_NS_INTERNAL: u64 = -22i64 as u64;
        let Some(mount) = probe(self.0 as u64, offset!(file_mount)) else { return false };
        probe(mount, offset!(mount_ns).wrapping_sub(offset!(mount_mnt))) == Some(MNT_NS_INTERNAL)
    }
    /// Its inode.
    #[inline(always)]
    pub fn inode(self) -> Inode {
        Inode(probe(self.0 as u64, offset!(file_inode)).unwrap_or(NOWHERE))
    }
    /// Its inode, to hand to a helper: never loaded from.
    #[inline(always)]
    pub fn inode_pointer(self) -> *mut inode {
        member!(self.file_inode)
    }
    /// `O_*` flags.
    #[inline(always)]
    pub fn flags(self) -> u32 {
        member!(self.file_flags)
    }
    /// `FMODE_*` bits.
    #[inline(always)]
    pub fn mode(self) -> u32 {
        member!(self.file_mode)
    }
    /// Address of its private data.
    #[inline(always)]
    pub fn private_data(self) -> u64 {
        member!(self.file_private)
    }
    /// SHA-256 of its content; false where it can't be had. Sleepable hooks only.
    #[inline(always)]
    pub fn sha256(self, to: &mut [u8; 32]) -> bool {
        // SAFETY: the helper writes at most 32 bytes.
        let algorithm = unsafe {
            bpf_ima_file_hash(self.0.cast_mut().cast::<file>(), to.as_mut_ptr().cast(), 32)
        };
        algorithm == HASH_ALGO_SHA256
    }
}

impl Path {
    /// Its name.
    #[inline(always)]
    pub fn dentry(self) -> Dentry {
        Dentry(member!(self.path_dentry))
    }
}

impl Dentry {
    /// The directory it stands in; itself at the root.
    #[inline(always)]
    pub fn parent(self) -> Self {
        Self(member!(self.dentry_parent))
    }
    /// Address of its name.
    #[inline(always)]
    pub fn name(self) -> u64 {
        member!(self.dentry_name)
    }
    /// Length of its name.
    #[inline(always)]
    pub fn name_len(self) -> u32 {
        member!(self.dentry_name_len)
    }
    /// Its inode; none when the name does not exist.
    #[inline(always)]
    pub fn inode(self) -> Inode {
        Inode(probe(self.0 as u64, offset!(dentry_inode)).unwrap_or(NOWHERE))
    }
    /// Whether it is a name of this inode: in layered filesystems a file's inode is not its dentry's.
    #[inline(always)]
    pub fn is_of(self, inode: *const inode) -> bool {
        let own: *const inode = member!(self.dentry_inode);
        own == inode
    }
    /// Its filesystem.
    #[inline(always)]
    pub fn superblock(self) -> SuperBlock {
        SuperBlock(member!(self.dentry_sb))
    }
    /// Counter that a rename raises twice; odd while one is under way.
    #[inline(always)]
    pub fn sequence(self) -> u32 {
        member!(self.dentry_seq)
    }
    /// Whether both are the same.
    #[inline(always)]
    pub fn is(self, other: Self) -> bool {
        self.0 == other.0
    }
}

/// `struct inode`, by address. Never loaded from directly: the verifiers of Linux 6.3 to 6.15 hold
/// that a dentry always has one, drop the check for null as dead code, and a name that does not exist
/// yet would then fault in the kernel. What can't be read is answered as the stricter case.
#[derive(Clone, Copy)]
pub struct Inode(u64);

/// Nothing can be read there: what is asked of an inode that could not be found out is not known, so that its
/// callers fail closed.
const NOWHERE: u64 = 8;

impl Inode {
    /// Whether there is none.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
    /// Its number; 0 when there is none.
    #[inline(always)]
    pub fn number(self) -> u64 {
        if self.is_none() { 0 } else { probe(self.0, offset!(inode_ino)).unwrap_or(0) }
    }
    /// How many names it has; `None` when that can't be read.
    #[inline(always)]
    pub fn links(self) -> Option<u32> {
        probe(self.0, offset!(inode_nlink))
    }
    /// Type and permissions; none of either when there is no inode.
    #[inline(always)]
    fn mode(self) -> Option<u16> {
        if self.is_none() { Some(0) } else { probe(self.0, offset!(inode_mode)) }
    }
    /// One of its names: the one that it has, where it has no other.
    #[inline(always)]
    pub fn some_name(self) -> HiddenDentry {
        let place: u64 = probe(self.0, offset!(inode_names)).unwrap_or(0);
        HiddenDentry::at(place.checked_sub(u64::from(super::facts().layer_alias)).unwrap_or(NOWHERE))
    }
    /// Whether the kernel keeps it from the security modules.
    #[inline(always)]
    pub fn is_private(self) -> bool {
        const S_PRIVATE: u32 = 1 << 9;
        probe::<u32>(self.0, offset!(inode_flags)).is_none_or(|flags| flags & S_PRIVATE != 0)
    }
    /// Whether it is a directory.
    #[inline(always)]
    pub fn is_directory(self) -> bool {
        self.mode().is_none_or(|mode| mode & 0xf000 == 0x4000)
    }
    /// Whether it is a regular file or a directory; also when that can't be read.
    #[inline(always)]
    pub fn is_stored(self) -> bool {
        self.mode().is_none_or(|mode| mode & 0xf000 == 0x8000 || mode & 0xf000 == 0x4000)
    }
    /// Whether it is a symbolic link.
    #[inline(always)]
    pub fn is_symlink(self) -> bool {
        self.mode().is_none_or(|mode| mode & 0xf000 == 0xa000)
    }
}

impl SuperBlock {
    /// `s_dev`.
    #[inline(always)]
    pub fn dev(self) -> u32 {
        member!(self.sb_dev)
    }
    /// Magic number.
    #[inline(always)]
    pub fn magic(self) -> u64 {
        member!(self.sb_magic)
    }
    /// Whether it is an overlay.
    #[inline(always)]
    pub fn is_overlay(self) -> bool {
        self.magic() == OVERLAYFS_SUPER_MAGIC
    }
    /// Its address.
    #[inline(always)]
    pub fn address(self) -> u64 {
        self.0 as u64
    }
    /// Whether it is a cgroup hierarchy, of either version.
    #[inline(always)]
    pub fn is_cgroup(self) -> bool {
        const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;
        const CGROUP_SUPER_MAGIC: u64 = 0x0027_e0eb;
        let magic = self.magic();
        magic == CGROUP2_SUPER_MAGIC || magic == CGROUP_SUPER_MAGIC
    }
    /// Whether it can't be mounted: its files have no path.
    #[inline(always)]
    pub fn is_pseudo(self) -> bool {
        let flags: u64 = member!(self.sb_flags);
        flags & SB_NOUSER != 0
    }
    /// Its root.
    #[inline(always)]
    pub fn root(self) -> Dentry {
        Dentry(member!(self.sb_root))
    }
}

impl Task {
    /// The current task.
    #[inline(always)]
    pub fn current() -> Self {
        // SAFETY: the helper has no arguments.
        Self(unsafe { bpf_get_current_task_btf() }.cast_const().cast::<task_struct>().cast())
    }
    /// Whether it acts with credentials that are not its own: the kernel has lent them to it for a time.
    #[inline(always)]
    pub fn has_lent_credentials(self) -> bool {
        let (own, used): (*const u8, *const u8) = (member!(self.task_real_cred), member!(self.task_cred));
        own != used
    }
    /// Address of the credentials that it acts with.
    #[inline(always)]
    pub fn credentials(self) -> Option<u64> {
        probe(self.0 as u64, offset!(task_cred))
    }
    /// Address of the superblock that its look-up of a path has reached; `None` where it looks none up.
    #[inline(always)]
    pub fn reached(self) -> Option<u64> {
        let walk: u64 = probe(self.0 as u64, offset!(task_nameidata))?;
        let dentry: u64 = probe(walk, offset!(nameidata_dentry))?;
        probe(dentry, offset!(dentry_sb))
    }
    /// Process id in the initial namespace.
    #[inline(always)]
    pub fn tgid(self) -> u32 {
        member!(self.task_tgid)
    }
    /// Thread id in the initial namespace.
    #[inline(always)]
    pub fn tid(self) -> u32 {
        member!(self.task_pid)
    }
    /// Parent.
    #[inline(always)]
    pub fn parent(self) -> Self {
        Self(member!(self.task_parent))
    }
    /// Leader of the thread group.
    #[inline(always)]
    pub fn leader(self) -> Self {
        Self(member!(self.task_leader))
    }
    /// Start, nanoseconds since boot.
    #[inline(always)]
    pub fn start(self) -> u64 {
        member!(self.task_start)
    }
    /// Counter of programs begun, its own and inherited.
    #[inline(always)]
    pub fn exec_count(self) -> u64 {
        member!(self.task_exec)
    }
    /// Exit status as `wait` encodes it.
    #[inline(always)]
    pub fn exit_code(self) -> u32 {
        member!(self.task_exit_code)
    }
    /// Whether it is in a call that came through the 32-bit entry.
    #[inline(always)]
    pub fn in_compat_call(self) -> bool {
        const TS_COMPAT: u32 = 2;
        let status: u32 = member!(self.task_entry);
        status & TS_COMPAT != 0
    }
    /// Threads of the process still alive.
    #[inline(always)]
    pub fn live_threads(self) -> Option<u32> {
        let signal: u64 = member!(self.task_signal);
        probe(signal, offset!(signal_live))
    }
    /// Cgroup of another task.
    #[inline(always)]
    pub fn cgroup_id(self) -> Option<u64> {
        let set: u64 = member!(self.task_cgroups);
        let cgroup: u64 = probe(set, offset!(css_set_cgroup))?;
        cgroup_id_at(cgroup)
    }
    /// Where its environment begins and ends.
    #[inline(always)]
    pub fn environment(self) -> Option<(u64, u64)> {
        let mm: u64 = member!(self.task_mm);
        Some((probe(mm, offset!(mm_env_start))?, probe(mm, offset!(mm_env_end))?))
    }
    /// Copies the argument area into the record's bytes behind a path of `path` bytes; how many, and
    /// whether they were cut. `None` when they can't be read.
    #[inline(always)]
    pub fn arguments(self, claim: &mut Claim, path: u32) -> Option<(u32, bool)> {
        const CAP: u64 = aegis_common::limits::MAX_ARGV as u64 - 1;
        let mm: u64 = member!(self.task_mm);
        if mm == 0 {
            return None;
        }
        let start: u64 = probe(mm, offset!(mm_arg_start))?;
        let end: u64 = probe(mm, offset!(mm_arg_end))?;
        let all = end.checked_sub(start)?;
        let cut = all > CAP;
        // The mask tells the verifier what the comparison told us.
        let length = core::hint::black_box(if cut { CAP } else { all }) & CAP;
        let behind = path as usize & (aegis_common::limits::MAX_PATH - 1);
        // SAFETY: the record has room for two paths, and `length` is at most CAP, less than one.
        let result = unsafe {
            let to = claim.bytes().add(behind);
            bpf_probe_read_user(to.cast(), length as u32, start as *const c_void)
        };
        (result == 0).then_some((length as u32, cut))
    }
}

/// Id of the cgroup at an address.
#[inline(always)]
fn cgroup_id_at(cgroup: u64) -> Option<u64> {
    let node: u64 = probe(cgroup, offset!(cgroup_kn))?;
    probe(node, offset!(kernfs_id))
}

impl Cgroup {
    /// Its id.
    #[inline(always)]
    pub fn id(self) -> Option<u64> {
        let node: *const u8 = member!(self.cgroup_kn);
        // SAFETY: type and offset belong together.
        let id: u64 = unsafe { load(node, offset!(kernfs_id)) };
        // No cgroup has this one: it could not be read.
        (id != 0).then_some(id)
    }
    /// Id of its parent; `None` for a root.
    #[inline(always)]
    pub fn parent_id(self) -> Option<u64> {
        let level: u32 = member!(self.cgroup_level);
        if level == 0 {
            return None;
        }
        let slot = offset!(cgroup_ancestors).wrapping_add((level as usize - 1).wrapping_mul(8));
        cgroup_id_at(probe(self.0 as u64, slot)?)
    }
}

impl Binprm {
    /// The file to run.
    #[inline(always)]
    pub fn file(self) -> File {
        File(member!(self.bprm_file))
    }
    /// Where its arguments are to be.
    #[inline(always)]
    pub fn strings(self) -> Strings {
        Strings {
            memory: member!(self.bprm_mm),
            start: member!(self.bprm_top),
            end: member!(self.bprm_exec),
            count: member!(self.bprm_argc),
        }
    }
}

/// The strings of a program that has not begun, in its own address space: `count` arguments from
/// `start` on, then the environment, up to `end`, where the name of the file is.
#[derive(Clone, Copy)]
pub struct Strings {
    /// Address of its `mm_struct`.
    memory: u64,
    /// Where the first argument begins.
    pub start: u64,
    /// Where the environment ends.
    pub end: u64,
    /// How many arguments there are.
    pub count: u32,
}

impl Strings {
    /// Address of the page table.
    #[inline(always)]
    pub fn page_table(self) -> Option<u64> {
        probe(self.memory, offset!(mm_pgd))
    }
}

impl Vma {
    /// The mapped file; null for anonymous memory.
    #[inline(always)]
    pub fn file(self) -> File {
        File(member!(self.vma_file))
    }
    /// Whether it has pages of its own, which for a file are those that were written.
    #[inline(always)]
    pub fn has_own_pages(self) -> bool {
        let anon: u64 = member!(self.vma_anon);
        anon != 0
    }
    /// `VM_*` flags.
    #[inline(always)]
    pub fn flags(self) -> u64 {
        member!(self.vma_flags)
    }
}

/// First eight bytes of a `struct qstr`'s name.
#[inline(always)]
pub fn qstr_head(qstr: u64) -> Option<u64> {
    let name: u64 = probe(qstr, offset!(qstr_name))?;
    probe(name, 0)
}

/// A hook's first argument, as a number: the verifier would not let it be reckoned with. `None` where it can't be
/// read.
#[inline(always)]
pub fn first_argument(context: &impl EbpfContext) -> Option<u64> {
    probe(context.as_ptr() as u64, 0)
}

/// The type that `perf_event_open` is asked about; `None` where it can't be read.
#[inline(always)]
pub fn perf_type(context: &impl EbpfContext) -> Option<u32> {
    // Not by the context itself: the verifier knows no second argument on kernels that have one.
    probe(context.as_ptr() as u64, if super::facts().perf_type_second == 1 { 8 } else { 0 })
}

/// Serial number of the key at an address; 0 where it can't be read.
#[inline(always)]
pub fn key_serial(key: u64) -> u64 {
    probe::<u32>(key, offset!(key_serial)).unwrap_or(0).into()
}

/// Whether the key at an address stands for a request to make another one; also when that can't be read.
#[inline(always)]
pub fn is_key_request(key: u64) -> bool {
    const REQUEST: u64 = u64::from_le_bytes(*b".request");
    let kind: Option<u64> = probe(key, offset!(key_type));
    let name: Option<u64> = kind.and_then(|kind| probe(kind, offset!(key_type_name)));
    name.and_then(|name| probe::<u64>(name, 0)).is_none_or(|head| head == REQUEST)
}

/// Id and key of the System V object at an address; 0 where they can't be read.
#[inline(always)]
pub fn ipc_names(object: u64) -> (u64, u64) {
    let number = |offset| u64::from(probe::<u32>(object, offset).unwrap_or(0));
    (number(offset!(ipc_id)), number(offset!(ipc_key)))
}

/// The dentry that `inode_setattr` is about: its first argument before Linux 6.2, its second since.
#[inline(always)]
pub fn setattr_dentry(context: &impl EbpfContext) -> Dentry {
    let arguments = context.as_ptr().cast_const().cast::<u8>();
    // SAFETY: a hook's context is an array of its arguments. Both are read, then one selected: the
    // verifier refuses an offset into the context that it does not know.
    let (first, second): (*const u8, *const u8) =
        unsafe { (load(arguments, 0), load(arguments, 8)) };
    Dentry(if super::facts().setattr_dentry_first == 1 { first } else { second })
}

/// Nanoseconds since boot, suspend included.
#[inline(always)]
pub fn boottime() -> u64 {
    // SAFETY: the helper has no arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Real user and group id of the current task: its own, not those of credentials that it was lent. Read without helpers,
/// which programs about packets do not have on every kernel.
#[inline(always)]
pub fn current_uid_gid() -> (u32, u32) {
    let own: u64 = probe(Task::current().0 as u64, offset!(task_real_cred)).unwrap_or(0);
    let id = |offset| probe(own, offset).unwrap_or(u32::MAX);
    (id(offset!(cred_uid)), id(offset!(cred_gid)))
}

/// Copies the current thread's name; likewise.
#[inline(always)]
pub fn current_comm(to: &mut [u8; 16]) {
    let from = (Task::current().0 as usize).wrapping_add(offset!(task_comm));
    // SAFETY: the helper writes 16 bytes; on failure it zeroes them.
    unsafe { bpf_probe_read_kernel(to.as_mut_ptr().cast(), 16, from as *const core::ffi::c_void) };
}
