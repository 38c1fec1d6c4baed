//! Host paths as strings: where they lie, where links lead.
//!
//! Written apart from `resolve` on purpose. Mounts are taken in the order of the table: the last
//! one whose mount point is above a path holds it. Links are followed by replacing text.

use std::collections::BTreeSet;

use super::globs::{Rest, fully, rests, taken};
use crate::host::{Entry, HostError, HostView, Kind, Mount};
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

    /// The components of `other` below this.
    fn down_to(&self, other: &Self) -> Vec<Vec<u8>> {
        below(&self.inner, &other.inner)
    }
}

/// The components of `path` below `above`.
fn below(above: &[u8], path: &[u8]) -> Vec<Vec<u8>> {
    let rest = path.get(above.len()..).unwrap_or_default();
    rest.split(|b| *b == b'/').filter(|p| !p.is_empty()).map(<[u8]>::to_vec).collect()
}

/// Where a rule holds: at a spot, or where the rest of its glob leads from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) at: Spot,
    /// All that the glob has behind its plain part, as it tells it from other globs.
    glob: Rest,
    /// What of it is left here; empty for a plain path.
    rest: Rest,
}

impl Held {
    pub(super) fn is_plain(&self) -> bool {
        self.rest.is_empty()
    }

    /// The depths at which this is an entry on the way to a name.
    pub(super) fn depths(&self, name: &Spot) -> Vec<usize> {
        if !self.at.is_at_or_above(name) {
            return Vec::new();
        }
        let names = self.at.down_to(name);
        let depth = self.at.depth();
        (0..=names.len())
            .filter(|n| if self.is_plain() { *n == 0 } else { fully(&self.rest, names.get(..*n).unwrap_or_default()) })
            .map(|n| depth + n)
            .collect()
    }

    /// What is left of the glob for the names below one.
    pub(super) fn below(&self, name: &Spot) -> Vec<(&Rest, Rest)> {
        if self.is_plain() || !self.at.is_at_or_above(name) {
            return Vec::new();
        }
        let left = rests(&self.rest, &self.at.down_to(name));
        left.into_iter().filter(|rest| !rest.is_empty()).map(|rest| (&self.glob, rest)).collect()
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
    writes: Vec<Held>,
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

    /// A path's own spot and the roots of all that is mounted below, as far as a glob leads there.
    fn held(&self, path: &[u8], glob: &Rest, left: &[Rest], exact_only: bool) -> Vec<Held> {
        let mut out = Vec::new();
        let mut add = |at: &Spot, left: Vec<Rest>| {
            out.extend(left.into_iter().map(|rest| Held { at: at.clone(), glob: glob.clone(), rest }));
        };
        let own = self.holder(path).and_then(|n| self.mounts.get(n));
        if own.is_none_or(|(.., m)| m.root_is_exact || !exact_only) {
            add(&self.spot(path), left.to_vec());
        }
        for mount in self.mounts_below(path).into_iter().filter(|m| m.root_is_exact || !exact_only) {
            let root = Spot { dev: mount.dev, inner: mount.root.to_bytes() };
            add(&root, left_behind(left, &below(path, &mount.mount_point.to_bytes())));
        }
        out
    }

    /// The readings of a path: the last name as written, and everything followed; with each, the
    /// links on the way.
    pub(super) fn readings(&self, host: &dyn HostView, path: &[u8]) -> Result<Vec<Reading>, HostError> {
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
        glob: &Rest,
    ) -> Result<(), HostError> {
        let all = std::slice::from_ref(glob);
        let mut held = self.held(path, glob, all, false);
        for (reading, _) in self.readings(host, path)? {
            held.extend(self.held(&reading, glob, all, false));
        }
        self.writes.extend(held);
        Ok(())
    }

    /// Whether the agent could have made the thing at this name.
    fn agent_made(&self, path: &[u8]) -> bool {
        let spot = self.spot(path);
        self.writes
            .iter()
            .any(|w| !w.depths(&spot).is_empty() && (!w.is_plain() || w.at != spot))
    }

    /// Where an allow for a path and what follows it holds: not behind links that the agent could have
    /// made.
    pub(super) fn allowed_at(
        &self,
        host: &dyn HostView,
        path: &[u8],
        glob: &Rest,
    ) -> Result<Vec<Held>, HostError> {
        let mut out = Vec::new();
        for (reading, links) in self.readings(host, path)? {
            let trusted = !links.iter().any(|link| self.agent_made(link));
            let at = if trusted { &reading } else { path };
            out.extend(self.held(at, glob, std::slice::from_ref(glob), true));
        }
        Ok(out)
    }

    /// Where a deny for a path and what follows it holds, and the files that it matches now.
    pub(super) fn denied_at(&self, host: &dyn HostView, path: &[u8], glob: &Rest) -> Result<Denied, HostError> {
        let mut out = Denied::default();
        let mut waiting = Vec::new();
        for (reading, links) in self.readings(host, path)? {
            out.held.extend(self.held(&reading, glob, std::slice::from_ref(glob), false));
            if !self.is_untrusted_directory(host, &reading, &links)? {
                waiting.push((reading, vec![glob.clone()]));
            }
        }
        let mut seen = BTreeSet::new();
        while let Some((at, left)) = waiting.pop() {
            if left.is_empty() || !seen.insert((at.clone(), left.clone())) {
                continue;
            }
            if left.iter().any(Vec::is_empty) {
                out.found.push(at);
                continue;
            }
            // What is mounted below goes on by itself.
            for mount in self.mounts_below(&at) {
                let point = mount.mount_point.to_bytes();
                let left = left_behind(&left, &below(&at, &point));
                waiting.push((point, left));
            }
            let own = self.holder(&at).and_then(|n| self.mounts.get(n));
            let Ok(folder) = AbsPath::parse(&at) else { continue };
            if own.is_none_or(|(.., m)| !has_content(m)) {
                continue;
            }
            for (name, kind) in host.list(&folder, usize::MAX)? {
                let path = folder.join(&name).to_bytes();
                // One that is hidden itself hides nothing.
                if self.holder(&path).and_then(|n| self.mounts.get(n)).is_some_and(|(point, ..)| *point == path) {
                    continue;
                }
                if kind != Kind::Symlink {
                    waiting.push((path, left_behind(&left, std::slice::from_ref(&name))));
                    continue;
                }
                let mut behind: Vec<Rest> = left.iter().filter_map(|rest| taken(rest, &name)).collect();
                if behind.is_empty() {
                    continue;
                }
                if behind.iter().any(Vec::is_empty) {
                    behind = vec![Rest::new()];
                }
                let (target, links) = follow(host, &path)?;
                out.held.extend(self.held(&target, glob, &behind, false));
                if !self.is_untrusted_directory(host, &target, &links)? {
                    waiting.push((target, behind));
                }
            }
        }
        Ok(out)
    }

    /// Whether a path is a directory that was reached by links which the agent could have made.
    fn is_untrusted_directory(&self, host: &dyn HostView, path: &[u8], links: &[Vec<u8>]) -> Result<bool, HostError> {
        Ok(links.iter().any(|link| self.agent_made(link))
            && match AbsPath::parse(path) {
                Ok(at) => host.entry(&at)? == Some(Entry::Directory),
                Err(_) => false,
            })
    }

    /// Every place from which files at or below a path are found: the path and all mounts below.
    fn starts(&self, path: &[u8]) -> Vec<(AbsPath, u32)> {
        let own = self.holder(path).and_then(|n| self.mounts.get(n)).map(|(.., m)| (path.to_vec(), m));
        let below = self.mounts_below(path).into_iter().map(|m| (m.mount_point.to_bytes(), m));
        own.into_iter()
            .chain(below)
            .filter(|(_, mount)| has_content(mount))
            .filter_map(|(at, mount)| AbsPath::parse(&at).ok().zip(Some(mount.dev)))
            .collect()
    }

    /// The files with several links below a path.
    pub(super) fn linked_files(
        &self,
        host: &dyn HostView,
        path: &[u8],
    ) -> Result<Vec<(u32, u64)>, HostError> {
        let mut out = Vec::new();
        for (at, dev) in self.starts(path) {
            out.extend(
                host.linked_files(&at, usize::MAX)?
                    .into_iter()
                    .map(|ino| (dev, ino)),
            );
        }
        Ok(out)
    }

    /// The spot of a file, wherever links lead; none when there is no such file.
    pub(super) fn file(&self, host: &dyn HostView, path: &[u8]) -> Result<Option<Spot>, HostError> {
        let (reading, _) = follow(host, path)?;
        match AbsPath::parse(&reading) {
            Ok(at) if host.entry(&at)? == Some(Entry::File) => Ok(Some(self.spot(&reading))),
            _ => Ok(None),
        }
    }

    /// The contents of the programs below a path.
    pub(super) fn programs(
        &self,
        host: &dyn HostView,
        path: &[u8],
    ) -> Result<Vec<[u8; 32]>, HostError> {
        let mut out = Vec::new();
        for (at, _) in self.starts(path) {
            out.extend(
                host.programs(&at, usize::MAX)?
                    .into_iter()
                    .map(|p| p.sha256),
            );
        }
        Ok(out)
    }
}

/// Where a deny holds, and the files and directories that it means now.
#[derive(Default)]
pub(super) struct Denied {
    pub(super) held: Vec<Held>,
    pub(super) found: Vec<Vec<u8>>,
}

fn has_content(mount: &Mount) -> bool {
    !NO_CONTENT.split(' ').any(|t| t == mount.fs_type)
}

/// What is left of a glob behind some components: nothing alone where it matches them.
fn left_behind(left: &[Rest], names: &[Vec<u8>]) -> Vec<Rest> {
    let mut out: Vec<Rest> = left.iter().flat_map(|rest| rests(rest, names)).collect();
    out.sort();
    out.dedup();
    if out.iter().any(Vec::is_empty) { vec![Rest::new()] } else { out }
}

/// A reading of a path, and the links that were followed on the way.
pub(super) type Reading = (Vec<u8>, Vec<Vec<u8>>);

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
