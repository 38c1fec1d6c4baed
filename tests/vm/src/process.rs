//! Runs one act: streams its output, serves the steps it asks for, and ends it when it hangs.

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long output may still come after the act itself has ended (children that it left behind).
const AFTERMATH: Duration = Duration::from_secs(1);

/// What an act left.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard error and the lines of output that were no results, for the reader of a failure.
    pub noise: String,
}

impl Finished {
    /// Exit status as a shell says it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }
}

/// Runs `command` to its end. `line` gets each line of output and says whether it was a result;
/// `step` runs what the act asks for with `@step NAME`.
///
/// # Errors
/// The act can't be started, a step fails, or it runs longer than `timeout`; then its whole process
/// group is killed.
pub fn run(
    command: &mut Command,
    timeout: Duration,
    mut line: impl FnMut(&str) -> bool,
    mut step: impl FnMut(&str) -> Result<()>,
) -> Result<Finished> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("start {:?}", command.get_program()))?;
    let mut stdin = child.stdin.take();
    let lines = read_lines(child.stdout.take().context("no stdout")?);
    let errors = read_all(child.stderr.take().context("no stderr")?);
    let mut noise = String::new();
    let outcome = follow(&mut child, &lines, &mut stdin, timeout, |text, stdin| {
        if let Some(name) = text.strip_prefix("@step ") {
            step(name.trim()).with_context(|| format!("step {name}"))?;
            if let Some(pipe) = stdin {
                // An act that died meanwhile is seen by its exit status.
                let _ = pipe.write_all(b"go\n");
            }
        } else if !line(text) {
            noise.push_str(text);
            noise.push('\n');
        }
        Ok(())
    });
    drop(stdin);
    let status = match outcome {
        Ok(status) => status,
        Err(error) => {
            end(&mut child);
            return Err(error.context(noise));
        }
    };
    if errors.1.recv_timeout(AFTERMATH).is_ok() {
        noise.push_str(&errors.0.join().unwrap_or_default());
    }
    Ok(Finished { status, noise })
}

/// Hands lines on until the act has ended and its output is closed (or silent for a while).
fn follow(
    child: &mut Child,
    lines: &Receiver<String>,
    stdin: &mut Option<ChildStdin>,
    timeout: Duration,
    mut take: impl FnMut(&str, &mut Option<ChildStdin>) -> Result<()>,
) -> Result<ExitStatus> {
    let deadline = Instant::now() + timeout;
    let mut ended: Option<(ExitStatus, Instant)> = None;
    loop {
        match lines.recv_timeout(Duration::from_millis(20)) {
            Ok(text) => take(&text, stdin)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                if let Some((status, _)) = ended {
                    return Ok(status);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        if ended.is_none() {
            ended = child.try_wait()?.map(|status| (status, Instant::now()));
        }
        match ended {
            Some((status, at)) if at.elapsed() > AFTERMATH => return Ok(status),
            None if Instant::now() > deadline => bail!("still running after {timeout:?}"),
            _ => {}
        }
    }
}

fn end(child: &mut Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn read_lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(n) if n > 0) {
            let text = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
            if send.send(text).is_err() {
                return;
            }
            bytes.clear();
        }
    });
    receive
}

/// Reads to the end in a thread; the receiver says when it got there.
fn read_all(mut pipe: impl Read + Send + 'static) -> (JoinHandle<String>, Receiver<()>) {
    let (send, receive) = channel();
    let thread = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        let _ = send.send(());
        String::from_utf8_lossy(&bytes).into_owned()
    });
    (thread, receive)
}

#[cfg(test)]
mod tests {
    use super::run;
    use std::process::Command;
    use std::time::Duration;

    fn sh(script: &str) -> Command {
        let mut c = Command::new("sh");
        c.args(["-c", script]);
        c
    }

    #[test]
    fn results_noise_and_status_are_told_apart() {
        let mut results = Vec::new();
        let done = run(
            &mut sh("echo = a ok; echo hello; echo oops >&2; exit 3"),
            Duration::from_secs(10),
            |l| l.starts_with("= ") && { results.push(l.to_owned()); true },
            |_| Ok(()),
        )
        .unwrap();
        assert_eq!((done.code(), results.as_slice()), (3, ["= a ok".to_owned()].as_slice()));
        assert!(done.noise.contains("hello") && done.noise.contains("oops"));
    }

    #[test]
    fn a_step_runs_while_the_act_waits_for_it() {
        let mut steps = Vec::new();
        let mut lines = Vec::new();
        run(
            &mut sh("echo @step one; read word; echo $word"),
            Duration::from_secs(10),
            |l| { lines.push(l.to_owned()); true },
            |s| { steps.push(s.to_owned()); Ok(()) },
        )
        .unwrap();
        assert_eq!((steps, lines), (vec!["one".to_owned()], vec!["go".to_owned()]));
    }

    #[test]
    fn a_failed_step_and_a_hung_act_are_errors() {
        let failed = run(&mut sh("echo @step one; read word"), Duration::from_secs(10), |_| true, |_| anyhow::bail!("no"));
        assert!(format!("{:#}", failed.unwrap_err()).contains("step one"));
        let hung = run(&mut sh("sleep 60"), Duration::from_millis(200), |_| true, |_| Ok(()));
        assert!(format!("{:#}", hung.unwrap_err()).contains("still running"));
    }

    #[test]
    fn a_child_left_behind_does_not_hold_the_run_up() {
        let done = run(&mut sh("sleep 30 & exit 0"), Duration::from_secs(10), |_| true, |_| Ok(())).unwrap();
        assert_eq!(done.code(), 0);
    }
}
