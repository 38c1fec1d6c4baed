//! `aegis`, the command. Everything is in the library, where it is tested.

use std::process::ExitCode;

fn main() -> ExitCode {
    aegis_agent::cli::main()
}
