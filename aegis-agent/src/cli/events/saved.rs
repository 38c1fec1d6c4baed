//! The way back from JSON: a saved log, one object a line, becomes entries again.
//!
//! Knows the shape that [`super::json`] writes and nothing else. Unknown fields are passed over
//! (fields are added by newer versions); what is there with the wrong type is an error.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use thiserror::Error;

use super::entry::{Entry, kind_number, verdict_number};
use super::json::SCHEMA;
use crate::cli::time;
use crate::record::NO_LOGIN;
use crate::proto::event::{
    Agent, Daemon, Dns, Event, Exec, Exit, File, Guard, InAgent, Loss, Network, Operator, Policy, Process, Redaction, Repeat, Traffic, Usage,
    event::Detail,
};

/// Why a line is not an entry.
#[derive(Debug, Error)]
pub enum SavedError {
    /// Not JSON at all.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON of something else.
    #[error("not an entry of the log: expected an object with \"schema\": {SCHEMA}, as `aegis events -o json` writes it")]
    Foreign,
    /// A field that does not hold what it should.
    #[error("field {0:?} is missing or holds something else than it should")]
    Field(&'static str),
}

type Result<T> = std::result::Result<T, SavedError>;

/// Reads one line.
///
/// # Errors
/// When the line is not JSON, not an entry, or an entry with a field of the wrong type.
pub fn parse(line: &str) -> Result<Entry> {
    let value: Value = serde_json::from_str(line)?;
    let object = Object(value.as_object().ok_or(SavedError::Foreign)?);
    if object.0.get("schema").and_then(Value::as_u64) != Some(u64::from(SCHEMA)) {
        return Err(SavedError::Foreign);
    }
    let stamp = object.text("time")?;
    let verdict = match object.text("verdict")?.as_str() {
        "" => 0,
        name => verdict_number(name).ok_or(SavedError::Field("verdict"))?,
    };
    let event = Event {
        verdict,
        agent: object.text("agent")?,
        session: object.text("session")?,
        rule: object.text("rule")?,
        generation: object.number("generation")?,
        image: object.text("image")?,
        reason: object.text("reason")?,
        process: object.object("process")?.map(process).transpose()?,
        kernel_seq: object.number("kernel_seq")?,
        repeat: repeat(object)?,
        redacted: redacted(object)?,
        in_agent: object.object("in_agent")?.map(in_agent).transpose()?,
        detail: detail(object)?,
    };
    Ok(Entry {
        seq: object.0.get("seq").and_then(Value::as_u64).ok_or(SavedError::Field("seq"))?,
        time: time::parse_rfc3339(&stamp).ok_or(SavedError::Field("time"))?,
        kind: kind_number(&object.text("kind")?).ok_or(SavedError::Field("kind"))?,
        event,
        unread: object.text("unread")?,
        undecoded: match object.text("undecoded_b64")?.as_str() {
            "" => None,
            encoded => Some(STANDARD.decode(encoded).map_err(|_| SavedError::Field("undecoded_b64"))?),
        },
    })
}

#[derive(Clone, Copy)]
struct Object<'a>(&'a Map<String, Value>);

impl<'a> Object<'a> {
    /// A field that is absent, or null, is empty.
    fn get(self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn text(self, key: &'static str) -> Result<String> {
        match self.get(key) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(SavedError::Field(key)),
        }
    }

    fn number<T: TryFrom<u64> + Default>(self, key: &'static str) -> Result<T> {
        match self.get(key) {
            None => Ok(T::default()),
            Some(value) => narrow(value, key),
        }
    }

    fn signed(self, key: &'static str) -> Result<i32> {
        let Some(value) = self.get(key) else { return Ok(0) };
        value.as_i64().and_then(|n| i32::try_from(n).ok()).ok_or(SavedError::Field(key))
    }

    fn flag(self, key: &'static str) -> Result<bool> {
        self.get(key).map_or(Ok(false), |value| value.as_bool().ok_or(SavedError::Field(key)))
    }

    fn login(self) -> Result<u32> {
        self.get("login_uid").map_or(Ok(NO_LOGIN), |value| narrow(value, "login_uid"))
    }

    fn object(self, key: &'static str) -> Result<Option<Object<'a>>> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => value.as_object().map(|map| Some(Object(map))).ok_or(SavedError::Field(key)),
        }
    }

    fn bytes(self, key: &'static str) -> Result<Vec<u8>> {
        match self.get(&format!("{key}_b64")) {
            Some(value) => decode(value, key),
            None => Ok(self.text(key)?.into_bytes()),
        }
    }

    fn list(self, key: &'static str) -> Result<Vec<Vec<u8>>> {
        let (values, encoded) = match (self.get(&format!("{key}_b64")), self.get(key)) {
            (Some(values), _) => (values, true),
            (None, Some(values)) => (values, false),
            (None, None) => return Ok(Vec::new()),
        };
        let values = values.as_array().ok_or(SavedError::Field(key))?;
        let one = |value: &Value| match value.as_str() {
            Some(_) if encoded => decode(value, key),
            Some(text) => Ok(text.as_bytes().to_vec()),
            None => Err(SavedError::Field(key)),
        };
        values.iter().map(one).collect()
    }
}

fn narrow<T: TryFrom<u64>>(value: &Value, key: &'static str) -> Result<T> {
    value.as_u64().and_then(|n| T::try_from(n).ok()).ok_or(SavedError::Field(key))
}

fn decode(value: &Value, key: &'static str) -> Result<Vec<u8>> {
    let encoded = value.as_str().ok_or(SavedError::Field(key))?;
    STANDARD.decode(encoded).map_err(|_| SavedError::Field(key))
}

fn process(o: Object<'_>) -> Result<Process> {
    let ancestors = match o.get("ancestors") {
        None => Vec::new(),
        Some(list) => {
            let list = list.as_array().ok_or(SavedError::Field("ancestors"))?;
            list.iter().map(|pid| narrow(pid, "ancestors")).collect::<Result<_>>()?
        }
    };
    Ok(Process {
        pid: o.number("pid")?,
        tid: o.number("tid")?,
        ppid: o.number("ppid")?,
        uid: o.number("uid")?,
        gid: o.number("gid")?,
        start: o.number("start_ns")?,
        comm: o.bytes("comm")?,
        exe: o.bytes("exe")?,
        argv: o.list("argv")?,
        user: o.text("user")?,
        cgroup: o.text("cgroup")?,
        ancestors,
        login_uid: o.login()?,
    })
}

fn in_agent(names: Object<'_>) -> Result<InAgent> {
    Ok(InAgent { path: names.bytes("path")?, target: names.bytes("target")? })
}

fn redacted(entry: Object<'_>) -> Result<Vec<Redaction>> {
    let Some(list) = entry.get("redacted") else { return Ok(Vec::new()) };
    let list = list.as_array().ok_or(SavedError::Field("redacted"))?;
    let one = |value: &Value| {
        let one = value.as_object().map(Object).ok_or(SavedError::Field("redacted"))?;
        Ok(Redaction { rule: one.text("rule")?, count: one.number("count")? })
    };
    list.iter().map(one).collect()
}

fn repeat(entry: Object<'_>) -> Result<Option<Repeat>> {
    let Some(of) = entry.get("repeats") else { return Ok(None) };
    let stamp = |key| time::parse_rfc3339(&entry.text(key)?).ok_or(SavedError::Field(key));
    Ok(Some(Repeat {
        of: narrow(of, "repeats")?,
        count: entry.number("count")?,
        total: entry.number("repeats_total")?,
        start_time: stamp("start_time")?,
        end_time: stamp("end_time")?,
    }))
}

/// An entry has one detail; the kind of it is told by the name of the object.
fn detail(entry: Object<'_>) -> Result<Option<Detail>> {
    type Read = fn(Object<'_>) -> Result<Detail>;
    const READERS: [(&str, Read); 11] = [
        ("exec", exec),
        ("exit", exit),
        ("file", file),
        ("network", network),
        ("guard", guard),
        ("agent_state", agent),
        ("policy", policy),
        ("operator", operator),
        ("daemon", daemon),
        ("loss", loss),
        ("dns", dns),
    ];
    for (key, read) in READERS {
        if let Some(found) = entry.object(key)? {
            return read(found).map(Some);
        }
    }
    Ok(None)
}

fn exec(o: Object<'_>) -> Result<Detail> {
    Ok(Detail::Exec(Exec {
        path: o.bytes("path")?,
        argv: o.list("argv")?,
        argv_cut: o.flag("argv_cut")?,
        dev: o.number("dev")?,
        ino: o.number("ino")?,
        environment: o.list("environment")?,
        environment_cut: o.flag("environment_cut")?,
    }))
}

fn exit(o: Object<'_>) -> Result<Detail> {
    Ok(Detail::Exit(Exit {
        code: o.signed("code")?,
        signal: o.number("signal")?,
        duration_ns: o.number("duration_ns")?,
    }))
}

fn file(o: Object<'_>) -> Result<Detail> {
    Ok(Detail::File(File {
        op: o.text("op")?,
        path: o.bytes("path")?,
        target: o.bytes("target")?,
        dev: o.number("dev")?,
        ino: o.number("ino")?,
        errno: o.number("errno")?,
        path_cut: o.flag("path_cut")?,
        argv: o.list("argv")?,
        argv_cut: o.flag("argv_cut")?,
        variable: o.bytes("variable")?,
    }))
}

fn network(o: Object<'_>) -> Result<Detail> {
    let start_time = match o.get("start_time") {
        Some(_) => time::parse_rfc3339(&o.text("start_time")?).ok_or(SavedError::Field("start_time"))?,
        None => 0,
    };
    Ok(Detail::Network(Network {
        op: o.text("op")?,
        address: o.text("address")?,
        port: o.number("port")?,
        protocol: o.text("protocol")?,
        name: o.text("name")?,
        errno: o.number("errno")?,
        traffic: o.object("traffic")?.map(traffic).transpose()?,
        start_time,
        local_port: o.number("local_port")?,
        direction: o.text("direction")?,
    }))
}

fn traffic(o: Object<'_>) -> Result<Traffic> {
    Ok(Traffic {
        bytes_out: o.number("bytes_out")?,
        packets_out: o.number("packets_out")?,
        bytes_in: o.number("bytes_in")?,
        packets_in: o.number("packets_in")?,
    })
}

fn dns(o: Object<'_>) -> Result<Detail> {
    let text = |raw: Vec<u8>| String::from_utf8(raw).map_err(|_| SavedError::Field("answers"));
    Ok(Detail::Dns(Dns {
        op: o.text("op")?,
        name: o.text("name")?,
        r#type: o.text("type")?,
        resolver: o.text("resolver")?,
        answers: o.list("answers")?.into_iter().map(text).collect::<Result<_>>()?,
        errno: o.number("errno")?,
        duration_ns: o.number("duration_ns")?,
    }))
}

fn guard(o: Object<'_>) -> Result<Detail> {
    Ok(Detail::Guard(Guard { op: o.text("op")?, subject: o.text("subject")?, errno: o.number("errno")? }))
}

fn agent(o: Object<'_>) -> Result<Detail> {
    let usage = |u: Object<'_>| -> Result<Usage> {
        Ok(Usage {
            cpu_usec: u.number("cpu_usec")?,
            memory_peak: u.number("memory_peak")?,
            pids_peak: u.number("pids_peak")?,
            io_read: u.number("io_read")?,
            io_write: u.number("io_write")?,
            oom_kills: u.number("oom_kills")?,
            traffic: u.object("traffic")?.map(traffic).transpose()?,
            packets_refused: u.number("packets_refused")?,
            connections_open: u.number("connections_open")?,
            connections_untold: u.number("connections_untold")?,
        })
    };
    Ok(Detail::AgentState(Agent {
        state: o.text("state")?,
        argv: o.list("argv")?,
        exit_code: o.signed("exit_code")?,
        exit_signal: o.number("exit_signal")?,
        duration_ns: o.number("duration_ns")?,
        usage: o.object("usage")?.map(usage).transpose()?,
        text: o.text("text")?,
        cgroup: o.text("cgroup")?,
    }))
}

fn policy(o: Object<'_>) -> Result<Detail> {
    Ok(Detail::Policy(Policy {
        name: o.text("name")?,
        image: o.text("image")?,
        generation: o.number("generation")?,
        mode: o.text("mode")?,
        manifest: o.bytes("manifest")?,
        rules: o.number("rules")?,
    }))
}

fn operator(o: Object<'_>) -> Result<Detail> {
    Ok(Detail::Operator(Operator {
        action: o.text("action")?,
        uid: o.number("uid")?,
        login_uid: o.login()?,
        exe: o.bytes("exe")?,
        pid: o.number("pid")?,
        target: o.text("target")?,
        outcome: o.text("outcome")?,
        duration_ns: o.number("duration_ns")?,
        tasks: o.number("tasks")?,
        reason: o.text("reason")?,
    }))
}

fn daemon(o: Object<'_>) -> Result<Detail> {
    Ok(Detail::Daemon(Daemon {
        state: o.text("state")?,
        version: o.text("version")?,
        kernel: o.text("kernel")?,
        text: o.text("text")?,
        abi: o.number("abi")?,
    }))
}

fn loss(o: Object<'_>) -> Result<Detail> {
    Ok(Detail::Loss(Loss {
        kind: o.text("kind")?,
        count: o.number("count")?,
        total: o.number("total")?,
        r#where: o.text("where")?,
    }))
}
