//! Where the running kernel keeps what the programs read.
//!
//! Rust emits no CO-RE relocations: the agent computes these from the kernel's BTF and sets them as
//! a constant before load; the verifier folds them.

#[cfg(feature = "user")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Declares [`KernelOffsets`] together with the list of what each field names, so that the agent
/// cannot forget one.
macro_rules! offsets {
    ($($field:ident = $ty:literal . $path:literal),+ $(,)?) => {
        /// Byte offsets of kernel struct members.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
        pub struct KernelOffsets {
            $(#[doc = concat!("`", $ty, ".", $path, "`")] pub $field: u32,)+
        }

        impl KernelOffsets {
            /// Struct and member path of each field, in order.
            pub const MEMBERS: &'static [(&'static str, &'static str)] = &[$(($ty, $path)),+];

            /// All fields zero, as the object holds them before load.
            #[must_use]
            pub const fn zeroed() -> Self {
                Self { $($field: 0),+ }
            }

            /// From the offsets of [`Self::MEMBERS`], in order; `None` when there are fewer.
            #[must_use]
            pub fn from_members(mut next: impl Iterator<Item = u32>) -> Option<Self> {
                Some(Self { $($field: next.next()?),+ })
            }
        }
    };
}

offsets! {
    file_dentry = "file"."f_path.dentry",
    file_mount = "file"."f_path.mnt",
    file_inode = "file"."f_inode",
    file_flags = "file"."f_flags",
    file_mode = "file"."f_mode",
    skb_head = "sk_buff"."head",
    skb_end = "sk_buff"."end",
    shared_flags = "skb_shared_info"."flags",
    file_private = "file"."private_data",
    path_dentry = "path"."dentry",
    dentry_parent = "dentry"."d_parent",
    dentry_name = "dentry"."d_name.name",
    dentry_name_len = "dentry"."d_name.len",
    dentry_inode = "dentry"."d_inode",
    dentry_sb = "dentry"."d_sb",
    dentry_seq = "dentry"."d_seq",
    sb_dev = "super_block"."s_dev",
    sb_flags = "super_block"."s_flags",
    sb_magic = "super_block"."s_magic",
    sb_root = "super_block"."s_root",
    sb_info = "super_block"."s_fs_info",
    mount_mnt = "mount"."mnt",
    mount_ns = "mount"."mnt_ns",
    inode_ino = "inode"."i_ino",
    inode_nlink = "inode"."i_nlink",
    inode_mode = "inode"."i_mode",
    inode_flags = "inode"."i_flags",
    inode_names = "inode"."i_dentry.first",
    qstr_name = "qstr"."name",
    task_tgid = "task_struct"."tgid",
    task_pid = "task_struct"."pid",
    task_comm = "task_struct"."comm",
    task_flags = "task_struct"."flags",
    task_cred = "task_struct"."cred",
    task_real_cred = "task_struct"."real_cred",
    cred_uid = "cred"."uid",
    cred_gid = "cred"."gid",
    task_nameidata = "task_struct"."nameidata",
    nameidata_dentry = "nameidata"."path.dentry",
    task_parent = "task_struct"."real_parent",
    task_leader = "task_struct"."group_leader",
    task_start = "task_struct"."start_boottime",
    task_exec = "task_struct"."self_exec_id",
    task_cgroups = "task_struct"."cgroups",
    task_mm = "task_struct"."mm",
    task_exit_code = "task_struct"."exit_code",
    task_entry = "task_struct"."thread_info.status",
    task_signal = "task_struct"."signal",
    signal_live = "signal_struct"."live",
    css_set_cgroup = "css_set"."dfl_cgrp",
    cgroup_kn = "cgroup"."kn",
    cgroup_level = "cgroup"."level",
    cgroup_ancestors = "cgroup"."ancestors",
    kernfs_id = "kernfs_node"."id",
    mm_arg_start = "mm_struct"."arg_start",
    mm_arg_end = "mm_struct"."arg_end",
    mm_env_start = "mm_struct"."env_start",
    mm_env_end = "mm_struct"."env_end",
    bprm_file = "linux_binprm"."file",
    bprm_mm = "linux_binprm"."mm",
    bprm_top = "linux_binprm"."p",
    bprm_exec = "linux_binprm"."exec",
    bprm_argc = "linux_binprm"."argc",
    mm_pgd = "mm_struct"."pgd",
    vma_file = "vm_area_struct"."vm_file",
    vma_anon = "vm_area_struct"."anon_vma",
    vma_flags = "vm_area_struct"."vm_flags",
    socket_sk = "socket"."sk",
    socket_type = "socket"."type",
    sock_family = "sock"."__sk_common.skc_family",
    sock_port = "sock"."__sk_common.skc_num",
    sock_address4 = "sock"."__sk_common.skc_rcv_saddr",
    sock_address6 = "sock"."__sk_common.skc_v6_rcv_saddr",
    sock_peer_port = "sock"."__sk_common.skc_dport",
    sock_peer4 = "sock"."__sk_common.skc_daddr",
    sock_peer6 = "sock"."__sk_common.skc_v6_daddr",
    sock_protocol = "sock"."sk_protocol",
    sock_cgroup = "sock"."sk_cgrp_data.cgroup",
    unix_addr = "unix_sock"."addr",
    unix_dentry = "unix_sock"."path.dentry",
    unix_addr_len = "unix_address"."len",
    unix_addr_name = "unix_address"."name",
    msg_name = "msghdr"."msg_name",
    msg_name_len = "msghdr"."msg_namelen",
    key_serial = "key"."serial",
    key_type = "key"."index_key.type",
    key_type_name = "key_type"."name",
    ipc_id = "kern_ipc_perm"."id",
    ipc_key = "kern_ipc_perm"."key",
}

/// Facts about the kernel that choose between two ways of reading, beside the offsets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
pub struct KernelFacts {
    /// 1 where `inode_setattr` has the dentry as its first argument (before 6.2), else 0.
    pub setattr_dentry_first: u32,
    /// 1 where page tables have five levels, 0 where four.
    pub five_levels: u32,
    /// Address of `page_offset_base`: where all of memory is mapped. 0 when unknown: then no arguments
    /// can be read before a program begins.
    pub page_offset_base: u64,
    /// Address of `sme_me_mask`, the bit that marks encrypted memory in page tables; 0 where there is none.
    pub encryption_mask: u64,
    /// Where a dentry has its place in its inode's list of names, on kernels on which a file that an overlay
    /// opens in a layer has the overlay's dentry (before 6.8); 0 where it has the layer's own.
    pub layer_alias: u32,
    /// 1 where `perf_event_open` has the event's attributes before its type, as older kernels have, else 0.
    pub perf_type_second: u32,
}
