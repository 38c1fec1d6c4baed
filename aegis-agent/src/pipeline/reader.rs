//! The thread at the ring: poll, drain, decode, count what is lost.

use std::{
    collections::{HashMap, HashSet},
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, atomic::Ordering, mpsc::SyncSender},
    time::{Duration, Instant},
};

use aegis_common::counter::Counter;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Batch, Control, Look, Repeats};
use crate::{
    decode::{DecodeError, decode},
    health::{Gaps, LossBook},
    record::{Draft, KernelEvent},
};

/// Records of one batch.
const BATCH: usize = 512;
/// Allowed operations do not wake the reader: it looks by itself this often.
const TICK: Duration = Duration::from_millis(20);
/// How often repeat counters are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often losses are looked at.
const COUNT: Duration = Duration::from_millis(500);

/// Where records come from: the kernel's ring, or a test.
pub trait RecordSource: Send {
    /// Readable when there are records; `None` to be asked by time alone.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
    /// Hands over at most `max` records and answers how many.
    fn drain(&mut self, max: usize, take: &mut dyn FnMut(&[u8])) -> usize;
}

/// Reads the kernel's counters; `None` when they cannot be read now.
pub type Counts = Box<dyn FnMut() -> Option<Vec<(Counter, u64)>> + Send>;

/// Where an earlier engine ended.
#[derive(Debug, Default)]
pub struct Begin {
    /// Greatest kernel sequence number in the log, 0 when the kernel's numbers are new.
    pub kernel_seq: u64,
    /// The last ones in the log: a record with one of these is there already.
    pub logged: HashSet<u64>,
    /// What the log has told of the kernel's losses and of [`UNACCOUNTED`].
    pub told: Vec<(String, u64)>,
    /// Events whose repetitions the kernel counts, by their kernel sequence numbers: how many repetitions the log has
    /// told, and the event.
    pub repeated: HashMap<u64, (u64, Draft)>,
}

/// Kernel sequence numbers begin here, or at 0.
const FIRST_SEQ: u64 = 1;
/// Records missing in the kernel's sequence that no counter explains.
pub const UNACCOUNTED: &str = "unaccounted";

pub(super) struct Reader {
    source: Box<dyn RecordSource>,
    repeats: Repeats,
    counts: Counts,
    control: Arc<Control>,
    batches: SyncSender<Batch>,
    gaps: Option<Gaps>,
    resumed: bool,
    logged: HashSet<u64>,
    book: LossBook,
    malformed: u64,
    abi: u64,
    counted: Instant,
    looked: Instant,
    /// Excess of gaps over counted losses at the last look: told when it is still there at the next.
    excess: u64,
    /// Kernel losses that the log had told when this engine began.
    told_before: u64,
    /// The like of `excess`, as told before this engine began.
    unaccounted_before: u64,
}

impl Reader {
    pub(super) fn new(
        source: Box<dyn RecordSource>,
        repeats: Repeats,
        counts: Counts,
        begin: Begin,
        control: Arc<Control>,
        batches: SyncSender<Batch>,
    ) -> Self {
        let mut book = LossBook::default();
        for (kind, total) in &begin.told {
            book.begin_at(kind, *total);
        }
        let resumed = begin.kernel_seq > 0;
        let told_before = if resumed { kernel_kinds().map(|k| book.told(k.name())).sum() } else { 0 };
        let unaccounted_before = book.told(UNACCOUNTED);
        Self {
            source,
            repeats,
            counts,
            control,
            batches,
            gaps: resumed.then(|| Gaps::new(begin.kernel_seq + 1)),
            resumed,
            logged: begin.logged,
            book,
            malformed: 0,
            abi: 0,
            counted: Instant::now(),
            looked: Instant::now(),
            excess: 0,
            told_before,
            unaccounted_before,
        }
    }

    pub(super) fn run(mut self) {
        loop {
            let stop = self.control.stop.load(Ordering::Acquire);
            let barriers = self.control.take_barriers();
            let look = self.look(stop || !barriers.is_empty());
            if self.drain().is_none() {
                return;
            }
            // Behind the records that it continues: these were in the ring when a counter could be seen.
            if let Some(look) = look
                && self.batches.send(Batch::Repeats(look)).is_err()
            {
                return;
            }
            if (stop || self.counted.elapsed() >= COUNT) && self.count_losses().is_none() {
                return;
            }
            for barrier in barriers {
                if self.batches.send(Batch::Barrier(barrier)).is_err() {
                    return;
                }
            }
            if stop {
                return;
            }
            self.wait();
        }
    }

    fn wait(&self) {
        let wake = self.control.wake.as_fd();
        let mut fds = vec![PollFd::new(&wake, PollFlags::IN)];
        let ring = self.source.fd();
        if let Some(ring) = &ring {
            fds.push(PollFd::new(ring, PollFlags::IN));
        }
        let tick = Timespec { tv_sec: 0, tv_nsec: i64::try_from(TICK.as_nanos()).unwrap_or(0) };
        if poll(&mut fds, Some(&tick)).is_ok() && !fds[0].revents().is_empty() {
            self.control.clear();
        }
    }

    /// Looks at the repeat counters, when it is time or somebody waits.
    fn look(&mut self, now: bool) -> Option<Look> {
        let aging = self.looked.elapsed() >= LOOK;
        if aging {
            self.looked = Instant::now();
        }
        (self.repeats.advance() || aging || now).then(|| self.repeats.look(aging))
    }

    /// Empties the ring. `None` when nobody takes the records any more.
    fn drain(&mut self) -> Option<()> {
        loop {
            let mut events = Vec::with_capacity(BATCH);
            let now = Instant::now();
            let Self { source, gaps, logged, resumed, malformed, abi, .. } = self;
            let drained = source.drain(BATCH, &mut |bytes| match decode(bytes) {
                Ok(event) => take(event, gaps, *resumed, logged, now, &mut events),
                Err(error @ DecodeError::Abi(_)) => {
                    *abi += 1;
                    if *abi == 1 {
                        tracing::error!(%error, "records of another version are refused");
                    }
                }
                Err(error) => {
                    *malformed += 1;
                    tracing::warn!(%error, "a record was refused");
                }
            });
            if !events.is_empty() {
                self.batches.send(Batch::Events(events)).ok()?;
            }
            if drained < BATCH {
                return Some(());
            }
        }
    }

    /// Tells what was lost since the last look. The kernel counts by kind; gaps beyond that are what an
    /// earlier engine had read and not made durable, or records refused here.
    fn count_losses(&mut self) -> Option<()> {
        self.counted = Instant::now();
        let greatest = self.gaps.as_ref().map_or(0, Gaps::greatest);
        let mut drafts = Vec::new();
        let mut by_kind = 0;
        if let Some(counts) = (self.counts)() {
            // The other counters are failures that were denied: status shows them, nothing was lost.
            for (counter, total) in counts.iter().filter(|(c, _)| c.is_loss()) {
                drafts.extend(self.book.count(counter.name(), *total, "kernel: the ring was full", greatest));
                if is_kind(*counter) {
                    by_kind += total;
                }
            }
            let lost = self.gaps.as_mut().map_or(0, |g| g.lost(Instant::now()));
            let known = by_kind.saturating_sub(self.told_before) + self.malformed + self.abi;
            let excess = lost.saturating_sub(known);
            if excess > 0 && excess == self.excess {
                let place = "read by an earlier engine and not durable when it died (process forks among them)";
                drafts.extend(self.book.count(UNACCOUNTED, self.unaccounted_before + excess, place, greatest));
            }
            self.excess = excess;
        }
        drafts.extend(self.book.count("malformed", self.malformed, "decode: the record was not well formed", greatest));
        drafts.extend(self.book.count("abi", self.abi, "decode: the record had another ABI version", greatest));
        if !drafts.is_empty() {
            self.batches.send(Batch::Drafts(drafts)).ok()?;
        }
        Some(())
    }
}

fn take(
    event: KernelEvent,
    gaps: &mut Option<Gaps>,
    resumed: bool,
    logged: &HashSet<u64>,
    now: Instant,
    events: &mut Vec<KernelEvent>,
) {
    let seq = event.header.seq;
    gaps.get_or_insert_with(|| Gaps::new(FIRST_SEQ.min(seq))).seen(seq, now);
    if !(resumed && logged.contains(&seq)) {
        events.push(event);
    }
}

/// Counters of lost records by kind; denials are counted there too and once more by themselves.
fn is_kind(counter: Counter) -> bool {
    counter.is_loss() && counter != Counter::LostDenial
}

fn kernel_kinds() -> impl Iterator<Item = Counter> {
    Counter::ALL.into_iter().filter(|c| is_kind(*c))
}
