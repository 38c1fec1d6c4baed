//! The one way into the log: encode, append, commit in groups, tell who waits.
//!
//! Knows the log's writer. Knows nothing of how a draft came about. This is also the one place where
//! secrets are taken out ([`crate::redact`]): nothing else encodes an event.

mod batch;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use aegis_log::{AppendError, CommitError, Day, EndedSegment, Keys, PruneError, Writer};
use prost::Message as _;
use tokio::sync::watch;

pub use self::batch::Batching;
use self::batch::Batch;
use crate::{
    clock,
    proto::event::{Event, Kind},
    record::{Draft, Row, RowSender, loss},
    redact::Redactor,
};

/// Messages that may wait for the log.
const QUEUE: usize = 16;
/// Entries that may wait for a disk that is full; beyond it the queues fill and, behind them, the
/// ring, where the kernel counts.
const PENDING_MOST: u64 = 65_536;
/// How long after a failed commit the next one is tried.
const AGAIN: Duration = Duration::from_millis(200);

/// Why an entry is not, or not yet, in the log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The disk did not take it. It stays pending and is tried again.
    #[error("the audit log cannot be written ({0}); free space or repair the disk below the state folder, it is tried again")]
    Commit(String),
    /// The entry does not fit.
    #[error("the audit entry is too large for the log ({0})")]
    Append(String),
    /// Entries were not removed.
    #[error("entries of the audit log were not removed: {0}")]
    Prune(String),
    /// A segment was not encrypted.
    #[error("a segment of the audit log was not encrypted: {0}")]
    Encrypt(String),
    /// What entries say was not erased.
    #[error("{0}")]
    Erase(String),
    /// The log's thread has ended.
    #[error("the audit log is closed; look at the daemon's messages for the reason and restart it")]
    Closed,
}

/// A durable entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    /// Its sequence number.
    pub seq: u64,
    /// Its time as logged.
    pub time: u64,
}

/// A signed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// C2SP signed note.
    pub note: String,
    /// Entries it covers.
    pub size: u64,
}

type Reply<T> = SyncSender<Result<T, AuditError>>;

enum Message {
    Drafts(Vec<Draft>),
    Entry(Box<Draft>, Reply<Durable>),
    Barrier(SyncSender<()>),
    Durable(SyncSender<()>),
    Checkpoint(Reply<Checkpoint>),
    Ended(Reply<Vec<EndedSegment>>),
    Prune { end: u64, told: u64, reply: Reply<()> },
    PutEncrypted(Box<aegis_log::Draft>, Reply<()>),
    CanErase(Day, Reply<()>),
    Erase { keys: Keys, day: Day, owner: String, told: u64, reply: Reply<()> },
    Stop,
}

/// How far the log is.
#[derive(Debug)]
pub struct Progress {
    durable: watch::Sender<u64>,
    next: AtomicU64,
    commits: AtomicU64,
    failures: AtomicU64,
}

impl Progress {
    /// Entries that are signed and on disk.
    #[must_use]
    pub fn durable_size(&self) -> u64 {
        *self.durable.borrow()
    }

    /// Tells of each commit.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.durable.subscribe()
    }

    /// Sequence number of the next entry.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Commits made.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Commits that failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

/// Hands drafts to the log's thread.
#[derive(Clone, Debug)]
pub struct AuditLog {
    queue: SyncSender<Message>,
    progress: Arc<Progress>,
    redactor: Arc<Redactor>,
}

impl AuditLog {
    /// Starts the thread that owns `writer`. Rows of durable entries go to `rows`; where that queue is
    /// full they are left out, and the index finds them in the log itself.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start(
        writer: Writer,
        redactor: Arc<Redactor>,
        batching: Batching,
        rows: RowSender,
    ) -> io::Result<(Self, JoinHandle<Result<(), AuditError>>)> {
        let (queue, messages) = sync_channel(QUEUE);
        let progress = Arc::new(Progress {
            durable: watch::Sender::new(writer.durable_size()),
            next: AtomicU64::new(writer.next_seq()),
            commits: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        });
        let stage = Stage {
            writer,
            redactor: redactor.clone(),
            batch: Batch::new(batching),
            rows: Vec::new(),
            index: rows,
            waiting: Vec::new(),
            settling: Vec::new(),
            too_large: 0,
            progress: progress.clone(),
        };
        let thread = thread::Builder::new().name("audit".into()).spawn(move || stage.run(&messages))?;
        Ok((Self { queue, progress, redactor }, thread))
    }

    /// What takes secrets out of entries.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// How far the log is.
    #[must_use]
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Hands over drafts; waits while the queue is full.
    ///
    /// # Errors
    /// The log's thread has ended.
    pub fn send(&self, drafts: Vec<Draft>) -> Result<(), AuditError> {
        self.queue.send(Message::Drafts(drafts)).map_err(|_| AuditError::Closed)
    }

    /// Appends one entry and waits until it is durable.
    ///
    /// # Errors
    /// It is not durable (yet): [`AuditError`].
    pub fn record(&self, kind: Kind, event: Event) -> Result<Durable, AuditError> {
        let draft = Draft { kind: kind as u32, time: clock::wall(), event, urgent: true };
        self.ask(|reply| Message::Entry(Box::new(draft), reply))
    }

    /// Makes everything durable and answers the checkpoint.
    ///
    /// # Errors
    /// It is not durable.
    pub fn checkpoint(&self) -> Result<Checkpoint, AuditError> {
        self.ask(Message::Checkpoint)
    }

    /// The segments that have ended and whose entries are here, the oldest first.
    ///
    /// # Errors
    /// The log's folder can't be read.
    pub fn ended_segments(&self) -> Result<Vec<EndedSegment>, AuditError> {
        self.ask(Message::Ended)
    }

    /// Removes the entries before `end`, where a segment ends. Entry `told` says so and is durable.
    ///
    /// # Errors
    /// They are there still, or in part: [`AuditError`].
    pub fn prune(&self, end: u64, told: u64) -> Result<(), AuditError> {
        self.ask(|reply| Message::Prune { end, told, reply })
    }

    /// Puts an encrypted segment in the place of the plain one.
    ///
    /// # Errors
    /// The plain one is there still.
    pub fn put_encrypted(&self, draft: aegis_log::Draft) -> Result<(), AuditError> {
        self.ask(|reply| Message::PutEncrypted(Box::new(draft), reply))
    }

    /// Whether the entries of a day can be erased.
    ///
    /// # Errors
    /// Why not.
    pub fn can_erase(&self, day: Day) -> Result<(), AuditError> {
        self.ask(|reply| Message::CanErase(day, reply))
    }

    /// Erases what entries of `day` say about `owner`. Entry `told` says so and is durable.
    ///
    /// # Errors
    /// Why it was not.
    pub fn erase(&self, keys: &Keys, day: Day, owner: &str, told: u64) -> Result<(), AuditError> {
        self.ask(|reply| Message::Erase { keys: keys.clone(), day, owner: owner.to_owned(), told, reply })
    }

    /// Signals `done` when everything handed over before has been appended.
    ///
    /// # Errors
    /// The log's thread has ended.
    pub fn barrier(&self, done: SyncSender<()>) -> Result<(), AuditError> {
        self.queue.send(Message::Barrier(done)).map_err(|_| AuditError::Closed)
    }

    /// Signals `done` when everything handed over before is durable.
    ///
    /// # Errors
    /// The log's thread has ended.
    pub fn durable(&self, done: SyncSender<()>) -> Result<(), AuditError> {
        self.queue.send(Message::Durable(done)).map_err(|_| AuditError::Closed)
    }

    /// Asks the thread to make everything durable and to end.
    pub fn stop(&self) {
        // An error means that it has ended already.
        let _ = self.queue.send(Message::Stop);
    }

    fn ask<T>(&self, message: impl FnOnce(Reply<T>) -> Message) -> Result<T, AuditError> {
        let (reply, answer) = sync_channel(1);
        self.queue.send(message(reply)).map_err(|_| AuditError::Closed)?;
        answer.recv().map_err(|_| AuditError::Closed)?
    }
}

struct Stage {
    writer: Writer,
    redactor: Arc<Redactor>,
    batch: Batch,
    rows: Vec<Row>,
    index: RowSender,
    waiting: Vec<(Durable, Reply<Durable>)>,
    settling: Vec<SyncSender<()>>,
    too_large: u64,
    progress: Arc<Progress>,
}

impl Stage {
    fn run(mut self, messages: &Receiver<Message>) -> Result<(), AuditError> {
        let mut retry: Option<Instant> = None;
        loop {
            if let Some(at) = retry
                && self.writer.pending() >= PENDING_MOST
            {
                thread::sleep(at.saturating_duration_since(Instant::now()));
            } else {
                let wait = retry.map_or_else(|| self.batch.wait(), |at| at.saturating_duration_since(Instant::now()));
                match messages.recv_timeout(wait) {
                    Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return self.close(),
                    Ok(message) => self.take(message)?,
                    Err(RecvTimeoutError::Timeout) => {}
                }
            }
            if retry.is_none() {
                self.end_epoch()?;
            }
            let due = retry.map_or_else(|| self.batch.due(), |at| Instant::now() >= at);
            if due {
                while !self.batch.full()
                    && let Ok(message) = messages.try_recv()
                {
                    if matches!(message, Message::Stop) {
                        return self.close();
                    }
                    self.take(message)?;
                }
                retry = self.commit()?.then(|| Instant::now() + AGAIN);
            }
        }
    }

    fn take(&mut self, message: Message) -> Result<(), AuditError> {
        match message {
            Message::Drafts(drafts) => {
                for draft in drafts {
                    // What is too large was counted; what else fails ends the thread.
                    if let Err(error @ AuditError::Closed) = self.append(draft) {
                        return Err(error);
                    }
                    if self.batch.full() {
                        self.commit()?;
                    }
                }
            }
            Message::Entry(draft, reply) => match self.append(*draft) {
                Ok(durable) => self.waiting.push((durable, reply)),
                Err(error @ AuditError::Closed) => return Err(error),
                Err(error) => drop(reply.send(Err(error))),
            },
            Message::Barrier(done) => drop(done.send(())),
            Message::Durable(done) if self.writer.pending() == 0 => {
                let _ = done.send(());
            }
            Message::Durable(done) => self.settling.push(done),
            Message::Checkpoint(reply) => {
                self.commit()?;
                drop(reply.send(self.checkpoint()));
            }
            Message::Ended(reply) => {
                let segments = self.writer.ended_segments();
                drop(reply.send(segments.map_err(|error| AuditError::Prune(error.to_string()))));
            }
            Message::Prune { end, told, reply } => match self.writer.prune(end, told) {
                Err(error @ PruneError::Poisoned(_)) => return Err(closed(&error)),
                done => drop(reply.send(done.map_err(|error| AuditError::Prune(error.to_string())))),
            },
            Message::PutEncrypted(draft, reply) => {
                let put = self.writer.put_encrypted(*draft);
                drop(reply.send(put.map_err(|error| AuditError::Encrypt(error.to_string()))));
            }
            Message::CanErase(day, reply) => {
                let can = self.writer.can_erase(day);
                drop(reply.send(can.map_err(|error| AuditError::Erase(error.to_string()))));
            }
            Message::Erase { keys, day, owner, told, reply } => {
                let erased = self.writer.erase(&keys, day, &owner, told);
                drop(reply.send(erased.map_err(|error| AuditError::Erase(error.to_string()))));
            }
            Message::Stop => {}
        }
        Ok(())
    }

    fn append(&mut self, mut draft: Draft) -> Result<Durable, AuditError> {
        // The only place for it: what is written, indexed and shown from here on has no secret that is known as one.
        self.redactor.event(&mut draft.event);
        let body = draft.event.encode_to_vec();
        match self.writer.append(draft.kind, draft.time, &body) {
            Ok(appended) => {
                self.batch.add(draft.urgent);
                self.rows.push(Row::new(appended.seq, appended.time, draft.kind, &draft.event));
                self.progress.next.store(self.writer.next_seq(), Ordering::Relaxed);
                Ok(Durable { seq: appended.seq, time: appended.time })
            }
            Err(error @ AppendError::BodyTooLarge { .. }) => {
                self.too_large += 1;
                let total = self.too_large;
                let loss = loss("too_large", 1, total, "audit: the entry was larger than the log takes");
                self.append(Draft { kind: Kind::Loss as u32, time: draft.time, event: loss, urgent: false })?;
                Err(AuditError::Append(error.to_string()))
            }
            Err(error) => Err(closed(&error)),
        }
    }

    /// Commits; answers whether it must be tried again.
    fn commit(&mut self) -> Result<bool, AuditError> {
        match self.writer.commit() {
            Ok(_) => {
                self.batch.committed();
                self.progress.commits.fetch_add(1, Ordering::Relaxed);
                self.progress.durable.send_replace(self.writer.durable_size());
                for (durable, reply) in self.waiting.drain(..) {
                    drop(reply.send(Ok(durable)));
                }
                for done in self.settling.drain(..) {
                    // Nobody waits any more: fine.
                    let _ = done.send(());
                }
                self.index.offer(std::mem::take(&mut self.rows));
                Ok(false)
            }
            Err(error @ CommitError::Poisoned(_)) => Err(closed(&error)),
            Err(error) => {
                self.progress.failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "the audit log cannot be made durable");
                for (_, reply) in self.waiting.drain(..) {
                    drop(reply.send(Err(AuditError::Commit(error.to_string()))));
                }
                Ok(true)
            }
        }
    }

    /// Seals the last hour in which something was logged, once it is over: its key is kept no longer than that.
    fn end_epoch(&mut self) -> Result<(), AuditError> {
        match self.writer.end_epoch(clock::wall()) {
            Ok(()) => Ok(()),
            Err(error @ CommitError::Poisoned(_)) => Err(closed(&error)),
            // It is tried again, and what comes next does not get past it.
            Err(error) => {
                self.progress.failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "an epoch of the audit log cannot be sealed");
                Ok(())
            }
        }
    }

    fn checkpoint(&self) -> Result<Checkpoint, AuditError> {
        if self.writer.pending() > 0 {
            return Err(AuditError::Commit("entries are waiting for the disk".into()));
        }
        let checkpoint = self.writer.checkpoint();
        Ok(Checkpoint { note: checkpoint.note().to_owned(), size: checkpoint.size() })
    }

    fn close(mut self) -> Result<(), AuditError> {
        self.commit()?;
        self.writer.close().map_err(|e| AuditError::Commit(e.to_string()))
    }
}

/// Says that the log is over for this process, and why.
fn closed(error: &dyn std::error::Error) -> AuditError {
    tracing::error!(%error, "the audit log takes no more entries");
    AuditError::Closed
}

#[cfg(test)]
mod tests;
