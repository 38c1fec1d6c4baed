//! Host paths as strings: where they lie, where links lead.
//!
//! Written apart from `resolve` on purpose. Mounts are taken in the order of the table: the last
//! one whose mount point is above a path holds it. Links are followed by replacing text.

use crate::host::{Entry, HostError, HostView, Mount};
use crate::path::AbsPath;

/// Links that are followed before a path counts as a circle.
const MOST_LINKS: usize = 40;
/// Filesystems without content of their own; hard links and programs are not looked for there.
const NO_CONTENT: &str =
    "proc sysfs cgroup cgroup2 bpf devpts debugfs tracefs securityfs configfs pstore efivarfs nsfs";

/// A device and a path inside its filesystem, as text: `/` or `/a/b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) dev: u32,
    inner: Vec<u8>,
}

impl Spot {
    pub(super) fn depth(&self) -> usize {
        if self.inner == b"/" {
            0
        } else {
            self.inner.iter().filter(|b| **b == b'/').count()
        }
    }

    pub(super) fn is_at_or_above(&self, other: &Self) -> bool {
        self.dev == other.dev && is_at_or_above(&self.inner, &other.inner)
    }
}

/// Whether `path` is `above` or lies below it.
fn is_at_or_above(above: &[u8], path: &[u8]) -> bool {
    above == b"/"
        || path == above
        || path.starts_with(above) && path.get(above.len()) == Some(&b'/')
}

/// `top` and the part of `path` below `above`.
fn graft(top: &[u8], above: &[u8], path: &[u8]) -> Vec<u8> {
    let rest = if above == b"/" {
        path
    } else {
        path.get(above.len()..).unwrap_or_default()
    };
    let rest = if rest == b"/" { b"" } else { rest };
    let mut out = if top == b"/" {
        Vec::new()
    } else {
        top.to_vec()
    };
    out.extend_from_slice(rest);
    if out.is_empty() { b"/".to_vec() } else { out }
}

/// The mount list and where the agent may write.
pub(super) struct Names {
    mounts: Vec<(Vec<u8>, Vec<u8>, Mount)>,
    writes: Vec<Spot>,
}

impl Names {
    pub(super) fn new(mounts: Vec<Mount>) -> Self {
        let with_text = |m: Mount| (m.mount_point.to_bytes(), m.root.to_bytes(), m);
        Self {
            mounts: mounts.into_iter().map(with_text).collect(),
            writes: Vec::new(),
        }
    }

    /// Which mount holds a path: the last one in the table at or above it.
    fn holder(&self, path: &[u8]) -> Option<usize> {
        self.mounts
            .iter()
            .rposition(|(at, ..)| is_at_or_above(at, path))
    }

    pub(super) fn spot(&self, path: &[u8]) -> Spot {
        match self.holder(path).and_then(|n| self.mounts.get(n)) {
            Some((at, root, mount)) => Spot {
                dev: mount.dev,
                inner: graft(root, at, path),
            },
            None => Spot {
                dev: u32::MAX,
                inner: path.to_vec(),
            },
        }
    }

    /// The mounts that show strictly below a path.
    fn mounts_below(&self, path: &[u8]) -> Vec<&Mount> {
        let shown = |(n, (at, ..)): &(usize, &(Vec<u8>, Vec<u8>, Mount))| {
            at != path && is_at_or_above(path, at) && self.holder(at) == Some(*n)
        };
        self.mounts
            .iter()
            .enumerate()
            .filter(shown)
            .map(|(_, (.., mount))| mount)
            .collect()
    }

    /// A path's own spot and the roots of all that is mounted below.
    fn spots(&self, path: &[u8], exact_only: bool) -> Vec<Spot> {
        let mut out = Vec::new();
        let own = self.holder(path).and_then(|n| self.mounts.get(n));
        if own.is_none_or(|(.., m)| m.root_is_exact || !exact_only) {
            out.push(self.spot(path));
        }
        for mount in self.mounts_below(path) {
            if mount.root_is_exact || !exact_only {
                out.push(Spot {
                    dev: mount.dev,
                    inner: mount.root.to_bytes(),
                });
            }
        }
        out
    }

    /// The readings of a path: the last name as written, and everything followed; with each, the
    /// links on the way.
    fn readings(&self, host: &dyn HostView, path: &[u8]) -> Result<Vec<Reading>, HostError> {
        let cut = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
        let (parent, name) = path.split_at(cut);
        let parent = if parent.is_empty() { b"/" } else { parent };
        let (mut as_written, links) = follow(host, parent)?;
        if name != b"/" {
            as_written = graft(&as_written, b"/", name);
        }
        Ok(vec![(as_written, links), follow(host, path)?])
    }

    /// Remembers where a rule lets the agent write, in every reading of its path.
    pub(super) fn agent_writes(
        &mut self,
        host: &dyn HostView,
        path: &[u8],
    ) -> Result<(), HostError> {
        let mut spots = self.spots(path, false);
        for (reading, _) in self.readings(host, path)? {
            spots.extend(self.spots(&reading, false));
        }
        self.writes.extend(spots);
        Ok(())
    }

    /// Whether the agent could have made the thing at this name.
    fn agent_made(&self, path: &[u8]) -> bool {
        let spot = self.spot(path);
        self.writes
            .iter()
            .any(|w| *w != spot && w.is_at_or_above(&spot))
    }

    /// Where a deny for a path holds.
    pub(super) fn denied_at(
        &self,
        host: &dyn HostView,
        path: &[u8],
    ) -> Result<Vec<Spot>, HostError> {
        let readings = self.readings(host, path)?;
        Ok(readings
            .iter()
            .flat_map(|(reading, _)| self.spots(reading, false))
            .collect())
    }

    /// Where an allow for a path holds: not behind links that the agent could have made.
    pub(super) fn allowed_at(
        &self,
        host: &dyn HostView,
        path: &[u8],
    ) -> Result<Vec<Spot>, HostError> {
        let mut out = Vec::new();
        for (reading, links) in self.readings(host, path)? {
            let trusted = !links.iter().any(|link| self.agent_made(link));
            out.extend(self.spots(if trusted { &reading } else { path }, true));
        }
        Ok(out)
    }

    /// Every place from which files at or below a path are found: the path and all mounts below.
    /// Not a directory behind a link that the agent could have made.
    fn starts(&self, host: &dyn HostView, path: &[u8]) -> Result<Vec<(AbsPath, u32)>, HostError> {
        let mut out = Vec::new();
        for (reading, links) in self.readings(host, path)? {
            if links.iter().any(|link| self.agent_made(link))
                && let Ok(at) = AbsPath::parse(&reading)
                && host.entry(&at)? == Some(Entry::Directory)
            {
                continue;
            }
            let own = self
                .holder(&reading)
                .and_then(|n| self.mounts.get(n))
                .map(|(.., m)| m);
            let own = own.map(|m| (reading.clone(), m));
            let below = self
                .mounts_below(&reading)
                .into_iter()
                .map(|m| (m.mount_point.to_bytes(), m));
            for (at, mount) in own.into_iter().chain(below) {
                let has_content = !NO_CONTENT.split(' ').any(|t| t == mount.fs_type);
                if let (true, Ok(at)) = (has_content, AbsPath::parse(&at)) {
                    out.push((at, mount.dev));
                }
            }
        }
        Ok(out)
    }

    /// The files with several links below a path.
    pub(super) fn linked_files(
        &self,
        host: &dyn HostView,
        path: &[u8],
    ) -> Result<Vec<(u32, u64)>, HostError> {
        let mut out = Vec::new();
        for (at, dev) in self.starts(host, path)? {
            out.extend(
                host.linked_files(&at, usize::MAX)?
                    .into_iter()
                    .map(|ino| (dev, ino)),
            );
        }
        Ok(out)
    }

    /// The contents of the programs below a path.
    pub(super) fn programs(
        &self,
        host: &dyn HostView,
        path: &[u8],
    ) -> Result<Vec<[u8; 32]>, HostError> {
        let mut out = Vec::new();
        for (at, _) in self.starts(host, path)? {
            out.extend(
                host.programs(&at, usize::MAX)?
                    .into_iter()
                    .map(|p| p.sha256),
            );
        }
        Ok(out)
    }
}

/// A reading of a path, and the links that were followed on the way.
type Reading = (Vec<u8>, Vec<Vec<u8>>);

/// Follows links by replacing, again and again, the shortest part of the path that is a link.
fn follow(host: &dyn HostView, path: &[u8]) -> Result<Reading, HostError> {
    let mut parts: Vec<Vec<u8>> = path.split(|b| *b == b'/').map(<[u8]>::to_vec).collect();
    let mut links = Vec::new();
    'again: loop {
        parts.retain(|p| !p.is_empty() && p != b".");
        for n in 0..parts.len() {
            if parts.get(n).is_some_and(|p| p == b"..") {
                parts.drain(n.saturating_sub(1)..=n);
                continue 'again;
            }
            let head = AbsPath::from_components(parts.iter().take(n + 1).cloned().collect());
            if let Some(Entry::Symlink(target)) = host.entry(&head)? {
                // A circle: the path stands for its own text.
                if links.len() == MOST_LINKS {
                    return Ok((path.to_vec(), Vec::new()));
                }
                links.push(head.to_bytes());
                let keep = if target.starts_with(b"/") { 0 } else { n };
                let tail = parts.split_off(n + 1);
                parts.truncate(keep);
                parts.extend(target.split(|b| *b == b'/').map(<[u8]>::to_vec));
                parts.extend(tail);
                continue 'again;
            }
        }
        return Ok((AbsPath::from_components(parts).to_bytes(), links));
    }
}
