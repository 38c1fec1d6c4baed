//! A connection and who made it, as it was when it was made.
//!
//! A process id alone is no name: a connection can be handed to another process, and the id used again.
//! The start of the process, read when the connection is taken, tells whether it is still the same one.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
};
use tonic::transport::server::Connected;

use crate::engine::process::ProcessId;

/// Who made a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Process; `None` where it cannot be seen from here or was gone already.
    pub process: Option<ProcessId>,
}

/// A connection of the control socket.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    credentials: Option<Credentials>,
}

impl Connection {
    /// Takes a connection.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        let credentials = stream.peer_cred().ok().map(|peer| Credentials {
            uid: peer.uid(),
            gid: peer.gid(),
            process: peer.pid().and_then(|p| u32::try_from(p).ok()).and_then(|p| ProcessId::of(p).ok()),
        });
        Self { stream, credentials }
    }
}

impl Connected for Connection {
    type ConnectInfo = Option<Credentials>;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.credentials
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
