//! `aegis events`: what agents did, from the daemon, from segment files or from a saved log.
//!
//! One filter and one output for all three. [`source`] chooses; each source knows only how to walk
//! its entries, and hands those that are wanted to an [`sink::Outlet`].

pub mod cursor;
pub mod entry;
pub mod filter;
pub mod json;
pub mod saved;
pub mod short;
pub mod sink;
pub mod source;

mod daemon;
pub mod files;
mod piped;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
pub(crate) mod tests;

use std::{io, path::Path};

use jiff::Zoned;

use self::{cursor::Cursor, filter::Filter, short::Style, sink::Sink, source::Source};
use super::{
    args::{Events as Args, Span},
    client,
    failure::Failure,
    glob::Glob,
    time,
};

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

/// Shows entries.
///
/// # Errors
/// When an option makes no sense, the source cannot be read, or the output fails.
pub fn run(args: &Args, socket: Option<&Path>) -> Result<(), Failure> {
    let mut query = query(args, &Zoned::now())?;
    // Whoever names a socket, follows or keeps a cursor means the daemon.
    let piped = !args.follow && args.cursor_file.is_none() && socket.is_none();
    let source = Source::choose(&args.origin, socket, piped)?;
    let style = Style::of_reader(args.utc);
    let mut sink = Sink::new(Box::new(io::stdout().lock()), args.output, style);
    let cursor = args.cursor_file.as_deref();
    match source {
        Source::Daemon(mut client) => {
            let chain = if cursor.is_some() { daemon::chain(&mut client)? } else { String::new() };
            begin_at(&mut query, &mut sink, cursor, &chain)?;
            daemon::show(&mut client, &client::socket_path(socket), &query, &mut sink)
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

/// The filter for a time, as a person wrote it.
///
/// # Errors
/// When it is not a time.
pub fn span(span: &Span, now: &Zoned) -> Result<Filter, Failure> {
    let when = |text: &Option<String>, option: &str| {
        let parse = |text: &String| time::parse(text, now).map_err(|error| Failure::Usage(format!("{option}: {error}")));
        text.as_ref().map(parse).transpose()
    };
    Ok(Filter { since: when(&span.since, "--since")?, until: when(&span.until, "--until")?, ..Filter::default() })
}

fn query(args: &Args, now: &Zoned) -> Result<Query, Failure> {
    let path = args.path.as_deref().map(Glob::new).transpose();
    let filter = Filter {
        after_seq: args.after_seq,
        agent: args.agent.clone(),
        kinds: args.kind.iter().filter_map(|name| entry::kind_number(name)).collect(),
        verdicts: args.verdict.iter().filter_map(|name| entry::verdict_number(name)).collect(),
        pids: args.pid.clone(),
        path: path.map_err(|error| Failure::Usage(format!("--path: {error}")))?,
        rule: args.rule.clone(),
        ..span(&args.span, now)?
    };
    let begins = args.after_seq.is_some() || args.span.since.is_some();
    Ok(Query {
        filter,
        last: args.lines.or((args.follow && !begins).then_some(FOLLOW_LINES)),
        reverse: args.reverse,
        follow: args.follow,
        reason: args.origin.reason.clone().unwrap_or_default(),
    })
}
