//! A report for people: what stands out first, no more than a screen where that is possible.
//!
//! Everything that an agent could have chosen passes through [`escape`].

use super::{
    Report,
    collect::Lost,
    detail::Detail,
    rows::{Row, counted, each, folders, object, section},
    session::{Session, State},
    sums::{Contact, Decision, Path, Peer, Times},
    tally::Tally,
};
use crate::{
    cli::{
        events::short::{self, Style},
        output::{self, grouped},
        time,
    },
    escape,
    proto::event::{Agent, Exit, Usage},
};

/// Arguments longer than this are cut.
const ARGV_COLUMNS: usize = 160;

/// The whole report.
#[must_use]
pub fn report(report: &Report, lines: usize, style: &Style) -> String {
    let sessions = report.collected.sessions();
    let mut out = String::new();
    for gap in &report.gaps {
        let line = format!("NOT COMPLETE: {}", escape::line(gap));
        out.push_str(&output::paint(&line, "1;31", style.colour));
        out.push('\n');
    }
    let mut whole: Vec<_> = sessions.iter().filter_map(|it| Some((*it, it.detail.as_deref()?))).collect();
    whole.sort_by_key(|(it, _)| std::cmp::Reverse(it.span.first));
    for (it, detail) in &whole {
        out.push_str(&head(it, detail, &report.collected.lost(it), style));
        out.push_str(&lists(detail, lines, style));
        out.push('\n');
    }
    let brief: Vec<&Session> = sessions.iter().copied().filter(|it| it.detail.is_none()).collect();
    if !brief.is_empty() {
        if !whole.is_empty() {
            out.push_str("other sessions (`aegis report SESSION` tells one whole):\n");
        }
        out.push_str(&overview(&brief, report, style));
    }
    let beyond = &report.collected.beyond;
    if beyond.sum.entries > 0 {
        let more = if beyond.at_least { " or more" } else { "" };
        let (events, denied) = (counted(beyond.sum.events, "event"), grouped(beyond.sum.denied));
        out.push_str(&format!("and {}{more} other sessions: {events}, {denied} denied (--since and --until make it fewer)\n", grouped(beyond.distinct)));
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// A line for each session; those that were denied something stand out.
fn overview(sessions: &[&Session], report: &Report, style: &Style) -> String {
    let head = ["AGENT", "SESSION", "STARTED", "DURATION", "EVENTS", "DENIED", "LOST", "SENT", "ENDED"];
    let rows = sessions.iter().map(|it| overview_row(it, &report.collected.lost(it), style));
    let rows: Vec<_> = std::iter::once(head.map(str::to_owned).to_vec()).chain(rows).collect();
    let table = output::table(&rows);
    let denied = std::iter::once(false).chain(sessions.iter().map(|it| it.totals.denied > 0));
    table.lines().zip(denied).map(|(line, denied)| output::paint(line, "1;31", style.colour && denied) + "\n").collect()
}

fn overview_row(it: &Session, lost: &[Lost], style: &Style) -> Vec<String> {
    let (duration, whole) = it.duration();
    let ((sent, _), all) = it.traffic();
    let at_least = |whole: bool| if whole { "" } else { ">" };
    vec![
        name(&it.agent),
        name(&it.id),
        it.start().map_or_else(|| "earlier".to_owned(), |start| time::local(start, &style.zone)),
        format!("{}{}", at_least(whole), time::duration(duration)),
        grouped(it.totals.events),
        grouped(it.totals.denied),
        grouped(count(lost)),
        format!("{}{}", at_least(all), output::size(sent)),
        ended(it),
    ]
}

fn count(lost: &[Lost]) -> u64 {
    lost.iter().fold(0, |sum: u64, lost| sum.saturating_add(lost.count))
}

fn name(raw: &str) -> String {
    if raw.is_empty() { "-".to_owned() } else { escape::cut(&escape::text(raw), 40) }
}

fn ended(it: &Session) -> String {
    match (it.state(), &it.ended) {
        (State::Ended, Some((_, agent))) => how(agent),
        (State::Killed, _) => "killed, not thawed".to_owned(),
        _ => "no end in the log".to_owned(),
    }
}

fn how(agent: &Agent) -> String {
    // Nobody saw how: the daemon says why in the text.
    let unknown = agent.exit_code < 0 && agent.exit_signal == 0;
    let exit = Exit { code: agent.exit_code, signal: agent.exit_signal, duration_ns: 0 };
    let how = if unknown { "exit not known".to_owned() } else { short::ended(&exit) };
    if agent.text.is_empty() { how } else { format!("{how} ({})", escape::text(&agent.text)) }
}

/// Who it is, when it ran, what it used, and what is missing.
fn head(it: &Session, detail: &Detail, lost: &[Lost], style: &Style) -> String {
    let mut out = format!("{}  session {}  {}\n", name(&it.agent), name(&it.id), policy(it));
    let mut say = |what: &str, text: String| out.push_str(&format!("  {what:<10}{text}\n"));
    if let Some((start, agent)) = &it.started {
        let more = if it.argv_cut { " …" } else { "" };
        say("command", escape::cut(&(escape::arguments(&agent.argv) + more), ARGV_COLUMNS));
        let by = it.started_by.as_ref().map_or_else(String::new, |by| format!(", {}", short::by_operator(by)));
        say("started", format!("{}{by}", time::local(*start, &style.zone)));
        if !agent.text.is_empty() {
            say("", output::paint(&escape::text(&agent.text), "1;31", style.colour));
        }
    } else {
        say("started", format!("earlier; its first entry here is of {}", time::local(it.span.first, &style.zone)));
    }
    let (duration, _) = it.duration();
    match &it.ended {
        Some((end, agent)) => say("ended", format!("{} after {}: {}", time::local(*end, &style.zone), time::duration(duration), how(agent))),
        None => say("ended", format!("{}; its last entry is of {}", ended(it), time::local(it.span.last, &style.zone))),
    }
    let totals = &it.totals;
    let held = if totals.audited > 0 { format!(", {} against the policy", grouped(totals.audited)) } else { String::new() };
    say("events", format!("{}: {} allowed{held}, {} denied", grouped(totals.events), grouped(totals.allowed), grouped(totals.denied)));
    match it.ended.as_ref().and_then(|(_, agent)| agent.usage.as_ref()) {
        Some(usage) => say("used", used(usage)),
        None => say("used", format!("told at its end; {} sent, {} received over connections that ended", output::size(it.over.0), output::size(it.over.1))),
    }
    let processes = &detail.processes;
    if processes.ended > 0 {
        let (failed, killed) = (grouped(processes.failed), grouped(processes.killed));
        say("processes", format!("{} ended, {failed} of them with an error, {killed} by a signal", grouped(processes.ended)));
    }
    for lost in lost {
        let text = format!("{} while it ran: {} {}", counted(lost.count, "record"), escape::text(&lost.kind), escape::text(&lost.place));
        say("LOST", output::paint(&text, "1;31", style.colour));
    }
    if it.unread > 0 {
        say("UNREAD", output::paint(&format!("{} entries that this version cannot read", grouped(it.unread)), "1;31", style.colour));
    }
    out
}

fn policy(it: &Session) -> String {
    match it.policy() {
        Some(policy) => format!("policy {} generation {}, mode {}", name(&policy.name), it.generation(), escape::text(&policy.mode)),
        None => format!("policy generation {}", it.generation()),
    }
}

fn used(usage: &Usage) -> String {
    let traffic = usage.traffic.unwrap_or_default();
    let mut words = vec![
        format!("cpu {}", time::duration(usage.cpu_usec.saturating_mul(1000))),
        format!("memory at most {}", output::size(usage.memory_peak)),
        format!("{} at once", counted(usage.pids_peak, "task")),
        format!("disk {} read, {} written", output::size(usage.io_read), output::size(usage.io_write)),
        format!("network {} sent, {} received", output::size(traffic.bytes_out), output::size(traffic.bytes_in)),
    ];
    for (count, what) in [
        (usage.oom_kills, "tasks ended for memory"),
        (usage.packets_refused, "packets refused"),
        (usage.connections_open, "connections still open"),
        (usage.connections_untold, "ends and beginnings of connections not told"),
    ] {
        if count > 0 {
            words.push(format!("{} {what}", grouped(count)));
        }
    }
    words.join(", ")
}

fn lists(detail: &Detail, lines: usize, style: &Style) -> String {
    let mut out = decisions("denied, or against the policy", &detail.decisions, lines, style);
    out.push_str(&decisions("guards", &detail.guards, lines, style));
    for act in &detail.acts {
        out.push_str(&format!("operator: {}  {}\n", time::local(act.time, &style.zone), short::by_operator(&act.operator)));
    }
    if detail.acts_beyond > 0 {
        out.push_str(&format!("operator: and {} acts more\n", grouped(detail.acts_beyond)));
    }
    let notes = each(&detail.notes, |note| vec![escape::text(&note.state), escape::text(&note.text)]);
    out.push_str(&section("told by the daemon", &detail.notes, lines, &["TIMES", "WHAT", ""], notes, timed));
    let programs = each(&detail.programs, |path| vec![object(&path.0)]);
    out.push_str(&section("ran", &detail.programs, lines, &["RUNS", "DENIED", "PROGRAM"], programs, |row| {
        [vec![grouped(row.sum.count), grouped(row.sum.denied)], row.cells.clone()].concat()
    }));
    out.push_str(&peers("contacted", &detail.contacted, lines));
    out.push_str(&peers("accepted, at its own port", &detail.accepted, lines));
    let listened = each(&detail.listened, peer);
    out.push_str(&section("listened", &detail.listened, lines, &["TIMES", "PROTOCOL", "ADDRESS", "NAME"], listened, timed));
    let names = each(&detail.names, |name| vec![object(name.as_bytes())]);
    out.push_str(&section("names asked for", &detail.names, lines, &["ASKED", "ANSWERED", "DENIED", "NAME"], names, |row| {
        [vec![grouped(row.sum.asked), grouped(row.sum.answered), grouped(row.sum.denied)], row.cells.clone()].concat()
    }));
    for (title, list) in [
        ("written", &detail.written),
        ("created", &detail.created),
        ("removed", &detail.removed),
    ] {
        out.push_str(&files(title, list, lines));
    }
    let moved = each(&detail.moved, |it| vec![object(&it.path), object(&it.target)]);
    out.push_str(&section("renamed", &detail.moved, lines, &["TIMES", "FROM", "TO"], moved, timed));
    out.push_str(&files("read", &detail.read, lines));
    out.push_str(&files("mapped as code", &detail.code, lines));
    let other = each(&detail.other, |it| vec![escape::text(&it.op), object(&it.object)]);
    out.push_str(&section("other operations", &detail.other, lines, &["TIMES", "WHAT", "ON"], other, timed));
    let redacted = each(&detail.redacted, |rule| vec![escape::text(&rule.0)]);
    out.push_str(&section("secrets kept out of the log", &detail.redacted, lines, &["TIMES", "RULE"], redacted, timed));
    out
}

fn timed(row: &Row<Times>) -> Vec<String> {
    [vec![grouped(row.sum.count)], row.cells.clone()].concat()
}

fn files(title: &str, list: &Tally<Path, Times>, lines: usize) -> String {
    section(title, list, lines, &["TIMES", "PATH"], folders(list, lines), timed)
}

fn decisions(title: &str, list: &Tally<Decision, Times>, lines: usize, style: &Style) -> String {
    let head = ["TIMES", "VERDICT", "WHAT", "ON", "RULE", "WHY", "FIRST", "LAST"];
    let rows = each(list, |it| {
        let word = |text: &str| escape::cut(&escape::text(text), 60);
        vec![word(&it.verdict), word(&it.op), object(&it.object), word(&it.rule), word(&it.reason)]
    });
    let text = section(title, list, lines, &head, rows, |row| {
        let when = [row.sum.first, row.sum.last].map(|moment| time::local(moment, &style.zone));
        [timed(row), when.to_vec()].concat()
    });
    match text.split_once('\n') {
        Some((first, rest)) => format!("{}\n{rest}", output::paint(first, "1;31", style.colour)),
        None => text,
    }
}

fn peer(peer: &Peer) -> Vec<String> {
    let end = short::endpoint(&peer.address, peer.port, &peer.protocol);
    let name = if peer.name.is_empty() { String::new() } else { object(peer.name.as_bytes()) };
    vec![escape::cut(&escape::text(&peer.protocol), 10), object(end.as_bytes()), name]
}

fn peers(title: &str, list: &Tally<Peer, Contact>, lines: usize) -> String {
    let head = ["CONNECTIONS", "MESSAGES", "SENT", "RECEIVED", "PROTOCOL", "ADDRESS", "NAME"];
    section(title, list, lines, &head, each(list, peer), |row| {
        let Contact { connections, sends, bytes_out, bytes_in, .. } = &row.sum;
        let numbers = vec![grouped(*connections), grouped(*sends), output::size(*bytes_out), output::size(*bytes_in)];
        [numbers, row.cells.clone()].concat()
    })
}
