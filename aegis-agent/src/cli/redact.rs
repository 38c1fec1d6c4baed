//! `aegis redact test`: the rules tried out, without a daemon.

use std::{
    io::{self, BufRead as _, Read as _},
    os::unix::ffi::OsStrExt as _,
};

use super::{args::RedactTest, failure::Failure, output};
use crate::{
    config::{self, ConfigError},
    escape,
    proto::event::Redaction,
    redact::Redactor,
};

/// Longest line that is taken; an entry of the log is smaller.
const LINE: u64 = 1 << 20;

/// Tells the exit code: 0 when something would be redacted, 1 when all would be kept as it is.
///
/// # Errors
/// A rule is wrong, or the input cannot be read.
pub fn test(args: &RedactTest) -> Result<u8, Failure> {
    let (redactor, own) = config::redactor(&args.rules).map_err(|error| match error {
        ConfigError::Io { source, path } => Failure::Io { what: format!("cannot read {}", path.display()), source },
        other => Failure::Usage(other.to_string()),
    })?;
    let found = if args.command.is_empty() { lines(&redactor)? } else { command(&redactor, args)? };
    let total: u32 = found.iter().map(|one| one.count).sum();
    let rules: Vec<String> = found.iter().map(|one| format!("{} ×{}", one.rule, one.count)).collect();
    let rules = if rules.is_empty() { String::new() } else { format!(": {}", rules.join(", ")) };
    output::say(&format!("{total} redacted{rules}; rules of the operator: {own}"));
    Ok(u8::from(total == 0))
}

fn lines(redactor: &Redactor) -> Result<Vec<Redaction>, Failure> {
    let mut input = io::stdin().lock();
    let mut all = Vec::new();
    loop {
        let mut line = Vec::new();
        let read = (&mut input).take(LINE).read_until(b'\n', &mut line);
        if read.map_err(|source| Failure::Io { what: "cannot read standard input".into(), source })? == 0 {
            return Ok(all);
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let (kept, found) = redactor.text(text).unwrap_or_else(|| (text.to_vec(), Vec::new()));
        output::print(&format!("{}\n", escape::bytes(&kept)))?;
        add(&mut all, found);
    }
}

fn command(redactor: &Redactor, args: &RedactTest) -> Result<Vec<Redaction>, Failure> {
    let argv: Vec<Vec<u8>> = args.command.iter().map(|argument| argument.as_bytes().to_vec()).collect();
    let (kept, found) = redactor.arguments(&argv);
    output::print(&format!("{}\n", escape::arguments(&kept)))?;
    Ok(found)
}

fn add(all: &mut Vec<Redaction>, found: Vec<Redaction>) {
    for one in found {
        match all.iter_mut().find(|known| known.rule == one.rule) {
            Some(known) => known.count = known.count.saturating_add(one.count),
            None => all.push(one),
        }
    }
}
