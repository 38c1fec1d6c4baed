//! Which mount a host path lies in, and which mounts lie below it.
//!
//! Knows: the tree of mounts. Must not know: links, rules.

use std::collections::BTreeMap;

use crate::host::Mount;
use crate::path::AbsPath;

/// A name inside a filesystem: what the kernel sees of a path, wherever it is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// `s_dev` of the filesystem.
    pub dev: u32,
    /// Components from the root of the filesystem.
    pub components: Vec<Vec<u8>>,
}

impl Place {
    /// Whether `self` is `other` or a directory above it in the same filesystem.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.dev == other.dev && other.components.starts_with(&self.components)
    }
}

/// The mounts of one namespace as a tree.
///
/// A path is followed as the kernel does: from the root mount downwards, stepping onto a mount
/// wherever one is mounted on the mount that the path has reached. A mount that another one hides
/// is so never entered.
#[derive(Clone, Debug)]
pub struct MountTable {
    mounts: Vec<Mount>,
    root: usize,
    /// (index of the mount below, where) -> index of the mount on top.
    on: BTreeMap<(usize, AbsPath), usize>,
    /// Mounts that a path can reach.
    visible: Vec<usize>,
}

impl MountTable {
    /// Builds the tree. `None` when no mount is the root.
    #[must_use]
    pub fn new(mounts: Vec<Mount>) -> Option<Self> {
        let index: BTreeMap<u32, usize> =
            mounts.iter().enumerate().map(|(n, m)| (m.id, n)).collect();
        let is_root = |m: &Mount| {
            m.mount_point.depth() == 0 && (m.parent == m.id || !index.contains_key(&m.parent))
        };
        let root = mounts.iter().position(is_root)?;
        let mut on = BTreeMap::new();
        for (n, mount) in mounts.iter().enumerate() {
            if let Some(&below) = index.get(&mount.parent).filter(|&&below| below != n) {
                on.insert((below, mount.mount_point.clone()), n);
            }
        }
        let mut table = Self {
            mounts,
            root,
            on,
            visible: Vec::new(),
        };
        let visible = (0..table.mounts.len()).filter(|&n| {
            table
                .mounts
                .get(n)
                .is_some_and(|m| table.find(&m.mount_point) == n)
        });
        table.visible = visible.collect();
        Some(table)
    }

    /// The mount on top of `start` at `at`: several can be stacked. Bounded by the number of
    /// mounts, whatever the table says.
    fn top(&self, start: usize, at: &AbsPath) -> usize {
        let mut current = start;
        for _ in 0..self.mounts.len() {
            match self.on.get(&(current, at.clone())) {
                Some(&next) => current = next,
                None => break,
            }
        }
        current
    }

    /// Index of the mount that holds a path.
    fn find(&self, path: &AbsPath) -> usize {
        let mut reached = AbsPath::root();
        let mut current = self.top(self.root, &reached);
        for component in path.components() {
            reached = reached.join(component);
            current = self.top(current, &reached);
        }
        current
    }

    /// The mount that holds a path. The path must have no links in it.
    #[must_use]
    pub fn holder(&self, path: &AbsPath) -> Option<&Mount> {
        self.mounts.get(self.find(path))
    }

    /// The place of a path. The path must have no links in it.
    #[must_use]
    pub fn place(&self, path: &AbsPath) -> Option<Place> {
        self.holder(path).map(|mount| place_in(mount, path))
    }

    /// The mounts that a path can reach strictly below `path`.
    pub fn below<'a>(&'a self, path: &'a AbsPath) -> impl Iterator<Item = &'a Mount> {
        self.visible
            .iter()
            .filter_map(|&n| self.mounts.get(n))
            .filter(move |m| path.covers(&m.mount_point) && m.mount_point.depth() > path.depth())
    }
}

/// Where a path lies in the mount that holds it.
fn place_in(mount: &Mount, path: &AbsPath) -> Place {
    let mut components = mount.root.components().to_vec();
    components.extend_from_slice(path.below(&mount.mount_point));
    Place {
        dev: mount.dev,
        components,
    }
}

#[cfg(test)]
mod tests {
    use super::MountTable;
    use crate::host::{FakeHost, HostView};
    use crate::path::AbsPath;

    fn table(mounts: &[(u32, &str, &str)]) -> MountTable {
        let mut host = FakeHost::new();
        for (dev, root, at) in mounts {
            host.mount(*dev, root, at, "tmpfs");
        }
        MountTable::new(host.mounts().unwrap()).unwrap()
    }

    fn place(table: &MountTable, path: &str) -> String {
        let place = table
            .place(&AbsPath::parse(path.as_bytes()).unwrap())
            .unwrap();
        format!(
            "{}:{}",
            place.dev,
            AbsPath::from_components(place.components)
        )
    }

    #[test]
    fn a_bind_mount_of_a_subdirectory_is_named_by_its_filesystem() {
        let t = table(&[(2, "/", "/data"), (2, "/sub", "/mnt/view")]);
        assert_eq!(place(&t, "/etc/x"), "1:/etc/x");
        assert_eq!(place(&t, "/data/sub/f"), "2:/sub/f");
        assert_eq!(place(&t, "/mnt/view/f"), "2:/sub/f");
        assert_eq!(place(&t, "/mnt"), "1:/mnt");
    }

    #[test]
    fn a_later_mount_above_hides_what_was_mounted_below_it() {
        let t = table(&[(2, "/", "/a/b"), (3, "/", "/a")]);
        assert_eq!(place(&t, "/a/b/f"), "3:/b/f");
        let a = AbsPath::parse(b"/").unwrap();
        let below: Vec<u32> = t.below(&a).map(|m| m.dev).collect();
        assert_eq!(below, [3]);
    }

    #[test]
    fn stacked_mounts_show_the_last_one() {
        let t = table(&[(2, "/", "/a"), (3, "/", "/a")]);
        assert_eq!(place(&t, "/a/f"), "3:/f");
    }

    #[test]
    fn a_table_that_is_a_circle_ends() {
        let mut mounts = FakeHost::new().mounts().unwrap();
        let first = mounts[0].clone();
        for id in 7..9 {
            let mut m = first.clone();
            (m.id, m.parent) = (id, 15 - id);
            mounts.push(m);
        }
        assert!(MountTable::new(mounts).is_some());
    }

    #[test]
    fn no_root_no_table() {
        assert!(MountTable::new(Vec::new()).is_none());
    }
}
