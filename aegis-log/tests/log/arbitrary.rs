//! Whatever lies in the folder, nothing panics, and what is said is never "intact" when it isn't.

use aegis_log::{Code, Disclose, OpenCheck, Reader, Verdict, Writer};
use proptest::prelude::*;

use crate::common::Log;

/// What an editor without a plan does to a file.
#[derive(Debug, Clone)]
enum Edit {
    Set(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    Replace(Vec<u8>),
    Copy(prop::sample::Index),
}

fn edits() -> impl Strategy<Value = Edit> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, to)| Edit::Set(at, to)),
        any::<prop::sample::Index>().prop_map(Edit::Cut),
        (any::<prop::sample::Index>(), bytes()).prop_map(|(at, new)| Edit::Insert(at, new)),
        (any::<prop::sample::Index>(), 1_usize..100).prop_map(|(at, len)| Edit::Remove(at, len)),
        bytes().prop_map(Edit::Replace),
        any::<prop::sample::Index>().prop_map(Edit::Copy),
    ]
}

fn apply(edit: &Edit, bytes: &mut Vec<u8>, files: &[(String, Vec<u8>)]) {
    let len = bytes.len() + 1;
    match edit {
        Edit::Set(at, to) if len > 1 => bytes[at.index(len - 1)] = *to,
        Edit::Set(..) => {}
        Edit::Cut(at) => bytes.truncate(at.index(len)),
        Edit::Insert(at, new) => {
            let at = at.index(len);
            bytes.splice(at..at, new.iter().copied());
        }
        Edit::Remove(at, count) => {
            let at = at.index(len);
            bytes.drain(at..(at + count).min(bytes.len()));
        }
        Edit::Replace(new) => bytes.clone_from(new),
        Edit::Copy(from) => bytes.clone_from(&from.get(files).1),
    }
}

/// Everything that reads a log, asked for everything.
fn read_all(log: &Log) {
    let Ok(reader) = Reader::open(log.dir()) else {
        return;
    };
    let _ = reader.entries(0).filter(Result::is_ok).count();
    let _ = reader.entries_rev(u64::MAX).filter(Result::is_ok).count();
    for seq in (0..26).step_by(9) {
        let _ = (
            reader.get(seq),
            reader.receipt(seq, Disclose::Body),
            reader.consistency(seq, 24),
            reader.read_at(0, seq * 50),
        );
    }
    let _ = (
        reader.seek_time(crate::common::EVENING),
        reader.daily_roots(),
    );
    let _ = reader.follow(0).next_batch(100);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn edited_folders_never_panic_anyone(edits in proptest::collection::vec((any::<prop::sample::Index>(), edits()), 1..4)) {
        let log = Log::varied();
        let files = log.files();
        let mut touched = false;
        for (which, edit) in &edits {
            let name = &which.get(&files).0;
            let mut bytes = log.read(name);
            apply(edit, &mut bytes, &files);
            log.write(name, &bytes);
        }
        for (name, bytes) in &files {
            touched |= log.read(name) != *bytes;
        }
        let report = log.verify();
        prop_assert_eq!(report.verdict() == Verdict::Intact, !touched, "{}", report);
        let _ = report.to_json();
        read_all(&log);
        let mut options = log.options();
        options.check = OpenCheck::Full;
        match Writer::open(&options) {
            Ok((writer, _)) => {
                // The stored tree can be made anew; nothing else that was signed is ever mended.
                prop_assert!(report.findings.iter().all(|finding| finding.code == Code::Tree), "{}", report);
                writer.close().unwrap();
                let report = log.verify();
                prop_assert!(report.findings.is_empty(), "{}", report);
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
