//! Cgroup ids as paths. The id of a cgroup is the inode number of its folder.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::DirEntryExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::paths;

/// Names kept; beyond it the table starts anew.
const KEPT: usize = 65_536;
/// Folders looked at in one search, so that a hostile tree of cgroups costs a bounded time.
const SEARCHED: usize = 65_536;
/// A search for an id that was not found is not repeated sooner.
const AGAIN: Duration = Duration::from_millis(500);

/// Table from id to path below the mount.
#[derive(Debug)]
pub(super) struct CgroupNames {
    mount: Option<PathBuf>,
    names: HashMap<u64, Arc<str>>,
    unknown: Arc<str>,
    /// Ids that a search did not find, and when.
    missing: HashMap<u64, Instant>,
}

impl CgroupNames {
    pub(super) fn new(mount: Option<PathBuf>) -> Self {
        Self { mount, names: HashMap::new(), unknown: "".into(), missing: HashMap::new() }
    }

    /// A governed cgroup got a child: what was not found may be there now.
    pub(super) fn changed(&mut self) {
        self.missing.clear();
    }

    /// Path of a cgroup as `/proc/PID/cgroup` shows it, empty when it is not known.
    pub(super) fn name(&mut self, id: u64) -> Arc<str> {
        if let Some(name) = self.names.get(&id) {
            return name.clone();
        }
        if self.missing.get(&id).is_none_or(|at| at.elapsed() > AGAIN) {
            self.search();
            if !self.names.contains_key(&id) {
                if self.missing.len() >= KEPT {
                    self.missing.clear();
                }
                self.missing.insert(id, Instant::now());
            }
        }
        self.names.get(&id).unwrap_or(&self.unknown).clone()
    }

    fn search(&mut self) {
        let Some(mount) = self.mount.clone() else { return };
        if self.names.len() >= KEPT {
            self.names.clear();
        }
        let mut folders = vec![mount.join(paths::CGROUP)];
        let mut left = SEARCHED;
        while let Some(folder) = folders.pop() {
            // A folder that vanished meanwhile is no loss: its id cannot come again.
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                if !entry.file_type().is_ok_and(|t| t.is_dir()) {
                    continue;
                }
                left = left.saturating_sub(1);
                if left == 0 {
                    return;
                }
                let path = entry.path();
                self.names.insert(entry.ino(), shown(&mount, &path));
                folders.push(path);
            }
        }
    }
}

fn shown(mount: &Path, path: &Path) -> Arc<str> {
    let below = path.strip_prefix(mount).unwrap_or(path);
    format!("/{}", below.display()).into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_cgroup_made_later_is_found_by_its_inode() {
        let mount = tempfile::tempdir().expect("tempdir");
        let session = mount.path().join("aegis/s1");
        fs::create_dir_all(&session).expect("mkdir");
        let mut names = CgroupNames::new(Some(mount.path().into()));
        let id = fs::metadata(&session).expect("stat").ino();
        assert_eq!(&*names.name(id), "/aegis/s1");

        let child = session.join("child");
        fs::create_dir(&child).expect("mkdir");
        let id = fs::metadata(&child).expect("stat").ino();
        assert_eq!(&*names.name(id), "/aegis/s1/child");

        assert_eq!(&*names.name(1), "");
        assert_eq!(names.missing.len(), 1, "no second search for it so soon");
        names.changed();
        assert!(names.missing.is_empty());
    }
}
