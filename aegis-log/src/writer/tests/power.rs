//! What a disk may hold after the power went: of what was asked of it and not yet synced, each sector and each name is there
//! or not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::durable::fault::Done;

const SECTOR: usize = 512;

/// What the disk may hold after the power went.
#[derive(Default)]
pub(super) struct Cut {
    files: Vec<Contents>,
    /// Names as they are durable, and what was asked since.
    names: BTreeMap<PathBuf, usize>,
    unsynced_names: Vec<NameOp>,
    /// Names as the program sees them.
    seen: BTreeMap<PathBuf, usize>,
}

#[derive(Default)]
struct Contents {
    synced: Vec<u8>,
    unsynced: Vec<Done>,
}

enum NameOp {
    Put(PathBuf, usize),
    Take(PathBuf),
}

impl Cut {
    /// A disk on which these files are durable.
    pub(super) fn of(files: &BTreeMap<PathBuf, Vec<u8>>) -> Self {
        let mut cut = Self::default();
        for (path, bytes) in files {
            cut.names.insert(path.clone(), cut.files.len());
            cut.files.push(Contents {
                synced: bytes.clone(),
                unsynced: Vec::new(),
            });
        }
        cut.seen.clone_from(&cut.names);
        cut
    }

    pub(super) fn ask(&mut self, op: &Done) {
        match op {
            Done::Create(path) => {
                self.files.push(Contents::default());
                self.put(path, self.files.len() - 1);
            }
            Done::Write { path, .. } | Done::Cut { path, .. } => {
                // Files opened without having been created here begin empty.
                if !self.seen.contains_key(path) {
                    self.files.push(Contents::default());
                    self.put(path, self.files.len() - 1);
                }
                let file = self.seen[path];
                self.files[file].unsynced.push(op.clone());
            }
            Done::Sync(path) => {
                if let Some(&file) = self.seen.get(path) {
                    let contents = &mut self.files[file];
                    for op in std::mem::take(&mut contents.unsynced) {
                        apply(&mut contents.synced, &op, &mut |_| true);
                    }
                }
            }
            Done::Rename { from, to } => {
                let file = self.seen.remove(from).unwrap();
                self.unsynced_names.push(NameOp::Take(from.clone()));
                self.put(to, file);
            }
            Done::Remove(path) => {
                self.seen.remove(path);
                self.unsynced_names.push(NameOp::Take(path.clone()));
            }
            Done::SyncDir(dir) => {
                // The key lies in another folder than the log; only that folder's names become durable.
                let in_dir = |path: &PathBuf| path.parent() == Some(dir);
                for op in std::mem::take(&mut self.unsynced_names) {
                    match op {
                        NameOp::Put(path, file) if in_dir(&path) => {
                            self.names.insert(path, file);
                        }
                        NameOp::Take(path) if in_dir(&path) => {
                            self.names.remove(&path);
                        }
                        other => self.unsynced_names.push(other),
                    }
                }
            }
        }
    }

    fn put(&mut self, path: &Path, file: usize) {
        self.seen.insert(path.to_path_buf(), file);
        self.unsynced_names
            .push(NameOp::Put(path.to_path_buf(), file));
    }

    /// One of the states the disk may be in: each unsynced sector and name is there or not.
    pub(super) fn state(&self, random: &mut impl FnMut() -> bool) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut names = self.names.clone();
        for op in &self.unsynced_names {
            match op {
                NameOp::Put(path, file) if random() => {
                    names.insert(path.clone(), *file);
                }
                NameOp::Take(path) if random() => {
                    names.remove(path);
                }
                _ => {}
            }
        }
        let contents = |file: usize, random: &mut dyn FnMut() -> bool| {
            let mut bytes = self.files[file].synced.clone();
            for op in &self.files[file].unsynced {
                apply(&mut bytes, op, &mut |_| random());
            }
            bytes
        };
        names
            .into_iter()
            .map(|(path, file)| (path, contents(file, random)))
            .collect()
    }
}

/// Does what was asked of a file, but for the sectors that did not make it.
fn apply(bytes: &mut Vec<u8>, op: &Done, reaches_disk: &mut dyn FnMut(usize) -> bool) {
    match op {
        Done::Write {
            offset, bytes: new, ..
        } => {
            let start = usize::try_from(*offset).unwrap();
            let mut at = 0;
            while at < new.len() {
                let sector_end = ((start + at) / SECTOR + 1) * SECTOR;
                let end = (sector_end - start).min(new.len());
                if reaches_disk(start + at) {
                    bytes.resize(bytes.len().max(start + end), 0);
                    bytes[start + at..start + end].copy_from_slice(&new[at..end]);
                }
                at = end;
            }
        }
        Done::Cut { len, .. } => {
            let len = if reaches_disk(0) {
                usize::try_from(*len).unwrap()
            } else {
                bytes.len()
            };
            bytes.resize(len, 0);
        }
        _ => {}
    }
}

/// xorshift64: the same power cuts in every run.
pub(super) struct Coin(pub(super) u64);

impl Coin {
    pub(super) fn flip(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 63 == 1
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.flip();
        (self.0 >> 20) % end
    }
}

pub(super) fn files_of(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let list = |dir: &Path| {
        std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<_>>()
    };
    let all = ["", "log", "log.keys"].map(|dir| list(&root.join(dir))).concat();
    all.into_iter()
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

pub(super) fn put_files(root: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    files_of(root)
        .keys()
        .for_each(|path| std::fs::remove_file(path).unwrap());
    for (path, bytes) in files {
        std::fs::write(path, bytes).unwrap();
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
    }
}
