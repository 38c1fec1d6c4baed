//! A kernel side and cgroups made of tables.

use std::{collections::BTreeMap, path::Path};

use aegis_common::{counter::Counter, net::AgentTraffic, policy::AgentState};
use aegis_policy::{CompiledImage, policy::Limits};

use super::super::{
    cgroup::{Events, Pressure, Task, Used},
    port::Hook,
    *,
};

/// Both fakes at once: what there is, what was done, and what is to fail.
#[derive(Default)]
pub(super) struct World {
    pub(super) images: BTreeMap<u32, [u8; 32]>,
    pub(super) agents: BTreeMap<u32, AgentState>,
    pub(super) bound: BTreeMap<u64, u32>,
    pub(super) groups: BTreeMap<PathBuf, Group>,
    pub(super) next_id: u64,
    pub(super) forgotten: Vec<u32>,
    pub(super) traffic: BTreeMap<u32, AgentTraffic>,
    pub(super) fail: Option<&'static str>,
    pub(super) adopted: bool,
    pub(super) order: Vec<&'static str>,
}

#[derive(Clone, Default)]
pub(super) struct Group {
    pub(super) id: u64,
    pub(super) procs: Vec<u32>,
    pub(super) frozen: bool,
    pub(super) pressure: Pressure,
    pub(super) children: Vec<u64>,
}

#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<World>>);

impl Fake {
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("world")
    }

    fn step(&self, name: &'static str) -> Result<MutexGuard<'_, World>, PortError> {
        let mut world = self.world();
        if world.fail == Some(name) {
            return Err(format!("{name} was made to fail").into());
        }
        world.order.push(name);
        Ok(world)
    }

    fn group_step(&self, name: &'static str, folder: &Path) -> Result<MutexGuard<'_, World>, CgroupError> {
        let wrong = |source| CgroupError::Io { path: folder.into(), source };
        let world = self.step(name).map_err(|e| wrong(io::Error::other(e)))?;
        if name != "create" && !world.groups.contains_key(folder) {
            return Err(wrong(io::ErrorKind::NotFound.into()));
        }
        Ok(world)
    }
}

impl KernelPort for Fake {
    fn adopted(&self) -> bool {
        self.world().adopted
    }
    fn hash_key(&self) -> [u64; 2] {
        [1, 2]
    }
    fn install(&mut self, image: &CompiledImage) -> Result<(), PortError> {
        self.step("install")?.images.insert(image.index, image.hash);
        Ok(())
    }
    fn remove_image(&mut self, index: u32) -> Result<(), PortError> {
        self.step("remove_image")?.images.remove(&index);
        Ok(())
    }
    fn set_agent(&mut self, slot: u32, state: AgentState) -> Result<(), PortError> {
        let mut world = self.step("set_agent")?;
        if state == AgentState::default() {
            world.agents.remove(&slot);
        } else {
            world.agents.insert(slot, state);
        }
        Ok(())
    }
    fn forget_names(&mut self, slot: u32) -> Result<(), PortError> {
        self.step("forget_names")?.forgotten.push(slot);
        Ok(())
    }
    fn traffic(&self, slot: u32) -> Result<AgentTraffic, PortError> {
        Ok(self.world().traffic.get(&slot).copied().unwrap_or_default())
    }
    fn forget_traffic(&mut self, slot: u32) -> Result<(), PortError> {
        self.step("forget_traffic")?.traffic.remove(&slot);
        Ok(())
    }
    fn agent(&self, slot: u32) -> Result<AgentState, PortError> {
        Ok(self.world().agents.get(&slot).copied().unwrap_or_default())
    }
    fn disown_objects(&mut self, _slot: u32) -> Result<(), PortError> {
        self.step("disown").map(drop)
    }
    fn bind_cgroup(&mut self, cgroup: u64, slot: u32) -> Result<(), PortError> {
        self.step("bind")?.bound.insert(cgroup, slot);
        Ok(())
    }
    fn unbind_cgroup(&mut self, cgroup: u64) -> Result<(), PortError> {
        self.step("unbind")?.bound.remove(&cgroup);
        Ok(())
    }
    fn cut(&mut self, _slot: u32) -> Result<(), PortError> {
        self.step("cut").map(drop)
    }
    fn cgroups(&self) -> Result<Vec<(u64, u32)>, PortError> {
        Ok(self.world().bound.iter().map(|(c, s)| (*c, *s)).collect())
    }
    fn counters(&self) -> Result<Vec<(Counter, u64)>, PortError> {
        Ok(Vec::new())
    }
    fn hooks(&self) -> Vec<Hook> {
        Vec::new()
    }
    fn detach_all(self: Box<Self>) -> Result<(), PortError> {
        Ok(())
    }
}

impl CgroupPort for Fake {
    fn create(&self, session: &str, _limits: &Limits) -> Result<(PathBuf, u64), CgroupError> {
        let folder = PathBuf::from("/fake/aegis").join(session);
        let mut world = self.group_step("create", &folder)?;
        world.next_id += 1;
        let id = 1_000 + world.next_id;
        world.groups.insert(folder.clone(), Group { id, ..Group::default() });
        Ok((folder, id))
    }
    fn id(&self, folder: &Path) -> Result<u64, CgroupError> {
        Ok(self.group_step("id", folder)?.groups[folder].id)
    }
    fn ids(&self, folder: &Path) -> Result<Vec<u64>, CgroupError> {
        let group = self.group_step("ids", folder)?.groups[folder].clone();
        Ok([group.id].into_iter().chain(group.children).collect())
    }
    fn admit(&self, folder: &Path, pid: u32) -> Result<(), CgroupError> {
        self.group_step("admit", folder)?.groups.entry(folder.into()).or_default().procs.push(pid);
        Ok(())
    }
    fn events(&self, folder: &Path) -> Result<Events, CgroupError> {
        let world = self.group_step("events", folder)?;
        let group = &world.groups[folder];
        Ok(Events { populated: !group.procs.is_empty(), frozen: group.frozen })
    }
    fn freeze(&self, folder: &Path, frozen: bool) -> Result<(), CgroupError> {
        self.group_step("freeze", folder)?.groups.entry(folder.into()).or_default().frozen = frozen;
        Ok(())
    }
    fn kill(&self, folder: &Path) -> Result<(), CgroupError> {
        self.group_step("kill", folder)?.groups.entry(folder.into()).or_default().procs.clear();
        Ok(())
    }
    fn tasks(&self, folder: &Path) -> Result<Vec<Task>, CgroupError> {
        let world = self.group_step("tasks", folder)?;
        Ok(world.groups[folder].procs.iter().map(|p| Task { tid: *p, ran: 7 }).collect())
    }
    fn pressure(&self, folder: &Path) -> Pressure {
        self.world().groups.get(folder).map_or_else(Pressure::default, |g| g.pressure)
    }
    fn used(&self, _folder: &Path) -> Used {
        Used { cpu_usec: 5, memory_peak: 6, ..Used::default() }
    }
    fn remove(&self, folder: &Path) -> Result<(), CgroupError> {
        let mut world = self.group_step("rmdir", folder)?;
        if world.groups[folder].procs.is_empty() {
            world.groups.remove(folder);
            return Ok(());
        }
        Err(CgroupError::Io { path: folder.into(), source: io::ErrorKind::ResourceBusy.into() })
    }
    fn shown(&self, folder: &Path) -> String {
        folder.strip_prefix("/fake").map_or_else(|_| String::new(), |p| format!("/{}", p.display()))
    }
    fn list(&self) -> Vec<PathBuf> {
        self.world().groups.keys().cloned().collect()
    }
    fn present(&self, folder: &Path) -> bool {
        self.world().groups.contains_key(folder)
    }
}
