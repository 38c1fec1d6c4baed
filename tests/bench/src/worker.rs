//! The process that is measured: does what it is told on its standard input, and says how long it took.
//!
//! A process of its own, so that each case begins alike and what confines it ends with it. Between a
//! command and its answer it makes no system calls but those that are measured.

use std::io::{self, BufRead as _, Write as _};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{Mode, OFlags};
use rustix::time::{ClockId, clock_gettime};

use crate::landlock;
use crate::operation::{Forbidden, Operation, Tools};

/// Serves until its input ends.
pub fn serve(tcp_port: u16, udp_port: u16) -> Result<()> {
    let tools = Tools::new(tcp_port, udp_port).context("make the UDP socket")?;
    let mut out = io::stdout().lock();
    writeln!(out, "ready").and_then(|()| out.flush()).context("answer")?;
    for line in io::stdin().lock().lines() {
        let line = line.context("read a command")?;
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match words.as_slice() {
            ["run", operation, count] => {
                time(&tools, named(operation)?, count.parse().context("a count")?)?
            }
            ["attempt", operation, forbidden] => {
                let forbidden = if *forbidden == "family" { Forbidden::Family } else { Forbidden::Place };
                let outcome = tools.attempt(named(operation)?, forbidden);
                outcome.err().map_or(0, |error| error.raw_os_error().unwrap_or(-1)).to_string()
            }
            ["open", path] => {
                let outcome = rustix::fs::open(*path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
                outcome.err().map_or(0, rustix::io::Errno::raw_os_error).to_string()
            }
            ["rename", from, to] => {
                rustix::fs::rename(*from, *to).err().map_or(0, rustix::io::Errno::raw_os_error).to_string()
            }
            ["landlock", rules] => landlock::confine(rules.parse().context("a number of rules")?, tcp_port)?,
            _ => bail!("no such command: {line}"),
        };
        writeln!(out, "{answer}").and_then(|()| out.flush()).context("answer")?;
    }
    Ok(())
}

fn named(operation: &str) -> Result<Operation> {
    Operation::parse(operation).with_context(|| format!("no such operation: {operation}"))
}

/// Nanoseconds that `count` operations take; where guest time is counted in instructions, that many
/// instructions.
fn time(tools: &Tools, operation: Operation, count: u32) -> Result<String> {
    let start = now();
    for turn in 0..count as usize {
        tools.perform(operation, turn).with_context(|| format!("{} where it is allowed", operation.name()))?;
    }
    let end = now();
    Ok((end - start).to_string())
}

fn now() -> i128 {
    let time = clock_gettime(ClockId::Monotonic);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}
