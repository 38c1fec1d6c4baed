//! `aegis log witness`: has the newest checkpoint cosigned by the witnesses of a policy, and keeps it beside the log.

use std::{fs, path::Path, thread};

use aegis_log::{Cosigned, Policy, PolicyWitness, Reader, SignedCheckpoint};

use crate::{
    cli::{args::AskWitnesses, events::files, failure::Failure, output},
    clock,
    paths::Layout,
    witness::ask::{self, AskError},
};

/// Asks all witnesses that the policy has a URL for, at once. 0: the quorum is reached, what was cosigned is kept and
/// printed. 1: a witness has seen more or other entries than the log has. 3: too few cosigned.
///
/// # Errors
/// When the log or the policy cannot be read.
pub fn run(args: &AskWitnesses) -> Result<u8, Failure> {
    let layout = Layout::default();
    let dir = args.dir.clone().unwrap_or_else(|| layout.log());
    let policy = read(args.policy.as_deref().unwrap_or(&Layout::witnesses()))?;
    let reader = files::open(&dir)?;
    if !policy.logs().contains(reader.vkey()) {
        return Err(Failure::No(format!("the policy has no line for this log: log {}", reader.vkey())));
    }
    let newest = reader.checkpoint().ok_or_else(|| Failure::NotRunning("the log is empty: there is no checkpoint yet".to_owned()))?;
    let kept = Cosigned::beside(&dir);
    let broken = |error: aegis_log::IoError| Failure::Broken(error.to_string());
    let before = kept.all().map_err(broken)?.into_iter().next();
    if let Some(before) = &before {
        reader.owns(before).map_err(|error| {
            let size = before.size();
            Failure::No(format!("the log is not the one that was cosigned at {size} entries, or it was rolled back: {error}"))
        })?;
    }
    let mut cosigned = newest.clone();
    let mut tampering = false;
    for (witness, answer) in ask_all(&reader, newest, before.as_ref(), policy.witnesses()) {
        let merged = answer.and_then(|answer| cosigned.with_cosignature(answer.note(), &witness.key).map_err(AskError::Cosignature));
        match merged {
            Ok(merged) => cosigned = merged,
            Err(error) => {
                tampering |= error.tells_of_tampering();
                output::say(&format!("witness {}: {error}", witness.name));
            }
        }
    }
    match policy.check(&cosigned) {
        Ok(_) => {
            kept.keep(&cosigned, clock::wall()).map_err(broken)?;
            output::print(cosigned.note())?;
            Ok(u8::from(tampering))
        }
        Err(unmet) if tampering => Err(Failure::No(unmet.to_string())),
        Err(unmet) => Err(Failure::NotRunning(unmet.to_string())),
    }
}

/// A policy.
///
/// # Errors
/// When it cannot be read, or is none.
pub fn read(path: &Path) -> Result<Policy, Failure> {
    let text = fs::read(path).map_err(Failure::io("cannot read the policy of witnesses", path))?;
    Policy::parse(&text).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

fn ask_all<'a>(
    reader: &Reader,
    newest: &SignedCheckpoint,
    before: Option<&SignedCheckpoint>,
    witnesses: &'a [PolicyWitness],
) -> Vec<(&'a PolicyWitness, Result<SignedCheckpoint, AskError>)> {
    // Who cosigned what is kept is there; about others nothing is known.
    let guess = |witness: &PolicyWitness| match before {
        Some(before) if matches!(witness.key.cosigned(before), Ok(Some(_))) => before.size(),
        _ => 0,
    };
    thread::scope(|scope| {
        let asked = witnesses.iter().filter(|witness| witness.url.is_some());
        let threads: Vec<_> =
            asked.map(|witness| (witness, scope.spawn(move || ask::cosign(reader, newest, witness, guess(witness))))).collect();
        let answer = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err(AskError::NoAnswer("asking it failed inside".to_owned())))
        };
        threads.into_iter().map(|(witness, thread)| (witness, answer(thread))).collect()
    })
}
