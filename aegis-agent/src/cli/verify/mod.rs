//! `aegis verify`: the log as it lies on disk, held against its signatures, and the index held against
//! the log. Needs no daemon.

mod index;

use std::{fs, path::Path};

use aegis_log::{Cosigned, Keys, Reader, Seal, SignedCheckpoint, VerifierKey, Verdict, VerifyOptions};

use super::{
    args::{Format, Verify as Args},
    failure::Failure,
    output,
    progress::Progress,
};
use crate::{escape, paths::Layout};

/// Checks the log and tells the exit code: 0 intact, 1 tampered or without the witnesses asked for, 3 intact but not complete.
///
/// # Errors
/// When the log, a checkpoint or the key cannot be read: then nothing is known.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let dir = args.dir.clone().unwrap_or_else(|| Layout::default().log());
    let keys = Keys::open(&Keys::folder(&dir), &Keys::kek_file(&dir)).map_err(|error| Failure::Broken(error.to_string()))?;
    let key = args.key.as_deref().map(|given| key("--key", given)).transpose()?;
    let mut options = VerifyOptions { key, keys, ..VerifyOptions::default() };
    for path in &args.checkpoint {
        let text = fs::read_to_string(path).map_err(Failure::io("cannot read the checkpoint", path))?;
        let mut notes = SignedCheckpoint::parse_all(&text)
            .map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
        options.checkpoints.append(&mut notes);
    }
    for path in &args.epoch {
        let text = fs::read_to_string(path).map_err(Failure::io("cannot read the seals", path))?;
        let seals = Seal::parse_all(&text).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
        options.seals.extend(seals);
    }
    if let Some(path) = &args.policy {
        options.policy = Some(super::log::witness::read(path)?);
        if options.checkpoints.is_empty() {
            options.checkpoints = Cosigned::beside(&dir).all().map_err(|error| Failure::Broken(error.to_string()))?;
        }
    }
    // How much there is to do; the verdict does not depend on it.
    let all = Reader::open(&dir).map_or(0, |reader| reader.size());
    let mut progress = Progress::new("verifying");
    let report = aegis_log::verify_with(&dir, &options, |entry| progress.at(entry.seq + 1, all));
    drop(progress);
    let report = report.map_err(|error| Failure::Broken(error.to_string()))?;
    // Against a log that is not what it was the index proves nothing.
    let shown = match index::beside(&dir) {
        Some(path) if report.verdict() != Verdict::Tampered => Some(index::compare(&path, &dir)?),
        _ => None,
    };
    let hidden = shown.as_ref().is_some_and(|shown| shown.difference.is_some());
    match args.output {
        Format::Text => {
            // Who reads one line reads the worst.
            let first = if hidden { "TAMPERED: the segments are whole, but the index does not show what is in them.\n" } else { "" };
            let shown = shown.as_ref().map(index::Outcome::text).unwrap_or_default();
            output::print(&escape::message(&format!("{first}{report}{shown}")))?;
        }
        Format::Json => {
            let mut json = report.to_json();
            json["index"] = shown.as_ref().map_or(serde_json::Value::Null, index::Outcome::json);
            if hidden {
                json["verdict"] = Verdict::Tampered.name().into();
            }
            output::print_json(&json)?;
        }
    }
    Ok(if hidden { 1 } else { report.exit_code() })
}

/// The text of a log's key, or a file that holds it, as an option gives it.
pub(super) fn key(option: &str, given: &str) -> Result<VerifierKey, Failure> {
    let path = Path::new(given);
    let text = if path.exists() {
        fs::read_to_string(path).map_err(Failure::io("cannot read the key", path))?
    } else {
        given.to_owned()
    };
    VerifierKey::parse(text.trim()).map_err(|error| Failure::Usage(format!("{option}: {error}")))
}
