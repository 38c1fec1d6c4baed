//! A thousand manifests that are good but for one thing: the error names its line.
//!
//! A good manifest is generated, one line of it is replaced by one that breaks one rule of the
//! language, and exactly that line is reported.

use aegis_policy::check;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// A line of a manifest: its part of the language, indent and text.
#[derive(Clone, Debug)]
struct Line {
    part: &'static str,
    text: String,
}

fn line(part: &'static str, text: impl Into<String>) -> Line {
    Line {
        part,
        text: text.into(),
    }
}

/// A good manifest, line by line, with comments and blank lines strewn in.
fn good() -> impl Strategy<Value = Vec<Line>> {
    let dir = "/[a-z]{1,8}((/[a-z0-9._-]{1,8}x){0,4}|(/(\\*|\\*\\*|[a-z]{1,3}\\*|\\?\\[!a-c\\]|\\{[a-c]x,[d-f]\\*\\})){1,3}/[a-z]{1,4}x)";
    let lists = (
        vec(dir, 1..6),
        vec(dir, 1..6),
        vec(dir, 1..4),
        vec(dir, 1..4),
    );
    let nets = vec((0..255u8, 1..60_000u16), 1..5);
    let values = (1..900u32, 2..900u32, 1..64u32, 1..5000u32);
    (lists, nets, values, vec(0..12usize, 6)).prop_map(
        |((read, write, deny, run), nets, (time, memory, cpu, pids), blanks)| {
            let mut out = vec![
                line("version", "version: \"1.0\""),
                line("agent", "agent:"),
                line("name", "  name: \"agent-1\""),
                line("runtime", "  runtime: \"python:3.11\""),
                line("labels", "  labels: {team: payments}"),
                line("mode", "mode: enforce"),
                line("default", "default: deny"),
                line("baseline", "baseline: linux"),
                line("permissions", "permissions:"),
                line("fs", "  fs:"),
            ];
            for (key, part, paths) in [
                ("read", "fs.read", read),
                ("write", "fs.write", write),
                ("deny", "fs.deny", deny),
            ] {
                list(&mut out, key, part, &paths);
            }
            out.push(line("exec", "  exec:"));
            list(&mut out, "allow", "exec.allow", &run);
            out.push(line("anonymous", "    anonymous: deny"));
            out.push(line("network", "  network:"));
            out.push(line("network.allow", "    allow:"));
            for (n, (octet, port)) in nets.into_iter().enumerate() {
                out.push(line(
                    "cidr",
                    format!("      - {{cidr: 10.{octet}.{n}.0/24, ports: [{port}]}}"),
                ));
            }
            for (part, text) in [
                ("execution_time", format!("  execution_time: {time}s")),
                ("memory", format!("  memory: {memory}MB")),
                ("cpu_quota", format!("  cpu_quota: {cpu}.5")),
                ("pids", format!("  pids: {pids}")),
                ("kill", "kill: {action: freeze}".to_owned()),
            ] {
                out.push(line(part, text));
            }
            for at in blanks {
                out.insert(
                    at.min(out.len()),
                    line("blank", if at % 2 == 0 { "" } else { "# a comment" }),
                );
            }
            out
        },
    )
}

fn list(out: &mut Vec<Line>, key: &str, part: &'static str, paths: &[String]) {
    let mut seen: Vec<&String> = Vec::new();
    out.push(line(part, format!("    {key}:")));
    for path in paths {
        if !seen.contains(&path) {
            seen.push(path);
            out.push(line("path", format!("      - {path}")));
        }
    }
}

/// What to break: the part of the language, and the line that stands there instead.
const BREAKS: &[(&str, &str)] = &[
    ("version", "version: 1.0"),
    ("version", "version: \"2.0\""),
    ("version", "verson: \"1.0\""),
    ("name", "  name: \"a b\""),
    ("name", "  name: 7"),
    ("name", "  name: \"agent-1"),
    ("name", "  name: 'agent-1"),
    ("labels", "  labels: [team"),
    ("name", "  name: \"../x\""),
    ("runtime", "  runtme: \"python:3.11\""),
    ("runtime", "  runtime: [python]"),
    ("labels", "  labels: {team: yes}"),
    ("labels", "  labels: [team]"),
    ("labels", "  labels: {team: a, team: b}"),
    ("mode", "mode: learn"),
    ("mode", "mode: enforcing"),
    ("mode", "mode: [enforce]"),
    ("mode", "mode:"),
    ("mode", "moode: enforce"),
    ("mode", "bind: [{uid: 1500}]"),
    ("mode", "approvals: {timeout: 10m}"),
    ("mode", "degraded: {daemon_down: keep_last}"),
    ("default", "default: ask"),
    ("default", "default: true"),
    ("default", "mode: audit"),
    ("baseline", "baseline: hostile-code"),
    ("baseline", "baseline: debian"),
    ("baseline", "baseline: &b linux"),
    ("baseline", "baseline: !!str linux"),
    ("path", "      - relative/path"),
    ("path", "      - /a/../b"),
    ("path", "      - /a//b"),
    ("path", "      - /a/"),
    ("path", "      - \"\""),
    ("path", "      - 7"),
    ("path", "      - ~/x"),
    ("path", "      - \"/a/[b/c\""),
    ("path", "      - \"/a/b]\""),
    ("path", "      - \"/a/[^b]\""),
    ("path", "      - \"/a/[c-b]\""),
    ("path", "      - \"/a/[é]\""),
    ("path", "      - \"/a/{}\""),
    ("path", "      - \"/a/{b}\""),
    ("path", "      - \"/a/{b,c\""),
    ("path", "      - \"/a/b}\""),
    ("path", "      - /a/**b"),
    ("path", "      - /a/***"),
    ("path", "      - \"/a/{**,b}c\""),
    ("path", "      - \"/a\\0b\""),
    ("path", "      - [/a]"),
    ("path", "      - {pth: /a}"),
    ("path", "      - {id: x}"),
    ("path", "      - {path: /a, id: \"baseline:x\"}"),
    ("path", "      - {path: /a, id: \"a b\"}"),
    ("path", "      - {path: /a, mode: rw}"),
    ("path", "      -"),
    ("path", "      - *anchor"),
    ("path", "      - /a\u{200b}b"),
    ("path", "      - \"/a\\u202eb\""),
    ("path", "\t- /a"),
    ("fs.read", "    raed:"),
    ("fs.read", "    ask:"),
    ("anonymous", "    anonymous: maybe"),
    ("anonymous", "    anonymous: false"),
    ("anonymous", "    environment: {deny: [\"*\"]}"),
    ("anonymous", "    environment: {deny: [\"LD_*D\"]}"),
    ("anonymous", "    environment: {deny: [\"LD_PRELOAD=\"]}"),
    ("anonymous", "    environment: {deny: [LD_PRELOAD, LD_PRELOAD]}"),
    ("anonymous", "    environment: {deny: [A_NAME_THAT_IS_MUCH_LONGER_THAN_THE_NAMES_OF_VARIABLES_ARE]}"),
    ("anonymous", "    environment: [LD_PRELOAD]"),
    ("anonymous", "    environment: {allow: [HOME]}"),
    ("anonymous", "    write_execute: allow"),
    ("cidr", "      - {cidr: 10.1.2.3/8}"),
    ("cidr", "      - {cidr: 10.0.0.0/33}"),
    ("cidr", "      - {cidr: \"::ffff:10.0.0.1\"}"),
    ("cidr", "      - {cidr: 0.0.0.0}"),
    ("cidr", "      - {cidr: example.com}"),
    ("cidr", "      - {cidr: 10.0.0.0/8, ports: 443}"),
    ("cidr", "      - {cidr: 10.0.0.0/8, ports: [0]}"),
    ("cidr", "      - {cidr: 10.0.0.0/8, ports: [65536]}"),
    ("cidr", "      - {cidr: 10.0.0.0/8, ports: [0443]}"),
    ("cidr", "      - {cidr: 10.0.0.0/8, ports: [\"9-8\"]}"),
    ("cidr", "      - {cidr: 10.0.0.0/8, ports: [1, 1]}"),
    ("cidr", "      - {cidr: 10.0.0.0/8, ports: []}"),
    ("cidr", "      - {cidr: 10.0.0.0/8, protocol: icmp}"),
    ("cidr", "      - {cidr: 10.0.0.0/8, protcol: tcp}"),
    ("cidr", "      - {cidr: 10.0.0.0/8, exe: bin/psql}"),
    ("cidr", "      - {cidr: 10.0.0.0/8, exe: \"/usr/bin/psql*\"}"),
    ("cidr", "      - {unix: /run/x.sock, exe: /usr/bin/psql}"),
    ("cidr", "      - {cidr: 10.0.0.0/8, unix: /run/x}"),
    ("cidr", "      - {unix: /run/x, ports: [1]}"),
    ("cidr", "      - {unix: \"@x\"}"),
    ("cidr", "      - {host: example.com.}"),
    ("cidr", "      - {ports: [443]}"),
    ("cidr", "      - api.example.com:443"),
    ("cidr", "      - https://api.example.com/x"),
    ("cidr", "      - 10.0.0.0/8"),
    ("network", "  netwrok:"),
    ("execution_time", "  execution_time: 300"),
    ("execution_time", "  execution_time: 5 minutes"),
    ("execution_time", "  execution_time: 0s"),
    ("execution_time", "  execution_time: 400d"),
    ("execution_time", "  execution_tme: 300s"),
    ("memory", "  memory: 512"),
    ("memory", "  memory: 512M"),
    ("memory", "  memory: 1.5GB"),
    ("memory", "  memory: 010MB"),
    ("memory", "  memory: 1B"),
    ("memory", "  memory: [512MB]"),
    ("cpu_quota", "  cpu_quota: 50%"),
    ("cpu_quota", "  cpu_quota: -1"),
    ("cpu_quota", "  cpu_quota: .inf"),
    ("cpu_quota", "  cpu_quota: 1e3"),
    ("cpu_quota", "  cpu_quota:"),
    ("pids", "  pids: 0"),
    ("pids", "  pids: many"),
    ("pids", "  pids: 99999999999"),
    ("pids", "  syscalls: {deny: [moutn]}"),
    ("pids", "  syscalls: {deny: [execve]}"),
    ("pids", "  syscalls: {deny: [mount, mount]}"),
    ("pids", "  syscalls: {deny: mount}"),
    ("pids", "  syscalls: {allow: [mount]}"),
    ("pids", "  syscalls: [mount]"),
    ("pids", "  process: {no_new_privileges: yes}"),
    ("pids", "  process: {no_new_privileges: \"true\"}"),
    ("pids", "  process: {signal_others: allow}"),
    ("pids", "  process: {capabilities: [ALL]}"),
    ("pids", "  process: {capabilities: {drop: [CAP_NET_ROW]}}"),
    ("pids", "  process: {capabilities: {drop: []}}"),
    ("pids", "  process: {capabilities: {add: [ALL]}}"),
    ("pids", "  rates: {exec: {rate: 20/s}}"),
    ("pids", "  budgets: {connections: {daily: 1}}"),
    ("pids", "  windows: []"),
    ("pids", "  delegation: {max_depth: 3}"),
    ("kill", "kill: freeze"),
    ("kill", "kill: {action: stop}"),
    ("kill", "kill: {acton: kill}"),
    ("kill", "kill: {action: kill"),
    ("kill", "kill: {action: freeze}\n--- {}"),
];

fn source(lines: &[Line]) -> String {
    lines.iter().map(|l| format!("{}\n", l.text)).collect()
}

#[test]
fn of_a_thousand_manifests_with_one_fault_each_the_error_names_the_line() {
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let strategy = (good(), proptest::arbitrary::any::<Index>());
    let mut tried = vec![0u32; BREAKS.len()];
    for n in 0..1150 {
        let (lines, pick) = strategy.new_tree(&mut runner).unwrap().current();
        let text = source(&lines);
        check(text.as_bytes(), "good.yaml")
            .unwrap_or_else(|e| panic!("the unbroken manifest is refused: {}\n{text}", e[0]));

        let (part, broken) = BREAKS[n % BREAKS.len()];
        let places: Vec<usize> = lines
            .iter()
            .enumerate()
            .filter(|(_, l)| l.part == part)
            .map(|(n, _)| n)
            .collect();
        let at = places[pick.index(places.len())];
        let mut lines = lines;
        lines[at].text = broken.to_owned();
        let text = source(&lines);
        let errors = check(text.as_bytes(), "bad.yaml")
            .err()
            .unwrap_or_else(|| panic!("accepted: {broken}\n{text}"));
        let expected = at + 1 + usize::from(broken.contains("\n---"));
        let named = errors
            .iter()
            .any(|e| usize::try_from(e.line).ok() == Some(expected));
        assert!(named, "{broken} in line {expected}: {}\n{text}", errors[0]);
        assert!(
            errors.len() <= 3,
            "{broken} brings errors that follow from it: {errors:?}"
        );
        tried[n % BREAKS.len()] += 1;
    }
    assert!(
        tried.iter().all(|n| *n >= 8),
        "each fault is tried in several manifests"
    );
}

#[test]
fn a_rule_that_is_written_twice_is_an_error_in_the_second_line() {
    let text = "version: \"1.0\"\nagent: {name: x}\npermissions:\n  fs:\n    read:\n      - /a\n      - /b\n      - /a/**\n";
    let errors = check(text.as_bytes(), "a.yaml").unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!((errors[0].line, errors[0].column), (8, 9));
    assert!(errors[0].message.contains("a.yaml:6"), "{}", errors[0]);
}

#[test]
fn a_required_key_that_is_missing_is_named() {
    for (text, what) in [
        ("agent: {name: x}\n", "`version` is missing"),
        ("version: \"1.0\"\n", "`agent` is missing"),
        (
            "version: \"1.0\"\nagent: {runtime: x}\n",
            "`agent.name` is missing",
        ),
        ("", "holds no manifest"),
        ("# nothing\n", "holds no manifest"),
    ] {
        let errors = check(text.as_bytes(), "a.yaml").unwrap_err();
        assert!(
            errors.iter().any(|e| e.message.contains(what)),
            "{text:?}: {errors:?}"
        );
    }
}

#[test]
fn all_faults_of_a_file_are_reported_at_once_in_its_order() {
    let faults: Vec<(&str, &str)> = vec![
        ("mode", "mode: nope"),
        ("memory", "  memory: 512"),
        ("pids", "  pids: 0"),
        ("name", "  name: 7"),
    ];
    let mut runner = TestRunner::deterministic();
    let mut lines = good().new_tree(&mut runner).unwrap().current();
    let mut expected = Vec::new();
    for (part, broken) in faults {
        let at = lines.iter().position(|l| l.part == part).unwrap();
        lines[at].text = broken.to_owned();
        expected.push(u32::try_from(at + 1).unwrap());
    }
    expected.sort_unstable();
    let errors = check(source(&lines).as_bytes(), "bad.yaml").unwrap_err();
    assert_eq!(errors.iter().map(|e| e.line).collect::<Vec<_>>(), expected);
}

#[test]
fn generated_good_manifests_take_either_quoting() {
    let strategy = prop_oneof![
        Just("/a b"),
        Just("/a:b"),
        Just("/a#b"),
        Just("/no"),
        Just("/1"),
        Just("/ü/日本")
    ];
    let mut runner = TestRunner::deterministic();
    for _ in 0..50 {
        let path = strategy.new_tree(&mut runner).unwrap().current();
        for written in [format!("\"{path}\""), format!("'{path}'"), path.to_owned()] {
            let text = format!(
                "version: '1.0'\nagent: {{name: x}}\npermissions:\n  fs:\n    read:\n    - {written}\n"
            );
            let policy = check(text.as_bytes(), "a.yaml").unwrap();
            assert_eq!(policy.rules[0].id, format!("fs.read:{path}"));
        }
    }
}
