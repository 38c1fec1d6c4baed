//! The ABI's numbers as the words that the log and its readers use. Words are never renamed.

use aegis_common::{
    dns,
    event::{op, reason, written},
    policy::SyscallKey,
};

/// Word of a `reason::*`.
#[must_use]
pub const fn reason(number: u8) -> &'static str {
    match number {
        0 => "",
        reason::RULE => "rule",
        reason::DEFAULT => "default",
        reason::KILLED => "killed",
        reason::UNCONFIGURED => "unconfigured",
        reason::TOO_DEEP => "too_deep",
        reason::PATH_CHANGED => "path_changed",
        reason::DISCONNECTED => "disconnected",
        reason::NO_ROOM => "no_room",
        reason::SAME_FILE => "same_file",
        reason::WOULD_GRANT_MORE => "would_grant_more",
        reason::HOLDS_RULE => "holds_rule",
        reason::ANONYMOUS => "anonymous",
        reason::SAME_CONTENT => "same_content",
        reason::UNREADABLE => "unreadable",
        reason::GUARD => "guard",
        reason::READ_FAILED => "read_failed",
        reason::OUTSIDE => "outside",
        reason::ARGUMENTS_UNREAD => "arguments_unread",
        reason::NOT_PINNED => "not_pinned",
        reason::ENVIRONMENT => "environment",
        reason::WRITE_EXECUTE => "write_execute",
        reason::MALFORMED => "malformed",
        reason::PRIVATE_ADDRESS => "private_address",
        reason::DNS_OVER_TCP => "dns_over_tcp",
        reason::SERVER_NAME => "server_name",
        reason::NO_SERVER_NAME => "no_server_name",
        reason::BYTES_OUT => "bytes_out",
        _ => "unknown",
    }
}

/// Word of an `op::*`.
#[must_use]
pub const fn op(number: u8) -> &'static str {
    match number {
        0 => "",
        op::OPEN_READ => "read",
        op::OPEN_WRITE => "write",
        op::OPEN_READ_WRITE => "read_write",
        op::OPEN_NONE => "open",
        op::EXEC => "exec",
        op::MAP_EXEC => "map_exec",
        op::CREATE => "create",
        op::MKDIR => "mkdir",
        op::MKNOD => "mknod",
        op::SYMLINK => "symlink",
        op::LINK => "link",
        op::RENAME => "rename",
        op::UNLINK => "unlink",
        op::RMDIR => "rmdir",
        op::TRUNCATE => "truncate",
        op::SETATTR => "setattr",
        op::SETXATTR => "setxattr",
        op::RECEIVE => "receive",
        op::IOCTL => "ioctl",
        op::CONNECT => "connect",
        op::SEND => "send",
        op::LISTEN => "listen",
        op::SOCKET => "socket",
        op::QUESTION => "question",
        op::ANSWER => "answer",
        op::BIND => "bind",
        op::SOURCE_ROUTE => "source_route",
        op::OPENING => "opening",
        op::CLOSE => "close",
        op::ACCEPT => "accept",
        op::CGROUP_WRITE => "cgroup_write",
        op::IO_URING => "io_uring",
        op::TERMINAL_INPUT => "terminal_input",
        op::PTRACE => "ptrace",
        op::SIGNAL => "signal",
        op::BPF => "bpf",
        op::CAPABILITY => "capability",
        op::DEVICE_NODE => "device_node",
        op::TASK_CONTROL => "task_control",
        op::SYSCALL => "syscall",
        op::USER_NAMESPACE => "user_namespace",
        op::WRITE_EXECUTE => "write_execute",
        op::KEY => "key",
        op::IPC => "ipc",
        op::PERF => "perf",
        _ => "unknown",
    }
}

/// What a guard's `subject` and `detail` say, in words.
#[must_use]
pub fn guard_subject(number: u8, subject: u64, detail: u64) -> String {
    match number {
        op::PTRACE => format!("process {subject}, mode {detail:#x}"),
        op::SIGNAL => format!("process {subject}, signal {detail}"),
        op::CAPABILITY => aegis_policy::capability::name(subject).map_or_else(|| format!("capability {subject}"), str::to_owned),
        op::SOCKET => format!("family {}, protocol {}", subject >> 32, subject & 0xffff_ffff),
        op::BIND => format!("port {subject}"),
        op::SOURCE_ROUTE => format!("protocol {subject}"),
        op::TERMINAL_INPUT | op::IOCTL => format!("ioctl {subject:#x}"),
        op::BPF => format!("bpf command {subject}"),
        op::SYSCALL => system_call(subject, detail != 0),
        op::WRITE_EXECUTE => written(detail).to_owned(),
        op::KEY if subject == 0 => "request to make a key".to_owned(),
        op::KEY => format!("key {subject}, {}", key_need(detail)),
        op::PERF => perf(subject).to_owned(),
        op::IPC => format!("object {subject}, key {detail:#x}"),
        _ if subject == 0 && detail == 0 => String::new(),
        _ if detail == 0 => format!("{subject}"),
        _ => format!("{subject}, {detail}"),
    }
}

fn written(how: u64) -> &'static str {
    match how {
        written::WRITABLE => "memory that stays writable",
        written::ANONYMOUS => "memory of no file",
        written::CHANGED => "changed pages of a file",
        _ => "memory",
    }
}

/// `PERF_SECURITY_*`.
fn perf(what: u64) -> &'static str {
    match what {
        1 => "all of a processor",
        2 => "the kernel",
        3 => "trace points",
        _ => "",
    }
}

/// `enum key_need_perm`.
fn key_need(need: u64) -> &'static str {
    const NEEDS: [&str; 11] =
        ["", "view", "read", "write", "search", "link", "setattr", "unlink", "override", "authorize", "find"];
    usize::try_from(need).ok().and_then(|need| NEEDS.get(need)).copied().unwrap_or("")
}

fn system_call(number: u64, compat: bool) -> String {
    let entry = if compat { SyscallKey::COMPAT } else { 0 };
    let name = u32::try_from(number).ok().and_then(|number| aegis_policy::syscall::name(number | entry));
    let name = name.map_or_else(|| format!("call {number}"), str::to_owned);
    if compat { format!("{name} (32-bit)") } else { name }
}

/// Word of who opened a connection, by [`aegis_common::event::ConnectionBody::inbound`].
#[must_use]
pub const fn direction(inbound: u16) -> &'static str {
    if inbound == 0 { "outbound" } else { "inbound" }
}

/// Word of an IP protocol number.
#[must_use]
pub fn protocol(number: u16) -> String {
    match number {
        1 => "icmp".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        58 => "icmpv6".into(),
        132 => "sctp".into(),
        136 => "udplite".into(),
        262 => "mptcp".into(),
        other => other.to_string(),
    }
}

/// A name as it is on the wire, the root's label left out, as it is written. A dot in a label is escaped.
#[must_use]
pub fn host_name(wire: &[u8]) -> String {
    let label = |label: &[u8]| text(label).replace('.', "\\x2e");
    dns::labels(wire).map(label).collect::<Vec<_>>().join(".")
}

/// Name of a type of DNS records.
#[must_use]
pub fn record_type(number: u16) -> String {
    match number {
        0 => String::new(),
        1 => "A".into(),
        2 => "NS".into(),
        5 => "CNAME".into(),
        6 => "SOA".into(),
        12 => "PTR".into(),
        15 => "MX".into(),
        16 => "TXT".into(),
        28 => "AAAA".into(),
        33 => "SRV".into(),
        64 => "SVCB".into(),
        65 => "HTTPS".into(),
        255 => "ANY".into(),
        other => format!("TYPE{other}"),
    }
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing into a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Bytes as text without loss: what is not UTF-8, and backslashes, are escaped as `\xNN`.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' {
                out.push_str("\\x5c");
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            // Writing into a String cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_abi_has_a_word_of_its_own() {
        let reasons: Vec<_> = (1..=reason::BYTES_OUT).map(reason).collect();
        let ops: Vec<_> = [1..=6, 10..=21, 23..=23, 40..=47, 60..=64, 66..=72].into_iter().flatten().map(op).collect();
        for words in [reasons, ops] {
            let mut unique = words.clone();
            unique.sort_unstable();
            unique.dedup();
            assert_eq!(unique.len(), words.len());
            assert!(!words.contains(&"unknown") && !words.contains(&""));
        }
    }

    #[test]
    fn bytes_become_text_without_loss() {
        assert_eq!(text(b"a\xffb\\"), "a\\xffb\\x5c");
    }

    #[test]
    fn names_of_hosts_are_told_without_loss() {
        assert_eq!(host_name(b"\x03api\x07Example"), "api.Example");
        assert_eq!(host_name(b"\x03a.b\x03\xff\x1bc"), "a\\x2eb.\\xff\x1bc");
        assert_eq!(host_name(b""), "");
        assert_eq!((record_type(28).as_str(), record_type(99).as_str()), ("AAAA", "TYPE99"));
    }

    #[test]
    fn guards_tell_their_subject() {
        assert_eq!(guard_subject(op::CAPABILITY, 21, 0), "CAP_SYS_ADMIN");
        assert_eq!(guard_subject(op::SYSCALL, 165, 0), "mount");
        assert_eq!(guard_subject(op::SYSCALL, 21, 1), "mount (32-bit)");
        assert_eq!(guard_subject(op::WRITE_EXECUTE, 0, written::CHANGED), "changed pages of a file");
        assert_eq!(guard_subject(op::SIGNAL, 7, 9), "process 7, signal 9");
    }
}
