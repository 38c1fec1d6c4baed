//! The manifests in the documentation do what the text around them says.

use aegis_policy::check;

const MANUAL: &str = include_str!("../../docs/manifest.md");
const LANGUAGE: &str = include_str!("data/language.yaml");

/// Code blocks with this mark behind the backquotes.
fn blocks(mark: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut lines = MANUAL.lines();
    while let Some(line) = lines.next() {
        if line.strip_prefix("```") == Some(mark) {
            let block: Vec<&str> = lines.by_ref().take_while(|l| *l != "```").collect();
            out.push(block.join("\n") + "\n");
        }
    }
    out
}

#[test]
fn the_manuals_examples_load_or_are_refused_as_it_says() {
    let good = blocks("yaml");
    assert!(!good.is_empty());
    for text in good {
        check(text.as_bytes(), "agent.yaml").unwrap_or_else(|e| panic!("{}", e[0]));
    }
    let refused = blocks("yaml refused");
    let shown = blocks("text");
    assert!(!refused.is_empty() && refused.len() == shown.len());
    for (text, message) in refused.iter().zip(shown) {
        let errors = check(text.as_bytes(), "agent.yaml").unwrap_err();
        let told: String = errors.iter().map(|e| format!("{e}\n")).collect();
        assert_eq!(told, message);
    }
}

#[test]
fn every_key_of_the_language_is_in_the_manual() {
    const NESTED_IN_REFUSED_KEYS: [&str; 39] = [
        "unit",
        "slice",
        "container",
        "image",
        "app",
        "cgroup",
        "uid",
        "address",
        "port",
        "no_new_privileges",
        "capabilities",
        "drop",
        "signal_others",
        "rate",
        "burst",
        "connect",
        "file_write",
        "connections",
        "daily",
        "monthly",
        "days",
        "from",
        "to",
        "tz",
        "outside",
        "max_depth",
        "approvers",
        "group",
        "quorum",
        "high",
        "critical",
        "grant",
        "scope",
        "ttl",
        "timeout",
        "on_timeout",
        "daemon_down",
        "dns_down",
        "team",
    ];
    for line in LANGUAGE.lines() {
        let line = line.split(" #").next().unwrap_or_default();
        for key in line
            .split([' ', '{', '[', ',', '-'])
            .filter_map(|word| word.strip_suffix(':'))
        {
            let told = MANUAL.contains(&format!("{key}:"))
                || MANUAL.contains(&format!("`{key}`"))
                || MANUAL.contains(&format!(".{key}`"));
            assert!(
                told || NESTED_IN_REFUSED_KEYS.contains(&key),
                "docs/manifest.md does not tell of `{key}`"
            );
        }
    }
}
