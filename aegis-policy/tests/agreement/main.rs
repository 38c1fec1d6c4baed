//! The reference evaluator and the kernel's side of the compiled image give the same answers.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic fails the test that called them"
)]

mod compare;
mod generate;
mod planted;

use aegis_common::path::perm;
use aegis_policy::check;
use compare::{Pair, image};
use generate::{Question, host, manifest, questions, steps};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::cell::Cell;

/// Policies asked; each gets forty questions.
const POLICIES: u32 = 3000;

fn runner(cases: u32) -> TestRunner {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

#[test]
fn simulated_kernel_and_reference_agree_on_generated_policies_and_both_answers_are_common() {
    let (allowed, denied) = (Cell::new(0u64), Cell::new(0u64));
    let mut runner = runner(POLICIES);
    let result = runner.run(
        &(steps(), manifest(), questions()),
        |(steps, manifest, questions)| {
            let host = host(&steps);
            let policy = check(manifest.as_bytes(), "generated.yaml")
                .map_err(|e| TestCaseError::fail(format!("{e:?}")))?;
            let pair = Pair::new(&policy, &host);
            let image = image(&policy, &host);
            for question in &questions {
                let yes = pair
                    .ask(&image, question)
                    .map_err(|d| TestCaseError::fail(format!("{d}\n{manifest}")))?;
                let count = if yes { &allowed } else { &denied };
                count.set(count.get() + 1);
            }
            Ok(())
        },
    );
    if let Err(error) = result {
        panic!("{error}");
    }
    let all = allowed.get() + denied.get();
    println!(
        "{all} cases: {} allowed, {} denied",
        allowed.get(),
        denied.get()
    );
    assert!(
        allowed.get() * 100 >= all * 30,
        "only {} of {all} cases allow",
        allowed.get()
    );
    assert!(
        denied.get() * 100 >= all * 30,
        "only {} of {all} cases deny",
        denied.get()
    );
}

/// Worlds in which each planted mistake is looked for.
const WORLDS: usize = 300;

#[test]
fn every_kind_of_planted_mistake_in_an_image_is_found() {
    let mut runner = runner(1);
    let strategy = (steps(), manifest(), questions());
    let mut found = planted::MISTAKES.map(|(name, _)| (name, 0u32, 0u32));
    for _ in 0..WORLDS {
        let (steps, manifest, questions) = strategy.new_tree(&mut runner).unwrap().current();
        let host = host(&steps);
        let policy = check(manifest.as_bytes(), "generated.yaml").unwrap();
        let pair = Pair::new(&policy, &host);
        let sound = image(&policy, &host);
        for ((_, plant), (_, planted, seen)) in planted::MISTAKES.iter().zip(&mut found) {
            let mut wrong = sound.clone();
            if plant(&mut wrong) {
                *planted += 1;
                *seen += u32::from(questions.iter().any(|q| pair.ask(&wrong, q).is_err()));
            }
        }
    }
    for (name, planted, seen) in found {
        println!("{name}: planted {planted}, found {seen}");
        assert!(planted >= 10, "{name}: planted only {planted} times");
        assert!(seen > 0, "{name}: planted {planted} times, never found");
    }
}

#[test]
fn a_hidden_mount_hides_no_link_from_a_glob() {
    use generate::Step;
    let host = host(&[
        Step::Mount { dev: 1, root: "/".into(), at: "/a/a".into() },
        Step::Mount { dev: 10, root: "/".into(), at: "/a".into() },
        Step::Link { at: "/a/a".into(), target: "/b".into() },
    ]);
    let text = b"version: \"1.0\"\nagent: {name: x}\ndefault: allow\nbaseline: none\npermissions: {fs: {deny: [\"/*/a/*\"]}}\n";
    let policy = check(text, "a.yaml").unwrap();
    let (pair, image) = (Pair::new(&policy, &host), image(&policy, &host));
    let ask = |path: &str| pair.ask(&image, &Question::File { path: path.into(), wanted: perm::READ });
    assert_eq!((ask("/b/a"), ask("/b")), (Ok(false), Ok(true)));
}

#[test]
fn a_name_deeper_than_the_walk_is_denied_by_both_sides() {
    let host = host(&[]);
    let policy = check(
        b"version: \"1.0\"\nagent: {name: x}\ndefault: allow\nbaseline: none\n",
        "a.yaml",
    )
    .unwrap();
    let (pair, image) = (Pair::new(&policy, &host), image(&policy, &host));
    let ask = |depth| {
        pair.ask(
            &image,
            &Question::File {
                path: "/a".repeat(depth),
                wanted: perm::READ,
            },
        )
    };
    assert_eq!(ask(64), Ok(true));
    assert_eq!(ask(65), Ok(false));
}
