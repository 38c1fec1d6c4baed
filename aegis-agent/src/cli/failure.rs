//! How a command fails: with which exit code, and what it says.
//!
//! The codes are part of the interface: 1 is the honest no (refused, invalid, tampered, not found),
//! 2 wrong usage or I/O, 3 not running or not complete. `aegis run` turns every one into 125, as
//! its own codes belong to the command.

use std::{fmt::Display, io, path::Path};

use thiserror::Error;
use tonic::Code;

/// The reason why a command could not do what it was asked.
#[derive(Debug, Error)]
pub enum Failure {
    /// Asked for, understood, and refused.
    #[error("{0}")]
    No(String),
    /// Refused because this host, or the state of things, does not allow it now.
    #[error("{0}")]
    Unable(String),
    /// Not understood.
    #[error("{0}")]
    Usage(String),
    /// Something could not be read or written.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else is at fault and this is what they said.
    #[error("{0}")]
    Broken(String),
    /// The daemon is not there, or could not finish.
    #[error("{0}")]
    NotRunning(String),
    /// The reader of our output has gone: nothing left to say.
    #[error("")]
    Hangup,
    /// A signal asked us to end before there was anything to show.
    #[error("stopped by signal {0}")]
    Signal(i32),
}

impl Failure {
    /// The exit code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Hangup => 0,
            Self::No(_) | Self::Unable(_) => 1,
            Self::Usage(_) | Self::Io { .. } | Self::Broken(_) => 2,
            Self::NotRunning(_) | Self::Signal(_) => 3,
        }
    }

    /// For `map_err`: what was being done with a file.
    pub fn io(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = format!("{what} {}", path.display());
        move |source| Self::Io { what, source }
    }

    /// For `map_err`: something that is not ours went wrong.
    pub fn broken<E: Display>(what: &str) -> impl FnOnce(E) -> Self {
        move |error| Self::Broken(format!("{what}: {error}"))
    }

    /// What the daemon answered when it did not do it.
    #[must_use]
    pub fn refused(status: &tonic::Status) -> Self {
        let text = status.message().to_owned();
        match status.code() {
            Code::FailedPrecondition => Self::Unable(text),
            Code::PermissionDenied | Code::NotFound | Code::InvalidArgument | Code::AlreadyExists | Code::ResourceExhausted | Code::Unauthenticated => Self::No(text),
            Code::Unavailable | Code::Cancelled | Code::Aborted => {
                Self::NotRunning(format!("the daemon went away before it answered ({text}); see `systemctl status aegisd`"))
            }
            Code::DeadlineExceeded => Self::NotRunning("the daemon did not answer in time; see `systemctl status aegisd`".to_owned()),
            Code::Unimplemented => {
                Self::NotRunning("the daemon does not know this request: it is of another version than this command; restart it".to_owned())
            }
            code => Self::Broken(format!("the daemon answered {code:?}: {text}")),
        }
    }
}

impl From<io::Error> for Failure {
    /// Only for output: everything else says what it was doing.
    fn from(source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe {
            Self::Hangup
        } else {
            Self::Io { what: "writing the output".to_owned(), source }
        }
    }
}
