//! The mounts of this process's namespace, as far as paths in events and cgroup v2 need them.
//!
//! The format is parsed in one place ([`aegis_policy::host::mountinfo`]). The device is in the
//! kernel's encoding (`major << 20 | minor`), as the kernel programs report it; `stat` reports
//! another one on btrfs.

use std::{
    fs::File,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use aegis_policy::host::mountinfo;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// `s_dev` of the filesystem.
    pub dev: u32,
    /// The part of the filesystem that is mounted.
    pub root: Vec<u8>,
    /// Where it is mounted.
    pub point: Vec<u8>,
    /// Type of the filesystem.
    pub fs_type: String,
}

/// Mounts of this process's namespace, in the order the kernel lists them.
///
/// # Errors
/// When `/proc/self/mountinfo` cannot be read or understood.
pub fn read() -> io::Result<Vec<Mount>> {
    parse(&std::fs::read("/proc/self/mountinfo")?)
}

/// Parses the text of a mountinfo file. Mounts whose root was deleted are left out: their name may
/// stand for something else by now.
///
/// # Errors
/// When it is not of the format.
pub fn parse(text: &[u8]) -> io::Result<Vec<Mount>> {
    Ok(named(mountinfo::parse(text).map_err(io::Error::other)?))
}

/// The mounts whose root has a name, see [`parse`].
#[must_use]
pub fn named(mounts: Vec<aegis_policy::host::Mount>) -> Vec<Mount> {
    let named = mounts.into_iter().filter(|m| m.root_is_exact);
    named
        .map(|m| Mount { dev: m.dev, root: m.root.to_bytes(), point: m.mount_point.to_bytes(), fs_type: m.fs_type })
        .collect()
}

/// Tells when the mounts of a process's namespace change.
#[derive(Debug)]
pub struct Watch(File);

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// `/proc/self/mountinfo` cannot be opened.
    pub fn begin() -> io::Result<Self> {
        Self::of("/proc/self")
    }

    /// Begins to watch those of the process with this folder below `/proc`.
    ///
    /// # Errors
    /// Its `mountinfo` cannot be opened.
    pub fn of(process: &str) -> io::Result<Self> {
        File::open(format!("{process}/mountinfo")).map(Self)
    }

    /// Whether they changed since the last question.
    #[must_use]
    pub fn changed(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::PRI)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0) && fds[0].revents().intersects(PollFlags::PRI | PollFlags::ERR)
    }
}

/// Whether `path` is `base` or below it; both absolute, in normal form.
#[must_use]
pub fn is_below(path: &[u8], base: &[u8]) -> bool {
    let base = base.strip_suffix(b"/").unwrap_or(base);
    path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// Absolute host path of a path inside a filesystem: through the mount that shows the longest part
/// of the path's own tree, the earliest where several do. `None` when no mount shows it.
#[must_use]
pub fn host_path(mounts: &[Mount], dev: u32, inside: &[u8]) -> Option<Vec<u8>> {
    let slashed;
    let inside = if inside.first() == Some(&b'/') {
        inside
    } else {
        slashed = [b"/", inside].concat();
        &slashed
    };
    let mut best: Option<&Mount> = None;
    for mount in mounts.iter().filter(|m| m.dev == dev && is_below(inside, &m.root)) {
        if best.is_none_or(|b| mount.root.len() > b.root.len()) {
            best = Some(mount);
        }
    }
    let mount = best?;
    let below = &inside[mount.root.strip_suffix(b"/").unwrap_or(&mount.root).len()..];
    let point = mount.point.strip_suffix(b"/").unwrap_or(&mount.point);
    let mut path = [point, below].concat();
    if path.len() > 1 && path.last() == Some(&b'/') {
        path.pop();
    }
    if path.is_empty() {
        path.push(b'/');
    }
    Some(path)
}

/// Where cgroup v2 is mounted.
#[must_use]
pub fn cgroup2(mounts: &[Mount]) -> Option<PathBuf> {
    let mount = mounts.iter().find(|m| m.fs_type == "cgroup2" && m.root == b"/")?;
    Some(Path::new(std::ffi::OsStr::from_bytes(&mount.point)).to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &[u8] = b"\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:20 / /sys rw shared:2 - sysfs sysfs rw
30 23 0:26 / /sys/fs/cgroup rw shared:4 master:1 - cgroup2 cgroup2 rw
40 22 0:40 / /tmp rw - tmpfs tmpfs rw
41 22 254:0 /data/in\\040puts /mnt/in\\040puts rw - ext4 /dev/vda rw
";

    #[test]
    fn mounts_are_read_with_their_escapes_and_optional_fields() {
        let mounts = parse(TEXT).expect("mountinfo");
        assert_eq!(mounts.len(), 5);
        assert_eq!(mounts[0].dev, 254 << 20);
        assert_eq!(mounts[4].root, b"/data/in puts");
        assert_eq!(mounts[4].point, b"/mnt/in puts");
        assert_eq!(cgroup2(&mounts), Some(PathBuf::from("/sys/fs/cgroup")));
    }

    #[test]
    fn paths_inside_a_filesystem_become_host_paths() {
        let mounts = parse(TEXT).expect("mountinfo");
        let host = |dev, path: &[u8]| host_path(&mounts, dev, path);
        assert_eq!(host(254 << 20, b"/etc/passwd"), Some(b"/etc/passwd".to_vec()));
        assert_eq!(host(254 << 20, b"etc/passwd"), Some(b"/etc/passwd".to_vec()));
        assert_eq!(host(40, b"/x/y"), Some(b"/tmp/x/y".to_vec()));
        assert_eq!(host(40, b"/"), Some(b"/tmp".to_vec()));
        assert_eq!(host(254 << 20, b"/"), Some(b"/".to_vec()));
        assert_eq!(host(254 << 20, b"/data/in puts/a"), Some(b"/mnt/in puts/a".to_vec()));
        assert_eq!(host(254 << 20, b"/data/in puts2"), Some(b"/data/in puts2".to_vec()));
        assert_eq!(host(99, b"/x"), None);
    }

    #[test]
    fn the_own_table_has_a_root() {
        assert!(read().expect("own mountinfo").iter().any(|m| m.point == b"/"));
    }

    proptest! {
        #[test]
        fn any_path_is_looked_up_without_panic(path in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mounts = parse(TEXT).expect("mountinfo");
            let _ = host_path(&mounts, 254 << 20, &path);
        }
    }
}
