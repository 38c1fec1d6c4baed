//! The way to the daemon: gRPC over its Unix socket, on one thread.
//!
//! Knows how to find out that nobody listens, and why. Knows nothing of what is asked.

use std::{
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tonic::{
    Response, Status,
    transport::{Channel, Endpoint},
};

use super::failure::Failure;
use crate::{paths::Layout, proto::control::control_client::ControlClient};

/// How long an ordinary question may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no talking to the daemon.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Nobody listens.
    #[error("aegisd is not running (nobody listens at {0}): start it with `systemctl start aegisd`")]
    NotRunning(String),
    /// The socket is there for others.
    #[error("{0}: permission denied; become root, or a member of the group aegis")]
    Forbidden(String),
    /// Somebody who is not the daemon listens.
    #[error("{path} is served by uid {uid}, which is neither root nor you: not talking to it")]
    Stranger {
        /// The socket.
        path: String,
        /// Who listens.
        uid: u32,
    },
    /// Anything else.
    #[error("{path}: {source}")]
    Io {
        /// The socket.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::NotRunning(_) => Self::NotRunning(error.to_string()),
            ConnectError::Forbidden(_) => Self::No(error.to_string()),
            ConnectError::Stranger { .. } | ConnectError::Io { .. } => Self::Broken(error.to_string()),
        }
    }
}

/// The socket that was asked for, or the one every host has.
#[must_use]
pub fn socket_path(asked: Option<&Path>) -> PathBuf {
    asked.map_or_else(|| Layout::default().socket(), Path::to_path_buf)
}

/// Whether somebody listens there who may be trusted: root, or whoever asks.
///
/// # Errors
/// Why not.
pub fn probe(socket: &Path) -> Result<(), ConnectError> {
    let path = || socket.display().to_string();
    let stream = UnixStream::connect(socket).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ConnectError::NotRunning(path()),
        io::ErrorKind::PermissionDenied => ConnectError::Forbidden(path()),
        _ => ConnectError::Io { path: path(), source },
    })?;
    let peer = getsockopt(&stream, PeerCredentials)
        .map_err(|errno| ConnectError::Io { path: path(), source: errno.into() })?;
    if peer.uid() != 0 && peer.uid() != nix::unistd::geteuid().as_raw() {
        return Err(ConnectError::Stranger { path: path(), uid: peer.uid() });
    }
    Ok(())
}

/// A connection. Everything runs on the calling thread.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    inner: ControlClient<Channel>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens or the runtime cannot be made.
    pub fn connect(socket: &Path) -> Result<Self, Failure> {
        probe(socket)?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::broken("cannot set up input and output"))?;
        let text = socket
            .to_str()
            .ok_or_else(|| Failure::Usage(format!("{}: the path of the socket must be UTF-8", socket.display())))?;
        let endpoint = Endpoint::from_shared(format!("unix:{text}")).map_err(Failure::broken("cannot use the socket"))?;
        let _inside = runtime.enter();
        let inner = ControlClient::new(endpoint.connect_lazy()).max_decoding_message_size(64 << 20);
        drop(_inside);
        Ok(Self { runtime, inner })
    }

    /// Asks one question.
    ///
    /// # Errors
    /// What the daemon answered instead, or that it did not answer within `patience`.
    pub fn ask<T>(
        &mut self,
        patience: Duration,
        question: impl AsyncFnOnce(&mut ControlClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        self.try_ask(patience, question).map_err(|status| Failure::refused(&status))
    }

    /// As [`Client::ask`], for those who look at the status.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn try_ask<T>(
        &mut self,
        patience: Duration,
        question: impl AsyncFnOnce(&mut ControlClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Status> {
        let inner = &mut self.inner;
        self.runtime.block_on(async {
            match tokio::time::timeout(patience, question(inner)).await {
                Ok(answer) => answer.map(Response::into_inner),
                Err(_) => Err(Status::deadline_exceeded("no answer in time")),
            }
        })
    }

    /// Waits for something on the connection's runtime.
    pub fn wait<T>(&mut self, work: impl AsyncFnOnce(&mut ControlClient<Channel>) -> T) -> T {
        let inner = &mut self.inner;
        self.runtime.block_on(work(inner))
    }
}
