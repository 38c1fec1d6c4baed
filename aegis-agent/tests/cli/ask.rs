//! Everything but `aegis run`: questions to the daemon, and what is said of the answers.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
};

use tonic::Status;

use crate::fake::{Daemon, Script, bare, outcome, record};

fn with_events() -> Daemon {
    let events = vec![record(0, 1, b"/work/a"), record(1, 3, b"/etc/shadow"), record(2, 3, b"/tmp/\x1b[2J\xff")];
    Daemon::start(Script { events, ..Script::default() })
}

#[test]
fn entries_from_the_daemon_are_shown_in_every_format() {
    let daemon = with_events();
    let (code, json, _) = outcome(&mut daemon.aegis(&["events", "-o", "json"]));
    assert_eq!((code, json.lines().count()), (0, 3));
    let last: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!(last["file"]["path_b64"], "L3RtcC8bWzJK/w==");
    let (_, short, _) = outcome(&mut daemon.aegis(&["events"]));
    assert!(!short.contains('\u{1b}') && short.contains(r"/tmp/\x1b[2J\xff"), "{short}");
}

#[test]
fn the_daemon_is_asked_with_all_filters_and_not_trusted_with_them() {
    let daemon = with_events();
    let words = ["events", "-n", "5", "-r", "-k", "file", "--verdict", "deny", "--path", "/etc", "--pid", "42", "--agent", "coder",
        "--rule", "fs.deny.1", "--after-seq", "0", "-S", "@1", "--reason", "audit 7", "-o", "json"];
    let (code, out, _) = outcome(&mut daemon.aegis(&words));
    // The played daemon filters by sequence alone: the rest is held against each entry here.
    assert_eq!((code, out.lines().count()), (0, 1));
    let asked = &daemon.asked().events[0];
    // The daemon's globs are plainer: it cannot count for us when there is one.
    assert_eq!((asked.last, asked.reverse, asked.after_seq), (0, true, Some(0)));
    assert_eq!((asked.kinds.as_slice(), asked.verdicts.as_slice()), (&["file".to_owned()][..], &["deny".to_owned()][..]));
    assert_eq!((asked.path_glob.as_str(), asked.agent.as_str(), asked.rule.as_str()), ("/etc**", "coder", "fs.deny.1"));
    assert_eq!((asked.pids.as_slice(), asked.since_unix_ns, asked.reason.as_str()), (&[42][..], 1_000_000_000, "audit 7"));
}

#[test]
fn the_last_few_below_a_path_are_counted_here() {
    let mut events: Vec<_> = (0..20).map(|seq| record(seq, 3, if seq % 2 == 0 { b"/etc/a" } else { b"/etcetera" })).collect();
    events.push(record(20, 3, b"/srv"));
    let daemon = Daemon::start(Script { events, ..Script::default() });
    let seqs = |words: &[&str]| -> Vec<u64> {
        let (_, out, _) = outcome(daemon.aegis(&["events", "-o", "json"]).args(words));
        out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap()).collect()
    };
    assert_eq!(seqs(&["--path", "/etc", "-n", "2"]), [16, 18]);
    assert_eq!(seqs(&["--path", "/etc", "-n", "2", "-r"]), [18, 16]);
    assert_eq!(seqs(&["-n", "0"]), [0_u64; 0]);
    assert_eq!(daemon.asked().events[0].last, 0);
}

#[test]
fn following_shows_entries_at_once_and_goes_on() {
    let daemon = with_events();
    let mut child = daemon.aegis(&["events", "-f", "-o", "json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for seq in 0..3 {
        let entry: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(entry["seq"], seq);
    }
    assert!(child.try_wait().unwrap().is_none(), "it waits for more");
    assert_eq!(daemon.asked().events[0].last, 10);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_cursor_goes_on_where_the_last_run_was() {
    let daemon = with_events();
    let file = daemon.path("reader.cursor");
    let words = ["events", "-o", "json", "--cursor-file", file.to_str().unwrap()];
    assert_eq!(outcome(&mut daemon.aegis(&words)).1.lines().count(), 3);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("aegis-cursor 1 chain={} seq=2\n", "ab".repeat(16)));
    assert_eq!(outcome(&mut daemon.aegis(&words)).1, "");
    std::fs::write(&file, "aegis-cursor 1 chain=00 seq=2\n").unwrap();
    let (code, _, message) = outcome(&mut daemon.aegis(&words));
    assert_eq!(code, 2);
    assert!(message.contains("belongs to log 00"), "{message}");
}

#[test]
fn a_saved_log_is_piped_in_and_an_idle_pipe_is_not_one() {
    let daemon = with_events();
    let (_, saved, _) = outcome(&mut daemon.aegis(&["events", "-o", "json"]));
    let mut child = bare(&["events", "-o", "json", "--verdict", "deny"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(saved.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let expected: String = saved.lines().skip(1).map(|line| format!("{line}\n")).collect();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);

    // Nothing is written and nothing closed: as many callers leave it.
    let mut child = bare(&["events"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let held = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(held);
    assert!(String::from_utf8(output.stderr).unwrap().contains("nothing comes through standard input"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let events = (0..5000).map(|seq| record(seq, 3, b"/etc/shadow")).collect();
    let daemon = Daemon::start(Script { events, ..Script::default() });
    let mut child = daemon.aegis(&["events"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn kill_reports_the_times_and_whether_all_stand_still() {
    let daemon = Daemon::start(Script::default());
    let (code, out, _) = outcome(&mut daemon.aegis(&["kill", "coder", "--reason", "odd"]));
    assert_eq!(code, 0);
    assert_eq!(out, "killed coder (coder-1): everything denied after 40 µs, 4 tasks frozen after 2.5 ms, entry 7\n");
    assert_eq!(daemon.asked().killed[0].reason, "odd");
    let (_, out, _) = outcome(&mut daemon.aegis(&["kill", "coder", "-o", "json"]));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&json[0]["frozen"], &json[0]["frozen_ns"], &json[0]["tasks"]), (&true.into(), &2_500_000.into(), &4.into()));
    assert_eq!(outcome(&mut daemon.aegis(&["kill", "nobody"])).0, 1);
    assert_eq!(outcome(&mut daemon.aegis(&["thaw", "coder"])), (0, "thawed coder-1\n".to_owned(), String::new()));
    assert_eq!(outcome(&mut daemon.aegis(&["thaw", "nobody"])).0, 1);
}

#[test]
fn a_kill_that_did_not_freeze_is_not_called_one() {
    let daemon = Daemon::start(Script { not_frozen: true, ..Script::default() });
    let (code, out, _) = outcome(&mut daemon.aegis(&["kill", "coder"]));
    assert_eq!(code, 3);
    assert!(out.contains("NOT frozen"), "{out}");
}

#[test]
fn agents_and_status_are_shown() {
    let daemon = Daemon::start(Script::default());
    let (code, out, _) = outcome(&mut daemon.aegis(&["agents"]));
    assert_eq!(code, 0);
    assert!(out.contains(r"cod\x1ber") && out.contains("running"), "{out}");
    let (_, out, _) = outcome(&mut daemon.aegis(&["agents", "-o", "json"]));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()[0]["name"], "cod\u{1b}er");
    let (code, out, _) = outcome(&mut daemon.aegis(&["status", "-o", "json"]));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["counters"]["lost_file"], &json["hooks"][0]["attached"]), (0, &5.into(), &true.into()));
    assert!(outcome(&mut daemon.aegis(&["log", "checkpoint"])).1.starts_with("aegis/ab\n3\n"));
}

#[test]
fn a_daemon_that_enforces_nothing_is_an_honest_no() {
    let daemon = Daemon::start(Script { mode: "audit".to_owned(), ..Script::default() });
    let (code, out, _) = outcome(&mut daemon.aegis(&["status"]));
    assert_eq!(code, 1);
    assert!(out.contains("NOTHING IS ENFORCED: no BPF LSM"), "{out}");
}

#[test]
fn without_a_daemon_the_code_is_3_and_the_message_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    for words in [&["agents"][..], &["status"], &["kill", "x"], &["thaw", "x"], &["events"], &["log", "checkpoint"],
        &["log", "receipt", "0"], &["log", "prove", "1"]]
    {
        let mut command = bare(&["--socket", socket.to_str().unwrap()]);
        let (code, out, message) = outcome(command.args(words));
        assert_eq!((code, out.as_str()), (3, ""), "{words:?}");
        assert!(message.contains("systemctl start aegisd"), "{message}");
    }
}

#[test]
fn wrong_usage_is_2_except_for_run() {
    for (words, expected) in [(&["events", "-o", "xml"][..], 2), (&["nonsense"], 2), (&["run"], 125), (&["events", "-S", "soon"], 2),
        (&["verify", "--dir", "/nonexistent"], 2), (&["--help"], 0), (&["run", "--help"], 0)]
    {
        assert_eq!(outcome(&mut bare(words)).0, expected, "{words:?}");
    }
}

#[test]
fn colours_never_leave_for_a_pipe() {
    let daemon = with_events();
    assert!(!outcome(&mut daemon.aegis(&["events"])).1.contains('\u{1b}'));
}

#[test]
fn completions_and_man_pages_come_from_the_definitions() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = outcome(&mut bare(&["completions", shell]));
        assert!(code == 0 && out.contains("audit-only"), "{shell}");
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(outcome(bare(&["man"]).arg(dir.path())).0, 0);
    let page = std::fs::read_to_string(dir.path().join("aegis-run.1")).unwrap();
    assert!(page.contains("audit") && page.contains(".TH aegis-run 1"), "{page}");
    assert!(!dir.path().join("aegis-man.1").exists());
}

#[test]
fn what_the_daemon_says_is_escaped_too() {
    let daemon = Daemon::start(Script { refuse_create: Some(Status::invalid_argument("a\x1b[2J\nb")), ..Script::default() });
    let (code, _, message) = outcome(&mut daemon.run(&["--", "true"]));
    assert_eq!((code, message.as_str()), (125, "aegis: a\\x1b[2J\naegis: b\n"));
}

#[test]
fn who_reads_where_two_people_do_asks_and_another_decides() {
    let daemon = Daemon::start(Script::default());
    let (code, out, _) = outcome(&mut daemon.aegis(&["log", "access", "--reason", "incident 7", "--for", "30m"]));
    assert_eq!(code, 0);
    assert_eq!(out, "request 7: within 1h 0min another person has to run `aegis approvals approve 7`; then you read for 30min 0s\n");
    let (code, out, _) = outcome(&mut daemon.aegis(&["approvals", "list"]));
    assert_eq!(code, 0);
    assert!(out.contains("uid 4000000000") && out.contains("waits") && out.contains("approved by uid 4000000001"), "{out}");
    assert!(!out.contains('\u{1b}') && out.contains(r"incident \x1b[2J7"), "{out}");
    let (code, out, _) = outcome(&mut daemon.aegis(&["approvals", "approve", "7", "-o", "json"]));
    let decided: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &decided["approved_by"], &decided["for_seconds"]), (0, &4_000_000_001_u64.into(), &3600.into()));
    let (code, out, _) = outcome(&mut daemon.aegis(&["approvals", "deny", "7", "--reason", "no"]));
    assert_eq!((code, out.as_str()), (0, "denied: request 7 of uid 4000000000\n"));
    let (code, _, err) = outcome(&mut daemon.aegis(&["approvals", "approve", "8"]));
    assert!(code == 1 && err.contains("another person"), "{code} {err}");
    for wrong in [&["log", "access"][..], &["log", "access", "--reason", "r", "--for", "30"], &["approvals", "approve", "x"]] {
        assert_eq!(outcome(&mut daemon.aegis(wrong)).0, 2, "{wrong:?}");
    }
}
