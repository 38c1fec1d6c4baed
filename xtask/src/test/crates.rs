//! The tests of the crates, by `cargo test`: a bare machine has nothing else.

use std::fs;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use super::tally::Row;
use crate::{build, host, ui};

/// Runs them all; `full` also those that are marked as long.
pub fn run(full: bool) -> Result<Row> {
    let folder = host::target().join("test");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let log = folder.join("crates.log");
    let mut cargo = host::cargo();
    cargo.args(["test", "--no-fail-fast", "--color", "never"]);
    if full {
        cargo.args(["--", "--include-ignored"]);
    }
    build::with_objects(&mut cargo);
    let output = cargo
        .stdin(Stdio::null())
        .output()
        .context("run cargo test")?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    fs::write(&log, &text).with_context(|| format!("write {}", log.display()))?;
    let mut row = read(&text);
    if !output.status.success() {
        // What failed, in full: this is what the reader needs, and a log of another machine is not at hand.
        ui::line(excerpt(&text));
        if row.failures.is_empty() {
            row.failures.push(format!(
                "cargo test ended with {}; {} has all it said",
                output.status,
                log.display()
            ));
        }
    } else if !row.failures.is_empty() || row.passed == 0 {
        bail!(
            "cargo test says it succeeded, and {} says otherwise",
            log.display()
        );
    }
    Ok(row)
}

/// Counts from the lines of the test harness.
fn read(text: &str) -> Row {
    let mut row = Row::default();
    let mut ignored = 0;
    for line in text.lines() {
        if let Some(test) = line.strip_prefix("test ") {
            match test.rsplit_once(" ... ") {
                Some((_, result)) if result == "ok" || result.starts_with("ok ") => row.passed += 1,
                Some((name, "FAILED")) => row.failures.push(name.to_owned()),
                Some((_, result)) if result.starts_with("ignored") => ignored += 1,
                _ => {}
            }
        }
    }
    if ignored > 0 {
        row.note = format!("{ignored} long ones only with --full");
    }
    row
}

/// The reports of the failed tests, or the errors of the compiler.
fn excerpt(text: &str) -> String {
    let wanted = |line: &&str| {
        line.starts_with("error") || line.starts_with("---- ") || line.contains("panicked at")
    };
    match text.lines().position(|line| wanted(&line)) {
        Some(first) => text
            .lines()
            .skip(first)
            .take(120)
            .collect::<Vec<_>>()
            .join("\n"),
        None => text
            .lines()
            .rev()
            .take(40)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_harness_is_read_line_by_line() {
        let row = read(
            "running 4 tests\ntest a::b ... ok\ntest a::c ... FAILED\ntest d ... ignored, long\ntest e - should panic ... ok\n\ntest result: FAILED. 2 passed\n",
        );
        assert_eq!((row.passed, row.failures), (2, vec!["a::c".to_owned()]));
        assert_eq!(row.note, "1 long ones only with --full");
    }
}
