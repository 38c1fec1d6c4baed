//! What a record from the kernel means on this host: which program, which user, which path, when.
//!
//! Knows processes, users, mounts and cgroups. Knows nothing of agents, policies or the log.

mod cgroups;
mod mounts;
mod procfs;
mod tree;
mod users;

use std::{net::Ipv6Addr, path::PathBuf, sync::Arc};

use aegis_common::{
    environment,
    event::{EventHeader, flag, reason, verdict},
    net::Traffic,
};

pub use self::{
    procfs::{Found, Procfs, RealProcfs},
    tree::{Key, Node, Tree},
};
use self::{cgroups::CgroupNames, mounts::Mounts, users::Users};
use crate::{
    clock::Moment,
    mountinfo::{self, Mount},
    proto::event::{self as entry, Dns, Exec, Exit, File, Guard, InAgent, Kind, Network, Process, event},
    record::{Detail, Enriched, KernelEvent, NO_LOGIN},
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

    /// Tells one record in terms of the host, and of the mounts `own` that its agent sees, where these are others.
    /// `None` for records that only keep the tree.
    pub fn enrich(&mut self, event: KernelEvent, own: Option<&[Mount]>) -> Option<Enriched> {
        let header = event.header;
        let in_agent = own.and_then(|own| in_agent(&header, &event.detail, own));
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
            Detail::Exec { dev, ino, path, argv, environment } => {
                let path = self.path(&header, dev, &path);
                if header.verdict <= verdict::AUDIT {
                    self.tree.executed(key, &path, &argv);
                }
                let argv_cut = header.flags & (flag::ARGV_CUT | flag::ARGV_UNREAD) != 0;
                let exec = Exec {
                    path,
                    argv,
                    argv_cut,
                    dev: u64::from(dev),
                    ino,
                    environment: environment::known(environment).map(Into::into).collect(),
                    environment_cut: environment & environment::NOT_ALL_READ != 0,
                };
                (Kind::Exec, event::Detail::Exec(exec))
            }
            Detail::Exit { status } => (Kind::Exit, event::Detail::Exit(exit(status, &header))),
            Detail::File { dev, ino, path, target_dev, target, argv, variable } => {
                let path = self.path(&header, dev, &path);
                let target =
                    if target.is_empty() { target } else { self.path(&header, target_dev, &target) };
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
                    variable,
                };
                (Kind::File, event::Detail::File(file))
            }
            Detail::Dns { resolver, kind, name, addresses, taken_us } => {
                let shown = |address: [u8; 16]| Ipv6Addr::from(address).to_canonical().to_string();
                let dns = Dns {
                    op: words::op(header.op).to_owned(),
                    name: words::host_name(&name),
                    r#type: words::record_type(kind),
                    resolver: shown(resolver),
                    answers: addresses.into_iter().map(shown).collect(),
                    errno: u32::from(header.errno),
                    duration_ns: u64::from(taken_us) * 1_000,
                };
                (Kind::Dns, event::Detail::Dns(dns))
            }
            Detail::Network { address, port, protocol, name, connection, .. } => {
                let network = Network {
                    op: words::op(header.op).to_owned(),
                    address: Ipv6Addr::from(address).to_canonical().to_string(),
                    port: u32::from(port),
                    protocol: words::protocol(protocol),
                    name: words::host_name(&name),
                    errno: u32::from(header.errno),
                    traffic: connection.map(|how| traffic(&how.passed)),
                    start_time: connection.map_or(0, |how| self.wall_of(how.opened)),
                    local_port: connection.map_or(0, |how| how.local_port.into()),
                    direction: connection.map_or("", |how| words::direction(how.inbound)).to_owned(),
                };
                (Kind::Network, event::Detail::Network(network))
            }
            Detail::Unix { dev, path } => {
                let address = match path.split_first() {
                    Some((0, name)) => format!("@{}", words::text(name)),
                    _ if dev == 0 => words::text(&path),
                    _ => words::text(&self.path(&header, dev, &path)),
                };
                let network = Network {
                    op: words::op(header.op).to_owned(),
                    address,
                    protocol: "unix".to_owned(),
                    errno: u32::from(header.errno),
                    ..Network::default()
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
        Some(Enriched { kind: kind as u32, time: self.moment.wall_of(header.boottime), header, process, detail, in_agent })
    }

    fn path(&mut self, header: &EventHeader, dev: u32, inside: &[u8]) -> Vec<u8> {
        if is_unknown(header, inside) { Vec::new() } else { self.mounts.host_path(dev, inside) }
    }

    fn process(&mut self, key: Key, header: &EventHeader, cgroup: &Arc<str>) -> Process {
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
            login_uid: node.map_or(NO_LOGIN, |n| n.login_uid),
        }
    }
}

/// Whether a path is not told because it could not be followed: it is no name of a filesystem's root.
fn is_unknown(header: &EventHeader, inside: &[u8]) -> bool {
    let reasons = [
        reason::KILLED,
        reason::UNCONFIGURED,
        reason::TOO_DEEP,
        reason::PATH_CHANGED,
        reason::DISCONNECTED,
        reason::READ_FAILED,
    ];
    inside.is_empty() && reasons.contains(&header.reason)
}

/// What an agent calls the files that a record is about.
fn in_agent(header: &EventHeader, detail: &Detail, own: &[Mount]) -> Option<InAgent> {
    let name = |dev, path: &[u8]| {
        let known = !is_unknown(header, path);
        known.then(|| mountinfo::host_path(own, dev, path)).flatten().unwrap_or_default()
    };
    Some(match detail {
        Detail::Exec { dev, path, .. } => InAgent { path: name(*dev, path), target: Vec::new() },
        Detail::Unix { dev, path } if *dev != 0 => InAgent { path: name(*dev, path), target: Vec::new() },
        Detail::File { dev, path, target_dev, target, .. } => {
            let target = if target.is_empty() { Vec::new() } else { name(*target_dev, target) };
            InAgent { path: name(*dev, path), target }
        }
        _ => return None,
    })
}

/// What went over sockets, as entries have it.
#[must_use]
pub const fn traffic(passed: &Traffic) -> entry::Traffic {
    entry::Traffic {
        bytes_out: passed.bytes_out,
        packets_out: passed.packets_out,
        bytes_in: passed.bytes_in,
        packets_in: passed.packets_in,
    }
}

fn comm(bytes: &[u8; 16]) -> Vec<u8> {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    bytes[..end].to_vec()
}

fn exit(status: u32, header: &EventHeader) -> Exit {
    Exit {
        code: i32::try_from(status >> 8 & 0xff).unwrap_or(0),
        signal: status & 0x7f,
        duration_ns: header.boottime.saturating_sub(header.start),
    }
}

#[cfg(test)]
mod tests;
