//! The list of mutations: what counts as caught, and that the list fits the scenarios.

use super::{Catch, load, markdown};
use crate::case::{Claim, Failure};
use crate::scenario::{self, Scenario, User};
use std::path::Path;

fn scenario() -> Scenario {
    toml::from_str(
        "id='a/b'\ntitle='t'\ndoc='d'\nact='true'\n[[try]]\nname='x'\ninside='EACCES'\nevent={kind='file'}\n\
         [[try]]\nname='allowed'\ninside='ok'\n[[world]]\nwhat='w'\nprobe='p'\noutside='1'\ninside='2'\n",
    )
    .unwrap()
}

fn catch(text: &str) -> Catch {
    toml::from_str(&format!("scenario='a/b'\n{text}")).unwrap()
}

fn gave(name: &str, found: Option<&str>) -> Failure {
    Failure { claim: Claim::Try(name.to_owned(), found.map(str::to_owned)), text: name.to_owned() }
}

fn survived(text: &str, failures: &[Failure]) -> Vec<String> {
    catch(text).survived(&scenario(), User::Root, "6.12", failures)
}

#[test]
fn a_refusal_is_gone_only_when_the_try_gives_what_it_gives_outside() {
    assert_eq!(survived("tries=['x']", &[]), ["try x"]);
    assert_eq!(survived("tries=['x']", &[gave("x", Some("EPERM"))]), ["try x (x)"]);
    assert_eq!(survived("tries=['x']", &[gave("x", None)]), ["try x (x)"]);
    assert!(survived("tries=['x']", &[gave("x", Some("ok"))]).is_empty());
}

#[test]
fn an_allowed_try_is_caught_when_it_is_refused_and_not_when_the_act_died() {
    assert!(survived("tries=['allowed']", &[gave("allowed", Some("EACCES"))]).is_empty());
    assert_eq!(survived("tries=['allowed']", &[gave("allowed", None)]), ["try allowed (allowed)"]);
}

#[test]
fn an_event_or_the_run_says_nothing_of_an_effect() {
    let event = Failure { claim: Claim::Event("x".into()), text: String::new() };
    let run = Failure { claim: Claim::Run, text: String::new() };
    assert_eq!(survived("tries=['x']\nprobes=['w']", &[event, run]), ["try x", "probe \"w\""]);
    let world = Failure { claim: Claim::Probe("w".into()), text: String::new() };
    assert!(survived("probes=['w']", &[world]).is_empty());
}

#[test]
fn a_user_as_whom_nothing_named_is_tried_catches_nothing() {
    let mut scenario = scenario();
    scenario.tries[0].users = vec![User::Root];
    assert_eq!(catch("tries=['x']").survived(&scenario, User::Agent, "6.12", &[]).len(), 1);
}

#[test]
fn what_no_scenario_has_is_refused() {
    let refused = |text: &str| catch(text).check(&[scenario()]).unwrap_err().to_string();
    assert!(refused("tries=['y']").contains("no try"));
    assert!(refused("probes=['y']").contains("no probe"));
    assert!(refused("").contains("name the tries"));
    assert!(refused("events=['x']").contains("say why"));
    assert!(catch("events=['x']\nwhy='records only'").check(&[scenario()]).is_ok());
}

#[test]
fn the_table_of_mutations_is_the_generated_one() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scenarios = scenario::load(&here.join("scenarios")).unwrap();
    let mutations = load(&here.join("mutations.toml"), &scenarios).unwrap();
    let there = std::fs::read_to_string(here.join("../../docs/mutations.md")).unwrap_or_default();
    assert!(
        there == markdown(&mutations, &scenarios).unwrap(),
        "docs/mutations.md is stale: cargo xtask mutate --markdown > docs/mutations.md"
    );
}
