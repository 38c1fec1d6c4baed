use aegis_log::{Reader, WriterOptions};

use super::*;
use crate::{
    proto::event::{Agent, Exec, event::Detail},
    record::{RowQueue, row_queue},
};

struct Bench {
    log: AuditLog,
    thread: JoinHandle<Result<(), AuditError>>,
    rows: RowQueue,
    dir: tempfile::TempDir,
}

fn bench(batching: Batching) -> Bench {
    let dir = tempfile::tempdir().expect("tempdir");
    let options = WriterOptions::new(dir.path().join("log"), dir.path().join("log.key"), [1; 16]);
    let (writer, _) = Writer::open(&options).expect("log");
    let (to, rows) = row_queue();
    let (log, thread) = AuditLog::start(writer, crate::redact::Redactor::built_in(), batching, to).expect("audit");
    Bench { log, thread, rows, dir }
}

fn slow() -> Batching {
    Batching { entries: 10, most: 20, delay: Duration::from_secs(3600) }
}

fn draft(urgent: bool) -> Draft {
    let detail = Some(Detail::AgentState(Agent { state: "limit".into(), ..Agent::default() }));
    let event = Event { agent: "a".into(), detail, ..Event::default() };
    Draft { kind: Kind::Agent as u32, time: clock::wall(), event, urgent }
}

impl Bench {
    fn reader(&self) -> Reader {
        let mut reader = Reader::open(self.dir.path().join("log")).expect("reader");
        reader.refresh().expect("refresh");
        reader
    }

    fn until_durable(&self, size: u64) {
        let begun = Instant::now();
        while self.log.progress().durable_size() < size {
            assert!(begun.elapsed() < Duration::from_secs(10), "it is due and not done");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn settle(&self) {
        let (done, appended) = sync_channel(1);
        self.log.barrier(done).expect("barrier");
        appended.recv().expect("appended");
    }
}

#[test]
fn a_commit_waits_for_its_number() {
    let bench = bench(slow());
    bench.log.send(vec![draft(false); 9]).expect("sent");
    bench.settle();
    assert_eq!((bench.log.progress().durable_size(), bench.log.progress().next_seq()), (0, 9));
    bench.log.send(vec![draft(false)]).expect("sent");
    bench.until_durable(10);
    assert_eq!(bench.reader().size(), 10);
    let rows = bench.rows.next(Duration::from_secs(10)).expect("rows");
    assert_eq!(rows.iter().map(|r| r.seq).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_large_message_is_committed_in_groups() {
    let bench = bench(slow());
    bench.log.send(vec![draft(false); 45]).expect("sent");
    bench.settle();
    assert_eq!(bench.log.progress().durable_size(), 40);
    assert_eq!(bench.log.progress().commits(), 2);
}

#[test]
fn an_urgent_draft_takes_all_with_it() {
    let bench = bench(slow());
    bench.log.send(vec![draft(false), draft(true), draft(false)]).expect("sent");
    bench.until_durable(3);
}

#[test]
fn a_recorded_entry_is_durable_when_the_answer_comes() {
    let bench = bench(slow());
    let durable = bench.log.record(Kind::Agent, draft(true).event).expect("durable");
    assert_eq!(durable.seq, 0);
    assert_eq!(bench.reader().size(), 1);
    let checkpoint = bench.log.checkpoint().expect("checkpoint");
    assert_eq!(checkpoint.size, 1);
    assert!(checkpoint.note.contains("\n1\n"), "{}", checkpoint.note);
}

#[test]
fn an_entry_too_large_is_a_counted_loss() {
    let bench = bench(slow());
    let mut large = draft(false);
    large.event.detail = Some(Detail::Exec(Exec { path: vec![b'x'; 70_000], ..Exec::default() }));
    bench.log.send(vec![large, draft(false)]).expect("sent");
    bench.log.checkpoint().expect("checkpoint");
    let entries: Vec<_> = bench.reader().entries(0).map(|e| e.expect("entry")).collect();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0].header.kind, Kind::Loss as u32);
    let event = Event::decode(entries[0].body.as_deref().unwrap()).expect("event");
    let Some(Detail::Loss(loss)) = event.detail else { panic!("loss") };
    assert_eq!((loss.kind.as_str(), loss.count, loss.total), ("too_large", 1, 1));
}

#[test]
fn stopping_leaves_nothing_behind_the_last_checkpoint() {
    let bench = bench(slow());
    bench.log.send(vec![draft(false); 7]).expect("sent");
    bench.log.stop();
    bench.thread.join().expect("thread").expect("closed");
    let mut reader = Reader::open(bench.dir.path().join("log")).expect("reader");
    assert_eq!(reader.refresh().expect("refresh"), 7);
    assert!(matches!(bench.log.send(vec![draft(false)]), Err(AuditError::Closed)));
}

#[test]
fn rows_that_find_no_room_do_not_hold_up_the_log() {
    let dir = tempfile::tempdir().expect("tempdir");
    let options = WriterOptions::new(dir.path().join("log"), dir.path().join("log.key"), [1; 16]);
    let (writer, _) = Writer::open(&options).expect("log");
    let (to, _rows) = row_queue();
    let (log, _thread) = AuditLog::start(writer, crate::redact::Redactor::built_in(), slow(), to).expect("audit");
    for _ in 0..5 {
        log.record(Kind::Agent, draft(true).event).expect("durable");
    }
    assert_eq!(log.progress().durable_size(), 5);
}

#[test]
fn an_ended_segment_is_removed_once_an_entry_tells_of_it() {
    let bench = bench(slow());
    let early = Draft { time: clock::wall() - 3 * 86_400_000_000_000, ..draft(false) };
    bench.log.send(vec![early; 4]).expect("sent");
    let told = bench.log.record(Kind::Daemon, Event::default()).expect("durable").seq;
    let ended = bench.log.ended_segments().expect("segments");
    assert_eq!(ended.iter().map(|segment| segment.end).collect::<Vec<_>>(), [4]);
    assert!(matches!(bench.log.prune(5, told), Err(AuditError::Prune(_))));
    bench.log.prune(4, told).expect("removed");
    assert!(bench.log.ended_segments().expect("segments").is_empty());
    assert_eq!((bench.reader().first(), bench.reader().size()), (4, 5));
    // And it goes on.
    assert_eq!(bench.log.record(Kind::Agent, draft(true).event).expect("durable").seq, 5);
}
