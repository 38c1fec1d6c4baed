//! `aegis-verify`: checks an audit log of Aegis, an export, a receipt or a proof that it only grew, and says
//! in words what it found.
//!
//! Knows the command line; all checking is in the library, which needs nothing of Aegis but itself.

mod args;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use aegis_log::{
    Consistency, Receipt, SignedCheckpoint, VerifierKey, VerifyOptions, verify, verify_export,
};
use serde_json::json;

use self::args::{Args, Command};

/// Usage and I/O errors.
const FAILED: u8 = 2;
/// The honest no.
const TAMPERED: u8 = 1;

fn main() -> ExitCode {
    let answer = args::parse(std::env::args_os().skip(1)).and_then(|command| match command {
        Command::Help => Ok((args::USAGE.to_owned(), 0)),
        Command::Version => Ok((format!("aegis-verify {}\n", env!("CARGO_PKG_VERSION")), 0)),
        Command::Log(args) => check_log(&args),
        Command::Export(args, dir) => check_export(&args, &dir),
        Command::Receipt(args, file) => check_receipt(&args, &file),
        Command::Consistency(args, file) => check_consistency(&args, &file),
    });
    let (text, code) = match answer {
        Ok(answer) => answer,
        Err(message) => {
            // Nothing can be done about a closed stderr.
            let _ = writeln!(std::io::stderr(), "aegis-verify: {message}");
            return ExitCode::from(FAILED);
        }
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::from(code),
        // An answer that nobody could read is no answer.
        Err(_) => ExitCode::from(FAILED),
    }
}

fn check_log(args: &Args) -> Result<(String, u8), String> {
    let report = verify(&args.dir, &options(args)?).map_err(|error| error.to_string())?;
    let text = if args.json {
        format!("{}\n", report.to_json())
    } else {
        report.to_string()
    };
    Ok((text, report.exit_code()))
}

fn check_export(args: &Args, dir: &Path) -> Result<(String, u8), String> {
    let report =
        verify_export(dir, &options(args)?, &mut |_, _| {}).map_err(|error| error.to_string())?;
    let text = if args.json {
        format!("{}\n", report.to_json())
    } else {
        report.to_string()
    };
    Ok((text, report.exit_code()))
}

fn options(args: &Args) -> Result<VerifyOptions, String> {
    Ok(VerifyOptions {
        key: args.key.as_deref().map(read_key).transpose()?,
        checkpoints: checkpoints(args)?,
    })
}

fn checkpoints(args: &Args) -> Result<Vec<SignedCheckpoint>, String> {
    let mut all = Vec::new();
    for file in &args.checkpoints {
        let notes = SignedCheckpoint::parse_all(&read(file)?)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        all.extend(notes);
    }
    Ok(all)
}

/// The key that was given, or that of the log's folder.
fn log_key(args: &Args) -> Result<VerifierKey, String> {
    match &args.key {
        Some(key) => read_key(key),
        None => read_key(&args.dir.join("log.vkey").to_string_lossy()),
    }
}

fn check_consistency(args: &Args, file: &Path) -> Result<(String, u8), String> {
    let (key, kept) = (log_key(args)?, checkpoints(args)?);
    let proof = Consistency::parse(&read(file)?);
    // All that were given must hold: one that is passed over is one that nobody checked.
    let result = proof.and_then(|proof| {
        kept.iter().try_for_each(|kept| proof.verify(kept, &key))?;
        Ok(proof)
    });
    let code = if result.is_ok() { 0 } else { TAMPERED };
    let text = match (&result, args.json) {
        (Ok(proof), true) => {
            let (size, root) = (
                proof.checkpoint().size(),
                proof.checkpoint().root().to_string(),
            );
            let answer = json!({ "version": 1, "verdict": "proven", "old_size": proof.old_size(), "size": size, "root": root, "key_trusted": args.key.is_some() });
            format!("{answer}\n")
        }
        (Ok(proof), false) => format!(
            "PROVEN: the log {} only grew from {} entries to {}; nothing before was changed.\n",
            key.name().escape_debug(),
            proof.old_size(),
            proof.checkpoint().size()
        ),
        (Err(error), json) => not_proven(error, json, args),
    };
    Ok((text, code))
}

fn not_proven(error: &dyn std::error::Error, json: bool, args: &Args) -> String {
    if json {
        let answer = json!({ "version": 1, "verdict": "not-proven", "what": error.to_string(), "key_trusted": args.key.is_some() });
        format!("{answer}\n")
    } else {
        format!("NOT PROVEN: {error}.\n")
    }
}

fn check_receipt(args: &Args, file: &Path) -> Result<(String, u8), String> {
    let key = log_key(args)?;
    let result = Receipt::parse(&read(file)?).and_then(|receipt| receipt.verify(&key));
    let code = if result.is_ok() { 0 } else { TAMPERED };
    let text = match (&result, args.json) {
        (Ok(proven), true) => format!(
            "{}\n",
            json!({ "version": 1, "verdict": "proven", "seq": proven.header.seq, "time": proven.header.time, "kind": proven.header.kind, "body_bytes": proven.body.as_ref().map(Vec::len), "key_trusted": args.key.is_some() })
        ),
        (Ok(proven), false) => {
            let body = match &proven.body {
                Some(body) => format!("its body of {} bytes is as it was logged", body.len()),
                None => "its body is not shown".to_owned(),
            };
            format!(
                "PROVEN: entry {} of kind {} is in the log {}; {body}.\n",
                proven.header.seq,
                proven.header.kind,
                key.name()
            )
        }
        (Err(error), json) => not_proven(error, json, args),
    };
    Ok((text, code))
}

/// A key given as its text, or as the file that holds it.
fn read_key(given: &str) -> Result<VerifierKey, String> {
    let path = Path::new(given);
    if path.exists() {
        return VerifierKey::parse(&read(path)?).map_err(|error| format!("{given}: {error}"));
    }
    VerifierKey::parse(given).map_err(|error| format!("{given:?} is no file, and {error}"))
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))
}
