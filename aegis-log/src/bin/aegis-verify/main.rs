//! `aegis-verify`: checks an audit log of Aegis, an export, a receipt or a proof that it only grew, and says
//! in words what it found.
//!
//! Knows the command line; all checking is in the library, which needs nothing of Aegis but itself.

mod args;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use aegis_log::{
    Consistency, Cosigned, Keys, Policy, Proven, Receipt, Seal, SignedCheckpoint, Unmet, VerifierKey,
    VerifyOptions, Witnessing, verify, verify_export,
};
use serde_json::{Value, json};

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
    let mut options = options(args)?;
    if options.policy.is_some() && options.checkpoints.is_empty() {
        let beside = Cosigned::beside(&args.dir).all();
        options.checkpoints = beside.map_err(|error| error.to_string())?;
    }
    let report = verify(&args.dir, &options).map_err(|error| error.to_string())?;
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
    let trust = Trust::read(args)?;
    Ok(VerifyOptions {
        key: trust.key,
        checkpoints: checkpoints(args)?,
        seals: seals(args)?,
        policy: trust.policy,
        keys: keys(args)?,
    })
}

/// The keys that were named; without a name those beside the log, as far as they may be read.
fn keys(args: &Args) -> Result<Keys, String> {
    if args.keys.is_none() && args.kek.is_none() {
        return Ok(Keys::beside(&args.dir));
    }
    let beside = (Keys::folder(&args.dir), Keys::kek_file(&args.dir));
    let folder = args.keys.as_ref().unwrap_or(&beside.0);
    let kek = args.kek.as_ref().unwrap_or(&beside.1);
    let keys = Keys::open(folder, kek).map_err(|error| error.to_string())?;
    if keys.is_some() {
        return Ok(keys);
    }
    Err(format!(
        "cannot read {}: without it the keys in {} are of no use",
        kek.display(),
        folder.display()
    ))
}

fn seals(args: &Args) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for file in &args.epochs {
        let seals = Seal::parse_all(&read(file)?)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        all.extend(seals);
    }
    Ok(all)
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

/// What is known from elsewhere than from what is checked.
struct Trust {
    key: Option<VerifierKey>,
    policy: Option<Policy>,
}

impl Trust {
    fn read(args: &Args) -> Result<Self, String> {
        let key = args.key.as_deref().map(read_key).transpose()?;
        let policy = args.policy.as_deref().map(read_policy).transpose()?;
        if let (Some(key), Some(policy)) = (&key, &policy)
            && !policy.logs().is_empty()
            && !policy.logs().contains(key)
        {
            return Err("the key given is not that of a log of the policy".to_owned());
        }
        Ok(Self { key, policy })
    }

    /// The key for the log of this checkpoint, that of the log's folder if nothing better is known, and whether
    /// it is known from elsewhere.
    fn key(
        &self,
        args: &Args,
        checkpoint: &SignedCheckpoint,
    ) -> Result<(VerifierKey, bool), String> {
        if let Some(key) = &self.key {
            return Ok((key.clone(), true));
        }
        let policy = self.policy.as_ref();
        // Of a log that the policy does not name its first key is as wrong as any.
        let named = policy.and_then(|policy| {
            let named = policy.log_key(Some(checkpoint.origin()));
            named.or(policy.logs().first())
        });
        match named {
            Some(key) => Ok((key.clone(), true)),
            None => Ok((
                read_key(&args.dir.join("log.vkey").to_string_lossy())?,
                false,
            )),
        }
    }

    /// Whether the policy's witnesses vouch for it, or why not.
    fn witnessing(&self, checkpoint: &SignedCheckpoint) -> Result<Witnessing, Unmet> {
        let Some(policy) = &self.policy else {
            return Ok(Witnessing::NotAsked);
        };
        let size = checkpoint.size();
        policy
            .quorum(checkpoint)
            .map(|by| Witnessing::Reached { size, by })
    }
}

fn read_policy(path: &Path) -> Result<Policy, String> {
    let text =
        std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Policy::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// What was proven, with who vouches for it; or why not, in words.
type Outcome<T> = Result<(T, Witnessing), String>;

/// The answer to a question about one file.
fn told<T>(
    outcome: &Outcome<T>,
    trusted: bool,
    args: &Args,
    for_people: impl FnOnce(&T) -> String,
    for_machines: impl FnOnce(&T) -> Value,
) -> (String, u8) {
    let (text, mut machine, code) = match outcome {
        Ok((proven, witnessing)) => {
            let mut machine = for_machines(proven);
            machine["verdict"] = "proven".into();
            machine["witnessed"] = witnessing.to_json();
            (
                format!("PROVEN: {}.\n{witnessing}", for_people(proven)),
                machine,
                0,
            )
        }
        Err(what) => {
            let machine = json!({ "verdict": "not-proven", "what": what });
            (format!("NOT PROVEN: {what}.\n"), machine, TAMPERED)
        }
    };
    machine["version"] = 1.into();
    machine["key_trusted"] = trusted.into();
    (
        if args.json {
            format!("{machine}\n")
        } else {
            text
        },
        code,
    )
}

fn check_consistency(args: &Args, file: &Path) -> Result<(String, u8), String> {
    let (trust, kept) = (Trust::read(args)?, checkpoints(args)?);
    let proof = match Consistency::parse(&read(file)?) {
        Ok(proof) => proof,
        Err(error) => return Ok(unreadable(&error, args)),
    };
    let (key, trusted) = trust.key(args, proof.checkpoint())?;
    // All that were given must hold: one that is passed over is one that nobody checked.
    let held = kept.iter().try_for_each(|kept| proof.verify(kept, &key));
    let outcome = held.map_err(|error| error.to_string()).and_then(|()| {
        let witnessing = trust.witnessing(proof.checkpoint());
        Ok((&proof, witnessing.map_err(|error| error.to_string())?))
    });
    let for_people = |proof: &&Consistency| {
        let (name, old, size) = (key.name(), proof.old_size(), proof.checkpoint().size());
        let name = name.escape_debug();
        format!("the log {name} only grew from {old} entries to {size}; nothing before was changed")
    };
    let for_machines = |proof: &&Consistency| {
        let root = proof.checkpoint().root().to_string();
        json!({ "old_size": proof.old_size(), "size": proof.checkpoint().size(), "root": root })
    };
    Ok(told(&outcome, trusted, args, for_people, for_machines))
}

fn unreadable(error: &dyn std::error::Error, args: &Args) -> (String, u8) {
    let outcome: Outcome<()> = Err(error.to_string());
    told(&outcome, false, args, |()| String::new(), |()| Value::Null)
}

fn check_receipt(args: &Args, file: &Path) -> Result<(String, u8), String> {
    let trust = Trust::read(args)?;
    let receipt = match Receipt::parse(&read(file)?) {
        Ok(receipt) => receipt,
        Err(error) => return Ok(unreadable(&error, args)),
    };
    let (key, trusted) = trust.key(args, receipt.checkpoint())?;
    let proven = receipt.verify(&key).map_err(|error| error.to_string());
    let outcome = proven.and_then(|proven| {
        let witnessing = trust.witnessing(receipt.checkpoint());
        Ok((proven, witnessing.map_err(|error| error.to_string())?))
    });
    let for_people = |proven: &Proven| {
        let body = match &proven.body {
            Some(body) => format!("its body of {} bytes is as it was logged", body.len()),
            None => "its body is not shown".to_owned(),
        };
        let (seq, kind, name) = (proven.header.seq, proven.header.kind, key.name());
        let name = name.escape_debug();
        format!("entry {seq} of kind {kind} is in the log {name}; {body}")
    };
    let for_machines = |proven: &Proven| json!({ "seq": proven.header.seq, "time": proven.header.time, "kind": proven.header.kind, "body_bytes": proven.body.as_ref().map(Vec::len) });
    Ok(told(&outcome, trusted, args, for_people, for_machines))
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
