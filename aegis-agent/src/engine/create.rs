//! An agent is made: policy, cgroup, limits, kernel tables, file, entries. Nothing runs in it yet.

use std::{fmt::Write as _, sync::Arc};

use aegis_common::policy::AgentState;
use aegis_policy::{
    CompiledImage, check, compile,
    policy::{Effect, Mode, Policy},
    resolve,
    resolve::Note,
    resolve_in_view,
};

use super::{
    Engine, EngineError, Peer,
    host::Host,
    process::ProcessId,
    report, resolvers,
    session::{Added, Encoded, Saved, Session, State, mode_word},
    tmpdir::TmpDir,
};
use crate::{
    clock,
    directory::{AgentView, ImageView},
    proto::{
        control::CreateAgentReply,
        event::{self, Event, Kind, Verdict, event::Detail},
    },
    words::hex,
};

/// Bytes of arguments kept in the agent's first entry.
const ARGV_KEPT: usize = 32 * 1024;
/// Bytes of a manifest in one policy entry; a longer one takes several, in order.
const MANIFEST_PART: usize = 48 * 1024;
/// Longest name.
const NAME_LONGEST: usize = 63;

/// What an agent is made from.
#[derive(Clone, Debug, Default)]
pub struct Create {
    /// Name, empty for the manifest's.
    pub name: String,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// Its name, for messages.
    pub manifest_path: String,
    /// What will be run; recorded, not run here.
    pub argv: Vec<Vec<u8>>,
    /// Go on where nothing can be enforced.
    pub audit_only: bool,
}

/// Steps that were done, undone in the other order unless all of them were.
#[derive(Default)]
struct Undo<'a>(Vec<Box<dyn FnOnce() + 'a>>);

impl<'a> Undo<'a> {
    fn later(&mut self, step: impl FnOnce() + 'a) {
        self.0.push(Box::new(step));
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        while let Some(step) = self.0.pop() {
            step();
        }
    }
}

struct Names {
    session: String,
    slot: u32,
    image: u32,
}

impl Engine {
    /// Makes an agent. Nothing runs in it yet.
    ///
    /// # Errors
    /// [`EngineError`]; nothing is left of it.
    pub fn create(&self, request: &Create, peer: &Peer) -> Result<CreateAgentReply, EngineError> {
        if let (Some(why), false) = (self.not_enforcing(), request.audit_only) {
            return Err(EngineError::NotEnforcing(why.to_owned()));
        }
        let file = if request.manifest_path.is_empty() { "manifest" } else { &request.manifest_path };
        let policy = check(&request.manifest, file).map_err(EngineError::Manifest)?;
        let name = if request.name.is_empty() { policy.name.clone() } else { request.name.clone() };
        check_name(&name)?;
        self.check_no_secret(&name)?;
        self.check_no_secret(&policy.name)?;

        let mut undo = Undo::default();
        let names = self.reserve(&mut undo)?;
        let io = |path: String| |source| EngineError::Io { path: path.into(), source };
        let client = ProcessId::of(peer.pid).map_err(io(format!("/proc/{}", peer.pid)))?;
        // The manifest's paths are those that the caller sees: the command is its child.
        let host = Host::seen_by(client).map_err(io(format!("/proc/{}", peer.pid)))?;
        let (uid, gid) = (peer.uid, peer.gid);
        let tmp = &self.parts.tmp;
        let tmpdir = if host.view().shares(tmp) {
            TmpDir::make(tmp, &names.session, uid, gid).map_err(io(tmp.display().to_string()))?
        } else {
            TmpDir::none()
        };
        let made = tmpdir.clone();
        undo.later(move || report("removing the TMPDIR", made.remove()));

        let added = Added { runtime_rules: self.runtime_rules(&policy, &tmpdir, peer), resolvers: resolvers::of(&policy, &host)? };
        let (compiled, notes) = self.compile(policy.clone(), &added, names.image, 1, &host)?;
        let cgroups = self.cgroups()?;
        let (cgroup, cgroup_id) = cgroups.create(&names.session, &policy.limits)?;
        let folder = cgroup.clone();
        undo.later(move || report("removing the cgroup", cgroups.remove(&folder)));

        let image = hex(&compiled.hash);
        let saved = Saved {
            version: Saved::VERSION,
            name,
            session: names.session.clone(),
            slot: names.slot,
            image_index: names.image,
            generation: 1,
            image: image.clone(),
            cgroup,
            cgroup_id,
            tmpdir,
            manifest: Encoded(request.manifest.clone()),
            manifest_path: request.manifest_path.clone(),
            added,
            uid,
            client,
            own_view: host.view().is_other(),
            started: clock::boottime(),
            started_unix: clock::wall(),
            enforced: self.not_enforcing().is_none(),
            ended_by: None,
        };
        let view = view(&saved, &compiled, &host);
        let session = Session {
            saved,
            host,
            state: State::Created,
            mode: policy.mode,
            limits: policy.limits,
            banned_calls: banned_calls(&policy),
            no_new_privileges: policy.no_new_privileges,
            kill: policy.kill,
            policy: policy.name.clone(),
            view,
            populated: false,
            empty_since: None,
            pressure: super::cgroup::Pressure::default(),
        };
        self.parts.directory.set(names.slot, session.view.clone());
        self.govern(&session, &compiled, &mut undo)?;

        let agents = self.parts.layout.agents();
        session.saved.write(&agents).map_err(|source| EngineError::Io { path: agents.clone(), source })?;
        let saved = session.saved.clone();
        undo.later(move || report("removing the agent's file", saved.remove(&agents)));

        self.record_created(&session, request, peer, &compiled)?;
        let reply = self.created(&session, peer, &notes);
        let mut registry = self.registry();
        registry.had_agent = true;
        registry.making -= 1;
        registry.sessions.insert(names.session, session);
        drop(registry);
        undo.keep();
        Ok(reply)
    }

    /// Names stand in every entry and are what an agent is asked for by: one that would be redacted is refused.
    fn check_no_secret(&self, name: &str) -> Result<(), EngineError> {
        match self.audit().redactor().text(name.as_bytes()) {
            Some((kept, _)) => Err(EngineError::SecretName(String::from_utf8_lossy(&kept).into_owned())),
            None => Ok(()),
        }
    }

    fn reserve<'a>(&'a self, undo: &mut Undo<'a>) -> Result<Names, EngineError> {
        let mut registry = self.registry();
        if registry.closed {
            return Err(EngineError::Closing);
        }
        let full = || EngineError::Full(aegis_common::limits::MAX_AGENTS - 1);
        let slot = registry.slots.take().ok_or_else(full)?;
        let Some(image) = registry.images.take() else {
            registry.slots.free(slot);
            return Err(full());
        };
        registry.making += 1;
        drop(registry);
        undo.later(move || {
            let mut registry = self.registry();
            registry.slots.free(slot);
            registry.images.free(image);
            registry.making -= 1;
        });
        Ok(Names { session: random_id()?, slot, image })
    }

    pub(super) fn compile(
        &self,
        mut policy: Policy,
        added: &Added,
        index: u32,
        generation: u32,
        host: &Host,
    ) -> Result<(CompiledImage, Vec<Note>), EngineError> {
        policy.dns.resolvers.clone_from(&added.resolvers);
        for rule in &added.runtime_rules {
            policy.add_runtime_rule(&rule.id, rule.path.as_bytes(), rule.allow, rule.deny, false)?;
        }
        let resolved = if host.view().is_other() {
            resolve_in_view(&policy, host, &Host::default())?
        } else {
            resolve(&policy, host)?
        };
        let key = self.with_kernel(|k| k.hash_key()).unwrap_or_default();
        Ok((compile(&policy, &resolved, index, key, generation)?, resolved.notes))
    }

    /// Brings the policy into force, the cgroup last: from then on whatever is in it is held to it.
    pub(super) fn govern_now(&self, session: &Session, compiled: &CompiledImage) -> Result<(), EngineError> {
        let mut undo = Undo::default();
        self.govern(session, compiled, &mut undo)?;
        undo.keep();
        Ok(())
    }

    fn govern<'a>(
        &'a self,
        session: &Session,
        compiled: &CompiledImage,
        undo: &mut Undo<'a>,
    ) -> Result<(), EngineError> {
        let (slot, image) = (session.saved.slot, session.saved.image_index);
        // Also when it fails half way: what was filled must go.
        undo.later(move || report("removing the image", self.kernel_step("removing the image", |k| k.remove_image(image))));
        self.kernel_step("loading the policy", |k| {
            if k.adopted() {
                // An engine that died may have left rules under this number.
                k.remove_image(image)?;
            }
            k.install(compiled)
        })?;
        let state = session.agent_state();
        undo.later(move || {
            let reset = |k: &mut dyn super::port::KernelPort| k.set_agent(slot, AgentState::default());
            report("freeing the slot", self.kernel_step("freeing the slot", reset));
        });
        self.kernel_step("activating the agent", |k| {
            // Whoever had the slot before may have left what it learned.
            k.forget_names(slot)?;
            k.forget_traffic(slot)?;
            k.set_agent(slot, state)
        })?;
        // Children that are there already first: what is made from here on inherits.
        let all = self.cgroups()?.ids(&session.saved.cgroup)?;
        for cgroup in all.into_iter().rev() {
            undo.later(move || {
                report("releasing a cgroup", self.kernel_step("releasing a cgroup", |k| k.unbind_cgroup(cgroup)));
            });
            self.kernel_step("governing the cgroup", |k| k.bind_cgroup(cgroup, slot))?;
        }
        Ok(())
    }

    /// What must be in the log before anything runs: who asked, under which policy, what.
    fn record_created(
        &self,
        session: &Session,
        request: &Create,
        peer: &Peer,
        compiled: &CompiledImage,
    ) -> Result<(), EngineError> {
        let audit = self.audit();
        let operator = super::kill::operator("run", session, peer, "");
        audit.record(Kind::Operator, Event { detail: Some(Detail::Operator(operator)), ..session.event() })?;
        self.record_policy(session, compiled)?;
        let (argv, cut) = cut(&request.argv);
        let mut text = String::new();
        if cut {
            text.push_str("the arguments were cut; ");
        }
        if let Some(why) = self.not_enforcing() {
            // Writing into a String cannot fail.
            let _ = write!(text, "nothing is enforced: {why}");
        }
        let agent = event::Agent {
            state: "started".into(),
            argv,
            text: text.trim_end_matches("; ").to_owned(),
            cgroup: self.cgroups()?.shown(&session.saved.cgroup),
            ..event::Agent::default()
        };
        let detail = Some(Detail::AgentState(agent));
        audit.record(Kind::Agent, Event { detail, verdict: Verdict::Allow as i32, ..session.event() })?;
        Ok(())
    }

    /// The policy as it comes into force, whole: a manifest longer than an entry takes several, in order.
    pub(super) fn record_policy(&self, session: &Session, compiled: &CompiledImage) -> Result<(), EngineError> {
        let rules = u32::try_from(compiled.rules.rules().len()).unwrap_or(u32::MAX);
        for part in session.saved.manifest.0.chunks(MANIFEST_PART) {
            let policy = event::Policy {
                name: session.policy.clone(),
                image: session.saved.image.clone(),
                generation: session.saved.generation,
                mode: mode_word(session.mode).to_owned(),
                manifest: part.to_vec(),
                rules,
            };
            self.audit().record(Kind::Policy, Event { detail: Some(Detail::Policy(policy)), ..session.event() })?;
        }
        Ok(())
    }

    fn created(&self, session: &Session, peer: &Peer, notes: &[Note]) -> CreateAgentReply {
        let mut warnings: Vec<String> = notes.iter().map(ToString::to_string).collect();
        if let Some(why) = self.not_enforcing() {
            warnings.insert(0, format!("nothing is enforced: {why}"));
            let attached = self.with_kernel(|k| k.hooks().iter().filter(|h| h.attached).count()).unwrap_or(0);
            warnings.insert(1, if attached == 0 {
                "nothing can be recorded either, beyond the agent's start, end and resource limits".into()
            } else {
                format!("{attached} hooks record; see `aegis status`")
            });
        }
        if session.mode == Mode::Audit {
            warnings.push("the manifest says `mode: audit`: what it denies is recorded and goes on".into());
        }
        CreateAgentReply {
            session: session.saved.session.clone(),
            name: session.saved.name.clone(),
            cgroup: session.saved.cgroup.display().to_string(),
            tmpdir: session.saved.tmpdir.path.display().to_string(),
            generation: session.saved.generation,
            image: session.saved.image.clone(),
            mode: mode_word(session.mode).to_owned(),
            no_new_privs: peer.uid != 0 || session.no_new_privileges,
            banned_calls: session.banned_calls.clone(),
            warnings,
        }
    }
}

/// Names of the system calls that a policy bans.
pub(super) fn banned_calls(policy: &Policy) -> Vec<String> {
    let calls = policy.rules.iter().filter_map(|rule| match &rule.effect {
        Effect::Syscall(call) => Some(call.name.clone()),
        _ => None,
    });
    calls.collect()
}

pub(super) fn view(saved: &Saved, compiled: &CompiledImage, host: &Host) -> Arc<AgentView> {
    let view = AgentView::new(&saved.name, &saved.session);
    view.add_image(compiled.index, image_view(compiled));
    host.show_mounts(&view);
    Arc::new(view)
}

pub(super) fn image_view(compiled: &CompiledImage) -> ImageView {
    ImageView { sha256: hex(&compiled.hash), rules: compiled.rules.clone() }
}

/// The same characters as a manifest's name.
fn check_name(name: &str) -> Result<(), EngineError> {
    let good = name.len() <= NAME_LONGEST
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if good { Ok(()) } else { Err(EngineError::Name(name.to_owned())) }
}

fn random_id() -> Result<String, EngineError> {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes)
        .map_err(|e| EngineError::Io { path: "/dev/urandom".into(), source: std::io::Error::other(e.to_string()) })?;
    Ok(hex(&bytes))
}

fn cut(argv: &[Vec<u8>]) -> (Vec<Vec<u8>>, bool) {
    let mut left = ARGV_KEPT;
    let kept = argv.iter().take_while(|a| {
        let fits = a.len() < left;
        left = left.saturating_sub(a.len() + 1);
        fits
    });
    let kept: Vec<_> = kept.cloned().collect();
    let cut = kept.len() < argv.len();
    (kept, cut)
}
