//! What `/proc` tells of a process that began before its first event.

use std::{fs, os::unix::ffi::OsStringExt};

use super::tree::Key;

/// Longest argument list taken over, in bytes: as much as an exec event carries.
const ARGV_BYTES: usize = aegis_common::limits::MAX_ARGV;
/// Nanoseconds of one clock tick in `/proc/PID/stat` (USER_HZ is 100 on every architecture served).
const TICK: u64 = 10_000_000;

/// What was found of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Start in nanoseconds since boot, cut to clock ticks.
    pub start: u64,
    /// Parent's process id.
    pub ppid: u32,
    /// Program.
    pub exe: Vec<u8>,
    /// Arguments.
    pub argv: Vec<Vec<u8>>,
    /// Login uid, `u32::MAX` when unset.
    pub login_uid: u32,
    /// Path of the cgroup.
    pub cgroup: String,
}

/// Where processes are looked up.
pub trait Procfs {
    /// What is known of a process that runs now.
    fn find(&self, pid: u32) -> Option<Found>;
}

/// `/proc`.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealProcfs;

impl Procfs for RealProcfs {
    fn find(&self, pid: u32) -> Option<Found> {
        let folder = format!("/proc/{pid}");
        let (ppid, start) = parse_stat(&fs::read(format!("{folder}/stat")).ok()?)?;
        let exe = fs::read_link(format!("{folder}/exe")).map(|p| p.into_os_string().into_vec()).unwrap_or_default();
        let mut argv = fs::read(format!("{folder}/cmdline")).unwrap_or_default();
        argv.truncate(ARGV_BYTES);
        let login_uid = fs::read_to_string(format!("{folder}/loginuid"))
            .ok()
            .and_then(|t| t.trim().parse().ok())
            .unwrap_or(u32::MAX);
        let cgroup = fs::read_to_string(format!("{folder}/cgroup"))
            .ok()
            .and_then(|t| t.lines().find_map(|l| l.strip_prefix("0::")).map(str::to_owned))
            .unwrap_or_default();
        Some(Found { start, ppid, exe, argv: arguments(&argv), login_uid, cgroup })
    }
}

/// Parent and start from `/proc/PID/stat`. The name in it may hold spaces and brackets: the last
/// closing bracket ends it.
fn parse_stat(text: &[u8]) -> Option<(u32, u64)> {
    let after = text.iter().rposition(|&b| b == b')')?;
    let text = std::str::from_utf8(text.get(after + 1..)?).ok()?;
    let mut fields = text.split_ascii_whitespace();
    let ppid = fields.nth(1)?.parse().ok()?;
    let ticks: u64 = fields.nth(17)?.parse().ok()?;
    Some((ppid, ticks.checked_mul(TICK)?))
}

fn arguments(bytes: &[u8]) -> Vec<Vec<u8>> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() { Vec::new() } else { bytes.split(|&b| b == 0).map(<[u8]>::to_vec).collect() }
}

/// Whether a start from `/proc` is the start from the kernel.
pub(super) fn same_start(found: &Found, key: Key) -> bool {
    found.start / TICK == key.start / TICK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let text = b"12 (a) b (c) S 7 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9";
        assert_eq!(parse_stat(text), Some((7, 42_420_000_000)));
        assert_eq!(parse_stat(b"12 (a"), None);
        assert_eq!(parse_stat(b"12 (a) S 1"), None);
    }

    #[test]
    fn this_process_is_found_with_its_program() {
        let found = RealProcfs.find(std::process::id()).expect("own process");
        assert_eq!(found.exe, std::env::current_exe().expect("exe").into_os_string().into_vec());
        assert!(!found.argv.is_empty() && found.start > 0);
    }
}
