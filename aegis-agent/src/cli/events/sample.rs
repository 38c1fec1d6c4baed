//! Entries for tests.

use super::entry::Entry;
use crate::proto::event::{
    Agent, Daemon, Dns, Event, Exec, Exit, File, Guard, Kind, Loss, Network, Operator, Policy, Process, Traffic, Usage, Verdict,
    event::Detail,
};

pub(crate) fn process() -> Process {
    Process {
        pid: 4242,
        tid: 4243,
        ppid: 4200,
        uid: 1000,
        gid: 1001,
        start: 99,
        comm: b"cat".to_vec(),
        exe: b"/usr/bin/cat".to_vec(),
        argv: vec![b"cat".to_vec(), b"/etc/shadow".to_vec()],
        user: "dev".to_owned(),
        cgroup: "/aegis/coder-1".to_owned(),
        ancestors: vec![4200, 4100],
        login_uid: 1000,
    }
}

pub(crate) fn entry(seq: u64, kind: Kind, verdict: Verdict, rule: &str, detail: Detail) -> Entry {
    let governed = !matches!(kind, Kind::Daemon | Kind::Operator | Kind::Loss | Kind::Policy | Kind::Agent);
    Entry {
        seq,
        time: 1_795_181_760_123_456_789 + seq,
        kind: u32::try_from(kind as i32).unwrap(),
        event: Event {
            verdict: verdict as i32,
            agent: if kind == Kind::Daemon { String::new() } else { "coder".to_owned() },
            session: if kind == Kind::Daemon { String::new() } else { "coder-1".to_owned() },
            rule: rule.to_owned(),
            generation: u32::from(governed) * 3,
            reason: if rule.is_empty() { String::new() } else { "rule".to_owned() },
            process: governed.then(process),
            detail: Some(detail),
            ..Event::default()
        },
        undecoded: None,
        unread: String::new(),
    }
}

pub(crate) fn denied_open() -> Entry {
    let file = File {
        op: "read".to_owned(),
        path: b"/etc/shadow".to_vec(),
        dev: 8,
        ino: 77,
        errno: 13,
        ..File::default()
    };
    let mut entry = entry(4, Kind::File, Verdict::Deny, "fs.deny.1", Detail::File(file));
    entry.event.image = "ab".repeat(32);
    entry.event.kernel_seq = 17;
    entry
}

pub(crate) fn rename() -> Entry {
    let file = File {
        op: "rename".to_owned(),
        path: b"/work/a".to_vec(),
        target: b"/work/b".to_vec(),
        ..File::default()
    };
    entry(5, Kind::File, Verdict::Allow, "fs.write.1", Detail::File(file))
}

pub(crate) fn daemon_start() -> Entry {
    let daemon = Daemon { state: "started".to_owned(), version: "0.1.0".to_owned(), abi: 1, ..Daemon::default() };
    entry(0, Kind::Daemon, Verdict::Unspecified, "", Detail::Daemon(daemon))
}

pub(crate) fn all() -> Vec<Entry> {
    let argv = vec![b"sh".to_vec(), b"-c".to_vec(), b"echo 'hi there'".to_vec()];
    let exec = Exec { path: b"/bin/sh".to_vec(), argv: argv.clone(), ..Exec::default() };
    let network = Network {
        op: "connect".to_owned(),
        address: "169.254.169.254".to_owned(),
        port: 80,
        protocol: "tcp".to_owned(),
        name: String::new(),
        errno: 13,
        ..Network::default()
    };
    let closed = Network {
        op: "close".to_owned(),
        address: "192.0.2.10".to_owned(),
        port: 443,
        protocol: "tcp".to_owned(),
        name: "api.example".to_owned(),
        traffic: Some(Traffic { bytes_out: 1_500, packets_out: 9, bytes_in: 20_400_000, packets_in: 14 }),
        start_time: 1_795_181_759_000_000_000,
        local_port: 40_112,
        direction: "outbound".to_owned(),
        ..Network::default()
    };
    let dns = Dns {
        op: "answer".to_owned(),
        name: "api.example".to_owned(),
        r#type: "A".to_owned(),
        resolver: "192.0.2.53".to_owned(),
        answers: vec!["192.0.2.10".to_owned(), "192.0.2.11".to_owned()],
        errno: 0,
        duration_ns: 12_340_000,
    };
    let ended = Agent {
        state: "ended".to_owned(),
        argv,
        exit_signal: 9,
        duration_ns: 61_000_000_000,
        usage: Some(Usage { cpu_usec: 5, memory_peak: 1 << 20, ..Usage::default() }),
        ..Agent::default()
    };
    let policy = Policy {
        name: "coder".to_owned(),
        image: "ab".repeat(32),
        generation: 3,
        mode: "enforce".to_owned(),
        manifest: b"version: \"1.0\"\n".to_vec(),
        rules: 12,
    };
    let kill = Operator {
        action: "kill".to_owned(),
        uid: 0,
        login_uid: 1000,
        exe: b"/usr/bin/aegis".to_vec(),
        pid: 9,
        target: "coder".to_owned(),
        outcome: "frozen".to_owned(),
        duration_ns: 2_500_000,
        tasks: 4,
        reason: "odd".to_owned(),
    };
    let guard = Guard { op: "terminal_input".to_owned(), subject: "TIOCSTI".to_owned(), errno: 1 };
    let loss = Loss { kind: "lost_file".to_owned(), count: 3, total: 7, r#where: "kernel".to_owned() };
    vec![
        daemon_start(),
        entry(1, Kind::Policy, Verdict::Unspecified, "", Detail::Policy(policy)),
        entry(2, Kind::Exec, Verdict::Allow, "exec.allow.1", Detail::Exec(exec)),
        entry(3, Kind::Exit, Verdict::Allow, "", Detail::Exit(Exit { code: 1, signal: 0, duration_ns: 1_500 })),
        denied_open(),
        rename(),
        entry(6, Kind::Network, Verdict::Deny, "default", Detail::Network(network)),
        entry(7, Kind::Guard, Verdict::Deny, "guard", Detail::Guard(guard)),
        entry(8, Kind::Operator, Verdict::Kill, "", Detail::Operator(kill)),
        entry(9, Kind::Loss, Verdict::Unspecified, "", Detail::Loss(loss)),
        entry(10, Kind::Agent, Verdict::Unspecified, "", Detail::AgentState(ended)),
        entry(11, Kind::Dns, Verdict::Allow, "network.allow:api.example:443:tcp", Detail::Dns(dns)),
        entry(12, Kind::Network, Verdict::Allow, "network.allow:api.example:443:tcp", Detail::Network(closed)),
    ]
}
