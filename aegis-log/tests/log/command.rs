//! `aegis-verify` as an auditor runs it.

use std::process::{Command, Output};

use aegis_log::{Disclose, Reader};

use crate::common::{Log, append_range};

fn run(log: &Log, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_aegis-verify"))
        .arg("--dir")
        .arg(log.dir())
        .args(args)
        .output()
        .unwrap()
}

fn answer(output: &Output) -> (i32, String) {
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout.clone()).unwrap(),
    )
}

#[test]
fn an_intact_log_is_0_a_tampered_one_1_and_a_torn_one_3() {
    let log = Log::varied();
    let (code, text) = answer(&run(&log, &[]));
    assert!(
        code == 0 && text.starts_with("INTACT: 24 entries (0 to 23)"),
        "{text}"
    );
    assert!(
        text.contains("the key was taken from the folder itself"),
        "{text}"
    );

    let key = log.dir().join("log.vkey");
    let vkey = String::from_utf8(log.read("log.vkey")).unwrap();
    for key in [key.to_str().unwrap(), vkey.trim()] {
        let (code, text) = answer(&run(&log, &["--key", key]));
        assert!(code == 0 && !text.contains("folder itself"), "{text}");
    }

    let name = log.names(".seg").pop().unwrap();
    let bytes = log.read(&name);
    log.write(&name, &[&bytes[..], &[1; 9]].concat());
    let (code, text) = answer(&run(&log, &[]));
    assert!(code == 3 && text.starts_with("INCOMPLETE"), "{text}");

    let mut changed = bytes.clone();
    changed[200] ^= 1;
    log.write(&name, &changed);
    let (code, text) = answer(&run(&log, &[]));
    assert!(code == 1 && text.starts_with("TAMPERED"), "{text}");
    assert!(
        text.contains("first bad: entry ") && text.contains(&name),
        "{text}"
    );
}

#[test]
fn the_answer_for_machines_names_the_first_bad_entry() {
    let log = Log::varied();
    let (code, text) = answer(&run(&log, &["--json"]));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (
            code,
            &value["verdict"],
            &value["entries"],
            &value["version"]
        ),
        (0, &"intact".into(), &24.into(), &1.into())
    );
    assert!(value["checkpoint"].as_str().unwrap().starts_with("aegis/"));
    let name = log.names(".seg").remove(0);
    let mut changed = log.read(&name);
    changed[100] ^= 1;
    log.write(&name, &changed);
    let (code, text) = answer(&run(&log, &["--json"]));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let bad = &value["findings"][0];
    assert_eq!((code, &value["verdict"]), (1, &"tampered".into()));
    assert_eq!(
        (&bad["code"], &bad["seq"], &bad["file"], &bad["offset"]),
        (&"entry-damaged".into(), &0.into(), &name.into(), &72.into())
    );
}

#[test]
fn a_kept_checkpoint_finds_a_cut_end() {
    let log = Log::new();
    let mut writer = log.open();
    append_range(&mut writer, 0..5);
    writer.close().unwrap();
    let yesterday = log.copy();
    let mut writer = log.open();
    append_range(&mut writer, 5..9);
    let kept = yesterday.dir().parent().unwrap().join("kept");
    std::fs::write(&kept, writer.commit().unwrap().note()).unwrap();
    writer.close().unwrap();
    let kept = kept.to_str().unwrap();
    assert_eq!(answer(&run(&log, &["--checkpoint", kept])).0, 0);
    assert_eq!(answer(&run(&yesterday, &[])).0, 0);
    let (code, text) = answer(&run(&yesterday, &["--checkpoint", kept]));
    assert!(
        code == 1 && text.contains("entries 5 to 8") && text.contains("cut off"),
        "{text}"
    );
}

#[test]
fn receipts_are_checked_on_their_own() {
    let log = Log::varied();
    let reader = Reader::open(log.dir()).unwrap();
    let file = log.dir().parent().unwrap().join("receipt");
    let text = reader.receipt(7, Disclose::Body).unwrap().to_string();
    std::fs::write(&file, &text).unwrap();
    let file_name = file.to_str().unwrap();
    let vkey = reader.vkey().to_string();
    let (code, answered) = answer(&run(&log, &["--receipt", file_name, "--key", &vkey]));
    assert!(
        code == 0 && answered.starts_with("PROVEN: entry 7 of kind 3"),
        "{answered}"
    );
    std::fs::write(&file, text.replacen("index 7", "index 6", 1)).unwrap();
    let (code, answered) = answer(&run(&log, &["--receipt", file_name, "--json"]));
    assert!(code == 1 && answered.contains("not-proven"), "{answered}");
}

#[test]
fn what_can_not_be_answered_is_2() {
    let log = Log::varied();
    for args in [
        &["--nonsense"][..],
        &["--key", "nonsense"],
        &["--checkpoint", "/nonexistent"],
        &["--dir"],
        &["--receipt", "/nonexistent"],
    ] {
        let output = run(&log, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{args:?}"
        );
    }
    let nowhere = Command::new(env!("CARGO_BIN_EXE_aegis-verify"))
        .args(["--dir", "/nonexistent"])
        .output()
        .unwrap();
    assert_eq!(nowhere.status.code(), Some(2));
    let foreign = run(
        &log,
        &[
            "--key",
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        ],
    );
    assert_eq!(
        foreign.status.code(),
        Some(1),
        "the folder's key is not the key given"
    );
    let help = run(&log, &["--help"]);
    assert!(help.status.success() && answer(&help).1.contains("--checkpoint FILE"));
}
