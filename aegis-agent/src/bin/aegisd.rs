//! `aegisd`: the daemon.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use aegis_agent::{
    config,
    daemon::{self, Messages, Options},
    paths::{CONFIG_DIR, Layout, PIN_DIR, RUN_DIR, STATE_DIR},
    redact::Redactor,
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
    /// Folder of the configuration: `aegis.yaml` in it is read, and redaction rules from `redact.d/*.yaml`
    #[arg(long, value_name = "DIR", default_value = CONFIG_DIR)]
    config_dir: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match start(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// Messages first, as they tell what else is wrong; they too have a redactor from the first one on.
fn start(arguments: Arguments) -> anyhow::Result<()> {
    let configured = config::redactor(&arguments.config_dir.join("redact.d"));
    let (redactor, own_rules, wrong) = match configured {
        Ok((redactor, own_rules)) => (redactor, own_rules, None),
        Err(error) => (Redactor::new(Vec::new())?, 0, Some(error)),
    };
    let redactor = Arc::new(redactor);
    let file = arguments.config_dir.join("aegis.yaml");
    let settings = config::settings(&file);
    let filter = EnvFilter::try_from_env("AEGIS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let messages = Messages::new(redactor.clone());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(messages).with_ansi(false).init();
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    wrong.map_or(Ok(()), Err)?;
    let reading = settings?.reading;
    daemon::leave_no_core()?;

    if arguments.transient {
        // The terminal's signals are the agent's; in a session of its own already is no error.
        let _ = rustix::process::setsid();
    }
    let layout = Layout { state: arguments.state_dir, run: arguments.run_dir, pins: arguments.pin_dir };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(daemon::run(Options { layout, transient: arguments.transient, redactor, own_rules, reading, settings: file }))?;
    Ok(())
}
