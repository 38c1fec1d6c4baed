//! An agent's own TMPDIR: made for one run, removed after it.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// A folder that this engine made, known by its inode: another one under its name is not removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TmpDir {
    /// Where.
    pub path: PathBuf,
    dev: u64,
    ino: u64,
}

impl TmpDir {
    /// None: the agent uses its caller's.
    pub fn none() -> Self {
        Self { path: PathBuf::new(), dev: 0, ino: 0 }
    }

    /// Whether there is one.
    pub fn is_some(&self) -> bool {
        !self.path.as_os_str().is_empty()
    }

    /// Makes `parent/aegis-SESSION`, 0700, owned by the user.
    ///
    /// # Errors
    /// It could not be made: nothing is left.
    pub fn make(parent: &Path, session: &str, uid: u32, gid: u32) -> io::Result<Self> {
        let path = parent.join(format!("aegis-{session}"));
        // Fails where the name is taken: nobody can have put a link there.
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let made = || {
            let metadata = fs::symlink_metadata(&path)?;
            if metadata.uid() != uid || metadata.gid() != gid {
                std::os::unix::fs::lchown(&path, Some(uid), Some(gid))?;
            }
            Ok(Self { path: path.clone(), dev: metadata.dev(), ino: metadata.ino() })
        };
        made().inspect_err(|_| drop(fs::remove_dir(&path)))
    }

    /// Removes it with what is in it. Links are removed, not followed.
    ///
    /// # Errors
    /// Something of it is left, or another folder has its name.
    pub fn remove(&self) -> io::Result<()> {
        if !self.is_some() {
            return Ok(());
        }
        let metadata = match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        if (metadata.dev(), metadata.ino()) != (self.dev, self.ino) || !metadata.is_dir() {
            return Err(io::Error::other(format!(
                "{} is not the folder that was made for the agent; it was left alone",
                self.path.display()
            )));
        }
        fs::remove_dir_all(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn me() -> (u32, u32) {
        (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
    }

    #[test]
    fn it_is_private_and_goes_with_all_that_is_in_it() {
        let parent = tempfile::tempdir().expect("tempdir");
        let outside = parent.path().join("outside");
        fs::create_dir(&outside).expect("mkdir");
        fs::write(outside.join("kept"), "").expect("write");
        let (uid, gid) = me();
        let dir = TmpDir::make(parent.path(), "s1", uid, gid).expect("made");
        assert_eq!(fs::metadata(&dir.path).expect("stat").permissions().mode() & 0o7777, 0o700);
        assert!(TmpDir::make(parent.path(), "s1", uid, gid).is_err(), "the name is taken");
        symlink(&outside, dir.path.join("link")).expect("symlink");
        fs::create_dir_all(dir.path.join("a/b")).expect("mkdir");
        dir.remove().expect("removed");
        assert!(!dir.path.exists() && outside.join("kept").exists());
        dir.remove().expect("twice is no error");
    }

    #[test]
    fn another_folder_of_its_name_is_left_alone() {
        let parent = tempfile::tempdir().expect("tempdir");
        let (uid, gid) = me();
        let dir = TmpDir::make(parent.path(), "s1", uid, gid).expect("made");
        let other = parent.path().join("other");
        fs::create_dir(&other).expect("mkdir");
        fs::write(other.join("kept"), "").expect("write");
        fs::rename(&dir.path, parent.path().join("moved")).expect("rename");
        fs::rename(&other, &dir.path).expect("rename");
        assert!(dir.remove().is_err());
        assert!(dir.path.join("kept").exists());
        fs::remove_dir_all(&dir.path).expect("clean");
        symlink(parent.path().join("moved"), &dir.path).expect("symlink");
        assert!(dir.remove().is_err());
        assert!(parent.path().join("moved").exists());
    }
}
