//! `aegis log`: what it hands out, from a daemon and from files, is what `aegis-log` takes.

use std::path::{Path, PathBuf};

use aegis_agent::proto::control::log_point::Point;
use aegis_log::{Consistency, Receipt, Reader, VerifyOptions, Writer, WriterOptions, verify_export};
use tempfile::TempDir;

use crate::fake::{Daemon, Script, bare, outcome};

/// A log of nine entries, with checkpoints after three and six.
pub struct Log {
    dir: TempDir,
}

impl Log {
    pub fn new() -> Self {
        let log = Self { dir: tempfile::tempdir().unwrap() };
        log.grow(9);
        log
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn reader(&self) -> Reader {
        Reader::open(self.path()).unwrap()
    }

    /// So many entries more, signed three at a time.
    pub fn grow(&self, entries: u64) {
        let options = WriterOptions::new(self.path(), self.file("log.key"), [7; 16]);
        let (mut writer, _) = Writer::open(&options).unwrap();
        for seq in 1..=entries {
            writer.append(20, 1_795_132_800_000_000_000, b"what was said").unwrap();
            if seq % 3 == 0 {
                writer.commit().unwrap();
            }
        }
        writer.close().unwrap();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn receipts_of_a_folder_hold_and_show_bodies_only_where_asked() {
    let log = Log::new();
    let dir = log.path();
    let (code, shown, _) = outcome(&mut bare(&["log", "receipt", "4", "--dir", text(&dir)]));
    assert_eq!(code, 0);
    let receipt = Receipt::parse(&shown).unwrap();
    assert_eq!(receipt.verify(log.reader().vkey()).unwrap().body, None);
    let (_, shown, _) = outcome(&mut bare(&["log", "receipt", "4", "--body", "--dir", text(&dir)]));
    let proven = Receipt::parse(&shown).unwrap().verify(log.reader().vkey()).unwrap();
    assert_eq!((proven.header.seq, proven.body.as_deref()), (4, Some(&b"what was said"[..])));
    let earlier = log.file("earlier");
    std::fs::write(&earlier, log.reader().checkpoint_at(6).unwrap().unwrap().note()).unwrap();
    let words = ["log", "receipt", "4", "--checkpoint", text(&earlier), "--dir", text(&dir)];
    let (_, shown, _) = outcome(&mut bare(&words));
    assert_eq!(Receipt::parse(&shown).unwrap().checkpoint().size(), 6);
    let (code, out, message) = outcome(&mut bare(&["log", "receipt", "9", "--dir", text(&dir)]));
    assert!(code == 1 && out.is_empty() && message.contains("beyond the signed log"), "{message}");
    assert_eq!(outcome(&mut bare(&["log", "receipt", "1", "--dir", "/nonexistent"])).0, 2);
}

#[test]
fn proofs_of_a_folder_hold_from_sizes_and_from_notes() {
    let log = Log::new();
    let (dir, reader) = (log.path(), log.reader());
    let earlier = reader.checkpoint_at(3).unwrap().unwrap();
    let kept = log.file("kept");
    std::fs::write(&kept, earlier.note()).unwrap();
    for (words, size) in [(&["3"][..], 9), (&["3", "6"], 6), (&[text(&kept)], 9), (&[text(&kept), "6"], 6)] {
        let (code, shown, message) = outcome(bare(&["log", "prove", "--dir", text(&dir)]).args(words));
        assert_eq!(code, 0, "{message}");
        let proof = Consistency::parse(&shown).unwrap();
        assert_eq!(proof.checkpoint().size(), size);
        proof.verify(&earlier, reader.vkey()).unwrap();
    }
    for words in [&["10"][..], &["3", "7"], &["7", "6"]] {
        assert_eq!(outcome(bare(&["log", "prove", "--dir", text(&dir)]).args(words)).0, 1, "{words:?}");
    }
    // A checkpoint of another log, and one that this log no longer agrees with.
    let other = Log::new();
    std::fs::write(&kept, other.reader().checkpoint().unwrap().note()).unwrap();
    let (code, _, message) = outcome(bare(&["log", "prove", "--dir", text(&dir), text(&kept)]).args(["6"]));
    assert!(code == 1 && message.contains("another log"), "{message}");
}

#[test]
fn an_export_is_written_and_verified_and_never_written_over() {
    let log = Log::new();
    let (dir, out) = (log.path(), log.file("out"));
    let words = ["log", "export", text(&out), "--bodies", "--dir", text(&dir)];
    let (code, shown, message) = outcome(&mut bare(&words));
    assert_eq!((code, shown.as_str()), (0, ""), "{message}");
    assert!(message.contains("9 entries, with their bodies"), "{message}");
    let report = verify_export(&out, &VerifyOptions::default(), &mut |_, _| {}).unwrap();
    assert_eq!((report.exit_code(), report.entries, report.bodies), (0, 9, Some(9)));
    let (code, _, message) = outcome(&mut bare(&words));
    assert!(code == 2 && message.contains("out"), "{message}");
}

#[test]
fn the_daemon_is_asked_for_what_was_given() {
    let daemon = Daemon::start(Script::default());
    let (code, out, _) = outcome(&mut daemon.aegis(&["log", "receipt", "2", "--body", "--reason", "audit 7"]));
    assert_eq!((code, out.as_str()), (0, "c2sp.org/tlog-proof@v1\n"));
    assert_eq!(outcome(&mut daemon.aegis(&["log", "receipt", "3"])).0, 1);
    assert_eq!(outcome(&mut daemon.aegis(&["log", "prove", "1"])).1, "old 1\n");
    let log = Log::new();
    let kept = log.file("kept");
    let note = log.reader().checkpoint().unwrap().note().to_owned();
    std::fs::write(&kept, &note).unwrap();
    assert_eq!(outcome(&mut daemon.aegis(&["log", "prove", text(&kept), "6"])).0, 0);
    let asked = daemon.asked();
    assert_eq!((asked.receipts[0].seq, asked.receipts[0].body, asked.receipts[0].reason.as_str()), (2, true, "audit 7"));
    assert!(!asked.receipts[1].body && asked.receipts[1].checkpoint.is_empty());
    let point = |point: &Option<aegis_agent::proto::control::LogPoint>| point.clone().and_then(|point| point.point);
    assert_eq!((point(&asked.proofs[0].old), point(&asked.proofs[0].new)), (Some(Point::Size(1)), None));
    assert_eq!(point(&asked.proofs[1].old), Some(Point::Note(note.into_bytes())));
    assert_eq!(point(&asked.proofs[1].new), Some(Point::Size(6)));
}
