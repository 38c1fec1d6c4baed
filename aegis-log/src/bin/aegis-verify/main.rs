//! `aegis-verify`: checks an audit log of Aegis, or a receipt, and says in words what it found.
//!
//! Knows the command line; all checking is in the library, which needs nothing of Aegis but itself.

mod args;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use aegis_log::{Receipt, SignedCheckpoint, VerifierKey, VerifyOptions, verify};
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
        Command::Receipt(args, file) => check_receipt(&args, &file),
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
    let mut options = VerifyOptions {
        key: args.key.as_deref().map(read_key).transpose()?,
        checkpoints: Vec::new(),
    };
    for file in &args.checkpoints {
        let notes = SignedCheckpoint::parse_all(&read(file)?)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        options.checkpoints.extend(notes);
    }
    let report = verify(&args.dir, &options).map_err(|error| error.to_string())?;
    let text = if args.json {
        format!("{}\n", report.to_json())
    } else {
        report.to_string()
    };
    Ok((text, report.exit_code()))
}

fn check_receipt(args: &Args, file: &Path) -> Result<(String, u8), String> {
    let vkey_file = args.dir.join("log.vkey");
    let key = match &args.key {
        Some(key) => read_key(key)?,
        None => read_key(&vkey_file.to_string_lossy())?,
    };
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
        (Err(error), true) => format!(
            "{}\n",
            json!({ "version": 1, "verdict": "not-proven", "what": error.to_string(), "key_trusted": args.key.is_some() })
        ),
        (Err(error), false) => format!("NOT PROVEN: {error}.\n"),
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
