use std::{fs, os::unix::fs::PermissionsExt as _};

use super::redactor;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("tempdir");
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("mode");
    }
    dir
}

fn rule(name: &str) -> String {
    format!("version: \"1.0\"\nrules:\n  - {{name: {name}, pattern: 'acme_[0-9]+'}}\n")
}

fn refused(dir: &tempfile::TempDir) -> String {
    redactor(dir.path()).expect_err("refused").to_string()
}

#[test]
fn the_rules_of_all_files_are_used() {
    let dir = folder(&[("a.yaml", &rule("a")), ("b.yaml", &rule("b")), ("README", "not a rule")]);
    let (redactor, count) = redactor(dir.path()).expect("rules");
    assert_eq!(count, 2);
    assert_eq!(redactor.text(b"acme_7").expect("found").0, b"[redacted:a]");
}

#[test]
fn no_folder_is_no_rule_of_the_operators() {
    let dir = folder(&[]);
    assert_eq!(redactor(&dir.path().join("none")).expect("built-in").1, 0);
}

#[test]
fn one_name_in_two_files_is_refused_with_its_place() {
    let dir = folder(&[("a.yaml", &rule("a")), ("b.yaml", &rule("a"))]);
    let error = refused(&dir);
    assert!(error.contains("b.yaml:3:12") && error.contains("a rule `a` already"), "{error}");
}

#[test]
fn what_others_could_have_written_is_refused() {
    let dir = folder(&[("a.yaml", &rule("a"))]);
    let file = dir.path().join("a.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).expect("mode");
    assert!(refused(&dir).contains("may be written by others (mode 664)"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("mode");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("mode");
    assert!(refused(&dir).contains("may be written by others (mode 777)"));
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("mode");
    fs::rename(&file, dir.path().join("other")).expect("renamed");
    std::os::unix::fs::symlink("other", &file).expect("link");
    assert!(refused(&dir).contains("is a symbolic link"));
}

#[test]
fn what_would_be_passed_over_in_silence_is_refused() {
    let dir = folder(&[("a.yml", &rule("a"))]);
    assert!(refused(&dir).contains("rename it to `.yaml`"));
    let dir = folder(&[]);
    fs::create_dir(dir.path().join("a.yaml")).expect("folder");
    assert!(refused(&dir).contains("it is no file"));
    let dir = folder(&[("a.yaml", &" ".repeat(300_000))]);
    assert!(refused(&dir).contains("more than 262144 bytes"));
}

#[test]
fn a_mistyped_name_of_the_settings_does_not_leave_the_log_open() {
    let dir = folder(&[("aegis.yml", "version: \"1.0\"\naudit: {access: two-person}\n")]);
    let path = dir.path().join("aegis.yaml");
    let error = super::settings(&path).expect_err("refused").to_string();
    assert!(error.contains("aegis.yml: rename it to ") && error.contains("aegis.yaml"), "{error}");
    fs::rename(dir.path().join("aegis.yml"), &path).expect("renamed");
    assert_eq!(super::settings(&path).expect("settings").reading.access.word(), "two-person");
    fs::remove_file(&path).expect("removed");
    assert_eq!(super::settings(&path).expect("none").reading.access.word(), "open");
}
