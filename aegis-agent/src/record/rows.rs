//! Rows on their way from the log to the index.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel},
    },
    time::Duration,
};

use super::Row;

/// Rows that may wait before more are left out: a few megabytes.
const WAITING: usize = 8_192;

/// Where rows of durable entries go.
#[derive(Debug)]
pub struct RowSender {
    to: Sender<Vec<Row>>,
    waiting: Arc<AtomicUsize>,
}

/// Where they come out.
#[derive(Debug)]
pub struct RowQueue {
    from: Receiver<Vec<Row>>,
    waiting: Arc<AtomicUsize>,
}

/// A queue for rows. Who sends never waits: where too many rows wait already, more are left out, and the index finds them in
/// the log.
#[must_use]
pub fn row_queue() -> (RowSender, RowQueue) {
    let (to, from) = channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    (RowSender { to, waiting: waiting.clone() }, RowQueue { from, waiting })
}

impl RowSender {
    /// Hands over the rows of one commit, if there is room for them.
    pub fn offer(&self, rows: Vec<Row>) {
        let count = rows.len();
        if count == 0 || self.waiting.load(Ordering::Relaxed) >= WAITING {
            return;
        }
        self.waiting.fetch_add(count, Ordering::Relaxed);
        if self.to.send(rows).is_err() {
            tracing::debug!("the index has stopped");
        }
    }
}

impl RowQueue {
    /// The next rows.
    ///
    /// # Errors
    /// There were none in that time, or there will be none any more.
    pub fn next(&self, timeout: Duration) -> Result<Vec<Row>, RecvTimeoutError> {
        self.from.recv_timeout(timeout).inspect(|rows| self.taken(rows))
    }

    /// Rows that are there already.
    ///
    /// # Errors
    /// There are none.
    pub fn more(&self) -> Result<Vec<Row>, TryRecvError> {
        self.from.try_recv().inspect(|rows| self.taken(rows))
    }

    fn taken(&self, rows: &[Row]) {
        self.waiting.fetch_sub(rows.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize) -> Vec<Row> {
        vec![Row::default(); count]
    }

    #[test]
    fn a_commit_of_any_size_finds_an_empty_queue_and_none_finds_a_full_one() {
        let (to, queue) = row_queue();
        to.offer(rows(2 * WAITING));
        to.offer(rows(1));
        assert_eq!(queue.more().expect("rows").len(), 2 * WAITING);
        assert_eq!(queue.more(), Err(TryRecvError::Empty));
        to.offer(rows(WAITING - 1));
        to.offer(rows(3));
        to.offer(rows(3));
        assert_eq!(queue.next(Duration::ZERO).expect("rows").len(), WAITING - 1);
        assert_eq!(queue.next(Duration::ZERO).expect("rows").len(), 3);
        drop(to);
        assert_eq!(queue.next(Duration::ZERO), Err(RecvTimeoutError::Disconnected));
    }
}
