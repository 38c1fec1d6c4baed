//! Processes as the engine needs them: who asks, whose child, since when.

use std::{fs, io, os::unix::ffi::OsStringExt};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    process::{Pid, PidfdFlags, pidfd_open},
};
use serde::{Deserialize, Serialize};

use crate::record::NO_LOGIN;

/// One process; its id is used again after it, with its start it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process id.
    pub pid: u32,
    /// Start in clock ticks since boot.
    pub start: u64,
}

impl ProcessId {
    /// The process that has this id now.
    ///
    /// # Errors
    /// There is none.
    pub fn of(pid: u32) -> io::Result<Self> {
        Ok(Self { pid, start: stat(pid)?.start })
    }

    /// Whether it still runs (a zombie does not).
    #[must_use]
    pub fn is_alive(self) -> bool {
        stat(self.pid).is_ok_and(|s| s.start == self.start && s.state != b'Z' && s.state != b'X')
    }
}

/// What is needed of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// State letter.
    pub state: u8,
    /// Parent.
    pub ppid: u32,
    /// Controlling terminal, 0 for none.
    pub tty: u32,
    /// Start in clock ticks since boot.
    pub start: u64,
}

/// Reads `/proc/PID/stat`.
///
/// # Errors
/// There is no such process.
pub fn stat(pid: u32) -> io::Result<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat"))?;
    parse(&text).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is not of its format")))
}

fn parse(text: &[u8]) -> Option<Stat> {
    // The name may hold spaces and brackets: the last closing bracket ends it.
    let after = text.iter().rposition(|&b| b == b')')?;
    let fields: Vec<&str> = std::str::from_utf8(text.get(after + 1..)?).ok()?.split_ascii_whitespace().collect();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        ppid: fields.get(1)?.parse().ok()?,
        // Printed signed.
        tty: u32::try_from(fields.get(4)?.parse::<i64>().ok()? & 0xffff_ffff).ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

/// Device file of a controlling terminal, as far as it is a pseudo terminal.
#[must_use]
pub fn terminal(tty: u32) -> Option<String> {
    let (major, minor) = (tty >> 8 & 0xfff, tty & 0xff | tty >> 12 & 0xfff00);
    // UNIX98 pty slaves have majors 136 to 143.
    (136..=143).contains(&major).then(|| format!("/dev/pts/{}", (major - 136) * (1 << 20) + minor))
}

/// Real uid of a process.
///
/// # Errors
/// There is no such process.
pub fn uid(pid: u32) -> io::Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("Uid:"));
    line.and_then(|l| l.split_ascii_whitespace().next()?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("/proc/{pid}/status names no uid")))
}

/// What a process has laid on itself and all it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// A seccomp filter holds.
    pub filtered: bool,
    /// It gains no privileges by running a program.
    pub no_new_privileges: bool,
}

/// Reads the confinement of a process. A kernel that does not tell has none of it.
///
/// # Errors
/// There is no such process.
pub fn confinement(pid: u32) -> io::Result<Confinement> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let is = |name: &str, value: &str| {
        status.lines().any(|line| line.strip_prefix(name).is_some_and(|found| found.trim() == value))
    };
    Ok(Confinement { filtered: is("Seccomp:", "2"), no_new_privileges: is("NoNewPrivs:", "1") })
}

/// Path of a process's cgroup below the cgroup v2 mount.
///
/// # Errors
/// There is no such process, or it is in none.
pub fn cgroup(pid: u32) -> io::Result<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    text.lines()
        .find_map(|l| l.strip_prefix("0::"))
        .map(str::to_owned)
        .ok_or_else(|| io::Error::other(format!("process {pid} is in no cgroup of version 2")))
}

/// Login uid, [`NO_LOGIN`] where none is set.
#[must_use]
pub fn login_uid(pid: u32) -> u32 {
    fs::read_to_string(format!("/proc/{pid}/loginuid")).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(NO_LOGIN)
}

/// Program of a process, empty where it cannot be read.
#[must_use]
pub fn exe(pid: u32) -> Vec<u8> {
    fs::read_link(format!("/proc/{pid}/exe")).map(|p| p.into_os_string().into_vec()).unwrap_or_default()
}

/// Holds on to a process, so that its id cannot come to mean another one unnoticed.
#[derive(Debug)]
pub struct Held(OwnedFd);

impl Held {
    /// Opens the process that has this id now.
    ///
    /// # Errors
    /// There is none.
    pub fn open(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(Self(pidfd_open(pid, PidfdFlags::empty())?))
    }

    /// Whether it still runs: then its id has meant it all the time.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_the_last_bracket() {
        let text = b"9 (x) y) Z 4 9 9 34817 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 777 0";
        assert_eq!(parse(text), Some(Stat { state: b'Z', ppid: 4, tty: 34817, start: 777 }));
        assert_eq!(parse(b"9 (x"), None);
    }

    #[test]
    fn terminals_are_named_from_their_device() {
        assert_eq!(terminal(34817), Some("/dev/pts/1".into()));
        assert_eq!(terminal(0), None);
        assert_eq!(terminal(4 << 8 | 1), None, "a console is no pseudo terminal");
        assert_eq!(terminal(136 << 8 | 0x2c | 0x100 << 12), Some("/dev/pts/300".into()));
    }

    #[test]
    fn a_child_is_known_by_parent_and_start_until_it_ends() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let pid = child.id();
        let process = ProcessId::of(pid).expect("process");
        let held = Held::open(pid).expect("pidfd");
        assert_eq!(stat(pid).expect("stat").ppid, std::process::id());
        assert_eq!(uid(pid).expect("uid"), rustix::process::getuid().as_raw());
        assert!(process.is_alive() && held.is_alive());
        assert_eq!(confinement(pid).ok(), confinement(std::process::id()).ok(), "inherited");
        assert!(!ProcessId { start: process.start + 1, ..process }.is_alive());
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert!(!process.is_alive() && !held.is_alive());
    }
}
