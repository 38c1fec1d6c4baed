//! The daemon as the source: it answers from its index, and goes on as entries come.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use tonic::{Code, Status};

use super::{Query, entry::Entry, sink::Outlet};
use crate::{
    cli::{
        client::{Client, PATIENCE},
        failure::Failure,
        output,
    },
    proto::control::{EventsRequest, StatusRequest},
};

/// How long `-f` waits for a daemon that went away to come back.
const AWAY: Duration = Duration::from_secs(60);

/// The log's chain, for cursors.
///
/// # Errors
/// When the daemon does not answer.
pub fn chain(client: &mut Client) -> Result<String, Failure> {
    let reply = client.ask(PATIENCE, async |control| control.status(StatusRequest {}).await)?;
    Ok(reply.chain)
}

/// Shows what the daemon answers.
///
/// # Errors
/// When the daemon refuses or goes away, or the output fails.
pub fn show(client: &mut Client, socket: &Path, query: &Query, sink: &mut dyn Outlet) -> Result<(), Failure> {
    let mut request = EventsRequest {
        follow: query.follow,
        last: query.last.unwrap_or(0),
        reverse: query.reverse,
        reason: query.reason.clone(),
        ..query.filter.request()
    };
    // The daemon can count only what it can tell apart itself; and on the wire 0 stands for all.
    if query.last == Some(0) || (query.last.is_some() && !query.filter.is_plain()) {
        request = last_by_ourselves(client, request, query, sink)?;
        if !query.follow {
            return Ok(());
        }
    }
    loop {
        let ended = stream(client, &request, |next| match next {
            Some(entry) if query.filter.wants(&entry) => sink.put(&entry).map(|()| true),
            Some(_) => Ok(true),
            None => sink.flush().map(|()| true),
        });
        sink.flush()?;
        match ended {
            Ok(()) if !query.follow => return Ok(()),
            Err(Ended::Output(failure)) => return Err(failure),
            Err(Ended::Status(status)) if !query.follow || !went_away(&status) => return Err(Failure::refused(&status)),
            Ok(()) | Err(Ended::Status(_)) => {}
        }
        *client = wait_for_return(socket)?;
        if let Some(last) = sink.last() {
            request.after_seq = Some(last);
            request.last = 0;
        }
    }
}

/// Shows the last entries that match, found from the newest on; then returns the request for those
/// that come after them.
fn last_by_ourselves(
    client: &mut Client,
    request: EventsRequest,
    query: &Query,
    sink: &mut dyn Outlet,
) -> Result<EventsRequest, Failure> {
    let status = client.ask(PATIENCE, async |control| control.status(StatusRequest {}).await)?;
    let mut seen = status.next_seq.min(status.durable_seq.saturating_add(1)).checked_sub(1).max(request.after_seq);
    let wanted = usize::try_from(query.last.unwrap_or(0)).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    if wanted > 0 {
        let newest_first = EventsRequest { follow: false, last: 0, reverse: true, ..request.clone() };
        let ended = stream(client, &newest_first, |next| {
            if let Some(entry) = next {
                seen = seen.max(Some(entry.seq));
                if query.filter.wants(&entry) {
                    found.push(entry);
                }
            }
            Ok(found.len() < wanted)
        });
        match ended {
            Ok(()) => {}
            Err(Ended::Output(failure)) => return Err(failure),
            Err(Ended::Status(status)) => return Err(Failure::refused(&status)),
        }
    }
    if !query.reverse {
        found.reverse();
    }
    found.iter().try_for_each(|entry| sink.put(entry))?;
    sink.flush()?;
    Ok(EventsRequest { after_seq: seen, last: 0, ..request })
}

enum Ended {
    Status(Status),
    Output(Failure),
}

/// Takes one answer, until it ends or `take` wants no more. `take` gets nothing when nothing more is
/// here yet: what it has should be seen then.
fn stream(
    client: &mut Client,
    request: &EventsRequest,
    mut take: impl FnMut(Option<Entry>) -> Result<bool, Failure>,
) -> Result<(), Ended> {
    client.wait(async |control| {
        let mut stream = control.events(request.clone()).await.map_err(Ended::Status)?.into_inner();
        loop {
            let next = tokio::select! {
                biased;
                next = stream.message() => next,
                () = std::future::ready(()) => {
                    take(None).map_err(Ended::Output)?;
                    stream.message().await
                }
            };
            let Some(record) = next.map_err(Ended::Status)? else { return Ok(()) };
            let (seq, time, kind) = (record.seq, record.time_unix_ns, record.kind);
            let entry = match record.unread.is_empty() {
                true => Entry::decode(seq, time, kind, &record.body),
                false => Entry::unread(seq, time, kind, record.unread),
            };
            if !take(Some(entry)).map_err(Ended::Output)? {
                return Ok(());
            }
        }
    })
}

/// A connection that broke comes as `Unknown` from the transport.
fn went_away(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::Unknown | Code::Aborted)
}

fn wait_for_return(socket: &Path) -> Result<Client, Failure> {
    output::say("the daemon went away; waiting for it to come back");
    let until = Instant::now() + AWAY;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        match Client::connect(socket) {
            Ok(client) => return Ok(client),
            Err(Failure::NotRunning(_)) if Instant::now() < until => {}
            Err(failure) => return Err(failure),
        }
    }
}
