//! What the compiler makes of policies: order, numbers, digests, limits.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic fails the test that called them"
)]

use aegis_common::hash::PathHasher;
use aegis_common::path::{PathKey, PathRule, path_flag, perm};
use aegis_common::policy::{RULE_FIRST, image_flag};
use aegis_policy::host::{FakeHost, FakeNode};
use aegis_policy::{CompileError, CompiledImage, Operation, Policy, check, compile, plan, resolve};

const KEY: [u64; 2] = [1, 2];

fn policy(permissions: &str) -> Policy {
    let text = format!(
        "version: \"1.0\"\nagent: {{name: x}}\nbaseline: none\npermissions: {permissions}\n"
    );
    check(text.as_bytes(), "a.yaml").unwrap_or_else(|e| panic!("{}", e[0]))
}

fn image(policy: &Policy, host: &FakeHost) -> CompiledImage {
    compile(policy, &resolve(policy, host).unwrap(), 5, KEY, 9).unwrap()
}

fn key(dev: u32, components: &[&str]) -> PathKey {
    let mut hasher = PathHasher::new(KEY);
    components
        .iter()
        .for_each(|c| hasher.component(c.as_bytes()));
    PathKey {
        image: 5,
        dev,
        hash: hasher.finish(),
    }
}

fn at(image: &CompiledImage, dev: u32, components: &[&str]) -> Option<PathRule> {
    image
        .path_rules
        .iter()
        .find(|(k, _)| *k == key(dev, components))
        .map(|(_, r)| *r)
}

#[test]
fn rules_land_on_the_filesystem_that_holds_them_and_on_all_mounted_below() {
    let mut host = FakeHost::linux();
    host.mount(20, "/", "/data", "ext4");
    host.mount(21, "/sub", "/data/inputs/deep", "ext4");
    let image = image(&policy("{fs: {read: [/data/inputs]}}"), &host);
    for (dev, components) in [(20, &["inputs"][..]), (21, &["sub"])] {
        let rule = at(&image, dev, components).unwrap();
        assert_eq!(
            (rule.allow, rule.deny, rule.flags),
            (perm::READ, 0, path_flag::RECORD)
        );
        assert_eq!(rule.allow_rule, RULE_FIRST);
    }
    assert_eq!(at(&image, 1, &["data", "inputs"]), None);
    assert!(image.path_rules.is_sorted_by_key(|(k, _)| *k));
}

#[test]
fn a_link_is_a_rule_at_the_link_and_at_its_target() {
    let mut host = FakeHost::linux();
    host.link("/data", "/srv/store");
    let image = image(
        &policy("{fs: {deny: [/data/secret]}, exec: {allow: [/data]}}"),
        &host,
    );
    assert_eq!(
        at(&image, 1, &["srv", "store", "secret"]).map(|r| r.deny),
        Some(perm::ALL)
    );
    assert_eq!(at(&image, 1, &["data", "secret"]), None);
    assert_eq!(at(&image, 1, &["data"]).map(|r| r.allow), Some(perm::EXEC));
    assert_eq!(
        at(&image, 1, &["srv", "store"]).map(|r| r.allow),
        Some(perm::EXEC)
    );
}

#[test]
fn an_allow_does_not_follow_a_link_that_the_agent_could_have_planted_and_a_note_says_so() {
    let mut host = FakeHost::linux();
    host.link("/work/out", "/etc");
    let policy = policy("{fs: {write: [/work], read: [/work/out/ssl], deny: [/work/out/x]}}");
    let resolved = resolve(&policy, &host).unwrap();
    assert!(
        resolved
            .notes
            .iter()
            .any(|n| n.rule == "fs.read:/work/out/ssl" && n.text.contains("/work/out")),
        "{:?}",
        resolved.notes
    );
    let image = compile(&policy, &resolved, 5, KEY, 9).unwrap();
    assert_eq!(at(&image, 1, &["etc", "ssl"]), None);
    assert_eq!(
        at(&image, 1, &["work", "out", "ssl"]).map(|r| r.allow),
        Some(perm::READ)
    );
    // A deny follows it all the same.
    assert_eq!(
        at(&image, 1, &["etc", "x"]).map(|r| r.deny),
        Some(perm::ALL)
    );
}

#[test]
fn a_deny_does_not_search_the_host_behind_a_link_that_the_agent_could_have_planted() {
    let mut host = FakeHost::linux();
    host.program("/opt/tool", 70, [1; 32]);
    host.file("/opt/a", 71);
    host.file("/opt/b", 71);
    host.link("/work/all", "/");
    host.link("/work/one", "/opt/tool");
    let policy = policy("{fs: {write: [/work], deny: [/work/all]}, exec: {deny: [/work/one]}}");
    let resolved = resolve(&policy, &host).unwrap();
    assert_eq!(resolved.inodes, []);
    assert_eq!(
        resolved
            .contents
            .iter()
            .map(|c| c.sha256)
            .collect::<Vec<_>>(),
        [[1; 32]]
    );
    assert!(
        resolved
            .notes
            .iter()
            .any(|n| n.rule == "fs.deny:/work/all" && n.text.contains("not looked for"))
    );
    // The names are denied all the same.
    let image = compile(&policy, &resolved, 5, KEY, 9).unwrap();
    assert_eq!(at(&image, 1, &[]).map(|r| r.deny), Some(perm::ALL));
}

#[test]
fn a_mount_whose_root_was_deleted_is_denied_but_never_allowed() {
    let text = b"1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 /gone//deleted /data rw - ext4 b rw\n";
    struct Host(Vec<aegis_policy::host::Mount>);
    impl aegis_policy::HostView for Host {
        fn mounts(&self) -> Result<Vec<aegis_policy::host::Mount>, aegis_policy::host::HostError> {
            Ok(self.0.clone())
        }
        fn entry(
            &self,
            _: &aegis_policy::path::AbsPath,
        ) -> Result<Option<aegis_policy::host::Entry>, aegis_policy::host::HostError> {
            Ok(Some(aegis_policy::host::Entry::Directory))
        }
        fn list(
            &self,
            _: &aegis_policy::path::AbsPath,
            _: usize,
        ) -> Result<Vec<(Vec<u8>, aegis_policy::host::Kind)>, aegis_policy::host::HostError> {
            Ok(Vec::new())
        }
        fn linked_files(
            &self,
            _: &aegis_policy::path::AbsPath,
            _: usize,
        ) -> Result<Vec<u64>, aegis_policy::host::HostError> {
            Ok(Vec::new())
        }
        fn programs(
            &self,
            _: &aegis_policy::path::AbsPath,
            _: usize,
        ) -> Result<Vec<aegis_policy::host::Program>, aegis_policy::host::HostError> {
            Ok(Vec::new())
        }
    }
    let host = Host(aegis_policy::host::mountinfo::parse(text).unwrap());
    let policy = policy("{fs: {read: [/data], deny: [/data/x]}}");
    let image = compile(&policy, &resolve(&policy, &host).unwrap(), 5, KEY, 9).unwrap();
    assert_eq!(at(&image, 8 << 20 | 2, &["gone"]), None);
    assert_eq!(
        at(&image, 8 << 20 | 2, &["gone", "x"]).map(|r| r.deny),
        Some(perm::ALL)
    );
}

#[test]
fn rules_that_meet_share_a_number_and_each_operation_finds_its_own() {
    let image = image(
        &policy("{fs: {write: [/work]}, exec: {allow: [/work]}}"),
        &FakeHost::linux(),
    );
    let rule = at(&image, 1, &["work"]).unwrap();
    assert_eq!(rule.allow, perm::ALL);
    let told = |wanted| {
        image
            .rules
            .decided(rule.allow_rule, wanted, false)
            .map(|r| r.id.as_str())
    };
    assert_eq!(told(perm::WRITE), Some("fs.write:/work"));
    assert_eq!(told(perm::EXEC), Some("exec.allow:/work"));
    assert_eq!(image.rules.members(rule.allow_rule).len(), 2);
    assert_eq!(image.rules.decided(0, perm::READ, true), None);
    assert_eq!(image.rules.decided(u32::MAX, perm::READ, true), None);
    assert_eq!(image.rules.rules()[0].origin, "a.yaml:4");
}

#[test]
fn every_directory_above_a_rule_is_an_anchor() {
    let image = image(&policy("{fs: {write: [/a/b/c]}}"), &FakeHost::new());
    for components in [&[][..], &["a"], &["a", "b"], &["a", "b", "c"]] {
        let anchor = image.anchors.iter().find(|(k, _)| *k == key(1, components));
        assert!(anchor.is_some(), "{components:?}");
    }
    assert!(
        !image
            .anchors
            .iter()
            .any(|(k, _)| *k == key(1, &["a", "b", "c", "d"]))
    );
}

#[test]
fn levels_name_the_depths_that_have_rules() {
    let image = image(
        &policy("{fs: {read: [/a/b/c, /x], write: [/]}}"),
        &FakeHost::new(),
    );
    assert_ne!(image.image.levels & 1, 0, "the root of the filesystem");
    assert_eq!(image.image.levels & 0b1111 & !0b100, 0b1011);
}

#[test]
fn the_same_input_gives_the_same_image_and_the_digest_ignores_index_key_generation_and_lines() {
    let host = FakeHost::linux();
    let one = policy(
        "{fs: {write: [/work], deny: [/work/.env]}, network: {allow: [{cidr: 10.0.0.0/8}]}}",
    );
    let resolved = resolve(&one, &host).unwrap();
    let first = compile(&one, &resolved, 5, KEY, 9).unwrap();
    assert_eq!(first, compile(&one, &resolved, 5, KEY, 9).unwrap());
    let other = compile(&one, &resolved, 6, [3, 4], 10).unwrap();
    assert_ne!(first.path_rules, other.path_rules);
    assert_eq!(first.hash, other.hash);
    let moved = "# a comment\n\nversion: \"1.0\"\nagent: {name: x}\nbaseline: none\npermissions: {fs: {write: [/work], deny: [/work/.env]}, network: {allow: [{cidr: 10.0.0.0/8}]}}\n";
    let moved = check(moved.as_bytes(), "b.yaml").unwrap();
    assert_eq!(first.hash, image(&moved, &host).hash);
}

#[test]
fn whatever_changes_the_meaning_changes_the_digest() {
    let host = FakeHost::linux();
    let texts = [
        "version: \"1.0\"\nagent: {name: x}\n",
        "version: \"1.0\"\nagent: {name: z}\n",
        "version: \"1.0\"\nagent: {name: x}\nmode: audit\n",
        "version: \"1.0\"\nagent: {name: x}\ndefault: allow\n",
        "version: \"1.0\"\nagent: {name: x}\nbaseline: none\n",
        "version: \"1.0\"\nagent: {name: x}\nkill: {action: kill}\n",
        "version: \"1.0\"\nagent: {name: x}\npermissions: {pids: 7}\n",
        "version: \"1.0\"\nagent: {name: x}\npermissions: {memory: 7MB}\n",
        "version: \"1.0\"\nagent: {name: x}\npermissions: {exec: {anonymous: allow}}\n",
        "version: \"1.0\"\nagent: {name: x}\npermissions: {fs: {read: [/a]}}\n",
        "version: \"1.0\"\nagent: {name: x}\npermissions: {fs: {read: [/b]}}\n",
        "version: \"1.0\"\nagent: {name: x}\npermissions: {fs: {write: [/a]}}\n",
        "version: \"1.0\"\nagent: {name: x}\npermissions: {exec: {deny: [/a]}}\n",
        "version: \"1.0\"\nagent: {name: x}\npermissions: {network: {allow: [{cidr: 10.0.0.0/8}]}}\n",
        "version: \"1.0\"\nagent: {name: x}\npermissions: {network: {allow: [{cidr: 10.0.0.0/8, ports: [1]}]}}\n",
        "version: \"1.0\"\nagent: {name: x}\npermissions: {network: {deny: [{cidr: 10.0.0.0/8}]}}\n",
    ];
    let mut seen: Vec<[u8; 32]> = texts
        .iter()
        .map(|t| image(&check(t.as_bytes(), "a").unwrap(), &host).hash)
        .collect();
    // The same manifest on a host where it means another directory.
    let mut other = FakeHost::linux();
    other.mount(20, "/", "/a", "ext4");
    seen.push(image(&check(texts[9].as_bytes(), "a").unwrap(), &other).hash);
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

#[test]
fn denied_files_and_programs_are_found_under_their_other_names() {
    let mut host = FakeHost::linux();
    host.file("/data/secret", 77);
    host.file("/work/innocent", 77);
    host.file("/data/single", 78);
    host.program("/opt/tool", 80, [9; 32]);
    host.put(
        "/data/link",
        FakeNode {
            entry: aegis_policy::host::Entry::Symlink(b"/etc".to_vec()),
            ino: 79,
            program: None,
        },
    );
    let image = image(
        &policy("{fs: {deny: [/data]}, exec: {deny: [/opt]}}"),
        &host,
    );
    let inodes: Vec<u64> = image.inode_rules.iter().map(|(k, _)| k.ino).collect();
    assert_eq!(inodes, [77]);
    assert_eq!(
        image
            .content_rules
            .iter()
            .map(|(k, _)| k.sha256)
            .collect::<Vec<_>>(),
        [[9; 32]]
    );
    let flags = image_flag::READY | image_flag::INODE_RULES | image_flag::CONTENT_RULES;
    assert_eq!(image.image.flags, flags);
}

#[test]
fn what_does_not_fit_is_an_error_that_names_it() {
    let host = FakeHost::linux();
    let ports: Vec<String> = (1..=17).map(|n| (n * 2).to_string()).collect();
    let many = policy(&format!(
        "{{network: {{allow: [{{cidr: 10.0.0.0/8, ports: [{}], id: wide}}]}}}}",
        ports.join(", ")
    ));
    let error = compile(&many, &resolve(&many, &host).unwrap(), 5, KEY, 9).unwrap_err();
    assert!(
        matches!(&error, CompileError::PortRules { needed: 17, .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("wide") && error.to_string().contains("10.0.0.0/8"),
        "{error}"
    );

    // Rules of covering prefixes count for the narrower ones.
    let half: Vec<String> = ports.iter().take(9).cloned().collect();
    let half = half.join(", ");
    let joined = policy(&format!(
        "{{network: {{allow: [{{cidr: 10.0.0.0/8, ports: [{half}]}}, {{cidr: 10.1.0.0/16, ports: [{half}]}}]}}}}"
    ));
    let error = compile(&joined, &resolve(&joined, &host).unwrap(), 5, KEY, 9).unwrap_err();
    assert!(
        matches!(&error, CompileError::PortRules { prefix, .. } if prefix == "10.1.0.0/16"),
        "{error}"
    );

    // A bind mount of a deep directory makes a short rule deep.
    let mut deep = FakeHost::linux();
    deep.mount(20, &"/d".repeat(60), "/data", "ext4");
    let fits = policy("{fs: {read: [/data/1/2/3]}}");
    assert!(compile(&fits, &resolve(&fits, &deep).unwrap(), 5, KEY, 9).is_ok());
    let deeper = policy("{fs: {read: [/data/1/2/3/4]}}");
    let error = compile(&deeper, &resolve(&deeper, &deep).unwrap(), 5, KEY, 9).unwrap_err();
    assert!(
        matches!(error, CompileError::TooDeep { depth: 64, .. }),
        "{error}"
    );
}

#[test]
fn too_many_programs_to_ban_stop_the_load() {
    let mut host = FakeHost::linux();
    for n in 0..4097u64 {
        host.program(&format!("/opt/{n}"), 1000 + n, [1; 32]);
    }
    let error = resolve(&policy("{exec: {deny: [/opt]}}"), &host).unwrap_err();
    assert!(
        error.to_string().contains("exec.deny:/opt (a.yaml:4)"),
        "{error}"
    );
}

#[test]
fn a_plan_fills_then_readies_then_points_then_removes() {
    let host = FakeHost::linux();
    let old = image(&policy("{fs: {read: [/a]}}"), &host);
    let next = policy("{fs: {read: [/b]}, network: {allow: [{cidr: 10.0.0.0/8}]}}");
    let new = compile(&next, &resolve(&next, &host).unwrap(), 6, KEY, 10).unwrap();
    let steps = plan(Some(&old), Some(&new)).unwrap();
    let index = |wanted: &dyn Fn(&Operation) -> bool| steps.iter().position(wanted).unwrap();
    let last = |wanted: &dyn Fn(&Operation) -> bool| steps.iter().rposition(wanted).unwrap();
    let put = |o: &Operation| {
        matches!(
            o,
            Operation::PutPath(..) | Operation::PutAnchor(..) | Operation::PutNet(..)
        )
    };
    let removed =
        |o: &Operation| matches!(o, Operation::RemovePath(..) | Operation::RemoveAnchor(..));
    let ready =
        index(&|o| matches!(o, Operation::SetImage(6, i) if i.flags & image_flag::READY != 0));
    let point = index(&|o| *o == Operation::PointAgent(6));
    let off = index(&|o| matches!(o, Operation::SetImage(5, i) if i.flags == 0));
    assert_eq!(
        index(&|o| matches!(o, Operation::SetImage(6, i) if i.flags == 0)),
        0
    );
    assert!(last(&put) < ready && ready < point && point < off && off < index(&removed));
    assert_eq!(
        steps.iter().filter(|o| removed(o)).count(),
        old.path_rules.len() + old.anchors.len()
    );
    assert!(plan(Some(&old), Some(&old)).is_err());
}
