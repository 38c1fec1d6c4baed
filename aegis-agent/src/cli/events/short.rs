//! Entries for people: one aligned line each.
//!
//! Everything that an agent could have chosen passes through [`escape`]; no byte of it reaches the
//! terminal as it is. Knows nothing of where the entries come from.

use std::fmt::Write as _;

use jiff::tz::TimeZone;

use super::entry::Entry;
use crate::cli::{output, time};
use crate::escape;
use crate::proto::event::{Dns, Event, Exit, File, InAgent, Network, Operator, Process, Redaction, event::Detail};

/// Arguments longer than this are cut (`-o json` has all of them).
const ARGV_COLUMNS: usize = 160;

/// How lines are made.
#[derive(Clone, Debug)]
pub struct Style {
    /// Zone of the times.
    pub zone: TimeZone,
    /// Whether verdicts are coloured.
    pub colour: bool,
}

impl Style {
    /// As whoever reads standard output wants it.
    #[must_use]
    pub fn of_reader(utc: bool) -> Self {
        Self { zone: if utc { TimeZone::UTC } else { TimeZone::system() }, colour: output::colour() }
    }
}

/// One line, without the line end.
#[must_use]
pub fn line(entry: &Entry, style: &Style) -> String {
    let event = &entry.event;
    let verdict = entry.verdict_name().unwrap_or_default();
    let agent = if event.agent.is_empty() { "-" } else { &event.agent };
    let mut line = format!(
        "{}  {:<14} {} {:<8} {}",
        time::local(entry.time, &style.zone),
        escape::cut(&escape::text(agent), 24),
        coloured(&verdict, style.colour),
        entry.kind_name(),
        what(entry),
    );
    if let Some(in_agent) = &event.in_agent {
        put(&mut line, format_args!(" [to the agent {}]", called(in_agent)));
    }
    if let Some(repeat) = &event.repeat {
        put(&mut line, format_args!(" ×{} since {}", output::grouped(repeat.count), time::local(repeat.start_time, &style.zone)));
    }
    if let Some(process) = &event.process {
        // For exec and exit the process is what the line is about already.
        match event.detail {
            Some(Detail::Exec(_)) => put(&mut line, format_args!("  [{}]", process.pid)),
            _ => put(&mut line, format_args!("  by {}", who(process))),
        }
    }
    if !event.rule.is_empty() {
        put(&mut line, format_args!("  rule {}", escape::text(&event.rule)));
    }
    for Redaction { rule, count } in &event.redacted {
        put(&mut line, format_args!("  redacted {} ×{count}", escape::text(rule)));
    }
    // "rule" and "default" say no more than the rule does.
    if !matches!(event.reason.as_str(), "" | "rule" | "default") {
        put(&mut line, format_args!("  ({})", escape::text(&event.reason)));
    }
    line
}

fn coloured(verdict: &str, colour: bool) -> String {
    let padded = format!("{verdict:<8}");
    let code = match verdict {
        "deny" => "1;31",
        "kill" => "1;35",
        "audit" | "ask" | "throttle" => "33",
        "allow" => "32",
        _ => return padded,
    };
    if colour { format!("\x1b[{code}m{padded}\x1b[0m") } else { padded }
}

fn who(process: &Process) -> String {
    let name = if process.exe.is_empty() { &process.comm } else { &process.exe };
    format!("{}[{}]", escape::bytes(name), process.pid)
}

/// What happened, in a few words.
fn what(entry: &Entry) -> String {
    if let Some(raw) = &entry.undecoded {
        return format!("entry {} has a body of {} bytes that this version cannot read", entry.seq, raw.len());
    }
    if !entry.unread.is_empty() {
        return format!("entry {} does not say: {}", entry.seq, entry.unread);
    }
    detail(&entry.event).unwrap_or_else(|| format!("entry {}", entry.seq))
}

fn detail(event: &Event) -> Option<String> {
    Some(match event.detail.as_ref()? {
        Detail::Exec(exec) => {
            let mut out = escape::bytes(&exec.path);
            if exec.argv.len() > 1 {
                out.push(' ');
                out.push_str(&escape::arguments(exec.argv.get(1..).unwrap_or_default()));
            }
            escape::cut(&out, ARGV_COLUMNS)
        }
        Detail::Exit(exit) => ended(exit),
        Detail::File(file) => on_file(file),
        Detail::Network(network) => on_network(network),
        Detail::Dns(dns) => on_dns(dns),
        Detail::Guard(guard) => {
            with_errno(join(&[&escape::text(&guard.op), &escape::text(&guard.subject)]), guard.errno)
        }
        Detail::AgentState(agent) => {
            let mut out = escape::text(&agent.state);
            if !agent.argv.is_empty() {
                let argv = escape::cut(&escape::arguments(&agent.argv), ARGV_COLUMNS);
                put(&mut out, format_args!(": {argv}"));
            }
            if agent.state == "ended" {
                let exit = Exit {
                    code: agent.exit_code,
                    signal: agent.exit_signal,
                    duration_ns: agent.duration_ns,
                };
                put(&mut out, format_args!(", {}", ended(&exit)));
            }
            join(&[&out, &escape::text(&agent.text)])
        }
        Detail::Policy(policy) => format!(
            "{} generation {} in force, mode {}, {} rules",
            escape::text(&policy.name),
            policy.generation,
            escape::text(&policy.mode),
            policy.rules
        ),
        Detail::Operator(operator) => by_operator(operator),
        Detail::Daemon(daemon) => join(&[
            &escape::text(&daemon.state),
            &escape::text(&daemon.version),
            &escape::text(&daemon.text),
        ]),
        Detail::Loss(loss) => join(&[
            &format!("{} records lost ({} in all): {}", loss.count, loss.total, escape::text(&loss.kind)),
            &escape::text(&loss.r#where),
        ]),
    })
}

fn on_file(file: &File) -> String {
    let mut out = format!("{} {}", escape::text(&file.op), escape::bytes(&file.path));
    if file.path_cut {
        out.push('…');
    }
    if !file.target.is_empty() {
        put(&mut out, format_args!(" -> {}", escape::bytes(&file.target)));
    }
    if file.argv.len() > 1 {
        let argv = escape::arguments(file.argv.get(1..).unwrap_or_default());
        put(&mut out, format_args!(" {}", escape::cut(&argv, ARGV_COLUMNS)));
    }
    if !file.variable.is_empty() {
        put(&mut out, format_args!(" with {}", escape::bytes(&file.variable)));
    }
    with_errno(out, file.errno)
}

/// What an agent calls the files.
fn called(in_agent: &InAgent) -> String {
    let name = |path: &[u8]| if path.is_empty() { "nameless".to_owned() } else { escape::bytes(path) };
    let path = name(&in_agent.path);
    if in_agent.target.is_empty() { path } else { format!("{path} -> {}", name(&in_agent.target)) }
}

/// Address and port of the other side, not yet escaped; the path of a Unix socket.
#[must_use]
pub fn endpoint(address: &str, port: u32, protocol: &str) -> String {
    match (protocol, address.contains(':')) {
        ("unix", _) => address.to_owned(),
        (_, true) => format!("[{address}]:{port}"),
        (_, false) => format!("{address}:{port}"),
    }
}

fn on_network(network: &Network) -> String {
    let end = escape::text(&endpoint(&network.address, network.port, &network.protocol));
    let mut out = join(&[&escape::text(&network.op), &escape::text(&network.protocol), &end]);
    if network.direction == "inbound" {
        put(&mut out, format_args!(" at port {}", network.local_port));
    }
    if !network.name.is_empty() {
        put(&mut out, format_args!(" ({})", escape::text(&network.name)));
    }
    if let Some(traffic) = &network.traffic {
        let (sent, received) = (output::size(traffic.bytes_out), output::size(traffic.bytes_in));
        put(&mut out, format_args!(", {sent} sent, {received} received"));
    }
    with_errno(out, network.errno)
}

fn on_dns(dns: &Dns) -> String {
    let name = if dns.name.is_empty() { "nameless".to_owned() } else { escape::text(&dns.name) };
    let mut out = join(&[&escape::text(&dns.op), &name, &escape::text(&dns.r#type)]);
    if !dns.answers.is_empty() {
        put(&mut out, format_args!(" = {}", escape::text(&dns.answers.join(", "))));
    }
    put(&mut out, format_args!(" ({})", escape::text(&dns.resolver)));
    if dns.duration_ns != 0 {
        put(&mut out, format_args!(" in {} ms", dns.duration_ns.div_ceil(1_000_000)));
    }
    with_errno(out, dns.errno)
}

/// What an operator did, by whom and how it went.
#[must_use]
pub fn by_operator(operator: &Operator) -> String {
    let mut out = join(&[&escape::text(&operator.action), &escape::text(&operator.target)]);
    put(&mut out, format_args!(" by uid {}", operator.uid));
    if operator.login_uid != operator.uid && operator.login_uid != crate::record::NO_LOGIN {
        put(&mut out, format_args!(" (logged in as {})", operator.login_uid));
    }
    if !operator.outcome.is_empty() {
        put(&mut out, format_args!(": {}", escape::text(&operator.outcome)));
    }
    if operator.duration_ns > 0 {
        put(&mut out, format_args!(", {} tasks in {}", operator.tasks, time::duration(operator.duration_ns)));
    }
    if !operator.reason.is_empty() {
        put(&mut out, format_args!(", because {}", escape::text(&operator.reason)));
    }
    out
}

/// How a process ended, and after how long.
#[must_use]
pub fn ended(exit: &Exit) -> String {
    let how = match exit.signal {
        0 => format!("exit {}", exit.code),
        signal => format!("killed by {}", signal_name(signal)),
    };
    match exit.duration_ns {
        0 => how,
        duration => format!("{how} after {}", time::duration(duration)),
    }
}

/// The name of a signal, or its number when it has none (real-time signals).
#[must_use]
pub fn signal_name(signal: u32) -> String {
    i32::try_from(signal)
        .ok()
        .and_then(|number| nix::sys::signal::Signal::try_from(number).ok())
        .map_or_else(|| format!("signal {signal}"), |signal| signal.as_str().to_owned())
}

fn with_errno(mut out: String, errno: u32) -> String {
    if let Ok(number @ 1..) = i32::try_from(errno) {
        let name = format!("{:?}", nix::errno::Errno::from_raw(number));
        put(&mut out, format_args!(" {name}"));
    }
    out
}

fn join(parts: &[&str]) -> String {
    let filled: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    filled.join(" ")
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}
