//! What a record from the kernel means on this host: which program, which user, which path, when.
//!
//! Knows processes, users, mounts and cgroups. Knows nothing of agents, policies or the log.

mod cgroups;
mod mounts;
mod procfs;
mod tree;
mod users;

use std::{net::Ipv6Addr, path::PathBuf, sync::Arc};

use aegis_common::event::{flag, verdict};

pub use self::{
    procfs::{Found, Procfs, RealProcfs},
    tree::{Key, Node, Tree},
};
use self::{cgroups::CgroupNames, mounts::Mounts, users::Users};
use crate::{
    clock::Moment,
    proto::event::{Exec, Exit, File, Guard, Kind, Network, Process, event},
    record::{Detail, Enriched, KernelEvent},
    words,
};

/// Keeps what is known of the host between records. One thread owns it.
pub struct Enricher {
    tree: Tree,
    mounts: Mounts,
    users: Users,
    cgroups: CgroupNames,
    moment: Moment,
}

impl Enricher {
    /// `cgroup_mount` is where cgroup v2 is mounted, if it is.
    #[must_use]
    pub fn new(cgroup_mount: Option<PathBuf>, procfs: Box<dyn Procfs + Send>) -> Self {
        Self {
            tree: Tree::new(procfs),
            mounts: Mounts::of_this_process(),
            users: Users::default(),
            cgroups: CgroupNames::new(cgroup_mount),
            moment: Moment::now(),
        }
    }

    /// To be called before each batch: reads the clocks, and the mounts when they changed.
    pub fn begin_batch(&mut self) {
        self.moment = Moment::now();
        self.mounts.refresh_if_changed();
    }

    /// Wall-clock time of a moment since boot.
    #[must_use]
    pub const fn wall_of(&self, boottime: u64) -> u64 {
        self.moment.wall_of(boottime)
    }

    /// Tells one record in terms of the host. `None` for records that only keep the tree.
    pub fn enrich(&mut self, event: KernelEvent) -> Option<Enriched> {
        let header = event.header;
        let key = Key { pid: header.pid, start: header.start };
        let cgroup = self.cgroups.name(header.cgroup);
        self.tree.seen(key, header.ppid, &cgroup);

        let (kind, detail) = match event.detail {
            Detail::Fork { child_pid, child_start } => {
                self.tree.forked(key, Key { pid: child_pid, start: child_start });
                return None;
            }
            Detail::Cgroup { .. } => {
                self.cgroups.changed();
                return None;
            }
            Detail::Exec { dev, ino, path, argv } => {
                let path = self.mounts.host_path(dev, &path);
                if header.verdict <= verdict::AUDIT {
                    self.tree.executed(key, &path, &argv);
                }
                let argv_cut = header.flags & (flag::ARGV_CUT | flag::ARGV_UNREAD) != 0;
                (Kind::Exec, event::Detail::Exec(Exec { path, argv, argv_cut, dev: u64::from(dev), ino }))
            }
            Detail::Exit { status } => (Kind::Exit, event::Detail::Exit(exit(status, &header))),
            Detail::File { dev, ino, path, target_dev, target, argv } => {
                let path = self.mounts.host_path(dev, &path);
                let target =
                    if target.is_empty() { target } else { self.mounts.host_path(target_dev, &target) };
                let file = File {
                    op: words::op(header.op).to_owned(),
                    path,
                    target,
                    dev: u64::from(dev),
                    ino,
                    errno: u32::from(header.errno),
                    path_cut: header.flags & flag::PATH_CUT != 0,
                    argv,
                    argv_cut: header.flags & flag::ARGV_CUT != 0,
                };
                (Kind::File, event::Detail::File(file))
            }
            Detail::Network { address, port, protocol, .. } => {
                let network = Network {
                    op: words::op(header.op).to_owned(),
                    address: Ipv6Addr::from(address).to_canonical().to_string(),
                    port: u32::from(port),
                    protocol: words::protocol(protocol),
                    name: String::new(),
                    errno: u32::from(header.errno),
                };
                (Kind::Network, event::Detail::Network(network))
            }
            Detail::Unix { dev, path } => {
                let address = match path.split_first() {
                    Some((0, name)) => format!("@{}", words::text(name)),
                    _ if dev == 0 => words::text(&path),
                    _ => words::text(&self.mounts.host_path(dev, &path)),
                };
                let network = Network {
                    op: words::op(header.op).to_owned(),
                    address,
                    port: 0,
                    protocol: "unix".to_owned(),
                    name: String::new(),
                    errno: u32::from(header.errno),
                };
                (Kind::Network, event::Detail::Network(network))
            }
            Detail::Guard { subject, detail } => {
                let guard = Guard {
                    op: words::op(header.op).to_owned(),
                    subject: words::guard_subject(header.op, subject, detail),
                    errno: u32::from(header.errno),
                };
                (Kind::Guard, event::Detail::Guard(guard))
            }
        };
        let process = self.process(key, &header, &cgroup);
        if kind == Kind::Exit && header.pid == header.tid {
            self.tree.exited(key);
        }
        Some(Enriched { kind: kind as u32, time: self.moment.wall_of(header.boottime), header, process, detail })
    }

    fn process(&mut self, key: Key, header: &aegis_common::event::EventHeader, cgroup: &Arc<str>) -> Process {
        let ancestors = self.tree.ancestors(key);
        let node = self.tree.get(key);
        Process {
            pid: header.pid,
            tid: header.tid,
            ppid: header.ppid,
            uid: header.uid,
            gid: header.gid,
            start: header.start,
            comm: comm(&header.comm),
            exe: node.map(|n| n.exe.to_vec()).unwrap_or_default(),
            argv: node.map(|n| n.argv.to_vec()).unwrap_or_default(),
            user: self.users.name(header.uid),
            cgroup: cgroup.to_string(),
            ancestors,
            login_uid: node.map_or(u32::MAX, |n| n.login_uid),
        }
    }
}

fn comm(bytes: &[u8; 16]) -> Vec<u8> {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    bytes[..end].to_vec()
}

fn exit(status: u32, header: &aegis_common::event::EventHeader) -> Exit {
    Exit {
        code: i32::try_from(status >> 8 & 0xff).unwrap_or(0),
        signal: status & 0x7f,
        duration_ns: header.boottime.saturating_sub(header.start),
    }
}

#[cfg(test)]
mod tests;
