//! The service: lock, log, kernel side, engine, socket; and all of it down again in order.
//!
//! Knows how the parts are put together and in which order. Decides nothing about agents.

mod encryption;
mod memory;
mod messages;
mod notify;
mod retention;
mod start;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    net::UnixListener,
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep},
};
use tokio_stream::{StreamExt as _, wrappers::UnixListenerStream};

use self::{retention::Caretaker, start::Running};
pub use self::{memory::leave_no_core, messages::Messages};
use crate::{
    access::{self, Readers},
    control::{Access, Connection, ControlService},
    engine::Warden,
    erasure::Eraser,
    paths::{self, Layout},
    proto::control::control_server::ControlServer,
    redact::Redactor,
};

/// How long a transient engine waits for its first agent.
const FIRST_AGENT: Duration = Duration::from_secs(15);
/// How long it stays after its last one, for questions about it.
const LAST_AGENT: Duration = Duration::from_millis(300);
/// How long answers under way may take once the daemon ends.
const ANSWERS: Duration = Duration::from_secs(2);
/// Largest request: a manifest and arguments.
const REQUEST: usize = 8 << 20;

/// How the daemon is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folders.
    pub layout: Layout,
    /// End with the last agent, and take the programs out of the kernel then.
    pub transient: bool,
    /// Takes secrets out of what is written.
    pub redactor: Arc<Redactor>,
    /// How many of its rules are the operator's.
    pub own_rules: usize,
    /// Who may read the log.
    pub reading: access::Settings,
    /// The file that says it, and how long entries are kept: looked at from time to time.
    pub settings: PathBuf,
}

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Another engine has the lock.
    #[error("another aegisd runs on this host (it holds {0}); stop it first, or use it")]
    Running(PathBuf),
    /// A file or folder could not be handled.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The log is not one to write to.
    #[error("the audit log: {0}")]
    Log(String),
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] crate::store::IndexError),
    /// The engine could not take over.
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
    /// Memory of the daemon could get into a file.
    #[error("core dumps of the daemon cannot be switched off: {0}")]
    Core(rustix::io::Errno),
    /// The socket could not be served.
    #[error("the control socket: {0}")]
    Serve(#[from] tonic::transport::Error),
    /// The log's thread ended.
    #[error("the audit log can no longer be written; what the kernel enforces stays in force, restart the daemon")]
    LogClosed,
}

/// Runs until it is asked to end.
///
/// # Errors
/// [`DaemonError`].
pub async fn run(options: Options) -> Result<(), DaemonError> {
    let layout = options.layout.clone();
    // Blocking work of up to seconds: programs are loaded, the log is checked.
    let started = tokio::task::spawn_blocking({
        let options = options.clone();
        move || start::start(&options)
    });
    let running = match started.await {
        Ok(result) => result?,
        Err(error) => return Err(DaemonError::Log(format!("starting panicked: {error}"))),
    };
    let socket = layout.socket();
    let served = async {
        let listener = listen(&layout)?;
        let warden = Warden::start(running.engine.clone())
            .map_err(|source| DaemonError::Io { what: "starting the warden", path: socket.clone(), source })?;
        let caretaker = Caretaker::start(running.audit().clone(), options.settings.clone(), layout.log())
            .map_err(|source| DaemonError::Io { what: "starting to look after the log", path: options.settings.clone(), source })?;
        let service = ControlService::new(
            running.engine.clone(),
            Arc::new(running.index.clone()),
            Access::new(paths::GROUP),
            Readers::new(options.reading),
            Eraser::new(running.audit().clone(), layout.log(), options.settings.clone()),
            options.transient,
            running.chain.clone(),
        );
        let service = ControlServer::new(service).max_decoding_message_size(REQUEST);
        notify::tell("READY=1");
        tracing::info!(socket = %socket.display(), "ready");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tonic::transport::Server::builder().add_service(service);
        let mut server = tokio::spawn(server.serve_with_incoming_shutdown(
            UnixListenerStream::new(listener).map(|taken| taken.map(Connection::new)),
            async move { drop(stopped.await) },
        ));
        let ended = tokio::select! {
            ended = until_end(&options, &running) => ended,
            early = &mut server => match early {
                Ok(result) => result.map_err(DaemonError::from),
                Err(error) => Err(DaemonError::Log(format!("the server panicked: {error}"))),
            },
        };
        notify::tell("STOPPING=1");
        drop(stop);
        if !server.is_finished() && tokio::time::timeout(ANSWERS, &mut server).await.is_err() {
            server.abort();
        }
        warden.stop();
        caretaker.stop();
        ended
    }
    .await;
    remove_socket(&layout);
    let transient = options.transient;
    let closed = tokio::task::spawn_blocking(move || running.close(transient));
    match closed.await {
        Ok(closed) => served.and(closed),
        Err(error) => Err(DaemonError::Log(format!("stopping panicked: {error}"))),
    }
}

/// Until a signal comes, the log fails or, for a transient engine, the last agent is gone.
async fn until_end(options: &Options, running: &Running) -> Result<(), DaemonError> {
    let signals = |kind| signal(kind).map_err(|source| DaemonError::Io { what: "handling signals", path: "SIGTERM".into(), source });
    let mut terminate = signals(SignalKind::terminate())?;
    let mut interrupt = signals(SignalKind::interrupt())?;
    let begun = Instant::now();
    let mut idle: Option<Instant> = None;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            () = sleep(Duration::from_millis(50)) => {}
        }
        if running.log_has_ended() {
            return Err(DaemonError::LogClosed);
        }
        if !options.transient {
            continue;
        }
        let (had, has) = running.engine.activity();
        if has || !had && begun.elapsed() < FIRST_AGENT {
            idle = None;
            continue;
        }
        let since = *idle.get_or_insert_with(Instant::now);
        if since.elapsed() >= LAST_AGENT && running.engine.close_when_idle() {
            return Ok(());
        }
    }
}

fn listen(layout: &Layout) -> Result<UnixListener, DaemonError> {
    use std::os::unix::fs::{PermissionsExt, chown};
    let path = layout.socket();
    let wrong = |what| {
        let path = path.clone();
        move |source| DaemonError::Io { what, path, source }
    };
    remove_socket(layout);
    // Nobody else may connect before owner and mode are set.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(&path);
    rustix::process::umask(before);
    let listener = listener.map_err(wrong("listening on"))?;
    let group = nix::unistd::Group::from_name(paths::GROUP).ok().flatten();
    if let Some(group) = group {
        chown(&path, None, Some(group.gid.as_raw())).map_err(wrong("giving to group aegis"))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660)).map_err(wrong("opening for group aegis"))?;
    }
    Ok(listener)
}

fn remove_socket(layout: &Layout) {
    let path = layout.socket();
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, path = %path.display(), "the socket stays");
        }
        _ => {}
    }
}

/// Release of the running kernel.
#[must_use]
pub fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").map(|t| t.trim().to_owned()).unwrap_or_default()
}
