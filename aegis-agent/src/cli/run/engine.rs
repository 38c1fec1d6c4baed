//! The engine of this host: the daemon that runs, or one that is started for the occasion.
//!
//! `aegisd --transient` is the same daemon; it ends with its last agent. Only root can start it,
//! and only one caller at a time tries.

use std::{
    env,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::{
        fs::{DirBuilderExt as _, OpenOptionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::unistd::{geteuid, setsid};

use super::{fds, voice::Voice};
use crate::{
    cli::{
        client::{self, ConnectError},
        failure::Failure,
        status,
    },
    paths::RUN_DIR,
};

/// How long loading may take: an emulated kernel on a slow machine verifies programs for a minute and more.
const START: Duration = Duration::from_secs(180);
/// How long another engine that won the race may take to open its socket.
const RACE: Duration = Duration::from_secs(5);
const PACE: Duration = Duration::from_millis(20);
/// Lines of the log shown when the engine did not come up.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: i64 = 8192;
const PACKAGED: &str = "/usr/sbin/aegisd";

/// Makes sure that an engine listens, and tells where.
///
/// # Errors
/// When none does and none can be started, with the end of its log.
pub fn ensure(socket: Option<&Path>, audit_only: bool, voice: Voice) -> Result<PathBuf, Failure> {
    let path = client::socket_path(socket);
    match client::probe(&path) {
        Ok(()) => Ok(path),
        Err(error @ ConnectError::NotRunning(_)) if socket.is_some() => Err(error.into()),
        Err(ConnectError::NotRunning(_)) if !geteuid().is_root() => Err(Failure::NotRunning(
            "aegisd is not running, and only root can start an engine: `systemctl start aegisd`, or run this as root".to_owned(),
        )),
        Err(ConnectError::NotRunning(_)) => {
            // Programs can be attached where the kernel never calls them: look before anything is claimed.
            if !audit_only && !status::obstacles().is_empty() {
                return Err(Failure::Unable("this host cannot enforce policies; --audit-only records without enforcing".to_owned()));
            }
            start(&path, voice).map(|()| path)
        }
        Err(error) => Err(error.into()),
    }
}

fn start(socket: &Path, voice: Voice) -> Result<(), Failure> {
    let run = Path::new(RUN_DIR);
    DirBuilder::new().recursive(true).mode(0o755).create(run).map_err(Failure::io("cannot make", run))?;
    let _turn = take_turn(&run.join("start.lock"))?;
    if client::probe(socket).is_ok() {
        return Ok(());
    }
    let log = run.join("transient.log");
    let mut engine = spawn(&log)?;
    let until = Instant::now() + START;
    while Instant::now() < until {
        if client::probe(socket).is_ok() {
            return Ok(());
        }
        if let Ok(Some(status)) = engine.try_wait() {
            return wait_for_other(socket).ok_or_else(|| failed(&format!("aegisd did not start ({status})"), &log, voice));
        }
        thread::sleep(PACE);
    }
    // It may still come up, for whoever asks next; killing it half way through loading helps nobody.
    Err(failed(&format!("aegisd did not open {} within {} s", socket.display(), START.as_secs()), &log, voice))
}

/// Held while an engine is being started; the next caller finds it running.
fn take_turn(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(Failure::io("cannot open", path))?;
    file.lock().map_err(Failure::io("cannot lock", path))?;
    Ok(file)
}

/// Ours ended because another engine (a service being started) holds the lock: give it a moment.
fn wait_for_other(socket: &Path) -> Option<()> {
    let until = Instant::now() + RACE;
    while Instant::now() < until {
        if client::probe(socket).is_ok() {
            return Some(());
        }
        thread::sleep(PACE);
    }
    None
}

fn spawn(log: &Path) -> Result<Child, Failure> {
    let program = program().ok_or_else(|| {
        Failure::NotRunning(format!("aegisd is not installed: neither {PACKAGED} nor one beside this program"))
    })?;
    let out = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(log)
        .map_err(Failure::io("cannot open", log))?;
    let err = out.try_clone().map_err(Failure::io("cannot open", log))?;
    let mut command = Command::new(&program);
    command.arg("--transient");
    // The engine outlives its first caller: nothing of that caller's environment belongs to it.
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    if let Some(level) = env::var_os("AEGIS_LOG") {
        command.env("AEGIS_LOG", level);
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(out).stderr(err);
    // SAFETY: between fork and exec only system calls are made; nothing allocates or takes a lock.
    unsafe { command.pre_exec(detach) };
    command.spawn().map_err(Failure::io("cannot start", &program))
}

/// A session of its own: no terminal, no signal of it; none of the caller's descriptors.
fn detach() -> io::Result<()> {
    setsid()?;
    fds::close_on_exec_all()
}

fn program() -> Option<PathBuf> {
    let beside = env::current_exe().ok().map(|exe| exe.with_file_name("aegisd"));
    beside.into_iter().chain([PathBuf::from(PACKAGED)]).find(|path| path.is_file())
}

fn failed(what: &str, log: &Path, voice: Voice) -> Failure {
    let tail = tail(log).unwrap_or_default();
    if !tail.is_empty() {
        voice.say(&format!("the last lines of {}:", log.display()));
        voice.say(&tail);
    }
    explain(voice);
    Failure::NotRunning(what.to_owned())
}

/// Says what `aegis doctor` finds in the way of enforcing on this host.
pub fn explain(voice: Voice) {
    for obstacle in status::obstacles() {
        voice.say(&format!("aegis doctor: {obstacle}"));
    }
}

fn tail(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length = i64::try_from(fs::metadata(log)?.len()).unwrap_or(i64::MAX);
    file.seek(SeekFrom::End(-length.min(TAIL_BYTES)))?;
    let mut raw = Vec::new();
    file.take(TAIL_BYTES.unsigned_abs()).read_to_end(&mut raw)?;
    let text = String::from_utf8_lossy(&raw);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default().join("\n"))
}
