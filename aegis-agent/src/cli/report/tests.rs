//! What entries add up to, in which room, and what an agent's bytes can do to a terminal (nothing).

use jiff::tz::TimeZone;
use proptest::{collection::vec, prelude::{prop_assert, prop_assert_eq, proptest}};
use serde_json::Value;

use super::{
    Report,
    collect::{Collector, SESSIONS},
    gaps, json,
    tally::KEPT,
    text,
};
use crate::{
    cli::events::{self, entry::Entry, sample, short::Style},
    escape::is_unsafe,
    proto::event::{Agent, Dns, Exec, File, Guard, Kind, Loss, Network, Operator, Repeat, Traffic, Verdict, event::Detail},
};

const PLAIN: Style = Style { zone: TimeZone::UTC, colour: false };
const SECOND: u64 = 1_000_000_000;

fn report(agent: Option<&str>, entries: &[Entry]) -> Report {
    let agent = agent.map(str::to_owned);
    let mut collected = Collector::new(agent.clone(), if agent.is_some() { 3 } else { 0 });
    entries.iter().for_each(|entry| collected.take(entry));
    Report { agent, since: None, until: None, gaps: gaps(&collected, None), collected }
}

/// As a consumer reads it.
fn as_json(report: &Report) -> Value {
    let mut out = Vec::new();
    events::json::write_pretty(&mut out, &json::report(report)).unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn whole(entries: &[Entry]) -> Value {
    as_json(&report(Some("coder"), entries))["sessions"][0].clone()
}

fn file(seq: u64, verdict: Verdict, op: &str, path: &[u8]) -> Entry {
    let file = File { op: op.to_owned(), path: path.to_vec(), ..File::default() };
    sample::entry(seq, Kind::File, verdict, "fs.deny.1", Detail::File(file))
}

fn repeated(mut entry: Entry, count: u64) -> Entry {
    entry.event.repeat = Some(Repeat { of: 1, count, total: count, start_time: entry.time - 5, end_time: entry.time });
    entry
}

fn state(seq: u64, state: &str) -> Entry {
    sample::entry(seq, Kind::Agent, Verdict::Unspecified, "", Detail::AgentState(Agent { state: state.to_owned(), ..Agent::default() }))
}

fn at(mut entry: Entry, time: u64) -> Entry {
    entry.time = time;
    entry
}

fn lost(count: u64) -> Entry {
    let loss = Loss { kind: "lost_file".to_owned(), count, total: count, r#where: "ring".to_owned() };
    let mut entry = sample::entry(1, Kind::Loss, Verdict::Unspecified, "", Detail::Loss(loss));
    // As the daemon writes it: of the host, and of no agent.
    (entry.event.agent, entry.event.session) = (String::new(), String::new());
    entry
}

fn network(seq: u64, verdict: Verdict, op: &str, traffic: Option<(u64, u64)>, inbound: bool) -> Entry {
    let network = Network {
        op: op.to_owned(),
        address: "192.0.2.10".to_owned(),
        port: if inbound { 50_000 } else { 443 },
        protocol: "tcp".to_owned(),
        name: "api.example".to_owned(),
        traffic: traffic.map(|(bytes_out, bytes_in)| Traffic { bytes_out, bytes_in, ..Traffic::default() }),
        local_port: if inbound { 8080 } else { 40_000 },
        direction: if inbound { "inbound" } else { "" }.to_owned(),
        ..Network::default()
    };
    sample::entry(seq, Kind::Network, verdict, "net.1", Detail::Network(network))
}

#[test]
fn one_session_on_one_screen() {
    let expected = "\
NOT COMPLETE: 3 records of this host were lost meanwhile, and whose they were is not known
coder  session coder-1  policy coder generation 3, mode enforce
  started   earlier; its first entry here is of 2026-11-20 13:36:00.123
  ended     2026-11-20 13:36:00.123 after 1min 1s: killed by SIGKILL
  events    11: 5 allowed, 3 denied
  used      cpu 5 µs, memory at most 1.0 MB, 0 tasks at once, disk 0 B read, 0 B written, network 0 B sent, 0 B received
  processes 1 ended, 1 of them with an error, 0 by a signal
  LOST      3 records while it ran: lost_file kernel
denied, or against the policy: 2 times
  TIMES  VERDICT  WHAT     ON                      RULE       WHY   FIRST                    LAST
  1      deny     connect  tcp 169.254.169.254:80  default    rule  2026-11-20 13:36:00.123  2026-11-20 13:36:00.123
  1      deny     read     /etc/shadow             fs.deny.1  rule  2026-11-20 13:36:00.123  2026-11-20 13:36:00.123
guards: 1 time
  TIMES  VERDICT  WHAT            ON       RULE   WHY   FIRST                    LAST
  1      deny     terminal_input  TIOCSTI  guard  rule  2026-11-20 13:36:00.123  2026-11-20 13:36:00.123
operator: 2026-11-20 13:36:00.123  kill coder by uid 0 (logged in as 1000): frozen, 4 tasks in 2.5 ms, because odd
ran: 1 run
  RUNS  DENIED  PROGRAM
  1     0       /bin/sh
contacted: 0 connections, 1.5 kB sent, 20.4 MB received
  CONNECTIONS  MESSAGES  SENT    RECEIVED  PROTOCOL  ADDRESS         NAME
  0            0         1.5 kB  20.4 MB   tcp       192.0.2.10:443  api.example
names asked for: asked 0 times
  ASKED  ANSWERED  DENIED  NAME
  0      1         0       api.example
renamed: 1 time
  TIMES  FROM     TO
  1      /work/a  /work/b
";
    assert_eq!(text::report(&report(Some("coder"), &sample::all()), 10, &PLAIN), expected);
    let brief = text::report(&report(None, &sample::all()), 10, &PLAIN);
    assert!(brief.contains("coder  coder-1  earlier  1min 1s   11      3       3"), "{brief}");
}

#[test]
fn an_entry_with_a_count_stands_for_that_many() {
    let denied = file(1, Verdict::Deny, "read", b"/etc/shadow");
    let entries = [
        denied.clone(),
        repeated(at(denied.clone(), denied.time + SECOND), 999_999),
        repeated(file(3, Verdict::Allow, "read_write", b"/work/x"), 41),
        file(4, Verdict::Allow, "read_write", b"/work/x"),
        repeated(network(5, Verdict::Allow, "send", None, false), 7),
    ];
    let session = whole(&entries);
    assert_eq!((&session["events"], &session["entries"]), (&1_000_049.into(), &5.into()));
    assert_eq!((&session["denied"], &session["allowed"]), (&1_000_000.into(), &49.into()));
    let decision = &session["did"]["decisions"]["kept"][0];
    assert_eq!((&decision["count"], &decision["op"], &decision["rule"]), (&1_000_000.into(), &"read".into(), &"fs.deny.1".into()));
    assert!(decision["first"].as_str().unwrap() < decision["last"].as_str().unwrap());
    for list in ["read", "written"] {
        assert_eq!(session["did"][list]["kept"][0]["count"], 42);
    }
    assert_eq!(session["did"]["contacted"]["kept"][0]["sends"], 7);
}

#[test]
fn distinct_names_beyond_the_bound_are_counted_to_the_last() {
    let many = (KEPT + 700) as u64;
    let entries: Vec<_> =
        (0..many).map(|seq| repeated(file(seq, Verdict::Deny, "write", format!("/tmp/{seq}").as_bytes()), 2)).collect();
    let of_agent = report(Some("coder"), &entries);
    let list = &as_json(&of_agent)["sessions"][0]["did"]["decisions"];
    assert_eq!(list["kept"].as_array().unwrap().len(), KEPT);
    assert_eq!((&list["others"]["distinct"], &list["others"]["count"]), (&700.into(), &1400.into()));
    let shown = text::report(&of_agent, 10, &PLAIN);
    let rest = format!("and {} others: {} times", crate::cli::output::grouped(many - 10), crate::cli::output::grouped(2 * (many - 10)));
    assert!(shown.contains(&rest) && shown.lines().count() < 30, "{shown}");
    assert!(shown.contains("2,424 denied"), "{shown}");
}

#[test]
fn many_files_of_a_folder_are_one_row_and_nothing_is_dropped() {
    let mut entries: Vec<_> = (0..40).map(|seq| file(seq, Verdict::Allow, "read", format!("/usr/lib/{seq}").as_bytes())).collect();
    entries.push(repeated(file(40, Verdict::Allow, "read", b"/work/notes"), 50));
    entries.push(file(41, Verdict::Allow, "read", b"/etc/passwd"));
    let shown = text::report(&report(Some("coder"), &entries), 2, &PLAIN);
    let expected = "read: 91 times\n  TIMES  PATH\n  50     /work/notes\n  40     /usr/lib/  (40 names in it)\n  and 1 other: 1 time\n";
    assert!(shown.contains(expected), "{shown}");
}

#[test]
fn losses_are_held_against_whoever_ran_then() {
    let start = 1_000 * SECOND;
    let run = [at(state(1, "started"), start), at(state(2, "ended"), start + 10 * SECOND)];
    for (time, expected) in [(start - 1, 0), (start, 4), (start + 5 * SECOND, 4), (start + 20 * SECOND, 4), (start + 21 * SECOND, 0)] {
        // Also where the losses come after all else, as from the daemon, or the log is read backward.
        for turn in 0..3 {
            let mut entries = [&run[..], &[at(lost(4), time)]].concat();
            entries.rotate_right(turn);
            let told = report(Some("coder"), &entries);
            assert_eq!(told.gaps.len(), usize::from(expected > 0), "{time}");
            let session = whole(&entries);
            assert_eq!(session["lost"][0]["count"].as_u64().unwrap_or(0), expected, "{time}");
        }
    }
    // One of which the beginning is not here may have run since ever, one without an end runs still.
    assert_eq!(whole(&[at(lost(4), 1), run[1].clone()])["lost"][0]["count"], 4);
    assert_eq!(whole(&[run[0].clone(), at(lost(4), u64::MAX)])["lost"][0]["count"], 4);
}

#[test]
fn losses_without_number_are_held_against_everyone() {
    let start = 1_000 * SECOND;
    let mut entries: Vec<_> = (0..5_000).map(|_| at(lost(1), 1)).collect();
    entries.push(at(state(1, "started"), start));
    let told = report(Some("coder"), &entries);
    assert_eq!(as_json(&told)["records_lost"], 5_000);
    assert_eq!(as_json(&told)["complete"], false);
    assert_eq!(whole(&entries)["lost"][0]["count"], 904);
}

#[test]
fn what_is_not_understood_is_a_gap() {
    let unreadable = Entry { undecoded: Some(vec![0xff]), ..Entry::default() };
    let mut unknown = state(3, "started");
    unknown.event.detail = None;
    let told = report(Some("coder"), &[unreadable, unknown]);
    assert_eq!(told.gaps, ["2 entries tell what this version of aegis cannot read"]);
}

#[test]
fn what_was_refused_was_not_done_and_what_was_only_watched_was() {
    let exec = |seq, verdict| {
        let exec = Exec { path: b"/bin/sh".to_vec(), ..Exec::default() };
        sample::entry(seq, Kind::Exec, verdict, "x", Detail::Exec(exec))
    };
    let guard = Guard { op: "ptrace".to_owned(), subject: "process 1".to_owned(), errno: 1 };
    let entries = [
        file(1, Verdict::Deny, "unlink", b"/a"),
        file(2, Verdict::Audit, "unlink", b"/b"),
        file(3, Verdict::Throttle, "unlink", b"/c"),
        file(4, Verdict::Allow, "unlink", b"/d"),
        // A program that a watching policy is against: both entries are of one run.
        file(5, Verdict::Audit, "exec", b"/bin/sh"),
        exec(6, Verdict::Audit),
        file(7, Verdict::Deny, "exec", b"/bin/su"),
        sample::entry(8, Kind::Guard, Verdict::Deny, "guard", Detail::Guard(guard)),
    ];
    let session = whole(&entries);
    let did = &session["did"];
    let names = |list: &str, key: &str| -> Vec<String> {
        did[list]["kept"].as_array().unwrap().iter().map(|row| row[key].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("removed", "path"), ["/b", "/d"]);
    assert_eq!(names("decisions", "object").len(), 6);
    assert_eq!(names("guards", "object"), ["process 1"]);
    assert_eq!((&did["programs"]["kept"][0]["count"], &did["programs"]["kept"][1]["denied"]), (&1.into(), &1.into()));
    assert_eq!((&session["allowed"], &session["audited"], &session["denied"]), (&1.into(), &3.into(), &4.into()));
}

#[test]
fn connections_and_their_bytes_by_direction() {
    let dns = |seq, op: &str, verdict| {
        let dns = Dns { op: op.to_owned(), name: "api.example".to_owned(), ..Dns::default() };
        sample::entry(seq, Kind::Dns, verdict, "n", Detail::Dns(dns))
    };
    let entries = [
        network(1, Verdict::Allow, "connect", None, false),
        network(2, Verdict::Allow, "close", Some((100, 7)), false),
        // What an accepted connection had so far is in its end again.
        network(3, Verdict::Allow, "accept", Some((5, 5)), true),
        network(4, Verdict::Allow, "close", Some((30, 50)), true),
        network(5, Verdict::Deny, "connect", None, false),
        network(6, Verdict::Allow, "listen", None, false),
        dns(7, "question", Verdict::Allow),
        dns(8, "answer", Verdict::Allow),
        dns(9, "question", Verdict::Deny),
        dns(10, "answer", Verdict::Deny),
    ];
    let session = whole(&entries);
    let out = &session["did"]["contacted"]["kept"];
    assert_eq!((out[0]["connections"].as_u64(), out[0]["ended"].as_u64(), out[0]["port"].as_u64()), (Some(1), Some(1), Some(443)));
    assert_eq!((out[0]["bytes_out"].as_u64(), out[0]["bytes_in"].as_u64()), (Some(100), Some(7)));
    let taken = &session["did"]["accepted"]["kept"];
    assert_eq!((taken[0]["connections"].as_u64(), taken[0]["bytes_out"].as_u64(), taken[0]["port"].as_u64()), (Some(1), Some(30), Some(8080)));
    let name = &session["did"]["names"]["kept"][0];
    assert_eq!((name["asked"].as_u64(), name["answered"].as_u64(), name["denied"].as_u64()), (Some(1), Some(1), Some(2)));
    assert_eq!((&session["bytes_out"], &session["bytes_whole"]), (&130.into(), &false.into()));
    assert_eq!(session["did"]["listened"]["kept"][0]["count"], 1);
}

#[test]
fn a_kill_stands_until_somebody_thaws() {
    let act = |seq, action: &str| {
        let operator = Operator { action: action.to_owned(), uid: 7, ..Operator::default() };
        sample::entry(seq, Kind::Operator, Verdict::Kill, "", Detail::Operator(operator))
    };
    let states = |entries: &[Entry]| whole(entries)["state"].as_str().unwrap().to_owned();
    assert_eq!(states(&[act(1, "run"), act(2, "kill")]), "killed");
    assert_eq!(states(&[act(1, "run"), act(3, "thaw"), act(2, "kill")]), "running");
    assert_eq!(states(&[act(1, "run"), act(2, "kill"), state(3, "ended")]), "ended");
    let session = whole(&[act(1, "run"), act(2, "kill"), act(3, "thaw")]);
    assert_eq!(session["did"]["acts"].as_array().unwrap().len(), 2);
    assert_eq!(session["started_by"]["uid"], 7);
}

#[test]
fn the_newest_sessions_are_told_whole_and_the_others_brief() {
    let of = |number: u64| {
        let mut entry = at(file(number, Verdict::Deny, "read", b"/x"), number * SECOND);
        entry.event.session = format!("s{number}");
        entry
    };
    let mut entries: Vec<_> = (1..=9).map(of).collect();
    for _ in 0..2 {
        let told = as_json(&report(Some("coder"), &entries));
        let sessions = told["sessions"].as_array().unwrap();
        let whole: Vec<_> = sessions.iter().filter(|it| !it["did"].is_null()).map(|it| it["session"].as_str().unwrap()).collect();
        assert_eq!((sessions.len(), whole), (9, vec!["s9", "s8", "s7"]));
        entries.reverse();
    }
    let many: Vec<_> = (0..SESSIONS as u64 + 5).map(of).chain([of(SESSIONS as u64 + 4)]).collect();
    let told = report(None, &many);
    let others = &as_json(&told)["other_sessions"];
    assert_eq!((&others["distinct"], &others["denied"], &others["distinct_at_least"]), (&5.into(), &6.into(), &false.into()));
    assert!(text::report(&told, 10, &PLAIN).contains("and 5 other sessions: 6 events, 6 denied"));
}

#[test]
fn those_that_were_denied_most_come_first() {
    let of = |session: &str, verdict| {
        let mut entry = file(1, verdict, "read", b"/x");
        entry.event.session = session.to_owned();
        entry
    };
    let entries = [of("a", Verdict::Allow), of("b", Verdict::Deny), of("c", Verdict::Deny), of("c", Verdict::Deny)];
    let told = report(None, &entries);
    let order: Vec<_> = told.collected.sessions().iter().map(|it| it.id.clone()).collect();
    assert_eq!(order, ["c", "b", "a"]);
    let bright = text::report(&told, 10, &Style { colour: true, ..PLAIN });
    assert_eq!(bright.lines().filter(|line| line.starts_with("\x1b[1;31m")).count(), 2);
}

proptest! {
    #[test]
    fn any_entries_are_told_exactly_and_speak_to_no_terminal(mut entries in vec(events::tests::entry(), 0..12)) {
        for entry in &mut entries {
            entry.event.agent = "coder".to_owned();
            if let Some(repeat) = &mut entry.event.repeat {
                repeat.count >>= 8;
            }
        }
        let told = report(Some("coder"), &entries);
        let shown = text::report(&told, 3, &PLAIN);
        prop_assert!(!shown.chars().any(|c| c != '\n' && is_unsafe(c)), "{shown:?}");
        let mut raw = Vec::new();
        events::json::write_pretty(&mut raw, &json::report(&told)).unwrap();
        let raw = String::from_utf8(raw).unwrap();
        prop_assert!(!raw.chars().any(|c| c != '\n' && is_unsafe(c)), "{raw:?}");
        let sessions = as_json(&told)["sessions"].clone();
        let sum = |key: &str| sessions.as_array().unwrap().iter().map(|it| it[key].as_u64().unwrap()).sum::<u64>();
        prop_assert_eq!(sum("entries"), entries.len() as u64);
        prop_assert_eq!(sum("events"), entries.iter().map(|it| it.event.repeat.map_or(1, |r| r.count)).sum::<u64>());
        entries.reverse();
        let backward = as_json(&report(Some("coder"), &entries))["sessions"].clone();
        let totals = |sessions: &Value| -> Vec<Vec<Value>> {
            let row = |it: &Value| ["session", "events", "allowed", "audited", "denied", "bytes_out"].map(|key| it[key].clone()).to_vec();
            let mut rows: Vec<_> = sessions.as_array().unwrap().iter().map(row).collect();
            rows.sort_by_key(|row| row[0].to_string());
            rows
        };
        prop_assert_eq!(totals(&sessions), totals(&backward));
    }
}
