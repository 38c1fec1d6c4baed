//! The engine over a kernel side and cgroups made of tables.

use std::{
    process::{Child, Command},
    time::Duration,
};

use aegis_common::policy::{AgentState, agent_flag};
use aegis_log::{Reader, Writer, WriterOptions};
use prost::Message as _;

use self::fake::Fake;
use super::{cgroup::Pressure, session::Saved, *};
use crate::{
    audit::Batching,
    proto::event::{Event, Kind, event::Detail},
    record::row_queue,
};

mod fake;

const MANIFEST: &[u8] = b"version: \"1.0\"\nagent: {name: tester}\npermissions: {fs: {write: [/work]}}\n";

struct Bench {
    fake: Fake,
    engine: Engine,
    log: PathBuf,
    dir: tempfile::TempDir,
}

fn bench() -> Bench {
    bench_with(Fake::default(), tempfile::tempdir().expect("tempdir"), None)
}

fn bench_with(fake: Fake, dir: tempfile::TempDir, not_enforcing: Option<&str>) -> Bench {
    let layout = Layout::new(dir.path().join("state"), dir.path().join("run"));
    std::fs::create_dir_all(layout.agents()).expect("agents");
    std::fs::create_dir_all(dir.path().join("tmp")).expect("tmp");
    std::fs::create_dir_all(&layout.state).expect("state");
    let (writer, _) =
        Writer::open(&WriterOptions::new(layout.log(), layout.log_key(), [7; 16])).expect("log");
    let (rows, _) = row_queue();
    let (audit, _thread) = AuditLog::start(writer, crate::redact::Redactor::built_in(), Batching::default(), rows).expect("audit");
    let log = layout.log();
    let kernel: Option<Box<dyn KernelPort>> = not_enforcing.is_none().then(|| Box::new(fake.clone()) as _);
    let engine = Engine::new(Parts {
        tmp: dir.path().join("tmp"),
        layout,
        audit,
        directory: Arc::default(),
        kernel: Arc::new(Mutex::new(kernel)),
        not_enforcing: not_enforcing.map(str::to_owned),
        left_in_force: 0,
        cgroups: Some(Box::new(fake.clone())),
    });
    Bench { fake, engine, log, dir }
}

fn me() -> Peer {
    Peer {
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        pid: std::process::id(),
        login_uid: u32::MAX,
        exe: b"/usr/bin/aegis".to_vec(),
    }
}

fn request() -> Create {
    Create { manifest: MANIFEST.into(), manifest_path: "a.yaml".into(), argv: vec![b"sh".to_vec()], ..Create::default() }
}

fn child() -> Child {
    Command::new("sleep").arg("60").spawn().expect("sleep")
}

fn end(mut child: Child) {
    child.kill().expect("kill");
    child.wait().expect("wait");
}

impl Bench {
    fn adopt(&self) {
        self.engine.adopt().expect("adopted");
        self.engine.settle();
    }

    fn create(&self) -> String {
        self.engine.create(&request(), &me()).expect("created").session
    }

    fn entries(&self) -> Vec<(Kind, Event)> {
        self.engine.audit().checkpoint().expect("durable");
        let mut reader = Reader::open(&self.log).expect("log");
        reader.refresh().expect("refresh");
        let entries = reader.entries(0).map(|e| e.expect("entry"));
        entries
            .map(|e| {
                let kind = Kind::try_from(i32::try_from(e.header.kind).expect("kind")).expect("kind");
                (kind, Event::decode(e.body.unwrap().as_slice()).expect("event"))
            })
            .collect()
    }

    fn agent_states(&self) -> Vec<String> {
        let entries = self.entries().into_iter();
        entries
            .filter_map(|(_, e)| if let Some(Detail::AgentState(a)) = e.detail { Some(a.state) } else { None })
            .collect()
    }

    fn nothing_left(&self) {
        let world = self.fake.world();
        assert!(world.images.is_empty() && world.agents.is_empty() && world.bound.is_empty());
        assert!(world.groups.is_empty(), "cgroups stay");
        drop(world);
        let files = |folder: &str| std::fs::read_dir(self.dir.path().join(folder)).expect("folder").count();
        assert_eq!((files("tmp"), files("run/agents")), (0, 0));
        assert!(self.engine.sessions().is_empty());
        assert_eq!(self.engine.registry().making, 0);
    }
}

#[test]
fn an_agent_is_governed_before_anything_can_run_and_gone_after_it() {
    let bench = bench();
    let id = bench.create();
    {
        let world = bench.fake.world();
        let steps: Vec<_> =
            world.order.iter().filter(|s| ["install", "set_agent", "bind", "admit"].contains(s)).copied().collect();
        assert_eq!(steps, ["install", "set_agent", "bind"], "the cgroup is bound last");
        let state = world.agents[&1];
        assert_eq!((state.flags, state.image), (agent_flag::ACTIVE, 1));
    }
    let child = child();
    bench.engine.admit(&id, child.id(), &me()).expect("admitted");
    assert_eq!(bench.engine.sessions()[0].state, State::Running);
    let done = bench.engine.finish(&id, 3, 0, &me()).expect("finished");
    end(child);
    bench.nothing_left();
    let entries = bench.entries();
    let kinds: Vec<_> = entries.iter().map(|(k, _)| *k).collect();
    assert_eq!(kinds, [Kind::Operator, Kind::Policy, Kind::Agent, Kind::Agent]);
    assert_eq!(done.seq, 3);
    let Some(Detail::AgentState(ended)) = &entries[3].1.detail else { panic!("agent") };
    assert_eq!((ended.state.as_str(), ended.exit_code), ("ended", 3));
    assert_eq!(ended.usage.as_ref().expect("usage").memory_peak, 6);
    let Some(Detail::Policy(policy)) = &entries[1].1.detail else { panic!("policy") };
    assert_eq!(policy.manifest, MANIFEST);
    assert_eq!(entries[3].1.image, entries[1].1.image);
}

#[test]
fn every_step_that_fails_leaves_nothing_behind() {
    for step in ["create", "install", "set_agent", "bind"] {
        let bench = bench();
        bench.fake.world().fail = Some(step);
        let error = bench.engine.create(&request(), &me()).expect_err(step);
        assert!(error.to_string().contains("was made to fail"), "{error}");
        bench.fake.world().fail = None;
        // What could not be taken back because it was made to fail is tried no more: only the slot is.
        bench.fake.world().agents.clear();
        bench.nothing_left();
        bench.create();
    }
}

#[test]
fn a_bad_manifest_is_refused_with_every_error_and_its_line() {
    let bench = bench();
    let manifest = b"version: \"1.0\"\nagent: {name: x}\npermissions:\n  fs: {read: [relative]}\n  memory: lots\n";
    let error = bench.engine.create(&Create { manifest: manifest.into(), ..request() }, &me()).expect_err("refused");
    let EngineError::Manifest(all) = &error else { panic!("{error}") };
    assert_eq!(all.len(), 2, "{error}");
    assert!(error.to_string().contains("a.yaml:4:") && error.to_string().contains("a.yaml:5:"), "{error}");
    bench.nothing_left();
}

#[test]
fn names_that_could_be_taken_for_paths_are_refused() {
    let bench = bench();
    for name in ["../x", "a/b", ".hidden", "a b", &"x".repeat(64)] {
        let error = bench.engine.create(&Create { name: name.into(), ..request() }, &me());
        assert!(matches!(error, Err(EngineError::Name(_))), "{name}");
    }
}

#[test]
fn only_a_child_of_who_asks_is_admitted() {
    let bench = bench();
    let id = bench.create();
    let refused = |pid| bench.engine.admit(&id, pid, &me()).expect_err("refused").to_string();
    assert!(refused(1).contains("not a child"));
    assert!(refused(std::process::id()).contains("not a child"));
    assert!(refused(u32::MAX).contains("cannot be admitted"));
    let ended = child();
    let pid = ended.id();
    end(ended);
    assert!(refused(pid).contains("cannot be admitted"));
    assert!(bench.fake.world().groups.values().all(|g| g.procs.is_empty()));
}

#[test]
fn another_user_can_neither_admit_nor_finish() {
    let bench = bench();
    let id = bench.create();
    let stranger = Peer { uid: 54_321, ..me() };
    assert!(matches!(bench.engine.admit(&id, 1, &stranger), Err(EngineError::NotYours(_))));
    assert!(matches!(bench.engine.finish(&id, 0, 0, &stranger), Err(EngineError::NotYours(_))));
}

#[test]
fn the_kill_switch_raises_the_flag_first_and_is_in_the_log_before_it_answers() {
    let bench = bench();
    let id = bench.create();
    let child = child();
    bench.engine.admit(&id, child.id(), &me()).expect("admitted");
    bench.fake.world().order.clear();
    let outcome = bench.engine.kill("tester", "too curious", &me()).expect("killed").remove(0);
    assert!(outcome.frozen && outcome.tasks == 1 && outcome.flag_ns <= outcome.frozen_ns);
    {
        let world = bench.fake.world();
        assert_eq!(world.order[..2], ["set_agent", "freeze"]);
        assert_eq!(world.agents[&1].flags, agent_flag::ACTIVE | agent_flag::KILLED);
    }
    let durable = bench.engine.audit().progress().durable_size();
    assert!(outcome.seq < durable, "the entry is durable when the answer comes");
    let (_, entry) = bench.entries().remove(usize::try_from(outcome.seq).expect("seq"));
    let Some(Detail::Operator(operator)) = entry.detail else { panic!("operator") };
    assert_eq!((operator.action.as_str(), operator.reason.as_str(), operator.tasks), ("kill", "too curious", 1));
    assert_eq!(operator.exe, b"/usr/bin/aegis");

    let more = bench.engine.admit(&id, child.id(), &me());
    assert!(matches!(more, Err(EngineError::State { .. })), "nothing is let into a killed agent");
    bench.engine.thaw(&id, "", &me()).expect("thawed");
    {
        let world = bench.fake.world();
        assert_eq!(world.agents[&1].flags, agent_flag::ACTIVE);
        assert!(world.groups.values().all(|g| !g.frozen));
    }
    assert!(bench.engine.thaw(&id, "", &me()).is_err(), "there is nothing to thaw");
    end(child);
}

#[test]
fn an_agent_that_does_not_freeze_is_told_as_such_and_keeps_the_flag() {
    let bench = bench();
    bench.create();
    bench.fake.world().fail = Some("freeze");
    let outcome = bench.engine.kill("tester", "", &me()).expect("answered").remove(0);
    assert!(!outcome.frozen);
    assert_ne!(bench.fake.world().agents[&1].flags & agent_flag::KILLED, 0);
}

#[test]
fn the_time_limit_ends_everything_and_is_told() {
    let bench = bench();
    let manifest = b"version: \"1.0\"\nagent: {name: t}\npermissions: {execution_time: 1s}\n";
    let id = bench.engine.create(&Create { manifest: manifest.into(), ..request() }, &me()).expect("created").session;
    let child = child();
    bench.engine.admit(&id, child.id(), &me()).expect("admitted");
    bench.engine.look_after();
    assert_eq!(bench.fake.world().agents[&1].flags, agent_flag::ACTIVE, "not yet");
    std::thread::sleep(Duration::from_millis(1_050));
    bench.engine.look_after();
    assert_ne!(bench.fake.world().agents[&1].flags & agent_flag::KILLED, 0);
    assert!(bench.fake.world().groups.values().all(|g| g.procs.is_empty()));
    let done = bench.engine.finish(&id, 137, 9, &me()).expect("finished");
    assert_eq!(done.ended_by, Some(session::EndedBy::ExecutionTime));
    assert_eq!(bench.agent_states(), ["started", "limit", "ended"]);
    end(child);
}

#[test]
fn limits_that_the_kernel_counted_are_told_once() {
    let bench = bench();
    bench.create();
    for group in bench.fake.world().groups.values_mut() {
        group.pressure = Pressure { oom_kills: 2, pids_max: 5 };
    }
    bench.engine.look_after();
    bench.engine.look_after();
    assert_eq!(bench.agent_states(), ["started", "limit", "limit"]);
}

#[test]
fn an_agent_whose_client_is_gone_is_ended() {
    let bench = bench();
    let mut client = child();
    let peer = Peer { pid: client.id(), ..me() };
    bench.engine.create(&request(), &peer).expect("created");
    bench.engine.look_after();
    assert_eq!(bench.engine.sessions().len(), 1, "its client is there");
    client.kill().expect("kill");
    client.wait().expect("wait");
    bench.engine.look_after();
    bench.nothing_left();
    assert_eq!(bench.agent_states(), ["started", "ended"]);
}

#[test]
fn what_outlives_a_killed_client_is_ended_unless_the_kill_switch_holds_it() {
    let bench = bench();
    let mut client = child();
    let peer = Peer { pid: client.id(), ..me() };
    let id = bench.engine.create(&request(), &peer).expect("created").session;
    for group in bench.fake.world().groups.values_mut() {
        group.procs.push(1);
    }
    bench.engine.look_after();
    bench.engine.kill(&id, "", &me()).expect("killed");
    client.kill().expect("kill");
    client.wait().expect("wait");
    bench.engine.look_after();
    assert_eq!(bench.engine.sessions().len(), 1, "frozen, and kept");
    bench.engine.thaw(&id, "", &me()).expect("thawed");
    bench.engine.look_after();
    bench.nothing_left();
}

#[test]
fn a_cgroup_that_does_not_empty_stays_governed() {
    let bench = bench();
    let id = bench.create();
    bench.fake.world().fail = Some("rmdir");
    assert!(bench.engine.finish(&id, 0, 0, &me()).is_err());
    {
        let world = bench.fake.world();
        assert_eq!((world.bound.len(), world.agents.len(), world.images.len()), (1, 1, 1));
    }
    bench.fake.world().fail = None;
    bench.engine.finish(&id, 0, 0, &me()).expect("can be ended later");
    bench.nothing_left();
}

#[test]
fn a_new_engine_takes_over_what_runs() {
    let first = bench();
    let id = first.create();
    let child = child();
    first.engine.admit(&id, child.id(), &me()).expect("admitted");
    first.engine.kill(&id, "", &me()).expect("killed");
    let Bench { fake, engine, dir, .. } = first;
    let image = engine.sessions()[0].saved.image.clone();
    forget(engine);
    fake.world().adopted = true;
    fake.world().order.clear();

    let second = bench_with(fake, dir, None);
    second.adopt();
    let session = second.engine.sessions().remove(0);
    assert_eq!((session.saved.session.as_str(), session.state), (id.as_str(), State::Killed));
    assert_eq!(session.saved.image, image);
    assert!(!second.fake.world().order.contains(&"install"), "what is in force is left in force");
    let third = second.engine.create(&Create { name: "other".into(), ..request() }, &me()).expect("created");
    assert_ne!(third.session, id);
    assert_eq!(second.fake.world().agents.len(), 2, "another slot");
    second.engine.thaw(&id, "", &me()).expect("thawed");
    second.engine.finish(&id, 0, 0, &me()).expect("finished");
    end(child);
}

#[test]
fn an_agent_whose_tables_are_gone_is_governed_again() {
    let first = bench();
    let id = first.create();
    let child = child();
    first.engine.admit(&id, child.id(), &me()).expect("admitted");
    let Bench { fake, engine, dir, .. } = first;
    forget(engine);
    {
        let mut world = fake.world();
        world.images.clear();
        world.agents.clear();
        world.bound.clear();
    }
    let second = bench_with(fake, dir, None);
    second.adopt();
    {
        let world = second.fake.world();
        assert_eq!((world.images.len(), world.agents.len(), world.bound.len()), (1, 1, 1));
    }
    assert_eq!(second.agent_states().last().map(String::as_str), Some("adopted"));
    end(child);
}

#[test]
fn children_of_a_cgroup_that_is_governed_again_are_governed_too() {
    let first = bench();
    let id = first.create();
    let Bench { fake, engine, dir, .. } = first;
    forget(engine);
    {
        let mut world = fake.world();
        world.bound.clear();
        world.groups.values_mut().for_each(|g| g.children = vec![5_001, 5_002]);
    }
    let second = bench_with(fake, dir, None);
    second.adopt();
    assert_eq!(second.fake.world().bound.len(), 3);
    assert_eq!(second.engine.sessions()[0].saved.session, id);
}

#[test]
fn an_image_that_says_the_same_is_not_swapped_and_another_is_in_one_store() {
    let bench = bench();
    bench.create();
    bench.engine.refresh();
    assert_eq!(bench.engine.sessions()[0].saved.generation, 1, "nothing changed");

    // As if the host had changed since: the image in force says something else.
    bench.engine.registry().sessions.values_mut().for_each(|s| s.saved.image = "00".into());
    bench.engine.kill("tester", "", &me()).expect("killed");
    bench.engine.refresh();
    let session = bench.engine.sessions().remove(0);
    assert_eq!((session.saved.generation, session.saved.image_index), (2, 3));
    {
        let world = bench.fake.world();
        assert_eq!(world.agents[&1], AgentState { flags: agent_flag::ACTIVE | agent_flag::KILLED, image: 3 });
        assert_eq!(world.images.keys().copied().collect::<Vec<_>>(), [3], "the earlier image is gone");
    }
    assert!(session.view.image(1).is_some() && session.view.image(3).is_some(), "late records find their rules");
    let policies = bench.entries().into_iter().filter(|(k, _)| *k == Kind::Policy).count();
    assert_eq!(policies, 2);
    let saved = Saved::read_all(&bench.engine.layout().agents()).expect("folder").remove(0).expect("saved");
    assert_eq!(saved.image_index, 3);
}

#[test]
fn a_policy_that_cannot_be_swapped_stays_in_force() {
    let bench = bench();
    bench.create();
    bench.engine.registry().sessions.values_mut().for_each(|s| s.saved.image = "00".into());
    bench.fake.world().fail = Some("install");
    bench.engine.refresh();
    bench.fake.world().fail = None;
    assert_eq!(bench.fake.world().agents[&1], AgentState { flags: agent_flag::ACTIVE, image: 1 });
    assert_eq!(bench.fake.world().images.keys().copied().collect::<Vec<_>>(), [1]);
    assert_eq!(bench.engine.sessions()[0].saved.generation, 1);
}

#[test]
fn a_kill_flag_that_the_kernel_raised_is_seen_and_told() {
    let bench = bench();
    bench.create();
    bench.fake.world().agents.values_mut().for_each(|a| a.flags |= agent_flag::KILLED);
    bench.engine.look_after();
    bench.engine.look_after();
    assert_eq!(bench.engine.sessions()[0].state, State::Killed);
    assert_eq!(bench.agent_states(), ["started", "limit"]);
}

#[test]
fn an_agent_that_ended_while_no_engine_ran_gets_its_last_entry() {
    let first = bench();
    first.create();
    let Bench { fake, engine, dir, .. } = first;
    forget(engine);
    fake.world().groups.clear();
    let second = bench_with(fake, dir, None);
    second.adopt();
    second.nothing_left();
    assert_eq!(second.agent_states(), ["started", "ended"]);
}

#[test]
fn governed_cgroups_that_nobody_claims_stay_governed_and_are_told() {
    let fake = Fake::default();
    fake.world().bound.insert(77, 1);
    fake.world().adopted = true;
    let bench = bench_with(fake, tempfile::tempdir().expect("tempdir"), None);
    bench.adopt();
    assert_eq!(bench.fake.world().bound[&77], 1);
    bench.create();
    assert!(bench.fake.world().agents.contains_key(&2), "their slot is not given out");
    let told = bench.entries().into_iter().any(|(_, e)| matches!(e.detail, Some(Detail::Daemon(d)) if d.state == "strange_cgroups"));
    assert!(told);
}

#[test]
fn a_changed_agent_file_is_told_and_not_passed_over() {
    let bench = bench();
    std::fs::write(bench.engine.layout().agents().join("x.json"), "{}").expect("write");
    bench.adopt();
    let told = bench.entries().into_iter().any(|(_, e)| matches!(e.detail, Some(Detail::Daemon(d)) if d.state == "agent_not_adopted" && d.text.contains("x.json")));
    assert!(told);
}

#[test]
fn where_nothing_is_enforced_only_audit_only_goes_on_and_says_so() {
    let bench = bench_with(Fake::default(), tempfile::tempdir().expect("tempdir"), Some("no BPF LSM"));
    let refused = bench.engine.create(&request(), &me()).expect_err("refused").to_string();
    assert!(refused.contains("no BPF LSM"), "{refused}");
    let reply = bench.engine.create(&Create { audit_only: true, ..request() }, &me()).expect("created");
    assert!(reply.warnings[0].contains("nothing is enforced") && reply.warnings[1].contains("nothing can be recorded"));
    bench.engine.finish(&reply.session, 0, 0, &me()).expect("finished");
    bench.nothing_left();
}

#[test]
fn a_saved_session_is_read_back_whole() {
    let bench = bench();
    bench.create();
    let folder = bench.engine.layout().agents();
    let read = Saved::read_all(&folder).expect("folder").remove(0).expect("saved");
    assert_eq!(read.manifest.0, MANIFEST);
    assert_eq!(read.session, bench.engine.sessions()[0].saved.session);
    assert_eq!(read.added.runtime_rules[0].id, "session:tmpdir");
}

#[test]
fn a_transient_engine_closes_only_when_no_agent_is_left() {
    let bench = bench();
    let id = bench.create();
    assert!(!bench.engine.close_when_idle());
    bench.engine.finish(&id, 0, 0, &me()).expect("finished");
    assert!(bench.engine.close_when_idle());
    assert!(matches!(bench.engine.create(&request(), &me()), Err(EngineError::Closing)));
}

/// An engine that dies: the log's lock goes with its thread.
fn forget(engine: Engine) {
    engine.audit().stop();
    drop(engine);
    std::thread::sleep(Duration::from_millis(100));
}
