//! Entries as JSON: one object, fields added and never renamed.
//!
//! Text that an agent chose may be any bytes. A field that holds such text is a JSON string (with
//! U+FFFD where bytes are not UTF-8), and when it is not UTF-8 a second field, its name with `_b64`
//! behind, holds the exact bytes in base64. A sibling field rather than an escape inside the
//! string: no path can imitate it, and a consumer that does not care need not know.
//! Characters that would speak to a terminal are written as `\uXXXX`, which JSON reads back as
//! they were. [`super::saved`] is the way back.

use std::io;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use super::entry::Entry;
use crate::{cli::time, escape::{has_unsafe, is_unsafe}};
use crate::{
    proto::event::{Event, InAgent, Process, Redaction, Traffic, Usage, event::Detail},
    record::NO_LOGIN,
};

/// Version of the shape. Raised only when a field changes its meaning.
pub const SCHEMA: u32 = 1;

/// Writes an entry as one line, without the line end.
///
/// # Errors
/// When the writer fails.
pub fn write_line(out: &mut impl io::Write, entry: &Entry) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(out, Safe(CompactFormatter));
    entry.serialize(&mut serializer).map_err(io::Error::from)
}

/// Writes an entry over several lines, without the last line end.
///
/// # Errors
/// When the writer fails.
pub fn write_pretty(out: &mut impl io::Write, value: &impl Serialize) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(out, Safe(PrettyFormatter::new()));
    value.serialize(&mut serializer).map_err(io::Error::from)
}

/// A line of JSON that came from outside, with the characters that [`Safe`] escapes escaped. Only
/// for lines that parsed: then such characters stand inside strings, or are white space.
#[must_use]
pub fn safe_line(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for c in line.trim().chars() {
        if c.is_ascii_control() && c != '\u{7f}' {
            out.push(' ');
        } else if is_unsafe(c) {
            push_escaped(&mut out, c);
        } else {
            out.push(c);
        }
    }
    out
}

fn push_escaped(out: &mut String, c: char) {
    let mut units = [0_u16; 2];
    for unit in c.encode_utf16(&mut units) {
        out.push_str(&format!("\\u{unit:04x}"));
    }
}

/// A formatter that lets no character through that a terminal would obey.
struct Safe<F>(F);

macro_rules! forward {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {
        $(fn $name<W: ?Sized + io::Write>(&mut self, writer: &mut W $(, $arg: $type)*) -> io::Result<()> {
            self.0.$name(writer $(, $arg)*)
        })*
    };
}

impl<F: Formatter> Formatter for Safe<F> {
    forward! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if !has_unsafe(fragment) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut out = String::with_capacity(fragment.len() + 8);
        for c in fragment.chars() {
            if is_unsafe(c) {
                push_escaped(&mut out, c);
            } else {
                out.push(c);
            }
        }
        writer.write_all(out.as_bytes())
    }
}

/// Puts text that an agent chose into an object, by the rule for such text: with a `_b64` beside it when it is not UTF-8.
pub fn put_bytes(object: &mut serde_json::Map<String, serde_json::Value>, key: &str, value: &[u8]) {
    object.insert(key.to_owned(), String::from_utf8_lossy(value).into());
    if str::from_utf8(value).is_err() {
        object.insert(format!("{key}_b64"), STANDARD.encode(value).into());
    }
}

/// Fields of one object. `need` writes always (promised fields are empty, not absent, where there is
/// nothing to say), `some` only what is there.
struct Fields<M>(M);

impl<M: serde::ser::SerializeMap> Fields<M> {
    fn need(&mut self, key: &str, value: impl Serialize) -> Result<(), M::Error> {
        self.0.serialize_entry(key, &value)
    }

    fn some_text(&mut self, key: &str, value: &str) -> Result<(), M::Error> {
        if value.is_empty() { Ok(()) } else { self.need(key, value) }
    }

    fn some_number(&mut self, key: &str, value: impl Into<u64>) -> Result<(), M::Error> {
        match value.into() {
            0 => Ok(()),
            number => self.need(key, number),
        }
    }

    fn some_flag(&mut self, key: &str, value: bool) -> Result<(), M::Error> {
        if value { self.need(key, true) } else { Ok(()) }
    }

    fn bytes(&mut self, key: &str, value: &[u8]) -> Result<(), M::Error> {
        match str::from_utf8(value) {
            Ok(text) => self.need(key, text),
            Err(_) => {
                self.need(key, String::from_utf8_lossy(value))?;
                self.need(&format!("{key}_b64"), STANDARD.encode(value))
            }
        }
    }

    fn some_bytes(&mut self, key: &str, value: &[u8]) -> Result<(), M::Error> {
        if value.is_empty() { Ok(()) } else { self.bytes(key, value) }
    }

    /// All of the list in base64 when one of it is not UTF-8: the two lists then match by index.
    fn list(&mut self, key: &str, values: &[Vec<u8>]) -> Result<(), M::Error> {
        self.need(key, Each(values, |raw| String::from_utf8_lossy(raw).into_owned()))?;
        if values.iter().any(|raw| str::from_utf8(raw).is_err()) {
            self.need(&format!("{key}_b64"), Each(values, |raw| STANDARD.encode(raw)))?;
        }
        Ok(())
    }

    fn login(&mut self, value: u32) -> Result<(), M::Error> {
        self.need("login_uid", Some(value).filter(|uid| *uid != NO_LOGIN))
    }
}

struct Each<'a>(&'a [Vec<u8>], fn(&[u8]) -> String);

impl Serialize for Each<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for raw in self.0 {
            list.serialize_element(&(self.1)(raw))?;
        }
        list.end()
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = Fields(serializer.serialize_map(None)?);
        let event = &self.event;
        map.need("schema", SCHEMA)?;
        map.need("seq", self.seq)?;
        map.need("time", time::rfc3339(self.time))?;
        map.need("kind", self.kind_name())?;
        map.need("verdict", self.verdict_name().unwrap_or_default())?;
        map.need("agent", &event.agent)?;
        map.need("session", &event.session)?;
        map.need("rule", &event.rule)?;
        map.need("generation", event.generation)?;
        map.need("reason", &event.reason)?;
        map.some_text("image", &event.image)?;
        map.some_number("kernel_seq", event.kernel_seq)?;
        if let Some(repeat) = &event.repeat {
            // Count and times by the names that they have in the base event of OCSF.
            map.need("count", repeat.count)?;
            map.need("start_time", time::rfc3339(repeat.start_time))?;
            map.need("end_time", time::rfc3339(repeat.end_time))?;
            map.need("repeats", repeat.of)?;
            map.need("repeats_total", repeat.total)?;
        }
        if let Some(process) = &event.process {
            map.need("process", Shown(process))?;
        }
        if !event.redacted.is_empty() {
            map.need("redacted", event.redacted.iter().map(Shown).collect::<Vec<_>>())?;
        }
        if let Some(in_agent) = &event.in_agent {
            map.need("in_agent", Shown(in_agent))?;
        }
        if let Some(key) = event.detail.as_ref().map(detail_key) {
            map.need(key, Shown(event))?;
        }
        if !self.unread.is_empty() {
            map.need("unread", &self.unread)?;
        }
        if let Some(raw) = &self.undecoded {
            map.need("undecoded_b64", STANDARD.encode(raw))?;
        }
        map.0.end()
    }
}

/// Name of the object that holds the detail.
fn detail_key(detail: &Detail) -> &'static str {
    match detail {
        Detail::Exec(_) => "exec",
        Detail::Exit(_) => "exit",
        Detail::File(_) => "file",
        Detail::Network(_) => "network",
        Detail::Guard(_) => "guard",
        Detail::AgentState(_) => "agent_state",
        Detail::Policy(_) => "policy",
        Detail::Operator(_) => "operator",
        Detail::Daemon(_) => "daemon",
        Detail::Loss(_) => "loss",
        Detail::Dns(_) => "dns",
    }
}

/// A part of an entry, as JSON.
struct Shown<'a, T>(&'a T);

impl Serialize for Shown<'_, Process> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let process = self.0;
        let mut map = Fields(serializer.serialize_map(None)?);
        map.need("pid", process.pid)?;
        map.need("tid", process.tid)?;
        map.need("ppid", process.ppid)?;
        map.need("uid", process.uid)?;
        map.need("gid", process.gid)?;
        map.login(process.login_uid)?;
        map.some_text("user", &process.user)?;
        map.some_number("start_ns", process.start)?;
        map.some_bytes("comm", &process.comm)?;
        map.bytes("exe", &process.exe)?;
        map.list("argv", &process.argv)?;
        map.some_text("cgroup", &process.cgroup)?;
        if !process.ancestors.is_empty() {
            map.need("ancestors", &process.ancestors)?;
        }
        map.0.end()
    }
}

impl Serialize for Shown<'_, Usage> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let usage = self.0;
        let mut map = Fields(serializer.serialize_map(None)?);
        map.need("cpu_usec", usage.cpu_usec)?;
        map.need("memory_peak", usage.memory_peak)?;
        map.need("pids_peak", usage.pids_peak)?;
        map.need("io_read", usage.io_read)?;
        map.need("io_write", usage.io_write)?;
        map.need("oom_kills", usage.oom_kills)?;
        if let Some(traffic) = &usage.traffic {
            map.need("traffic", Shown(traffic))?;
        }
        map.some_number("packets_refused", usage.packets_refused)?;
        map.some_number("connections_open", usage.connections_open)?;
        map.some_number("connections_untold", usage.connections_untold)?;
        map.0.end()
    }
}

/// By the names of OCSF.
impl Serialize for Shown<'_, Traffic> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let traffic = self.0;
        let mut map = Fields(serializer.serialize_map(None)?);
        map.need("bytes_out", traffic.bytes_out)?;
        map.need("packets_out", traffic.packets_out)?;
        map.need("bytes_in", traffic.bytes_in)?;
        map.need("packets_in", traffic.packets_in)?;
        map.0.end()
    }
}

impl Serialize for Shown<'_, Redaction> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = Fields(serializer.serialize_map(None)?);
        map.need("rule", &self.0.rule)?;
        map.need("count", self.0.count)?;
        map.0.end()
    }
}

impl Serialize for Shown<'_, InAgent> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = Fields(serializer.serialize_map(None)?);
        map.some_bytes("path", &self.0.path)?;
        map.some_bytes("target", &self.0.target)?;
        map.0.end()
    }
}

impl Serialize for Shown<'_, Event> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = Fields(serializer.serialize_map(None)?);
        if let Some(detail) = &self.0.detail {
            write_detail(&mut map, detail)?;
        }
        map.0.end()
    }
}

fn write_detail<M: serde::ser::SerializeMap>(map: &mut Fields<M>, detail: &Detail) -> Result<(), M::Error> {
    match detail {
        Detail::Exec(exec) => {
            map.bytes("path", &exec.path)?;
            map.list("argv", &exec.argv)?;
            map.some_flag("argv_cut", exec.argv_cut)?;
            if !exec.environment.is_empty() {
                map.list("environment", &exec.environment)?;
            }
            map.some_flag("environment_cut", exec.environment_cut)?;
            map.some_number("dev", exec.dev)?;
            map.some_number("ino", exec.ino)
        }
        Detail::Exit(exit) => {
            map.need("code", exit.code)?;
            map.need("signal", exit.signal)?;
            map.need("duration_ns", exit.duration_ns)
        }
        Detail::File(file) => {
            map.bytes("path", &file.path)?;
            map.need("op", &file.op)?;
            map.some_bytes("target", &file.target)?;
            map.some_number("dev", file.dev)?;
            map.some_number("ino", file.ino)?;
            map.some_number("errno", file.errno)?;
            map.some_flag("path_cut", file.path_cut)?;
            if !file.argv.is_empty() {
                map.list("argv", &file.argv)?;
            }
            map.some_flag("argv_cut", file.argv_cut)?;
            map.some_bytes("variable", &file.variable)
        }
        Detail::Network(network) => {
            map.need("address", &network.address)?;
            map.need("port", network.port)?;
            map.need("protocol", &network.protocol)?;
            map.need("name", &network.name)?;
            map.need("op", &network.op)?;
            if let Some(traffic) = &network.traffic {
                map.need("start_time", time::rfc3339(network.start_time))?;
                map.need("traffic", Shown(traffic))?;
            }
            map.some_text("direction", &network.direction)?;
            map.some_number("local_port", network.local_port)?;
            map.some_number("errno", network.errno)
        }
        Detail::Dns(dns) => {
            map.need("op", &dns.op)?;
            map.need("name", &dns.name)?;
            map.need("type", &dns.r#type)?;
            map.need("resolver", &dns.resolver)?;
            map.need("answers", &dns.answers)?;
            map.some_number("duration_ns", dns.duration_ns)?;
            map.some_number("errno", dns.errno)
        }
        Detail::Guard(guard) => {
            map.need("op", &guard.op)?;
            map.need("subject", &guard.subject)?;
            map.some_number("errno", guard.errno)
        }
        Detail::AgentState(agent) => {
            map.need("state", &agent.state)?;
            map.list("argv", &agent.argv)?;
            map.need("exit_code", agent.exit_code)?;
            map.need("exit_signal", agent.exit_signal)?;
            map.some_number("duration_ns", agent.duration_ns)?;
            if let Some(usage) = &agent.usage {
                map.need("usage", Shown(usage))?;
            }
            map.some_text("text", &agent.text)?;
            map.some_text("cgroup", &agent.cgroup)
        }
        Detail::Policy(policy) => {
            map.need("name", &policy.name)?;
            map.need("image", &policy.image)?;
            map.need("generation", policy.generation)?;
            map.need("mode", &policy.mode)?;
            map.need("rules", policy.rules)?;
            map.some_bytes("manifest", &policy.manifest)
        }
        Detail::Operator(operator) => {
            map.need("action", &operator.action)?;
            map.need("uid", operator.uid)?;
            map.login(operator.login_uid)?;
            map.bytes("exe", &operator.exe)?;
            map.need("pid", operator.pid)?;
            map.some_text("target", &operator.target)?;
            map.some_text("outcome", &operator.outcome)?;
            map.some_number("duration_ns", operator.duration_ns)?;
            map.some_number("tasks", operator.tasks)?;
            map.some_text("reason", &operator.reason)
        }
        Detail::Daemon(daemon) => {
            map.need("state", &daemon.state)?;
            map.some_text("version", &daemon.version)?;
            map.some_text("kernel", &daemon.kernel)?;
            map.some_number("abi", daemon.abi)?;
            map.some_text("text", &daemon.text)
        }
        Detail::Loss(loss) => {
            map.need("kind", &loss.kind)?;
            map.need("count", loss.count)?;
            map.need("total", loss.total)?;
            map.some_text("where", &loss.r#where)
        }
    }
}
