//! `aegis witness` and `aegis log witness`: the real programs, talking HTTP to one another.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
};

use aegis_log::{CosignerKey, Reader, Receipt, SignedCheckpoint};
use tempfile::TempDir;

use crate::{
    fake::{bare, outcome},
    log::Log,
};

/// A witness that runs; ends with the value, by kill -9.
pub struct Witness {
    child: Child,
    /// `witness NAME KEY URL`, as a policy has it.
    pub line: String,
}

impl Witness {
    fn start(state: &Path, log: &Log) -> Self {
        Self::of(state, &log.reader())
    }

    pub fn of(state: &Path, log: &Reader) -> Self {
        let key = log.vkey().to_string();
        let state = state.to_str().unwrap();
        let mut command = bare(&["witness", "--log", &key, "--state", state, "--name", "w.example/1", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, line }
    }

    fn word(&self, at: usize) -> &str {
        self.line.split_whitespace().nth(at).unwrap()
    }

    fn key(&self) -> CosignerKey {
        CosignerKey::parse(self.word(2)).unwrap()
    }

    fn address(&self) -> &str {
        self.word(3).strip_prefix("http://").unwrap()
    }

    fn http(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn post(&self, body: &str) -> String {
        self.http(&format!("POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    fn latest(&self, log: &Log) -> SignedCheckpoint {
        self.latest_of(log.reader().vkey().name())
    }

    pub fn latest_of(&self, name: &str) -> SignedCheckpoint {
        let hash: String = ring::digest::digest(&ring::digest::SHA256, name.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let answer = self.http(&format!("GET /{hash}/checkpoint HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        SignedCheckpoint::parse_all(body).unwrap().remove(0)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn policy(log: &Log, lines: &[&str], quorum: &str) -> PathBuf {
    let path = log.file("policy");
    let text = format!("log {}\n{}\nquorum {quorum}\n", log.reader().vkey(), lines.join("\n"));
    std::fs::write(&path, text).unwrap();
    path
}

fn ask(log: &Log) -> (i32, String, String) {
    let (dir, policy) = (log.path(), log.file("policy"));
    outcome(&mut bare(&["log", "witness", "--dir", dir.to_str().unwrap(), "--policy", policy.to_str().unwrap()]))
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn roll_back(log: &Log, yesterday: &Path) {
    std::fs::remove_dir_all(log.path()).unwrap();
    copy(yesterday, &log.path());
}

#[test]
fn checkpoints_are_cosigned_kept_and_used_for_receipts() {
    let (state, log) = (TempDir::new().unwrap(), Log::new());
    let witness = Witness::start(state.path(), &log);
    policy(&log, &[&witness.line], "w.example/1");
    for size in [9, 9, 15] {
        log.grow(size - log.reader().size());
        let (code, out, message) = ask(&log);
        assert_eq!((code, message.as_str()), (0, ""), "{out}");
        let cosigned = SignedCheckpoint::parse_all(&out).unwrap().remove(0);
        assert_eq!(cosigned.size(), size);
        assert!(witness.key().cosigned(&cosigned).unwrap().is_some());
        assert_eq!(witness.latest(&log), cosigned);
    }
    let (dir, policy) = (log.path(), log.file("policy"));
    let verify = || outcome(&mut bare(&["verify", "--dir", dir.to_str().unwrap(), "--policy", policy.to_str().unwrap()]));
    let (code, text, _) = verify();
    assert!(code == 0 && text.contains("the first 15 entries are vouched for by w.example/1 ("), "{text}");
    log.grow(3);
    let receipt = |seq: &str| {
        let (_, text, _) = outcome(&mut bare(&["log", "receipt", seq, "--dir", dir.to_str().unwrap()]));
        Receipt::parse(&text).unwrap().checkpoint().clone()
    };
    // The cosigned one as long as it covers the entry.
    assert!(receipt("14").size() == 15 && witness.key().cosigned(&receipt("14")).unwrap().is_some());
    let (_, json, _) = outcome(&mut bare(&["verify", "--dir", dir.to_str().unwrap(), "--policy", policy.to_str().unwrap(), "-o", "json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["verdict"], &json["witnessed"]["size"]), (&"intact".into(), &15.into()));
    assert!(receipt("15").size() == 18 && witness.key().cosigned(&receipt("15")).unwrap().is_none());
    std::fs::remove_dir_all(log.file("cosigned")).unwrap();
    let (code, text, _) = verify();
    assert!(code == 1 && text.starts_with("UNWITNESSED"), "{text}");
}

/// The private keys of epochs, with what is in them.
fn epoch_keys(log: &Log) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let folder = log.path().parent().unwrap().to_path_buf();
    let paths = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let keys = paths.filter(|path| path.to_str().unwrap().contains(".epoch-"));
    keys.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

#[test]
fn a_folder_rolled_back_to_yesterday_is_found_by_the_witness() {
    let (state, log) = (TempDir::new().unwrap(), Log::new());
    let witness = Witness::start(state.path(), &log);
    policy(&log, &[&witness.line], "w.example/1");
    let yesterday = log.file("yesterday");
    copy(&log.path(), &yesterday);
    let keys = epoch_keys(&log);
    log.grow(3);
    assert_eq!(ask(&log).0, 0);
    roll_back(&log, &yesterday);
    // The whole machine, as a snapshot has it: with the key that was destroyed since.
    epoch_keys(&log).iter().for_each(|(path, _)| std::fs::remove_file(path).unwrap());
    for (path, bytes) in keys {
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    // What is kept beside the log finds it at once, if it was not rolled back too.
    let (code, out, message) = ask(&log);
    assert!(code == 1 && out.is_empty() && message.contains("rolled back"), "{message}");
    std::fs::remove_dir_all(log.file("cosigned")).unwrap();
    let (code, out, message) = ask(&log);
    assert!(code == 1 && out.is_empty() && message.contains("has cosigned 12 entries of this log, which has 9"), "{message}");
    // What the log becomes from there on has the right length again, and is another.
    log.grow(6);
    let (code, _, message) = ask(&log);
    assert!(code == 1 && message.contains("rewritten (a fork"), "{message}");
    // The auditor, with nothing but what the witness has.
    let kept = log.file("kept");
    std::fs::write(&kept, witness.latest(&log).note()).unwrap();
    let dir = log.path();
    let (code, text, _) = outcome(&mut bare(&["verify", "--dir", dir.to_str().unwrap(), "--checkpoint", kept.to_str().unwrap()]));
    assert!(code == 1 && text.contains("a fork"), "{text}");
}

#[test]
fn a_witness_that_was_killed_remembers_and_another_one_for_it_does_not_begin() {
    let (state, log) = (TempDir::new().unwrap(), Log::new());
    let witness = Witness::start(state.path(), &log);
    policy(&log, &[&witness.line], "w.example/1");
    assert_eq!(ask(&log).0, 0);
    let key = log.reader().vkey().to_string();
    let second = ["witness", "--log", &key, "--state", state.path().to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let (code, _, message) = outcome(&mut bare(&second));
    assert!(code == 2 && message.contains("another witness runs"), "{message}");
    let before = witness.latest(&log);
    drop(witness);
    let witness = Witness::start(state.path(), &log);
    assert_eq!(witness.latest(&log), before);
    let old = log.reader().prove(0, log.reader().checkpoint().unwrap()).unwrap().to_string();
    let answer = witness.post(&old);
    assert!(answer.starts_with("HTTP/1.1 409") && answer.contains("content-type: text/x.tlog.size\r\n") && answer.ends_with("\r\n\r\n9\n"), "{answer}");
}

#[test]
fn the_server_answers_strangers_with_what_the_specification_says() {
    let (state, log) = (TempDir::new().unwrap(), Log::new());
    let witness = Witness::start(state.path(), &log);
    let other = Log::new();
    let foreign = other.reader().prove(0, other.reader().checkpoint().unwrap()).unwrap().to_string();
    assert!(witness.post("nonsense").starts_with("HTTP/1.1 400"));
    assert!(witness.post(&foreign).starts_with("HTTP/1.1 404"));
    assert!(witness.post(&"x".repeat(70_000)).starts_with("HTTP/1.1 413"));
    for (request, status) in [
        ("GET /add-checkpoint", 405),
        ("GET /", 404),
        ("GET /00/checkpoint", 404),
        ("DELETE /00/checkpoint", 405),
        ("GET /../../etc/passwd", 404),
    ] {
        let answer = witness.http(&format!("{request} HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
    }
    assert!(!state.path().join("x.checkpoint").exists());
    // Two requests on one connection.
    let body = log.reader().prove(0, log.reader().checkpoint().unwrap()).unwrap().to_string();
    let one = format!("POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let answers = witness.http(&format!("{one}{}", one.replacen("Host: w", "Host: w\r\nConnection: close", 1)));
    assert!(answers.starts_with("HTTP/1.1 200") && answers.contains("HTTP/1.1 409"), "{answers}");
}

#[test]
fn too_few_cosignatures_are_3_and_enough_are_0_with_a_word_about_the_missing() {
    let (state, log) = (TempDir::new().unwrap(), Log::new());
    let witness = Witness::start(state.path(), &log);
    // A witness that is not there: its port is free again.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (gone_state, gone) = (TempDir::new().unwrap(), format!("http://127.0.0.1:{port}"));
    let gone_key = Witness::start(gone_state.path(), &log).key();
    let missing = format!("witness gone {gone_key} {gone}");
    policy(&log, &[&witness.line, &missing, "group both all w.example/1 gone"], "both");
    let (code, out, message) = ask(&log);
    assert_eq!((code, out.as_str()), (3, ""), "{message}");
    assert!(message.contains("witness gone: ") && message.contains("cosigned by w.example/1 alone"), "{message}");
    assert!(!log.file("cosigned").exists());
    policy(&log, &[&witness.line, &missing, "group one any w.example/1 gone"], "one");
    let (code, out, message) = ask(&log);
    assert!(code == 0 && out.contains("w.example/1") && message.contains("witness gone: "), "{message}");
    std::fs::write(log.file("policy"), "quorum none\n").unwrap();
    let (code, _, message) = ask(&log);
    assert!(code == 1 && message.contains("no line for this log"), "{message}");
}

#[test]
fn a_witness_that_lies_gets_nothing_in() {
    let (state, log) = (TempDir::new().unwrap(), Log::new());
    let key = Witness::start(state.path(), &log).key();
    let big = format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000));
    for (answer, code, part) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\ngarbage\n", 3, "no cosignature by its key"),
        ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 3, "302"),
        ("HTTP/1.1 409 Conflict\r\nContent-Length: 4\r\n\r\nlots", 3, "holds no size"),
        ("HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\n\x1b[2", 3, "answered 500"),
        ("nonsense", 3, "witness liar"),
        (&big, 3, "witness liar"),
        ("HTTP/1.1 409 Conflict\r\nContent-Length: 3\r\n\r\n99\n", 1, "or the witness is wrong"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let line = format!("witness liar {key} http://{}", listener.local_addr().unwrap());
        policy(&log, &[&line], "liar");
        let answer = answer.to_owned();
        let liar = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(answer.as_bytes());
        });
        let (found, out, message) = ask(&log);
        liar.join().unwrap();
        assert!(found == code && out.is_empty() && message.contains(part), "{part}: {found} {message}");
        assert!(!message.contains('\u{1b}'));
        assert!(!log.file("cosigned").exists());
    }
}
