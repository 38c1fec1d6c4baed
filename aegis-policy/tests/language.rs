//! The language: what loads, what is refused, and that nothing of it is passed over in silence.

use aegis_common::path::perm;
use aegis_policy::policy::{Baseline, Condition, Default, Dns, Effect, KillAction, Limits, Mode, ServerCheck};
use aegis_policy::{Policy, check};
use std::time::Duration;

const SMALL: &str = include_str!("data/small.yaml");
const WHOLE: &str = include_str!("data/language.yaml");
const VALID: &str = include_str!("data/valid.yaml");

fn bits(policy: &Policy, id: &str) -> Option<(u8, u8)> {
    let rule = policy.rules.iter().find(|r| r.id == id)?;
    match &rule.effect {
        Effect::Path(path) => Some((path.allow, path.deny)),
        _ => None,
    }
}

#[test]
fn the_smallest_manifest_loads_as_it_stands() {
    let policy = check(SMALL.as_bytes(), "agent.yaml").unwrap();
    let names: Vec<(&str, String)> = policy
        .rules
        .iter()
        .filter_map(|rule| match &rule.effect {
            Effect::Name(name) => Some((rule.id.as_str(), format!("{} {:?} {:?}", name.name, name.ports, name.protocol))),
            _ => None,
        })
        .collect();
    let https = "[PortRange { first: 443, last: 443 }] Tcp";
    assert_eq!(
        names,
        [
            ("network.allow:api.openai.com:443:tcp", format!("api.openai.com {https}")),
            ("network.allow:*.googleapis.com:443:tcp", format!("*.googleapis.com {https}")),
        ]
    );
    assert_eq!(policy.dns, Dns { resolvers: vec![], least_ttl: 60, most_ttl: 3600, private_answers: false });
}

/// A manifest with this in its network part.
fn manifest(network: &str) -> String {
    format!("version: \"1.0\"\nagent: {{name: x}}\npermissions: {{network: {{{network}}}}}\n")
}

/// What is wrong with it.
fn errors(network: &str) -> String {
    let shown = check(manifest(network).as_bytes(), "a").err().unwrap_or_default();
    shown.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[test]
fn names_and_resolvers_are_spelled_strictly() {
    let long = ["label"; 50].join(".");
    for (name, said) in [
        ("https://api.example.org", "is a URL or has a path"),
        ("api.example.org/v1", "is a URL or has a path"),
        ("api.example.org:443", "has a port or is no name"),
        ("api.example.org.", "ends with a dot"),
        (".example.org", "is no label"),
        ("a..example.org", "is no label"),
        ("-a.example.org", "is no label"),
        ("a b.example.org", "is no label"),
        ("bücher.example", "is not in ASCII"),
        ("*", "any bytes out"),
        ("a.*.example.org", "stand for whole labels"),
        ("*a.example.org", "stand for whole labels"),
        ("192.0.2.1", "an address where a host name"),
        ("192.0.2.300", "ends with a number"),
        (long.as_str(), "longer than a name can be"),
    ] {
        let shown = errors(&format!("allow: [{{host: \"{name}\"}}]"));
        assert!(shown.contains(said) && shown.matches("error:").count() == 1, "{name}: {shown}");
    }
    assert!(errors("deny: [\"example.org\"]").contains("cannot be denied"));
    for (dns, said) in [
        ("resolvers: [dns.example]", "is no address of a resolver"),
        ("resolvers: [0.0.0.0]", "is no address of a resolver"),
        ("resolvers: [192.0.2.1, \"::ffff:192.0.2.1\"]", "written twice"),
        ("max_ttl: 500ms", "no time that an answer holds"),
        ("max_ttl: 25h", "no time that an answer holds"),
        ("max_ttl: 10s, min_ttl: 20s", "below `dns.min_ttl`"),
        ("private_answers: maybe", "cannot be `maybe`"),
        ("resolver: [192.0.2.1]", "did you mean `resolvers`"),
    ] {
        let shown = errors(&format!("dns: {{{dns}}}"));
        assert!(shown.contains(said), "{dns}: {shown}");
    }
    let text = manifest("allow: [API.Example.org], dns: {resolvers: [192.0.2.53, \"2001:db8::53\"], max_ttl: 10s, private_answers: allow}");
    let dns = check(text.as_bytes(), "a").unwrap().dns;
    assert_eq!((dns.least_ttl, dns.most_ttl, dns.private_answers), (10, 10, true));
    assert_eq!(dns.resolvers.len(), 2);
}

#[test]
fn server_names_are_checked_on_ports_of_the_web_or_where_a_rule_says_so() {
    let names = "allow: [a.example, {host: b.example, ports: [22, 443], sni: off}, {host: c.example, ports: [22], sni: record}]";
    for (said, of_policy) in [("", ServerCheck::Enforce), (", sni: off", ServerCheck::Off), (", sni: record", ServerCheck::Record)] {
        let policy = check(manifest(&format!("{names}{said}")).as_bytes(), "a").unwrap();
        assert_eq!(policy.sni, of_policy);
        let of_rules: Vec<_> = policy
            .rules
            .iter()
            .filter_map(|rule| match &rule.effect {
                Effect::Name(name) => Some((rule.id.as_str(), name.sni)),
                _ => None,
            })
            .collect();
        assert_eq!(of_rules, [
            ("network.allow:a.example:443:tcp", None),
            ("network.allow:b.example:22,443:tcp:sni:off", Some(ServerCheck::Off)),
            ("network.allow:c.example:22:tcp:sni:record", Some(ServerCheck::Record)),
        ]);
    }
    for (wrong, said) in [
        ("sni: on", "`sni` cannot be `on`"),
        ("allow: [{host: a.example, sni: maybe}]", "`sni` cannot be `maybe`"),
        ("allow: [{cidr: 192.0.2.1, sni: off}]", "`sni` belongs to a host name"),
        ("deny: [{unix: /run/x, sni: off}]", "`sni` belongs to a host name"),
    ] {
        assert!(errors(wrong).contains(said), "{wrong}: {}", errors(wrong));
    }
}

#[test]
fn listening_is_opened_by_address_and_port() {
    let text = manifest("listen: [{address: 127.0.0.1, port: 3000}, {address: \"::\", port: \"8000-8100\", id: web}, {address: 0.0.0.0, port: 22}]");
    let policy = check(text.as_bytes(), "a").unwrap();
    let rules: Vec<_> = policy
        .rules
        .iter()
        .filter_map(|rule| match &rule.effect {
            Effect::Listen(listen) => Some((rule.id.as_str(), listen.nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))),
            _ => None,
        })
        .collect();
    assert_eq!(rules, [
        ("network.listen:127.0.0.1/32:3000", "127.0.0.1/32".to_owned()),
        ("web", "0.0.0.0/0 ::/0".to_owned()),
        ("network.listen:0.0.0.0/0:22", "0.0.0.0/0".to_owned()),
    ]);
    for (wrong, said) in [
        ("listen: [{address: 127.0.0.1}]", "has no `port`"),
        ("listen: [{port: 80}]", "has no `address`"),
        ("listen: [{address: localhost, port: 80}]", "is no address"),
        ("listen: [{address: 0.0.0.0/8, port: 80}]", "stands for all others"),
        ("listen: [{address: 127.0.0.1, port: 0}]", "is no port"),
        ("listen: [{address: 127.0.0.1, port: 80, protocol: udp}]", "`protocol`"),
        ("listen: [\"127.0.0.1:80\"]", "`network.listen`"),
    ] {
        assert!(errors(wrong).contains(said), "{wrong}: {}", errors(wrong));
    }
}

#[test]
fn the_smallest_manifest_without_its_host_names_means_what_it_says() {
    let text = SMALL.replace(
        "[\"api.openai.com\", \"*.googleapis.com\"]",
        "[{cidr: 192.0.2.0/24, ports: [443]}]",
    );
    let policy = check(text.as_bytes(), "agent.yaml").unwrap();
    assert_eq!(
        (policy.name.as_str(), policy.runtime.as_deref()),
        ("example-agent", Some("python:3.11"))
    );
    assert_eq!(
        (policy.mode, policy.default, policy.baseline, policy.kill),
        (
            Mode::Enforce,
            Default::Deny,
            Baseline::Linux,
            KillAction::Freeze
        )
    );
    assert_eq!(
        policy.limits,
        Limits {
            memory_bytes: Some(512_000_000),
            cpu_millis: Some(500),
            pids: None,
            bytes_out: None,
            execution_time: Some(Duration::from_secs(300))
        }
    );
    assert_eq!(bits(&policy, "fs.read:/data/inputs"), Some((perm::READ, 0)));
    assert_eq!(
        bits(&policy, "fs.write:/data/outputs"),
        Some((perm::READ | perm::WRITE | perm::NAME, 0))
    );
    assert_eq!(policy.rules[0].id, "network.allow:192.0.2.0/24:443");
    assert_eq!(policy.rules[0].origin.to_string(), "agent.yaml:7");
    assert!(!policy.anonymous_exec);
}

#[test]
fn every_part_of_the_language_that_is_not_enforced_is_refused_by_name() {
    let errors = check(WHOLE.as_bytes(), "agent.yaml").unwrap_err();
    let expected = [
        (3, "`bind`"),
        (20, "`ask` of `network`"),
        (30, "`ask` of `fs`"),
        (43, "`rates`"),
        (44, "`budgets`"),
        (45, "`windows`"),
        (46, "`delegation`"),
        (47, "`approvals`"),
        (53, "`daemon_down` of `degraded`"),
        (53, "`dns_down` of `degraded`"),
    ];
    assert_eq!(errors.len(), expected.len(), "{errors:?}");
    for (error, (line, what)) in errors.iter().zip(expected) {
        assert_eq!(error.line, line, "{error}");
        assert!(
            error.message.starts_with("not enforced by this version: "),
            "{error}"
        );
        assert!(error.message.contains(what), "{error} does not name {what}");
    }
}

#[test]
fn audit_mode_is_no_way_round_what_cannot_be_looked_at() {
    let text = WHOLE.replace("mode: enforce ", "mode: audit ");
    assert_ne!(text, WHOLE);
    assert_eq!(
        check(text.as_bytes(), "a").unwrap_err().len(),
        check(WHOLE.as_bytes(), "a").unwrap_err().len()
    );
}

#[test]
fn everything_that_is_enforced_loads_in_one_manifest() {
    let policy = check(VALID.as_bytes(), "valid.yaml").unwrap();
    for (id, allow, deny) in [
        ("fs.read:/data/inputs", perm::READ, 0),
        ("fs.read:/opt/models", perm::READ, 0),
        ("fs.write:/data/outputs", perm::READ | perm::WRITE | perm::NAME, 0),
        ("workspace", perm::READ | perm::WRITE | perm::NAME, 0),
        ("fs.deny:/work/.env", 0, perm::ALL),
        ("exec.allow:/usr/bin", perm::EXEC, 0),
        ("exec.allow:/work/bin", perm::EXEC, 0),
        ("exec.deny:/usr/bin/kubectl", 0, perm::EXEC),
        ("network.allow:unix:/run/postgresql", perm::WRITE, 0),
        ("builtin:deny:/var/lib/aegis", 0, perm::ALL),
        ("baseline:deny:/etc/shadow", 0, perm::ALL),
        ("baseline:exec:/usr", perm::READ | perm::EXEC, 0),
    ] {
        assert_eq!(bits(&policy, id), Some((allow, deny)), "{id}");
    }
    let nets: Vec<&str> = policy
        .rules
        .iter()
        .filter(|r| matches!(r.effect, Effect::Network(_)))
        .map(|r| r.id.as_str())
        .collect();
    assert_eq!(
        nets,
        [
            "network.allow:10.20.0.0/16:5432,6000-6100:tcp",
            "packages",
            "network.allow:2001:db8::/32",
            "network.deny:10.20.7.0/24"
        ]
    );
    let recorded = |id: &str| {
        policy
            .rules
            .iter()
            .find(|r| r.id == id)
            .is_some_and(|r| r.record)
    };
    assert!(recorded("fs.read:/data/inputs") && !recorded("baseline:exec:/usr"));
}

#[test]
fn modes_and_baselines_that_are_not_there_yet_say_why() {
    for (line, why) in [
        ("mode: learn", "runs are not turned into policies"),
        ("baseline: hostile-code", "arrives with network names"),
    ] {
        let text = format!("version: \"1.0\"\nagent: {{name: x}}\n{line}\n");
        let errors = check(text.as_bytes(), "a.yaml").unwrap_err();
        assert_eq!((errors.len(), errors[0].line), (1, 3));
        assert!(
            errors[0].message.contains("not enforced by this version")
                && errors[0].message.contains(why),
            "{}",
            errors[0]
        );
    }
}

#[test]
fn without_a_baseline_only_the_governor_protects_itself() {
    let policy = check(
        b"version: \"1.0\"\nagent: {name: x}\nbaseline: none\n",
        "a.yaml",
    )
    .unwrap();
    let ids: Vec<&str> = policy.rules.iter().map(|r| r.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "builtin:deny:/etc/aegis",
            "builtin:deny:/var/lib/aegis",
            "builtin:deny:/run/aegis",
            "builtin:deny:/sys/fs/bpf"
        ]
    );
}

#[test]
fn the_daemons_own_rules_are_marked_and_unique() {
    let mut policy = check(b"version: \"1.0\"\nagent: {name: x}\n", "a.yaml").unwrap();
    policy
        .add_runtime_rule(
            "runtime:tmpdir",
            b"/tmp/aegis-1",
            perm::READ | perm::WRITE | perm::NAME,
            0,
            false,
        )
        .unwrap();
    assert_eq!(
        policy.rules.last().map(|r| r.origin.to_string()).as_deref(),
        Some("runtime")
    );
    assert!(
        policy
            .add_runtime_rule("runtime:tmpdir", b"/tmp/aegis-2", perm::READ, 0, false)
            .is_err()
    );
    assert!(
        policy
            .add_runtime_rule("runtime:tty", b"dev/pts/1", perm::READ, 0, false)
            .is_err()
    );
}

/// A manifest with these entries under `exec`.
fn programs(exec: &str) -> Result<Policy, Vec<aegis_policy::Diagnostic>> {
    check(format!("version: \"1.0\"\nagent: {{name: x}}\npermissions:\n  exec:\n    {exec}\n").as_bytes(), "agent.yaml")
}

#[test]
fn rules_about_programs_ask_for_arguments_and_contents() {
    let hex = "Ab".repeat(32);
    let policy = programs(&format!("allow: [{{path: /usr/bin/git, sha256: {hex:?}}}]")).unwrap();
    let Effect::Path(pin) = &policy.rules[0].effect else { panic!("path") };
    assert_eq!((pin.allow, &pin.condition), (perm::EXEC, &Condition::Content([0xab; 32])));
    let policy = programs("deny: [{path: /usr/bin/kubectl, argv: [\"delete\", \"\"]}]").unwrap();
    let Effect::Path(deny) = &policy.rules[0].effect else { panic!("path") };
    assert_eq!(deny.condition, Condition::Arguments(vec!["delete".into(), String::new()]));
    assert_eq!(policy.rules[0].id, "exec.deny:/usr/bin/kubectl:delete:");
    assert_eq!(policy.rules[0].text, "exec.deny: /usr/bin/kubectl with `delete` ``");
}

#[test]
fn arguments_and_digests_that_are_none_are_refused_where_they_stand() {
    let many: Vec<String> = (0..65).map(|n| format!("{n:?}")).map(|n| format!("\"{n}\"")).collect();
    for (exec, at, message) in [
        ("allow: [{path: /x, sha256: \"abc\"}]".to_owned(), "\"abc", "is no SHA-256"),
        (format!("allow: [{{path: /x, sha256: {:?}}}]", "g".repeat(64)), "\"ggg", "is no SHA-256"),
        ("deny: [{path: \"/x/*/y\", argv: [\"a\"]}]".to_owned(), "\"/x", "beside the glob"),
        ("deny: [{path: /x, argv: []}]".to_owned(), "[]", "is an empty list"),
        ("deny: [{path: /x, argv: delete}]".to_owned(), "delete", "`argv`"),
        ("deny: [{path: /x, argv: [\"a\\0\"]}]".to_owned(), "\"a", "NUL"),
        ("deny: [{path: /x, sha256: \"abc\"}]".to_owned(), "sha256", "unknown key `sha256`"),
        ("allow: [{path: /x, argv: [\"a\"]}]".to_owned(), "argv", "unknown key `argv`"),
        (format!("deny: [{{path: /x, argv: [{}]}}]", many.join(", ")), "\"64", "name 65 arguments, at most 64"),
    ] {
        let errors = programs(&exec).unwrap_err();
        assert!(errors[0].message.contains(message), "{exec}: {}", errors[0]);
        let column = exec.find(at).unwrap() + 5;
        assert_eq!((errors[0].line, errors[0].column as usize), (5, column), "{exec}: {}", errors[0]);
    }
}

#[test]
fn variables_are_denied_by_name_or_by_how_names_begin() {
    let policy = programs("environment: {deny: [LD_PRELOAD, \"NODE_*\"]}").unwrap();
    let effects: Vec<_> = policy.rules.iter().take(2).map(|rule| (rule.id.as_str(), &rule.effect)).collect();
    assert_eq!(
        effects,
        [
            ("exec.environment.deny:LD_PRELOAD", &Effect::Variable("LD_PRELOAD=".into())),
            ("exec.environment.deny:NODE_*", &Effect::Variable("NODE_".into())),
        ]
    );
    assert!(policy.write_execute);
    assert!(!programs("write_execute: deny").unwrap().write_execute);
}
