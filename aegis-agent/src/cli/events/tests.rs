//! Shapes of the output, the way there and back, and what an agent's bytes can do to a terminal
//! (nothing). Walking a saved log stands here too; the daemon as a source is tested over a socket
//! in `cli::fake`.

use jiff::tz::TimeZone;
use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest},
};

use super::{
    Query,
    entry::Entry,
    filter::Filter,
    json, piped, sample, saved,
    short::{self, Style},
    sink::Sink,
};
use crate::{
    cli::{args::EventFormat, failure::Failure},
    escape::is_unsafe,
    proto::event::{Agent, Event, Exec, Exit, File, Guard, InAgent, Network, Operator, Policy, Process, Redaction, Repeat, Traffic, event::Detail},
};

const PLAIN: Style = Style { zone: TimeZone::UTC, colour: false };

fn line(entry: &Entry) -> String {
    let mut out = Vec::new();
    json::write_line(&mut out, entry).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_denied_open_as_json_is_exactly_this() {
    let expected = concat!(
        r#"{"schema":1,"seq":4,"time":"2026-11-20T13:36:00.123456793Z","kind":"file","verdict":"deny","#,
        r#""agent":"coder","session":"coder-1","rule":"fs.deny.1","generation":3,"reason":"rule","#,
        r#""image":"abababababababababababababababababababababababababababababababab","kernel_seq":17,"#,
        r#""process":{"pid":4242,"tid":4243,"ppid":4200,"uid":1000,"gid":1001,"login_uid":1000,"user":"dev","start_ns":99,"#,
        r#""comm":"cat","exe":"/usr/bin/cat","argv":["cat","/etc/shadow"],"cgroup":"/aegis/coder-1","ancestors":[4200,4100]},"#,
        r#""file":{"path":"/etc/shadow","op":"read","dev":8,"ino":77,"errno":13}}"#,
    );
    assert_eq!(line(&sample::denied_open()), expected);
}

#[test]
fn promised_fields_are_there_also_when_empty() {
    let expected = concat!(
        r#"{"schema":1,"seq":0,"time":"2026-11-20T13:36:00.123456789Z","kind":"daemon","verdict":"","agent":"","#,
        r#""session":"","rule":"","generation":0,"reason":"","#,
        r#""daemon":{"state":"started","version":"0.1.0","abi":1}}"#,
    );
    assert_eq!(line(&sample::daemon_start()), expected);
}

#[test]
fn bytes_that_are_no_text_stand_beside_it() {
    let mut entry = sample::denied_open();
    entry.event.detail = Some(Detail::File(File { path: b"/tmp/\xff\x1b".to_vec(), ..File::default() }));
    let json: serde_json::Value = serde_json::from_str(&line(&entry)).unwrap();
    assert_eq!(json["file"]["path"], "/tmp/\u{fffd}\u{1b}");
    assert_eq!(json["file"]["path_b64"], "L3RtcC//Gw==");
    assert_eq!(saved::parse(&line(&entry)).unwrap(), entry);
}

#[test]
fn every_kind_has_its_line() {
    let shown: Vec<String> = sample::all().iter().map(|entry| short::line(entry, &PLAIN)).collect();
    let expected = [
        "2026-11-20 13:36:00.123  -                       daemon   started 0.1.0",
        "2026-11-20 13:36:00.123  coder                   policy   coder generation 3 in force, mode enforce, 12 rules",
        r"2026-11-20 13:36:00.123  coder          allow    exec     /bin/sh -c 'echo \'hi there\''  [4242]  rule exec.allow.1",
        "2026-11-20 13:36:00.123  coder          allow    exit     exit 1 after 1.5 µs  by /usr/bin/cat[4242]",
        "2026-11-20 13:36:00.123  coder          deny     file     read /etc/shadow EACCES  by /usr/bin/cat[4242]  rule fs.deny.1",
        "2026-11-20 13:36:00.123  coder          allow    file     rename /work/a -> /work/b  by /usr/bin/cat[4242]  rule fs.write.1",
        "2026-11-20 13:36:00.123  coder          deny     network  connect tcp 169.254.169.254:80 EACCES  by /usr/bin/cat[4242]  rule default",
        "2026-11-20 13:36:00.123  coder          deny     guard    terminal_input TIOCSTI EPERM  by /usr/bin/cat[4242]  rule guard",
        "2026-11-20 13:36:00.123  coder          kill     operator kill coder by uid 0 (logged in as 1000): frozen, 4 tasks in 2.5 ms, because odd",
        "2026-11-20 13:36:00.123  coder                   loss     3 records lost (7 in all): lost_file kernel",
        r"2026-11-20 13:36:00.123  coder                   agent    ended: sh -c 'echo \'hi there\'', killed by SIGKILL after 1min 1s",
        "2026-11-20 13:36:00.123  coder          allow    dns      answer api.example A = 192.0.2.10, 192.0.2.11 (192.0.2.53) in 13 ms  by /usr/bin/cat[4242]  rule network.allow:api.example:443:tcp",
        "2026-11-20 13:36:00.123  coder          allow    network  close tcp 192.0.2.10:443 (api.example), 1.5 kB sent, 20.4 MB received  by /usr/bin/cat[4242]  rule network.allow:api.example:443:tcp",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn colours_only_on_request() {
    let entry = sample::denied_open();
    assert!(short::line(&entry, &Style { colour: true, ..PLAIN }).contains("\x1b[1;31mdeny    \x1b[0m"));
}

#[test]
fn foreign_lines_are_told_apart_from_entries() {
    for (line, expected) in [
        ("nonsense", "not JSON"),
        ("{}", "not an entry"),
        ("[1]", "not an entry"),
        (r#"{"schema":2}"#, "not an entry"),
        (r#"{"schema":1}"#, "\"seq\""),
        (r#"{"schema":1,"seq":1,"time":"2026-11-20T13:36:00Z","kind":"file","file":{"path":7}}"#, "\"path\""),
        (r#"{"schema":1,"seq":1,"time":"2026-11-20T13:36:00Z","kind":"file","verdict":"maybe"}"#, "\"verdict\""),
        (r#"{"schema":1,"seq":1,"time":"2026-11-20T13:36:00Z","kind":"file","process":{"pid":-1}}"#, "\"pid\""),
    ] {
        let error = saved::parse(line).unwrap_err().to_string();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

// ---- a saved log as the source

fn show(text: &str, query: &Query, format: EventFormat) -> (String, Result<(), Failure>) {
    let mut out = Vec::new();
    let mut sink = Sink::new(Box::new(&mut out), format, PLAIN);
    let result = piped::show(Box::new(std::io::Cursor::new(text.as_bytes().to_vec())), query, &mut sink);
    drop(sink);
    (String::from_utf8(out).unwrap(), result)
}

fn log() -> String {
    sample::all().iter().map(|entry| line(entry) + "\n").collect()
}

fn seqs(text: &str) -> Vec<u64> {
    text.lines().map(|line| saved::parse(line).unwrap().seq).collect()
}

#[test]
fn a_saved_log_goes_through_unchanged() {
    let (out, result) = show(&log(), &Query::default(), EventFormat::Json);
    result.unwrap();
    assert_eq!(out, log());
}

#[test]
fn a_saved_log_goes_through_the_filters() {
    let denied = Query { filter: Filter { verdicts: vec![3], ..Filter::default() }, ..Query::default() };
    assert_eq!(seqs(&show(&log(), &denied, EventFormat::Json).0), [4, 6, 7]);
    let last = Query { last: Some(2), ..denied.clone() };
    assert_eq!(seqs(&show(&log(), &last, EventFormat::Json).0), [6, 7]);
    let newest_first = Query { reverse: true, ..last };
    assert_eq!(seqs(&show(&log(), &newest_first, EventFormat::Json).0), [7, 6]);
    assert_eq!(show(&log(), &denied, EventFormat::Short).0.lines().count(), 3);
}

#[test]
fn fields_of_a_newer_version_pass_through() {
    let text = r#"{"schema":1,"seq":1,"time":"2026-11-20T13:36:00Z","kind":"file","novel":{"x":[1]}}"#;
    let (out, result) = show(text, &Query::default(), EventFormat::Json);
    result.unwrap();
    assert_eq!(out.trim_end(), text);
}

#[test]
fn lines_that_are_no_entries_are_an_error_after_the_others_were_shown() {
    let text = format!("{}garbage\n{{\"schema\":1\n", log());
    let (out, result) = show(&text, &Query::default(), EventFormat::Json);
    assert_eq!(out, log());
    assert_eq!(result.unwrap_err().code(), 2);
}

#[test]
fn a_hostile_saved_log_reaches_no_terminal_as_it_is() {
    let text = "{\"schema\":1,\"seq\":1,\"time\":\"2026-11-20T13:36:00Z\",\r\"kind\":\"file\",\"agent\":\"\u{9b}2J\u{202e}\u{7f}\"}";
    let (out, result) = show(text, &Query::default(), EventFormat::Json);
    result.unwrap();
    assert!(!out.trim_end().chars().any(is_unsafe), "{out:?}");
    assert_eq!(saved::parse(&out).unwrap(), saved::parse(text).unwrap());
}

// ---- any entry

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), Just("\u{1b}[2J\u{9b}\u{202e}\n".to_owned()), "[a-z]{0,8}"]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..12), text().prop_map(String::into_bytes)]
}

fn process() -> impl Strategy<Value = Process> {
    let numbers = (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<u64>());
    let names = (bytes(), bytes(), vec(bytes(), 0..3), text(), text());
    (numbers, names, vec(any::<u32>(), 0..3)).prop_map(|(n, t, ancestors)| Process {
        pid: n.0,
        tid: n.1,
        ppid: n.2,
        uid: n.3,
        gid: n.3,
        start: n.4,
        comm: t.0,
        exe: t.1,
        argv: t.2,
        user: t.3,
        cgroup: t.4,
        ancestors,
        login_uid: n.0,
    })
}

#[test]
fn a_repetition_says_how_often_and_since_when() {
    let mut entry = sample::denied_open();
    entry.event.kernel_seq = 0;
    let start_time = entry.time;
    entry.event.repeat =
        Some(Repeat { of: 17, count: 999_999, total: 1_000_003, start_time, end_time: start_time + 1_000_000_000 });
    let json: serde_json::Value = serde_json::from_str(&line(&entry)).unwrap();
    assert_eq!((&json["count"], &json["repeats"], &json["repeats_total"]), (&999_999.into(), &17.into(), &1_000_003.into()));
    assert_eq!((&json["start_time"], &json["kernel_seq"]), (&json["time"], &serde_json::Value::Null));
    assert_eq!(json["end_time"].as_str().map(|t| t > json["start_time"].as_str().unwrap()), Some(true));
    assert!(short::line(&entry, &PLAIN).contains("/etc/shadow EACCES ×999,999 since 2026-"), "{}", short::line(&entry, &PLAIN));
}

#[test]
fn an_entry_says_what_was_taken_out_of_it() {
    let mut entry = sample::denied_open();
    let one = |rule: &str, count| Redaction { rule: rule.to_owned(), count };
    entry.event.redacted = vec![one("github-token", 2), one("x\x1b[2J", 1)];
    let json: serde_json::Value = serde_json::from_str(&line(&entry)).unwrap();
    assert_eq!(json["redacted"][0], serde_json::json!({ "rule": "github-token", "count": 2 }));
    let short = short::line(&entry, &PLAIN);
    assert!(short.contains("  redacted github-token ×2  redacted x\\x1b[2J ×1"), "{short}");
}

fn detail() -> impl Strategy<Value = Detail> {
    prop_oneof![
        (bytes(), vec(bytes(), 0..3), vec(bytes(), 0..3), any::<bool>(), any::<u64>()).prop_map(
            |(path, argv, environment, argv_cut, dev)| {
                let environment_cut = !argv_cut;
                Detail::Exec(Exec { path, argv, argv_cut, dev, ino: dev, environment, environment_cut })
            },
        ),
        (any::<i32>(), any::<u32>(), any::<u64>())
            .prop_map(|(code, signal, duration_ns)| Detail::Exit(Exit { code, signal, duration_ns })),
        (text(), bytes(), bytes(), any::<u32>(), any::<bool>(), vec(bytes(), 0..3)).prop_map(
            |(op, path, target, errno, path_cut, argv)| {
                let argv_cut = path_cut && !argv.is_empty();
                let variable = path.clone();
                Detail::File(File { op, path, target, errno, path_cut, dev: 1, ino: 0, argv, argv_cut, variable })
            },
        ),
        (text(), text(), any::<u32>(), text(), text()).prop_map(|(op, address, port, protocol, name)| {
            let traffic = (port % 2 == 0).then_some(Traffic { bytes_out: port.into(), ..Traffic::default() });
            let start_time = u64::from(port) * u64::from(traffic.is_some());
            let direction = if traffic.is_some() { op.clone() } else { String::new() };
            let local_port = port * u32::from(traffic.is_some());
            Detail::Network(Network { op, address, port, protocol, name, errno: port, traffic, start_time, local_port, direction })
        }),
        (text(), text(), any::<u32>()).prop_map(|(op, subject, errno)| Detail::Guard(Guard { op, subject, errno })),
        (text(), vec(bytes(), 0..3), any::<i32>(), text()).prop_map(|(state, argv, exit_code, text)| {
            Detail::AgentState(Agent { state, argv, exit_code, text, ..Agent::default() })
        }),
        (text(), bytes()).prop_map(|(name, manifest)| Detail::Policy(Policy { name, manifest, ..Policy::default() })),
        (text(), bytes(), text(), any::<u32>(), any::<u64>()).prop_map(|(action, exe, reason, uid, duration_ns)| {
            Detail::Operator(Operator { action, exe, reason, uid, login_uid: uid, duration_ns, ..Operator::default() })
        }),
    ]
}

fn in_agent() -> impl Strategy<Value = InAgent> {
    (bytes(), bytes()).prop_map(|(path, target)| InAgent { path, target })
}

fn repeat() -> impl Strategy<Value = Repeat> {
    (any::<[u64; 5]>()).prop_map(|[of, count, total, start_time, end_time]| Repeat { of, count, total, start_time, end_time })
}

pub(crate) fn entry() -> impl Strategy<Value = Entry> {
    let head = (any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>());
    let names = (text(), text(), text(), text(), text());
    let redacted = (text(), any::<u32>()).prop_map(|(rule, count)| Redaction { rule, count });
    let head = (head, vec(redacted, 0..3));
    (head, names, 0..9_i32, option::of(process()), option::of(repeat()), option::of(in_agent()), option::of(detail())).prop_map(|((h, redacted), n, verdict, process, repeat, in_agent, detail)| {
        Entry {
            seq: h.0,
            time: h.1,
            kind: h.2,
            event: Event {
                verdict,
                agent: n.0,
                session: n.1,
                rule: n.2,
                image: n.3,
                reason: n.4,
                generation: h.3,
                process,
                kernel_seq: h.0,
                repeat,
                in_agent,
                redacted,
                detail,
            },
            undecoded: None,
            unread: String::new(),
        }
    })
}

proptest! {
    #[test]
    fn json_loses_nothing_and_speaks_to_no_terminal(entry in entry()) {
        let line = line(&entry);
        prop_assert!(!line.chars().any(is_unsafe), "{line:?}");
        prop_assert_eq!(saved::parse(&line).unwrap(), entry);
    }

    #[test]
    fn a_short_line_is_one_line_and_speaks_to_no_terminal(entry in entry()) {
        let line = short::line(&entry, &PLAIN);
        prop_assert!(!line.chars().any(is_unsafe), "{line:?}");
    }

    #[test]
    fn any_body_is_shown_in_every_format(body in vec(any::<u8>(), 0..200), kind in any::<u32>()) {
        let entry = Entry::decode(1, 2, kind, &body);
        prop_assert!(!short::line(&entry, &PLAIN).is_empty());
        prop_assert_eq!(saved::parse(&line(&entry)).unwrap(), entry);
    }

    #[test]
    fn any_line_is_answered(text in ".{0,80}") {
        let _ = saved::parse(&text);
    }
}
