//! The host's answers to a policy's questions: mounts, links, files with several names, programs.
//!
//! Knows the file system. Follows no symbolic link that it was not asked to follow.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use aegis_policy::{
    host::{Entry, HostError, HostView, Kind, Mount, Program},
    path::AbsPath,
};
use ring::digest;
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, Statx, StatxFlags, openat, statx},
    io::Errno,
};

use super::{process::ProcessId, view::{self, View}};
use crate::{directory::AgentView, mountinfo};

/// Files looked at in one search: a policy that covers more is refused instead of hanging the daemon.
const SEARCHED: usize = 4_000_000;

/// Files by the names that the daemon sees them by, or another process.
#[derive(Clone, Debug, Default)]
pub struct Host(View);

impl Host {
    /// As a process sees them. It has to be alive for as long as anything is asked.
    ///
    /// # Errors
    /// It is not there, or what it sees cannot be told.
    pub fn seen_by(process: ProcessId) -> io::Result<Self> {
        View::of(process).map(Self)
    }

    /// What they are seen by.
    #[must_use]
    pub const fn view(&self) -> &View {
        &self.0
    }

    /// Has events tell paths as an agent sees them, too, where it sees others than the host.
    pub fn show_mounts(&self, agent: &AgentView) {
        if !self.0.is_other() {
            return;
        }
        match self.0.mounts() {
            Ok(mounts) => agent.set_mounts(mountinfo::named(mounts)),
            Err(error) => {
                let agent = &agent.session;
                tracing::warn!(agent, %error, "the agent's mounts cannot be read: events tell its paths as they were");
            }
        }
    }

    fn native(&self, path: &AbsPath) -> PathBuf {
        self.0.reach(Path::new(OsStr::from_bytes(&path.to_bytes())))
    }
}

impl HostView for Host {
    fn mounts(&self) -> Result<Vec<Mount>, HostError> {
        self.0.mounts()
    }

    fn entry(&self, path: &AbsPath) -> Result<Option<Entry>, HostError> {
        let path = self.native(path);
        let metadata = match fs::symlink_metadata(&path) {
            Err(error) if missing(&error) => return Ok(None),
            other => other.map_err(|e| at(&path, e))?,
        };
        let kind = metadata.file_type();
        Ok(Some(if kind.is_dir() {
            Entry::Directory
        } else if kind.is_file() {
            Entry::File
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).map_err(|e| at(&path, e))?;
            Entry::Symlink(target.into_os_string().into_vec())
        } else {
            Entry::Other
        }))
    }

    fn list(&self, path: &AbsPath, limit: usize) -> Result<Vec<(Vec<u8>, Kind)>, HostError> {
        let folder = self.native(path);
        let mut found = Vec::new();
        for (name, kind) in names(&folder)? {
            if found.len() == limit {
                return Err(HostError::TooMany { path: path_text(&folder), limit, what: "names" });
            }
            // Not every filesystem says in a listing what its names are.
            let kind = match kind {
                FileType::Unknown => look(&folder.join(OsStr::from_bytes(&name)))?
                    .map(|stat| FileType::from_raw_mode(stat.stx_mode.into())),
                known => Some(known),
            };
            found.extend(kind.map(|kind| (name, match kind {
                FileType::Directory => Kind::Directory,
                FileType::Symlink => Kind::Symlink,
                _ => Kind::Other,
            })));
        }
        Ok(found)
    }

    fn linked_files(&self, path: &AbsPath, limit: usize) -> Result<Vec<u64>, HostError> {
        let mut found = Vec::new();
        walk(&self.native(path), limit, "files", &mut |_, kind, stat| {
            let several = kind != FileType::Directory && kind != FileType::Symlink && stat.stx_nlink > 1;
            if several {
                found.push(stat.stx_ino);
            }
            Ok(several)
        })?;
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn programs(&self, path: &AbsPath, limit: usize) -> Result<Vec<Program>, HostError> {
        let mut found = Vec::new();
        walk(&self.native(path), limit, "programs", &mut |path, kind, stat| {
            let program = kind == FileType::RegularFile && stat.stx_mode & 0o111 != 0;
            if program {
                let name = AbsPath::parse(view::named(path).as_os_str().as_bytes())
                    .map_err(|e| at(path, io::Error::other(e)))?;
                found.push(Program { path: name, sha256: sha256(path)? });
            }
            Ok(program)
        })?;
        Ok(found)
    }
}

type Visit<'a> = dyn FnMut(&Path, FileType, &Statx) -> Result<bool, HostError> + 'a;

/// Visits a file and everything below it on the same mount; `visit` answers whether it counts
/// against `limit`.
fn walk(top: &Path, limit: usize, what: &'static str, visit: &mut Visit<'_>) -> Result<(), HostError> {
    let Some(stat) = look(top)? else { return Ok(()) };
    let mount = stat.stx_mnt_id;
    let mut waiting = vec![(top.to_path_buf(), stat)];
    let (mut counted, mut searched) = (0, 0);
    while let Some((path, stat)) = waiting.pop() {
        let kind = FileType::from_raw_mode(stat.stx_mode.into());
        searched += 1;
        if visit(&path, kind, &stat)? {
            counted += 1;
        }
        if counted > limit || searched > SEARCHED {
            let (limit, what) = if counted > limit { (limit, what) } else { (SEARCHED, "files of any kind") };
            return Err(HostError::TooMany { path: path_text(top), limit, what });
        }
        if kind != FileType::Directory {
            continue;
        }
        for (name, _) in names(&path)? {
            let below = path.join(OsStr::from_bytes(&name));
            // Gone since it was listed: it has no name to protect.
            if let Some(stat) = look(&below)?
                && stat.stx_mnt_id == mount
            {
                waiting.push((below, stat));
            }
        }
    }
    Ok(())
}

fn look(path: &Path) -> Result<Option<Statx>, HostError> {
    // Absent from rustix' names: the mount's id, since Linux 5.8.
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    match statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted) {
        Ok(stat) => Ok(Some(stat)),
        Err(error) if missing(&error.into()) => Ok(None),
        Err(error) => Err(at(path, error.into())),
    }
}

fn names(folder: &Path) -> Result<Vec<(Vec<u8>, FileType)>, HostError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match openat(CWD, folder, flags, Mode::empty()) {
        Err(error) if missing(&error.into()) => return Ok(Vec::new()),
        other => other.map_err(|e| at(folder, e.into()))?,
    };
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::new(opened).map_err(|e| at(folder, e.into()))? {
        let entry = entry.map_err(|e| at(folder, e.into()))?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((name.to_vec(), entry.file_type()));
        }
    }
    Ok(names)
}

fn sha256(path: &Path) -> Result<[u8; 32], HostError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = openat(CWD, path, flags, Mode::empty()).map_err(|e| at(path, e.into()))?;
    let mut file = File::from(opened);
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => context.update(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(at(path, error)),
        }
    }
    let mut sum = [0; 32];
    sum.copy_from_slice(context.finish().as_ref());
    Ok(sum)
}

/// A name that leads nowhere; a path through a file is none either.
/// Whether a path names nothing: nor does one behind a link that leads in a circle.
fn missing(error: &io::Error) -> bool {
    [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].map(|errno| Some(errno.raw_os_error())).contains(&error.raw_os_error())
}

fn at(path: &Path, source: io::Error) -> HostError {
    HostError::Io { path: path_text(path), source }
}

fn path_text(path: &Path) -> String {
    crate::words::text(view::named(path).as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn abs(path: &Path) -> AbsPath {
        AbsPath::parse(path.as_os_str().as_bytes()).expect("absolute")
    }

    #[test]
    fn entries_are_told_apart_and_links_not_followed() {
        let dir = tempfile::tempdir().expect("tempdir");
        let top = dir.path().canonicalize().expect("real");
        fs::write(top.join("f"), "x").expect("write");
        symlink("f", top.join("l")).expect("symlink");
        let entry = |name: &str| Host::default().entry(&abs(&top.join(name))).expect("entry");
        assert_eq!(entry("f"), Some(Entry::File));
        assert_eq!(entry("l"), Some(Entry::Symlink(b"f".to_vec())));
        assert_eq!(entry("none"), None);
        assert_eq!(entry("f/below"), None);
        assert_eq!(Host::default().entry(&abs(&top)).expect("entry"), Some(Entry::Directory));
    }

    #[test]
    fn what_lies_behind_a_circle_of_links_is_nothing() {
        let dir = tempfile::tempdir().expect("tempdir");
        let behind = dir.path().canonicalize().expect("real").join("l/behind");
        symlink("l", behind.parent().expect("a parent")).expect("symlink");
        assert_eq!(Host::default().entry(&abs(&behind)).expect("entry"), None);
        assert!(Host::default().list(&abs(&behind), 10).expect("list").is_empty());
        assert!(Host::default().linked_files(&abs(&behind), 10).expect("files").is_empty());
        assert!(Host::default().programs(&abs(&behind), 10).expect("programs").is_empty());
    }

    #[test]
    fn files_with_several_names_are_found_and_bounded() {
        let dir = tempfile::tempdir().expect("tempdir");
        let top = dir.path().canonicalize().expect("real");
        fs::create_dir_all(top.join("a/b")).expect("mkdir");
        fs::write(top.join("a/one"), "x").expect("write");
        fs::write(top.join("a/two"), "x").expect("write");
        fs::hard_link(top.join("a/two"), top.join("a/b/again")).expect("link");
        symlink("/etc", top.join("a/etc")).expect("symlink");
        let ino = fs::metadata(top.join("a/two")).expect("stat").ino();
        assert_eq!(Host::default().linked_files(&abs(&top), 10).expect("walk"), [ino]);
        fs::hard_link(top.join("a/one"), top.join("a/b/more")).expect("link");
        assert!(matches!(Host::default().linked_files(&abs(&top), 1), Err(HostError::TooMany { .. })));
        assert!(Host::default().linked_files(&abs(&top.join("none")), 1).expect("nothing").is_empty());
    }

    #[test]
    fn programs_are_those_with_an_execute_bit() {
        let dir = tempfile::tempdir().expect("tempdir");
        let top = dir.path().canonicalize().expect("real");
        fs::write(top.join("plain"), "abc").expect("write");
        fs::write(top.join("program"), "abc").expect("write");
        fs::set_permissions(top.join("program"), fs::Permissions::from_mode(0o755)).expect("chmod");
        let found = Host::default().programs(&abs(&top), 10).expect("walk");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, abs(&top.join("program")));
        assert_eq!(found[0].sha256[..4], [0xba, 0x78, 0x16, 0xbf], "SHA-256 of abc");
    }

    #[test]
    fn the_own_mount_table_has_a_root() {
        assert!(Host::default().mounts().expect("mounts").iter().any(|m| m.mount_point == AbsPath::root()));
    }
}
