//! The list of programs: which hook each belongs to, and whether Aegis can do without it.

use super::memory::HIDDEN;

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// To an LSM hook.
    Lsm(&'static str),
    /// To a BTF tracepoint.
    Tracepoint(&'static str),
    /// To the entry of a kernel function.
    Function(&'static str),
    /// To the packets of the cgroups of agents.
    Packets(&'static str),
}

/// One program of the object.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Name in the object; pins bear it too.
    pub name: &'static str,
    /// Where it goes.
    pub attach: Attach,
    /// The kernel version that first has the hook; `None` when all supported ones do. A hook that
    /// every kernel has is required.
    pub since: Option<&'static str>,
}

impl Spec {
    /// Name of the hook.
    pub const fn hook(&self) -> &'static str {
        match self.attach {
            Attach::Lsm(hook) | Attach::Tracepoint(hook) | Attach::Function(hook) | Attach::Packets(hook) => hook,
        }
    }

    /// Why a host may have to do without it; `None` when none may.
    pub fn why_missing(&self, reads_arguments: bool) -> Option<String> {
        if READERS.contains(&self.name) && !reads_arguments {
            return Some(HIDDEN.to_owned());
        }
        self.since.map(|since| format!("the hook exists since Linux {since}"))
    }
}

const fn lsm(name: &'static str) -> Spec {
    Spec { name, attach: Attach::Lsm(name), since: None }
}

const fn newer(name: &'static str, since: &'static str) -> Spec {
    Spec { name, attach: Attach::Lsm(name), since: Some(since) }
}

const fn tracepoint(name: &'static str) -> Spec {
    Spec { name, attach: Attach::Tracepoint(name), since: None }
}

/// The programs that read the arguments and the environment of another one before it begins.
pub const READERS: [&str; 2] = ["bprm_check_arguments", "bprm_check_environment"];

/// All programs. Inheritance and the life of processes first: what they miss can't be made up for; and
/// `d_instantiate` before `file_open`, which remembers only what it sees end.
pub const PROGRAMS: &[Spec] = &[
    tracepoint("cgroup_mkdir"),
    tracepoint("cgroup_release"),
    tracepoint("sched_process_fork"),
    tracepoint("sched_process_exec"),
    tracepoint("sched_process_exit"),
    lsm("d_instantiate"),
    lsm("file_open"),
    lsm("file_receive"),
    lsm("cred_prepare"),
    lsm("inode_create"),
    lsm("inode_mkdir"),
    lsm("inode_mknod"),
    lsm("inode_symlink"),
    lsm("inode_link"),
    lsm("inode_rename"),
    lsm("inode_unlink"),
    lsm("inode_rmdir"),
    lsm("inode_setattr"),
    lsm("inode_setxattr"),
    lsm("inode_removexattr"),
    newer("inode_set_acl", "6.2"),
    newer("inode_remove_acl", "6.2"),
    newer("inode_file_setattr", "6.17"),
    lsm("path_truncate"),
    lsm("mmap_file"),
    lsm("file_mprotect"),
    lsm("bprm_creds_for_exec"),
    lsm("bprm_check_security"),
    Spec { name: "bprm_check_content", attach: Attach::Lsm("bprm_check_security"), since: None },
    Spec { name: READERS[0], attach: Attach::Lsm("bprm_check_security"), since: None },
    Spec { name: READERS[1], attach: Attach::Lsm("bprm_check_security"), since: None },
    lsm("bprm_creds_from_file"),
    lsm("bprm_committed_creds"),
    lsm("socket_create"),
    lsm("socket_connect"),
    lsm("socket_sendmsg"),
    lsm("socket_listen"),
    lsm("inet_conn_request"),
    lsm("socket_bind"),
    Spec { name: "packet_egress", attach: Attach::Packets("cgroup_skb/egress"), since: None },
    Spec { name: "connection_egress", attach: Attach::Packets("cgroup_skb/egress"), since: None },
    Spec { name: "packet_ingress", attach: Attach::Packets("cgroup_skb/ingress"), since: None },
    tracepoint("inet_sock_set_state"),
    lsm("sock_graft"),
    lsm("unix_stream_connect"),
    lsm("unix_may_send"),
    lsm("task_alloc"),
    lsm("inode_init_security_anon"),
    lsm("file_ioctl"),
    lsm("file_fcntl"),
    newer("file_ioctl_compat", "6.8"),
    lsm("capable"),
    lsm("bpf"),
    lsm("perf_event_open"),
    lsm("userns_create"),
    Spec { name: "audit_seccomp", attach: Attach::Function("audit_seccomp"), since: None },
    lsm("ptrace_access_check"),
    lsm("task_kill"),
    lsm("task_setrlimit"),
    lsm("task_setnice"),
    lsm("task_setioprio"),
    lsm("task_setscheduler"),
    lsm("key_alloc"),
    lsm("key_permission"),
    lsm("shm_alloc_security"),
    lsm("sem_alloc_security"),
    lsm("msg_queue_alloc_security"),
    lsm("ipc_permission"),
    lsm("shm_shmctl"),
    lsm("sem_semctl"),
    lsm("msg_queue_msgctl"),
];

/// Whether a program is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookState {
    /// It is.
    Attached,
    /// This kernel has no such hook; the reason says since when there is one.
    Unavailable(String),
}

/// A program as `aegis status` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookStatus {
    /// Name of the program.
    pub name: &'static str,
    /// Whether it is in force.
    pub state: HookState,
    /// Instructions that the verifier processed; 0 where the kernel does not say.
    pub verified_instructions: u32,
}

impl HookStatus {
    /// Of a program in force.
    pub const fn attached(spec: &Spec, verified_instructions: u32) -> Self {
        Self { name: spec.name, state: HookState::Attached, verified_instructions }
    }

    /// Of a program that this kernel has to do without.
    pub const fn unavailable(spec: &Spec, why: String) -> Self {
        Self { name: spec.name, state: HookState::Unavailable(why), verified_instructions: 0 }
    }
}
