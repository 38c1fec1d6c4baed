//! Ten thousand manifests that nobody would write: an answer, never a panic.

use aegis_policy::check;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const VALID: &str = include_str!("data/valid.yaml");
/// The language, as text to cut up.
const WORDS: &str = "version agent name runtime labels bind mode default baseline permissions network fs exec allow deny ask read write \
    anonymous cidr ports protocol unix host id path sha256 execution_time memory cpu_quota pids kill action enforce audit learn none \
    linux hostile-code freeze \"1.0\" 1.0 /a /a/** /a/* /a/**/[b-c]?/{d,e*} /{a /[ /** /***/a {,} ~/x 10.0.0.0/8 ::1 443 \"1-2\" 512MB 300s 0.5 null ~ yes no true << * & ! | > \
    %TAG --- ... - : ? [ ] { } , # ' \" \\ @ ` \t";

fn soup() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&str> = WORDS.split(' ').collect();
    let word = proptest::sample::select(words).prop_map(str::to_owned);
    let glue = prop_oneof![3 => Just(" "), 2 => Just("\n"), 1 => Just("\n  "), 1 => Just("\n    - "), 2 => Just(": "), 1 => Just(""), 1 => Just("\r\n")];
    vec((word, glue), 0..60).prop_map(|parts| {
        parts
            .into_iter()
            .map(|(w, g)| w + g)
            .collect::<String>()
            .into_bytes()
    })
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    vec(
        (any::<proptest::sample::Index>(), any::<u8>(), 0..5u8),
        1..12,
    )
    .prop_map(|edits| {
        let mut bytes = VALID.as_bytes().to_vec();
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len().max(1));
            match kind {
                0 if at < bytes.len() => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                3 => bytes.truncate(at),
                _ => {
                    let tail = bytes[at..].to_vec();
                    bytes.extend(tail.into_iter().take(64));
                }
            }
        }
        bytes
    })
}

fn nested() -> impl Strategy<Value = Vec<u8>> {
    let open = prop_oneof![
        Just("["),
        Just("{a: "),
        Just("- "),
        Just("? "),
        Just("a:\n "),
        Just("&x "),
        Just("!t "),
        Just("\"")
    ];
    (open, 1..3000usize).prop_map(|(open, n)| open.repeat(n).into_bytes())
}

#[test]
fn ten_thousand_random_manifests_are_answered_without_panic() {
    let cases: u32 = std::env::var("AEGIS_RANDOM_MANIFESTS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(10_000);
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let strategy = prop_oneof![
        2 => vec(any::<u8>(), 0..400),
        2 => any::<String>().prop_map(String::into_bytes),
        6 => soup(),
        8 => mutated(),
        1 => nested(),
    ];
    let (mut good, mut bad) = (0, 0);
    for _ in 0..cases {
        let source = strategy.new_tree(&mut runner).unwrap().current();
        match check(&source, "random.yaml") {
            Ok(_) => good += 1,
            Err(errors) => {
                bad += 1;
                assert!(!errors.is_empty(), "refused without a reason: {source:?}");
                for error in errors {
                    assert!(error.line > 0 && error.column > 0, "{error}");
                    assert!(!error.advice.is_empty(), "no advice: {error}");
                    assert!(
                        error
                            .to_string()
                            .chars()
                            .all(|c| c == '\n' || !c.is_control()),
                        "{error:?}"
                    );
                }
            }
        }
    }
    println!("{good} accepted, {bad} refused");
    assert!(good > 0 && bad > 0, "both outcomes belong to the test");
}

#[test]
fn files_made_to_exhaust_the_reader_are_refused_quickly() {
    let laughs: String = (1..10).fold("a0: &a0 [x]\n".to_owned(), |all, n| {
        let last = n - 1;
        all + &format!(
            "a{n}: &a{n} [{}]\n",
            vec![format!("*a{last}"); 9].join(", ")
        )
    });
    let many_keys: String = (0..300_000).map(|n| format!("k{n}: 1\n")).collect();
    let bombs: Vec<(&str, String)> = vec![
        ("billion laughs", laughs),
        ("too large", "#".repeat(5 << 20)),
        ("many keys", many_keys),
        ("open lists", "[".repeat(1 << 20)),
        ("open block lists", "- ".repeat(1 << 20)),
        ("open mappings", "{a: ".repeat(1 << 18)),
        ("complex keys", "? ".repeat(1 << 20)),
        ("one long line", format!("a: {}", "x".repeat(3 << 20))),
        ("documents", "---\n".repeat(1 << 18)),
        (
            "a quote that stays open",
            format!("a: \"{}", "x\n".repeat(1 << 20)),
        ),
        ("blank", "\n".repeat(4 << 20)),
        ("anchors", "&a ".repeat(1 << 18)),
        ("commas", format!("[{}]", ",".repeat(1 << 20))),
        ("a list of nothing", format!("[{}]", "a,".repeat(1 << 20))),
        ("colons", ":".repeat(1 << 20)),
        ("colons and blanks", ": ".repeat(1 << 19)),
    ];
    for (name, bomb) in bombs {
        let start = std::time::Instant::now();
        assert!(check(bomb.as_bytes(), "bomb.yaml").is_err(), "{name}");
        let took = start.elapsed();
        println!("{name}: {took:?}");
        assert!(took.as_secs() < 10, "{name} took {took:?}");
    }
}

#[test]
fn the_largest_manifest_that_the_language_takes_loads() {
    let paths: String = (0..50_000)
        .map(|n| format!("      - /data/inputs/project/{n:06}\n"))
        .collect();
    let source =
        format!("version: \"1.0\"\nagent: {{name: big}}\npermissions:\n  fs:\n    read:\n{paths}");
    let policy = check(source.as_bytes(), "big.yaml").unwrap();
    assert!(policy.rules.len() > 50_000);
}
