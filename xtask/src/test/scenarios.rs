//! The scenarios on each kernel: one machine a kernel, two machines at a time.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::tally::Row;
use crate::build::Built;
use crate::cli::{REFERENCE, TestOptions};
use crate::setup::{self, Kernel};
use crate::vm::{self, Outcome, VmRequest};
use crate::{host, ui};

pub(super) const RUNNER: &str = "/usr/lib/aegis-tests/aegis-vm-tests";
pub(super) const SCENARIOS: &str = "/usr/lib/aegis-tests/scenarios";
/// Machines at the same time: more would only slow each other down.
const MACHINES: usize = 2;
/// A whole suite on an emulated machine that shares the host with another one.
const LIMIT: Duration = Duration::from_secs(40 * 60);
/// The same with the long suites.
const FULL_LIMIT: Duration = Duration::from_secs(4 * 60 * 60);

/// Runs the suite on every wanted kernel; one row each, in the order of the matrix.
pub fn run(options: &TestOptions, built: &Built) -> Result<Vec<Row>> {
    let wanted = if options.kernels.is_empty() {
        setup::matrix()?.series()
    } else {
        options.kernels.clone()
    };
    if !host::repository().join("tests/vm/scenarios").exists() {
        bail!("tests/vm/scenarios is missing");
    }
    // All that several machines share is made before the first of them starts.
    let kernels = setup::kernels(&wanted, false)?;
    setup::root_image()?;
    let rows: Mutex<Vec<Option<Row>>> = Mutex::new(vec![None; kernels.len()]);
    let queue: Mutex<VecDeque<_>> = Mutex::new(kernels.into_iter().enumerate().collect());
    std::thread::scope(|scope| {
        for _ in 0..MACHINES {
            scope.spawn(|| {
                while let Some((place, (series, kernel))) = take(&queue) {
                    let start = Instant::now();
                    let mut row = kernel
                        .and_then(|kernel| on(&kernel, options, built))
                        .unwrap_or_else(|error| Row::broken(format!("did not run: {error:#}")));
                    row.name = format!("kernel {series}");
                    row.seconds = start.elapsed().as_secs();
                    if let Ok(mut rows) = rows.lock() {
                        rows[place] = Some(row);
                    }
                }
            });
        }
    });
    let rows = rows
        .into_inner()
        .map_err(|_| anyhow::anyhow!("a machine's thread panicked"))?;
    Ok(rows
        .into_iter()
        .map(|row| row.unwrap_or_else(|| Row::broken("did not run".to_owned())))
        .collect())
}

fn take<T>(queue: &Mutex<VecDeque<T>>) -> Option<T> {
    queue.lock().ok()?.pop_front()
}

fn on(kernel: &Kernel, options: &TestOptions, built: &Built) -> Result<Row> {
    ui::step("test", format_args!("scenarios on {}", kernel.describe()));
    let mut command = vec![
        RUNNER.into(),
        "run".into(),
        "--dir".into(),
        SCENARIOS.into(),
    ];
    command.extend(["--kernel".into(), kernel.ran_as.clone().into()]);
    if options.full {
        let extent = if kernel.series == REFERENCE { "whole" } else { "tenth" };
        command.extend(["--extent".into(), extent.into()]);
    }
    if let Some(filter) = &options.filter {
        command.extend(["--filter".into(), filter.into()]);
    } else if let (false, Some(user)) = (options.full, brief_user(kernel)?) {
        command.extend(["--user".into(), user.into()]);
    }
    let mut request = VmRequest::new(kernel.clone(), built, command);
    request.limit = if options.full { FULL_LIMIT } else { LIMIT };
    let mut row = judged_run(&request, &format!("kernel-{}.log", kernel.series))?;
    if kernel.is_substitute() {
        row.note = format!(
            "ran as {}: the archive no longer has {}",
            kernel.ran_as, kernel.series
        );
    }
    Ok(row)
}

/// Whom this kernel runs a scenario for both users as.
fn brief_user(kernel: &Kernel) -> Result<Option<String>> {
    let entries = setup::matrix()?.kernels;
    Ok(entries.into_iter().find(|entry| entry.series == kernel.series).and_then(|entry| entry.brief_user))
}

/// Runs the runner in a machine; its output goes to a file of that name as well.
pub(super) fn judged_run(request: &VmRequest, log: &str) -> Result<Row> {
    let folder = host::target().join("test");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let log = folder.join(log);
    let lines = Lines::new(&request.kernel.series, &log)?;
    let outcome = vm::run_vm(request, Box::new(lines.beside()), Box::new(lines.beside()))?;
    let mut row = lines.row();
    judge(&mut row, outcome, lines.claimed(), &log);
    Ok(row)
}

/// What the runner printed must fit how it ended: a suite cut short is a failure, whatever passed before.
fn judge(row: &mut Row, outcome: Outcome, claimed: Option<(usize, usize)>, log: &Path) {
    let counted = (row.passed, row.failures.len());
    let place = log.display();
    match outcome {
        Outcome::TimedOut => row.failures.push(format!(
            "the suite did not end in time; {place} has its output"
        )),
        Outcome::Status(status) => {
            if claimed != Some(counted) {
                let claim = claimed.map_or("no totals".to_owned(), |(passed, failed)| {
                    format!("{passed} passed, {failed} failed")
                });
                row.failures.push(format!(
                    "the runner ended with status {status} and printed {claim}, its lines make {} passed, {} failed; see {place}",
                    counted.0, counted.1
                ));
            } else if status != 0 && row.failures.is_empty() {
                row.failures.push(format!(
                    "the runner ended with status {status}; {place} has its output"
                ));
            } else if row.passed == 0 && row.failures.is_empty() {
                row.failures.push("no scenario ran".to_owned());
            }
        }
    }
}

/// A stream of the runner, line by line: to the log, and its results to the operator as they come. Both streams share what
/// comes of them, and neither gets into a line of the other.
struct Lines {
    partial: Vec<u8>,
    state: Arc<Mutex<State>>,
}

struct State {
    series: String,
    log: File,
    row: Row,
    claimed: Option<(usize, usize)>,
}

impl Lines {
    fn new(series: &str, log: &Path) -> Result<Self> {
        let log = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let state = State {
            series: series.to_owned(),
            log,
            row: Row::default(),
            claimed: None,
        };
        Ok(Self { partial: Vec::new(), state: Arc::new(Mutex::new(state)) })
    }

    /// For the other stream.
    fn beside(&self) -> Self {
        Self { partial: Vec::new(), state: Arc::clone(&self.state) }
    }

    fn row(&self) -> Row {
        self.state
            .lock()
            .map(|state| state.row.clone())
            .unwrap_or_default()
    }

    fn claimed(&self) -> Option<(usize, usize)> {
        self.state.lock().ok()?.claimed
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let Ok(mut state) = self.state.lock() else {
            return Err(std::io::ErrorKind::Other.into());
        };
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            state.log.write_all(&line)?;
            state.take(String::from_utf8_lossy(&line).trim_end());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Lines {
    /// What a machine that was stopped had begun to say.
    fn drop(&mut self) {
        if let Ok(mut state) = self.state.lock() {
            let _ = state.log.write_all(&self.partial);
        }
    }
}

impl State {
    fn take(&mut self, line: &str) {
        if line.starts_with("PASS ") {
            self.row.passed += 1;
        } else if let Some(failure) = line.strip_prefix("FAIL ") {
            self.row.failures.push(failure.to_owned());
        } else if let Some(more) = line.strip_prefix("     ") {
            // A failure with several reasons goes on in indented lines.
            if let Some(failure) = self.row.failures.last_mut() {
                failure.push_str("; ");
                failure.push_str(more);
            }
        } else if !line.starts_with("| ") {
            self.claimed = totals(line).or(self.claimed);
            return;
        }
        ui::line(format_args!("{:<5} {line}", self.series));
    }
}

/// `N passed, N failed`, alone on a line.
fn totals(line: &str) -> Option<(usize, usize)> {
    let (passed, failed) = line.split_once(" passed, ")?;
    Some((
        passed.parse().ok()?,
        failed.strip_suffix(" failed")?.parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(
        passed: usize,
        failures: &[&str],
        status: u8,
        claimed: Option<(usize, usize)>,
    ) -> usize {
        let failures = failures.iter().map(|text| (*text).to_owned()).collect();
        let mut row = Row {
            passed,
            failures,
            ..Row::default()
        };
        judge(&mut row, Outcome::Status(status), claimed, Path::new("log"));
        row.failures.len()
    }

    #[test]
    fn a_suite_that_is_cut_short_fails_whatever_passed_before() {
        assert_eq!(judged(3, &[], 0, Some((3, 0))), 0);
        assert_eq!(judged(3, &["x: y"], 1, Some((3, 1))), 1);
        assert_eq!(judged(3, &[], 0, None), 1);
        assert_eq!(judged(3, &[], 2, Some((3, 0))), 1);
        assert_eq!(judged(3, &[], 0, Some((4, 0))), 1);
        assert_eq!(judged(0, &[], 0, Some((0, 0))), 1);
        let mut row = Row {
            passed: 3,
            ..Row::default()
        };
        judge(&mut row, Outcome::TimedOut, Some((3, 0)), Path::new("log"));
        assert_eq!(row.failures.len(), 1);
    }

    #[test]
    fn streams_do_not_get_into_each_others_lines() {
        let folder = tempfile::tempdir().expect("folder");
        let mut results = Lines::new("6.1", &folder.path().join("log")).expect("lines");
        let mut messages = results.beside();
        messages.write_all(b"a message with").expect("write");
        results.write_all(b"PASS a\nPA").expect("write");
        messages.write_all(b" its end\nano").expect("write");
        results.write_all(b"SS b\n").expect("write");
        assert_eq!(results.row().passed, 2);
        drop(messages);
        let log = fs::read_to_string(folder.path().join("log")).expect("log");
        assert_eq!(log, "PASS a\na message with its end\nPASS b\nano");
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        let folder = tempfile::tempdir().expect("folder");
        let mut lines = Lines::new("6.1", &folder.path().join("log")).expect("lines");
        for piece in [
            "PASS a\nFA",
            "IL b/root: no ev",
            "ent\n     no reason\nother\n1 passed, 1 failed\n",
        ] {
            lines.write_all(piece.as_bytes()).expect("write");
        }
        assert_eq!(
            (lines.row().passed, lines.row().failures),
            (1, vec!["b/root: no event; no reason".to_owned()])
        );
        assert_eq!(lines.claimed(), Some((1, 1)));
    }
}
