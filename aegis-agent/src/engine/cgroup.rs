//! Cgroups of agents: made, limited, frozen, killed, read and removed.
//!
//! Knows cgroup v2's files. Knows nothing of agents beyond the folder's name.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aegis_policy::policy::Limits;

use crate::{mountinfo, paths};

/// Controllers an agent's limits need.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
/// Period of `cpu.max`, microseconds: the kernel's own default.
const CPU_PERIOD: u64 = 100_000;
/// How long a cgroup whose tasks have ended may refuse to go away.
const REMOVE: Duration = Duration::from_secs(5);

/// Why a cgroup could not be handled.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No cgroup v2.
    #[error("cgroup v2 is not mounted; boot with systemd.unified_cgroup_hierarchy=1, or mount -t cgroup2 none /sys/fs/cgroup")]
    NoCgroup2,
    /// A limit was asked for that this host cannot set.
    #[error("cgroup controller {controller} is not available below {path}, so {limit} cannot be enforced: enable it (a cgroup v1 mount of it must go), or leave the limit out of the manifest")]
    NoController {
        /// Which.
        controller: &'static str,
        /// Where.
        path: PathBuf,
        /// For what.
        limit: &'static str,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not say what it must.
    #[error("{path} has no {field}")]
    Field {
        /// Which.
        path: PathBuf,
        /// What.
        field: &'static str,
    },
}

/// `cgroup.events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Some task is in it or below.
    pub populated: bool,
    /// All tasks in it and below are frozen.
    pub frozen: bool,
}

/// Limits that were reached, counted by the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Tasks the out-of-memory killer ended.
    pub oom_kills: u64,
    /// Forks refused.
    pub pids_max: u64,
}

/// What was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Microseconds of CPU time.
    pub cpu_usec: u64,
    /// Bytes at most; 0 where the kernel does not tell.
    pub memory_peak: u64,
    /// Tasks at most; 0 where the kernel does not tell.
    pub pids_peak: u64,
    /// Bytes read from devices.
    pub io_read: u64,
    /// Bytes written to devices.
    pub io_write: u64,
}

/// A task and how long it has run, nanoseconds: what does not grow is not running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Thread id.
    pub tid: u32,
    /// Nanoseconds on a processor.
    pub ran: u64,
}

/// The cgroups of one host.
pub trait CgroupPort: Send + Sync {
    /// Makes an agent's cgroup with its limits; answers folder and id.
    ///
    /// # Errors
    /// A limit cannot be set: nothing is left.
    fn create(&self, session: &str, limits: &Limits) -> Result<(PathBuf, u64), CgroupError>;
    /// Id of a cgroup.
    ///
    /// # Errors
    /// It is not there.
    fn id(&self, folder: &Path) -> Result<u64, CgroupError>;
    /// Ids of a cgroup and everything below it, parents first.
    ///
    /// # Errors
    /// It is not there.
    fn ids(&self, folder: &Path) -> Result<Vec<u64>, CgroupError>;
    /// Moves a process in.
    ///
    /// # Errors
    /// It was not moved.
    fn admit(&self, folder: &Path, pid: u32) -> Result<(), CgroupError>;
    /// See [`Events`].
    ///
    /// # Errors
    /// It is not there.
    fn events(&self, folder: &Path) -> Result<Events, CgroupError>;
    /// Freezes or thaws.
    ///
    /// # Errors
    /// Not asked for.
    fn freeze(&self, folder: &Path, frozen: bool) -> Result<(), CgroupError>;
    /// Ends every task in it and below.
    ///
    /// # Errors
    /// Not asked for.
    fn kill(&self, folder: &Path) -> Result<(), CgroupError>;
    /// Tasks in it and below.
    ///
    /// # Errors
    /// It is not there.
    fn tasks(&self, folder: &Path) -> Result<Vec<Task>, CgroupError>;
    /// See [`Pressure`].
    fn pressure(&self, folder: &Path) -> Pressure;
    /// See [`Used`].
    fn used(&self, folder: &Path) -> Used;
    /// Removes it and its children, which hold no task.
    ///
    /// # Errors
    /// It is still there.
    fn remove(&self, folder: &Path) -> Result<(), CgroupError>;
    /// Path as `/proc/PID/cgroup` shows it.
    fn shown(&self, folder: &Path) -> String;
    /// The agents' folders that are there.
    fn list(&self) -> Vec<PathBuf>;
    /// Whether a folder is there.
    fn present(&self, folder: &Path) -> bool;
}

/// `/sys/fs/cgroup`.
#[derive(Clone, Debug)]
pub struct Cgroups {
    mount: PathBuf,
}

impl Cgroups {
    /// Finds cgroup v2.
    ///
    /// # Errors
    /// It is not mounted.
    pub fn find() -> Result<Self, CgroupError> {
        let path = PathBuf::from("/proc/self/mountinfo");
        let mounts = mountinfo::read().map_err(|source| CgroupError::Io { path, source })?;
        Ok(Self { mount: mountinfo::cgroup2(&mounts).ok_or(CgroupError::NoCgroup2)? })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    fn base(&self) -> PathBuf {
        self.mount.join(paths::CGROUP)
    }

    fn prepare(&self) -> Result<PathBuf, CgroupError> {
        let base = self.base();
        make(&base)?;
        for folder in [&self.mount, &base] {
            let available = text(&folder.join("cgroup.controllers"))?;
            for controller in CONTROLLERS {
                if available.split_ascii_whitespace().any(|c| c == controller) {
                    // What cannot be enabled shows when a limit that needs it is set.
                    if let Err(error) = put(&folder.join("cgroup.subtree_control"), &format!("+{controller}")) {
                        tracing::warn!(%error, controller, "a cgroup controller cannot be enabled");
                    }
                }
            }
        }
        Ok(base)
    }
}

impl CgroupPort for Cgroups {
    fn create(&self, session: &str, limits: &Limits) -> Result<(PathBuf, u64), CgroupError> {
        let folder = self.prepare()?.join(session);
        fs::create_dir(&folder).map_err(|e| at(&folder, e))?;
        let made = limit(&folder, limits).and_then(|()| self.id(&folder));
        match made {
            Ok(id) => Ok((folder, id)),
            Err(error) => {
                if let Err(left) = fs::remove_dir(&folder) {
                    tracing::warn!(%left, folder = %folder.display(), "an unused cgroup stays");
                }
                Err(error)
            }
        }
    }

    fn id(&self, folder: &Path) -> Result<u64, CgroupError> {
        Ok(fs::metadata(folder).map_err(|e| at(folder, e))?.ino())
    }

    fn ids(&self, folder: &Path) -> Result<Vec<u64>, CgroupError> {
        let mut ids = vec![self.id(folder)?];
        // A child that went away since it was listed needs no governing.
        ids.extend(tree(folder).iter().skip(1).filter_map(|child| self.id(child).ok()));
        Ok(ids)
    }

    fn admit(&self, folder: &Path, pid: u32) -> Result<(), CgroupError> {
        put(&folder.join("cgroup.procs"), &pid.to_string())
    }

    fn events(&self, folder: &Path) -> Result<Events, CgroupError> {
        let path = folder.join("cgroup.events");
        let text = text(&path)?;
        let flag = |field: &'static str| {
            flat(&text, field).map(|n| n == 1).ok_or(CgroupError::Field { path: path.clone(), field })
        };
        Ok(Events { populated: flag("populated")?, frozen: flag("frozen")? })
    }

    fn freeze(&self, folder: &Path, frozen: bool) -> Result<(), CgroupError> {
        put(&folder.join("cgroup.freeze"), if frozen { "1" } else { "0" })
    }

    fn kill(&self, folder: &Path) -> Result<(), CgroupError> {
        put(&folder.join("cgroup.kill"), "1")
    }

    fn tasks(&self, folder: &Path) -> Result<Vec<Task>, CgroupError> {
        let mut tasks = Vec::new();
        for folder in tree(folder) {
            let path = folder.join("cgroup.threads");
            let listed = match text(&path) {
                // Removed meanwhile: it had no task.
                Err(CgroupError::Io { source, .. }) if gone(&source) => continue,
                other => other?,
            };
            tasks.extend(listed.lines().filter_map(|l| l.parse().ok()).map(|tid| Task { tid, ran: ran(tid) }));
        }
        Ok(tasks)
    }

    fn pressure(&self, folder: &Path) -> Pressure {
        let read = |file: &str, field| text(&folder.join(file)).ok().and_then(|t| flat(&t, field)).unwrap_or(0);
        Pressure { oom_kills: read("memory.events", "oom_kill"), pids_max: read("pids.events", "max") }
    }

    fn used(&self, folder: &Path) -> Used {
        let read = |file: &str| text(&folder.join(file)).unwrap_or_default();
        let single = |file: &str| read(file).trim().parse().unwrap_or(0);
        let io = read("io.stat");
        Used {
            cpu_usec: flat(&read("cpu.stat"), "usage_usec").unwrap_or(0),
            memory_peak: single("memory.peak"),
            pids_peak: single("pids.peak"),
            io_read: sum(&io, "rbytes="),
            io_write: sum(&io, "wbytes="),
        }
    }

    fn remove(&self, folder: &Path) -> Result<(), CgroupError> {
        let until = Instant::now() + REMOVE;
        loop {
            let mut left = Ok(());
            // Children stand behind their parents in the list.
            for folder in tree(folder).into_iter().rev() {
                match fs::remove_dir(&folder) {
                    Err(error) if !gone(&error) => left = Err(at(&folder, error)),
                    _ => {}
                }
            }
            if left.is_ok() || Instant::now() >= until {
                return left;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn shown(&self, folder: &Path) -> String {
        format!("/{}", folder.strip_prefix(&self.mount).unwrap_or(folder).display())
    }

    fn list(&self) -> Vec<PathBuf> {
        children(&self.base())
    }

    fn present(&self, folder: &Path) -> bool {
        folder.exists()
    }
}

fn limit(folder: &Path, limits: &Limits) -> Result<(), CgroupError> {
    let set = |file: &str, controller: &'static str, limit: &'static str, value: String| {
        let path = folder.join(file);
        if !path.exists() {
            return Err(CgroupError::NoController { controller, path: folder.into(), limit });
        }
        put(&path, &value)
    };
    if let Some(bytes) = limits.memory_bytes {
        set("memory.max", "memory", "memory", bytes.to_string())?;
        // Without it an agent's memory would only move to the disk. Missing where swap is not accounted.
        let swap = folder.join("memory.swap.max");
        if swap.exists() {
            put(&swap, "0")?;
        }
    }
    if let Some(millis) = limits.cpu_millis {
        let quota = (u64::from(millis) * CPU_PERIOD / 1000).max(1000);
        set("cpu.max", "cpu", "cpu_quota", format!("{quota} {CPU_PERIOD}"))?;
    }
    if let Some(pids) = limits.pids {
        set("pids.max", "pids", "pids", pids.to_string())?;
    }
    Ok(())
}

fn make(folder: &Path) -> Result<(), CgroupError> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(at(folder, error)),
        _ => Ok(()),
    }
}

/// The folder and everything below it, parents first.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut all = vec![folder.to_path_buf()];
    let mut next = 0;
    while let Some(folder) = all.get(next) {
        let below = children(folder);
        all.extend(below);
        next += 1;
    }
    all
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

/// Nanoseconds a task has been on a processor.
fn ran(tid: u32) -> u64 {
    fs::read_to_string(format!("/proc/{tid}/schedstat"))
        .ok()
        .and_then(|t| t.split_ascii_whitespace().next().and_then(|n| n.parse().ok()))
        .unwrap_or(0)
}

/// Value of a line `FIELD VALUE`.
fn flat(text: &str, field: &str) -> Option<u64> {
    text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Sum of all `FIELD=VALUE`.
fn sum(text: &str, field: &str) -> u64 {
    text.split_ascii_whitespace().filter_map(|w| w.strip_prefix(field)?.parse::<u64>().ok()).sum()
}

fn text(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(|e| at(path, e))
}

fn put(path: &Path, value: &str) -> Result<(), CgroupError> {
    // Not fs::write: a cgroup file is never made, and what is missing must be an error.
    let write = || {
        use io::Write as _;
        fs::OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
    };
    write().map_err(|e| at(path, e))
}

/// A cgroup that is being removed answers ENODEV.
fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

fn at(path: &Path, source: io::Error) -> CgroupError {
    CgroupError::Io { path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_files_are_read_by_whole_field_names() {
        let text = "populated 1\nfrozen 0\n";
        assert_eq!(flat(text, "populated"), Some(1));
        assert_eq!(flat(text, "frozen"), Some(0));
        assert_eq!(flat(text, "froz"), None);
        assert_eq!(flat("oom 3\noom_kill 2\n", "oom_kill"), Some(2));
        assert_eq!(sum("8:0 rbytes=10 wbytes=1\n8:1 rbytes=5 wbytes=0", "rbytes="), 15);
    }

    #[test]
    fn limits_are_written_and_a_missing_controller_is_an_error() {
        let dir = tempfile::tempdir().expect("tempdir");
        for file in ["memory.max", "memory.swap.max", "cpu.max", "pids.max"] {
            fs::write(dir.path().join(file), "").expect("file");
        }
        let limits = Limits { memory_bytes: Some(512_000_000), cpu_millis: Some(500), pids: Some(256), ..Limits::default() };
        limit(dir.path(), &limits).expect("limits");
        let read = |file: &str| fs::read_to_string(dir.path().join(file)).expect("file");
        assert_eq!(read("memory.max"), "512000000");
        assert_eq!(read("memory.swap.max"), "0");
        assert_eq!(read("cpu.max"), "50000 100000");
        assert_eq!(read("pids.max"), "256");
        fs::remove_file(dir.path().join("pids.max")).expect("remove");
        let error = limit(dir.path(), &limits).expect_err("refused").to_string();
        assert!(error.contains("pids"), "{error}");
    }

    #[test]
    fn a_tree_is_listed_parents_first_and_removed() {
        let dir = tempfile::tempdir().expect("tempdir");
        let top = dir.path().join("s");
        fs::create_dir_all(top.join("a/b")).expect("mkdir");
        fs::create_dir_all(top.join("c")).expect("mkdir");
        assert_eq!(tree(&top).len(), 4);
        assert_eq!(tree(&top)[0], top);
        let cgroups = Cgroups { mount: dir.path().into() };
        cgroups.remove(&top).expect("removed");
        assert!(!top.exists());
        assert_eq!(cgroups.shown(&dir.path().join("aegis/x")), "/aegis/x");
    }

    #[test]
    fn events_need_both_fields() {
        let dir = tempfile::tempdir().expect("tempdir");
        let cgroups = Cgroups { mount: dir.path().into() };
        fs::write(dir.path().join("cgroup.events"), "populated 1\nfrozen 1\n").expect("file");
        assert_eq!(cgroups.events(dir.path()).expect("events"), Events { populated: true, frozen: true });
        fs::write(dir.path().join("cgroup.events"), "populated 1\n").expect("file");
        assert!(cgroups.events(dir.path()).is_err());
    }

    #[test]
    fn a_missing_file_is_never_made() {
        let dir = tempfile::tempdir().expect("tempdir");
        let cgroups = Cgroups { mount: dir.path().into() };
        assert!(cgroups.kill(dir.path()).is_err());
        assert!(!dir.path().join("cgroup.kill").exists());
    }
}
