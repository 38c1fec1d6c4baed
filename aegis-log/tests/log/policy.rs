//! Policies: what `aegis-verify --policy` demands of logs, exports, receipts and proofs.

use std::path::{Path, PathBuf};
use std::process::Command;

use aegis_log::{
    Answer, Cosigned, Disclose, ExportOptions, Reader, SignedCheckpoint, VerifierKey, Witness,
};

use crate::common::{Log, append_range, folder};
use crate::kept::kept;

/// A log with witnesses, and what they cosigned.
struct Watched {
    log: Log,
    witnesses: Vec<(tempfile::TempDir, Witness)>,
}

impl Watched {
    fn new(entries: u64) -> Self {
        let log = Log::new();
        let mut writer = log.open();
        append_range(&mut writer, 0..entries);
        writer.close().unwrap();
        let key = Reader::open(log.dir()).unwrap().vkey().clone();
        let witness = |name: &str| {
            let dir = folder();
            let witness = Witness::open(dir.path(), Some(name), vec![key.clone()]).unwrap();
            (dir, witness)
        };
        let witnesses = ["a.example/w", "b.example/w", "c.example/w"].map(witness);
        Self {
            log,
            witnesses: witnesses.into(),
        }
    }

    /// The newest checkpoint, cosigned by these.
    fn cosigned(&mut self, by: &[usize]) -> SignedCheckpoint {
        let reader = Reader::open(self.log.dir()).unwrap();
        let mut checkpoint = reader.checkpoint().unwrap().clone();
        for at in by {
            let (_, witness) = &mut self.witnesses[*at];
            let ask = |witness: &mut Witness, old| {
                let request = reader.prove(old, &checkpoint).unwrap().to_string();
                witness.add_checkpoint(request.as_bytes(), 1_795_132_800)
            };
            let mut answer = ask(witness, 0);
            if let Answer::Conflict(seen) = answer {
                answer = ask(witness, seen);
            }
            checkpoint = checkpoint
                .with_cosignature(&answer.body(), witness.key())
                .unwrap();
        }
        checkpoint
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.log.dir().with_file_name(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Two of three.
    fn policy(&self) -> String {
        let mut text = format!("log {}\n", self.vkey());
        for (name, (_, witness)) in ["A", "B", "C"].iter().zip(&self.witnesses) {
            text += &format!("witness {name} {}\n", witness.key());
        }
        self.file("policy", &(text + "group most 2 A B C\nquorum most\n"))
    }

    fn vkey(&self) -> VerifierKey {
        Reader::open(self.log.dir()).unwrap().vkey().clone()
    }

    fn dir(&self) -> PathBuf {
        self.log.dir()
    }
}

fn run(args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_aegis-verify"))
        .args(args)
        .output()
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), text)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_log_needs_a_checkpoint_that_a_quorum_cosigned_and_that_it_extends() {
    let mut watched = Watched::new(9);
    let (dir, policy) = (watched.dir(), watched.policy());
    let verify = |more: &[&str]| run(&[&["--dir", text(&dir), "--policy", &policy], more].concat());
    let (code, answer) = verify(&[]);
    assert!(code == 1 && answer.starts_with("UNWITNESSED"), "{answer}");
    assert!(
        !answer.contains("folder itself"),
        "the policy's key counts as given: {answer}"
    );
    let one = watched.cosigned(&[0]);
    let one = watched.file("one", one.note());
    let (code, answer) = verify(&["--checkpoint", &one]);
    assert!(
        code == 1 && answer.contains("cosigned by A alone"),
        "{answer}"
    );
    let two = watched.cosigned(&[0, 2]);
    Cosigned::beside(&dir)
        .keep(&two, 1_795_132_800_000_000_000)
        .unwrap();
    let (code, answer) = verify(&[]);
    assert!(
        code == 0
            && answer.contains(
                "the first 9 entries are vouched for by A (2026-11-20 00:00:00 UTC), C ("
            ),
        "{answer}"
    );
    let (code, answer) = verify(&["--json"]);
    let value: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(
        (code, &value["witnessed"]["size"], &value["key_trusted"]),
        (0, &9.into(), &true.into())
    );
    // What grew since is signed by the log alone, and the answer says how far the witnesses' word goes.
    let mut writer = watched.log.open();
    append_range(&mut writer, 9..12);
    writer.close().unwrap();
    let (code, answer) = verify(&[]);
    assert!(
        code == 0 && answer.contains("12 entries") && answer.contains("the first 9"),
        "{answer}"
    );
}

#[test]
fn a_log_of_others_or_an_older_one_is_not_saved_by_cosignatures() {
    let mut watched = Watched::new(5);
    let policy = watched.policy();
    let yesterday = watched.log.copy();
    let mut writer = watched.log.open();
    append_range(&mut writer, 5..9);
    writer.close().unwrap();
    let cosigned = watched.cosigned(&[0, 1, 2]);
    let newest = watched.file("newest", cosigned.note());
    let dir = yesterday.dir();
    let args = [
        "--dir",
        text(&dir),
        "--policy",
        &policy,
        "--checkpoint",
        &newest,
    ];
    let (code, answer) = run(&args);
    assert!(
        code == 1 && answer.starts_with("TAMPERED") && answer.contains("cut off"),
        "{answer}"
    );
    let other = Log::varied();
    let dir = other.dir();
    let (code, answer) = run(&["--dir", text(&dir), "--policy", &policy]);
    assert!(code == 1 && answer.contains("another log"), "{answer}");
    let key = Reader::open(&dir).unwrap().vkey().to_string();
    let (code, answer) = run(&["--dir", text(&dir), "--policy", &policy, "--key", &key]);
    assert!(
        code == 2 && answer.contains("not that of a log of the policy"),
        "{answer}"
    );
    let broken = watched.file("broken", "quorum nobody\n");
    assert_eq!(run(&["--policy", &broken]).0, 2);
}

#[test]
fn exports_receipts_and_proofs_need_the_quorum_too() {
    let mut watched = Watched::new(9);
    let policy = watched.policy();
    let few = watched.cosigned(&[1]);
    let enough = watched.cosigned(&[0, 1]);
    let reader = Reader::open(watched.dir()).unwrap();
    let earlier = watched.file("earlier", reader.checkpoint_at(0).unwrap().unwrap().note());
    for (checkpoint, expected) in [(&few, 1), (&enough, 0), (&kept(&watched.log), 1)] {
        let receipt = reader.receipt_under(3, Disclose::Body, checkpoint).unwrap();
        let receipt = watched.file("receipt", &receipt.to_string());
        let proof = reader.prove(0, checkpoint).unwrap();
        let proof = watched.file("proof", &proof.to_string());
        let out = folder();
        let options = ExportOptions {
            bodies: true,
            checkpoint: Some(checkpoint.clone()),
        };
        reader
            .export_tiles(out.path(), &options, &mut |_, _| {})
            .unwrap();
        for what in [
            &["--receipt", &receipt][..],
            &["--consistency", &proof, "--checkpoint", &earlier],
            &["--export", text(out.path())],
        ] {
            let (code, answer) = run(&[what, &["--policy", &policy]].concat());
            assert_eq!(code, expected, "{what:?}: {answer}");
            assert_eq!(
                answer.contains("vouched for by A"),
                expected == 0,
                "{answer}"
            );
            let (_, answer) = run(&[what, &["--policy", &policy, "--json"]].concat());
            let value: serde_json::Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(value["witnessed"]["size"] == 9, expected == 0, "{answer}");
            assert_eq!(value["key_trusted"], true, "{answer}");
        }
    }
    // A log that the policy does not name.
    let other = Log::varied();
    let receipt = Reader::open(other.dir())
        .unwrap()
        .receipt(1, Disclose::Header);
    let receipt = watched.file("receipt", &receipt.unwrap().to_string());
    let (code, answer) = run(&["--receipt", &receipt, "--policy", &policy]);
    assert!(code == 1 && answer.contains("is of another log"), "{answer}");
}
