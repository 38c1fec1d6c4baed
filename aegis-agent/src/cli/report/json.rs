//! A report as JSON, of one shape for all lists: `kept`, the objects with their sums, and `others`, what is not kept.
//!
//! Fields are added and never renamed. Times are RFC 3339, bytes and durations plain numbers.

use serde_json::{Map, Value, json};

use super::{
    Report,
    collect::Lost,
    detail::{Act, Detail},
    session::{Session, Totals},
    sums::{Contact, Decision, Move, Note, Operation, Path, Peer, Questions, RedactionRule, Runs, Times},
    tally::{Others, Sum, Tally},
};
use crate::{
    cli::{events::json::put_bytes, time::rfc3339},
    proto::event::{Agent, Operator, Traffic, Usage},
    record::NO_LOGIN,
};

/// Version of the shape. Raised only when a field changes its meaning.
const SCHEMA: u32 = 1;

type Object = Map<String, Value>;

/// Puts its fields into an object.
trait Fields {
    fn put(&self, object: &mut Object);
}

/// The whole report.
#[must_use]
pub fn report(report: &Report) -> Value {
    let collected = &report.collected;
    json!({
        "schema": SCHEMA,
        "agent": report.agent,
        "since": report.since.map(rfc3339),
        "until": report.until.map(rfc3339),
        "complete": report.gaps.is_empty(),
        "gaps": report.gaps,
        "records_lost": collected.lost_in_all(),
        "sessions": collected.sessions().iter().map(|it| session(it, &collected.lost(it))).collect::<Vec<_>>(),
        "other_sessions": others(&collected.beyond),
    })
}

fn session(it: &Session, lost: &[Lost]) -> Value {
    let (duration, whole) = it.duration();
    let ((bytes_out, bytes_in), all) = it.traffic();
    let ended = it.ended.as_ref();
    let mut object = object(&it.totals);
    let head = json!({
        "agent": it.agent,
        "session": it.id,
        "state": it.state().word(),
        "policy": it.policy().map(|policy| json!({ "name": policy.name, "image": policy.image, "mode": policy.mode, "rules": policy.rules })),
        "generation": it.generation(),
        "start": it.start().map(rfc3339),
        "started_by": it.started_by.as_ref().map(operator),
        "end": ended.map(|(time, _)| rfc3339(*time)),
        "exit": ended.map(|(_, agent)| exit(agent)),
        "first": rfc3339(it.span.first),
        "last": rfc3339(it.span.last),
        "duration_ns": duration,
        "duration_whole": whole,
        "bytes_out": bytes_out,
        "bytes_in": bytes_in,
        "bytes_whole": all,
        "used": ended.and_then(|(_, agent)| agent.usage.as_ref()).map(usage),
        "unread": it.unread,
        "lost": lost.iter().map(|lost| json!({ "kind": lost.kind, "where": lost.place, "count": lost.count })).collect::<Vec<_>>(),
        "did": it.detail.as_deref().map(detail),
    });
    if let Value::Object(head) = head {
        object.extend(head);
    }
    if let Some((_, agent)) = &it.started {
        put_list(&mut object, "argv", &agent.argv);
        object.insert("argv_cut".to_owned(), it.argv_cut.into());
        object.insert("start_text".to_owned(), agent.text.clone().into());
    }
    Value::Object(object)
}

/// All of the list in base64 when one of it is not UTF-8, as for events.
fn put_list(object: &mut Object, key: &str, values: &[Vec<u8>]) {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let texts: Vec<_> = values.iter().map(|raw| String::from_utf8_lossy(raw)).collect();
    object.insert(key.to_owned(), json!(texts));
    if values.iter().any(|raw| str::from_utf8(raw).is_err()) {
        object.insert(format!("{key}_b64"), values.iter().map(|raw| STANDARD.encode(raw)).collect());
    }
}

fn exit(agent: &Agent) -> Value {
    json!({ "code": agent.exit_code, "signal": agent.exit_signal, "text": agent.text })
}

fn usage(usage: &Usage) -> Value {
    let traffic = usage.traffic.as_ref().map(|Traffic { bytes_out, packets_out, bytes_in, packets_in }| {
        json!({ "bytes_out": bytes_out, "packets_out": packets_out, "bytes_in": bytes_in, "packets_in": packets_in })
    });
    json!({
        "cpu_usec": usage.cpu_usec,
        "memory_peak": usage.memory_peak,
        "pids_peak": usage.pids_peak,
        "io_read": usage.io_read,
        "io_write": usage.io_write,
        "oom_kills": usage.oom_kills,
        "traffic": traffic,
        "packets_refused": usage.packets_refused,
        "connections_open": usage.connections_open,
        "connections_untold": usage.connections_untold,
    })
}

fn operator(it: &Operator) -> Value {
    let mut object = Object::new();
    object.insert("action".to_owned(), it.action.clone().into());
    object.insert("uid".to_owned(), it.uid.into());
    object.insert("login_uid".to_owned(), Some(it.login_uid).filter(|uid| *uid != NO_LOGIN).into());
    put_bytes(&mut object, "exe", &it.exe);
    object.insert("pid".to_owned(), it.pid.into());
    object.insert("outcome".to_owned(), it.outcome.clone().into());
    object.insert("duration_ns".to_owned(), it.duration_ns.into());
    object.insert("tasks".to_owned(), it.tasks.into());
    object.insert("reason".to_owned(), it.reason.clone().into());
    Value::Object(object)
}

fn act(act: &Act) -> Value {
    let mut value = operator(&act.operator);
    value["seq"] = act.seq.into();
    value["time"] = rfc3339(act.time).into();
    value
}

fn detail(detail: &Detail) -> Value {
    json!({
        "decisions": list(&detail.decisions),
        "guards": list(&detail.guards),
        "programs": list(&detail.programs),
        "code": list(&detail.code),
        "read": list(&detail.read),
        "written": list(&detail.written),
        "created": list(&detail.created),
        "removed": list(&detail.removed),
        "moved": list(&detail.moved),
        "contacted": list(&detail.contacted),
        "accepted": list(&detail.accepted),
        "listened": list(&detail.listened),
        "names": list(&detail.names),
        "other": list(&detail.other),
        "notes": list(&detail.notes),
        "redacted": list(&detail.redacted),
        "processes": {
            "ended": detail.processes.ended,
            "failed": detail.processes.failed,
            "killed": detail.processes.killed,
        },
        "acts": detail.acts.iter().map(act).collect::<Vec<_>>(),
        "other_acts": detail.acts_beyond,
    })
}

fn list<K: Fields + std::hash::Hash + Ord + Clone, V: Fields + Sum>(tally: &Tally<K, V>) -> Value {
    let row = |(key, sum): &(&K, &V)| {
        let mut object = object(*sum);
        key.put(&mut object);
        Value::Object(object)
    };
    json!({ "kept": tally.rows().iter().map(row).collect::<Vec<_>>(), "others": others(tally.others()) })
}

fn others<V: Fields + Sum>(others: &Others<V>) -> Value {
    let mut object = object(&others.sum);
    object.insert("distinct".to_owned(), others.distinct.into());
    object.insert("distinct_at_least".to_owned(), others.at_least.into());
    Value::Object(object)
}

fn object(fields: &impl Fields) -> Object {
    let mut object = Object::new();
    fields.put(&mut object);
    object
}

macro_rules! numbers {
    ($($type:ty: $($name:ident)*;)*) => {
        $(impl Fields for $type {
            fn put(&self, object: &mut Object) {
                $(object.insert(stringify!($name).to_owned(), self.$name.into());)*
            }
        })*
    };
}

numbers! {
    Runs: count denied;
    Contact: connections sends ended bytes_out bytes_in;
    Questions: asked answered denied;
    Totals: entries events allowed audited denied;
}

impl Fields for Times {
    fn put(&self, object: &mut Object) {
        object.insert("count".to_owned(), self.count.into());
        if self.count > 0 {
            object.insert("first".to_owned(), rfc3339(self.first).into());
            object.insert("last".to_owned(), rfc3339(self.last).into());
        }
    }
}

macro_rules! texts {
    ($($type:ty: $($name:ident)*;)*) => {
        $(impl Fields for $type {
            fn put(&self, object: &mut Object) {
                $(put_bytes(object, stringify!($name), self.$name.as_ref());)*
            }
        })*
    };
}

texts! {
    Move: path target;
    Decision: verdict op object rule reason;
    Operation: op object;
    Note: state text;
}

impl Fields for Path {
    fn put(&self, object: &mut Object) {
        put_bytes(object, "path", &self.0);
    }
}

impl Fields for String {
    fn put(&self, object: &mut Object) {
        object.insert("name".to_owned(), self.clone().into());
    }
}

impl Fields for RedactionRule {
    fn put(&self, object: &mut Object) {
        object.insert("rule".to_owned(), self.0.clone().into());
    }
}

impl Fields for Peer {
    fn put(&self, object: &mut Object) {
        object.insert("name".to_owned(), self.name.clone().into());
        object.insert("address".to_owned(), self.address.clone().into());
        object.insert("port".to_owned(), self.port.into());
        object.insert("protocol".to_owned(), self.protocol.clone().into());
    }
}
