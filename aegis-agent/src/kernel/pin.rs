//! Pins: what keeps maps and programs in force when the agent is gone.
//!
//! `maps/` holds the maps by name, `links/` the programs in force, `next/` those of an engine that is
//! just taking over. A new program is in force before the old one leaves: it is pinned in `next/`,
//! then the old pin is removed and the new one moved to its place. An engine that died in between
//! left some names in one folder and some in the other; the next engine finishes the move.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::programs::links::FdLink;
use nix::sys::statfs::{FsType, statfs};

use super::KernelError;

/// `BPF_FS_MAGIC`
const BPF_FS: FsType = FsType(0xcafe_4a11);

/// The pin folder.
#[derive(Debug)]
pub struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Opens or makes the folder, and finishes a move that was interrupted.
    pub fn open(root: &Path) -> Result<Self, KernelError> {
        let pins = Self { root: root.to_owned() };
        let parent = root.parent().unwrap_or(root);
        let on_bpffs = statfs(parent).is_ok_and(|stat| stat.filesystem_type() == BPF_FS);
        if !on_bpffs {
            return Err(KernelError::NotBpffs(parent.to_owned()));
        }
        for folder in [pins.maps(), pins.links(), pins.next()] {
            fs::create_dir_all(&folder).map_err(|source| pin_error("make", &folder, source))?;
        }
        pins.settle()?;
        Ok(pins)
    }

    /// Folder of the maps.
    pub fn maps(&self) -> PathBuf {
        self.root.join("maps")
    }

    fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    fn next(&self) -> PathBuf {
        self.root.join("next")
    }

    /// Pins a link of the engine that is starting.
    pub fn stage(&self, name: &str, link: FdLink) -> Result<(), KernelError> {
        let path = self.next().join(name);
        link.pin(&path).map(drop).map_err(|error| {
            pin_error("make", &path, io::Error::other(error.to_string()))
        })
    }

    /// Pin of a program in force.
    pub fn link(&self, name: &str) -> PathBuf {
        self.links().join(name)
    }

    /// Names of the programs in force.
    pub fn programs(&self) -> Result<Vec<String>, KernelError> {
        names(&self.links())
    }

    /// Pins of all maps, by name.
    pub fn map_pins(&self) -> Result<Vec<PathBuf>, KernelError> {
        let mut names = names(&self.maps())?;
        names.sort_unstable();
        Ok(names.into_iter().map(|name| self.maps().join(name)).collect())
    }

    /// Lets go of all maps.
    pub fn remove_maps(&self) -> Result<(), KernelError> {
        self.map_pins()?.iter().try_for_each(|path| remove(path))
    }

    /// Puts all staged links in the place of the old ones; old ones without a successor leave.
    pub fn promote(&self) -> Result<(), KernelError> {
        let staged = names(&self.next())?;
        for name in &staged {
            self.replace(name)?;
        }
        for name in names(&self.links())? {
            if !staged.contains(&name) {
                remove(&self.links().join(&name))?;
            }
        }
        Ok(())
    }

    /// Removes what was staged, after a start that failed.
    pub fn abandon(&self) -> Result<(), KernelError> {
        names(&self.next())?.iter().try_for_each(|name| remove(&self.next().join(name)))
    }

    /// Removes every pin and the folder.
    pub fn remove_all(&self) -> Result<(), KernelError> {
        for folder in [self.next(), self.links(), self.maps()] {
            for name in names(&folder)? {
                remove(&folder.join(name))?;
            }
            fs::remove_dir(&folder).map_err(|source| pin_error("remove", &folder, source))?;
        }
        fs::remove_dir(&self.root).map_err(|source| pin_error("remove", &self.root, source))
    }

    /// What an engine that died while it was taking over left staged: a program whose old pin is
    /// already gone is the one in force and moves up; one whose old pin stands is dropped.
    fn settle(&self) -> Result<(), KernelError> {
        for name in names(&self.next())? {
            let (staged, place) = (self.next().join(&name), self.links().join(&name));
            if place.exists() {
                remove(&staged)?;
            } else {
                fs::rename(&staged, &place).map_err(|source| pin_error("move", &staged, source))?;
            }
        }
        Ok(())
    }

    fn replace(&self, name: &str) -> Result<(), KernelError> {
        let (staged, place) = (self.next().join(name), self.links().join(name));
        if place.exists() {
            remove(&place)?;
        }
        fs::rename(&staged, &place).map_err(|source| pin_error("move", &staged, source))
    }
}

/// Programs that are pinned under `root`, whoever did it. One that an engine was just replacing counts once.
pub fn in_force(root: &Path) -> usize {
    let pins = Pins { root: root.to_owned() };
    let pinned = [pins.links(), pins.next()].into_iter().flat_map(|folder| names(&folder).unwrap_or_default());
    pinned.collect::<std::collections::BTreeSet<_>>().len()
}

fn names(folder: &Path) -> Result<Vec<String>, KernelError> {
    let read = || -> io::Result<Vec<String>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    };
    read().map_err(|source| pin_error("list", folder, source))
}

fn remove(path: &Path) -> Result<(), KernelError> {
    fs::remove_file(path).map_err(|source| pin_error("remove", path, source))
}

fn pin_error(action: &'static str, path: &Path, source: io::Error) -> KernelError {
    KernelError::Pin { action, path: path.to_owned(), source }
}
