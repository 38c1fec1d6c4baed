//! Answers the Events request: from the index, then from the log as it grows.

use std::{sync::Arc, time::Duration};

use aegis_log::{Entry, ReadError, Reader};
use prost::Message as _;
use tokio::sync::{mpsc::Sender, watch};
use tonic::Status;

use super::view::LogView;
use crate::{
    clock,
    proto::{
        control::{EventRecord, EventsRequest},
        event::Event,
    },
    record::Row,
    query::{Filter, Lookup},
};

/// How long the index may take to reach what was durable when the question came; then the log is read.
const INDEX: Duration = Duration::from_secs(1);

/// Entries read at a time while following: what a slow reader makes wait stays in the log.
const PART: u64 = 1_000;

/// Entries that are decrypted together.
const TOGETHER: u64 = 256;

/// One answer under way.
pub(super) struct Answer {
    pub log: Arc<LogView>,
    pub request: EventsRequest,
    pub filter: Filter,
    /// Entries that were durable when the question came.
    pub size: u64,
    pub index: Arc<dyn Lookup>,
    pub durable: watch::Receiver<u64>,
    /// When the approval by which it is read ends, nanoseconds since boot.
    pub until: Option<u64>,
    pub to: Sender<Result<EventRecord, Status>>,
}

impl Answer {
    /// Sends the entries that are there; blocking.
    pub(super) fn past(&self) -> Result<(), Status> {
        let wrong = |e: &dyn std::fmt::Display| Status::internal(e.to_string());
        let log = self.log.now().map_err(|e| wrong(&e))?;
        for seq in self.find(&log)? {
            let entry = match log.get(seq) {
                // Retention took it away since the index was asked.
                Err(ReadError::Pruned { .. }) => continue,
                other => other.map_err(|e| wrong(&e))?,
            };
            let entry = entry.ok_or_else(|| {
                Status::data_loss(format!("entry {seq} is in the index and not in the log: run `aegis verify`"))
            })?;
            // The one before may have waited for its reader a long time.
            self.may_go_on()?;
            if self.to.blocking_send(Ok(record(entry))).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the approval still holds.
    fn may_go_on(&self) -> Result<(), Status> {
        if self.until.is_some_and(|until| until <= clock::boottime()) { Err(ended()) } else { Ok(()) }
    }

    /// Numbers of the entries that are wanted, in order. What the index does not have yet is looked for in
    /// the log itself.
    fn find(&self, log: &Reader) -> Result<Vec<u64>, Status> {
        let known = if self.index.wait_for(self.size, INDEX) { self.size } else { self.index.reached().min(self.size) };
        let most = if self.request.last == 0 { usize::MAX } else { usize::try_from(self.request.last).unwrap_or(usize::MAX) };
        let mut newest_first = Vec::new();
        for entry in log.entries(known) {
            let entry = entry.map_err(|e| Status::internal(e.to_string()))?;
            if entry.header.seq >= self.size {
                break;
            }
            if takes(&self.filter, &entry)? {
                newest_first.push(entry.header.seq);
            }
        }
        newest_first.reverse();
        newest_first.truncate(most);
        let mut newest = self.filter.clone();
        newest.reverse = true;
        let left = most - newest_first.len();
        if left > 0 {
            let mut paths = Paths::new(log, &self.filter);
            let found = self.index.find(&newest, known, left, &mut |seq| paths.take(seq));
            newest_first.extend(found.map_err(Status::internal)?);
        }
        if !self.filter.reverse {
            newest_first.reverse();
        }
        Ok(newest_first)
    }

    /// Sends entries as they become durable, until nobody listens.
    pub(super) async fn follow(mut self) -> Result<(), Status> {
        let internal = |e: &dyn std::fmt::Display| Status::internal(e.to_string());
        let mut next = self.size;
        let mut log = self.log.now().map_err(|e| internal(&e))?;
        let over = approved(self.until);
        tokio::pin!(over);
        loop {
            let size = *self.durable.borrow_and_update();
            while next < size {
                let filter = self.filter.clone();
                let to = size.min(next + PART);
                let read = tokio::task::spawn_blocking(move || between(&mut log, &filter, next, to).map(|r| (log, r)));
                let records;
                (log, records) = read.await.map_err(|e| internal(&e))??;
                for record in records {
                    tokio::select! {
                        biased;
                        () = &mut over => return Err(ended()),
                        sent = self.to.send(Ok(record)) => if sent.is_err() { return Ok(()) },
                    }
                }
                next = to;
            }
            tokio::select! {
                biased;
                () = &mut over => return Err(ended()),
                changed = self.durable.changed() => if changed.is_err() { return Ok(()) },
                () = self.to.closed() => return Ok(()),
            }
        }
    }
}

/// Asks the log about entries whose paths the index does not say: they are encrypted. Neighbours are decrypted together.
struct Paths<'a> {
    log: &'a Reader,
    filter: &'a Filter,
    /// The first of those that were looked at last, and which the filter takes.
    first: u64,
    taken: Vec<bool>,
}

impl<'a> Paths<'a> {
    const fn new(log: &'a Reader, filter: &'a Filter) -> Self {
        Self { log, filter, first: 0, taken: Vec::new() }
    }

    fn take(&mut self, seq: u64) -> Result<bool, String> {
        let known = |paths: &Self| paths.taken.get(usize::try_from(seq.checked_sub(paths.first)?).ok()?).copied();
        if let Some(taken) = known(self) {
            return Ok(taken);
        }
        // Older ones were removed since the index was asked.
        self.first = (seq - seq % TOGETHER).max(self.log.first());
        self.taken.clear();
        for entry in self.log.entries(self.first).take(usize::try_from(TOGETHER).unwrap_or(1)) {
            let taken = match entry {
                Err(ReadError::Pruned { .. }) => break,
                entry => takes(self.filter, &entry.map_err(|e| e.to_string())?).map_err(|e| e.message().to_owned())?,
            };
            self.taken.push(taken);
        }
        Ok(known(self).unwrap_or(false))
    }
}

fn ended() -> Status {
    Status::permission_denied("the approval to read the log has ended: ask anew with `aegis log access`")
}

/// Ends with an approval; never without one.
async fn approved(until: Option<u64>) {
    let Some(until) = until else { return std::future::pending().await };
    // The clock of timers stands still while the host sleeps, and this one does not.
    loop {
        let left = until.saturating_sub(clock::boottime());
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_nanos(left).min(Duration::from_secs(1))).await;
    }
}

fn between(log: &mut Reader, filter: &Filter, from: u64, to: u64) -> Result<Vec<EventRecord>, Status> {
    let wrong = |e: &dyn std::fmt::Display| Status::internal(e.to_string());
    log.refresh().map_err(|e| wrong(&e))?;
    let mut records = Vec::new();
    for entry in log.entries(from) {
        let entry = entry.map_err(|e| wrong(&e))?;
        if entry.header.seq >= to {
            break;
        }
        if takes(filter, &entry)? {
            records.push(record(entry));
        }
    }
    Ok(records)
}

fn takes(filter: &Filter, entry: &Entry) -> Result<bool, Status> {
    let body = entry.body.as_deref().unwrap_or_default();
    let event = Event::decode(body).map_err(|e| Status::internal(e.to_string()))?;
    Ok(filter.takes(&Row::new(entry.header.seq, entry.header.time, entry.header.kind, &event)))
}

fn record(entry: Entry) -> EventRecord {
    EventRecord {
        seq: entry.header.seq,
        time_unix_ns: entry.header.time,
        kind: entry.header.kind,
        unread: entry.body.as_ref().err().map(ToString::to_string).unwrap_or_default(),
        body: entry.body.unwrap_or_default(),
    }
}
