//! A host made of data: what tests put questions to instead of a machine.
//!
//! Knows: mounts and the nodes of each filesystem. Must not know: the machine it runs on.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, HostError, HostView, Kind, Mount, Program};
use crate::path::AbsPath;
use crate::resolve::MountTable;

/// A file of a fake host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeNode {
    /// What it is.
    pub entry: Entry,
    /// Inode number; two names with the same number on one device are one file.
    pub ino: u64,
    /// Content of a program (a regular file with an execute bit), as its digest.
    pub program: Option<[u8; 32]>,
}

/// A host made of data. Names that were not put in do not exist.
#[derive(Clone, Debug, Default)]
pub struct FakeHost {
    mounts: Vec<Mount>,
    table: Option<MountTable>,
    nodes: BTreeMap<(u32, AbsPath), FakeNode>,
    /// Mounted directories and mount points.
    fixed: Vec<(u32, AbsPath)>,
}

impl FakeHost {
    /// A host with one filesystem (device 1) at `/`.
    #[must_use]
    pub fn new() -> Self {
        let mut host = Self::default();
        host.mount(1, "/", "/", "ext4");
        host
    }

    /// A host with the mount points of a usual Linux and the links of a merged `/usr`.
    #[must_use]
    pub fn linux() -> Self {
        let mut host = Self::new();
        for (dev, at, fs_type) in [
            (2, "/proc", "proc"),
            (3, "/sys", "sysfs"),
            (4, "/sys/fs/cgroup", "cgroup2"),
            (5, "/sys/fs/bpf", "bpf"),
            (6, "/dev", "devtmpfs"),
            (7, "/dev/pts", "devpts"),
            (8, "/dev/shm", "tmpfs"),
            (9, "/run", "tmpfs"),
        ] {
            host.mount(dev, "/", at, fs_type);
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            host.link(&format!("/{name}"), &format!("usr/{name}"));
            host.directory(&format!("/usr/{name}"));
        }
        host
    }

    /// Mounts directory `root` of device `dev` at `at`, over what is there.
    pub fn mount(&mut self, dev: u32, root: &str, at: &str, fs_type: &str) {
        let (root, at) = (path(root), path(at));
        let parent = self
            .table
            .as_ref()
            .and_then(|t| t.holder(&at).map(|m| m.id));
        let below = self.key(&at);
        for (dev, inner) in [(dev, root.clone())].into_iter().chain(below) {
            self.make_room(dev, &inner);
            self.nodes
                .retain(|key, node| *key != (dev, inner.clone()) || node.entry == Entry::Directory);
            self.fixed.push((dev, inner));
        }
        let id = u32::try_from(self.mounts.len())
            .unwrap_or(u32::MAX)
            .saturating_add(100);
        self.mounts.push(Mount {
            id,
            parent: parent.unwrap_or(1),
            dev,
            root,
            mount_point: at,
            fs_type: fs_type.to_owned(),
            root_is_exact: true,
        });
        self.table = MountTable::new(self.mounts.clone());
    }

    /// Puts in a node by host path. What stood in the place of a directory above it is gone, and
    /// so is what was below a directory that becomes something else. A mounted directory and its
    /// mount point stay what they are.
    pub fn put(&mut self, at: &str, node: FakeNode) {
        let Some((dev, inner)) = self.key(&path(at)) else {
            return;
        };
        if node.entry != Entry::Directory {
            if self
                .fixed
                .iter()
                .any(|(d, fixed)| *d == dev && inner.covers(fixed))
            {
                return;
            }
            self.nodes
                .retain(|(d, at), _| *d != dev || !inner.covers(at));
        }
        self.make_room(dev, &inner);
        self.nodes.insert((dev, inner), node);
    }

    /// Everything above a place is a directory.
    fn make_room(&mut self, dev: u32, inner: &AbsPath) {
        self.nodes.retain(|(d, at), node| {
            *d != dev || at == inner || !at.covers(inner) || node.entry == Entry::Directory
        });
    }

    /// A place that was not put in but must be a directory: something lies below it, or it is
    /// mounted somewhere.
    fn is_implied(&self, dev: u32, inner: &AbsPath) -> bool {
        self.nodes
            .keys()
            .any(|(d, at)| *d == dev && inner.covers(at))
            || self
                .fixed
                .iter()
                .any(|(d, fixed)| *d == dev && inner.covers(fixed))
    }

    /// Puts in a directory.
    pub fn directory(&mut self, at: &str) {
        self.put(
            at,
            FakeNode {
                entry: Entry::Directory,
                ino: 0,
                program: None,
            },
        );
    }

    /// Puts in a symbolic link.
    pub fn link(&mut self, at: &str, target: &str) {
        let entry = Entry::Symlink(target.as_bytes().to_vec());
        self.put(
            at,
            FakeNode {
                entry,
                ino: 0,
                program: None,
            },
        );
    }

    /// Puts in a regular file; equal inode numbers on one device are one file.
    pub fn file(&mut self, at: &str, ino: u64) {
        self.put(
            at,
            FakeNode {
                entry: Entry::File,
                ino,
                program: None,
            },
        );
    }

    /// Puts in a program.
    pub fn program(&mut self, at: &str, ino: u64, sha256: [u8; 32]) {
        self.put(
            at,
            FakeNode {
                entry: Entry::File,
                ino,
                program: Some(sha256),
            },
        );
    }

    /// Inode number of the file at a host path, when it has more than one link.
    #[must_use]
    pub fn linked(&self, at: &AbsPath) -> Option<u64> {
        let (dev, inner) = self.key(at)?;
        let node = self.nodes.get(&(dev, inner))?;
        self.is_linked(dev, node).then_some(node.ino)
    }

    fn is_linked(&self, dev: u32, node: &FakeNode) -> bool {
        node.entry == Entry::File
            && self
                .nodes
                .iter()
                .filter(|((d, _), n)| *d == dev && n.ino == node.ino)
                .count()
                > 1
    }

    fn key(&self, at: &AbsPath) -> Option<(u32, AbsPath)> {
        let place = self.table.as_ref()?.place(at)?;
        Some((place.dev, AbsPath::from_components(place.components)))
    }

    /// The nodes at or below a host path, inside its filesystem.
    fn below<'a>(
        &'a self,
        at: &AbsPath,
    ) -> impl Iterator<Item = (&'a (u32, AbsPath), &'a FakeNode)> {
        let key = self.key(at);
        self.nodes.iter().filter(move |((dev, inner), _)| {
            key.as_ref()
                .is_some_and(|(d, top)| d == dev && top.covers(inner))
        })
    }
}

impl HostView for FakeHost {
    fn mounts(&self) -> Result<Vec<Mount>, HostError> {
        Ok(self.mounts.clone())
    }

    fn entry(&self, path: &AbsPath) -> Result<Option<Entry>, HostError> {
        let Some((dev, inner)) = self.key(path) else {
            return Ok(None);
        };
        let implied = self.is_implied(dev, &inner).then_some(Entry::Directory);
        let node = self.nodes.get(&(dev, inner));
        Ok(node.map(|n| n.entry.clone()).or(implied))
    }

    fn list(&self, path: &AbsPath, limit: usize) -> Result<Vec<(Vec<u8>, Kind)>, HostError> {
        if self.entry(path)? != Some(Entry::Directory) {
            return Ok(Vec::new());
        }
        let Some((dev, top)) = self.key(path) else { return Ok(Vec::new()) };
        let places = self.nodes.keys().chain(&self.fixed);
        let names: BTreeSet<&Vec<u8>> = places
            .filter(|(d, at)| *d == dev && top.covers(at))
            .filter_map(|(_, at)| at.below(&top).first())
            .collect();
        let mut found = Vec::new();
        for name in names {
            let entry = self.entry(&path.join(name))?;
            found.extend(entry.map(|entry| (name.clone(), Kind::of(&entry))));
        }
        bounded(found, path, limit, "names")
    }

    fn linked_files(&self, path: &AbsPath, limit: usize) -> Result<Vec<u64>, HostError> {
        let found: Vec<u64> = self
            .below(path)
            .filter(|((dev, _), node)| self.is_linked(*dev, node))
            .map(|(_, node)| node.ino)
            .collect();
        bounded(found, path, limit, "files with several links")
    }

    fn programs(&self, path: &AbsPath, limit: usize) -> Result<Vec<Program>, HostError> {
        let found: Vec<Program> = self
            .below(path)
            .filter_map(|((_, inner), n)| {
                n.program.map(|sha256| Program {
                    path: inner.clone(),
                    sha256,
                })
            })
            .collect();
        bounded(found, path, limit, "programs")
    }
}

fn bounded<T>(
    found: Vec<T>,
    path: &AbsPath,
    limit: usize,
    what: &'static str,
) -> Result<Vec<T>, HostError> {
    if found.len() > limit {
        return Err(HostError::TooMany {
            path: path.to_string(),
            limit,
            what,
        });
    }
    Ok(found)
}

/// Paths of a fake host are written by tests; an odd one is `/`, which fails the test that uses it.
fn path(text: &str) -> AbsPath {
    AbsPath::parse(text.as_bytes()).unwrap_or_default()
}
