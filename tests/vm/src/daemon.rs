//! The one engine that all scenarios share, and the ways it is made to die.

use anyhow::{Context, Result, bail};
use std::fs::{File, OpenOptions};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Loading and verifying some dozens of kernel programs takes a while in an emulated machine.
const START_LIMIT: Duration = Duration::from_secs(180);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Where the daemon's own messages go.
const MESSAGES: &str = "/var/log/aegisd-vm-tests.log";

/// A running `aegisd`.
pub struct Daemon {
    child: Option<Child>,
    /// Time from start to the first answer.
    pub startup: Duration,
}

impl Daemon {
    /// Starts `aegisd` and waits until it answers.
    ///
    /// # Errors
    /// One runs already, or it does not answer in time; its messages are in the error.
    pub fn start() -> Result<Self> {
        if answers() {
            bail!("an engine answers already: stop it first (`systemctl stop aegisd`), the tests kill theirs");
        }
        let mut daemon = Self { child: None, startup: Duration::ZERO };
        daemon.startup = daemon.spawn()?;
        Ok(daemon)
    }

    /// None at all: for controls, which need none.
    pub const fn absent() -> Self {
        Self { child: None, startup: Duration::ZERO }
    }

    /// Process id, for scripts; 0 when it is dead.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Kills it as the kernel would: no chance to write anything down.
    ///
    /// # Errors
    /// It is dead already.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the daemon is dead already")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Starts it again after [`Self::kill`].
    ///
    /// # Errors
    /// It runs, or does not answer in time.
    pub fn restart(&mut self) -> Result<()> {
        if self.child.is_some() {
            bail!("the daemon still runs");
        }
        self.spawn().map(|_| ())
    }

    /// Starts it again when a scenario left it dead, so that the next one is not harmed.
    ///
    /// # Errors
    /// It does not come back.
    pub fn ensure(&mut self) -> Result<()> {
        let gone = self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
        if gone {
            self.child = None;
            self.spawn()?;
        }
        Ok(())
    }

    /// Asks it to stop and waits.
    ///
    /// # Errors
    /// It does not stop in time, or not with status 0.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { bail!("the daemon was dead at the end") };
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        let begun = Instant::now();
        while begun.elapsed() < STOP_LIMIT {
            if let Some(status) = child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("aegisd stopped with {status}: {}", last_messages());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        child.kill()?;
        child.wait()?;
        bail!("aegisd did not stop within {STOP_LIMIT:?} of SIGTERM: {}", last_messages());
    }

    fn spawn(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        let mut child = launch()?;
        while begun.elapsed() < START_LIMIT {
            if let Some(status) = child.try_wait()? {
                let said = last_messages();
                // A transient engine whose last agent has gone is still taking its programs down.
                if !said.lines().last().is_some_and(|l| l.contains("another aegisd")) {
                    bail!("aegisd ended with {status}: {said}");
                }
                std::thread::sleep(Duration::from_millis(500));
                child = launch()?;
            } else if answers() {
                self.child = Some(child);
                return Ok(begun.elapsed());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        child.kill()?;
        child.wait()?;
        bail!("aegisd did not answer within {START_LIMIT:?}: {}", last_messages())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn launch() -> Result<Child> {
    let log: File = OpenOptions::new().create(true).append(true).open(MESSAGES)?;
    Command::new("aegisd")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("start aegisd: is it installed?")
}

fn answers() -> bool {
    Command::new("aegis")
        .arg("status")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

/// The end of what the daemon printed.
pub fn last_messages() -> String {
    let text = std::fs::read_to_string(MESSAGES).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(4)..].join("\n")
}
