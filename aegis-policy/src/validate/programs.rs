//! What a rule about programs asks for beside the name: arguments, a content, variables of the environment.
//!
//! Knows: which spellings a digest and a variable have, how many arguments fit. Must not know: paths.

use aegis_common::argument::MAX_PATTERNS;
use aegis_common::environment::VARIABLE;

use super::values::Wrong;
use super::{paths, value};
use crate::diagnostic::{Diagnostics, quote};
use crate::glob::Pattern;
use crate::manifest::{NetEntry, PathEntry, Text};
use crate::path::AbsPath;
use crate::policy::Condition;

/// Longest argument that a rule names; one that a program gets may be longer.
const MAX_ARGUMENT: usize = 4096;

/// What else an entry asks for.
pub(super) fn condition(entry: &PathEntry, errors: &mut Diagnostics) -> Condition {
    if let Some(argv) = &entry.argv {
        let texts = argv.iter().filter_map(|text| value(Some(text), argument, errors));
        return Condition::Arguments(texts.collect());
    }
    match value(entry.sha256.as_ref(), digest, errors) {
        Some(sha256) => Condition::Content(sha256),
        None => Condition::None,
    }
}

/// A condition holds at plain paths alone: of a glob nobody could say which program was meant.
pub(super) fn plain(entry: &PathEntry, patterns: &[Pattern], errors: &mut Diagnostics) {
    let conditional = entry.argv.is_some() || entry.sha256.is_some();
    if conditional && patterns.iter().any(|pattern| !pattern.tail.steps().is_empty()) {
        errors.error(
            entry.path.at,
            format!("not enforced by this version: `argv` or `sha256` beside the glob {}", quote(&entry.path.text)),
            "name each program, or the directory that holds them",
        );
    }
}

/// The program that an address is allowed to. Which program runs is a guard rail, so a deny is for all of them.
pub(super) fn exe(entry: &NetEntry, allow: bool, errors: &mut Diagnostics) -> Option<AbsPath> {
    let text = entry.exe.as_ref()?;
    if !allow {
        errors.error(
            text.at,
            "`exe` beside an address that is denied: a copy of the program would reach it",
            "delete `exe`, so that the address is denied to every program; or name under `allow` the programs that need it",
        );
        return None;
    }
    value(Some(text), one_path, errors)
}

/// A path without wild names.
fn one_path(text: &str) -> Result<AbsPath, Wrong> {
    let path = paths::rule_path(text)?;
    match path.patterns.as_slice() {
        [Pattern { prefix, tail }] if tail.steps().is_empty() => Ok(prefix.clone()),
        _ => Err((
            format!("not enforced by this version: the glob {} as `exe`", quote(text)),
            "name the program, or the directory that holds it; write a rule for each".to_owned(),
        )),
    }
}

/// A condition as part of a rule's id, and of its text.
pub(super) fn told(condition: &Condition) -> (String, String) {
    match condition {
        Condition::None => (String::new(), String::new()),
        Condition::Arguments(argv) => {
            let words: Vec<String> = argv.iter().map(|word| quote(word)).collect();
            let id = argv.iter().map(|word| format!(":{word}")).collect();
            (id, format!(" with {}", words.join(" ")))
        }
        Condition::Content(sha256) => {
            let hex: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
            (format!(":{hex}"), format!(" with content {hex}"))
        }
    }
}

fn argument(text: &str) -> Result<String, Wrong> {
    if text.contains('\0') {
        return Err(("an argument holds a NUL character".to_owned(), "none can: delete it".to_owned()));
    }
    if text.len() > MAX_ARGUMENT {
        return Err((
            format!("an argument has {} bytes, at most {MAX_ARGUMENT} are taken", text.len()),
            "name a shorter argument that goes with it".to_owned(),
        ));
    }
    Ok(text.to_owned())
}

fn digest(text: &str) -> Result<[u8; 32], Wrong> {
    let wrong = || {
        (
            format!("{} is no SHA-256", quote(text)),
            "write the 64 hexadecimal digits that `sha256sum FILE` prints".to_owned(),
        )
    };
    let mut out = [0; 32];
    if text.len() != 2 * out.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    for (byte, digits) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(out)
}

/// How a variable begins that an entry of `exec.environment.deny` names.
pub(super) fn variable(name: &Text, errors: &mut Diagnostics) -> Option<String> {
    value(Some(name), beginning, errors)
}

fn beginning(text: &str) -> Result<String, Wrong> {
    let name = text.strip_suffix('*').unwrap_or(text);
    if name.is_empty() || name.contains(['=', '*', '\0']) {
        return Err((
            format!("{} is no name of a variable", quote(text)),
            "write a name, such as LD_PRELOAD, or how names begin: \"LD_*\"".to_owned(),
        ));
    }
    if name.len() >= VARIABLE {
        return Err((
            format!("the name has {} bytes, at most {} are looked at", name.len(), VARIABLE - 1),
            format!("write how it begins: its first {} bytes or fewer, and `*`", VARIABLE - 1),
        ));
    }
    Ok(if name.len() < text.len() { name.to_owned() } else { format!("{name}=") })
}

/// All arguments of a manifest fit into one image.
pub(super) fn bound(entries: &[PathEntry], errors: &mut Diagnostics) {
    let most = usize::try_from(MAX_PATTERNS).unwrap_or(usize::MAX);
    let all: Vec<&Text> = entries.iter().filter_map(|e| e.argv.as_ref()).flatten().collect();
    if let Some(first) = all.get(most) {
        errors.error(
            first.at,
            format!("the rules name {} arguments, at most {most} are followed", all.len()),
            "deny programs whatever their arguments, or name fewer arguments for each",
        );
    }
}
