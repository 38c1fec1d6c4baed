//! Signals to `aegis run`, taken one by one from a descriptor instead of handlers.

use std::os::fd::{AsFd, BorrowedFd};

use nix::{
    errno::Errno,
    sys::{
        signal::{SigHandler, SigSet, Signal, signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

use crate::cli::failure::Failure;

/// Signals that a person, a terminal or a service manager sends to a command.
const TAKEN: [Signal; 13] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGWINCH,
    Signal::SIGCONT,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCHLD,
];

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Which.
    pub signal: Signal,
    /// Whether a process sent it to us. Else the kernel did, on behalf of the terminal, and the
    /// whole foreground group has it: the command too.
    pub sent: bool,
}

impl Arrived {
    /// Whether it asks a command to end.
    #[must_use]
    pub const fn ends(self) -> bool {
        matches!(self.signal, Signal::SIGHUP | Signal::SIGINT | Signal::SIGQUIT | Signal::SIGTERM)
    }
}

/// The signals, blocked and waiting to be read.
#[derive(Debug)]
pub struct Signals(SignalFd);

/// Makes children reportable: a caller that ignores SIGCHLD would otherwise have ours reaped before
/// their status is read.
///
/// # Errors
/// When the kernel refuses.
pub fn watch_children() -> Result<(), Failure> {
    // SAFETY: sets a default action; no handler of ours runs.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }.map_err(Failure::broken("cannot watch children"))?;
    Ok(())
}

impl Signals {
    /// Takes the signals of this process. A child forked before keeps its own.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn take() -> Result<Self, Failure> {
        let set: SigSet = TAKEN.into_iter().collect();
        set.thread_block().map_err(Failure::broken("cannot block signals"))?;
        SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map(Self)
            .map_err(Failure::broken("cannot take signals"))
    }

    /// The next signal, when there is one.
    ///
    /// # Errors
    /// When the descriptor fails.
    pub fn next(&self) -> Result<Option<Arrived>, Failure> {
        loop {
            match self.0.read_signal() {
                Ok(None) => return Ok(None),
                Ok(Some(info)) => {
                    let number = i32::try_from(info.ssi_signo).unwrap_or(0);
                    if let Ok(signal) = Signal::try_from(number) {
                        // SI_USER, SI_QUEUE and SI_TKILL are 0 and below; what the kernel itself
                        // raises is above.
                        return Ok(Some(Arrived { signal, sent: info.ssi_code <= 0 }));
                    }
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Failure::Broken(format!("cannot read signals: {errno}"))),
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
