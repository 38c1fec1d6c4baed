//! The manifests in policies/ do what their case files say, by the reference evaluator and by the
//! simulated kernel, and each of their rules decides a case: one that stops matching fails here.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic fails the test that called them"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use aegis_common::path::perm;
use aegis_policy::diagnostic::Diagnostics;
use aegis_policy::host::FakeHost;
use aegis_policy::parse::{Node, Value, parse};
use aegis_policy::path::AbsPath;
use aegis_policy::reference::Reference;
use aegis_policy::resolve::MountTable;
use aegis_policy::simulate::{File, Kernel};
use aegis_policy::{CompiledImage, HostView, Policy, check, compile, resolve};

const KEY: [u64; 2] = [11, 13];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
}

/// All manifests of the folder, each with its case file.
fn shipped() -> Vec<(String, PathBuf, PathBuf)> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if let Some(stem) = name
            .strip_suffix(".yaml")
            .filter(|s| !s.ends_with(".cases"))
        {
            let cases = folder().join(format!("{stem}.cases.yaml"));
            assert!(
                cases.exists(),
                "policies/{name} has no case file {stem}.cases.yaml beside it"
            );
            out.push((name, path, cases));
        }
    }
    out.sort();
    out
}

/// One case: its keys as text, and its line.
struct Case {
    line: u32,
    fields: Vec<(String, String)>,
}

impl Case {
    fn maybe(&self, key: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    }

    fn get(&self, key: &str) -> &str {
        self.maybe(key)
            .unwrap_or_else(|| panic!("the case in line {} has no `{key}`", self.line))
    }
}

fn cases(path: &Path) -> Vec<Case> {
    let mut errors = Diagnostics::new(&path.to_string_lossy());
    let root = parse(&std::fs::read(path).unwrap(), &mut errors);
    let errors = errors.into_sorted();
    assert!(errors.is_empty(), "{}", errors[0]);
    let Value::Map(top) = root.unwrap().value else {
        panic!("{path:?}: no mapping")
    };
    let [
        (
            key,
            Node {
                value: Value::List(list),
                ..
            },
        ),
    ] = top.as_slice()
    else {
        panic!("{path:?}: want `cases` alone")
    };
    assert_eq!(key.text, "cases");
    list.iter().map(case).collect()
}

fn case(node: &Node) -> Case {
    const KEYS: [&str; 8] = [
        "op", "path", "target", "address", "port", "protocol", "expect", "rule",
    ];
    let line = node.at.line;
    let Value::Map(map) = &node.value else {
        panic!("line {line}: a case is a mapping")
    };
    let field = |(key, node): &(aegis_policy::parse::Key, Node)| {
        assert!(
            KEYS.contains(&key.text.as_str()),
            "line {line}: unknown key {}",
            key.text
        );
        let Value::Scalar(value) = &node.value else {
            panic!("line {line}: {} is no text", key.text)
        };
        (key.text.clone(), value.text.clone())
    };
    Case {
        line,
        fields: map.iter().map(field).collect(),
    }
}

/// Both evaluators of one manifest.
struct Both<'p> {
    table: MountTable,
    reference: Reference<'p>,
    image: CompiledImage,
}

/// Whether it is allowed, and the id of the rule.
type Told = (bool, Option<String>);

impl<'p> Both<'p> {
    fn new(policy: &'p Policy, host: &FakeHost) -> Self {
        let resolved = resolve(policy, host).unwrap();
        Self {
            table: MountTable::new(host.mounts().unwrap()).unwrap(),
            reference: Reference::new(policy, host).unwrap(),
            image: compile(policy, &resolved, 1, KEY, 1).unwrap(),
        }
    }

    fn file(&self, path: &str) -> File {
        let path = AbsPath::parse(path.as_bytes()).unwrap();
        File {
            place: self.table.place(&path).unwrap(),
            linked: None,
        }
    }

    fn ask(&self, case: &Case) -> (Told, Told) {
        let kernel = Kernel::new(&self.image, KEY);
        let wanted = match case.get("op") {
            "read" => perm::READ,
            "exec" => perm::EXEC,
            "write" => perm::WRITE,
            "connect" | "exec-anonymous" => 0,
            _ => perm::NAME,
        };
        let (decision, answer) = match case.get("op") {
            "read" | "write" | "create" | "exec" => {
                let path = case.get("path");
                (
                    kernel.file(&self.file(path), wanted),
                    self.reference.file(path, None, wanted),
                )
            }
            "exec-anonymous" => (kernel.exec_anonymous(), self.reference.exec_anonymous()),
            "link" => {
                let (from, to) = (case.get("path"), case.get("target"));
                (
                    kernel.link(&self.file(from), &self.file(to)),
                    self.reference.link((from, None), (to, None)),
                )
            }
            op @ ("rename" | "rename-directory") => {
                let (from, to, directory) = (case.get("path"), case.get("target"), op != "rename");
                let answer = self.reference.rename((from, None), (to, None), directory);
                (
                    kernel.rename(&self.file(from), &self.file(to), directory),
                    answer,
                )
            }
            "connect" => {
                let address = case.get("address").parse().unwrap();
                let port = case.get("port").parse().unwrap();
                let protocol = match case.get("protocol") {
                    "tcp" => 6,
                    "udp" => 17,
                    other => panic!("line {}: protocol {other}", case.line),
                };
                (
                    kernel.network(address, port, protocol),
                    self.reference.network(address, port, protocol),
                )
            }
            other => panic!("line {}: op {other}", case.line),
        };
        let rule = self
            .image
            .rules
            .decided(decision.rule, wanted, !decision.allowed)
            .map(|r| r.id.clone());
        ((decision.allowed, rule), (answer.allowed, answer.rule))
    }
}

#[test]
fn shipped_manifests_do_what_their_cases_say_and_every_rule_decides_one() {
    let manifests = shipped();
    assert!(
        manifests.len() >= 3,
        "policies/ is where the test looks for it"
    );
    for (name, manifest, case_file) in manifests {
        let policy =
            check(&std::fs::read(&manifest).unwrap(), &name).unwrap_or_else(|e| panic!("{}", e[0]));
        let host = FakeHost::linux();
        let both = Both::new(&policy, &host);
        let mut decided = BTreeSet::new();
        let (mut allowed, mut denied) = (0, 0);
        for case in cases(&case_file) {
            let place = format!("{}:{}", case_file.display(), case.line);
            let expect = match case.get("expect") {
                "allow" => true,
                "deny" => false,
                other => panic!("{place}: expect {other}"),
            };
            let (kernel, reference) = both.ask(&case);
            assert_eq!(kernel.0, expect, "{place}: kernel says by {:?}", kernel.1);
            assert_eq!(
                reference.0, expect,
                "{place}: reference says by {:?}",
                reference.1
            );
            if let Some(rule) = case.maybe("rule") {
                assert_eq!(kernel.1.as_deref(), Some(rule), "{place}: kernel's rule");
                assert_eq!(
                    reference.1.as_deref(),
                    Some(rule),
                    "{place}: reference's rule"
                );
            }
            decided.extend(kernel.1);
            *(if expect { &mut allowed } else { &mut denied }) += 1;
        }
        assert!(
            allowed >= 5 && denied >= 5,
            "{name}: {allowed} cases allow, {denied} deny"
        );
        for rule in policy.rules.iter().filter(|r| r.origin.is_manifest()) {
            assert!(
                decided.contains(&rule.id),
                "{name}: no case is decided by {}",
                rule.id
            );
        }
    }
}
