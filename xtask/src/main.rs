//! `cargo xtask`: everything the project does to itself. Each command is a module; this file only chooses.

use std::process::ExitCode;

use clap::Parser as _;

mod bench;
mod build;
mod cli;
mod demo;
mod host;
mod setup;
mod test;
mod tidy;
mod ui;
mod vm;

fn main() -> ExitCode {
    let outcome = match cli::Cli::parse().command {
        cli::Task::Setup(options) => setup::run(&options).map(|()| ExitCode::SUCCESS),
        cli::Task::Build(options) => build::run(&options).map(|()| ExitCode::SUCCESS),
        cli::Task::Vm(options) => vm::command(&options),
        cli::Task::Test(options) => test::run(&options),
        cli::Task::Mutate(options) => test::mutations::command(&options),
        cli::Task::Demo(options) => demo::run(&options),
        cli::Task::Bench(options) => bench::run(&options),
        cli::Task::Tidy => tidy::run(),
    };
    outcome.unwrap_or_else(|error| {
        ui::error(&error);
        // Not 1: with `vm` that would look like the exit status of the command inside.
        ExitCode::from(125)
    })
}
