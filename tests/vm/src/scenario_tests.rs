//! The shipped scenarios are themselves checked: ids, doc lines, programs, meaning.

use super::{Kind, Scenario, load};
use std::collections::BTreeSet;
use std::path::Path;

fn shipped() -> Vec<Scenario> {
    load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"))).unwrap()
}

#[test]
fn every_shipped_scenario_has_a_unique_id_and_a_doc_line() {
    let scenarios = shipped();
    let ids: BTreeSet<_> = scenarios.iter().map(|s| &s.id).collect();
    assert_eq!(ids.len(), scenarios.len());
    let titles: BTreeSet<_> = scenarios.iter().map(|s| &s.title).collect();
    assert_eq!(titles.len(), scenarios.len());
    assert!(scenarios.iter().all(|s| !s.doc.is_empty()));
}

#[test]
fn the_suite_covers_the_attacks_it_must() {
    let scenarios = shipped();
    assert!(scenarios.len() >= 25, "{} scenarios", scenarios.len());
    let attacks: BTreeSet<_> = scenarios.iter().flat_map(|s| s.attacks.iter().map(String::as_str)).collect();
    for number in ["1", "2", "3", "5", "6", "7", "8", "9", "10", "11", "13", "17", "18", "19", "21", "22", "24", "25", "26"] {
        assert!(attacks.contains(number), "no scenario for attack {number}");
    }
    // What may never be open.
    for s in scenarios.iter().filter(|s| s.is_open()) {
        assert!(!s.attacks.iter().any(|a| ["1", "2", "10", "18", "26"].contains(&a.as_str())), "{} is open", s.id);
    }
}

#[test]
fn whatever_takes_long_still_runs_on_a_kernel_that_there_is() {
    #[derive(serde::Deserialize)]
    struct Entry {
        series: String,
    }
    #[derive(serde::Deserialize)]
    struct Matrix {
        kernel: Vec<Entry>,
    }
    let matrix: Matrix = toml::from_str(include_str!("../kernels.toml")).unwrap();
    for s in shipped() {
        for named in s.brief_kernels.iter().flatten() {
            assert!(matrix.kernel.iter().any(|one| one.series == *named), "{}: {named}", s.id);
        }
    }
}

#[test]
fn programs_lie_beside_their_scenarios() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    for s in shipped() {
        for program in &s.programs {
            let beside = root.join(&s.id).parent().unwrap().join(program);
            assert!(beside.is_file() || root.join("lib").join(program).is_file(), "{}: {program}", s.id);
        }
    }
}

#[test]
fn steps_that_acts_ask_for_are_there_and_tries_are_named_in_the_act() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    for s in shipped() {
        let text: String = s
            .programs
            .iter()
            .map(|p| std::fs::read_to_string(root.join(&s.id).parent().unwrap().join(p)).unwrap_or_default())
            .collect();
        for step in s.steps.keys() {
            assert!(text.contains(step.as_str()), "{}: nobody asks for step {step}", s.id);
        }
    }
}

#[test]
fn the_attack_table_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/attack-table.md");
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == crate::report::markdown(&shipped()),
        "docs/attack-table.md is stale: cargo run -p aegis-vm-tests -- list --markdown --dir tests/vm/scenarios > docs/attack-table.md"
    );
}

fn one(extra: &str) -> Result<(), String> {
    let text = format!("id='a/b'\ntitle='t'\ndoc='d'\nact='true'\n{extra}");
    toml::from_str::<Scenario>(&text).map_err(|e| e.to_string())?.check("a/b")
}

#[test]
fn a_scenario_that_can_show_nothing_is_refused() {
    let allowed = "[[try]]\nname='allowed'\ninside='ok'\n";
    assert!(one(&format!("[[try]]\nname='x'\ninside='EACCES'\nevent={{kind='file'}}\n{allowed}")).is_ok());
    assert!(one("[[try]]\nname='x'\ninside='EACCES'\nevent={kind='file'}\n").unwrap_err().contains("nothing is allowed"));
    assert!(one("[[try]]\nname='x'\ninside='EACCES'\n").unwrap_err().contains("names no event"));
    assert!(one("[[try]]\nname='x'\noutside='EPERM'\ninside='EPERM'\n").unwrap_err().contains("shows nothing"));
    assert!(one("[[try]]\nname='x y'\ninside='ok'\n").unwrap_err().contains("without blanks"));
    assert!(one("[[try]]\nname='x'\ninside='ok'\n[[world]]\nwhat='w'\nprobe='p'\ninside=''\n").unwrap_err().contains("control"));
    assert!(one("surprise=1\n[[try]]\nname='x'\ninside='ok'\n").is_err());
}

#[test]
fn a_known_open_try_asserts_that_the_attack_succeeds() {
    let s: Scenario = toml::from_str(
        "id='a/b'\ntitle='t'\ndoc='d'\nact='true'\n[[try]]\nname='x'\ninside='EACCES'\nknown_open='why'\nevent={kind='file'}\n",
    )
    .unwrap();
    assert_eq!((s.tries[0].inside_on("6.1"), s.tries[0].event_on("6.1").is_none()), (["ok".to_owned()].as_slice(), true));
}

#[test]
fn a_kernel_override_asserts_the_opposite_there_only() {
    let s: Scenario = toml::from_str(
        "id='a/b'\ntitle='t'\ndoc='d'\nact='true'\n[[try]]\nname='x'\ninside='EACCES'\nevent={kind='file'}\n\
         kernels={'6.1'={inside='ok',why='no hook'}}\n",
    )
    .unwrap();
    assert_eq!(s.tries[0].inside_on("6.1"), ["ok"]);
    assert_eq!(s.tries[0].inside_on("6.12"), ["EACCES"]);
}

#[test]
fn operators_scripts_need_no_control() {
    assert!(one("kind='operator'\n[[try]]\nname='x'\nexpect='7'\n").is_ok());
    assert_eq!(Kind::default(), Kind::Agent);
}
