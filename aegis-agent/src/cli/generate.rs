//! Completions and man pages, made from the definitions in [`super::args`].

use std::{fs, io, path::Path};

use clap::CommandFactory as _;

use super::{args::Cli, failure::Failure};

/// `aegis completions SHELL`.
///
/// # Errors
/// When the output fails.
pub fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "aegis", &mut text);
    Ok(io::Write::write_all(&mut io::stdout().lock(), &text)?)
}

/// `aegis man DIR`: one page a command, `aegis-run.1` and so on.
///
/// # Errors
/// When a page cannot be written.
pub fn man(dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(Failure::io("cannot make", dir))?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(Failure::io("cannot write man pages into", dir))
}
