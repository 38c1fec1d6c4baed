//! `aegis-bench-log`: what the audit log takes and gives, beside a bare file on the same disk in the same run.
//!
//! Times are of one machine and its disk. What comes out is checked all the same: every entry is there, the log verifies,
//! receipts hold and questions find what they must.

mod clock;
mod evidence;
mod feed;
mod index;
mod memory;
mod stages;
mod table;
mod writing;

use std::io::{Write as _, stdout};
use std::path::{Path, PathBuf};

use aegis_log::{VerifyOptions, verify};
use anyhow::{Result, ensure};
use clap::Parser;

use clock::Begun;
use feed::Feed;
use table::{Aim, Table};

#[derive(Parser)]
#[command(version, about = "Measures the audit log beside the disk it lies on")]
struct Cli {
    /// Entries of the log
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(10_000..))]
    entries: u64,
    /// Folder to work in, on the disk that is to be measured; what is made there is removed
    #[arg(long)]
    dir: PathBuf,
}

/// Where the parts of a log are.
struct Place<'a> {
    root: &'a Path,
}

impl Place<'_> {
    fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    fn key(&self) -> PathBuf {
        self.root.join("log.key")
    }

    fn index(&self) -> PathBuf {
        self.root.join("index.sqlite")
    }
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    std::fs::create_dir_all(&cli.dir)?;
    let feed = Feed::new(cli.entries);
    let mut table = Table::default();
    for batch in [1_000, 16_384] {
        let scratch = tempfile::tempdir_in(&cli.dir)?;
        writing::measure(&Place { root: scratch.path() }, &feed, batch, &mut table)?;
    }
    let scratch = tempfile::tempdir_in(&cli.dir)?;
    let place = Place { root: scratch.path() };
    stages::measure(&place, &feed, &mut table)?;
    sizes(&place, cli.entries, &mut table)?;
    verified(&place, cli.entries, &mut table)?;
    evidence::measure(&place, cli.entries, &mut table)?;
    index::questions(&place, &feed, &mut table)?;
    index::rebuild(&place, cli.entries, &mut table)?;
    write!(stdout(), "{}", table.markdown(cli.entries))?;
    Ok(())
}

fn verified(place: &Place<'_>, entries: u64, table: &mut Table) -> Result<()> {
    let begun = Begun::now()?;
    let report = verify(&place.log(), &VerifyOptions::default())?;
    let took = begun.took()?;
    ensure!(report.exit_code() == 0 && report.entries == entries, "the log does not verify: {report}");
    table.rate("verified", entries, took, Aim::AtLeast(1_500_000.0));
    Ok(())
}

/// Bytes on the disk.
fn sizes(place: &Place<'_>, entries: u64, table: &mut Table) -> Result<()> {
    let mut segments = 0;
    let mut all = 0;
    for file in std::fs::read_dir(place.log())? {
        let file = file?;
        let len = file.metadata()?.len();
        all += len;
        if file.path().extension().is_some_and(|extension| extension == "seg") {
            segments += len;
        }
    }
    table.figure("bytes an entry, its segment", segments as f64 / entries as f64, 0, Aim::None);
    table.figure("bytes an entry, the log's folder", all as f64 / entries as f64, 0, Aim::AtMost(120.0));
    let index = std::fs::metadata(place.index())?.len();
    table.figure("bytes an entry, the index", index as f64 / entries as f64, 0, Aim::None);
    Ok(())
}
