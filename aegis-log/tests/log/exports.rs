//! Exports and consistency proofs, checked on files alone: by this crate, by `aegis-verify`, by a library
//! for such logs.

use std::path::{Path, PathBuf};
use std::process::Command;

use aegis_log::{
    Code, Consistency, ConsistencyError, Disclose, ExportOptions, ExportReport, ProveError, Reader,
    SignedCheckpoint, VerifyOptions, verify_export,
};

use crate::common::{EVENING, Log, append_range, body};
use crate::kept::kept;

fn export(log: &Log, name: &str, options: &ExportOptions) -> PathBuf {
    let out = log.dir().parent().unwrap().join(name);
    let mut last = (0, 0);
    let reader = Reader::open(log.dir()).unwrap();
    let checkpoint = reader
        .export_tiles(&out, options, &mut |done, all| last = (done, all))
        .unwrap();
    assert_eq!(last, (checkpoint.size(), checkpoint.size()));
    out
}

fn check(dir: &Path, checkpoints: &[SignedCheckpoint]) -> ExportReport {
    let options = VerifyOptions {
        checkpoints: checkpoints.to_vec(),
        ..VerifyOptions::default()
    };
    verify_export(dir, &options, &mut |_, _| {}).unwrap()
}

fn all_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all_files(&path, found);
        } else {
            found.push(path);
        }
    }
}

const BODIES: ExportOptions = ExportOptions {
    bodies: true,
    checkpoint: None,
};

fn long() -> Log {
    let mut log = Log::new();
    log.segment_bytes = 50_000;
    let mut writer = log.open();
    for seq in 0..600_u64 {
        writer.append(1, EVENING, &body(seq)).unwrap();
        if seq % 150 == 149 {
            writer.commit().unwrap();
        }
    }
    writer.close().unwrap();
    log
}

#[test]
fn an_export_shows_headers_and_bodies_only_where_asked() {
    let log = long();
    let secret = body(7);
    let has = |dir: &Path| {
        let mut files = Vec::new();
        all_files(dir, &mut files);
        files.iter().any(|file| {
            let bytes = std::fs::read(file).unwrap();
            bytes.windows(secret.len()).any(|part| part == secret)
        })
    };
    let headers = export(&log, "headers", &ExportOptions::default());
    let report = check(&headers, &[]);
    assert_eq!(
        (report.exit_code(), report.entries, report.bodies),
        (0, 600, None),
        "{report}"
    );
    assert!(!has(&headers));
    let bodies = export(&log, "bodies", &BODIES);
    let report = check(&bodies, &[]);
    assert_eq!(
        (report.exit_code(), report.entries, report.bodies),
        (0, 600, Some(600)),
        "{report}"
    );
    assert!(has(&bodies));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(bodies.join("bodies/000"))
            .unwrap()
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn every_changed_byte_of_an_export_is_found() {
    let log = Log::varied();
    let out = export(&log, "out", &BODIES);
    let mut files = Vec::new();
    all_files(&out, &mut files);
    assert_eq!(files.len(), 5, "{files:?}");
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            std::fs::write(&file, &changed).unwrap();
            let report = check(&out, &[]);
            assert_eq!(report.exit_code(), 1, "byte {at} of {}", file.display());
        }
        // A note may lose its last newline on the way, and be one still.
        let cut = if file.ends_with("checkpoint") { 2 } else { 1 };
        for changed in [&bytes[..bytes.len() - cut], &[&bytes[..], &[0]].concat()] {
            std::fs::write(&file, changed).unwrap();
            assert_eq!(check(&out, &[]).exit_code(), 1, "{}", file.display());
        }
        std::fs::remove_file(&file).unwrap();
        let gone = verify_export(&out, &VerifyOptions::default(), &mut |_, _| {});
        // Without its checkpoint it is no export at all.
        assert!(gone.is_ok_and(|report| report.exit_code() == 1) != file.ends_with("checkpoint"));
        std::fs::write(&file, &bytes).unwrap();
    }
    assert_eq!(check(&out, &[]).exit_code(), 0);
}

#[test]
fn an_export_is_held_against_kept_checkpoints_and_ends_where_it_is_told() {
    let log = long();
    let reader = Reader::open(log.dir()).unwrap();
    let earlier = reader.checkpoint_at(450).unwrap().unwrap();
    let out = export(&log, "whole", &ExportOptions::default());
    let both = [earlier.clone(), kept(&log)];
    assert_eq!(check(&out, &both).exit_code(), 0);
    let part = ExportOptions {
        bodies: true,
        checkpoint: Some(earlier),
    };
    let part = export(&log, "part", &part);
    let report = check(&part, &both[..1]);
    assert_eq!((report.exit_code(), report.entries), (0, 450), "{report}");
    let report = check(&part, &both);
    assert_eq!(
        (report.exit_code(), report.findings[0].code),
        (1, Code::KeptCheckpoint),
        "{report}"
    );
    // Nothing is written over, and nothing of other logs is vouched for.
    let again = reader.export_tiles(&part, &BODIES, &mut |_, _| {});
    assert!(matches!(again, Err(ProveError::Read(_))), "{again:?}");
    let foreign = ExportOptions {
        bodies: false,
        checkpoint: Some(kept(&Log::varied())),
    };
    let nowhere = log.dir().parent().unwrap().join("nowhere");
    assert!(
        reader
            .export_tiles(&nowhere, &foreign, &mut |_, _| {})
            .is_err()
    );
    assert!(!nowhere.join("checkpoint").exists());
}

#[test]
fn a_damaged_log_is_not_exported() {
    let log = Log::varied();
    let name = log.names(".seg").remove(0);
    let mut bytes = log.read(&name);
    // The body of the first entry, its check left as it is.
    let last = bytes.iter().rposition(|byte| *byte == b'x').unwrap();
    bytes[last] ^= 1;
    log.write(&name, &bytes);
    let out = log.dir().parent().unwrap().join("out");
    let reader = Reader::open(log.dir()).unwrap();
    assert!(reader.export_tiles(&out, &BODIES, &mut |_, _| {}).is_err());
    assert!(!out.join("checkpoint").exists());
}

fn verify_command(args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_aegis-verify"))
        .args(args)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), text)
}

#[test]
fn aegis_verify_checks_exports() {
    let log = Log::varied();
    let out = export(&log, "out", &BODIES);
    let dir = out.to_str().unwrap();
    let (code, text) = verify_command(&["--export", dir]);
    assert!(
        code == 0 && text.starts_with("INTACT: the export has all 24 entries"),
        "{text}"
    );
    let key = String::from_utf8(log.read("log.vkey")).unwrap();
    let (code, text) = verify_command(&["--export", dir, "--key", key.trim(), "--json"]);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (
            code,
            &value["verdict"],
            &value["bodies"],
            &value["key_trusted"]
        ),
        (0, &"intact".into(), &24.into(), &true.into())
    );
    std::fs::remove_file(out.join("tile/0/000.p/24")).unwrap();
    let (code, text) = verify_command(&["--export", dir]);
    assert!(
        code == 1 && text.contains("tile/0/000.p/24"),
        "{code} {text}"
    );
    assert_eq!(verify_command(&["--export", "/nonexistent"]).0, 2);
}

#[test]
fn any_two_checkpoints_have_a_proof_that_the_oracle_takes() {
    let log = long();
    let reader = Reader::open(log.dir()).unwrap();
    let mut all = Vec::new();
    for size in 0..=600 {
        all.extend(reader.checkpoint_at(size).unwrap());
    }
    assert!(all.len() > 6 && all[0].size() == 0 && all.last().unwrap().size() == 600);
    let hash = |checkpoint: &SignedCheckpoint| tlog_tiles::Hash(checkpoint.root().0);
    for new in &all {
        for old in all.iter().filter(|old| old.size() <= new.size()) {
            let text = reader.prove(old.size(), new).unwrap().to_string();
            let proof = Consistency::parse(&text).unwrap();
            proof.verify(old, reader.vkey()).unwrap();
            let hashes: Vec<_> = text
                .split("\n\n")
                .next()
                .unwrap()
                .lines()
                .skip(1)
                .map(|line| tlog_tiles::Hash::parse_hash(line).unwrap())
                .collect();
            if old.size() > 0 {
                tlog_tiles::check_tree(&hashes, new.size(), hash(new), old.size(), hash(old))
                    .unwrap();
            }
            for other in all.iter().filter(|other| other.size() != old.size()) {
                assert!(proof.verify(other, reader.vkey()).is_err());
            }
        }
    }
    assert!(matches!(
        reader.prove(601, &all[0]),
        Err(ProveError::OutOfRange { .. })
    ));
}

#[test]
fn a_fork_has_no_proof_and_an_altered_one_does_not_hold() {
    let log = Log::new();
    let mut writer = log.open();
    append_range(&mut writer, 0..5);
    writer.close().unwrap();
    let fork = log.copy();
    for (log, count) in [(&log, 9), (&fork, 12)] {
        let mut writer = log.open();
        append_range(&mut writer, 5..count);
        writer.close().unwrap();
    }
    let (reader, forked) = (
        Reader::open(log.dir()).unwrap(),
        Reader::open(fork.dir()).unwrap(),
    );
    assert!(matches!(
        forked.prove(5, &kept(&log)),
        Err(ProveError::Fork(9))
    ));
    let proof = forked.prove(9, &kept(&fork)).unwrap();
    assert!(matches!(
        proof.verify(&kept(&log), reader.vkey()),
        Err(ConsistencyError::Proof(_))
    ));
    let text = reader.prove(5, &kept(&log)).unwrap().to_string();
    let earlier = reader.checkpoint_at(5).unwrap().unwrap();
    for (at, _) in text.char_indices() {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        let Ok(changed) = String::from_utf8(changed) else {
            continue;
        };
        let held =
            Consistency::parse(&changed).is_ok_and(|p| p.verify(&earlier, reader.vkey()).is_ok());
        assert!(!held, "{at}");
    }
}

#[test]
fn aegis_verify_checks_consistency_on_files_alone() {
    let log = Log::varied();
    let reader = Reader::open(log.dir()).unwrap();
    let folder = log.dir().parent().unwrap().to_path_buf();
    let earlier = reader.checkpoint_at(9).unwrap().unwrap();
    let proof = reader.prove(9, reader.checkpoint().unwrap()).unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name).to_str().unwrap().to_owned()
    };
    let (proof, old) = (
        file("proof", &proof.to_string()),
        file("old", earlier.note()),
    );
    let key = reader.vkey().to_string();
    let args = ["--consistency", &proof, "--checkpoint", &old, "--key", &key];
    let (code, text) = verify_command(&args);
    assert!(
        code == 0 && text.contains("only grew from 9 entries to 24"),
        "{text}"
    );
    let newer = file("newer", reader.checkpoint().unwrap().note());
    let args = [
        "--consistency",
        &proof,
        "--checkpoint",
        &newer,
        "--key",
        &key,
        "--json",
    ];
    let (code, text) = verify_command(&args);
    assert!(code == 1 && text.contains("not-proven"), "{text}");
}

#[test]
fn the_oracle_takes_our_receipts() {
    let log = long();
    let reader = Reader::open(log.dir()).unwrap();
    for seq in [0, 255, 256, 599] {
        let text = reader.receipt(seq, Disclose::Header).unwrap().to_string();
        let (proof, note) = text.split_once("\n\n").unwrap();
        let mut lines = proof.lines();
        assert_eq!(lines.next(), Some("c2sp.org/tlog-proof@v1"));
        let extra = lines.next().unwrap().strip_prefix("extra ").unwrap();
        let frame = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, extra);
        let header = frame.unwrap().split_off(16);
        assert_eq!(lines.next(), Some(format!("index {seq}").as_str()));
        let path: Vec<_> = lines
            .map(|line| tlog_tiles::Hash::parse_hash(line).unwrap())
            .collect();
        let note = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
        let verifier = signed_note::StandardVerifier::new(&reader.vkey().to_string()).unwrap();
        note.verify(&signed_note::VerifierList::new(vec![Box::new(verifier)]))
            .unwrap();
        let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
        let root = tlog_tiles::Hash(checkpoint.hash().0);
        let leaf = tlog_tiles::record_hash(&header);
        tlog_tiles::check_record(&path, checkpoint.size(), root, seq, leaf).unwrap();
    }
}
