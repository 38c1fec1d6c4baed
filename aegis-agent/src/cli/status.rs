//! `aegis status` and `aegis doctor`: what the daemon enforces, and what the host could.

use std::{fmt::Write as _, path::Path};

use serde_json::{Value, json};

use super::{
    args::Format,
    client::{Client, PATIENCE, socket_path},
    failure::Failure,
    output, time,
};
use crate::{
    escape,
    kernel::doctor::{Finding, examine},
    proto::control::{AgentInfo, Hook, ListAgentsRequest, StatusReply, StatusRequest},
};

/// State of a hook that works.
const ATTACHED: &str = "attached";

/// `aegis status`. Exits 1 when the daemon runs and enforces nothing.
///
/// # Errors
/// When the daemon does not answer.
pub fn status(format: Format, socket: Option<&Path>) -> Result<u8, Failure> {
    let mut client = Client::connect(&socket_path(socket))?;
    let reply = client.ask(PATIENCE, async |control| control.status(StatusRequest {}).await)?;
    match format {
        Format::Json => output::print_json(&status_json(&reply))?,
        Format::Text => {
            let agents = client.ask(PATIENCE, async |control| control.list_agents(ListAgentsRequest {}).await)?.agents;
            let mut text = status_text(&reply, output::colour());
            text.push_str(&banned_calls(&agents));
            output::print(&text)?;
        }
    }
    Ok(u8::from(!reply.enforcing))
}

fn status_text(reply: &StatusReply, colour: bool) -> String {
    let mut out = String::new();
    let kind = if reply.transient { "transient engine" } else { "daemon" };
    let enforcing = if reply.enforcing {
        output::paint("enforcing", "1;32", colour)
    } else {
        format!("{}: {}", output::paint("NOTHING IS ENFORCED", "1;31", colour), escape::text(&reply.why))
    };
    // Writing to a String cannot fail.
    let _ = writeln!(out, "aegisd {}, {kind}, up {}", escape::text(&reply.version), time::duration(reply.uptime_ns));
    let _ = writeln!(out, "  {enforcing}");
    let _ = writeln!(out, "  kernel   {}, ABI {}", escape::text(&reply.kernel), reply.abi);
    let _ = writeln!(out, "  agents   {}", reply.agents);
    let _ = writeln!(out, "  log      {}", durable(reply));
    if !reply.log_access.is_empty() {
        let _ = writeln!(out, "  reading  {} (audit.access)", escape::text(&reply.log_access));
    }
    if !reply.chain.is_empty() {
        let _ = writeln!(out, "  chain    {}", escape::text(&reply.chain));
    }
    if !reply.hooks.is_empty() {
        out.push('\n');
        let head = vec!["HOOK".to_owned(), "STATE".to_owned(), "INSTRUCTIONS".to_owned(), String::new()];
        let rows: Vec<_> = std::iter::once(head).chain(reply.hooks.iter().map(hook_row)).collect();
        out.push_str(&output::table(&rows));
    }
    let raised: Vec<_> = reply.counters.iter().filter(|counter| counter.value > 0).collect();
    if !raised.is_empty() {
        out.push('\n');
        let head = vec!["COUNTER".to_owned(), "VALUE".to_owned()];
        let rows = raised.iter().map(|counter| vec![escape::text(&counter.name), counter.value.to_string()]);
        out.push_str(&output::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()));
    }
    out
}

/// By which means each call that a policy bans is refused.
fn banned_calls(agents: &[AgentInfo]) -> String {
    let rows: Vec<_> = agents
        .iter()
        .flat_map(|agent| agent.banned_calls.iter().map(move |call| (agent, call)))
        .map(|(agent, call)| vec![escape::text(&agent.name), escape::text(&call.name), call.by.join(", ")])
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let head = vec!["AGENT".to_owned(), "BANNED CALL".to_owned(), "REFUSED BY".to_owned()];
    format!("\n{}", output::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>()))
}

fn durable(reply: &StatusReply) -> String {
    // durable_seq is the last entry on disk; with an empty log both are 0.
    let waiting = reply.next_seq.saturating_sub(reply.durable_seq.saturating_add(1));
    match (reply.next_seq, waiting) {
        (0, _) => "no entries".to_owned(),
        (_, 0) => format!("durable up to entry {}", reply.durable_seq),
        (_, waiting) => format!("durable up to entry {}, {waiting} waiting", reply.durable_seq),
    }
}

fn hook_row(hook: &Hook) -> Vec<String> {
    let instructions = match hook.verified_instructions {
        0 => String::new(),
        count => count.to_string(),
    };
    vec![escape::text(&hook.name), escape::text(&hook.state), instructions, escape::text(&hook.detail)]
}

fn status_json(reply: &StatusReply) -> Value {
    let hooks = reply.hooks.iter().map(|hook| {
        json!({
            "name": hook.name,
            "state": hook.state,
            "attached": hook.state == ATTACHED,
            "detail": hook.detail,
            "verified_instructions": hook.verified_instructions,
        })
    });
    let counters = reply.counters.iter().map(|counter| (counter.name.clone(), Value::from(counter.value)));
    json!({
        "schema": 1,
        "version": reply.version,
        "kernel": reply.kernel,
        "abi": reply.abi,
        "transient": reply.transient,
        "enforcing": reply.enforcing,
        "why": reply.why,
        "durable_seq": reply.durable_seq,
        "next_seq": reply.next_seq,
        "agents": reply.agents,
        "uptime_ns": reply.uptime_ns,
        "chain": reply.chain,
        "hooks": hooks.collect::<Vec<_>>(),
        "counters": counters.collect::<serde_json::Map<_, _>>(),
    })
}

/// `aegis doctor`. Exits 1 when this host cannot enforce anything.
///
/// # Errors
/// When the output fails.
pub fn doctor(format: Format) -> Result<u8, Failure> {
    let findings = examine();
    let able = findings.iter().all(|finding| finding.ok);
    match format {
        Format::Json => output::print_json(&json!({
            "schema": 1,
            "can_enforce": able,
            "findings": findings.iter().map(finding_json).collect::<Vec<_>>(),
        }))?,
        Format::Text => {
            let mut text = findings_text(&findings, output::colour());
            text.push_str(if able {
                "This host can enforce policies.\n"
            } else {
                "This host cannot enforce policies until what is marked NO is put right.\n"
            });
            output::print(&text)?;
        }
    }
    Ok(u8::from(!able))
}

fn findings_text(findings: &[Finding], colour: bool) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut out = String::new();
    for finding in findings {
        let grade = if finding.ok { output::paint("ok", "32", colour) } else { output::paint("NO", "1;31", colour) };
        let _ = writeln!(out, "{grade}  {:<width$}  {}", finding.check, escape::text(&finding.found));
        if !finding.advice.is_empty() {
            let _ = writeln!(out, "    {:width$}  {}", "", escape::message(&finding.advice));
        }
    }
    out
}

fn finding_json(finding: &Finding) -> Value {
    json!({ "check": finding.check, "ok": finding.ok, "found": finding.found, "advice": finding.advice })
}

/// What is in the way of enforcing here, a line each; nothing when nothing is. Privileges do not
/// count: whoever asks may lack them, the daemon has them.
#[must_use]
pub fn obstacles() -> Vec<String> {
    let bad = examine().into_iter().filter(|finding| !finding.ok && finding.check != "privilege");
    bad.map(|finding| format!("{}: {}; {}", finding.check, finding.found, finding.advice)).collect()
}

#[cfg(test)]
mod tests {
    use super::{durable, findings_text, status_text};
    use crate::{
        kernel::doctor::Finding,
        proto::control::{Counter, Hook, StatusReply},
    };

    fn reply() -> StatusReply {
        StatusReply {
            version: "0.1.0".to_owned(),
            kernel: "6.12.1".to_owned(),
            abi: 1,
            enforcing: true,
            durable_seq: 41,
            next_seq: 42,
            agents: 1,
            uptime_ns: 61_000_000_000,
            hooks: vec![
                Hook { name: "file_open".to_owned(), state: "attached".to_owned(), verified_instructions: 31_000, ..Hook::default() },
                Hook { name: "x".to_owned(), state: "unavailable".to_owned(), detail: "no such hook".to_owned(), ..Hook::default() },
            ],
            counters: vec![
                Counter { name: "lost_file".to_owned(), value: 0 },
                Counter { name: "scratch_busy".to_owned(), value: 2 },
            ],
            ..StatusReply::default()
        }
    }

    #[test]
    fn status_for_people_shows_hooks_and_counters_that_count() {
        let expected = "aegisd 0.1.0, daemon, up 1min 1s\n  enforcing\n  kernel   6.12.1, ABI 1\n  agents   1\n  \
            log      durable up to entry 41\n\nHOOK       STATE        INSTRUCTIONS\nfile_open  attached     31000\n\
            x          unavailable                no such hook\n\nCOUNTER       VALUE\nscratch_busy  2\n";
        assert_eq!(status_text(&reply(), false), expected);
    }

    #[test]
    fn a_daemon_that_enforces_nothing_says_so_first() {
        let reply = StatusReply { enforcing: false, why: "no BPF LSM".to_owned(), ..reply() };
        let text = status_text(&reply, false);
        assert_eq!(text.lines().nth(1), Some("  NOTHING IS ENFORCED: no BPF LSM"));
    }

    #[test]
    fn what_is_not_durable_is_counted() {
        assert_eq!(durable(&StatusReply::default()), "no entries");
        assert_eq!(durable(&StatusReply { durable_seq: 41, next_seq: 45, ..StatusReply::default() }), "durable up to entry 41, 3 waiting");
    }

    #[test]
    fn findings_say_what_to_do() {
        let finding = |ok| Finding { check: "btf", ok, found: "here".to_owned(), advice: if ok { String::new() } else { "do it".to_owned() } };
        assert_eq!(findings_text(&[finding(true), finding(false)], false), "ok  btf  here\nNO  btf  here\n         do it\n");
    }
}
