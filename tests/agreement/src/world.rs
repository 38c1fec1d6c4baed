//! The files that are asked about: a random tree with links, hard links, another file system and a bind mount.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use fastrand::Rng;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::host::sha256;
use crate::manifest::NAMES;
use crate::question::{Operation, Question};

/// Directories below each other.
const DEPTH: usize = 6;
/// Different contents of the files, so that a banned one is met again.
const CONTENTS: u8 = 5;

/// What there is, by host paths without links.
pub struct World {
    base: PathBuf,
    mounts: Vec<String>,
    /// What a mount shows or covers: it stays, since the daemon follows the mount table.
    pub held: Vec<String>,
    /// Directories but the top.
    pub directories: Vec<String>,
    /// Regular files.
    pub files: Vec<String>,
    /// Names in some directory that nothing has.
    pub free: Vec<String>,
    /// Inode numbers of files with several links.
    pub linked: BTreeMap<String, u64>,
    /// SHA-256 of the files.
    pub contents: BTreeMap<String, [u8; 32]>,
}

impl World {
    /// Makes it anew. It stays the same until it is dropped: what is done to it is undone.
    pub fn make(base: &Path, rng: &mut Rng) -> Result<Self> {
        let (tmpfs, from, bind) = (base.join("d"), base.join("b"), base.join("c/a"));
        // Of a run that was killed.
        for old in [&bind, &tmpfs] {
            let _ = umount2(old, MntFlags::MNT_DETACH);
        }
        if base.exists() {
            fs::remove_dir_all(base).with_context(|| format!("clear {}", base.display()))?;
        }
        for folder in [&tmpfs, &from, &bind] {
            fs::create_dir_all(folder)?;
        }
        let mut world = Self {
            base: base.to_owned(),
            mounts: Vec::new(),
            held: [&tmpfs, &from, &bind].into_iter().map(|path| text(path)).collect::<Result<_>>()?,
            directories: Vec::new(),
            files: Vec::new(),
            free: Vec::new(),
            linked: BTreeMap::new(),
            contents: BTreeMap::new(),
        };
        mount(Some("tmpfs"), &tmpfs, Some("tmpfs"), MsFlags::empty(), None::<&str>).context("mount tmpfs")?;
        world.mounts.push(text(&tmpfs)?);
        let mut files = Vec::new();
        fill(base, 1, rng, &mut files)?;
        mount(Some(&from), &bind, None::<&str>, MsFlags::MS_BIND, None::<&str>).context("bind mount")?;
        world.mounts.push(text(&bind)?);
        world.look(base)?;
        Ok(world)
    }

    /// Notes what lies at `folder` and below.
    fn look(&mut self, folder: &Path) -> Result<()> {
        let mut taken = Vec::new();
        let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            taken.push(entry.file_name());
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() {
                self.directories.push(text(&path)?);
                self.look(&path)?;
            } else if kind.is_file() {
                let (name, metadata) = (text(&path)?, entry.metadata()?);
                self.contents.insert(name.clone(), sha256(&fs::read(&path)?)?);
                if metadata.nlink() > 1 {
                    self.linked.insert(name.clone(), metadata.ino());
                }
                self.files.push(name);
            }
        }
        for name in NAMES.into_iter().chain(["e"]).filter(|name| !taken.contains(&(*name).into())) {
            self.free.push(text(&folder.join(name))?);
        }
        Ok(())
    }

    /// Which content a file has.
    fn kind(&self, file: &str) -> Result<u8> {
        let digest = self.contents.get(file).with_context(|| format!("{file} is no file"))?;
        let same = |kind: &u8| sha256(&content(*kind)).is_ok_and(|of_kind| of_kind == *digest);
        (0..CONTENTS).find(same).with_context(|| format!("{file} has a content that no file has"))
    }

    /// Makes the world as it was before what was asked, and allowed, was done.
    pub fn undo(&self, question: &Question) -> Result<()> {
        let (path, to) = (Path::new(&question.path), Path::new(&question.to));
        let undone = match question.operation {
            Operation::Read | Operation::Write | Operation::ReadWrite | Operation::Execute => Ok(()),
            Operation::Truncate | Operation::Remove => write(path, self.kind(&question.path)?),
            Operation::Make => fs::remove_file(path),
            Operation::MakeDirectory => fs::remove_dir(path),
            Operation::Link => fs::remove_file(to),
            Operation::Rename => fs::rename(to, path),
        };
        undone.with_context(|| format!("undo {question}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for mount in self.mounts.iter().rev() {
            let _ = umount2(mount.as_str(), MntFlags::MNT_DETACH);
        }
        let _ = fs::remove_dir_all(&self.base);
    }
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).context("a name that is no text")
}

fn content(kind: u8) -> Vec<u8> {
    vec![kind, b'!']
}

fn write(path: &Path, kind: u8) -> io::Result<()> {
    fs::write(path, content(kind))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// Makes what is not there yet in a directory; `files` are those to which hard links may be made.
fn fill(folder: &Path, depth: usize, rng: &mut Rng, files: &mut Vec<PathBuf>) -> Result<()> {
    for name in NAMES {
        let path = folder.join(name);
        let dice = rng.u8(..20);
        if path.is_dir() || (depth < DEPTH && dice < 10) {
            fs::create_dir_all(&path)?;
            fill(&path, depth + 1, rng, files)?;
        } else if dice < 14 {
            write(&path, rng.u8(..CONTENTS))?;
            files.push(path);
        } else if dice < 17 {
            // Hard links across file systems do not come about.
            let other = rng.choice(files.iter());
            if other.is_none_or(|other| fs::hard_link(other, &path).is_err()) {
                write(&path, rng.u8(..CONTENTS))?;
            }
        } else if dice < 19 {
            let target = match rng.u8(..3) {
                0 => format!("../{}", NAMES[rng.usize(..4)]),
                1 => NAMES[rng.usize(..4)].to_owned(),
                _ => files.get(rng.usize(..=files.len())).unwrap_or(&path).display().to_string(),
            };
            symlink(target, &path)?;
        }
    }
    Ok(())
}
