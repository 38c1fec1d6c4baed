//! Where the stages are wired: ring -> decode -> enrich -> decide -> audit -> index. Nothing else knows
//! more than one of them.
//!
//! Three threads beside the log's and the index's: the reader (poll, decode, count), the teller (enrich,
//! decide) and whoever asks. Queues are bounded and wait: while one is full the records stay in the ring,
//! and what the ring cannot take is counted by the kernel and told here. So a record is lost at one
//! place only, with an exact count.

mod reader;
mod repeats;
mod tell;

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

pub use self::{
    reader::{Begin, Counts, RecordSource, UNACCOUNTED},
    repeats::RepeatSource,
};
use self::{
    reader::Reader,
    repeats::{Look, Repeats},
    tell::Teller,
};
use crate::{
    audit::AuditLog,
    decide::Decider,
    directory::Directory,
    enrich::{Enricher, RealProcfs},
    record::{Draft, KernelEvent},
};

/// Batches between reader and teller.
const QUEUE: usize = 32;

/// What the reader hands on.
enum Batch {
    Events(Vec<KernelEvent>),
    Repeats(Look),
    Drafts(Vec<Draft>),
    Barrier(SyncSender<()>),
}

/// The running stages.
pub struct Pipeline {
    control: Arc<Control>,
    threads: Vec<JoinHandle<()>>,
}

/// Lets the engine wait for what the kernel has already written. Cheap to clone.
#[derive(Clone)]
pub struct Flusher(Arc<Control>);

struct Control {
    stop: AtomicBool,
    barriers: Mutex<Vec<SyncSender<()>>>,
    wake: OwnedFd,
}

impl Pipeline {
    /// Starts the stages behind `source`.
    ///
    /// # Errors
    /// When a thread or descriptor cannot be made.
    pub fn start(
        source: Box<dyn RecordSource>,
        repeats: Box<dyn RepeatSource>,
        counts: Counts,
        mut begin: Begin,
        cgroup_mount: Option<PathBuf>,
        directory: Arc<Directory>,
        audit: AuditLog,
    ) -> io::Result<Self> {
        let wake = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK)?;
        let control = Arc::new(Control { stop: AtomicBool::new(false), barriers: Mutex::default(), wake });
        let (batches, queue) = sync_channel(QUEUE);
        let told_before = std::mem::take(&mut begin.repeated);
        let repeats = Repeats::new(repeats, told_before.iter().map(|(of, (told, _))| (*of, *told)).collect());
        let reader = Reader::new(source, repeats, counts, begin, control.clone(), batches);
        let teller = Teller {
            enricher: Enricher::new(cgroup_mount, Box::new(RealProcfs)),
            decider: Decider::new(directory),
            audit,
            counted: HashMap::new(),
            told_before: told_before.into_iter().map(|(of, (_, draft))| (of, draft)).collect(),
        };
        let threads = vec![
            thread::Builder::new().name("ring".into()).spawn(move || reader.run())?,
            thread::Builder::new().name("tell".into()).spawn(move || teller.run(&queue))?,
        ];
        Ok(Self { control, threads })
    }

    /// See [`Flusher`].
    #[must_use]
    pub fn flusher(&self) -> Flusher {
        Flusher(self.control.clone())
    }

    /// Reads what the ring still holds, hands it to the log and ends.
    pub fn stop(self) {
        self.control.stop.store(true, Ordering::Release);
        self.control.wake();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a pipeline thread panicked");
            }
        }
    }
}

impl Flusher {
    /// Waits until every record that the kernel has written before now is in the hands of the log.
    /// Answers whether it is; after `timeout` it is not known.
    #[must_use]
    pub fn flush(&self, timeout: Duration) -> bool {
        let control = &self.0;
        let (done, finished) = sync_channel(1);
        control.barriers.lock().unwrap_or_else(PoisonError::into_inner).push(done);
        control.wake();
        finished.recv_timeout(timeout).is_ok()
    }
}

impl Control {
    fn wake(&self) {
        // A full counter means that it is awake already.
        let _ = rustix::io::write(self.wake.as_fd(), &1u64.to_ne_bytes());
    }

    fn clear(&self) {
        let _ = rustix::io::read(self.wake.as_fd(), &mut [0u8; 8]);
    }

    fn take_barriers(&self) -> Vec<SyncSender<()>> {
        std::mem::take(&mut *self.barriers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
