//! From the object in the binary to programs in force.

use std::fs::File;

use aegis_common::{ABI_VERSION, policy::engine};
use aya::{
    Btf, Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{Array, HashMap, MapData},
    programs::{CgroupAttachMode, Program, ProgramError, links::FdLink},
};
use zerocopy::IntoBytes;

use super::{
    EventRing, HookStatus, Kernel, KernelError, Origin, RepeatCounters,
    agents_cgroup::AgentsCgroup,
    doctor,
    kept::{self, Left, Make},
    offsets,
    pin::Pins,
    programs::{Attach, PROGRAMS, Spec},
    states::AgentStates,
    traffic::TrafficCounters,
    tables::{self, Tables},
};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/aegis-ebpf.o"));

/// Loads and attaches everything. Nothing that this call made or attached stays when it fails.
pub fn load(pins: Pins, agents: AgentsCgroup) -> Result<Kernel, KernelError> {
    if OBJECT.is_empty() {
        return Err(KernelError::NoObject);
    }
    require_active_lsm()?;
    require_every_hook_called()?;
    let inherited = inherited_key(&pins)?;
    let begun = begin(&pins, &agents, inherited);
    if begun.is_err() {
        // The first error is the one to report. Without inherited maps nothing else is pinned.
        let _ = if inherited.is_some() { pins.abandon() } else { pins.remove_all() };
    }
    let Begun { mut object, engine, hooks, hash_key, origin, reads_arguments } = begun?;
    let tables = Tables::take(&mut object, engine)?;
    let states = AgentStates::map(map_data(&mut object, "AGENTS")?)?;
    let traffic = TrafficCounters::map(map_data(&mut object, "TRAFFIC")?)?;
    let ring = EventRing::new(tables::take(&mut object, "EVENTS")?);
    let repeats = RepeatCounters::new(map_data(&mut object, "REPEATS")?, tables::take(&mut object, "REPEAT_KEYS")?)?;
    Ok(Kernel { pins, agents, tables, states, traffic, hooks, hash_key, origin, reads_arguments, ring: Some((ring, repeats)) })
}

/// Maps open and programs in force.
struct Begun {
    object: Ebpf,
    engine: Array<MapData, u64>,
    hooks: Vec<HookStatus>,
    hash_key: [u64; 2],
    origin: Origin,
    reads_arguments: bool,
}

/// Opens the maps, and keeps the programs that are in force, or puts others in their place.
fn begin(pins: &Pins, agents: &AgentsCgroup, inherited: Option<[u64; 2]>) -> Result<Begun, KernelError> {
    let (found, facts) = offsets::examine()?;
    let btf = Btf::from_sys_fs().map_err(|error| KernelError::Btf {
        what: "the kernel's BTF can't be read".into(),
        detail: error.to_string(),
    })?;
    let hash_key = match inherited {
        Some(key) => key,
        None => new_key()?,
    };
    let map_dir = pins.maps();
    let mut object = EbpfLoader::new()
        .btf(Some(&btf))
        .default_map_pin_directory(&map_dir)
        // Maps that are declared in BTF say nothing of pins themselves.
        .map_pin_path("ASKERS", map_dir.join("ASKERS"))
        .map_pin_path("CONNECTIONS", map_dir.join("CONNECTIONS"))
        .map_pin_path("RUNNING", map_dir.join("RUNNING"))
        // Storage of tasks, which is read by programs alone.
        .allow_unsupported_maps()
        .override_global("KERNEL_OFFSETS", found.as_bytes(), true)
        .override_global("KERNEL_FACTS", facts.as_bytes(), true)
        .override_global("HASH_KEY", hash_key.as_bytes(), true)
        .load(OBJECT)
        .map_err(|error| KernelError::Load(chain(&error)))?;
    let mut engine: Array<_, u64> = tables::take(&mut object, "ENGINE")?;
    require_same_agents(&mut object, &engine, agents)?;
    // What decides over the programs, the way that they are attached included.
    let make = Make::of(&[
        OBJECT,
        found.as_bytes(),
        facts.as_bytes(),
        hash_key.as_bytes(),
        agents.id().as_bytes(),
        kept::map_ids(pins)?.as_bytes(),
        include_bytes!("load.rs"),
        include_bytes!("programs.rs"),
    ]);
    let reads_arguments = facts.page_offset_base != 0;
    let (hooks, origin) = match kept::keep(pins, &engine, make, reads_arguments) {
        Ok(hooks) => (hooks, Origin::Kept),
        Err(why) => {
            let mut loading = Loading { pins, agents, object: &mut object, btf: &btf, reads_arguments };
            let hooks = loading.take_over(&mut engine, hash_key, make)?;
            (hooks, if inherited.is_some() { Origin::Replaced(why) } else { Origin::New })
        }
    };
    Ok(Begun { object, engine, hooks, hash_key, origin, reads_arguments })
}

/// Agents that are governed below another cgroup are not ours to take over: their packets would be looked at no more.
fn require_same_agents(
    object: &mut Ebpf,
    engine: &Array<MapData, u64>,
    agents: &AgentsCgroup,
) -> Result<(), KernelError> {
    let before = engine.get(&engine::AGENTS_CGROUP, 0).map_err(|error| tables::failed("read", "ENGINE", &error))?;
    let governed = object.map("CGROUPS").map(HashMap::<_, u64, u32>::try_from);
    let governed = governed.and_then(Result::ok).is_none_or(|governed| governed.keys().next().is_some());
    if before != 0 && before != agents.id() && governed { Err(agents.is_another()) } else { Ok(()) }
}

/// Without `bpf` in the list of active modules the programs load and attach all the same, and are never
/// called: enforcement in name only.
fn require_active_lsm() -> Result<(), KernelError> {
    let list = doctor::active_modules().map_err(|error| {
        KernelError::LsmInactive(format!("{} can't be read: {error}", doctor::MODULES))
    })?;
    if doctor::lists_bpf(&list) { Ok(()) } else { Err(KernelError::LsmInactive(list)) }
}

/// Before Linux 6.2 a fully preemptible kernel skips hooks, which whoever is governed can bring about.
fn require_every_hook_called() -> Result<(), KernelError> {
    let finding = doctor::preemption();
    if finding.ok { Ok(()) } else { Err(KernelError::HooksSkipped(finding.advice)) }
}

/// The key of maps that an earlier engine left; `None` when there are none.
fn inherited_key(pins: &Pins) -> Result<Option<[u64; 2]>, KernelError> {
    let path = pins.maps().join("ENGINE");
    if !path.exists() {
        return Ok(None);
    }
    let fail = |error| tables::failed("read", "ENGINE", &error);
    let map = MapData::from_pin(&path).map_err(fail)?;
    let map: Array<_, u64> = Array::try_from(aya::maps::Map::Array(map)).map_err(fail)?;
    let abi = map.get(&engine::ABI, 0).map_err(fail)?;
    if abi == 0 && pins.programs()?.is_empty() {
        // An engine died before it was one.
        pins.remove_maps()?;
        return Ok(None);
    }
    if abi != u64::from(ABI_VERSION) {
        return Err(KernelError::Abi { path: pins.maps(), found: abi, ours: ABI_VERSION });
    }
    Ok(Some([
        map.get(&engine::HASH_KEY_0, 0).map_err(fail)?,
        map.get(&engine::HASH_KEY_1, 0).map_err(fail)?,
    ]))
}

fn new_key() -> Result<[u64; 2], KernelError> {
    let mut key = [0u64; 2];
    getrandom::fill(key.as_mut_bytes()).map_err(|error| KernelError::Random(error.to_string()))?;
    Ok(key)
}

/// An engine on its way into the kernel.
struct Loading<'a> {
    pins: &'a Pins,
    agents: &'a AgentsCgroup,
    object: &'a mut Ebpf,
    btf: &'a Btf,
    reads_arguments: bool,
}

impl Loading<'_> {
    /// Writes what the next engine needs, then loads, attaches and pins every program.
    fn take_over(
        &mut self,
        state: &mut Array<MapData, u64>,
        hash_key: [u64; 2],
        make: Make,
    ) -> Result<Vec<HookStatus>, KernelError> {
        kept::disown(state)?;
        let words = [
            (engine::HASH_KEY_0, hash_key[0]),
            (engine::HASH_KEY_1, hash_key[1]),
            (engine::ABI, u64::from(ABI_VERSION)),
            (engine::AGENTS_CGROUP, self.agents.id()),
        ];
        for (index, word) in words {
            state
                .set(index, word, 0)
                .map_err(|error| tables::failed("change", "ENGINE", &error))?;
        }
        let mut hooks = Vec::with_capacity(PROGRAMS.len());
        let mut left = Vec::with_capacity(PROGRAMS.len());
        for spec in PROGRAMS {
            let (status, program) = self.start(spec)?;
            hooks.push(status);
            left.push(program);
        }
        self.pins.promote()?;
        kept::leave(state, make, &left)?;
        Ok(hooks)
    }

    /// Loads, attaches and pins one program.
    fn start(&mut self, spec: &Spec) -> Result<(HookStatus, Left), KernelError> {
        let fail = |action: &'static str, detail: String| KernelError::Program { action, hook: spec.hook(), detail };
        let missing = spec.why_missing(self.reads_arguments);
        let without = |why| Ok((HookStatus::unavailable(spec, why), Left::default()));
        if spec.since.is_none()
            && let Some(why) = missing
        {
            return without(why);
        }
        let program =
            self.object.program_mut(spec.name).ok_or_else(|| fail("find", "the object has no such program".into()))?;
        if let Err(error) = load_one(program, spec, self.btf) {
            return match (missing, &error) {
                (Some(why), ProgramError::Btf(_)) => without(why),
                _ => Err(fail("load", chain(&error))),
            };
        }
        let link = attach(program, self.agents.folder()).map_err(|error| fail("attach", chain(&error)))?;
        let number = kept::program_of(&link).map_err(|error| fail("examine", error))?;
        self.pins.stage(spec.name, link)?;
        let info = program.info().map_err(|error| fail("examine", chain(&error)))?;
        let verified = info.verified_instruction_count().unwrap_or_default();
        Ok((HookStatus::attached(spec, verified), Left::new(number, verified)))
    }
}

fn load_one(program: &mut Program, spec: &Spec, btf: &Btf) -> Result<(), ProgramError> {
    match (program, spec.attach) {
        (Program::Lsm(program), Attach::Lsm(hook)) => program.load(hook, btf),
        (Program::BtfTracePoint(program), Attach::Tracepoint(name)) => program.load(name, btf),
        (Program::FEntry(program), Attach::Function(name)) => program.load(name, btf),
        (Program::CgroupSkb(program), Attach::Packets(_)) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

fn attach(program: &mut Program, agents: &File) -> Result<FdLink, ProgramError> {
    match program {
        Program::Lsm(program) => {
            let id = program.attach()?;
            Ok(program.take_link(id)?.into())
        }
        Program::BtfTracePoint(program) => {
            let id = program.attach()?;
            Ok(program.take_link(id)?.into())
        }
        Program::FEntry(program) => {
            let id = program.attach()?;
            Ok(program.take_link(id)?.into())
        }
        Program::CgroupSkb(program) => {
            let direction = program.expected_attach_type().ok_or(ProgramError::UnexpectedProgramType)?;
            let id = program.attach(agents, direction, CgroupAttachMode::Single)?;
            // Every kernel with BPF LSM makes a link of its own of it, as of the others.
            program.take_link(id)?.try_into().map_err(|_| ProgramError::UnexpectedProgramType)
        }
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

fn map_data(object: &mut Ebpf, name: &'static str) -> Result<MapData, KernelError> {
    match object.take_map(name) {
        Some(aya::maps::Map::Array(map)) => Ok(map),
        _ => Err(KernelError::Map {
            action: "find",
            map: name,
            detail: "the object has no array of that name".into(),
        }),
    }
}

/// An error with all its causes: the verifier's words are the last of them.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
