//! Capabilities by name.

/// Names by number, as `linux/capability.h` has them.
pub const NAMES: [&str; 41] = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
];

/// Stands for all of them, those of later kernels too.
pub const ALL: &str = "ALL";

/// The bits of a name, with or without `CAP_`; `None` for what is none.
#[must_use]
pub fn bits(name: &str) -> Option<u64> {
    if name == ALL {
        return Some(u64::MAX);
    }
    let place = NAMES.iter().position(|known| *known == name || known.strip_prefix("CAP_") == Some(name))?;
    1u64.checked_shl(u32::try_from(place).ok()?)
}

/// The name of a number.
#[must_use]
pub fn name(number: u64) -> Option<&'static str> {
    NAMES.get(usize::try_from(number).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_their_bits() {
        assert_eq!(bits("CAP_CHOWN"), Some(1));
        assert_eq!(bits("NET_RAW"), Some(1 << 13));
        assert_eq!(bits("ALL"), Some(u64::MAX));
        assert_eq!(bits("cap_chown"), None);
        assert_eq!(name(21), Some("CAP_SYS_ADMIN"));
        assert_eq!(name(41), None);
    }
}
