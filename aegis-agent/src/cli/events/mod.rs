//! `aegis events`: what agents did, from the daemon, from segment files or from a saved log.
//!
//! One filter and one output for all three. Knows how to choose the source; each source knows only
//! how to walk its entries.

pub mod cursor;
pub mod entry;
pub mod filter;
pub mod json;
pub mod saved;
pub mod short;

mod daemon;
pub mod files;
mod piped;
#[cfg(test)]
pub(crate) mod sample;
mod sink;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use jiff::{Zoned, tz::TimeZone};

use self::{cursor::Cursor, filter::Filter, piped::Stdin, short::Style, sink::Sink};
use super::{
    args::Events as Args,
    client::{self, Client, ConnectError},
    failure::Failure,
    glob::Glob,
    output, time,
};
use crate::paths::Layout;

/// Entries shown by `-f` before it waits, as journalctl does.
const FOLLOW_LINES: u64 = 10;

/// What is wanted of a source.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Which entries.
    pub filter: Filter,
    /// Only the last of them.
    pub last: Option<u64>,
    /// Newest first.
    pub reverse: bool,
    /// And those to come.
    pub follow: bool,
    /// Why, for the log.
    pub reason: String,
}

enum Source {
    Daemon(Box<Client>),
    Files(PathBuf),
    Saved(Box<dyn Read>),
}

/// Shows entries.
///
/// # Errors
/// When an option makes no sense, the source cannot be read, or the output fails.
pub fn run(args: &Args, socket: Option<&Path>) -> Result<(), Failure> {
    let mut query = query(args, &Zoned::now())?;
    let source = choose(args, socket)?;
    let style = Style { zone: if args.utc { TimeZone::UTC } else { TimeZone::system() }, colour: output::colour() };
    let mut sink = Sink::new(Box::new(io::stdout().lock()), args.output, style);
    let cursor = args.cursor_file.as_deref();
    match source {
        Source::Daemon(mut client) => {
            let chain = if cursor.is_some() { daemon::chain(&mut client)? } else { String::new() };
            begin_at(&mut query, &mut sink, cursor, &chain)?;
            daemon::show(*client, &client::socket_path(socket), &query, &mut sink)
        }
        Source::Files(dir) => {
            let reader = files::open(&dir)?;
            let chain = if cursor.is_some() { files::chain(&reader)? } else { String::new() };
            begin_at(&mut query, &mut sink, cursor, &chain)?;
            files::show(reader, &query, &mut sink)
        }
        Source::Saved(input) => piped::show(input, &query, &mut sink),
    }
}

/// Puts the cursor into the query and the sink.
fn begin_at(query: &mut Query, sink: &mut Sink<'_>, path: Option<&Path>, chain: &str) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    let cursor = Cursor::open(path, chain)?;
    query.filter.after_seq = cursor.seq();
    if cursor.seq().is_some() && query.follow && query.last == Some(FOLLOW_LINES) {
        // A reader that goes on wants everything since, not the last few.
        query.last = None;
    }
    sink.follow(cursor);
    Ok(())
}

fn query(args: &Args, now: &Zoned) -> Result<Query, Failure> {
    let when = |text: &Option<String>, option: &str| {
        let parse = |text: &String| {
            time::parse(text, now).map_err(|error| Failure::Usage(format!("{option}: {error}")))
        };
        text.as_ref().map(parse).transpose()
    };
    let path = args.path.as_deref().map(Glob::new).transpose();
    let filter = Filter {
        after_seq: args.after_seq,
        since: when(&args.since, "--since")?,
        until: when(&args.until, "--until")?,
        agent: args.agent.clone(),
        kinds: args.kind.iter().filter_map(|name| entry::kind_number(name)).collect(),
        verdicts: args.verdict.iter().filter_map(|name| entry::verdict_number(name)).collect(),
        pids: args.pid.clone(),
        path: path.map_err(|error| Failure::Usage(format!("--path: {error}")))?,
        rule: args.rule.clone(),
    };
    let begins = args.after_seq.is_some() || args.since.is_some();
    Ok(Query {
        filter,
        last: args.lines.or((args.follow && !begins).then_some(FOLLOW_LINES)),
        reverse: args.reverse,
        follow: args.follow,
        reason: args.reason.clone().unwrap_or_default(),
    })
}

fn choose(args: &Args, socket: Option<&Path>) -> Result<Source, Failure> {
    if let Some(dir) = &args.dir {
        return Ok(Source::Files(dir.clone()));
    }
    if let Some(input) = &args.input {
        if input.as_os_str() == "-" {
            return Ok(Source::Saved(Box::new(io::stdin())));
        }
        let file = File::open(input).map_err(Failure::io("cannot read", input))?;
        return Ok(Source::Saved(Box::new(file)));
    }
    // Whoever names a socket, follows or keeps a cursor means the daemon.
    if !args.follow && args.cursor_file.is_none() && socket.is_none() {
        match piped::stdin() {
            Stdin::Saved => return Ok(Source::Saved(Box::new(io::stdin()))),
            Stdin::Silent => output::say("nothing comes through standard input: showing the log of this host (--input - waits for one)"),
            Stdin::Other => {}
        }
    }
    let path = client::socket_path(socket);
    match client::probe(&path) {
        Ok(()) => Client::connect(&path).map(|client| Source::Daemon(Box::new(client))),
        Err(ConnectError::NotRunning(_)) if socket.is_none() && files::is_readable(&Layout::default().log()) => {
            let dir = Layout::default().log();
            output::say(&format!("aegisd is not running: reading {} itself (this read leaves no entry)", dir.display()));
            Ok(Source::Files(dir))
        }
        Err(error) => Err(error.into()),
    }
}
