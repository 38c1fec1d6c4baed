//! From a manifest's shapes to a policy: every value is read, every error reported.
//!
//! Knows: what values mean, how rules get their ids. Must not know: YAML, the host.

mod names;
mod paths;
mod programs;
mod rules;
mod values;

use std::collections::BTreeMap;

use crate::baseline;
use crate::diagnostic::{Diagnostics, quote};
use crate::manifest::{Manifest, Text};
use crate::policy::{Baseline, Default, KillAction, Limits, Mode, Policy};
use values::Wrong;

/// Most labels.
const MAX_LABELS: usize = 64;
/// Longest label, key or value, and longest `runtime`.
const MAX_LABEL: usize = 255;
/// Longest agent name: it names a cgroup and a folder.
const MAX_AGENT_NAME: usize = 63;

/// Makes a policy. What it returns holds only when `errors` stayed empty.
pub fn validate(manifest: &Manifest, errors: &mut Diagnostics) -> Policy {
    version(manifest.version.as_ref(), errors);
    let kept = |text: &Option<Text>| text.as_ref().map(|t| t.text.clone());
    if let Some(runtime) = &manifest.runtime {
        label_text(runtime, "`agent.runtime`", errors);
    }
    let baseline = baseline_of(manifest.baseline.as_ref(), errors);
    let mut rules = rules::of_manifest(manifest, errors);
    rules.extend(baseline::built_in());
    if baseline == Baseline::Linux {
        rules.extend(baseline::linux());
    }
    // Never allowed; the manifest may say so.
    let _ = word(manifest.signal_others.as_ref(), "process.signal_others", &[("deny", ())], errors);
    rules::unique_ids(&rules, manifest, errors);
    Policy {
        name: manifest
            .name
            .as_ref()
            .map(|n| agent_name(n, errors))
            .unwrap_or_default(),
        runtime: kept(&manifest.runtime),
        labels: labels(&manifest.labels, errors),
        mode: mode(manifest.mode.as_ref(), errors),
        default: word(
            manifest.default.as_ref(),
            "default",
            &[("deny", Default::Deny), ("allow", Default::Allow)],
            errors,
        )
        .unwrap_or(Default::Deny),
        baseline,
        rules,
        anonymous_exec: word(
            manifest.exec_anonymous.as_ref(),
            "exec.anonymous",
            &[("deny", false), ("allow", true)],
            errors,
        )
        .unwrap_or(false),
        write_execute: word(
            manifest.write_execute.as_ref(),
            "exec.write_execute",
            &[("record", true), ("deny", false)],
            errors,
        )
        .unwrap_or(true),
        no_new_privileges: manifest.no_new_privileges.as_ref().is_some_and(|t| t.text == "true"),
        limits: Limits {
            memory_bytes: value(manifest.memory.as_ref(), values::memory, errors),
            cpu_millis: value(manifest.cpu_quota.as_ref(), values::cpu, errors),
            pids: value(manifest.pids.as_ref(), values::pids, errors),
            bytes_out: value(manifest.max_bytes_out.as_ref(), values::bytes_out, errors),
            execution_time: value(manifest.execution_time.as_ref(), values::duration, errors),
        },
        kill: word(
            manifest.kill_action.as_ref(),
            "kill.action",
            &[("freeze", KillAction::Freeze), ("kill", KillAction::Kill)],
            errors,
        )
        .unwrap_or(KillAction::Freeze),
        record_or_deny: word(
            manifest.audit_full.as_ref(),
            "degraded.audit_full",
            &[("allow_with_audit", false), ("block_all", true)],
            errors,
        )
        .unwrap_or(false),
        dns: names::dns(&manifest.dns, errors),
        sni: names::sni(manifest.sni.as_ref(), errors).unwrap_or_default(),
    }
}

/// Reads an optional value.
fn value<T>(
    text: Option<&Text>,
    read: impl Fn(&str) -> Result<T, Wrong>,
    errors: &mut Diagnostics,
) -> Option<T> {
    let text = text?;
    match read(&text.text) {
        Ok(value) => Some(value),
        Err((message, advice)) => {
            errors.error(text.at, message, advice);
            None
        }
    }
}

/// Reads one of a few words.
fn word<T: Copy>(
    text: Option<&Text>,
    what: &str,
    words: &[(&str, T)],
    errors: &mut Diagnostics,
) -> Option<T> {
    let text = text?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.text) {
        return Some(*value);
    }
    let all = words
        .iter()
        .map(|(word, _)| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(" or ");
    let advice = match crate::manifest::nearest(&text.text, words.iter().map(|(word, _)| *word)) {
        Some(word) => format!("did you mean `{word}`? write {all}"),
        None => format!("write {all}"),
    };
    errors.error(
        text.at,
        format!("`{what}` cannot be {}", quote(&text.text)),
        advice,
    );
    None
}

fn version(text: Option<&Text>, errors: &mut Diagnostics) {
    if let Some(text) = text.filter(|t| t.text != "1.0") {
        errors.error(
            text.at,
            format!("version {} is not known to this program", quote(&text.text)),
            "write version: \"1.0\"",
        );
    }
}

fn mode(text: Option<&Text>, errors: &mut Diagnostics) -> Mode {
    if let Some(text) = text.filter(|t| t.text == "learn") {
        errors.error(
            text.at,
            "not enforced by this version: `mode: learn` (runs are not turned into policies)",
            "write `mode: audit` to record what would be denied, and read it with `aegis events`",
        );
        return Mode::Enforce;
    }
    word(
        text,
        "mode",
        &[("enforce", Mode::Enforce), ("audit", Mode::Audit)],
        errors,
    )
    .unwrap_or(Mode::Enforce)
}

fn baseline_of(text: Option<&Text>, errors: &mut Diagnostics) -> Baseline {
    if let Some(text) = text.filter(|t| t.text == "hostile-code") {
        errors.error(text.at, "not enforced by this version: `baseline: hostile-code` (it arrives with network names)", "write `baseline: linux`, allow no network, and name what may be read");
        return Baseline::Linux;
    }
    word(
        text,
        "baseline",
        &[("linux", Baseline::Linux), ("none", Baseline::None)],
        errors,
    )
    .unwrap_or(Baseline::Linux)
}

fn agent_name(name: &Text, errors: &mut Diagnostics) -> String {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let fits = name.text.len() <= MAX_AGENT_NAME
        && name.text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.text.chars().all(good);
    if !fits {
        errors.error(
            name.at,
            format!("{} cannot name an agent", quote(&name.text)),
            format!("use up to {MAX_AGENT_NAME} letters, digits, `.`, `_` and `-`, the first a letter or digit"),
        );
    }
    name.text.clone()
}

fn label_text(text: &Text, what: &str, errors: &mut Diagnostics) {
    if text.text.is_empty()
        || text.text.len() > MAX_LABEL
        || text.text.chars().any(char::is_control)
    {
        errors.error(
            text.at,
            format!("{what} is empty, too long, or holds control characters"),
            format!("write up to {MAX_LABEL} bytes of plain text"),
        );
    }
}

fn labels(list: &[(Text, Text)], errors: &mut Diagnostics) -> BTreeMap<String, String> {
    if let Some((key, _)) = list.get(MAX_LABELS) {
        errors.error(
            key.at,
            format!("more than {MAX_LABELS} labels"),
            "keep the ones that somebody looks for",
        );
    }
    let mut out = BTreeMap::new();
    for (key, value) in list.iter().take(MAX_LABELS) {
        label_text(key, "a label's key", errors);
        label_text(value, "a label's value", errors);
        out.insert(key.text.clone(), value.text.clone());
    }
    out
}

/// A duration as people write it (`30m`, `1h30m`); what is wrong with it and what to write.
///
/// # Errors
/// It is none.
pub fn duration(text: &str) -> Result<std::time::Duration, (String, String)> {
    values::duration(text)
}

/// A number of bytes as manifests write it: `64MB`, `2GB`.
///
/// # Errors
/// It is none.
pub fn size(text: &str) -> Result<u64, (String, String)> {
    values::size(text)
}
