//! The reference evaluator and the kernel's side of the compiled image give the same answers.

mod compare;
mod generate;

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
