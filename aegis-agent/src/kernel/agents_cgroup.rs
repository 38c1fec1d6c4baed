//! The cgroup above those of all agents. The programs that look at packets are attached to it: they are in force below it,
//! whatever is made and removed there, and cost the rest of the host nothing.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::KernelError;
use crate::mountinfo;

/// The cgroup, as it was when it was opened.
#[derive(Debug)]
pub struct AgentsCgroup {
    path: PathBuf,
    id: u64,
    folder: File,
}

impl AgentsCgroup {
    /// Opens it, by its name below the mount; makes it where there is none.
    pub fn open(name: &str) -> Result<Self, KernelError> {
        let table = Path::new("/proc/self/mountinfo");
        let mounts = mountinfo::read().map_err(|error| failed(table, error))?;
        let mount = mountinfo::cgroup2(&mounts).ok_or_else(|| failed(table, io::ErrorKind::NotFound.into()))?;
        Self::at(mount.join(name))
    }

    fn at(path: PathBuf) -> Result<Self, KernelError> {
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(&path, error)),
            _ => {}
        }
        let folder = File::open(&path).map_err(|error| failed(&path, error))?;
        let id = folder.metadata().map_err(|error| failed(&path, error))?.ino();
        Ok(Self { path, id, folder })
    }

    /// To attach to.
    pub const fn folder(&self) -> &File {
        &self.folder
    }

    /// Its number, which no other cgroup gets before the next boot.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// What to say where agents are governed that are not in it.
    pub fn is_another(&self) -> KernelError {
        KernelError::OtherAgents(self.path.clone())
    }

    /// Whether it is there still: of another one in its place no packet would be looked at.
    pub fn check(&self) -> Result<(), KernelError> {
        match fs::metadata(&self.path) {
            Ok(found) if found.ino() == self.id => Ok(()),
            _ => Err(KernelError::AgentsCgroup(self.path.clone())),
        }
    }
}

fn failed(path: &Path, source: io::Error) -> KernelError {
    KernelError::Cgroups { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_one_in_its_place_is_refused() {
        let mount = tempfile::tempdir().expect("folder");
        let path = mount.path().join("agents");
        let cgroup = AgentsCgroup::at(path.clone()).expect("made");
        assert_eq!(AgentsCgroup::at(path.clone()).expect("there").id(), cgroup.id());
        cgroup.check().expect("the same");
        fs::rename(&path, mount.path().join("old")).expect("away");
        assert!(matches!(cgroup.check(), Err(KernelError::AgentsCgroup(_))), "gone");
        fs::create_dir(&path).expect("another one");
        assert!(matches!(cgroup.check(), Err(KernelError::AgentsCgroup(_))), "another one");
    }
}
