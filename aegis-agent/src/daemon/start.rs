//! Puts the parts together, and takes them apart.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, DirBuilder, File},
    io,
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt},
        net::UnixStream,
    },
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc::Receiver},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use aegis_common::{
    ABI_VERSION,
    counter::Counter,
    repeat::{Repeat, RepeatKey},
};
use aegis_log::{OpenReport, ReadError, Reader, Writer, WriterOptions, host_boot_id};
use prost::Message as _;
use rustix::fs::{FlockOperation, flock};

use super::{DaemonError, Options, kernel_release};
use crate::{
    audit::{AuditError, AuditLog, Batching},
    directory::Directory,
    engine::{
        Engine, Parts,
        cgroup::{CgroupPort, Cgroups},
        port::KernelPort,
    },
    kernel::{self, EventRing, Kernel, Origin, RepeatCounters},
    paths::{self, Layout},
    pipeline::{Begin, Counts, Pipeline, RecordSource, RepeatSource, UNACCOUNTED},
    proto::event::{self, Event, Kind, event::Detail},
    record::{Draft, KERNEL_ATTACHED},
    store::{Index, IndexWriter},
};

/// The last entries looked at for kernel sequence numbers after a take-over.
const TAIL: u64 = 10_000;

/// How long a transient engine waits for another one that has the lock and does not listen yet.
const OTHER: Duration = Duration::from_secs(50);

type SharedKernel = Arc<Mutex<Option<Box<dyn KernelPort>>>>;

/// A daemon that runs.
pub(super) struct Running {
    pub engine: Arc<Engine>,
    pub index: IndexWriter,
    pub chain: String,
    kernel: SharedKernel,
    pipeline: Option<Pipeline>,
    audit: AuditLog,
    audit_thread: JoinHandle<Result<(), AuditError>>,
    index_thread: JoinHandle<()>,
    /// Held as long as the daemon lives.
    _lock: File,
}

pub(super) fn start(options: &Options) -> Result<Running, DaemonError> {
    let layout = &options.layout;
    let lock = prepare(layout, options.transient)?;
    let boot = host_boot_id().map_err(|e| DaemonError::Log(e.to_string()))?;
    let (writer, report) = Writer::open(&WriterOptions::new(layout.log(), layout.log_key(), boot))
        .map_err(|e| DaemonError::Log(e.to_string()))?;
    let chain_id = writer.chain_id();
    let mut index = Index::open(&layout.index(), chain_id)?;
    let unclean = !report.created && !stopped_cleanly(layout)?;
    let mut reader = Reader::open(layout.log()).map_err(|e| DaemonError::Log(e.to_string()))?;
    // An index that cannot be brought up to date is made again; if that fails too the log is damaged.
    if index.catch_up(&mut reader).is_err() {
        drop(index);
        fs::remove_file(layout.index()).map_err(|source| wrong("removing the index", &layout.index(), source))?;
        index = Index::open(&layout.index(), chain_id)?;
        index.catch_up(&mut reader)?;
    }

    let attached = attach(layout);
    let begin = match &attached.ring {
        Some((_, repeats)) if attached.origin != Some(Origin::New) => begin(&index, &reader, repeats)?,
        _ => Begin::default(),
    };
    let (index, rows, index_thread) =
        IndexWriter::start(index, layout.log()).map_err(|source| wrong("starting the index", &layout.index(), source))?;
    let (audit, audit_thread) = AuditLog::start(writer, options.redactor.clone(), Batching::default(), rows)
        .map_err(|source| wrong("starting the log", &layout.log(), source))?;
    record_start(&audit, &report, unclean, &attached, boot, options.own_rules)?;

    let directory = Arc::new(Directory::default());
    let cgroups = Cgroups::find();
    let mount = cgroups.as_ref().ok().map(|c| c.mount().to_path_buf());
    let kernel: SharedKernel = Arc::new(Mutex::new(attached.kernel));
    let not_enforcing = attached.why.or_else(|| cgroups.as_ref().err().map(ToString::to_string));
    let engine = Arc::new(Engine::new(Parts {
        layout: layout.clone(),
        tmp: "/tmp".into(),
        audit: audit.clone(),
        directory: directory.clone(),
        kernel: kernel.clone(),
        not_enforcing,
        left_in_force: attached.left,
        cgroups: cgroups.ok().map(|c| Box::new(c) as Box<dyn CgroupPort>),
    }));
    engine.adopt()?;
    let pipeline = match attached.ring {
        None => None,
        Some((ring, repeats)) => {
            let counts = counts(kernel.clone());
            let pipeline =
                Pipeline::start(Box::new(ring), Box::new(repeats), counts, begin, mount, directory, audit.clone())
                    .map_err(|source| wrong("starting the pipeline", &layout.log(), source))?;
            engine.pipeline_runs(pipeline.flusher());
            Some(pipeline)
        }
    };
    engine.settle();
    let chain = crate::words::hex(&chain_id);
    Ok(Running { engine, index, chain, kernel, pipeline, audit, audit_thread, index_thread, _lock: lock })
}

impl Running {
    pub(super) fn audit(&self) -> &AuditLog {
        &self.audit
    }

    pub(super) fn log_has_ended(&self) -> bool {
        self.audit_thread.is_finished()
    }

    /// Down in order: no more agents, what the kernel has written, the last entry, the last checkpoint.
    /// What governs stays in the kernel, unless the engine was to end with its last agent and has none.
    pub(super) fn close(self, transient: bool) -> Result<(), DaemonError> {
        self.engine.close();
        let agents = self.engine.sessions().len();
        if let Some(pipeline) = self.pipeline {
            pipeline.stop();
        }
        let detach = transient && agents == 0;
        let mut text = format!("{agents} agents stay governed");
        if detach {
            let kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner).take();
            text = match kernel.map(KernelPort::detach_all) {
                None => "nothing was in the kernel".into(),
                Some(Ok(())) => "the programs were taken out of the kernel".into(),
                Some(Err(error)) => format!("the programs could not be taken out of the kernel: {error}"),
            };
        }
        let recorded = self.audit.record(Kind::Daemon, daemon("stopped", text));
        self.audit.stop();
        drop(self.engine);
        drop(self.audit);
        let written = self.audit_thread.join();
        if self.index_thread.join().is_err() {
            tracing::error!("the index thread panicked");
        }
        match written {
            Ok(Ok(())) => recorded.map(|_| ()).map_err(|e| DaemonError::Log(e.to_string())),
            Ok(Err(error)) => Err(DaemonError::Log(error.to_string())),
            Err(_) => Err(DaemonError::LogClosed),
        }
    }
}

/// Folders and the lock of the one engine.
fn prepare(layout: &Layout, transient: bool) -> Result<File, DaemonError> {
    for (path, mode) in [(&layout.state, 0o700), (&layout.run, 0o755), (&layout.agents(), 0o700)] {
        DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(path)
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
            .map_err(|source| wrong("making", path, source))?;
    }
    let path = layout.lock();
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| wrong("opening", &path, source))?;
    let until = Instant::now() + OTHER;
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(wrong("locking", &path, error.into())),
        }
        // Who started this engine wants one that listens, not this one: another that is just starting
        // or ending is waited for.
        let listens = UnixStream::connect(layout.socket()).is_ok();
        if !transient || listens || Instant::now() >= until {
            return Err(DaemonError::Running(path));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

struct Attached {
    kernel: Option<Box<dyn KernelPort>>,
    ring: Option<(EventRing, RepeatCounters)>,
    /// What was there before; `None` without the kernel side.
    origin: Option<Origin>,
    why: Option<String>,
    /// Programs of an earlier engine that stay in force without this one.
    left: usize,
}

/// The kernel side, or why there is none.
fn attach(layout: &Layout) -> Attached {
    let options = kernel::Options { pin_dir: layout.pins.clone(), cgroup: paths::CGROUP };
    let started = Kernel::start(&options).and_then(|mut kernel| {
        let ring = kernel.take_ring()?;
        Ok((kernel, ring))
    });
    match started {
        Ok((kernel, ring)) => {
            let origin = kernel.origin().clone();
            tracing::info!(?origin, hooks = kernel.hooks().len(), "attached");
            Attached { kernel: Some(Box::new(kernel)), ring: Some(ring), origin: Some(origin), why: None, left: 0 }
        }
        Err(error) => {
            let mut why = error.to_string();
            let left = kernel::pinned_programs(&options);
            if left > 0 {
                why = format!(
                    "this engine has no hold on the kernel: {why}. The {left} programs of an earlier engine stay in force \
                     for the agents that it started; what they do is not read meanwhile"
                );
            }
            for finding in kernel::doctor::examine().into_iter().filter(|f| !f.ok) {
                why.push_str(&format!("\n{}: {}; {}", finding.check, finding.found, finding.advice));
            }
            tracing::error!(why, left, "new agents are not enforced");
            Attached { kernel: None, ring: None, origin: None, why: Some(why), left }
        }
    }
}

/// Where the engine before ended, as the log tells it.
fn begin(index: &Index, reader: &Reader, repeats: &RepeatCounters) -> Result<Begin, DaemonError> {
    let kinds = Counter::ALL.into_iter().filter(|c| c.is_loss()).map(Counter::name).chain([UNACCOUNTED]);
    let told = kinds.map(|k| Ok((k.to_owned(), index.loss_total(k)?))).collect::<Result<_, DaemonError>>()?;
    let unreadable = |e: aegis_log::ReadError| DaemonError::Log(e.to_string());
    let counted: HashSet<u64> = repeats.each().map(|(_, counter)| counter.seq).collect();
    let mut repeated = HashMap::new();
    for of in &counted {
        let Some((seq, total)) = index.repeats(*of)? else { continue };
        match reader.get(seq) {
            Ok(Some(entry)) => drop(repeated.insert(*of, (total, draft(&entry)))),
            // What is counted went on for as long as entries are kept, or the log is short of room.
            Ok(None) | Err(ReadError::Pruned { .. }) => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
    let mut logged = HashSet::new();
    for entry in reader.entries(reader.size().saturating_sub(TAIL)) {
        let entry = entry.map_err(unreadable)?;
        let event = event(&entry);
        match event.detail {
            // Numbers from before are other records.
            Some(Detail::Daemon(daemon)) if daemon.state == KERNEL_ATTACHED => logged.clear(),
            Some(Detail::Loss(_)) => {}
            _ if event.kernel_seq > 0 => {
                logged.insert(event.kernel_seq);
                if counted.contains(&event.kernel_seq) {
                    // Of which nothing was told yet: its counter is young, so it is among the last.
                    repeated.entry(event.kernel_seq).or_insert_with(|| (0, draft(&entry)));
                }
            }
            _ => {}
        }
    }
    Ok(Begin { kernel_seq: index.kernel_seq()?, logged, told, repeated })
}

/// What an entry says; nothing where that can't be read.
fn event(entry: &aegis_log::Entry) -> Event {
    Event::decode(entry.body.as_deref().unwrap_or_default()).unwrap_or_default()
}

/// An entry of the log as it was before it was written.
fn draft(entry: &aegis_log::Entry) -> Draft {
    let event = event(entry);
    Draft { kind: entry.header.kind, time: entry.header.time, event, urgent: false }
}

fn stopped_cleanly(layout: &Layout) -> Result<bool, DaemonError> {
    let reader = Reader::open(layout.log()).map_err(|e| DaemonError::Log(e.to_string()))?;
    let last = reader.entries_rev(reader.size()).next().transpose().map_err(|e| DaemonError::Log(e.to_string()))?;
    let Some(last) = last else { return Ok(true) };
    let event = event(&last);
    Ok(matches!(event.detail, Some(Detail::Daemon(daemon)) if daemon.state == "stopped"))
}

fn record_start(
    audit: &AuditLog,
    report: &OpenReport,
    unclean: bool,
    attached: &Attached,
    boot: [u8; 16],
    own_rules: usize,
) -> Result<(), DaemonError> {
    let record = |state: &str, text: String| {
        audit.record(Kind::Daemon, daemon(state, text)).map(|_| ()).map_err(|e| DaemonError::Log(e.to_string()))
    };
    if let Some(recovery) = &report.recovery {
        record("recovered", recovery.to_string())?;
    }
    if let Some(leftover) = &report.leftover {
        record("retention_failed", format!("a file of removed entries is still there: {leftover}"))?;
    }
    if unclean {
        let same_boot = report.last.as_ref().is_some_and(|l| l.boot_id == boot);
        let when = if same_boot { "in this boot" } else { "in an earlier boot" };
        record("dirty_restart", format!("the engine before did not stop cleanly, {when}"))?;
    }
    let rules = (own_rules > 0).then(|| format!("redaction rules of the operator: {own_rules}"));
    let why = attached.why.as_ref().map(|why| format!("new agents are not enforced: {why}"));
    record("started", rules.into_iter().chain(why).collect::<Vec<_>>().join("; "))?;
    match &attached.origin {
        None => Ok(()),
        Some(Origin::New) => record(KERNEL_ATTACHED, "the programs are in the kernel, its tables are new".into()),
        Some(Origin::Kept) => record("adopted", "the programs and tables of an earlier engine of this build were taken over".into()),
        Some(Origin::Replaced(why)) => {
            record("adopted", format!("the tables of an earlier engine were taken over, its programs replaced: {why}"))
        }
    }
}

pub(super) fn daemon(state: &str, text: String) -> Event {
    let daemon = event::Daemon {
        state: state.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: kernel_release(),
        text,
        abi: u32::from(ABI_VERSION),
    };
    Event { detail: Some(Detail::Daemon(daemon)), ..Event::default() }
}

/// The kernel's counters, when nobody else is busy with the kernel side: the reader does not wait.
fn counts(kernel: SharedKernel) -> Counts {
    Box::new(move || {
        let kernel = kernel.try_lock().ok()?;
        kernel.as_ref()?.counters().ok()
    })
}

impl RecordSource for EventRing {
    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        use std::os::fd::AsFd as _;
        Some(self.as_fd())
    }

    fn drain(&mut self, max: usize, take: &mut dyn FnMut(&[u8])) -> usize {
        Self::drain(self, max, take)
    }
}

impl RepeatSource for RepeatCounters {
    fn each(&self, visit: &mut dyn FnMut(u32, &Repeat)) {
        Self::each(self).for_each(|(place, counter)| visit(place, &counter));
    }

    fn seen(&mut self, place: u32, count: u64) {
        Self::seen(self, place, count);
    }

    fn hide(&mut self, key: &RepeatKey) -> bool {
        let hidden = Self::hide(self, key);
        hidden.inspect_err(|error| tracing::error!(%error, "a repeat counter is not given back")).is_ok()
    }

    fn quiet(&self) -> Receiver<()> {
        Self::quiet(self)
    }

    fn give_back(&mut self, place: u32) {
        Self::give_back(self, place);
    }
}

fn wrong(what: &'static str, path: &Path, source: io::Error) -> DaemonError {
    DaemonError::Io { what, path: path.into(), source }
}
