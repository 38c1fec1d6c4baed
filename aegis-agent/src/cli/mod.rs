//! The `aegis` command.
//!
//! [`args`] says what may be written; each command has a file. Talks to the daemon through
//! [`client`] alone and reads files where the daemon is not needed or not there.
//!
//! Architecture invariant: no stage of the daemon's pipeline uses this, and of the stages only the
//! store's reading side is used here: `aegis verify` holds the index against the log.

pub mod agents;
pub mod approvals;
pub mod args;
pub mod client;
pub mod events;
pub mod failure;
pub mod generate;
pub mod glob;
pub mod log;
pub mod output;
pub mod policy;
pub mod progress;
pub mod redact;
pub mod report;
pub mod run;
pub mod status;
pub mod time;
pub mod verify;
pub mod witness;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser as _, error::ErrorKind};

use self::{
    args::{Cli, Command, Log, Redact},
    failure::Failure,
};

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let code = match Cli::try_parse_from(&arguments) {
        Ok(cli) => dispatch(&cli),
        Err(error) => refuse(&error, &arguments),
    };
    ExitCode::from(code)
}

/// Help and version are answers; everything else is wrong usage.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> u8 {
    // When the terminal is gone there is nobody to tell.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
        // The codes below 125 are the command's own.
        _ if arguments.get(1).is_some_and(|command| command == "run") => run::OWN_FAILURE,
        _ => 2,
    }
}

fn dispatch(cli: &Cli) -> u8 {
    let socket = cli.socket.as_deref();
    let done = |result: Result<(), Failure>| result.map(|()| 0);
    let result = match &cli.command {
        // Signals and exit codes are its own business.
        Command::Run(args) => return run::run(args, socket),
        Command::Events(args) => done(events::run(args, socket)),
        Command::Report(args) => done(report::run(args, socket)),
        Command::Verify(args) => verify::run(args),
        Command::Kill(args) => done(agents::kill(args, socket)),
        Command::Thaw(args) => done(agents::thaw(args, socket)),
        Command::Agents(args) => done(agents::list(args.output, socket)),
        Command::Status(args) => status::status(args.output, socket),
        Command::Doctor(args) => status::doctor(args.output),
        Command::Policy(args) => policy::run(args),
        Command::Redact(Redact::Test(args)) => redact::test(args),
        Command::Log(Log::Checkpoint) => done(log::checkpoint(socket)),
        Command::Log(Log::Receipt(args)) => done(log::receipt(args, socket)),
        Command::Log(Log::Prove(args)) => done(log::prove(args, socket)),
        Command::Log(Log::Export(args)) => done(log::export(args)),
        Command::Log(Log::Witness(args)) => log::witness::run(args),
        Command::Log(Log::Access(args)) => done(approvals::ask(args, socket)),
        Command::Log(Log::Erase(args)) => done(approvals::ask_to_erase(args, socket)),
        Command::Approvals(args) => done(approvals::run(args, socket)),
        Command::Witness(args) => done(witness::run(args)),
        Command::Completions { shell } => done(generate::completions(*shell)),
        Command::Man { dir } => done(generate::man(dir)),
    };
    match result {
        Ok(code) => code,
        Err(Failure::Hangup) => 0,
        Err(failure) => {
            output::say(&failure.to_string());
            failure.code()
        }
    }
}
