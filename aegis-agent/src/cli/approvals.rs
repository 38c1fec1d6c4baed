//! `aegis log access`, `aegis log erase`, `aegis approvals`: what takes another person's approval.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};

use super::{
    args::{Access, Approvals, Decision, Erase, Format},
    client::{Client, PATIENCE, socket_path},
    failure::Failure,
    output, time,
};
use crate::{
    clock, escape,
    proto::control::{AccessRequest, Approval, DecideRequest, Erasure, ListApprovalsRequest},
};

/// `aegis log access`: asks.
///
/// # Errors
/// When the daemon refuses or does not answer.
pub fn ask(args: &Access, socket: Option<&Path>) -> Result<(), Failure> {
    let span = args.span.map_or(0, clock::length);
    let request = AccessRequest { reason: args.reason.clone(), duration_ns: span, erase: None };
    let mut client = Client::connect(&socket_path(socket))?;
    let asked = client.ask(PATIENCE, async |control| control.request_access(request).await)?.asked.unwrap_or_default();
    match args.output {
        Format::Json => output::print_json(&approval_json(&asked)),
        Format::Text => output::print(&format!(
            "request {id}: within {} another person has to run `aegis approvals approve {id}`; then you read for {}\n",
            time::duration(asked.left_ns),
            time::duration(asked.duration_ns),
            id = asked.id,
        )),
    }
}

/// `aegis log erase`: asks.
///
/// # Errors
/// When the daemon refuses or does not answer.
pub fn ask_to_erase(args: &Erase, socket: Option<&Path>) -> Result<(), Failure> {
    let erase = Some(Erasure { agent: args.agent.clone(), day: args.day.clone() });
    let request = AccessRequest { reason: args.reason.clone(), duration_ns: 0, erase };
    let mut client = Client::connect(&socket_path(socket))?;
    let asked = client.ask(PATIENCE, async |control| control.request_access(request).await)?.asked.unwrap_or_default();
    match args.output {
        Format::Json => output::print_json(&approval_json(&asked)),
        Format::Text => output::print(&format!(
            "request {id}: nothing is erased yet. Within {} another person has to run `aegis approvals approve {id}`; what was \
             erased does not come back\n",
            time::duration(asked.left_ns),
            id = asked.id,
        )),
    }
}

/// `aegis approvals`: lists, approves, denies.
///
/// # Errors
/// When the daemon refuses or does not answer.
pub fn run(args: &Approvals, socket: Option<&Path>) -> Result<(), Failure> {
    match args {
        Approvals::List(shown) => list(shown.output, socket),
        Approvals::Approve(decision) => decide(decision, true, socket),
        Approvals::Deny(decision) => decide(decision, false, socket),
    }
}

fn list(format: Format, socket: Option<&Path>) -> Result<(), Failure> {
    let mut client = Client::connect(&socket_path(socket))?;
    let reply = client.ask(PATIENCE, async |control| control.list_approvals(ListApprovalsRequest {}).await)?;
    match format {
        Format::Json => output::print_json(&Value::Array(reply.approvals.iter().map(approval_json).collect())),
        Format::Text if reply.approvals.is_empty() => {
            output::say("nothing waits for approval, and no approval holds");
            Ok(())
        }
        Format::Text => {
            let head = ["REQUEST", "BY", "STATE", "TO", "ENDS IN", "REASON"].map(str::to_owned).to_vec();
            let rows: Vec<_> = std::iter::once(head).chain(reply.approvals.iter().map(row)).collect();
            output::print(&output::table(&rows))
        }
    }
}

fn row(approval: &Approval) -> Vec<String> {
    vec![
        approval.id.to_string(),
        person(approval.login_uid),
        approval.approved_by.map_or_else(|| "waits".into(), |by| format!("approved by {}", person(by))),
        match &approval.erase {
            None => format!("read for {}", time::duration(approval.duration_ns)),
            Some(erase) => format!("erase {} of {}", escape::text(&erase.agent), escape::text(&erase.day)),
        },
        time::duration(approval.left_ns),
        escape::text(&approval.reason),
    ]
}

fn decide(args: &Decision, approve: bool, socket: Option<&Path>) -> Result<(), Failure> {
    let request = DecideRequest { id: args.id, approve, reason: args.reason.clone().unwrap_or_default() };
    let mut client = Client::connect(&socket_path(socket))?;
    let decided = client.ask(PATIENCE, async |control| control.decide(request).await)?.decided.unwrap_or_default();
    match args.output {
        Format::Json => output::print_json(&approval_json(&decided)),
        Format::Text if approve && decided.erase.is_some() => output::print(&format!(
            "erased: what entries of {} say about {}, as entry {} tells\n",
            escape::text(&decided.erase.as_ref().map(|erase| erase.day.clone()).unwrap_or_default()),
            escape::text(&decided.erase.as_ref().map(|erase| erase.agent.clone()).unwrap_or_default()),
            decided.seq,
        )),
        Format::Text if approve => output::print(&format!(
            "approved: {} reads the log for {} from now on\n",
            person(decided.login_uid),
            time::duration(decided.left_ns)
        )),
        Format::Text => output::print(&format!("denied: request {} of {}\n", decided.id, person(decided.login_uid))),
    }
}

/// A login uid, with its name on this host.
fn person(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    user.map_or_else(|| format!("uid {uid}"), |user| escape::text(&user.name))
}

fn approval_json(approval: &Approval) -> Value {
    json!({
        "schema": 1,
        "request": approval.id,
        "login_uid": approval.login_uid,
        "reason": approval.reason,
        "for_seconds": Duration::from_nanos(approval.duration_ns).as_secs(),
        "approved_by": approval.approved_by,
        "ends_in_seconds": Duration::from_nanos(approval.left_ns).as_secs(),
        "erase": approval.erase.as_ref().map(|erase| json!({ "agent": erase.agent, "day": erase.day })),
        "told_by": (approval.seq > 0).then_some(approval.seq),
    })
}
