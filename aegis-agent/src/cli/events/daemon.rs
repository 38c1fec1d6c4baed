//! The daemon as the source: it answers from its index, and goes on as entries come.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use tonic::{Code, Status};

use super::{Query, entry::Entry, sink::Sink};
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
pub fn show(mut client: Client, socket: &Path, query: &Query, sink: &mut Sink<'_>) -> Result<(), Failure> {
    let mut request = EventsRequest {
        follow: query.follow,
        last: query.last.unwrap_or(0),
        reverse: query.reverse,
        reason: query.reason.clone(),
        ..query.filter.request()
    };
    if query.last == Some(0) {
        if !query.follow {
            return sink.flush();
        }
        // On the wire 0 means all; none means: after what is there now.
        let status = client.ask(PATIENCE, async |control| control.status(StatusRequest {}).await)?;
        request.after_seq = request.after_seq.max(status.next_seq.checked_sub(1));
    }
    loop {
        let ended = client.wait(async |control| {
            let mut stream = control.events(request.clone()).await.map_err(Ended::Status)?.into_inner();
            loop {
                // Entries that are here already are written out together.
                let next = tokio::select! {
                    biased;
                    next = stream.message() => next,
                    () = std::future::ready(()) => {
                        sink.flush().map_err(Ended::Output)?;
                        stream.message().await
                    }
                };
                let Some(record) = next.map_err(Ended::Status)? else { return Ok(()) };
                let entry = Entry::decode(record.seq, record.time_unix_ns, record.kind, &record.body);
                if query.filter.wants(&entry) {
                    sink.put(&entry).map_err(Ended::Output)?;
                }
            }
        });
        sink.flush()?;
        match ended {
            Ok(()) if !query.follow => return Ok(()),
            Err(Ended::Output(failure)) => return Err(failure),
            Err(Ended::Status(status)) if !query.follow || !went_away(&status) => return Err(Failure::refused(&status)),
            Ok(()) | Err(Ended::Status(_)) => {}
        }
        client = wait_for_return(socket)?;
        if let Some(last) = sink.last() {
            request.after_seq = Some(last);
            request.last = 0;
        }
    }
}

enum Ended {
    Status(Status),
    Output(Failure),
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
