//! `aegisd`: the daemon.

use std::{path::PathBuf, process::ExitCode};

use aegis_agent::{
    daemon::{self, Options},
    paths::{Layout, PIN_DIR, RUN_DIR, STATE_DIR},
};
use clap::Parser;
use tracing_subscriber::EnvFilter;

/// Governs AI agents: enforces their policies in the kernel and keeps the audit log.
#[derive(Debug, Parser)]
#[command(name = "aegisd", version, about)]
struct Arguments {
    /// End with the last agent and leave nothing in the kernel (`aegis run` starts it so where no daemon runs)
    #[arg(long)]
    transient: bool,
    /// Folder of the audit log, its key and its index
    #[arg(long, value_name = "DIR", default_value = STATE_DIR)]
    state_dir: PathBuf,
    /// Folder of the control socket, the lock and the running agents
    #[arg(long, value_name = "DIR", default_value = RUN_DIR)]
    run_dir: PathBuf,
    /// Folder on a bpffs for what stays in the kernel
    #[arg(long, value_name = "DIR", default_value = PIN_DIR)]
    pin_dir: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("AEGIS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    if arguments.transient {
        // The terminal's signals are the agent's; in a session of its own already is no error.
        let _ = rustix::process::setsid();
    }
    let layout = Layout { state: arguments.state_dir, run: arguments.run_dir, pins: arguments.pin_dir };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(daemon::run(Options { layout, transient: arguments.transient }))?;
    Ok(())
}
