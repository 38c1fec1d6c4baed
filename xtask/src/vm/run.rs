//! A machine from start to end: the process, its sockets, the protocol, the time limit.

use std::fs::{self, File};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::ports::{self, Event, Sink, Tail};
use super::protocol::{self, End, Line};
use super::qemu::{CONSOLE, Machine, PORTS};

/// A folder for one machine's sockets and files, gone with it.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes it, and removes those of machines whose xtask was killed.
    pub fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let base = std::env::temp_dir();
        for entry in fs::read_dir(&base).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name
                .strip_prefix("aegis-vm-")
                .and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
            if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
                // Somebody else's, perhaps: then it stays.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let path = base.join(format!(
            "aegis-vm-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        ));
        fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind, it is removed by the next run.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The QEMU process; dropping it ends the machine.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Sockets {
    console: UnixStream,
    out: UnixStream,
    err: UnixStream,
    status: UnixStream,
}

fn start(machine: &Machine<'_>) -> Result<(Process, Sockets)> {
    let listen = |name: &str| -> Result<UnixListener> {
        let path = machine.folder.join(name);
        let listener = UnixListener::bind(&path).with_context(|| {
            format!(
                "make the socket {} (a shorter TMPDIR may help)",
                path.display()
            )
        })?;
        listener.set_nonblocking(true).context("socket")?;
        Ok(listener)
    };
    let [out, err, status] = PORTS;
    let listeners = [
        listen(CONSOLE)?,
        listen(out)?,
        listen(err)?,
        listen(status)?,
    ];
    let log = File::create(messages(machine)).context("log of QEMU")?;
    let child = machine
        .command()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    let mut process = Process(child.context("start QEMU")?);
    let mut streams = Vec::new();
    for listener in &listeners {
        streams.push(accept(listener, &mut process, machine)?);
    }
    let [console, out, err, status] =
        <[UnixStream; 4]>::try_from(streams).map_err(|_| anyhow::anyhow!("four sockets"))?;
    Ok((
        process,
        Sockets {
            console,
            out,
            err,
            status,
        },
    ))
}

fn accept(
    listener: &UnixListener,
    process: &mut Process,
    machine: &Machine<'_>,
) -> Result<UnixStream> {
    let start = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).context("socket")?;
                return Ok(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("wait for QEMU"),
        }
        if let Some(status) = process.0.try_wait().context("QEMU")? {
            bail!("QEMU did not start ({status}): {}", said(machine));
        }
        if start.elapsed() > Duration::from_secs(60) {
            bail!(
                "QEMU did not open its ports within a minute: {}",
                said(machine)
            );
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn messages(machine: &Machine<'_>) -> PathBuf {
    machine.folder.join("qemu.log")
}

fn said(machine: &Machine<'_>) -> String {
    fs::read_to_string(messages(machine))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// How a trial boot went.
#[derive(Debug, PartialEq, Eq)]
pub enum Trial {
    /// The guest program spoke.
    Booted,
    /// It did not, within the time.
    Failed,
}

/// Boots the machine only to see whether it does.
pub fn trial(machine: &Machine<'_>, limit: Duration) -> Result<Trial> {
    let (mut process, sockets) = start(machine)?;
    let (sender, events) = mpsc::channel();
    ports::status(sockets.status, sender);
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        match events.recv_timeout(Duration::from_millis(200)) {
            Ok(Event::Status(line)) if line == "probe" => return Ok(Trial::Booted),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(Trial::Failed),
        }
        let dead = process.0.try_wait().context("QEMU")?.is_some();
        // QEMU stops the guest and waits for a debugger when KVM can't go on.
        if dead || said(machine).contains("KVM internal error") {
            return Ok(Trial::Failed);
        }
    }
    Ok(Trial::Failed)
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The status of the command as a shell has it: 128 and the signal when one killed it.
    Status(u8),
    /// The time limit was reached.
    TimedOut,
}

/// Where a job's streams go.
pub struct Streams {
    /// Standard output of the command.
    pub out: Sink,
    /// Standard error of the command.
    pub err: Sink,
    /// Log of the console.
    pub log: PathBuf,
    /// Also show the console on standard error.
    pub show_console: bool,
}

/// Runs the machine until its last command has ended and all of its output has arrived.
pub fn job(
    machine: &Machine<'_>,
    streams: Streams,
    limit: Duration,
    stages: u32,
) -> Result<Outcome> {
    let deadline = Instant::now() + limit;
    let log =
        File::create(&streams.log).with_context(|| format!("create {}", streams.log.display()))?;
    let (process, sockets) = start(machine)?;
    let (sender, events) = mpsc::channel();
    let tail = ports::console(sockets.console, log, streams.show_console, sender.clone());
    let mut session = Session {
        machine,
        process,
        events,
        tail,
        log: streams.log,
        deadline,
        out: (ports::carry(sockets.out, streams.out), 0),
        err: (ports::carry(sockets.err, streams.err), 0),
    };
    ports::status(sockets.status, sender);
    session.follow(stages)
}

struct Session<'a> {
    machine: &'a Machine<'a>,
    process: Process,
    events: Receiver<Event>,
    tail: Tail,
    log: PathBuf,
    deadline: Instant,
    /// What has arrived, and what the guest says it sent.
    out: (std::sync::Arc<AtomicU64>, u64),
    err: (std::sync::Arc<AtomicU64>, u64),
}

impl Session<'_> {
    fn follow(&mut self, stages: u32) -> Result<Outcome> {
        let mut worst = 0;
        loop {
            let Some(line) = self.next_line()? else {
                return Ok(Outcome::TimedOut);
            };
            match protocol::parse(&line) {
                Some(Line::Start { .. }) => {}
                Some(Line::End(End {
                    stage,
                    status,
                    out,
                    err,
                })) => {
                    self.out.1 += out;
                    self.err.1 += err;
                    if !self.drain() {
                        return Ok(Outcome::TimedOut);
                    }
                    // The first failure is the one to tell of.
                    worst = if worst == 0 { status } else { worst };
                    if stage == stages {
                        return Ok(Outcome::Status(worst));
                    }
                }
                Some(Line::Fail(reason)) => bail!(
                    "the machine could not run the command: {reason}\n{}",
                    self.evidence()
                ),
                None => bail!("the machine said {line:?}, which is not of the protocol"),
            }
        }
    }

    /// The next line of the guest; nothing at the time limit.
    fn next_line(&mut self) -> Result<Option<String>> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            match self
                .events
                .recv_timeout(left.min(Duration::from_millis(250)))
            {
                Ok(Event::Status(line)) => return Ok(Some(line)),
                Ok(Event::Panic) => {
                    // The call trace is still on its way.
                    std::thread::sleep(Duration::from_millis(1500));
                    bail!("the machine's kernel panicked\n{}", self.evidence());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    std::thread::sleep(Duration::from_millis(50))
                }
            }
            if let Some(status) = self.process.0.try_wait().context("QEMU")? {
                // Its last line may have come just before.
                if let Ok(Event::Status(line)) =
                    self.events.recv_timeout(Duration::from_millis(200))
                {
                    return Ok(Some(line));
                }
                let said = said(self.machine);
                bail!(
                    "the machine ended before the command did ({status}): it was reset or powered off from inside, or QEMU failed {said}\n{}",
                    self.evidence()
                );
            }
        }
    }

    /// Waits until every byte the guest sent has been passed on; false at the time limit.
    fn drain(&self) -> bool {
        let arrived = |(count, sent): &(std::sync::Arc<AtomicU64>, u64)| {
            count.load(Ordering::Acquire) >= *sent
        };
        while !(arrived(&self.out) && arrived(&self.err)) {
            if Instant::now() > self.deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    fn evidence(&self) -> String {
        format!(
            "the console's last lines ({} has all of it):\n{}",
            self.log.display(),
            self.tail.lines(40)
        )
    }
}
