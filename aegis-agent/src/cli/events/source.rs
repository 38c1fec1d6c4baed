//! Where entries are read: the daemon, segment files, or a log that somebody saved.
//!
//! Knows how to choose among them; what is wanted of the entries is the reader's business.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{Query, daemon, files, filter::Filter, piped, piped::Stdin, sink::Outlet};
use crate::{
    cli::{
        args::Origin,
        client::{self, Client, ConnectError},
        failure::Failure,
        output,
    },
    paths::Layout,
};

/// A log that can be read.
pub enum Source {
    /// The daemon answers from its index.
    Daemon(Box<Client>),
    /// The folder of the segment files.
    Files(PathBuf),
    /// JSON, an entry a line.
    Saved(Box<dyn Read>),
}

impl Source {
    /// Chooses as the options say, and where they say nothing: what is piped in (when `piped` allows), the
    /// daemon, the log of this host.
    ///
    /// # Errors
    /// When what was chosen is not there.
    pub fn choose(origin: &Origin, socket: Option<&Path>, piped: bool) -> Result<Self, Failure> {
        if let Some(dir) = &origin.dir {
            return Ok(Self::Files(dir.clone()));
        }
        if let Some(input) = &origin.input {
            if input.as_os_str() == "-" {
                return Ok(Self::Saved(Box::new(io::stdin())));
            }
            let file = File::open(input).map_err(Failure::io("cannot read", input))?;
            return Ok(Self::Saved(Box::new(file)));
        }
        if piped {
            match piped::stdin() {
                Stdin::Saved => return Ok(Self::Saved(Box::new(io::stdin()))),
                Stdin::Silent => output::say("nothing comes through standard input: showing the log of this host (--input - waits for one)"),
                Stdin::Other => {}
            }
        }
        let path = client::socket_path(socket);
        match client::probe(&path) {
            Ok(()) => Client::connect(&path).map(|client| Self::Daemon(Box::new(client))),
            Err(ConnectError::NotRunning(_)) if socket.is_none() && files::is_readable(&Layout::default().log()) => {
                let dir = Layout::default().log();
                output::say(&format!("aegisd is not running: reading {} itself (this read leaves no entry)", dir.display()));
                Ok(Self::Files(dir))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Hands over the entries that meet any of the filters, all of which are of one time. The daemon is asked
    /// for one after the other, as its index wants; files and saved logs are walked once, with the time alone:
    /// an outlet gets more than is wanted then, and must know what to pass over.
    ///
    /// # Errors
    /// When the source cannot be read to its end; what could be was handed over then.
    pub fn walk(self, socket: Option<&Path>, filters: &[Filter], reason: &str, outlet: &mut dyn Outlet) -> Result<(), Failure> {
        let query = |filter: Filter| Query { filter, reason: reason.to_owned(), ..Query::default() };
        let time = |filter: &Filter| Filter { since: filter.since, until: filter.until, ..Filter::default() };
        let whole = query(filters.first().map(time).unwrap_or_default());
        match self {
            Self::Daemon(mut client) => {
                let path = client::socket_path(socket);
                filters.iter().try_for_each(|filter| daemon::show(&mut client, &path, &query(filter.clone()), outlet))
            }
            Self::Files(dir) => files::show(files::open(&dir)?, &whole, outlet),
            Self::Saved(input) => piped::show(input, &whole, outlet),
        }
    }
}
