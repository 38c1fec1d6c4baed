//! `aegis run` as a parent: exit codes, signals, descriptors, job control.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::fd::AsRawFd as _,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tonic::Status;

use crate::fake::{Daemon, Script, bare, outcome};

fn daemon() -> Daemon {
    Daemon::start(Script::default())
}

fn until(what: &str, mut check: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !check() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn signal(pid: u32, signal: &str) {
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status().unwrap();
    assert!(sent.success());
}

/// Starts a script and waits for its first line.
fn started(daemon: &Daemon, script: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = daemon.run(&["--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, out)
}

#[test]
fn exit_codes_are_those_of_the_command() {
    let daemon = daemon();
    for (script, expected) in [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137)] {
        assert_eq!(outcome(&mut daemon.run(&["--", "sh", "-c", script])), (expected, String::new(), String::new()), "{script}");
    }
    let finished: Vec<_> = daemon.asked().finished.iter().map(|end| (end.exit_code, end.exit_signal)).collect();
    assert_eq!(finished, [(0, 0), (7, 0), (255, 0), (0, 15), (0, 9)]);
}

#[test]
fn a_command_that_cannot_run_is_126_or_127() {
    let daemon = daemon();
    let plain = daemon.path("plain");
    fs::write(&plain, "no program").unwrap();
    let (code, _, message) = outcome(&mut daemon.run(&["--", plain.to_str().unwrap()]));
    assert_eq!(code, 126);
    assert!(message.contains("permission denied, by its mode or by the policy"), "{message}");
    let (code, _, message) = outcome(&mut daemon.run(&["--", "there-is-no-such-program"]));
    assert_eq!(code, 127);
    assert!(message.contains("no such program"), "{message}");
    assert_eq!(daemon.asked().finished.len(), 2);
}

#[test]
fn what_aegis_itself_cannot_do_is_125_and_nothing_runs() {
    let ran = tempfile::tempdir().unwrap();
    let mark = ran.path().join("ran");
    let touch = ["--", "touch", mark.to_str().unwrap()];
    let refusing = Script { refuse_create: Some(Status::invalid_argument("agent.yaml:4:3: error: unknown key\n  help: write read")), ..Script::default() };
    let (code, _, message) = outcome(&mut Daemon::start(refusing).run(&touch));
    assert_eq!(code, 125);
    assert!(message.contains("aegis: agent.yaml:4:3: error") && message.contains("help: write read"), "{message}");

    let not_admitting = Daemon::start(Script { refuse_admit: Some(Status::internal("no cgroup")), ..Script::default() });
    assert_eq!(outcome(&mut not_admitting.run(&touch)).0, 125);
    assert_eq!(not_admitting.asked().finished.len(), 1, "the daemon is told that nothing ran");

    let daemon = daemon();
    assert_eq!(outcome(daemon.aegis(&["run", "--policy", "/nonexistent"]).args(touch)).0, 125);
    assert_eq!(outcome(&mut daemon.run(&["--pass-fd", "77", "--", "true"])).0, 125);
    assert!(daemon.asked().created.is_empty());
    let socket = ran.path().join("none");
    assert_eq!(outcome(bare(&["--socket", socket.to_str().unwrap(), "run", "--policy", "/dev/null"]).args(touch)).0, 125);
    assert!(!mark.exists());
}

#[test]
fn the_daemon_learns_what_runs_and_admits_the_child_before_it() {
    let daemon = daemon();
    let (_, out, _) = outcome(&mut daemon.run(&["--name", "other", "--", "sh", "-c", "echo $$"]));
    let asked = daemon.asked();
    assert_eq!(out.trim().parse(), Ok(asked.admitted[0]), "the child admitted is the process that became the command");
    let created = &asked.created[0];
    assert_eq!((created.name.as_str(), created.argv[0].as_slice(), created.audit_only), ("other", &b"sh"[..], false));
    assert!(created.manifest.starts_with(b"version") && created.manifest_path.ends_with("policy.yaml"));
    assert_eq!(asked.finished[0].session, "coder-1");
}

#[test]
fn a_daemon_that_is_just_leaving_is_asked_again() {
    let daemon = Daemon::start(Script { leaving: 2, ..Script::default() });
    assert_eq!(outcome(&mut daemon.run(&["--", "true"])).0, 0);
    let daemon = Daemon::start(Script { leaving: 100, ..Script::default() });
    assert_eq!(outcome(&mut daemon.run(&["--", "true"])).0, 125);
}

#[test]
fn descriptors_above_2_are_closed_unless_passed() {
    let daemon = daemon();
    let socket = daemon.socket();
    let policy = daemon.path("policy.yaml");
    let list = "import os; print(sorted(int(f) for f in os.listdir('/proc/self/fd')))";
    // The shell opens descriptors as a careless caller would; the listing itself takes the lowest free one.
    let shell = |pass: &str| {
        let script = format!("exec 5</dev/null 7</dev/null; exec \"$0\" --socket {} run --policy {} {pass} -- python3 -SBc \"$1\"", socket.display(), policy.display());
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_aegis")).arg(list).stdin(Stdio::null());
        outcome(&mut command).1
    };
    assert_eq!(shell(""), "[0, 1, 2, 3]\n");
    assert_eq!(shell("--pass-fd 7"), "[0, 1, 2, 3, 7]\n");
    assert_eq!(shell("--pass-fd 5 --pass-fd 7"), "[0, 1, 2, 3, 5, 7]\n");
}

#[test]
fn streams_environment_and_arguments_pass_through() {
    let daemon = daemon();
    let script = "read word; echo \"$word|$1|$MARK|$TMPDIR\"; echo err >&2";
    let mut child = daemon
        .run(&["--", "sh", "-c", script, "sh", "a b*"])
        .env("MARK", "kept")
        .env("TMPDIR", "/elsewhere")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"in\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("in|a b*|kept|{}\n", daemon.path("tmp").display()));
    assert_eq!(output.stderr, b"err\n");
}

#[test]
fn privileges_cannot_be_raised_when_the_policy_says_so() {
    let ask = ["--", "grep", "NoNewPrivs", "/proc/self/status"];
    let strict = Daemon::start(Script { no_new_privs: true, ..Script::default() });
    assert_eq!(outcome(&mut strict.run(&ask)).1, "NoNewPrivs:\t1\n");
    let forced = if nix::unistd::geteuid().is_root() { "NoNewPrivs:\t0\n" } else { "NoNewPrivs:\t1\n" };
    assert_eq!(outcome(&mut daemon().run(&ask)).1, forced);
}

#[test]
fn dispositions_are_the_callers_own() {
    // Rust ignores SIGPIPE in aegis; the command must find it as usual, and everything else as a
    // command that is started without aegis finds it.
    let ask = ["-E", "SigIgn|SigBlk", "/proc/self/status"];
    let plain = outcome(Command::new("/usr/bin/env").args(["--default-signal", "grep"]).args(ask));
    let (code, out, _) = outcome(daemon().run(&["--", "grep"]).args(ask));
    assert_eq!((code, out), (plain.0, plain.1));
}

#[test]
fn signals_sent_to_run_reach_the_command() {
    let daemon = daemon();
    for (name, expected) in [("TERM", 40), ("HUP", 41), ("USR1", 42), ("USR2", 43), ("INT", 44), ("QUIT", 45)] {
        let script = "trap 'exit 40' TERM; trap 'exit 41' HUP; trap 'exit 42' USR1; trap 'exit 43' USR2; trap 'exit 44' INT; \
            trap 'exit 45' QUIT; echo ready; while :; do sleep 0.02; done";
        let (mut child, _out) = started(&daemon, script);
        signal(child.id(), name);
        assert_eq!(child.wait().unwrap().code(), Some(expected), "{name}");
    }
}

#[test]
fn a_signal_that_ends_the_command_ends_run_as_a_shell_tells_it() {
    let daemon = daemon();
    let (mut child, _out) = started(&daemon, "echo ready; exec sleep 60");
    signal(child.id(), "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn the_command_does_not_outlive_run() {
    let daemon = daemon();
    let (mut child, mut out) = started(&daemon, "echo ready; echo $$; exec sleep 60");
    let mut pid = String::new();
    out.read_line(&mut pid).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    until("the command lives on", || !std::path::Path::new("/proc").join(pid.trim()).exists());
}

#[test]
fn a_daemon_that_dies_meanwhile_changes_no_exit_code() {
    let mut daemon = daemon();
    let mut child = daemon
        .run(&["--", "sh", "-c", "echo ready; read x; exit 9"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    daemon.die();
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(9));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("could not be told") && message.contains("stayed governed"), "{message}");
}

#[test]
fn a_daemon_that_was_restarted_meanwhile_is_told_the_end() {
    let daemon = daemon();
    let mut child = daemon
        .run(&["--", "sh", "-c", "echo ready; read x; exit 9"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let daemon = daemon.restart(Script { ended_by: "kill".to_owned(), ..Script::default() });
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(9), &b"aegis: agent coder was ended by aegis kill\n"[..]));
    assert_eq!(daemon.asked().finished[0].exit_code, 9);
}

#[test]
fn who_ended_the_agent_is_told_in_one_line() {
    for (ended_by, expected) in [("kill", "aegis: agent coder was ended by aegis kill\n"), ("execution_time", "aegis: agent coder was ended: its execution_time is used up\n")] {
        let daemon = Daemon::start(Script { ended_by: ended_by.to_owned(), ..Script::default() });
        assert_eq!(outcome(&mut daemon.run(&["--", "sh", "-c", "kill -KILL $$"])), (137, String::new(), expected.to_owned()));
    }
}

#[test]
fn audit_only_never_speaks_without_saying_what_it_is() {
    let daemon = Daemon::start(Script { mode: "audit".to_owned(), ended_by: "kill".to_owned(), ..Script::default() });
    for command in ["true", "there-is-no-such-program"] {
        let (_, _, message) = outcome(&mut daemon.run(&["--audit-only", "--", command]));
        assert!(message.lines().count() >= 2, "{message}");
        assert!(message.lines().all(|line| line.contains("nothing is enforced")), "{message}");
    }
    assert!(daemon.asked().created.iter().all(|created| created.audit_only));
}

#[test]
fn audit_only_is_not_claimed_of_a_daemon_that_enforces() {
    let daemon = daemon();
    let (code, out, message) = outcome(&mut daemon.run(&["--audit-only", "--", "echo", "ran"]));
    assert_eq!((code, out.as_str()), (125, ""));
    assert!(message.contains("would enforce"), "{message}");
    assert_eq!(daemon.asked().finished.len(), 1);
}

#[test]
fn what_the_daemon_warns_of_is_said_before_the_command_runs() {
    let daemon = Daemon::start(Script { warnings: vec!["a link was\u{1b} not followed".to_owned()], ..Script::default() });
    let (_, _, message) = outcome(&mut daemon.run(&["--", "sh", "-c", "echo ran >&2"]));
    assert_eq!(message, "aegis: a link was\\x1b not followed\nran\n");
}

#[test]
fn a_frozen_agent_is_waited_for_and_the_person_is_told_why() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cgroup.events"), "populated 1\nfrozen 1\n").unwrap();
    let daemon = Daemon::start(Script { cgroup: dir.path().display().to_string(), ..Script::default() });
    let mut child = daemon
        .run(&["--", "sh", "-c", "trap '' INT; echo ready; read x; exit 3"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    signal(child.id(), "INT");
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("is frozen by aegis kill") && line.contains("aegis thaw coder"), "{line}");
    assert!(child.try_wait().unwrap().is_none());
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

/// On a terminal of its own: Ctrl-Z stops both, `fg` continues both, Ctrl-C reaches the command once.
#[test]
fn job_control_on_a_terminal_is_that_of_a_plain_command() {
    let daemon = daemon();
    let script = r#"
import os, pty, signal, sys, time
signal.alarm(120)
words = sys.argv[1:]
pid, master = pty.fork()
if pid == 0:
    os.execv(words[0], words)
def read(until):
    got = b""
    while until not in got:
        got += os.read(master, 1000)
    return got
def state(p):
    with open(f"/proc/{p}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[0]
def wait_state(p, wanted):
    end = time.monotonic() + 20
    while state(p) != wanted:
        assert time.monotonic() < end, (p, state(p), wanted)
        time.sleep(0.01)
first = read(b"ready")
child = int(first.split(b"=")[1].split()[0])
group = os.getpgid(pid)
assert os.getpgid(child) == group and os.tcgetpgrp(master) == group, "one group in the foreground"
# As the leader of a session has no shell above it, the stop is sent as a shell's user would send it.
os.kill(child, signal.SIGSTOP)
wait_state(child, "T")
wait_state(pid, "T")
os.kill(pid, signal.SIGCONT)
wait_state(child, "S")
wait_state(pid, "S")
os.write(master, b"\x03")
read(b"once")
os.write(master, b"\x1c")
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;
    let inner = r#"
import os, signal, sys, time
count = 0
def once(*_):
    global count
    count += 1
    time.sleep(0.3)
    print("once" if count == 1 else "again", flush=True)
def last(*_):
    sys.exit(20 + count)
signal.signal(signal.SIGINT, once)
signal.signal(signal.SIGQUIT, last)
print(f"pid={os.getpid()} ready", flush=True)
while True:
    # Not pause(): a signal that comes just before it would be waited for again, for ever.
    time.sleep(0.05)
"#;
    let run = daemon.run(&["--", "python3", "-SBc", inner]);
    let words: Vec<_> = std::iter::once(run.get_program().to_owned()).chain(run.get_args().map(ToOwned::to_owned)).collect();
    let mut outer = Command::new("python3").arg("-SBc").arg(script).args(words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = String::new();
    outer.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert!(outer.wait().unwrap().success());
    assert_eq!(out, "21\n", "one SIGINT came, then SIGQUIT");
}

/// The terminal's settings are the same before, during and after.
#[test]
fn the_terminal_is_left_as_it_was() {
    let daemon = daemon();
    let pty = nix::pty::openpty(None, None).unwrap();
    let settings = |fd: &std::os::fd::OwnedFd| nix::sys::termios::tcgetattr(fd).map(|t| format!("{t:?}")).unwrap();
    let before = settings(&pty.slave);
    let mut child = daemon
        .run(&["--", "sh", "-c", "test -t 0 && exit 5"])
        .stdin(pty.slave.try_clone().unwrap())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5), "descriptor {} is a terminal inside too", pty.slave.as_raw_fd());
    assert_eq!(settings(&pty.slave), before);
}
