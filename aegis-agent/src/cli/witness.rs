//! `aegis witness`: a witness for logs of other hosts. Needs no daemon, and should not run where the logs are.

use aegis_log::{Witness, WitnessError};
use tokio::{
    net::TcpListener,
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

use super::{args::Witness as Args, failure::Failure, output, verify::key};
use crate::witness::serve::serve;

impl From<WitnessError> for Failure {
    fn from(error: WitnessError) -> Self {
        let text = error.to_string();
        match error {
            WitnessError::Name(_) | WitnessError::Named(_) => Self::Usage(text),
            WitnessError::State { .. } => Self::No(text),
            _ => Self::Broken(text),
        }
    }
}

/// Runs until a signal ends it. Prints the line that makes it known to a policy.
///
/// # Errors
/// When its state cannot be used or its address not be bound.
pub fn run(args: &Args) -> Result<(), Failure> {
    let logs = args.log.iter().map(|given| key("--log", given)).collect::<Result<Vec<_>, _>>()?;
    let filter = EnvFilter::try_from_env("AEGIS_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let witness = Witness::open(&args.state, args.name.as_deref(), logs)?;
    let wrong = Failure::broken::<std::io::Error>;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(wrong("cannot set up input and output"))?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await.map_err(wrong("cannot listen"))?;
        let address = listener.local_addr().map_err(wrong("cannot listen"))?;
        let mut terminate = signal(SignalKind::terminate()).map_err(wrong("cannot wait for signals"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(wrong("cannot wait for signals"))?;
        let key = witness.key();
        output::print(&format!("witness {} {key} http://{address}\n", key.name()))?;
        tokio::select! {
            never = serve(listener, witness) => match never {},
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        }
    })
}
