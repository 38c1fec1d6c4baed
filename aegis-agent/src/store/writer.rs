//! The thread that keeps the index current.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        mpsc::RecvTimeoutError,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use aegis_log::Reader;

use super::{Finder, Index, IndexError};
use crate::{
    query::{Filter, Lookup},
    record::{RowQueue, RowSender, row_queue},
};

/// Rows of one transaction.
const ROWS: usize = 5_000;
/// How long the log is not looked at while rows come.
const OFTEN: Duration = Duration::from_secs(10);
/// How long an index that is behind may stay so while nothing comes.
const IDLE: Duration = Duration::from_millis(500);

/// Rows to the index, and how far it is.
#[derive(Clone)]
pub struct IndexWriter {
    reached: Arc<(Mutex<u64>, Condvar)>,
    path: PathBuf,
}

impl IndexWriter {
    /// Starts the thread. `log` is the folder of the segments.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start(index: Index, log: PathBuf) -> io::Result<(Self, RowSender, JoinHandle<()>)> {
        let (rows, queue) = row_queue();
        let reached = Arc::new((Mutex::new(index.next_seq()), Condvar::new()));
        let writer = Self { reached: reached.clone(), path: index.path.clone() };
        let thread = thread::Builder::new()
            .name("index".into())
            .spawn(move || Keeper { index, log, reader: None, reached }.run(&queue))?;
        Ok((writer, rows, thread))
    }
}

impl Lookup for IndexWriter {
    fn wait_for(&self, size: u64, timeout: Duration) -> bool {
        let (reached, changed) = &*self.reached;
        let guard = reached.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(guard, timeout, |at| *at < size);
        *waited.unwrap_or_else(PoisonError::into_inner).0 >= size
    }

    fn reached(&self) -> u64 {
        *self.reached.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(
        &self,
        filter: &Filter,
        below: u64,
        limit: usize,
        in_log: &mut dyn FnMut(u64) -> Result<bool, String>,
    ) -> Result<Vec<u64>, String> {
        let found = Finder::open(&self.path).and_then(|finder| finder.find(filter, below, limit, in_log));
        found.map_err(|e| e.to_string())
    }
}

struct Keeper {
    index: Index,
    log: PathBuf,
    reader: Option<Reader>,
    reached: Arc<(Mutex<u64>, Condvar)>,
}

impl Keeper {
    fn run(mut self, queue: &RowQueue) {
        // The log comes first: what the index misses it reads there. Without the right to be nice it is not.
        let _ = rustix::process::nice(5);
        let mut caught_up = Instant::now();
        loop {
            let mut ended = false;
            // Also where rows come all the time: what the log has removed is to go here too.
            if caught_up.elapsed() >= OFTEN {
                self.keep(Self::catch_up);
                caught_up = Instant::now();
            }
            match queue.next(IDLE) {
                Ok(mut rows) => {
                    while rows.len() < ROWS
                        && let Ok(more) = queue.more()
                    {
                        rows.extend(more);
                    }
                    self.keep(|keeper| {
                        if keeper.index.add(&rows)? {
                            keeper.catch_up()?;
                        }
                        Ok(())
                    });
                }
                Err(RecvTimeoutError::Timeout) => self.keep(Self::catch_up),
                Err(RecvTimeoutError::Disconnected) => ended = true,
            }
            if ended {
                self.keep(Self::catch_up);
                return;
            }
        }
    }

    /// The index serves readers; when it fails the log goes on, and readers are told.
    fn keep(&mut self, work: impl FnOnce(&mut Self) -> Result<(), IndexError>) {
        if let Err(error) = work(self) {
            tracing::error!(%error, "the index is behind the log");
            self.reader = None;
            thread::sleep(IDLE);
        }
        let (reached, changed) = &*self.reached;
        *reached.lock().unwrap_or_else(PoisonError::into_inner) = self.index.next_seq();
        changed.notify_all();
    }

    fn catch_up(&mut self) -> Result<(), IndexError> {
        if self.reader.is_none() {
            self.reader = Some(Reader::open(&self.log).map_err(|e| IndexError::Log(e.to_string()))?);
        }
        match &mut self.reader {
            Some(reader) => self.index.catch_up(reader),
            None => Ok(()),
        }
    }
}
