//! A daemon that is played: the control service over a socket of its own, answering as it was told
//! to and remembering what it was asked.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
};

use aegis_agent::proto::{
    control::{
        AccessReply, AccessRequest, AdmitReply, AdmitRequest, AgentInfo, Approval, CheckpointReply, CheckpointRequest, Counter, CreateAgentReply,
        CreateAgentRequest, DecideReply, DecideRequest, EventRecord, EventsRequest, FinishReply, FinishRequest, Hook, KillReply, KillRequest, Killed,
        ListAgentsReply, ListAgentsRequest, ListApprovalsReply, ListApprovalsRequest, ProveReply, ProveRequest, ReceiptReply, ReceiptRequest, StatusReply, StatusRequest, ThawReply, ThawRequest,
        control_server::{Control, ControlServer},
    },
    event::{Event, File, Process, event::Detail},
};
use prost::Message as _;
use tempfile::TempDir;
use tokio::{net::UnixListener, runtime::Runtime};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, transport::Server};

/// What the daemon will answer.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub refuse_create: Option<Status>,
    pub refuse_admit: Option<Status>,
    pub no_new_privs: bool,
    pub mode: String,
    pub ended_by: String,
    pub cgroup: String,
    /// Fail this many CreateAgent calls as a daemon that is about to end does.
    pub leaving: u32,
    pub not_frozen: bool,
    pub warnings: Vec<String>,
    pub events: Vec<EventRecord>,
}

/// What the daemon was asked.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub created: Vec<CreateAgentRequest>,
    pub admitted: Vec<u32>,
    pub finished: Vec<FinishRequest>,
    pub events: Vec<EventsRequest>,
    pub killed: Vec<KillRequest>,
    pub receipts: Vec<ReceiptRequest>,
    pub proofs: Vec<ProveRequest>,
}

struct Service {
    script: Mutex<Script>,
    asked: Arc<Mutex<Asked>>,
    tmpdir: PathBuf,
}

/// A played daemon; ends with the value.
pub struct Daemon {
    asked: Arc<Mutex<Asked>>,
    runtime: Option<Runtime>,
    pub dir: TempDir,
}

impl Daemon {
    pub fn start(script: Script) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tmp")).unwrap();
        std::fs::write(dir.path().join("policy.yaml"), "version: \"1.0\"\nagent: {name: coder}\n").unwrap();
        Self::start_in(dir, script)
    }

    /// Another daemon takes the place of this one.
    pub fn restart(mut self, script: Script) -> Self {
        self.die();
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        Self::start_in(dir, script)
    }

    fn start_in(dir: TempDir, script: Script) -> Self {
        let tmpdir = dir.path().join("tmp");
        let asked = Arc::new(Mutex::new(Asked::default()));
        let runtime = Runtime::new().unwrap();
        let service = Service { script: Mutex::new(script), asked: Arc::clone(&asked), tmpdir };
        let socket = dir.path().join("aegisd.sock");
        let listener = runtime.block_on(async { UnixListener::bind(socket) }).unwrap();
        runtime.spawn(
            Server::builder().add_service(ControlServer::new(service)).serve_with_incoming(UnixListenerStream::new(listener)),
        );
        Self { asked, runtime: Some(runtime), dir }
    }

    pub fn asked(&self) -> Asked {
        self.asked.lock().unwrap().clone()
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("aegisd.sock")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The daemon dies, as by `kill -9`.
    pub fn die(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        let _ = std::fs::remove_file(self.socket());
    }

    /// The command, with this daemon.
    pub fn aegis(&self, words: &[&str]) -> Command {
        let mut command = bare(&[]);
        command.arg("--socket").arg(self.socket()).args(words);
        command
    }

    /// `aegis run` with a policy.
    pub fn run(&self, words: &[&str]) -> Command {
        let mut command = self.aegis(&["run", "--policy"]);
        command.arg(self.path("policy.yaml")).args(words);
        command
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.die();
    }
}

/// The command without a daemon. With its signals as a shell's user has them: what is started in the background of a script
/// ignores some, and hands that on.
pub fn bare(words: &[&str]) -> Command {
    let mut command = Command::new("/usr/bin/env");
    command.args(["--default-signal", env!("CARGO_BIN_EXE_aegis")]).args(words).stdin(Stdio::null());
    command
}

/// Runs to the end and tells the exit code, standard output and standard error.
pub fn outcome(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |raw| String::from_utf8(raw).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

pub fn record(seq: u64, verdict: i32, path: &[u8]) -> EventRecord {
    let event = Event {
        verdict,
        agent: "coder".to_owned(),
        session: "coder-1".to_owned(),
        rule: "fs.deny.1".to_owned(),
        process: Some(Process { pid: 42, exe: b"/usr/bin/cat".to_vec(), ..Process::default() }),
        detail: Some(Detail::File(File { op: "read".to_owned(), path: path.to_vec(), ..File::default() })),
        ..Event::default()
    };
    EventRecord { seq, time_unix_ns: 1_795_181_760_000_000_000 + seq, kind: 20, body: event.encode_to_vec(), unread: String::new() }
}

/// Whether a process is a child of another.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn waiting() -> Approval {
    let hour = 3_600_000_000_000;
    let reason = "incident \u{1b}[2J7".to_owned();
    Approval { id: 7, login_uid: 4_000_000_000, reason, duration_ns: hour, left_ns: hour, ..Approval::default() }
}

#[tonic::async_trait]
impl Control for Service {
    type EventsStream = ReceiverStream<Result<EventRecord, Status>>;

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        Ok(Response::new(StatusReply {
            version: "9.9".to_owned(),
            kernel: "6.12.0".to_owned(),
            enforcing: self.script.lock().unwrap().mode != "audit",
            why: "no BPF LSM".to_owned(),
            chain: "ab".repeat(16),
            next_seq: 3,
            durable_seq: 2,
            hooks: vec![Hook { name: "file_open".to_owned(), state: "attached".to_owned(), ..Hook::default() }],
            counters: vec![Counter { name: "lost_file".to_owned(), value: 5 }],
            ..StatusReply::default()
        }))
    }

    async fn create_agent(&self, request: Request<CreateAgentRequest>) -> Result<Response<CreateAgentReply>, Status> {
        let request = request.into_inner();
        let mut script = self.script.lock().unwrap();
        if script.leaving > 0 {
            script.leaving -= 1;
            return Err(Status::unavailable("ending"));
        }
        self.asked.lock().unwrap().created.push(request.clone());
        if let Some(status) = &script.refuse_create {
            return Err(status.clone());
        }
        Ok(Response::new(CreateAgentReply {
            session: "coder-1".to_owned(),
            name: if request.name.is_empty() { "coder".to_owned() } else { request.name },
            cgroup: script.cgroup.clone(),
            tmpdir: self.tmpdir.display().to_string(),
            mode: if script.mode.is_empty() { "enforce".to_owned() } else { script.mode.clone() },
            no_new_privs: script.no_new_privs,
            warnings: script.warnings.clone(),
            ..CreateAgentReply::default()
        }))
    }

    async fn admit(&self, request: Request<AdmitRequest>) -> Result<Response<AdmitReply>, Status> {
        let peer = request.extensions().get::<tonic::transport::server::UdsConnectInfo>().and_then(|info| info.peer_cred?.pid());
        let pid = request.into_inner().pid;
        if parent_of(pid) != peer.and_then(|pid| u32::try_from(pid).ok()) {
            return Err(Status::permission_denied("not a child of the caller"));
        }
        self.asked.lock().unwrap().admitted.push(pid);
        match &self.script.lock().unwrap().refuse_admit {
            Some(status) => Err(status.clone()),
            None => Ok(Response::new(AdmitReply {})),
        }
    }

    async fn finish(&self, request: Request<FinishRequest>) -> Result<Response<FinishReply>, Status> {
        self.asked.lock().unwrap().finished.push(request.into_inner());
        Ok(Response::new(FinishReply { seq: 1, ended_by: self.script.lock().unwrap().ended_by.clone() }))
    }

    async fn list_agents(&self, _: Request<ListAgentsRequest>) -> Result<Response<ListAgentsReply>, Status> {
        let agent = AgentInfo {
            name: "cod\u{1b}er".to_owned(),
            session: "coder-1".to_owned(),
            state: "running".to_owned(),
            tasks: 3,
            ..AgentInfo::default()
        };
        Ok(Response::new(ListAgentsReply { agents: vec![agent] }))
    }

    async fn kill(&self, request: Request<KillRequest>) -> Result<Response<KillReply>, Status> {
        let request = request.into_inner();
        self.asked.lock().unwrap().killed.push(request.clone());
        if request.agent != "coder" {
            return Err(Status::not_found("no agent is called so"));
        }
        let killed = Killed {
            name: "coder".to_owned(),
            session: "coder-1".to_owned(),
            flag_ns: 40_000,
            frozen_ns: 2_500_000,
            tasks: 4,
            frozen: !self.script.lock().unwrap().not_frozen,
            seq: 7,
        };
        Ok(Response::new(KillReply { killed: vec![killed] }))
    }

    async fn thaw(&self, request: Request<ThawRequest>) -> Result<Response<ThawReply>, Status> {
        let found = request.into_inner().agent == "coder";
        Ok(Response::new(ThawReply { sessions: if found { vec!["coder-1".to_owned()] } else { Vec::new() } }))
    }

    async fn events(&self, request: Request<EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        let request = request.into_inner();
        self.asked.lock().unwrap().events.push(request.clone());
        let mut events = self.script.lock().unwrap().events.clone();
        if request.reverse {
            events.reverse();
        }
        let (send, receive) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            let after = request.after_seq.map_or(0, |seq| seq + 1);
            for event in events.into_iter().filter(|event| event.seq >= after) {
                if send.send(Ok(event)).await.is_err() {
                    return;
                }
            }
            if request.follow {
                send.closed().await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }

    async fn checkpoint(&self, _: Request<CheckpointRequest>) -> Result<Response<CheckpointReply>, Status> {
        Ok(Response::new(CheckpointReply { note: b"aegis/ab\n3\nroot\n\nsigned\n".to_vec(), size: 3 }))
    }

    async fn receipt(&self, request: Request<ReceiptRequest>) -> Result<Response<ReceiptReply>, Status> {
        let request = request.into_inner();
        self.asked.lock().unwrap().receipts.push(request.clone());
        if request.seq > 2 {
            return Err(Status::not_found("there is no entry 3"));
        }
        Ok(Response::new(ReceiptReply { receipt: b"c2sp.org/tlog-proof@v1\n".to_vec() }))
    }

    async fn request_access(&self, request: Request<AccessRequest>) -> Result<Response<AccessReply>, Status> {
        let AccessRequest { reason, duration_ns, erase } = request.into_inner();
        Ok(Response::new(AccessReply { asked: Some(Approval { reason, duration_ns, erase, ..waiting() }) }))
    }

    async fn list_approvals(&self, _: Request<ListApprovalsRequest>) -> Result<Response<ListApprovalsReply>, Status> {
        let approved = Approval { id: 8, approved_by: Some(4_000_000_001), ..waiting() };
        Ok(Response::new(ListApprovalsReply { approvals: vec![waiting(), approved] }))
    }

    async fn decide(&self, request: Request<DecideRequest>) -> Result<Response<DecideReply>, Status> {
        let request = request.into_inner();
        if request.id != 7 {
            return Err(Status::permission_denied("request 8 is your own: another person decides about it"));
        }
        let decided = Approval { approved_by: request.approve.then_some(4_000_000_001), ..waiting() };
        Ok(Response::new(DecideReply { decided: Some(decided) }))
    }

    async fn prove(&self, request: Request<ProveRequest>) -> Result<Response<ProveReply>, Status> {
        self.asked.lock().unwrap().proofs.push(request.into_inner());
        Ok(Response::new(ProveReply { proof: b"old 1\n".to_vec() }))
    }
}
