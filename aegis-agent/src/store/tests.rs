use aegis_log::{Writer, WriterOptions};

use super::*;
use crate::{
    proto::{
        control::EventsRequest,
        event::{Daemon, File, Kind, Process, Repeat, Verdict, event::Detail},
    },
    query::Lookup as _,
    record::{self, KERNEL_ATTACHED},
};

fn file(agent: &str, path: &str, verdict: Verdict, kernel_seq: u64) -> Event {
    Event {
        agent: agent.into(),
        session: format!("{agent}-1"),
        rule: "r1".into(),
        verdict: verdict as i32,
        kernel_seq,
        process: Some(Process { pid: 42, ..Process::default() }),
        detail: Some(Detail::File(File { path: path.into(), ..File::default() })),
        ..Event::default()
    }
}

fn moved(from: &str, to: &str) -> Event {
    let file = File { path: from.into(), target: to.into(), ..File::default() };
    Event { detail: Some(Detail::File(file)), ..Event::default() }
}

struct Bench {
    dir: tempfile::TempDir,
    writer: Writer,
    time: u64,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("tempdir");
        let options = WriterOptions::new(dir.path().join("log"), dir.path().join("log.key"), [1; 16]);
        let (writer, _) = Writer::open(&options).expect("log");
        Self { dir, writer, time: 1_700_000_000_000_000_000 }
    }

    fn append(&mut self, kind: Kind, event: &Event) -> Row {
        self.time += 1_000;
        let appended = self.writer.append(kind as u32, self.time, &event.encode_to_vec()).expect("append");
        self.writer.commit().expect("commit");
        Row::new(appended.seq, appended.time, kind as u32, event)
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("index.sqlite")
    }

    fn index(&self) -> Index {
        Index::open(&self.path(), self.writer.chain_id()).expect("index")
    }

    fn reader(&self) -> Reader {
        Reader::open(self.dir.path().join("log")).expect("reader")
    }

    fn find(&self, request: &EventsRequest) -> Vec<u64> {
        let filter = Filter::new(request).expect("filter");
        Finder::open(&self.path()).expect("finder").find(&filter, u64::MAX >> 1, usize::MAX, &mut |seq| panic!("path of {seq}")).expect("found")
    }

    fn fill(&mut self) -> Vec<Row> {
        vec![
            self.append(Kind::File, &file("a", "/work/x", Verdict::Allow, 1)),
            self.append(Kind::File, &file("a", "/etc/shadow", Verdict::Deny, 2)),
            self.append(Kind::File, &file("b", "/etc/shadow", Verdict::Deny, 3)),
            self.append(Kind::Loss, &record::loss("lost_file", 4, 9, "ring")),
            self.append(Kind::File, &file("b", "/etc/ssl/key", Verdict::Deny, 8)),
        ]
    }
}

#[test]
fn each_filter_finds_what_it_names_and_agrees_with_the_row_by_row_answer() {
    let mut bench = Bench::new();
    let rows = bench.fill();
    bench.index().add(&rows).expect("add");
    let words = |w: &str| vec![w.to_owned()];
    let time = rows[2].time;
    let cases = [
        (EventsRequest::default(), vec![0, 1, 2, 3, 4]),
        (EventsRequest { agent: "a".into(), ..EventsRequest::default() }, vec![0, 1]),
        (EventsRequest { agent: "b-1".into(), ..EventsRequest::default() }, vec![2, 4]),
        (EventsRequest { agent: "none".into(), ..EventsRequest::default() }, vec![]),
        (EventsRequest { verdicts: words("deny"), ..EventsRequest::default() }, vec![1, 2, 4]),
        (EventsRequest { kinds: words("loss"), ..EventsRequest::default() }, vec![3]),
        (EventsRequest { pids: vec![42], verdicts: words("allow"), ..EventsRequest::default() }, vec![0]),
        (EventsRequest { path_glob: "/etc/*".into(), ..EventsRequest::default() }, vec![1, 2]),
        (EventsRequest { path_glob: "/etc/**".into(), reverse: true, ..EventsRequest::default() }, vec![4, 2, 1]),
        (EventsRequest { after_seq: Some(2), ..EventsRequest::default() }, vec![3, 4]),
        (EventsRequest { since_unix_ns: time, until_unix_ns: time, ..EventsRequest::default() }, vec![2]),
        (EventsRequest { rule: "r1".into(), ..EventsRequest::default() }, vec![0, 1, 2, 4]),
    ];
    for (request, expected) in cases {
        assert_eq!(bench.find(&request), expected, "{request:?}");
        let filter = Filter::new(&request).expect("filter");
        let mut taken: Vec<u64> = rows.iter().filter(|r| filter.takes(r)).map(|r| r.seq).collect();
        if request.reverse {
            taken.reverse();
        }
        assert_eq!(taken, expected, "{request:?}");
    }
}

#[test]
fn entries_of_an_agent_come_from_its_indexes_in_order_and_each_once() {
    let mut bench = Bench::new();
    // A session may have the name of an agent, its own or another.
    let own = Event { session: "a".into(), ..file("a", "/x", Verdict::Allow, 1) };
    let others = Event { session: "a".into(), ..file("b", "/y", Verdict::Allow, 2) };
    let rows = [own, others].map(|event| bench.append(Kind::File, &event));
    bench.index().add(&rows).expect("add");
    let request = EventsRequest { agent: "a".into(), reverse: true, ..EventsRequest::default() };
    assert_eq!(bench.find(&request), [1, 0]);
    let (sql, values) = sql::question(&Filter::new(&request).expect("filter"), 2);
    let connection = Connection::open(bench.path()).expect("open");
    let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("plan");
    let steps = plan.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>(3)).expect("steps");
    let steps = steps.collect::<Result<Vec<_>, _>>().expect("steps").join("\n");
    assert!(steps.contains("by_agent") && steps.contains("by_session") && !steps.contains("TEMP B-TREE"), "{steps}");
}

#[test]
fn a_rename_is_found_by_either_of_its_names() {
    let mut bench = Bench::new();
    let row = bench.append(Kind::File, &moved("/work/x", "/out/y"));
    bench.index().add(&[row]).expect("add");
    for (pattern, found) in [("/work/*", vec![0]), ("/out/y", vec![0]), ("/work/**y", vec![])] {
        assert_eq!(bench.find(&EventsRequest { path_glob: pattern.into(), ..EventsRequest::default() }), found, "{pattern}");
    }
}

#[test]
fn an_index_that_is_missing_broken_or_of_another_log_is_made_again() {
    let mut bench = Bench::new();
    let rows = bench.fill();
    let mut index = bench.index();
    index.catch_up(&mut bench.reader()).expect("caught up");
    assert_eq!(index.next_seq(), 5);
    let all = bench.find(&EventsRequest::default());
    drop(index);

    std::fs::write(bench.path(), b"this is no database").expect("write");
    let mut index = bench.index();
    assert_eq!(index.next_seq(), 0);
    index.catch_up(&mut bench.reader()).expect("caught up");
    assert_eq!(bench.find(&EventsRequest::default()), all);
    drop(index);

    let other = Index::open(&bench.path(), [9; 16]).expect("index");
    assert_eq!(other.next_seq(), 0, "rows of another log are gone");
    drop(other);
    assert_eq!(rows.len(), 5);
}

#[test]
fn rows_behind_a_gap_wait_for_the_log() {
    let mut bench = Bench::new();
    let rows = bench.fill();
    let mut index = bench.index();
    assert!(!index.add(&rows[..2]).expect("add"));
    assert!(index.add(&rows[3..]).expect("add"), "a row is missing");
    assert_eq!(index.next_seq(), 2);
    index.catch_up(&mut bench.reader()).expect("caught up");
    assert_eq!(index.next_seq(), 5);
    assert!(!index.add(&rows).expect("add"), "rows that are there are left out");
}

#[test]
fn the_kernels_numbers_are_kept_until_they_begin_anew() {
    let mut bench = Bench::new();
    bench.fill();
    let mut index = bench.index();
    index.catch_up(&mut bench.reader()).expect("caught up");
    assert_eq!(index.kernel_seq().expect("seq"), 8);
    assert_eq!(index.loss_total("lost_file").expect("total"), 9);
    assert_eq!(index.loss_total("lost_guard").expect("total"), 0);

    let anew = Event {
        detail: Some(Detail::Daemon(Daemon { state: KERNEL_ATTACHED.into(), ..Daemon::default() })),
        ..Event::default()
    };
    bench.append(Kind::Daemon, &anew);
    index.catch_up(&mut bench.reader()).expect("caught up");
    assert_eq!(index.kernel_seq().expect("seq"), 0);
    assert_eq!(index.loss_total("lost_file").expect("total"), 0);
    bench.append(Kind::File, &file("a", "/x", Verdict::Allow, 3));
    index.catch_up(&mut bench.reader()).expect("caught up");
    assert_eq!(index.kernel_seq().expect("seq"), 3);
}

#[test]
fn how_much_was_told_of_a_repeated_event_is_kept_until_numbers_begin_anew() {
    let mut bench = Bench::new();
    let again = |of, total| Event {
        repeat: Some(Repeat { of, count: 1, total, ..Repeat::default() }),
        ..file("a", "/x", Verdict::Deny, 0)
    };
    for event in [file("a", "/x", Verdict::Deny, 3), again(3, 10), again(4, 2), again(3, 25)] {
        bench.append(Kind::File, &event);
    }
    let mut index = bench.index();
    index.catch_up(&mut bench.reader()).expect("caught up");
    assert_eq!(index.repeats(3).expect("found"), Some((3, 25)));
    assert_eq!(index.repeats(4).expect("found"), Some((2, 2)));
    assert_eq!(index.repeats(5).expect("found"), None);
    assert_eq!(index.kernel_seq().expect("seq"), 3);
    let anew = Event {
        detail: Some(Detail::Daemon(Daemon { state: KERNEL_ATTACHED.into(), ..Daemon::default() })),
        ..Event::default()
    };
    bench.append(Kind::Daemon, &anew);
    index.catch_up(&mut bench.reader()).expect("caught up");
    assert_eq!(index.repeats(3).expect("found"), None);
}

#[test]
fn the_writers_thread_follows_rows_and_heals_gaps() {
    let mut bench = Bench::new();
    let rows = bench.fill();
    let (writer, to, thread) = IndexWriter::start(bench.index(), bench.dir.path().join("log")).expect("writer");
    to.offer(rows[..2].to_vec());
    assert!(writer.wait_for(2, Duration::from_secs(10)));
    to.offer(rows[4..].to_vec());
    assert!(writer.wait_for(5, Duration::from_secs(10)), "the missing rows come from the log");
    bench.fill();
    assert!(writer.wait_for(10, Duration::from_secs(10)), "rows that never came too");
    assert!(!writer.wait_for(11, Duration::from_millis(20)));
    drop(to);
    thread.join().expect("thread");
}

/// Names of the ways that are there.
fn ways(index: &Index) -> Vec<String> {
    let mut statement = index.connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name").expect("sql");
    let names = statement.query_map([], |row| row.get(0)).expect("names");
    names.collect::<Result<_, _>>().expect("names")
}

#[test]
fn a_large_log_is_indexed_at_once_and_what_was_interrupted_gets_its_ways() {
    let mut bench = Bench::new();
    let body = file("a", "/work/x", Verdict::Allow, 1).encode_to_vec();
    for _ in 0..MANY {
        bench.writer.append(Kind::File as u32, bench.time, &body).expect("append");
    }
    bench.append(Kind::File, &file("b", "/etc/shadow", Verdict::Deny, 2));
    let mut index = bench.index();
    index.catch_up(&mut bench.reader()).expect("caught up");
    assert_eq!(index.next_seq(), MANY + 1);
    assert_eq!(ways(&index), ["by_agent", "by_denial", "by_kind", "by_session"]);
    assert_eq!(bench.find(&EventsRequest { agent: "b".into(), ..EventsRequest::default() }), [MANY]);
    index.batch(DROP_WAYS).expect("dropped");
    assert!(ways(&index).is_empty());
    assert_eq!(bench.find(&EventsRequest { agent: "b".into(), ..EventsRequest::default() }), [MANY]);
    drop(index);
    assert_eq!(ways(&bench.index()).len(), 4);
}

#[test]
fn what_retention_removed_is_taken_out_and_not_missed() {
    let mut bench = Bench::new();
    bench.append(Kind::File, &file("a", "/only/before", Verdict::Deny, 1));
    bench.fill();
    bench.time += 86_400_000_000_000;
    bench.fill();
    let mut index = bench.index();
    index.catch_up(&mut bench.reader()).expect("caught up");
    let told = bench.append(Kind::Daemon, &Event::default()).seq;
    bench.writer.prune(6, told).expect("pruned");
    let kept: Vec<u64> = (6..12).collect();
    index.catch_up(&mut bench.reader()).expect("caught up");
    assert_eq!(bench.find(&EventsRequest::default()), kept);
    for suffix in ["", "-wal"] {
        let path = bench.dir.path().join(format!("index.sqlite{suffix}"));
        let bytes = fs::read(path).unwrap_or_default();
        assert!(!bytes.windows(12).any(|word| word == b"/only/before"), "{suffix}");
    }
    drop(index);
    assert_eq!((bench.index().first_seq, bench.index().next_seq()), (6, 12));

    // Made anew of what there is.
    fs::remove_file(bench.path()).expect("removed");
    let mut index = bench.index();
    index.catch_up(&mut bench.reader()).expect("caught up");
    assert_eq!(bench.find(&EventsRequest::default()), kept);
    let row = bench.append(Kind::Daemon, &Event::default());
    assert!(!index.add(&[row]).expect("added"), "nothing is missing");
}

#[test]
fn the_index_does_not_say_the_paths_of_encrypted_entries_and_asks_the_log_for_them() {
    let mut bench = Bench::new();
    let rows = [
        bench.append(Kind::File, &file("a", "/home/secret-name", Verdict::Deny, 1)),
        bench.append(Kind::File, &file("a", "/work/x", Verdict::Allow, 2)),
        bench.append(Kind::Daemon, &Event::default()),
    ];
    // A clock that was set back ends the segment.
    bench.time -= 120_000_000_000;
    let last = bench.append(Kind::File, &file("a", "/home/other-name", Verdict::Deny, 3));
    let mut index = bench.index();
    index.add(&rows).expect("add");
    index.add(&[last]).expect("add");
    let log = bench.dir.path().join("log");
    let keys = aegis_log::Keys::create(&aegis_log::Keys::folder(&log), &log.with_extension("kek")).expect("keys");
    let ended = bench.writer.ended_segments().expect("segments");
    let draft = aegis_log::encrypt_segment(&log, &ended[0], &keys, &mut |_, _| String::new()).expect("encrypted");
    bench.writer.put_encrypted(draft).expect("in place");
    index.catch_up(&mut bench.reader()).expect("caught up");
    let files = || {
        let names = fs::read_dir(bench.dir.path()).expect("folder").map(|entry| entry.expect("entry").path());
        let index = names.filter(|path| path.to_string_lossy().contains("index.sqlite"));
        index.map(|path| fs::read(path).expect("index")).collect::<Vec<_>>().concat()
    };
    let says = |what: &[u8]| files().windows(what.len()).any(|window| window == what);
    assert!(!says(b"secret-name") && says(b"other-name"));
    let find = |glob: &str| {
        let filter = Filter::new(&EventsRequest { path_glob: glob.into(), ..EventsRequest::default() }).expect("filter");
        let mut asked = Vec::new();
        let finder = Finder::open(&bench.path()).expect("finder");
        let found = finder.find(&filter, 9, 9, &mut |seq| {
            asked.push(seq);
            Ok(seq == 0)
        });
        (found.expect("found"), asked)
    };
    // What has no path is not asked for.
    assert_eq!(find("/home/*"), (vec![0, 3], vec![0, 1]));
    // Without a path the index answers as before.
    assert_eq!(bench.find(&EventsRequest { agent: "a".into(), ..EventsRequest::default() }), [0, 1, 3]);
    // And it does not come back with an index that is made anew.
    drop(index);
    fs::remove_file(bench.path()).expect("removed");
    bench.index().catch_up(&mut bench.reader()).expect("caught up");
    assert!(!says(b"secret-name") && says(b"other-name"));
    assert_eq!(find("/home/*").0, [0, 3]);
}

#[test]
fn an_entry_that_cannot_be_read_has_its_place_in_the_index() {
    let mut bench = Bench::new();
    bench.append(Kind::File, &file("a", "/home/x", Verdict::Deny, 1));
    bench.time -= 120_000_000_000;
    bench.append(Kind::File, &file("a", "/home/y", Verdict::Deny, 2));
    let log = bench.dir.path().join("log");
    let keys = aegis_log::Keys::create(&aegis_log::Keys::folder(&log), &log.with_extension("kek")).expect("keys");
    let ended = bench.writer.ended_segments().expect("segments");
    let draft = aegis_log::encrypt_segment(&log, &ended[0], &keys, &mut |_, _| String::new()).expect("encrypted");
    bench.writer.put_encrypted(draft).expect("in place");
    let mut without = Reader::open_with(&log, aegis_log::Keys::none()).expect("reader");
    bench.index().catch_up(&mut without).expect("caught up");
    assert_eq!(bench.find(&EventsRequest { kinds: vec!["file".into()], ..EventsRequest::default() }), [0, 1]);
    assert_eq!(bench.find(&EventsRequest { agent: "a".into(), ..EventsRequest::default() }), [1]);
}
