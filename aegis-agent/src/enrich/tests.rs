use std::{collections::HashMap, sync::Mutex};

use super::*;
use crate::{decode::decode, testkit::Record};

#[derive(Default)]
struct Fake(Mutex<HashMap<u32, Found>>);

impl Procfs for Fake {
    fn find(&self, pid: u32) -> Option<Found> {
        self.0.lock().expect("lock").get(&pid).cloned()
    }
}

fn found(start: u64, ppid: u32, exe: &str, cgroup: &str) -> Found {
    Found {
        start,
        ppid,
        exe: exe.into(),
        argv: vec![exe.into(), b"-x".to_vec()],
        login_uid: 1000,
        cgroup: cgroup.into(),
    }
}

fn tree(processes: &[(u32, Found)]) -> Tree {
    Tree::new(Box::new(Fake(Mutex::new(processes.iter().cloned().collect()))))
}

const START: u64 = 3_000_000_007;

#[test]
fn a_process_from_before_is_taken_from_proc_when_its_start_agrees() {
    let mut tree = tree(&[(10, found(3_000_000_000, 9, "/bin/sh", "/aegis/s"))]);
    let cgroup: Arc<str> = "/aegis/s".into();
    let key = Key { pid: 10, start: START };
    tree.seen(key, 9, &cgroup);
    assert_eq!(&*tree.get(key).expect("known").exe, b"/bin/sh");
    assert_eq!(tree.get(key).expect("known").login_uid, 1000);

    let other = Key { pid: 10, start: START + 500_000_000 };
    tree.seen(other, 9, &cgroup);
    assert_eq!(&*tree.get(other).expect("known").exe, b"", "the id was used again: nothing is known");
}

#[test]
fn a_child_begins_as_its_parent_and_changes_with_exec() {
    let mut tree = tree(&[]);
    let cgroup: Arc<str> = "/aegis/s".into();
    let (parent, child) = (Key { pid: 10, start: 1 }, Key { pid: 11, start: 2 });
    tree.seen(parent, 1, &cgroup);
    tree.executed(parent, b"/bin/sh", &[b"sh".to_vec()]);
    tree.forked(parent, child);
    assert_eq!(&*tree.get(child).expect("child").exe, b"/bin/sh");
    tree.executed(child, b"/bin/cat", &[]);
    assert_eq!(&*tree.get(child).expect("child").exe, b"/bin/cat");
    assert_eq!(&*tree.get(parent).expect("parent").exe, b"/bin/sh");
}

#[test]
fn ancestors_end_at_the_agents_first_process() {
    let mut tree = tree(&[(9, found(0, 1, "/usr/bin/aegis", "/user.slice"))]);
    let cgroup: Arc<str> = "/aegis/s/below".into();
    let first = Key { pid: 10, start: 1 };
    tree.seen(first, 9, &cgroup);
    tree.forked(first, Key { pid: 11, start: 2 });
    tree.forked(Key { pid: 11, start: 2 }, Key { pid: 12, start: 3 });
    assert_eq!(tree.ancestors(Key { pid: 12, start: 3 }), [11, 10]);
    assert!(tree.ancestors(first).is_empty());
}

#[test]
fn ended_processes_are_kept_for_late_records_and_bounded() {
    let mut tree = tree(&[]);
    let cgroup: Arc<str> = "/aegis/s".into();
    for pid in 1..=5_000 {
        let key = Key { pid, start: u64::from(pid) };
        tree.seen(key, 1, &cgroup);
        tree.exited(key);
    }
    assert!(tree.get(Key { pid: 5_000, start: 5_000 }).is_some());
    assert!(tree.len() <= 4_097);
}

fn enricher() -> Enricher {
    Enricher::new(None, Box::new(Fake::default()))
}

#[test]
fn forks_are_not_told_but_their_children_are_known() {
    let mut enricher = enricher();
    let mut send = |record: &Record| enricher.enrich(decode(&record.bytes()).expect("record"), None);
    let exec = send(&Record::exec(1, b"/bin/sh", &[b"sh", b"-c"])).expect("exec");
    assert_eq!(exec.kind, Kind::Exec as u32);
    assert!(send(&Record::fork(2, 4_000_002, 600)).is_none());
    let mut child = Record::file(3, b"/etc/passwd", b"");
    (child.header.pid, child.header.tid, child.header.start) = (4_000_002, 4_000_002, 600);
    let file = send(&child.denied(13)).expect("file");
    assert_eq!(file.process.exe, b"/bin/sh");
    assert_eq!(file.process.argv, [b"sh".to_vec(), b"-c".to_vec()]);
    assert_eq!(file.process.comm, b"worker");
    let event::Detail::File(file) = file.detail else { panic!("file") };
    assert_eq!((file.op.as_str(), file.errno), ("read", 13));
}

#[test]
fn a_denied_program_does_not_become_the_process() {
    let mut enricher = enricher();
    let mut send = |record: &Record| enricher.enrich(decode(&record.bytes()).expect("record"), None);
    send(&Record::exec(1, b"/bin/sh", &[b"sh"]));
    send(&Record::exec(2, b"/usr/bin/kubectl", &[b"kubectl"]).denied(13));
    let after = send(&Record::file(3, b"/x", b"")).expect("file");
    assert_eq!(after.process.exe, b"/bin/sh");
}

#[test]
fn addresses_and_exits_are_told_in_words() {
    let mut enricher = enricher();
    let mut send = |record: &Record| enricher.enrich(decode(&record.bytes()).expect("record"), None).expect("told").detail;
    let mut mapped = [0; 16];
    mapped[10..].copy_from_slice(&[0xff, 0xff, 10, 1, 2, 3]);
    let event::Detail::Network(network) = send(&Record::network(1, mapped, 443)) else { panic!("network") };
    assert_eq!((network.address.as_str(), network.port, network.protocol.as_str()), ("10.1.2.3", 443, "tcp"));
    let event::Detail::Network(network) = send(&Record::unix(2, b"\0dbus")) else { panic!("unix") };
    assert_eq!((network.address.as_str(), network.protocol.as_str()), ("@dbus", "unix"));
    let event::Detail::Exit(exit) = send(&Record::exit(3, 9)) else { panic!("exit") };
    assert_eq!((exit.code, exit.signal), (0, 9));
    let event::Detail::Exit(exit) = send(&Record::exit(4, 3 << 8)) else { panic!("exit") };
    assert_eq!((exit.code, exit.signal), (3, 0));
}

#[test]
fn what_an_agent_with_mounts_of_its_own_calls_a_file_is_told_beside_the_hosts_name() {
    let mounts = mountinfo::parse(b"\
50 1 254:0 /srv/image / rw - ext4 /dev/vda rw
51 50 254:0 /srv/data /data rw - ext4 /dev/vda rw
")
    .expect("mounts");
    let file = |path: &[u8], target: &[u8]| Detail::File {
        dev: 254 << 20,
        ino: 7,
        path: path.to_vec(),
        target_dev: 254 << 20,
        target: target.to_vec(),
        argv: Vec::new(),
        variable: Vec::new(),
    };
    let told = |reason, detail: &Detail| in_agent(&EventHeader { reason, ..EventHeader::default() }, detail, &mounts);
    let names = |path: &str, target: &str| Some(InAgent { path: path.into(), target: target.into() });
    assert_eq!(told(reason::RULE, &file(b"/srv/data/a", b"/srv/image/etc/b")), names("/data/a", "/etc/b"));
    assert_eq!(told(reason::RULE, &file(b"/root/key", b"")), names("", ""), "it sees that file by no name");
    assert_eq!(told(reason::RULE, &file(b"/srv/data", b"")), names("/data", ""));
    assert_eq!(told(reason::TOO_DEEP, &file(b"", b"")), names("", ""), "not followed: no name of a root");
    assert_eq!(told(reason::RULE, &Detail::Exit { status: 0 }), None, "not about a file");
}
