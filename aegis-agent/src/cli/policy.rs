//! `aegis policy check` and `aegis policy show`. Need no daemon and ask nothing of the host but the files.

use std::{fs, path::Path};

use aegis_policy::{
    Diagnostic, Policy,
    policy::{Baseline, Default as Otherwise, KillAction, Limits, Mode},
};
use serde_json::{Value, json};

use super::{
    args::{Format, Policy as Args},
    failure::Failure,
    output, time,
};
use crate::{clock, escape};

/// Longest manifest that is read.
pub const MANIFEST: u64 = 1 << 20;

/// Reads a manifest.
///
/// # Errors
/// When it cannot be read, or is far too long to be one.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let size = fs::metadata(path).map_err(Failure::io("cannot read", path))?.len();
    if size > MANIFEST {
        return Err(Failure::Usage(format!("{}: {size} bytes are no policy manifest (at most {MANIFEST})", path.display())));
    }
    fs::read(path).map_err(Failure::io("cannot read", path))
}

/// Runs the command and tells its exit code.
///
/// # Errors
/// When a file cannot be read or the output fails.
pub fn run(args: &Args) -> Result<u8, Failure> {
    match args {
        Args::Check { files, output } => {
            let files: Vec<&Path> = files.iter().map(AsRef::as_ref).collect();
            check(&files, *output)
        }
        Args::Show { file, output } => show(file, *output),
    }
}

fn check(files: &[&Path], format: Format) -> Result<u8, Failure> {
    let mut bad = 0;
    let mut reports = Vec::new();
    for path in files {
        let name = path.display().to_string();
        match (aegis_policy::check(&read(path)?, &name), format) {
            (Ok(policy), Format::Text) => {
                output::print(&format!("{}: good, {}\n", escape::text(&name), summary(&policy)))?;
            }
            (Ok(policy), Format::Json) => {
                reports.push(json!({ "file": name, "valid": true, "agent": policy.name, "errors": [] }));
            }
            (Err(errors), Format::Text) => {
                bad += errors.len();
                // What is wrong is what was asked for: data.
                let text: String = errors.iter().map(|error| format!("{error}\n")).collect();
                output::print(&text)?;
            }
            (Err(errors), Format::Json) => {
                bad += errors.len();
                let errors: Vec<_> = errors.iter().map(error_json).collect();
                reports.push(json!({ "file": name, "valid": false, "errors": errors }));
            }
        }
    }
    match format {
        Format::Json => output::print_json(&json!({ "schema": 1, "valid": bad == 0, "files": reports }))?,
        Format::Text if bad > 0 => output::say(&format!("{bad} {}", if bad == 1 { "error" } else { "errors" })),
        Format::Text => {}
    }
    Ok(u8::from(bad > 0))
}

fn error_json(error: &Diagnostic) -> Value {
    json!({ "line": error.line, "column": error.column, "message": error.message, "advice": error.advice })
}

fn summary(policy: &Policy) -> String {
    format!("agent {}, {} rules, mode {}, default {}", escape::text(&policy.name), policy.rules.len(), mode(policy), default(policy))
}

const fn mode(policy: &Policy) -> &'static str {
    match policy.mode {
        Mode::Enforce => "enforce",
        Mode::Audit => "audit",
    }
}

const fn default(policy: &Policy) -> &'static str {
    match policy.default {
        Otherwise::Deny => "deny",
        Otherwise::Allow => "allow",
    }
}

const fn baseline(policy: &Policy) -> &'static str {
    match policy.baseline {
        Baseline::None => "none",
        Baseline::Linux => "linux",
    }
}

fn show(path: &Path, format: Format) -> Result<u8, Failure> {
    let name = path.display().to_string();
    let policy = match aegis_policy::check(&read(path)?, &name) {
        Ok(policy) => policy,
        Err(errors) => {
            errors.iter().for_each(|error| output::say(&error.to_string()));
            return Ok(1);
        }
    };
    match format {
        Format::Text => output::print(&show_text(&policy))?,
        Format::Json => output::print_json(&show_json(&policy))?,
    }
    Ok(0)
}

fn show_text(policy: &Policy) -> String {
    let mut rows = vec![
        vec!["agent".to_owned(), escape::text(&policy.name)],
        vec!["mode".to_owned(), mode(policy).to_owned()],
        vec!["default".to_owned(), default(policy).to_owned()],
        vec!["baseline".to_owned(), baseline(policy).to_owned()],
        vec!["unnamed programs".to_owned(), if policy.anonymous_exec { "may run" } else { "denied" }.to_owned()],
        vec!["written memory".to_owned(), if policy.write_execute { "may run" } else { "denied" }.to_owned()],
        vec!["unrecorded".to_owned(), if policy.record_or_deny { "denied" } else { "counted" }.to_owned()],
        vec!["kill".to_owned(), if policy.kill == KillAction::Kill { "kill" } else { "freeze" }.to_owned()],
    ];
    rows.extend(limits(&policy.limits).into_iter().map(|(name, value)| vec![name.to_owned(), value]));
    let head = ["RULE", "ORIGIN", "SAYS", "RECORDED"].map(str::to_owned).to_vec();
    let rules = policy.rules.iter().map(|rule| {
        let recorded = if rule.record { "yes" } else { "denials" };
        vec![escape::text(&rule.id), rule.origin.to_string(), escape::text(&rule.text), recorded.to_owned()]
    });
    let rules: Vec<_> = std::iter::once(head).chain(rules).collect();
    format!("{}\n{}", output::table(&rows), output::table(&rules))
}

fn limits(limits: &Limits) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    if let Some(bytes) = limits.memory_bytes {
        out.push(("memory", format!("{bytes} bytes")));
    }
    if let Some(thousandths) = limits.cpu_millis {
        out.push(("cpu_quota", format!("{}.{:03} CPUs", thousandths / 1000, thousandths % 1000)));
    }
    if let Some(pids) = limits.pids {
        out.push(("pids", pids.to_string()));
    }
    if let Some(bytes) = limits.bytes_out {
        out.push(("max_bytes_out", format!("{bytes} bytes")));
    }
    if let Some(longest) = limits.execution_time {
        out.push(("execution_time", time::duration(clock::length(longest))));
    }
    out
}

fn show_json(policy: &Policy) -> Value {
    let rules = policy.rules.iter().map(|rule| {
        json!({ "id": rule.id, "origin": rule.origin.to_string(), "text": rule.text, "record": rule.record })
    });
    json!({
        "schema": 1,
        "agent": policy.name,
        "runtime": policy.runtime,
        "labels": policy.labels,
        "mode": mode(policy),
        "default": default(policy),
        "baseline": baseline(policy),
        "anonymous_exec": policy.anonymous_exec,
        "write_execute": policy.write_execute,
        "record_or_deny": policy.record_or_deny,
        "kill": if policy.kill == KillAction::Kill { "kill" } else { "freeze" },
        "limits": {
            "memory_bytes": policy.limits.memory_bytes,
            "cpu_millis": policy.limits.cpu_millis,
            "pids": policy.limits.pids,
            "max_bytes_out": policy.limits.bytes_out,
            "execution_time_ns": policy.limits.execution_time.map(clock::length),
        },
        "rules": rules.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{check, show_json, show_text};
    use crate::cli::args::Format;

    const GOOD: &str = "version: \"1.0\"\nagent: {name: coder}\npermissions:\n  fs: {read: [/data]}\n  memory: 512MB\n  cpu_quota: 0.5\n  execution_time: 300s\n";

    #[test]
    fn check_answers_no_when_any_file_is_bad() {
        let dir = tempfile::tempdir().unwrap();
        let (good, bad) = (dir.path().join("good.yaml"), dir.path().join("bad.yaml"));
        fs::write(&good, GOOD).unwrap();
        fs::write(&bad, GOOD.replace("memory", "memry")).unwrap();
        for format in [Format::Text, Format::Json] {
            assert_eq!(check(&[&good], format).unwrap(), 0);
            assert_eq!(check(&[&good, &bad], format).unwrap(), 1);
        }
        assert_eq!(check(&[&dir.path().join("none.yaml")], Format::Text).unwrap_err().code(), 2);
    }

    #[test]
    fn show_names_every_rule_with_its_origin() {
        let policy = aegis_policy::check(GOOD.as_bytes(), "p.yaml").unwrap();
        let text = show_text(&policy);
        for expected in ["memory            512000000 bytes", "cpu_quota         0.500 CPUs", "execution_time    5min 0s", "p.yaml:4", "baseline:linux", "built-in"] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        let json = show_json(&policy);
        assert_eq!(json["rules"].as_array().unwrap().len(), policy.rules.len());
        assert_eq!(json["limits"]["execution_time_ns"], 300_000_000_000_u64);
    }
}
