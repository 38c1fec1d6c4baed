//! `aegis agents`, `aegis kill`, `aegis thaw`: the agents that run, and stopping them.

use std::{path::Path, time::Duration};

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{
    args::{Format, Stop},
    client::{Client, PATIENCE, socket_path},
    failure::Failure,
    output, time,
};
use crate::{
    escape,
    proto::control::{AgentInfo, KillRequest, Killed, ListAgentsRequest, ThawRequest},
};

/// Freezing waits for tasks that sit in the kernel.
const KILL: Duration = Duration::from_secs(60);

/// `aegis agents`.
///
/// # Errors
/// When the daemon does not answer.
pub fn list(format: Format, socket: Option<&Path>) -> Result<(), Failure> {
    let mut client = Client::connect(&socket_path(socket))?;
    let reply = client.ask(PATIENCE, async |control| control.list_agents(ListAgentsRequest {}).await)?;
    match format {
        Format::Json => output::print_json(&Value::Array(reply.agents.iter().map(agent_json).collect())),
        Format::Text if reply.agents.is_empty() => {
            output::say("no agent runs");
            Ok(())
        }
        Format::Text => {
            let head = ["NAME", "SESSION", "STATE", "MODE", "POLICY", "TASKS", "ALLOWED", "DENIED", "SENT", "RECEIVED", "STARTED"];
            let zone = TimeZone::system();
            let rows = reply.agents.iter().map(|agent| agent_row(agent, &zone));
            let rows: Vec<_> = std::iter::once(head.map(str::to_owned).to_vec()).chain(rows).collect();
            output::print(&output::table(&rows))
        }
    }
}

fn agent_row(agent: &AgentInfo, zone: &TimeZone) -> Vec<String> {
    vec![
        escape::text(&agent.name),
        escape::text(&agent.session),
        escape::text(&agent.state),
        escape::text(&agent.mode),
        format!("{} (generation {})", escape::text(&agent.policy), agent.generation),
        agent.tasks.to_string(),
        agent.allowed.to_string(),
        agent.denied.to_string(),
        output::size(agent.bytes_out),
        output::size(agent.bytes_in),
        time::local(agent.started_unix_ns, zone),
    ]
}

fn agent_json(agent: &AgentInfo) -> Value {
    json!({
        "schema": 1,
        "name": agent.name,
        "session": agent.session,
        "state": agent.state,
        "mode": agent.mode,
        "policy": agent.policy,
        "generation": agent.generation,
        "image": agent.image,
        "cgroup": agent.cgroup,
        "slot": agent.slot,
        "tasks": agent.tasks,
        "allowed": agent.allowed,
        "denied": agent.denied,
        "bytes_out": agent.bytes_out,
        "bytes_in": agent.bytes_in,
        "started": time::rfc3339(agent.started_unix_ns),
        "banned_calls": agent.banned_calls.iter().map(|call| json!({"name": call.name, "by": call.by})).collect::<Vec<_>>(),
    })
}

/// `aegis kill`.
///
/// # Errors
/// When there is no such agent, or one of them could not be frozen whole.
pub fn kill(args: &Stop, socket: Option<&Path>) -> Result<(), Failure> {
    let mut client = Client::connect(&socket_path(socket))?;
    let request = KillRequest { agent: args.agent.clone(), reason: args.reason.clone().unwrap_or_default() };
    let reply = client.ask(KILL, async |control| control.kill(request).await)?;
    if reply.killed.is_empty() {
        return Err(unknown(&args.agent));
    }
    match args.output {
        Format::Json => output::print_json(&Value::Array(reply.killed.iter().map(killed_json).collect()))?,
        Format::Text => {
            let text: String = reply.killed.iter().map(|killed| killed_line(killed) + "\n").collect();
            output::print(&text)?;
        }
    }
    let moving = reply.killed.iter().filter(|killed| !killed.frozen).count();
    if moving > 0 {
        // Denied everything, but not proven still: whoever asked must know.
        return Err(Failure::NotRunning(format!(
            "{moving} of {} agents are denied everything but not frozen yet: a task is busy in the kernel; ask again with `aegis agents`",
            reply.killed.len()
        )));
    }
    Ok(())
}

/// From the request on: when the kernel began to deny, and when the last task stood still.
fn killed_line(killed: &Killed) -> String {
    let name = format!("{} ({})", escape::text(&killed.name), escape::text(&killed.session));
    let denied = time::duration(killed.flag_ns);
    if killed.frozen {
        let frozen = time::duration(killed.frozen_ns);
        format!("killed {name}: everything denied after {denied}, {} tasks frozen after {frozen}, entry {}", killed.tasks, killed.seq)
    } else {
        format!("killed {name}: everything denied after {denied}, {} tasks NOT frozen, entry {}", killed.tasks, killed.seq)
    }
}

fn killed_json(killed: &Killed) -> Value {
    json!({
        "schema": 1,
        "name": killed.name,
        "session": killed.session,
        "flag_ns": killed.flag_ns,
        "frozen": killed.frozen,
        "frozen_ns": killed.frozen_ns,
        "tasks": killed.tasks,
        "seq": killed.seq,
    })
}

/// `aegis thaw`.
///
/// # Errors
/// When there is no such agent.
pub fn thaw(args: &Stop, socket: Option<&Path>) -> Result<(), Failure> {
    let mut client = Client::connect(&socket_path(socket))?;
    let request = ThawRequest { agent: args.agent.clone(), reason: args.reason.clone().unwrap_or_default() };
    let reply = client.ask(PATIENCE, async |control| control.thaw(request).await)?;
    if reply.sessions.is_empty() {
        return Err(unknown(&args.agent));
    }
    match args.output {
        Format::Json => output::print_json(&json!({ "schema": 1, "thawed": reply.sessions })),
        Format::Text => {
            let lines = reply.sessions.iter().map(|session| format!("thawed {}\n", escape::text(session)));
            output::print(&lines.collect::<String>())
        }
    }
}

fn unknown(agent: &str) -> Failure {
    Failure::No(format!("no agent is called {agent:?}; `aegis agents` lists those that run"))
}
