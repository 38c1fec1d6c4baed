//! The processes of the governed cgroups: kept by exec, fork and exit records, filled from `/proc`
//! for those that began earlier.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::procfs::{Procfs, same_start};
use crate::record::NO_LOGIN;

/// Processes kept that have ended: records of other processors about them may still come.
const ENDED_KEPT: usize = 4_096;
/// Processes kept in all; beyond it the tree starts anew from `/proc`.
const KEPT: usize = 262_144;
/// Ancestors told of a process.
const ANCESTORS: usize = 32;

/// One process: a process id is used again, with its start it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Process id.
    pub pid: u32,
    /// Start, nanoseconds since boot.
    pub start: u64,
}

/// What is known of a process.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Program, a host path.
    pub exe: Arc<[u8]>,
    /// Arguments.
    pub argv: Arc<[Vec<u8>]>,
    /// Parent's process id.
    pub ppid: u32,
    /// Cgroup.
    pub cgroup: Arc<str>,
    /// Login uid, `u32::MAX` when unset.
    pub login_uid: u32,
}

/// The processes.
pub struct Tree {
    nodes: HashMap<Key, Node>,
    /// The running process of each id.
    current: HashMap<u32, Key>,
    ended: VecDeque<Key>,
    procfs: Box<dyn Procfs + Send>,
}

impl Tree {
    /// An empty tree.
    #[must_use]
    pub fn new(procfs: Box<dyn Procfs + Send>) -> Self {
        Self { nodes: HashMap::new(), current: HashMap::new(), ended: VecDeque::new(), procfs }
    }

    /// What is known of a process.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&Node> {
        self.nodes.get(&key)
    }

    /// A record names this process: makes it known, with what `/proc` says when it is new.
    pub fn seen(&mut self, key: Key, ppid: u32, cgroup: &Arc<str>) {
        if let Some(node) = self.nodes.get_mut(&key) {
            node.ppid = ppid;
            if node.cgroup != *cgroup && !cgroup.is_empty() {
                node.cgroup = cgroup.clone();
            }
            return;
        }
        let found = self.procfs.find(key.pid).filter(|f| same_start(f, key)).unwrap_or_default();
        let known = !found.cgroup.is_empty();
        let node = Node {
            exe: found.exe.into(),
            argv: found.argv.into(),
            ppid,
            cgroup: if cgroup.is_empty() { found.cgroup.into() } else { cgroup.clone() },
            login_uid: if known { found.login_uid } else { NO_LOGIN },
        };
        self.insert(key, node);
    }

    /// A process made another: the child begins as a copy.
    pub fn forked(&mut self, parent: Key, child: Key) {
        let mut node = self.nodes.get(&parent).cloned().unwrap_or_default();
        node.ppid = parent.pid;
        self.insert(child, node);
    }

    /// A process runs another program from here on.
    pub fn executed(&mut self, key: Key, exe: &[u8], argv: &[Vec<u8>]) {
        if let Some(node) = self.nodes.get_mut(&key) {
            node.exe = exe.into();
            node.argv = argv.into();
        }
    }

    /// A process ended. It is kept for a while.
    pub fn exited(&mut self, key: Key) {
        if self.current.get(&key.pid) == Some(&key) {
            self.current.remove(&key.pid);
        }
        self.ended.push_back(key);
        while self.ended.len() > ENDED_KEPT {
            if let Some(old) = self.ended.pop_front() {
                self.nodes.remove(&old);
            }
        }
    }

    /// Process ids from the parent up to the first process of the same agent.
    pub fn ancestors(&mut self, key: Key) -> Vec<u32> {
        let mut out = Vec::new();
        let Some(node) = self.nodes.get(&key) else { return out };
        let agent = agent_of(&node.cgroup).to_owned();
        let mut pid = node.ppid;
        while out.len() < ANCESTORS && pid > 1 && !out.contains(&pid) {
            let Some(parent) = self.running(pid) else { break };
            if agent_of(&parent.cgroup) != agent {
                break;
            }
            out.push(pid);
            pid = parent.ppid;
        }
        out
    }

    fn running(&mut self, pid: u32) -> Option<&Node> {
        if !self.current.contains_key(&pid) {
            let found = self.procfs.find(pid)?;
            let node = Node {
                exe: found.exe.into(),
                argv: found.argv.into(),
                ppid: found.ppid,
                cgroup: found.cgroup.into(),
                login_uid: found.login_uid,
            };
            self.insert(Key { pid, start: found.start }, node);
        }
        self.nodes.get(self.current.get(&pid)?)
    }

    fn insert(&mut self, key: Key, node: Node) {
        if self.nodes.len() >= KEPT {
            self.nodes.clear();
            self.current.clear();
            self.ended.clear();
        }
        if let Some(before) = self.current.insert(key.pid, key) {
            // The same process under the coarser start of /proc, or an earlier one of this id.
            if before != key {
                self.nodes.remove(&before);
            }
        }
        self.nodes.insert(key, node);
    }

    /// How many processes are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

/// The agent's own folder in a cgroup path: its first two components.
fn agent_of(cgroup: &str) -> &str {
    let end = cgroup.match_indices('/').nth(2).map_or(cgroup.len(), |(at, _)| at);
    &cgroup[..end]
}
