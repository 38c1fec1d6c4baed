use std::{
    collections::VecDeque,
    os::fd::BorrowedFd,
    time::Instant,
};

use aegis_common::{
    counter::Counter,
    event::{kind, op, verdict},
    repeat::{Repeat, RepeatKey},
};
use aegis_log::{Reader as LogReader, Writer, WriterOptions};
use prost::Message as _;

use super::*;
use crate::{
    audit::Batching,
    proto::event::{Event, Kind, event::Detail},
    record::{RowQueue, row_queue},
    testkit::Record,
};

#[derive(Clone, Default)]
struct Ring(Arc<Mutex<VecDeque<Vec<u8>>>>);

impl Ring {
    fn push(&self, record: &Record) {
        self.0.lock().expect("ring").push_back(record.bytes());
    }
}

impl RecordSource for Ring {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn drain(&mut self, max: usize, take: &mut dyn FnMut(&[u8])) -> usize {
        let mut ring = self.0.lock().expect("ring");
        let count = ring.len().min(max);
        ring.drain(..count).for_each(|r| take(&r));
        count
    }
}

/// Repeat counters as a test sets them.
#[derive(Clone, Default)]
struct Counters(Arc<Mutex<Vec<(u32, Repeat)>>>);

impl Counters {
    /// The counter at `place` of the record numbered `of` stands at `count`.
    fn set(&self, place: u32, of: u64, count: u64) {
        let key = RepeatKey {
            slot: 1,
            pid: 4_000_001,
            kind: kind::FILE,
            op: op::OPEN_READ,
            verdict: verdict::DENY,
            errno: 13,
            ..RepeatKey::default()
        };
        let counter = Repeat { taken: 1, seq: of, count, seen: 0, first: 2_000_000, last: 3_000_000, key };
        let mut counters = self.0.lock().expect("counters");
        counters.retain(|(at, _)| *at != place);
        counters.push((place, counter));
    }
}

impl RepeatSource for Counters {
    fn each(&self, visit: &mut dyn FnMut(u32, &Repeat)) {
        self.0.lock().expect("counters").iter().for_each(|(place, counter)| visit(*place, counter));
    }
    fn seen(&mut self, _: u32, _: u64) {}
    fn hide(&mut self, _: &RepeatKey) -> bool {
        true
    }
    fn quiet(&self) -> std::sync::mpsc::Receiver<()> {
        sync_channel(1).1
    }
    fn give_back(&mut self, _: u32) {}
}

struct Bench {
    counters: Counters,
    ring: Ring,
    lost: Arc<Mutex<Vec<(Counter, u64)>>>,
    pipeline: Pipeline,
    audit: AuditLog,
    dir: tempfile::TempDir,
    _rows: RowQueue,
}

fn bench(begin: Begin) -> Bench {
    let dir = tempfile::tempdir().expect("tempdir");
    let options = WriterOptions::new(dir.path().join("log"), dir.path().join("log.key"), [1; 16]);
    let (writer, _) = Writer::open(&options).expect("log");
    let (to, rows) = row_queue();
    let (audit, _thread) = AuditLog::start(writer, crate::redact::Redactor::built_in(), Batching::default(), to).expect("audit");
    let (ring, counters) = (Ring::default(), Counters::default());
    let lost: Arc<Mutex<Vec<(Counter, u64)>>> = Arc::default();
    let counts = lost.clone();
    let pipeline = Pipeline::start(
        Box::new(ring.clone()),
        Box::new(counters.clone()),
        Box::new(move || Some(counts.lock().expect("counts").clone())),
        begin,
        None,
        Arc::default(),
        audit.clone(),
    )
    .expect("pipeline");
    Bench { counters, ring, lost, pipeline, audit, dir, _rows: rows }
}

impl Bench {
    fn entries(&self) -> Vec<(Kind, Event)> {
        assert!(self.pipeline.flusher().flush(Duration::from_secs(20)));
        self.audit.checkpoint().expect("checkpoint");
        let mut reader = LogReader::open(self.dir.path().join("log")).expect("reader");
        reader.refresh().expect("refresh");
        let entries = reader.entries(0).map(|e| e.expect("entry"));
        entries
            .map(|e| {
                let kind = Kind::try_from(i32::try_from(e.header.kind).expect("kind")).expect("kind");
                (kind, Event::decode(e.body.unwrap().as_slice()).expect("event"))
            })
            .collect()
    }

    /// Losses as told once something is told of each of these kinds.
    fn losses(&self, kinds: &[&str]) -> Vec<(String, u64, u64)> {
        let begun = Instant::now();
        loop {
            let losses: Vec<_> = self
                .entries()
                .into_iter()
                .filter_map(|(_, e)| {
                    if let Some(Detail::Loss(l)) = e.detail { Some((l.kind, l.count, l.total)) } else { None }
                })
                .collect();
            if kinds.iter().all(|k| losses.iter().any(|l| l.0 == *k)) || begun.elapsed() > Duration::from_secs(15) {
                return losses;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn records_become_entries_in_order_and_forks_do_not() {
    let bench = bench(Begin::default());
    for seq in 1..=2_000 {
        let path = format!("/f{seq}");
        bench.ring.push(&if seq % 10 == 0 { Record::fork(seq, 5, 5) } else { Record::file(seq, path.as_bytes(), b"") });
    }
    let entries = bench.entries();
    assert_eq!(entries.len(), 1_800);
    assert!(entries.iter().all(|(k, _)| *k == Kind::File));
    let seqs: Vec<u64> = entries.iter().map(|(_, e)| e.kernel_seq).collect();
    assert!(seqs.is_sorted());
}

#[test]
fn malformed_records_are_a_counted_loss_and_stop_nothing() {
    let bench = bench(Begin::default());
    bench.ring.push(&Record::file(1, b"/a", b""));
    for bad in [&b""[..], b"short", &[0xff; 200]] {
        bench.ring.0.lock().expect("ring").push_back(bad.to_vec());
    }
    let mut other = Record::file(2, b"/b", b"");
    other.header.abi = 99;
    bench.ring.push(&other);
    bench.ring.push(&Record::file(2, b"/c", b""));
    let losses = bench.losses(&["malformed", "abi"]);
    // All bytes 0xff are another ABI version too.
    assert!(losses.contains(&("malformed".into(), 2, 2)), "{losses:?}");
    assert!(losses.contains(&("abi".into(), 2, 2)), "{losses:?}");
    assert_eq!(bench.entries().iter().filter(|(k, _)| *k == Kind::File).count(), 2);
}

#[test]
fn what_the_kernel_counted_is_told_by_kind_and_its_gap_not_twice() {
    let bench = bench(Begin::default());
    bench.ring.push(&Record::file(1, b"/a", b""));
    bench.ring.push(&Record::file(12, b"/b", b""));
    *bench.lost.lock().expect("counts") =
        vec![(Counter::LostFile, 7), (Counter::LostProcess, 3), (Counter::LostDenial, 2), (Counter::PathTooDeep, 50)];
    let mut losses = bench.losses(&["lost_file", "lost_process", "lost_denial"]);
    thread::sleep(Duration::from_millis(2_500));
    assert_eq!(bench.losses(&[]).len(), losses.len(), "ten missing numbers are the ten counted");
    losses.sort();
    assert_eq!(
        losses,
        [("lost_denial".into(), 2, 2), ("lost_file".into(), 7, 7), ("lost_process".into(), 3, 3)]
    );
}

#[test]
fn a_gap_that_no_counter_explains_is_told_exactly() {
    let bench = bench(Begin::default());
    bench.ring.push(&Record::file(1, b"/a", b""));
    bench.ring.push(&Record::file(12, b"/b", b""));
    *bench.lost.lock().expect("counts") = vec![(Counter::LostFile, 4)];
    let losses = bench.losses(&["unaccounted"]);
    assert!(losses.contains(&("unaccounted".into(), 6, 6)), "{losses:?}");
}

#[test]
fn after_a_take_over_nothing_is_told_twice_and_what_is_missing_is_told() {
    let begin = Begin {
        kernel_seq: 100,
        logged: [98, 100].into(),
        told: vec![("lost_file".into(), 10), (UNACCOUNTED.into(), 1)],
        repeated: HashMap::new(),
    };
    let bench = bench(begin);
    *bench.lost.lock().expect("counts") = vec![(Counter::LostFile, 12)];
    for seq in [98, 99, 100, 106, 107] {
        bench.ring.push(&Record::file(seq, b"/a", b""));
    }
    let losses = bench.losses(&["unaccounted", "lost_file"]);
    assert!(losses.contains(&("lost_file".into(), 2, 12)), "{losses:?}");
    assert!(losses.contains(&("unaccounted".into(), 3, 4)), "five missing, two of them counted: {losses:?}");
    let seqs: Vec<u64> =
        bench.entries().iter().filter(|(k, _)| *k == Kind::File).map(|(_, e)| e.kernel_seq).collect();
    assert_eq!(seqs, [99, 106, 107], "98 and 100 were in the log");
}

fn repetitions(bench: &Bench) -> Vec<(u64, u64, u64, Vec<u8>)> {
    let entries = bench.entries();
    let told = entries.into_iter().filter_map(|(_, event)| {
        let repeat = event.repeat?;
        assert_eq!(event.kernel_seq, 0);
        assert_eq!((event.verdict(), event.process?.pid), (crate::proto::event::Verdict::Deny, 4_000_001));
        let Some(Detail::File(file)) = event.detail else { panic!("a file") };
        assert_eq!((file.op.as_str(), file.errno), ("read", 13));
        Some((repeat.of, repeat.count, repeat.total, file.path))
    });
    told.collect()
}

#[test]
fn what_is_counted_is_told_as_the_event_that_it_repeats_and_behind_it() {
    let bench = bench(Begin::default());
    let mut record = Record::file(1, b"/a", b"").denied(13);
    record.header.counter = 8;
    bench.ring.push(&record);
    bench.counters.set(7, 1, 40);
    assert_eq!(repetitions(&bench), [(1, 40, 40, b"/a".to_vec())]);
    bench.counters.set(7, 1, 45);
    bench.counters.set(9, 3, 2);
    let mut told = repetitions(&bench);
    assert_eq!(told.remove(1), (1, 5, 45, b"/a".to_vec()));
    assert_eq!(told[1], (3, 2, 2, Vec::new()), "its event never came: counted all the same");
    let kinds: Vec<bool> = bench.entries().iter().map(|(_, event)| event.repeat.is_some()).collect();
    assert_eq!(kinds, [false, true, true, true]);
    let repeat = bench.entries()[1].1.repeat.expect("repeat");
    assert_eq!(repeat.end_time - repeat.start_time, 1_000_000);
}

#[test]
fn after_a_take_over_only_the_rest_of_a_count_is_told() {
    let event = Event { verdict: 3, process: Some(crate::proto::event::Process { pid: 4_000_001, ..Default::default() }), ..Event::default() };
    let file = crate::proto::event::File { op: "read".into(), errno: 13, path: b"/b".to_vec(), ..Default::default() };
    let event = Event { detail: Some(Detail::File(file)), kernel_seq: 5, ..event };
    let draft = Draft { kind: Kind::File as u32, time: 7, event, urgent: true };
    let begin = Begin { kernel_seq: 5, repeated: [(5, (30, draft))].into(), ..Begin::default() };
    let bench = bench(begin);
    bench.counters.set(7, 5, 40);
    assert_eq!(repetitions(&bench), [(5, 10, 40, b"/b".to_vec())]);
    assert_eq!(bench.entries()[0].1.repeat.expect("repeat").start_time, 7, "no later than the event");
}

#[test]
fn stopping_hands_over_what_the_ring_holds() {
    let bench = bench(Begin::default());
    for seq in 1..=5_000 {
        bench.ring.push(&Record::file(seq, b"/a", b""));
    }
    let Bench { pipeline, audit, dir, .. } = bench;
    pipeline.stop();
    audit.checkpoint().expect("checkpoint");
    let mut reader = LogReader::open(dir.path().join("log")).expect("reader");
    assert_eq!(reader.refresh().expect("refresh"), 5_000);
}
