//! Whether the index shows all that the log holds. An entry that is signed and whole but hidden from
//! every reader is as good as deleted, so a difference counts as tampering.
//!
//! Compared are, over all entries, the sequence numbers, kinds, verdicts and agents: what a reader
//! filters by. The log is the truth; the index proves nothing.

use std::{
    collections::BTreeMap,
    collections::hash_map::DefaultHasher,
    hash::{Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

use aegis_log::Reader;
use serde_json::{Value, json};

use crate::{
    cli::{
        events::{
            entry::{Entry, KINDS, VERDICTS, kind_name, verdict_name},
            files,
        },
        failure::Failure,
    },
    proto::control::EventsRequest,
    store::{Filter, Finder},
};

/// What the comparison found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Entries that the index knows.
    pub indexed: u64,
    /// Entries of the log that the index does not know yet: it catches up when the daemon runs.
    pub behind: u64,
    /// The first difference, in words.
    pub difference: Option<String>,
}

/// The index that belongs to a log, where there is one: a copied log has none.
#[must_use]
pub fn beside(dir: &Path) -> Option<PathBuf> {
    let path = dir.parent()?.join("index.sqlite");
    (dir.file_name()? == "log" && path.exists()).then_some(path)
}

/// Compares them.
///
/// # Errors
/// When either cannot be read.
pub fn compare(index: &Path, dir: &Path) -> Result<Outcome, Failure> {
    let first = || Reader::open(dir).map(|reader| reader.first()).map_err(|error| Failure::Broken(error.to_string()));
    let mut before = first()?;
    loop {
        let outcome = compare_once(index, dir);
        let now = first()?;
        match outcome {
            Ok(Outcome { difference: None, .. }) => return outcome,
            // Retention was at work while it was looked.
            _ if now != before => before = now,
            outcome => return outcome,
        }
    }
}

fn compare_once(index: &Path, dir: &Path) -> Result<Outcome, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| Failure::Broken(error.to_string());
    let finder = Finder::open(index).map_err(|error| unreadable(&error))?;
    let find = |request: &EventsRequest| -> Result<Vec<u64>, Failure> {
        let filter = Filter::new(request).map_err(|error| unreadable(&error))?;
        finder.find(&filter, u64::MAX, usize::MAX, &mut |_| Ok(true)).map_err(|error| unreadable(&error))
    };
    let all = find(&EventsRequest::default())?;
    // After the index was read: rows are made of durable entries, so the log holds all of them now.
    let mut reader = Reader::open(dir).map_err(|error| unreadable(&error))?;
    let size = reader.refresh().map_err(|error| unreadable(&error))?;
    let indexed = all.last().map_or(0, |last| last + 1);
    // What retention removed may be in the index for a moment longer.
    let first = reader.first();
    let all = &all[all.partition_point(|seq| *seq < first)..];
    let outcome = |difference| Outcome { indexed, behind: size.saturating_sub(indexed), difference };
    if let Some(hidden) = (first..).zip(all).find_map(|(expected, seq)| (expected != *seq).then_some(expected)) {
        return Ok(outcome(Some(format!("entry {hidden} is in the log and hidden from the index"))));
    }
    if indexed > size {
        return Ok(outcome(Some(format!("the index knows {indexed} entries, the log has {size}: the log was cut, or is another"))));
    }
    let mut groups = Groups::default();
    // What they say can't be held against the index, which may know it from before.
    let mut unread = Vec::new();
    for entry in reader.entries(0) {
        let entry = entry.map_err(|error| unreadable(&error))?;
        if entry.header.seq >= indexed {
            break;
        }
        if entry.body.is_err() {
            unread.push(entry.header.seq);
        } else {
            groups.add(&files::decode(&entry));
        }
    }
    for (name, request) in groups.questions() {
        let answer = find(&request)?;
        let known = answer.into_iter().filter(|seq| (first..indexed).contains(seq) && unread.binary_search(seq).is_err());
        if let Some(difference) = groups.difference(&name, known) {
            return Ok(outcome(Some(difference)));
        }
    }
    Ok(outcome(None))
}

impl Outcome {
    /// In words, one line.
    #[must_use]
    pub fn text(&self) -> String {
        match (&self.difference, self.behind) {
            (Some(what), _) => format!(
                "  index: {what}; readers were not shown all that the log holds. To make it anew: stop aegisd, remove index.sqlite, start it\n"
            ),
            (None, 0) => format!("  index: shows all {} entries\n", self.indexed),
            (None, behind) => format!("  index: shows {} entries; {behind} follow when the daemon runs\n", self.indexed),
        }
    }

    /// For machines.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({ "agrees": self.difference.is_none(), "indexed": self.indexed, "behind": self.behind, "difference": self.difference })
    }
}

/// One question to the index: by what, and for which word.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Kind(String),
    Verdict(String),
    Agent(String),
}

/// Which entries belong to each word, as count and hash over their numbers in order: a log has too
/// many to keep them all.
#[derive(Default)]
struct Groups(BTreeMap<Name, Sum>);

#[derive(Clone, Default)]
struct Sum {
    count: u64,
    hash: DefaultHasher,
}

impl Sum {
    fn add(&mut self, seq: u64) {
        self.count += 1;
        seq.hash(&mut self.hash);
    }
}

impl Groups {
    fn add(&mut self, entry: &Entry) {
        let names = [
            Some(Name::Kind(entry.kind_name())),
            entry.verdict_name().map(Name::Verdict),
            Some(&entry.event.agent).filter(|agent| !agent.is_empty()).cloned().map(Name::Agent),
        ];
        for name in names.into_iter().flatten() {
            self.0.entry(name).or_default().add(entry.seq);
        }
        // A session can be asked for like a name: such entries belong to the answer too.
        if !entry.event.session.is_empty() && entry.event.session != entry.event.agent {
            self.0.entry(Name::Agent(entry.event.session.clone())).or_default().add(entry.seq);
        }
    }

    /// Every word of the log, and every word that a row could claim although the log has none of it.
    fn questions(&self) -> Vec<(Name, EventsRequest)> {
        let known = KINDS.iter().map(|(_, kind)| Name::Kind(kind_name((*kind as i32).unsigned_abs())));
        let verdicts = VERDICTS.iter().filter_map(|(_, verdict)| verdict_name(*verdict as i32).map(Name::Verdict));
        let agents = self.0.keys().filter(|name| matches!(name, Name::Agent(_))).cloned();
        known
            .chain(verdicts)
            .chain(agents)
            .map(|name| {
                let mut request = EventsRequest::default();
                match &name {
                    Name::Kind(word) => request.kinds.push(word.clone()),
                    Name::Verdict(word) => request.verdicts.push(word.clone()),
                    Name::Agent(word) => request.agent.clone_from(word),
                }
                (name, request)
            })
            .collect()
    }

    fn difference(&self, name: &Name, answer: impl Iterator<Item = u64>) -> Option<String> {
        let mut found = Sum::default();
        answer.for_each(|seq| found.add(seq));
        let expected = self.0.get(name).cloned().unwrap_or_default();
        if expected.count == found.count && expected.hash.finish() == found.hash.finish() {
            return None;
        }
        let (by, word) = match name {
            Name::Kind(word) => ("kind", word),
            Name::Verdict(word) => ("verdict", word),
            Name::Agent(word) => ("agent", word),
        };
        Some(if expected.count == found.count {
            format!("asked for {by} {word:?} it shows {} entries, but not those of the log", found.count)
        } else {
            format!("asked for {by} {word:?} it shows {} entries, the log has {}", found.count, expected.count)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use aegis_log::{Reader, Writer, WriterOptions};
    use prost::Message as _;
    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::{beside, compare};
    use crate::{cli::events::sample, store::Index};

    struct Bench {
        dir: TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let bench = Self { dir };
            bench.append();
            bench.catch_up();
            bench
        }

        fn log(&self) -> PathBuf {
            self.dir.path().join("log")
        }

        fn append(&self) {
            let options = WriterOptions::new(self.log(), self.dir.path().join("log.key"), [7; 16]);
            let (mut writer, _) = Writer::open(&options).unwrap();
            for entry in sample::all() {
                writer.append(entry.kind, entry.time, &entry.event.encode_to_vec()).unwrap();
            }
            writer.close().unwrap();
        }

        fn catch_up(&self) {
            let mut reader = Reader::open(self.log()).unwrap();
            let chain = reader.vkey().chain_id().unwrap();
            Index::open(&self.dir.path().join("index.sqlite"), chain).unwrap().catch_up(&mut reader).unwrap();
        }

        fn sql(&self, sql: &str) {
            assert!(Connection::open(self.dir.path().join("index.sqlite")).unwrap().execute(sql, []).unwrap() > 0);
        }

        fn difference(&self) -> Option<String> {
            compare(&beside(&self.log()).unwrap(), &self.log()).unwrap().difference
        }
    }

    #[test]
    fn an_index_made_from_the_log_agrees_and_one_that_is_behind_says_so() {
        let bench = Bench::new();
        let outcome = compare(&beside(&bench.log()).unwrap(), &bench.log()).unwrap();
        assert_eq!((outcome.indexed, outcome.behind, outcome.difference), (13, 0, None));
        bench.append();
        let outcome = compare(&beside(&bench.log()).unwrap(), &bench.log()).unwrap();
        assert_eq!((outcome.indexed, outcome.behind, outcome.difference), (13, 13, None));
    }

    #[test]
    fn a_hidden_row_is_found_and_named() {
        let bench = Bench::new();
        bench.sql("DELETE FROM entries WHERE seq = 4");
        assert_eq!(bench.difference().unwrap(), "entry 4 is in the log and hidden from the index");
    }

    #[test]
    fn a_row_that_says_something_else_than_its_entry_is_found() {
        for (sql, expected) in [
            ("UPDATE entries SET verdict = 1 WHERE seq = 4", "verdict \"allow\""),
            ("UPDATE entries SET kind = 10 WHERE seq = 4", "kind \"exec\""),
            ("UPDATE entries SET agent = 0, session = 0 WHERE seq = 4", "agent \"coder\""),
        ] {
            let bench = Bench::new();
            bench.sql(sql);
            let difference = bench.difference().unwrap();
            assert!(difference.contains(expected), "{sql}: {difference}");
        }
    }

    #[test]
    fn what_retention_removed_is_not_missed_and_what_is_kept_is() {
        let bench = Bench::new();
        let options = WriterOptions::new(bench.log(), bench.dir.path().join("log.key"), [7; 16]);
        let (mut writer, _) = Writer::open(&options).unwrap();
        let later = sample::all().iter().map(|entry| entry.time).max().unwrap() + 86_400_000_000_000;
        let told = writer.append(90, later, &[]).unwrap().seq;
        writer.commit().unwrap();
        writer.prune(13, told).unwrap();
        writer.close().unwrap();
        // Before the index hears of it, and after.
        assert_eq!(bench.difference(), None);
        bench.catch_up();
        assert_eq!(bench.difference(), None);
        bench.append();
        bench.catch_up();
        bench.sql("DELETE FROM entries WHERE seq = 13");
        assert_eq!(bench.difference().unwrap(), "entry 13 is in the log and hidden from the index");
    }

    #[test]
    fn rows_without_entries_are_found() {
        let bench = Bench::new();
        bench.sql("INSERT INTO entries SELECT 13, time, kind, verdict, agent, session, rule, reason, pid, start, path FROM entries WHERE seq = 10");
        assert!(bench.difference().unwrap().contains("the log has 13"));
    }
}
