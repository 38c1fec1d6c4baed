//! The tamper matrix: what can be done to a log, which question finds it, and the exit status of the answer.
//!
//! The table is `docs/tamper-matrix.md`. Where the document is another the test fails and prints the new one; with
//! `AEGIS_BLESS=1` it is written.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use aegis_agent::store::Index;
use aegis_log::{Reader, Writer, WriterOptions};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::signature::Ed25519KeyPair;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    fake::{bare, outcome, record},
    witness::{Witness, copy},
};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tamper-matrix.md");
/// 2026-11-20 23:59:58 UTC: the entries are of two days.
const EVENING: u64 = 20_778 * 86_400_000_000_000 - 2_000_000_000;

/// A host with a log of 24 entries in several segments, its index, and a witness elsewhere.
struct Host {
    dir: TempDir,
    witness: Witness,
    _state: TempDir,
}

impl Host {
    fn new() -> Self {
        let (dir, state) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        write(dir.path(), 0..12);
        let reader = Reader::open(dir.path().join("log")).unwrap();
        let witness = Witness::of(state.path(), &reader);
        let policy = format!("log {}\n{}quorum w.example/1\n", reader.vkey(), witness.line);
        std::fs::write(dir.path().join("policy"), policy).unwrap();
        let host = Self { dir, witness, _state: state };
        assert_eq!(Ask::Witness.put(&host, ""), (0, String::new()));
        copy(&host.path("log"), &host.path("yesterday"));
        copy(&host.path("cosigned"), &host.path("cosigned-yesterday"));
        write(host.dir.path(), 12..24);
        host.index();
        assert_eq!(Ask::Witness.put(&host, ""), (0, String::new()));
        let seals = std::fs::read_to_string(host.log("log.epochs")).unwrap();
        std::fs::write(host.path("first-seal"), seals.split_inclusive("\n\n").take(2).collect::<String>()).unwrap();
        std::fs::write(host.path("kept"), host.witness.latest_of(reader.vkey().name()).note()).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The path as text; leaked, as tests may.
    fn text(&self, name: &str) -> &'static str {
        self.path(name).to_str().unwrap().to_owned().leak()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.path("log").join(name)
    }

    fn names(&self, suffix: &str) -> Vec<String> {
        let files = std::fs::read_dir(self.path("log")).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.ends_with(suffix));
        names.sort();
        names
    }

    fn index(&self) {
        let mut reader = Reader::open(self.path("log")).unwrap();
        let chain = reader.vkey().chain_id().unwrap();
        Index::open(&self.path("index.sqlite"), chain).unwrap().catch_up(&mut reader).unwrap();
    }

    fn sql(&self, sql: &str) {
        let index = rusqlite::Connection::open(self.path("index.sqlite")).unwrap();
        assert!(index.execute(sql, []).unwrap() > 0);
    }

    /// The segment with this index, its header and frames changed.
    fn segment(&self, at: usize, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
        let path = self.log(&self.names(".seg")[at]);
        let bytes = std::fs::read(&path).unwrap();
        let (head, mut rest) = bytes.split_at(72);
        let mut frames = Vec::new();
        while !rest.is_empty() {
            let header = usize::from(u16::from_le_bytes([rest[2], rest[3]]));
            let payload = u32::from_le_bytes([rest[4], rest[5], rest[6], rest[7]]);
            let (frame, after) = rest.split_at(16 + header + usize::try_from(payload).unwrap());
            frames.push(frame.to_vec());
            rest = after;
        }
        change(&mut frames);
        std::fs::write(&path, [head, &frames.concat()].concat()).unwrap();
    }

    /// Cuts the last checkpoint off, with what it signed.
    fn cut(&self) {
        let path = self.log(self.names(".notes").last().unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        let parts: Vec<&str> = text.split_inclusive("\n\n").collect();
        std::fs::write(&path, parts[..parts.len() - 2].concat()).unwrap();
        let size: u64 = parts[parts.len() - 4].lines().nth(1).unwrap().parse().unwrap();
        let at = self.names(".seg").len() - 1;
        let first: u64 = self.names(".seg")[at][..20].parse().unwrap();
        self.segment(at, |frames| frames.truncate(usize::try_from(size - first).unwrap()));
    }

    /// The whole folder, index and what witnesses said, as they were yesterday.
    fn roll_back(&self) {
        std::fs::remove_dir_all(self.path("log")).unwrap();
        std::fs::remove_dir_all(self.path("cosigned")).unwrap();
        copy(&self.path("yesterday"), &self.path("log"));
        copy(&self.path("cosigned-yesterday"), &self.path("cosigned"));
        std::fs::remove_file(self.path("index.sqlite")).unwrap();
        self.index();
    }

    /// Other entries in the place of all there are, signed with the log's own key, and sealed with keys made for it.
    fn write_anew(&self) {
        for name in self.names("") {
            if name != "log.vkey" {
                std::fs::remove_file(self.log(&name)).unwrap();
            }
        }
        while let Some(key) = self.epoch_key() {
            std::fs::remove_file(key).unwrap();
        }
        write(self.dir.path(), 0..30);
        let _ = std::fs::remove_file(self.path("index.sqlite"));
        self.index();
    }

    /// The private key of the epoch under way.
    fn epoch_key(&self) -> Option<PathBuf> {
        let files = std::fs::read_dir(self.dir.path()).unwrap();
        let mut paths = files.map(|file| file.unwrap().path());
        paths.find(|path| path.to_str().unwrap().contains(".epoch-"))
    }

    /// The seals of epochs, changed.
    fn seals(&self, change: impl FnOnce(&mut Vec<String>)) {
        let text = std::fs::read_to_string(self.log("log.epochs")).unwrap();
        let parts: Vec<&str> = text.split_inclusive("\n\n").collect();
        let mut seals = parts.chunks(2).map(<[&str]>::concat).collect();
        change(&mut seals);
        std::fs::write(self.log("log.epochs"), seals.concat()).unwrap();
    }
}

fn write(root: &Path, entries: std::ops::Range<u64>) {
    let mut options = WriterOptions::new(root.join("log"), root.join("log.key"), [7; 16]);
    options.segment_bytes = 2400;
    let (mut writer, _) = Writer::open(&options).unwrap();
    for seq in entries {
        let verdict = if seq % 4 == 0 { 3 } else { 1 };
        let body = record(seq, verdict, format!("/work/{seq}").as_bytes()).body;
        writer.append(20, EVENING + seq * 180_000_000, &body).unwrap();
        if seq % 3 == 2 {
            writer.commit().unwrap();
        }
    }
    writer.close().unwrap();
}

/// A question put to a log, and which words it needs.
#[derive(Clone, Copy)]
enum Ask {
    /// With nothing from elsewhere.
    Verify,
    /// With the key from elsewhere.
    Key,
    /// With the checkpoint that the witness has.
    Kept,
    /// With the policy, and what is kept beside the log.
    Policy,
    /// With the first seal of an epoch, kept when the log began.
    Epoch,
    /// The host's own next round.
    Witness,
}

impl Ask {
    const fn words(self) -> &'static str {
        match self {
            Self::Verify => "`aegis verify`",
            Self::Key => "`aegis verify --key` (from elsewhere)",
            Self::Kept => "`aegis verify --checkpoint` (the witness's)",
            Self::Policy => "`aegis verify --policy`",
            Self::Epoch => "`aegis verify --epoch` (the first seal)",
            Self::Witness => "`aegis log witness`",
        }
    }

    /// Exit status, and what was found.
    fn put(self, host: &Host, key: &str) -> (i32, String) {
        if let Self::Witness = self {
            let (code, _, message) = outcome(&mut bare(&["log", "witness", "--dir", host.text("log"), "--policy", host.text("policy")]));
            let found = message.lines().next().map_or("", |line| line.trim_start_matches("aegis: "));
            return (code, found.to_owned());
        }
        let more = match self {
            Self::Key => vec!["--key", key],
            Self::Kept => vec!["--checkpoint", host.text("kept")],
            Self::Policy => vec!["--policy", host.text("policy")],
            Self::Epoch => vec!["--epoch", host.text("first-seal")],
            Self::Verify | Self::Witness => vec![],
        };
        let (code, out, _) = outcome(bare(&["verify", "-o", "json", "--dir", host.text("log")]).args(more));
        let json: Value = serde_json::from_str(&out).unwrap();
        let found = match (&json["findings"][0], &json["index"]["difference"]) {
            (Value::Object(finding), _) => {
                let (code, what) = (finding["code"].as_str().unwrap(), finding["what"].as_str().unwrap());
                let entry = finding["seq"].as_u64().map(|seq| format!(", entry {seq}")).unwrap_or_default();
                format!("`{code}`{entry}: {what}")
            }
            (_, Value::String(difference)) => format!("index: {difference}"),
            _ if json["verdict"] == "intact" => String::new(),
            _ => format!("`{}`", json["verdict"].as_str().unwrap()),
        };
        (code, found)
    }
}

type Change = fn(&Host);

/// What is done, how, and which questions are put. The last one finds it.
fn cases() -> Vec<(&'static str, Change, &'static [Ask])> {
    use Ask::{Epoch, Kept, Key, Policy, Verify, Witness};
    vec![
        ("nothing", |_| {}, &[Verify, Key, Kept, Policy, Epoch, Witness]),
        ("edit a byte of an entry's body", |host| host.segment(1, |frames| *frames[1].last_mut().unwrap() ^= 1), &[Verify]),
        ("edit a byte of an entry's header", |host| host.segment(1, |frames| frames[1][40] ^= 1), &[Verify]),
        ("delete an entry", |host| host.segment(1, |frames| drop(frames.remove(1))), &[Verify]),
        ("insert an entry again", |host| host.segment(1, |frames| frames.insert(1, frames[0].clone())), &[Verify]),
        ("insert an entry of another host", |host| {
            let other = foreign();
            let frame = std::fs::read(other.path().join("log").join(&host.names(".seg")[0])).unwrap().split_off(72);
            host.segment(0, |frames| frames.insert(2, frame[..frames[0].len()].to_vec()));
        }, &[Verify]),
        ("swap two entries", |host| host.segment(1, |frames| frames.swap(0, 1)), &[Verify]),
        ("cut the last entry off", |host| host.segment(host.names(".seg").len() - 1, |frames| drop(frames.pop())), &[Verify]),
        ("cut the last entries off with their checkpoint", Host::cut, &[Verify]),
        ("the same, and from the stored tree", |host| {
            host.cut();
            shorten_tree(host);
        }, &[Verify]),
        ("the same, and from the index", |host| {
            host.cut();
            shorten_tree(host);
            std::fs::remove_file(host.path("index.sqlite")).unwrap();
            host.index();
        }, &[Verify]),
        ("the same, and the seal that was over them", |host| {
            host.cut();
            shorten_tree(host);
            host.seals(|seals| drop(seals.pop()));
            std::fs::remove_file(host.path("index.sqlite")).unwrap();
            host.index();
        }, &[Verify, Policy]),
        ("remove a segment", |host| {
            std::fs::remove_file(host.log(&host.names(".seg")[1])).unwrap();
            std::fs::remove_file(host.log(&host.names(".notes")[1])).unwrap();
        }, &[Verify]),
        ("remove the last day", |host| {
            for name in [host.names(".seg"), host.names(".notes")].concat() {
                if name.contains("2026-11-21") {
                    std::fs::remove_file(host.log(&name)).unwrap();
                }
            }
        }, &[Verify]),
        ("remove a checkpoint from the middle", |host| {
            let path = host.log(&host.names(".notes")[1]);
            let text = std::fs::read_to_string(&path).unwrap();
            let parts: Vec<&str> = text.split_inclusive("\n\n").collect();
            std::fs::write(&path, [&parts[..2], &parts[4..]].concat().concat()).unwrap();
        }, &[Verify]),
        ("replay an old head: an earlier checkpoint in the place of the last", |host| {
            let (first, last) = (host.names(".notes").remove(1), host.names(".notes").pop().unwrap());
            let text = std::fs::read_to_string(host.log(&first)).unwrap();
            let old: String = text.split_inclusive("\n\n").take(2).collect();
            let text = std::fs::read_to_string(host.log(&last)).unwrap();
            let parts: Vec<&str> = text.split_inclusive("\n\n").collect();
            std::fs::write(host.log(&last), format!("{}{old}", parts[..parts.len() - 2].concat())).unwrap();
        }, &[Verify]),
        ("change a hash of the stored tree", |host| {
            let mut bytes = std::fs::read(host.log("tree-0.hashes")).unwrap();
            bytes[40] ^= 1;
            std::fs::write(host.log("tree-0.hashes"), bytes).unwrap();
        }, &[Verify]),
        ("a segment of another host in the place of this one's", |host| {
            let other = foreign();
            let name = host.names(".seg").remove(1);
            std::fs::copy(other.path().join("log").join(&name), host.log(&name)).unwrap();
        }, &[Verify]),
        ("swap the logs of two hosts", |host| {
            std::fs::remove_dir_all(host.path("log")).unwrap();
            copy(&foreign().path().join("log"), &host.path("log"));
            std::fs::remove_file(host.path("index.sqlite")).unwrap();
            host.index();
        }, &[Verify, Key]),
        ("put another host's key into the folder", |host| {
            std::fs::copy(foreign().path().join("log/log.vkey"), host.log("log.vkey")).unwrap();
        }, &[Verify]),
        ("hide a row in the index", |host| host.sql("DELETE FROM entries WHERE seq = 4"), &[Verify]),
        ("change a row of the index", |host| host.sql("UPDATE entries SET verdict = 1 WHERE seq = 4"), &[Verify]),
        ("roll the whole folder back to yesterday", Host::roll_back, &[Verify, Key, Policy, Kept]),
        ("the same, as the host's next round finds it", Host::roll_back, &[Witness]),
        ("write the log anew with the log's key", Host::write_anew, &[Verify, Key, Epoch]),
        ("the same, as a kept checkpoint finds it", Host::write_anew, &[Kept]),
        ("the same, as the host's next round finds it", Host::write_anew, &[Witness]),
        ("the same, with the old seals put back", |host| {
            let seals = std::fs::read(host.log("log.epochs")).unwrap();
            host.write_anew();
            std::fs::write(host.log("log.epochs"), seals).unwrap();
        }, &[Verify]),
        ("remove the last two seals", |host| host.seals(|seals| seals.truncate(seals.len() - 2)), &[Verify]),
        ("remove the last seal", |host| host.seals(|seals| drop(seals.pop())), &[Verify, Epoch]),
        ("remove all seals", |host| std::fs::remove_file(host.log("log.epochs")).unwrap(), &[Verify]),
        ("seal an hour that is over with a later key", |host| {
            let key = std::fs::read(host.epoch_key().unwrap()).unwrap();
            let key = Ed25519KeyPair::from_pkcs8(&key).unwrap();
            host.seals(|seals| {
                let seal = seals.pop().unwrap();
                let (text, line) = seal.split_once("\n\n").unwrap();
                let (name, signature) = line.trim_end().rsplit_once(' ').unwrap();
                let id = &STANDARD.decode(signature).unwrap()[..4];
                let forged = [id, key.sign(format!("{text}\n").as_bytes()).as_ref()].concat();
                seals.push(format!("{text}\n\n{name} {}\n\n", STANDARD.encode(forged)));
            });
        }, &[Verify]),
        ("no witness vouches for it", |host| std::fs::remove_dir_all(host.path("cosigned")).unwrap(), &[Verify, Policy]),
    ]
}

/// The log of another host, entries and times alike.
fn foreign() -> TempDir {
    let dir = TempDir::new().unwrap();
    write(dir.path(), 0..12);
    write(dir.path(), 12..24);
    dir
}

fn shorten_tree(host: &Host) {
    let size = Reader::open(host.path("log")).unwrap().size();
    let bytes = std::fs::read(host.log("tree-0.hashes")).unwrap();
    std::fs::write(host.log("tree-0.hashes"), &bytes[..usize::try_from(size * 32).unwrap()]).unwrap();
}

#[test]
fn what_is_done_to_a_log_is_found_as_the_document_says() {
    let mut table = String::from("| what was done | question | exit | answer |\n|---|---|---|---|\n");
    for (name, change, questions) in cases() {
        let host = Host::new();
        let reader = Reader::open(host.path("log")).unwrap();
        let (key, chain) = (reader.vkey().to_string(), reader.vkey().name()["aegis/".len()..].to_owned());
        change(&host);
        for (at, question) in questions.iter().enumerate() {
            let (code, found) = question.put(&host, &key);
            // 3: what is there is intact, and not all that should be there is.
            let last = if name == "remove the last seal" { 3 } else { 1 };
            let expected = if name != "nothing" && at + 1 == questions.len() { last } else { 0 };
            assert_eq!(code, expected, "{name}, {}: {found}", question.words());
            let found = anonymous(&found, &chain);
            let answer = if code == 0 { "intact" } else { &found };
            writeln!(table, "| {} | {} | {code} | {answer} |", if at == 0 { name } else { "" }, question.words()).unwrap();
        }
    }
    let text = std::fs::read_to_string(DOCUMENT).unwrap();
    let begin = text.find("| what was done").unwrap_or(text.len());
    let fresh = format!("{}{table}", &text[..begin]);
    if std::env::var_os("AEGIS_BLESS").is_some() {
        std::fs::write(DOCUMENT, &fresh).unwrap();
    }
    assert_eq!(std::fs::read_to_string(DOCUMENT).unwrap(), fresh, "AEGIS_BLESS=1 writes docs/tamper-matrix.md anew");
}

/// Without what differs from run to run: identities of logs.
fn anonymous(text: &str, chain: &str) -> String {
    let mut out = text.replace(chain, "…");
    if let Some(at) = out.find("chain id ") {
        let id = at + "chain id ".len();
        out.replace_range(id..id + 32, "…");
    }
    out
}
