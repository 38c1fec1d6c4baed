//! The requests one by one.

use std::{pin::Pin, sync::Arc, time::{Duration, Instant}};

use tokio::sync::{Semaphore, mpsc};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::{connection::Credentials, events::Answer, evidence, peer::Access, view::LogView};
use crate::{
    access::{Asked, Granted, Readers, Refused, What, Who},
    clock,
    erasure::{self, Eraser, Erasure, Two},
    engine::{Create, Engine, EngineError, Peer, session::mode_word},
    proto::{
        control::{
            self, AccessReply, AccessRequest, AdmitReply, AdmitRequest, AgentInfo, Approval, BannedCall, CheckpointReply, CheckpointRequest, Counter, CreateAgentReply,
            CreateAgentRequest, DecideReply, DecideRequest, EventRecord, EventsRequest, FinishReply, FinishRequest, Hook, KillReply,
            KillRequest, Killed, ListAgentsReply, ListAgentsRequest, ListApprovalsReply, ListApprovalsRequest, ProveReply, ProveRequest, ReceiptReply,
            ReceiptRequest, StatusReply, StatusRequest, ThawReply, ThawRequest, control_server::Control,
        },
        event::{Event, Kind, Operator, Verdict, event::Detail},
    },
    query::{Filter, Lookup},
    record::Draft,
};

/// Longest text of a request that an entry holds, in bytes.
const TEXT_LONGEST: usize = 4096;
/// Answers of events under way at once: each holds a thread while its reader is slow.
const ANSWERS: usize = 64;
/// Records of one answer that may wait for a slow reader.
const WAITING: usize = 256;

/// Answers requests.
#[derive(Clone)]
pub struct ControlService {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Arc<Engine>,
    index: Arc<dyn Lookup>,
    log: Arc<LogView>,
    access: Access,
    readers: Readers,
    eraser: Eraser,
    answers: Arc<Semaphore>,
    transient: bool,
    chain: String,
    begun: Instant,
}

impl ControlService {
    /// A service over an engine.
    #[must_use]
    pub fn new(
        engine: Arc<Engine>,
        index: Arc<dyn Lookup>,
        access: Access,
        readers: Readers,
        eraser: Eraser,
        transient: bool,
        chain: String,
    ) -> Self {
        let log = Arc::new(LogView::new(engine.layout().log()));
        let answers = Arc::new(Semaphore::new(ANSWERS));
        Self { inner: Arc::new(Inner { engine, index, log, access, readers, eraser, answers, transient, chain, begun: Instant::now() }) }
    }

    /// Lets a request in, or not: every one passes here.
    fn peer<T>(&self, request: &Request<T>) -> Result<Peer, Status> {
        let credentials = request.extensions().get::<Option<Credentials>>().copied().flatten();
        let engine = &self.inner.engine;
        self.inner.access.admit(credentials, |cgroup| engine.is_governed(cgroup)).map_err(|denied| {
            tracing::warn!(%denied, "a request was refused");
            Status::permission_denied(denied.to_string())
        })
    }

    /// Runs what blocks beside the threads that serve.
    async fn engine<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, Status> {
        let engine = self.inner.engine.clone();
        let done = tokio::task::spawn_blocking(move || work(&engine)).await;
        done.map_err(|e| Status::internal(format!("the request failed inside: {e}")))?.map_err(|e| status(&e))
    }

    /// Lets somebody read the log, or not; either is an entry before it is answered. Tells how they may, and how many entries
    /// were durable before that one.
    async fn reader(&self, target: String, reason: String, peer: Peer) -> Result<(Granted, u64), Status> {
        let inner = self.inner.clone();
        let read = self.engine(move |engine| {
            let _complete = engine.flush();
            let size = engine.audit().checkpoint()?.size;
            let granted = inner.readers.read(who(&peer), &reason, clock::boottime());
            let outcome = match &granted {
                Ok(Granted { request: Some(request), .. }) => format!("ok, by request {request}"),
                _ => outcome(&granted),
            };
            let mut entry = act("read", &peer, Operator { target, outcome, reason, ..Operator::default() });
            entry.verdict = granted.as_ref().map_or(Verdict::Deny, |_| Verdict::Unspecified) as i32;
            engine.audit().record(Kind::Operator, entry)?;
            Ok(granted.map(|granted| (granted, size)))
        });
        read.await?.map_err(|error| refused(&error))
    }

    /// Reads the log's files beside the threads that serve.
    async fn evidence(
        &self,
        work: impl FnOnce(&LogView) -> Result<String, Status> + Send + 'static,
    ) -> Result<Vec<u8>, Status> {
        let log = self.inner.log.clone();
        let done = tokio::task::spawn_blocking(move || work(&log)).await;
        done.map_err(|e| Status::internal(format!("the request failed inside: {e}")))?.map(String::into_bytes)
    }
}

fn status(error: &EngineError) -> Status {
    let text = error.to_string();
    match error {
        EngineError::Manifest(_) | EngineError::Name(_) | EngineError::SecretName(_) | EngineError::Compile(_) | EngineError::Runtime(_) => {
            Status::invalid_argument(text)
        }
        EngineError::Unknown(_) => Status::not_found(text),
        EngineError::NotYours(_) => Status::permission_denied(text),
        EngineError::NotEnforcing(_) | EngineError::State { .. } | EngineError::Admit { .. } => {
            Status::failed_precondition(text)
        }
        EngineError::Full(_) => Status::resource_exhausted(text),
        EngineError::Closing | EngineError::Audit(_) => Status::unavailable(text),
        EngineError::Resolve(_) | EngineError::Kernel { .. } | EngineError::Cgroup(_) | EngineError::Io { .. } => {
            Status::internal(text)
        }
    }
}

#[tonic::async_trait]
impl Control for ControlService {
    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        self.peer(&request)?;
        let inner = self.inner.clone();
        let reply = self.engine(move |engine| Ok(inner.status(engine))).await?;
        Ok(Response::new(reply))
    }

    async fn create_agent(
        &self,
        request: Request<CreateAgentRequest>,
    ) -> Result<Response<CreateAgentReply>, Status> {
        let peer = self.peer(&request)?;
        let CreateAgentRequest { name, manifest, manifest_path, argv, audit_only } = request.into_inner();
        let create = Create { name, manifest, manifest_path, argv, audit_only };
        let reply = self.engine(move |engine| engine.create(&create, &peer)).await?;
        tracing::info!(agent = reply.name, session = reply.session, "created");
        Ok(Response::new(reply))
    }

    async fn admit(&self, request: Request<AdmitRequest>) -> Result<Response<AdmitReply>, Status> {
        let peer = self.peer(&request)?;
        let AdmitRequest { session, pid } = request.into_inner();
        self.engine(move |engine| engine.admit(&session, pid, &peer)).await?;
        Ok(Response::new(AdmitReply {}))
    }

    async fn finish(&self, request: Request<FinishRequest>) -> Result<Response<FinishReply>, Status> {
        let peer = self.peer(&request)?;
        let FinishRequest { session, exit_code, exit_signal } = request.into_inner();
        let done = self.engine(move |engine| engine.finish(&session, exit_code, exit_signal, &peer)).await?;
        let ended_by = done.ended_by.map_or("", |by| by.word()).to_owned();
        Ok(Response::new(FinishReply { seq: done.seq, ended_by }))
    }

    async fn list_agents(
        &self,
        request: Request<ListAgentsRequest>,
    ) -> Result<Response<ListAgentsReply>, Status> {
        self.peer(&request)?;
        let agents = self.engine(|engine| Ok(list(engine))).await?;
        Ok(Response::new(ListAgentsReply { agents }))
    }

    async fn kill(&self, request: Request<KillRequest>) -> Result<Response<KillReply>, Status> {
        let peer = self.peer(&request)?;
        let KillRequest { agent, reason } = request.into_inner();
        let outcomes = self.engine(move |engine| engine.kill(&agent, &reason, &peer)).await?;
        let killed = outcomes.into_iter().map(|o| Killed {
            name: o.name,
            session: o.session,
            flag_ns: o.flag_ns,
            frozen_ns: o.frozen_ns,
            tasks: o.tasks,
            frozen: o.frozen,
            seq: o.seq,
        });
        Ok(Response::new(KillReply { killed: killed.collect() }))
    }

    async fn thaw(&self, request: Request<ThawRequest>) -> Result<Response<ThawReply>, Status> {
        let peer = self.peer(&request)?;
        let ThawRequest { agent, reason } = request.into_inner();
        let sessions = self.engine(move |engine| engine.thaw(&agent, &reason, &peer)).await?;
        Ok(Response::new(ThawReply { sessions }))
    }

    type EventsStream = Pin<Box<dyn Stream<Item = Result<EventRecord, Status>> + Send>>;

    async fn events(&self, request: Request<EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        let peer = self.peer(&request)?;
        let request = request.into_inner();
        let filter = Filter::new(&request).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let room = self.inner.answers.clone().try_acquire_owned();
        let room = room.map_err(|_| Status::resource_exhausted(format!("{ANSWERS} others read the log: try again")))?;
        // What was durable before the reading itself was recorded is what the reader asked about.
        let (granted, size) = self.reader(crate::query::describe(&request), request.reason.clone(), peer).await?;
        let (to, from) = mpsc::channel(WAITING);
        let follow = request.follow;
        let answer = Answer {
            log: self.inner.log.clone(),
            filter,
            size,
            index: self.inner.index.clone(),
            durable: self.inner.engine.audit().progress().watch(),
            to: to.clone(),
            until: granted.until,
            request,
        };
        tokio::spawn(async move {
            let past = tokio::task::spawn_blocking(move || answer.past().map(|()| answer)).await;
            let told = match past {
                Ok(Ok(answer)) if follow => answer.follow().await,
                Ok(Ok(_)) => Ok(()),
                Ok(Err(status)) => Err(status),
                Err(error) => Err(Status::internal(error.to_string())),
            };
            drop(room);
            if let Err(status) = told {
                // Nobody listens any more when it fails.
                let _ = to.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(from))))
    }

    async fn checkpoint(&self, request: Request<CheckpointRequest>) -> Result<Response<CheckpointReply>, Status> {
        self.peer(&request)?;
        let checkpoint = self
            .engine(|engine| {
                let _complete = engine.flush();
                Ok(engine.audit().checkpoint()?)
            })
            .await?;
        Ok(Response::new(CheckpointReply { note: checkpoint.note.into_bytes(), size: checkpoint.size }))
    }

    async fn receipt(&self, request: Request<ReceiptRequest>) -> Result<Response<ReceiptReply>, Status> {
        let peer = self.peer(&request)?;
        let request = request.into_inner();
        self.reader(evidence::describe(&request), request.reason.clone(), peer).await?;
        let receipt = self.evidence(move |log| evidence::receipt(log, &request)).await?;
        Ok(Response::new(ReceiptReply { receipt }))
    }

    async fn prove(&self, request: Request<ProveRequest>) -> Result<Response<ProveReply>, Status> {
        self.peer(&request)?;
        let request = request.into_inner();
        self.engine(|engine| {
            let _complete = engine.flush();
            Ok(engine.audit().checkpoint()?)
        })
        .await?;
        let proof = self.evidence(move |log| evidence::prove(log, &request)).await?;
        Ok(Response::new(ProveReply { proof }))
    }

    async fn request_access(&self, request: Request<AccessRequest>) -> Result<Response<AccessReply>, Status> {
        let peer = self.peer(&request)?;
        let AccessRequest { reason, duration_ns, erase } = request.into_inner();
        let span = (duration_ns > 0).then(|| Duration::from_nanos(duration_ns));
        let erasure = erase.map(|erase| Erasure::new(&erase.agent, &erase.day)).transpose();
        let erasure = erasure.map_err(|error| not_erased(&error))?;
        let inner = self.inner.clone();
        let asked = self.engine(move |engine| {
            let (action, target) = match &erasure {
                None => ("access_request", "the log".into()),
                Some(erasure) => ("erase_request", entries_of(erasure)),
            };
            if let Some(erasure) = &erasure
                && let Err(error) = inner.eraser.check(erasure)
            {
                let outcome = format!("refused: {error}");
                let what = Operator { target, reason, outcome, ..Operator::default() };
                engine.audit().record(Kind::Operator, act(action, &peer, what))?;
                return Ok(Err(not_erased(&error)));
            }
            let now = clock::boottime();
            let asked = match erasure {
                None => inner.readers.ask(who(&peer), &reason, span, now),
                Some(erasure) => inner.readers.ask_to_erase(who(&peer), &reason, erasure, now),
            };
            let target = asked.as_ref().map_or(target, named);
            let entry = act(action, &peer, Operator { target, reason, outcome: outcome(&asked), ..Operator::default() });
            if let Err(error) = engine.audit().record(Kind::Operator, entry) {
                if let Ok(asked) = &asked {
                    inner.readers.forget(asked.id, clock::boottime());
                }
                return Err(error.into());
            }
            Ok(asked.map_err(|error| refused(&error)))
        });
        let asked = asked.await??;
        Ok(Response::new(AccessReply { asked: Some(approval(asked)) }))
    }

    async fn list_approvals(&self, request: Request<ListApprovalsRequest>) -> Result<Response<ListApprovalsReply>, Status> {
        self.peer(&request)?;
        let approvals = self.inner.readers.list(clock::boottime()).into_iter().map(approval).collect();
        Ok(Response::new(ListApprovalsReply { approvals }))
    }

    async fn decide(&self, request: Request<DecideRequest>) -> Result<Response<DecideReply>, Status> {
        let peer = self.peer(&request)?;
        let DecideRequest { id, approve, reason } = request.into_inner();
        let inner = self.inner.clone();
        // All of it here: it goes on where whoever asked does not wait for the answer.
        let decided = self.engine(move |engine| {
            let readers = &inner.readers;
            let begun = readers.begin(id, who(&peer), clock::boottime());
            let erases = begun.as_ref().is_ok_and(|begun| begun.what != What::Read);
            let action = match (erases, approve) {
                (false, true) => "access_approve",
                (false, false) => "access_deny",
                (true, true) => "erase_approve",
                (true, false) => "erase_deny",
            };
            let target = begun.as_ref().map_or_else(|_| format!("request {id}"), named);
            let what = Operator { target, reason, outcome: outcome(&begun), ..Operator::default() };
            // Before it holds: nobody reads by an approval that the log does not know.
            let written = engine.audit().record(Kind::Operator, act(action, &peer, what.clone()));
            match (begun, written) {
                (Ok(begun), Ok(_)) => {
                    let decided = readers.decide(begun, Some(approve), clock::boottime());
                    let told = if approve { inner.erase(&decided) } else { Ok(0) };
                    Ok(told.map(|seq| Approval { seq, ..approval(decided) }).map_err(|error| not_erased(&error)))
                }
                (Ok(begun), Err(error)) => {
                    readers.decide(begun, None, clock::boottime());
                    // The entry may become durable later; then this one does too.
                    let what = Operator { outcome: format!("does not hold: {error}"), ..what };
                    let event = act(action, &peer, what);
                    let draft = Draft { kind: Kind::Operator as u32, time: clock::wall(), event, urgent: true };
                    let _ = engine.audit().send(vec![draft]);
                    Err(error.into())
                }
                (Err(error), written) => written.map(|_| Err(refused(&error))).map_err(Into::into),
            }
        });
        let decided = decided.await??;
        Ok(Response::new(DecideReply { decided: Some(decided) }))
    }
}

fn who(peer: &Peer) -> Who {
    Who { uid: peer.uid, login_uid: peer.login_uid }
}

/// How it went, as entries say it.
fn outcome<T>(done: &Result<T, Refused>) -> String {
    done.as_ref().map_or_else(|error| format!("refused: {error}"), |_| "ok".into())
}

/// A request, as entries name it.
fn named(asked: &Asked) -> String {
    let Asked { id, person, .. } = asked;
    match &asked.what {
        What::Read => format!("request {id} of login uid {person} to read the log for {} s", asked.span.as_secs()),
        What::Erase(erasure) => format!("request {id} of login uid {person} to erase {}", entries_of(erasure)),
    }
}

fn entries_of(erasure: &Erasure) -> String {
    format!("what entries of {} say about the agent {:?}", erasure.day, erasure.agent)
}

fn approval(asked: Asked) -> Approval {
    Approval {
        id: asked.id,
        login_uid: asked.person,
        reason: asked.reason,
        duration_ns: clock::length(asked.span),
        approved_by: asked.approved_by,
        left_ns: asked.until.saturating_sub(clock::boottime()),
        erase: match asked.what {
            What::Read => None,
            What::Erase(Erasure { agent, day }) => Some(control::Erasure { agent, day: day.to_string() }),
        },
        seq: 0,
    }
}

fn refused(error: &Refused) -> Status {
    let text = error.to_string();
    match error {
        Refused::NoReason | Refused::NoReasonToErase | Refused::LongReason | Refused::TooLong(_) => Status::invalid_argument(text),
        Refused::Nobody | Refused::AnotherUser { .. } | Refused::NotApproved | Refused::Own(_) => Status::permission_denied(text),
        Refused::NotNeeded(_) => Status::failed_precondition(text),
        Refused::TooMany(_) => Status::resource_exhausted(text),
        Refused::Unknown(_) => Status::not_found(text),
    }
}

fn not_erased(error: &erasure::Refused) -> Status {
    let text = error.to_string();
    match error {
        erasure::Refused::Day(_) | erasure::Refused::Agent => Status::invalid_argument(text),
        erasure::Refused::Audit(_) => Status::unavailable(text),
        _ => Status::failed_precondition(text),
    }
}

impl Inner {
    /// Does what was approved, if it is something to do, and answers the entry that tells of it.
    fn erase(&self, decided: &Asked) -> Result<u64, erasure::Refused> {
        let What::Erase(erasure) = &decided.what else { return Ok(0) };
        let approved = decided.approved_by.unwrap_or(decided.person);
        let two = Two { asked: decided.person, approved, reason: decided.reason.clone() };
        self.eraser.erase(erasure, &two)
    }

    fn status(&self, engine: &Engine) -> StatusReply {
        let progress = engine.audit().progress();
        let hooks = engine.with_kernel(|k| k.hooks()).unwrap_or_default();
        let counters = engine.with_kernel(|k| k.counters().unwrap_or_default()).unwrap_or_default();
        let mut counters: Vec<Counter> =
            counters.into_iter().map(|(c, value)| Counter { name: c.name().to_owned(), value }).collect();
        let own = [
            ("commits", progress.commits()),
            ("commit_failures", progress.failures()),
            ("indexed", self.index.reached()),
        ];
        counters.extend(own.map(|(name, value)| Counter { name: name.to_owned(), value }));
        StatusReply {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: crate::daemon::kernel_release(),
            abi: u32::from(aegis_common::ABI_VERSION),
            transient: self.transient,
            enforcing: engine.not_enforcing().is_none(),
            why: engine.not_enforcing().unwrap_or_default().to_owned(),
            durable_seq: progress.durable_size().saturating_sub(1),
            next_seq: progress.next_seq(),
            agents: u32::try_from(engine.sessions().len()).unwrap_or(u32::MAX),
            hooks: hooks
                .into_iter()
                .map(|h| Hook {
                    name: h.name,
                    state: if h.attached { "attached" } else { "unavailable" }.to_owned(),
                    detail: h.detail,
                    verified_instructions: h.verified_instructions,
                })
                .collect(),
            counters,
            uptime_ns: clock::length(self.begun.elapsed()),
            chain: self.chain.clone(),
            log_access: self.readers.access().word().to_owned(),
        }
    }
}

fn list(engine: &Engine) -> Vec<AgentInfo> {
    use std::sync::atomic::Ordering::Relaxed;
    let sessions = engine.sessions().into_iter();
    let infos = sessions.map(|s| {
        let passed = engine.traffic(&s);
        AgentInfo {
            tasks: engine.task_count(&s),
            state: s.state.word().to_owned(),
            mode: mode_word(s.mode).to_owned(),
            allowed: s.view.allowed.load(Relaxed),
            denied: s.view.denied.load(Relaxed),
            policy: s.policy,
            name: s.saved.name,
            session: s.saved.session,
            cgroup: s.saved.cgroup.display().to_string(),
            generation: s.saved.generation,
            image: s.saved.image,
            started_unix_ns: s.saved.started_unix,
            slot: s.saved.slot,
            banned_calls: s.banned_calls.into_iter().map(banned).collect(),
            bytes_out: passed.bytes_out,
            bytes_in: passed.bytes_in,
        }
    });
    infos.collect()
}

/// A banned call, and by which means it is.
fn banned(name: String) -> BannedCall {
    let hook = aegis_policy::syscall::guard(&name).map(|guard| guard.hook);
    BannedCall { by: ["seccomp"].into_iter().chain(hook).map(str::to_owned).collect(), name }
}

/// Reading the log is an entry of its own: who, what, why.
/// The beginning of a text that is too long for an entry.
fn cut(mut text: String) -> String {
    if text.len() > TEXT_LONGEST {
        text.truncate(text.floor_char_boundary(TEXT_LONGEST));
        text.push('…');
    }
    text
}

/// What somebody did, as an entry.
fn act(action: &str, peer: &Peer, what: Operator) -> Event {
    let operator = Operator {
        action: action.into(),
        uid: peer.uid,
        login_uid: peer.login_uid,
        exe: peer.exe.clone(),
        pid: peer.pid,
        // As long as whoever asks likes: the entry is to fit into the log.
        target: cut(what.target),
        reason: cut(what.reason),
        ..what
    };
    Event { detail: Some(Detail::Operator(operator)), ..Event::default() }
}
