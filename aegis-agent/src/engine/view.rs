//! What a path means to a process: its mounts and its root.
//!
//! Knows `/proc/PID`. Must not know what is asked about a path. A process in another mount namespace is asked about for as
//! long as it lives: mounts are read from its own table, files reached through its root.

use std::{
    fs, io,
    os::{
        fd::AsRawFd as _,
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use aegis_policy::{
    host::{HostError, Mount, mountinfo},
    path::AbsPath,
    resolve::MountTable,
};
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, openat, openat2, statx},
};

use super::process::ProcessId;
use crate::mountinfo::Watch;

const OWN: &str = "/proc/self";
/// How files are reached through a descriptor of a root.
const REACHED: &str = "/proc/self/fd";

/// What paths mean: to the daemon, or to another process.
#[derive(Clone, Debug, Default)]
pub struct View(Option<Arc<Other>>);

#[derive(Debug)]
struct Other {
    process: ProcessId,
    identity: Identity,
    root: OwnedFd,
    /// Root within the daemon's own mounts: only the root is another one.
    within: Option<AbsPath>,
    watch: Watch,
}

/// Two processes with the same see the same files by the same names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    namespace: PathBuf,
    device: (u32, u32),
    inode: u64,
    mount: u64,
}

impl Identity {
    fn of(folder: &str) -> io::Result<Self> {
        let namespace = fs::read_link(format!("{folder}/ns/mnt"))?;
        let root = statx(CWD, format!("{folder}/root"), AtFlags::empty(), StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)?;
        let device = (root.stx_dev_major, root.stx_dev_minor);
        Ok(Self { namespace, device, inode: root.stx_ino, mount: root.stx_mnt_id })
    }
}

impl View {
    /// That of a process.
    ///
    /// # Errors
    /// It is not there, or what it sees cannot be told.
    pub fn of(process: ProcessId) -> io::Result<Self> {
        let folder = format!("/proc/{}", process.pid);
        let (own, identity) = (Identity::of(OWN)?, Identity::of(&folder)?);
        let other = if own == identity {
            None
        } else {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = openat(CWD, format!("{folder}/root"), flags, Mode::empty())?;
            let within = (own.namespace == identity.namespace).then(|| fs::read_link(format!("{folder}/root")));
            let within = within.transpose()?.map(|path| AbsPath::parse(path.as_os_str().as_bytes()));
            let within = within.transpose().map_err(io::Error::other)?;
            Some(Arc::new(Other { process, identity, root, within, watch: Watch::of(&folder)? }))
        };
        // Else all this could have been read of another process that got its id.
        if process.is_alive() { Ok(Self(other)) } else { Err(io::Error::from(io::ErrorKind::NotFound)) }
    }

    /// Whether it is another one than the daemon's.
    #[must_use]
    pub const fn is_other(&self) -> bool {
        self.0.is_some()
    }

    /// Whether it is that of a process, too.
    ///
    /// # Errors
    /// The process is not there.
    pub fn is_of(&self, pid: u32) -> io::Result<bool> {
        let found = Identity::of(&format!("/proc/{pid}"))?;
        Ok(match &self.0 {
            None => found == Identity::of(OWN)?,
            Some(other) => found == other.identity,
        })
    }

    /// Whether its mounts changed since the last question. Of the daemon's own, somebody else asks.
    #[must_use]
    pub fn mounts_changed(&self) -> bool {
        self.0.as_ref().is_some_and(|other| other.watch.changed())
    }

    /// Whether a folder is the same one to the daemon.
    #[must_use]
    pub fn shares(&self, folder: &Path) -> bool {
        let identity = |path: &Path| fs::symlink_metadata(path).map(|m| (m.dev(), m.ino())).ok();
        identity(&self.reach(folder)).is_some_and(|found| identity(folder) == Some(found))
    }

    /// The mount table, in terms of this view.
    ///
    /// # Errors
    /// It cannot be read or understood, or the process has ended.
    pub fn mounts(&self) -> Result<Vec<Mount>, HostError> {
        let from = match self.0.as_deref() {
            Some(Other { within: None, process, .. }) => format!("/proc/{}/mountinfo", process.pid),
            _ => format!("{OWN}/mountinfo"),
        };
        let failed = |source| HostError::Io { path: from.clone(), source };
        let mounts = mountinfo::parse(&fs::read(&from).map_err(failed)?)?;
        match self.0.as_deref() {
            Some(other) if !other.process.is_alive() => Err(failed(io::Error::from(io::ErrorKind::NotFound))),
            Some(Other { within: Some(root), .. }) => Ok(below_root(mounts, root)),
            _ => Ok(mounts),
        }
    }

    /// What a file holds, at most 64 KiB of it. Links lead where they lead in this view.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        const MOST: u64 = 64 * 1024;
        // What is no file must not make us wait.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match &self.0 {
            None => openat(CWD, path, flags, Mode::empty())?,
            Some(other) => openat2(&other.root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?,
        };
        let mut text = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(fs::File::from(file), MOST), &mut text)?;
        Ok(text)
    }

    /// The name by which the daemon reaches a path.
    #[must_use]
    pub fn reach(&self, path: &Path) -> PathBuf {
        let Some(other) = &self.0 else { return path.to_path_buf() };
        let root = Path::new(REACHED).join(other.root.as_raw_fd().to_string());
        root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// The path that is reached by a name of [`View::reach`].
#[must_use]
pub fn named(reached: &Path) -> PathBuf {
    let Ok(below) = reached.strip_prefix(REACHED) else { return reached.to_path_buf() };
    let mut components = below.components();
    components.next();
    Path::new(&Component::RootDir).join(components.as_path())
}

/// The mounts that can be reached below a root that is a folder of the tree.
fn below_root(mounts: Vec<Mount>, root: &AbsPath) -> Vec<Mount> {
    let Some(table) = MountTable::new(mounts) else { return Vec::new() };
    let Some(holder) = table.holder(root) else { return Vec::new() };
    let mut place = holder.root.components().to_vec();
    place.extend_from_slice(root.below(&holder.mount_point));
    let top = Mount { parent: holder.id, root: AbsPath::from_components(place), mount_point: AbsPath::root(), ..holder.clone() };
    let below = table.below(root).map(|mount| Mount {
        mount_point: AbsPath::from_components(mount.mount_point.below(root).to_vec()),
        ..mount.clone()
    });
    std::iter::once(top).chain(below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
22 1 254:0 / / rw - ext4 /dev/vda rw
23 22 0:20 / /proc rw - proc proc rw
40 22 0:40 /sub /srv/jail/data rw - tmpfs tmpfs rw
41 40 0:41 / /srv/jail/data/deep rw - tmpfs tmpfs rw
";

    #[test]
    fn the_mounts_of_a_root_that_is_a_folder_begin_with_that_folder() {
        let root = AbsPath::parse(b"/srv/jail").expect("path");
        let table = MountTable::new(below_root(mountinfo::parse(TABLE).expect("table"), &root)).expect("root");
        let place = |path: &[u8]| {
            let place = table.place(&AbsPath::parse(path).expect("path")).expect("place");
            (place.dev, AbsPath::from_components(place.components).to_string())
        };
        assert_eq!(place(b"/etc/passwd"), (254 << 20, "/srv/jail/etc/passwd".into()));
        assert_eq!(place(b"/data/x"), (40, "/sub/x".into()));
        assert_eq!(place(b"/data/deep/x"), (41, "/x".into()));
        assert_eq!(place(b"/proc/1"), (254 << 20, "/srv/jail/proc/1".into()), "not mounted there");
    }

    #[test]
    fn the_own_view_is_no_other_and_shares_everything() {
        let view = View::of(ProcessId::of(std::process::id()).expect("process")).expect("view");
        assert!(!view.is_other() && view.is_of(std::process::id()).expect("view") && !view.mounts_changed());
        assert!(view.shares(Path::new("/tmp")) && !view.shares(Path::new("/nothing/here")));
        assert_eq!(view.reach(Path::new("/etc")), Path::new("/etc"));
        assert!(View::of(ProcessId { pid: std::process::id(), start: 1 }).is_err(), "another process had this id");
    }

    #[test]
    fn what_is_reached_through_a_root_is_named_as_it_is_seen() {
        assert_eq!(named(Path::new("/proc/self/fd/7/etc/passwd")), Path::new("/etc/passwd"));
        assert_eq!(named(Path::new("/proc/self/fd/7/")), Path::new("/"));
        assert_eq!(named(Path::new("/etc")), Path::new("/etc"));
    }
}
