//! `aegis report`: over a real log, a saved one and a daemon, and with what exit status.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use aegis_agent::proto::event::{Agent, Event, File, Kind, Loss, Repeat, Traffic, Usage, Verdict, event::Detail};
use aegis_log::{Writer, WriterOptions};
use prost::Message as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::fake::{Daemon, Script, bare, outcome, record};

const START: u64 = 1_795_132_800_000_000_000;
/// Distinct names that a list keeps.
const KEPT: u64 = 512;

/// A log, one entry a second.
struct Log {
    dir: TempDir,
    entries: Vec<(Kind, Event)>,
}

impl Log {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), entries: Vec::new() }
    }

    fn of(mut self, session: &str, kind: Kind, verdict: Verdict, detail: Detail) -> Self {
        let (agent, session) = if session.is_empty() { ("", "") } else { ("coder", session) };
        let event = Event { verdict: verdict as i32, agent: agent.into(), session: session.into(), detail: Some(detail), ..Event::default() };
        self.entries.push((kind, event));
        self
    }

    fn state(self, session: &str, agent: Agent) -> Self {
        self.of(session, Kind::Agent, Verdict::Unspecified, Detail::AgentState(agent))
    }

    fn started(self, session: &str) -> Self {
        self.state(session, Agent { state: "started".into(), argv: vec![b"sh".to_vec(), b"\x1b]0;x\x07".to_vec()], ..Agent::default() })
    }

    fn ended(self, session: &str) -> Self {
        let traffic = Some(Traffic { bytes_out: 1_500, bytes_in: 20, ..Traffic::default() });
        let usage = Some(Usage { cpu_usec: 1_500_000, memory_peak: 2_000_000, pids_peak: 3, traffic, ..Usage::default() });
        self.state(session, Agent { state: "ended".into(), exit_code: 3, duration_ns: 2_000_000_000, usage, ..Agent::default() })
    }

    fn file(self, session: &str, verdict: Verdict, op: &str, path: &[u8]) -> Self {
        self.of(session, Kind::File, verdict, Detail::File(File { op: op.into(), path: path.to_vec(), ..File::default() }))
    }

    fn again(mut self, count: u64) -> Self {
        if let Some((_, event)) = self.entries.last_mut() {
            event.repeat = Some(Repeat { of: 1, count, total: count, start_time: START, end_time: START + 1 });
        }
        self
    }

    fn lost(self, count: u64) -> Self {
        self.of("", Kind::Loss, Verdict::Unspecified, Detail::Loss(Loss { kind: "lost_file".into(), count, total: count, ..Loss::default() }))
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn write(self) -> Self {
        let options = WriterOptions::new(self.path(), self.dir.path().join("log.key"), [7; 16]);
        let (mut writer, _) = Writer::open(&options).unwrap();
        for (second, (kind, event)) in (0..).zip(&self.entries) {
            writer.append(*kind as u32, START + second * 1_000_000_000, &event.encode_to_vec()).unwrap();
        }
        writer.commit().unwrap();
        writer.close().unwrap();
        self
    }
}

fn a_day() -> Log {
    Log::new()
        .started("s1")
        .file("s1", Verdict::Deny, "read", b"/etc/\x1b[2J\xffshadow")
        .file("s1", Verdict::Deny, "read", b"/etc/\x1b[2J\xffshadow")
        .again(41)
        .file("s1", Verdict::Allow, "write", b"/work/out")
        .ended("s1")
        .started("s2")
        .file("s2", Verdict::Allow, "read", b"/work/in")
        .write()
}

fn report(dir: &Path, words: &[&str]) -> Command {
    let mut command = bare(&["report", "--utc", "--dir"]);
    command.arg(dir).args(words);
    command
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn no_terminal_is_spoken_to(text: &str) {
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
}

#[test]
fn one_session_of_a_folder_is_told_whole() {
    let log = a_day();
    let (code, shown, message) = outcome(&mut report(&log.path(), &["s1"]));
    assert_eq!((code, message.as_str()), (0, ""));
    no_terminal_is_spoken_to(&shown);
    for expected in [
        "coder  session s1",
        r"command   sh \x1b]0;x\x07",
        "exit 3",
        "events    45: 1 allowed, 42 denied",
        "1.5 kB sent",
        r"  42     deny     read  /etc/\x1b[2J\xffshadow",
        "written: 1 time",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert!(!shown.contains("s2") && shown.lines().count() < 25, "{shown}");
}

#[test]
fn json_keeps_the_exact_bytes_and_adds_up() {
    let log = a_day();
    let (code, out, _) = outcome(&mut report(&log.path(), &["coder", "-o", "json"]));
    assert_eq!(code, 0);
    no_terminal_is_spoken_to(&out);
    let told = parsed(&out);
    assert_eq!((&told["schema"], &told["complete"], told["sessions"].as_array().unwrap().len()), (&1.into(), &true.into(), 2));
    let session = &told["sessions"][0];
    let decision = &session["did"]["decisions"]["kept"][0];
    assert_eq!((&session["denied"], &decision["count"]), (&42.into(), &42.into()));
    assert_eq!(decision["object_b64"], "L2V0Yy8bWzJK/3NoYWRvdw==");
    assert_eq!((&session["state"], &session["exit"]["code"], &session["used"]["memory_peak"]), (&"ended".into(), &3.into(), &2_000_000.into()));
    assert_eq!((&told["sessions"][1]["state"], &told["sessions"][1]["used"]), (&"running".into(), &Value::Null));
}

#[test]
fn without_an_agent_a_line_for_each_and_the_denied_first() {
    let log = a_day();
    let (code, shown, _) = outcome(&mut report(&log.path(), &[]));
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!((code, lines.len()), (0, 3), "{shown}");
    assert!(lines[1].contains("s1") && lines[1].contains("42") && lines[1].contains("exit 3"), "{shown}");
    assert!(lines[2].contains("s2") && lines[2].contains("no end in the log"), "{shown}");
    let (_, since, _) = outcome(&mut report(&log.path(), &["--since", "@1795132805"]));
    assert_eq!(since.lines().count(), 2, "{since}");
}

#[test]
fn more_names_than_are_kept_are_counted_to_the_last() {
    let many = KEPT + 90;
    let log = (0..many).fold(Log::new(), |log, n| log.file("s1", Verdict::Allow, "create", format!("/work/{n}").as_bytes()).again(3)).write();
    let list = &parsed(&outcome(&mut report(&log.path(), &["s1", "-o", "json"])).1)["sessions"][0]["did"]["created"];
    assert_eq!(list["kept"].as_array().unwrap().len() as u64, KEPT);
    assert_eq!((&list["others"]["distinct"], &list["others"]["count"]), (&90.into(), &270.into()));
    let (_, shown, _) = outcome(&mut report(&log.path(), &["s1", "-n", "4"]));
    assert!(shown.contains("/work/  (512 names in it)") && shown.contains("and 90 others: 270 times"), "{shown}");
}

#[test]
fn a_report_with_losses_says_so_and_exits_as_not_complete() {
    let log = Log::new().started("s1").lost(5).ended("s1").write();
    let (code, shown, message) = outcome(&mut report(&log.path(), &["coder"]));
    assert_eq!(code, 3);
    assert!(shown.starts_with("NOT COMPLETE: 5 records") && shown.contains("LOST      5 records while it ran"), "{shown}");
    assert!(message.contains("not complete: 5 records"), "{message}");
    let (code, out, _) = outcome(&mut report(&log.path(), &["-o", "json"]));
    let told = parsed(&out);
    assert_eq!((code, &told["complete"], &told["records_lost"]), (3, &false.into(), &5.into()));
    assert_eq!(told["sessions"][0]["lost"][0]["count"], 5);
}

#[test]
fn nobody_of_that_name_is_a_no_and_no_log_an_error() {
    let log = a_day();
    let (code, out, message) = outcome(&mut report(&log.path(), &["nobody\u{1b}[2J"]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(message.contains("aegis report") && !message.contains('\u{1b}'), "{message}");
    assert_eq!(outcome(&mut report(Path::new("/nonexistent"), &["coder"])).0, 2);
    assert_eq!(outcome(&mut report(&log.path(), &["--since", "soon"])).0, 2);
}

#[test]
fn a_saved_log_gives_the_same_and_what_is_no_entry_is_an_error() {
    let log = a_day();
    let (_, saved, _) = outcome(bare(&["events", "-o", "json", "--dir"]).arg(log.path()));
    let direct = outcome(&mut report(&log.path(), &["coder", "-o", "json"])).1;
    let through = |text: &str| {
        let mut command = bare(&["report", "coder", "-o", "json", "--input", "-"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(through(&saved), (Some(0), direct));
    let (code, told) = through(&format!("{saved}nonsense\n"));
    assert_eq!((code, &parsed(&told)["complete"]), (Some(2), &false.into()));
}

#[test]
fn the_daemon_is_asked_for_the_agent_and_for_losses() {
    let loss = Event { detail: Some(Detail::Loss(Loss { kind: "lost_file".into(), count: 2, total: 2, ..Loss::default() })), ..Event::default() };
    let lost = aegis_agent::proto::control::EventRecord { kind: 100, body: loss.encode_to_vec(), ..record(2, 0, b"") };
    let events = vec![record(0, 1, b"/work/a"), record(1, 3, b"/etc/shadow"), lost];
    let daemon = Daemon::start(Script { events, ..Script::default() });
    let (code, out, _) = outcome(&mut daemon.aegis(&["report", "coder-1", "--since", "@1", "--reason", "page 7", "-o", "json"]));
    let told = parsed(&out);
    // The played daemon filters by sequence alone: each answer holds everything, and nothing is counted twice.
    assert_eq!((code, &told["sessions"][0]["denied"], &told["sessions"][0]["allowed"]), (3, &1.into(), &1.into()));
    assert_eq!(told["records_lost"], 2);
    let asked = daemon.asked().events;
    let (first, second) = (&asked[0], &asked[1]);
    assert_eq!((asked.len(), first.agent.as_str(), second.agent.as_str()), (2, "coder-1", ""));
    assert_eq!((first.kinds.len(), second.kinds.as_slice()), (0, &["loss".to_owned()][..]));
    assert!(asked.iter().all(|request| request.reason == "page 7" && request.since_unix_ns == 1_000_000_000));
}
