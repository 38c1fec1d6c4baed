//! `aegis-agreement`: does the kernel do what the policy means?
//!
//! Random manifests are put into force over a world of files, and random operations are really done by a
//! governed process; what comes of each, and the event of each denial, must be what
//! `aegis_policy::reference` says. That evaluator is slow, obvious and shares no matching code with what
//! fills the kernel's maps; the facts about the host are looked up here by other code than the daemon's.
//! Runs as root in a disposable machine only.

mod act;
mod events;
mod host;
mod manifest;
mod question;
mod run;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(version, about = "Compares the kernel's answers with the reference evaluator's")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Put random policies into force and ask (as root, beside a running daemon)
    Run {
        /// Questions in all, up to 500 of each policy
        #[arg(long, default_value_t = 10_000)]
        questions: usize,
        /// Begin of the random numbers: the same seed asks the same
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Where the world is made; what is there is deleted
        #[arg(long, default_value = "/srv/agreement")]
        world: PathBuf,
    },
    /// Do what standard input asks for, as the governed process
    Act,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run { questions, seed, world } => run::run(questions, seed, &world),
        Command::Act => act::act().map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            run::say(&format!("aegis-agreement: {error:#}"));
            ExitCode::from(2)
        }
    }
}
