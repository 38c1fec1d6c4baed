//! Waiting for the command: signals passed on, job control kept, its end told.
//!
//! The command shares our process group, so that the terminal treats it as if the shell had
//! started it. What the terminal sends reaches it without us; what a process sends to us alone we
//! pass on.

use std::{fs, path::Path};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, getpid},
};

use super::{
    signals::{Arrived, Signals},
    voice::Voice,
};
use crate::cli::failure::Failure;

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself.
    Exited(i32),
    /// By a signal.
    Signaled(Signal),
}

impl Ended {
    /// The exit code that a shell would show.
    #[must_use]
    pub fn code(self) -> u8 {
        let code = match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => 128 + signal as i32,
        };
        u8::try_from(code & 0xff).unwrap_or(u8::MAX)
    }
}

/// The command that is waited for.
#[derive(Debug)]
pub struct Watch<'a> {
    /// Its process.
    pub pid: Pid,
    /// Folder of its cgroup, for the hint about a frozen agent.
    pub cgroup: &'a Path,
    /// Name of the agent.
    pub agent: &'a str,
    /// How to speak.
    pub voice: Voice,
}

impl Watch<'_> {
    /// Waits until the command has ended. A frozen agent ends only after it was thawed.
    ///
    /// # Errors
    /// When the kernel no longer tells about the child.
    pub fn wait(&self, signals: &Signals) -> Result<Ended, Failure> {
        loop {
            if let Some(ended) = self.look()? {
                return Ok(ended);
            }
            let mut ready = [PollFd::new(std::os::fd::AsFd::as_fd(signals), PollFlags::POLLIN)];
            match poll(&mut ready, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Failure::Broken(format!("cannot wait for signals: {errno}"))),
            }
            while let Some(arrived) = signals.next()? {
                self.pass_on(arrived);
            }
        }
    }

    /// What has become of the child; a stop of it is ours too.
    fn look(&self) -> Result<Option<Ended>, Failure> {
        loop {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
                Ok(WaitStatus::Exited(_, code)) => return Ok(Some(Ended::Exited(code))),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Some(Ended::Signaled(signal))),
                Ok(WaitStatus::Stopped(..)) => self.stop_as_well(),
                Ok(WaitStatus::StillAlive) => return Ok(None),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Failure::Broken(format!("cannot wait for the command: {errno}"))),
            }
        }
    }

    /// The shell waits for us: it learns that the job has stopped when we stop, and continues us.
    /// Without a terminal there is no job control and nobody to continue us.
    fn stop_as_well(&self) {
        if !has_terminal() {
            return;
        }
        if kill(getpid(), Signal::SIGSTOP).is_ok() {
            // Continued. The shell has told the whole group, anyone else only us.
            self.send(Signal::SIGCONT);
        }
    }

    fn pass_on(&self, arrived: Arrived) {
        match arrived.signal {
            Signal::SIGCHLD => {}
            Signal::SIGCONT => self.send(Signal::SIGCONT),
            signal if arrived.sent => self.send(signal),
            _ => {}
        }
        if arrived.ends() && self.is_frozen() {
            self.voice.say(&format!(
                "agent {0} is frozen by aegis kill: it takes no signal until `aegis thaw {0}` (SIGKILL ends it)",
                self.agent
            ));
        }
    }

    /// The child is ours and not reaped: its number is its own. It may have gone, or belong to
    /// somebody else by now (a set-uid program): then there is nothing to be done.
    fn send(&self, signal: Signal) {
        let _ = kill(self.pid, signal);
    }

    fn is_frozen(&self) -> bool {
        fs::read_to_string(self.cgroup.join("cgroup.events"))
            .is_ok_and(|events| events.lines().any(|line| line == "frozen 1"))
    }
}

/// Whether this process has a controlling terminal.
fn has_terminal() -> bool {
    fs::File::open("/dev/tty").is_ok()
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;

    use super::Ended;

    #[test]
    fn codes_are_those_of_a_shell() {
        assert_eq!(Ended::Exited(0).code(), 0);
        assert_eq!(Ended::Exited(255).code(), 255);
        assert_eq!(Ended::Signaled(Signal::SIGKILL).code(), 137);
        assert_eq!(Ended::Signaled(Signal::SIGTERM).code(), 143);
    }
}
