//! Kernel structs as the hooks see them: one type a struct, one method a member.
//!
//! A value of these types is a pointer that the verifier knows by its BTF type; a method loads one
//! member. [`Foreign`] pointers were read by hand and are only ever probed.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    bindings::{file, inode, task_struct},
    helpers::generated::{
        bpf_get_current_comm, bpf_get_current_task_btf, bpf_get_current_uid_gid, bpf_ima_file_hash,
        bpf_ktime_get_boot_ns, bpf_probe_read_user, bpf_skc_to_unix_sock,
    },
};

use super::{load, offset, probe, scratch::Claim};

/// `sb->s_flags`: a filesystem that can't be mounted (pipes, sockets, memfd, anonymous inodes).
const SB_NOUSER: u64 = 1 << 31;
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

impl File {
    /// Its name.
    #[inline(always)]
    pub fn dentry(self) -> Dentry {
        Dentry(member!(self.file_dentry))
    }
    /// Its inode.
    #[inline(always)]
    pub fn inode(self) -> Inode {
        Inode(probe(self.0 as u64, offset!(file_inode)).unwrap_or(0))
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
        Inode(probe(self.0 as u64, offset!(dentry_inode)).unwrap_or(0))
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
    /// Process id in the initial namespace.
    #[inline(always)]
    pub fn tgid(self) -> u32 {
        member!(self.task_tgid)
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
        let node: u64 = member!(self.cgroup_kn);
        probe(node, offset!(kernfs_id))
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
    /// `VM_*` flags.
    #[inline(always)]
    pub fn flags(self) -> u64 {
        member!(self.vma_flags)
    }
}

impl Socket {
    /// Its protocol side; null to the verifier.
    #[inline(always)]
    pub fn sock(self) -> Sock {
        Sock(member!(self.socket_sk))
    }
    /// `SOCK_*` type.
    #[inline(always)]
    pub fn kind(self) -> u16 {
        member!(self.socket_type)
    }
}

impl Sock {
    /// Address family.
    #[inline(always)]
    pub fn family(self) -> u16 {
        member!(self.sock_family)
    }
    /// IP protocol.
    #[inline(always)]
    pub fn protocol(self) -> u16 {
        member!(self.sock_protocol)
    }
    /// Cgroup in which it was made.
    #[inline(always)]
    pub fn cgroup_id(self) -> Option<u64> {
        cgroup_id_at(probe(self.0 as u64, offset!(sock_cgroup))?)
    }
    /// As a Unix socket; null when it is none.
    #[inline(always)]
    pub fn unix(self) -> UnixSock {
        // SAFETY: the helper takes any socket and checks its family.
        UnixSock(unsafe { bpf_skc_to_unix_sock(self.0.cast_mut().cast()) }.cast_const().cast())
    }
}

/// Cgroup of the socket behind a `sockfs` file's private data.
#[inline(always)]
pub fn socket_cgroup_at(socket: u64) -> Option<u64> {
    let sock: u64 = probe(socket, offset!(socket_sk))?;
    cgroup_id_at(probe(sock, offset!(sock_cgroup))?)
}

impl UnixSock {
    /// The file it is bound to; null when none.
    #[inline(always)]
    pub fn dentry(self) -> Dentry {
        Dentry(member!(self.unix_dentry))
    }
    /// Copies its abstract name into the record's bytes and returns the length, 0 when unnamed.
    #[inline(always)]
    pub fn name(self, claim: &mut Claim) -> u32 {
        /// `sizeof(sa_family_t)`, which the stored length counts.
        const FAMILY: u32 = 2;
        let address: u64 = member!(self.unix_addr);
        if address == 0 {
            return 0;
        }
        let Some(length) = probe::<u32>(address, offset!(unix_addr_len)) else { return 0 };
        let length = core::hint::black_box(length.wrapping_sub(FAMILY)) & 127;
        let from = (address as usize)
            .wrapping_add(offset!(unix_addr_name))
            .wrapping_add(FAMILY as usize);
        // SAFETY: `length` is at most 127, and the record has room for a path.
        let result = unsafe {
            aya_ebpf::helpers::generated::bpf_probe_read_kernel(
                claim.bytes().cast(),
                length,
                from as *const c_void,
            )
        };
        if result == 0 { length } else { 0 }
    }
}

/// A socket address that the kernel has copied in.
#[derive(Clone, Copy)]
pub struct Address {
    /// Where it is.
    at: u64,
    /// Its length.
    pub length: u32,
}

impl Message {
    /// The address to send to; `None` for the connected one.
    #[inline(always)]
    pub fn address(self) -> Option<Address> {
        let at: u64 = member!(self.msg_name);
        let length: u32 = member!(self.msg_name_len);
        (at != 0).then_some(Address { at, length })
    }
}

impl Address {
    /// From a hook's arguments.
    #[inline(always)]
    pub const fn new(at: u64, length: u32) -> Self {
        Self { at, length }
    }
    /// Address family.
    #[inline(always)]
    pub fn family(self) -> Option<u16> {
        if self.length < 2 {
            return None;
        }
        probe(self.at, 0)
    }
    /// Port and IPv4 address.
    #[inline(always)]
    pub fn ipv4(self) -> Option<(u16, [u8; 4])> {
        if self.length < 16 {
            return None;
        }
        Some((u16::from_be(probe(self.at, 2)?), probe::<u32>(self.at, 4)?.to_ne_bytes()))
    }
    /// Port and IPv6 address.
    #[inline(always)]
    pub fn ipv6(self) -> Option<(u16, [u8; 16])> {
        // 24 bytes is the shortest the kernel takes (SIN6_LEN_RFC2133).
        if self.length < 24 {
            return None;
        }
        Some((u16::from_be(probe(self.at, 2)?), probe(self.at, 8)?))
    }
}

/// First eight bytes of a `struct qstr`'s name.
#[inline(always)]
pub fn qstr_head(qstr: u64) -> Option<u64> {
    let name: u64 = probe(qstr, offset!(qstr_name))?;
    probe(name, 0)
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

/// Real user and group id of the current task.
#[inline(always)]
pub fn current_uid_gid() -> (u32, u32) {
    // SAFETY: the helper has no arguments.
    let both = unsafe { bpf_get_current_uid_gid() };
    (both as u32, (both >> 32) as u32)
}

/// Copies the current thread's name.
#[inline(always)]
pub fn current_comm(to: &mut [u8; 16]) {
    // SAFETY: the helper writes at most 16 bytes; on failure it zeroes them.
    unsafe { bpf_get_current_comm(to.as_mut_ptr().cast(), 16) };
}
