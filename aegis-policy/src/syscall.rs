//! System calls by name, and which of them the kernel's guards close too.
//!
//! Knows: the numbers of x86-64 in its three entries, and which hooks see what a call does. Must not
//! know: who installs a filter.

use aegis_common::policy::{SyscallKey, image_flag};
use syscalls::{x86, x86_64};

/// Set in the number of an x32 call.
const X32: u32 = 1 << 30;
/// First of the numbers that only x32 has; the calls of [`X32_ONLY`] follow in order.
const X32_FIRST: u32 = 512;
const X32_ONLY: [&str; 36] = [
    "rt_sigaction", "rt_sigreturn", "ioctl", "readv", "writev", "recvfrom", "sendmsg", "recvmsg", "execve", "ptrace",
    "rt_sigpending", "rt_sigtimedwait", "rt_sigqueueinfo", "sigaltstack", "timer_create", "mq_notify", "kexec_load",
    "waitid", "set_robust_list", "get_robust_list", "vmsplice", "move_pages", "preadv", "pwritev", "rt_tgsigqueueinfo",
    "recvmmsg", "sendmmsg", "process_vm_readv", "process_vm_writev", "setsockopt", "getsockopt", "io_setup",
    "io_submit", "execveat", "preadv2", "pwritev2",
];

/// Without these no program starts or ends: a ban would only look like one.
const NEEDED: [&str; 13] = [
    "execve", "exit", "exit_group", "read", "write", "close", "mmap", "munmap", "mprotect", "brk", "rt_sigreturn",
    "sigreturn", "restart_syscall",
];

/// What refuses a banned call behind seccomp, whatever entry or ring it comes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The hook.
    pub hook: &'static str,
    /// `image_flag::*` that the ban sets; 0 where every agent is refused anyway.
    pub flag: u32,
}

const fn always(hook: &'static str) -> Guard {
    Guard { hook, flag: 0 }
}

const GUARDS: &[(Guard, &[&str])] = &[
    (
        always("capable"),
        &[
            "mount", "umount", "umount2", "move_mount", "open_tree", "open_tree_attr", "fsopen", "fsmount", "fsconfig",
            "fspick", "mount_setattr", "pivot_root", "swapon", "swapoff", "init_module", "finit_module",
            "delete_module", "kexec_load", "kexec_file_load", "reboot", "settimeofday", "clock_settime", "sethostname",
            "setdomainname", "iopl", "ioperm",
        ],
    ),
    (always("bpf"), &["bpf"]),
    (always("inode_init_security_anon"), &["io_uring_setup", "io_uring_enter", "io_uring_register"]),
    (Guard { hook: "userns_create", flag: image_flag::NO_USER_NAMESPACE }, &["unshare", "setns", "clone3"]),
    (Guard { hook: "ptrace_access_check", flag: image_flag::NO_PTRACE }, &["ptrace", "process_vm_readv", "process_vm_writev"]),
];

/// Why a name cannot be banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Linux has no such call on this architecture.
    Unknown,
    /// Nothing would start.
    Needed,
}

/// The call's numbers, each as a record of it has it: 64-bit, x32 and 32-bit.
///
/// # Errors
/// There is no such call, or no program can be without it.
pub fn numbers(name: &str) -> Result<Vec<u32>, NameError> {
    let mut out = Vec::new();
    if let Ok(call) = name.parse::<x86_64::Sysno>() {
        let number = narrow(call.id());
        // A call that x32 numbers anew has no x32 form of its 64-bit number.
        let place = X32_ONLY.iter().position(|only| *only == name);
        out.extend([number, X32 | place.map_or(number, |place| X32_FIRST + narrow(place))]);
    }
    if let Ok(call) = name.parse::<x86::Sysno>() {
        out.push(SyscallKey::COMPAT | narrow(call.id()));
    }
    if out.is_empty() {
        Err(NameError::Unknown)
    } else if NEEDED.contains(&name) {
        Err(NameError::Needed)
    } else {
        Ok(out)
    }
}

/// What refuses the call besides seccomp, if anything.
#[must_use]
pub fn guard(name: &str) -> Option<Guard> {
    GUARDS.iter().find(|(_, names)| names.contains(&name)).map(|(guard, _)| *guard)
}

/// The name of a number, as [`numbers`] gives it.
#[must_use]
pub fn name(number: u32) -> Option<&'static str> {
    if number & SyscallKey::COMPAT != 0 {
        return x86::Sysno::new(wide(number & !SyscallKey::COMPAT)).map(|call| call.name());
    }
    let plain = number & !X32;
    if let Some(only) = plain.checked_sub(X32_FIRST).and_then(|place| X32_ONLY.get(wide(place))) {
        return Some(only);
    }
    x86_64::Sysno::new(wide(plain)).map(|call| call.name())
}

/// The call whose name is nearest to what was written.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    let known = x86_64::Sysno::iter().map(|call| call.name());
    crate::manifest::nearest(name, known)
}

fn narrow<T: TryInto<u32>>(number: T) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

fn wide(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_a_number_for_each_entry() {
        assert_eq!(numbers("mount"), Ok(vec![165, X32 | 165, SyscallKey::COMPAT | 21]));
        assert_eq!(numbers("ptrace"), Ok(vec![101, X32 | 521, SyscallKey::COMPAT | 26]));
        assert_eq!(numbers("pwritev2"), Ok(vec![328, X32 | 547, SyscallKey::COMPAT | 379]));
        assert_eq!(numbers("socketcall"), Ok(vec![SyscallKey::COMPAT | 102]));
    }

    #[test]
    fn numbers_lead_back_to_their_name() {
        for call in ["mount", "ptrace", "bpf", "keyctl", "unshare", "umount2", "socketcall", "pwritev2"] {
            for number in numbers(call).expect("numbers") {
                assert_eq!(name(number), Some(call), "{number:#x}");
            }
        }
        assert_eq!(name(0x3fff), None);
    }

    #[test]
    fn what_cannot_be_banned_says_why() {
        assert_eq!(numbers("moutn"), Err(NameError::Unknown));
        assert_eq!(nearest("moutn"), Some("mount"));
        assert_eq!(numbers("execve"), Err(NameError::Needed));
        for needed in NEEDED {
            assert_eq!(numbers(needed), Err(NameError::Needed), "{needed}");
        }
    }

    #[test]
    fn every_guarded_call_exists() {
        for (_, names) in GUARDS {
            for call in *names {
                assert!(numbers(call).is_ok(), "{call}");
            }
        }
    }
}
