//! What the operations act upon: files, listeners, cgroups.

use std::ffi::CStr;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result};

use crate::operation::{
    DEEP, DEEPEST, EXCHANGED, PROGRAM, SEALED_DEEP, SEALED_DEEPEST, SEALED_PROGRAM, SEALED_SHALLOW, SHALLOW, first_files,
};

/// Root of the cgroup tree of the test machines.
const CGROUPS: &str = "/sys/fs/cgroup";
/// The cgroup there in which workers are governed, as agents are.
pub const GOVERNED: &str = "aegis-bench";
/// And that in which they are not.
const OTHERS: &str = "others";
/// Folders that rules name and nobody opens; each exists, since Landlock's rules need one that does.
const FILLERS: &str = "/srv/rules";

/// The stage.
pub struct Stage {
    tcp: TcpListener,
    udp: UdpSocket,
}

impl Stage {
    /// Makes files and listeners, and `fillers` folders for rules that are only there to be many.
    pub fn set(fillers: usize) -> Result<Self> {
        let named = [SHALLOW, DEEP, DEEPEST, SEALED_SHALLOW, SEALED_DEEP, SEALED_DEEPEST];
        for path in named.map(CStr::to_owned).into_iter().chain(first_files()) {
            let path = native(&path);
            fs::create_dir_all(path.parent().unwrap_or(path)).context("make the folders")?;
            fs::write(path, [b'x'; 64]).with_context(|| format!("write {}", path.display()))?;
        }
        fs::copy(PROGRAM, SEALED_PROGRAM).context("copy a program")?;
        for index in 0..fillers {
            let folder = filler(index);
            fs::create_dir_all(&folder).with_context(|| format!("make {folder}"))?;
        }
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen on loopback")?;
        tcp.set_nonblocking(true).context("make the listener non-blocking")?;
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("bind on loopback")?;
        Ok(Self { tcp, udp })
    }

    /// Ports of the TCP and the UDP listener.
    pub fn ports(&self) -> Result<(u16, u16)> {
        Ok((self.tcp.local_addr()?.port(), self.udp.local_addr()?.port()))
    }

    /// Answers what comes over connections, until what this returns is dropped.
    pub fn answer(&self) -> Result<Answering> {
        let listener = self.tcp.try_clone().context("clone the listener")?;
        listener.set_nonblocking(false).context("make the listener blocking")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let address = listener.local_addr()?;
        let served = listener.try_clone().context("clone the listener")?;
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                let Ok((mut connection, _)) = served.accept() else { continue };
                let mut bytes = [0; EXCHANGED];
                // Who connects sees what goes wrong.
                let _ = connection.read_exact(&mut bytes).and_then(|()| connection.write_all(&bytes));
            }
        });
        Ok(Answering { stop, address, listener, thread: Some(thread) })
    }

    /// Takes in what connected since the last time.
    pub fn accept_all(&self) -> Result<()> {
        loop {
            match self.tcp.accept() {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Reset by its maker before it was taken in, as all of them are.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error).context("accept"),
            }
        }
    }
}

/// A thread that answers.
pub struct Answering {
    stop: Arc<AtomicBool>,
    address: SocketAddr,
    listener: TcpListener,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // It waits for a connection: one more, and it looks.
        drop(TcpStream::connect(self.address));
        let joined = self.thread.take().is_some_and(|thread| thread.join().is_ok());
        assert!(joined && self.listener.set_nonblocking(true).is_ok(), "the listener is as it was");
    }
}

/// Name of a folder for a rule.
pub fn filler(index: usize) -> String {
    format!("{FILLERS}/r{index:06}")
}

fn native(path: &CStr) -> &Path {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()))
}

/// A cgroup of its own for each worker, so that none differs from another in that.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes it.
    pub fn make(name: &str, governed: bool) -> Result<Self> {
        let above = Path::new(CGROUPS).join(if governed { GOVERNED } else { OTHERS });
        fs::create_dir_all(&above).with_context(|| format!("make {}", above.display()))?;
        let path = above.join(name);
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }

    /// Its id, as the kernel programs know it.
    pub fn id(&self) -> Result<u64> {
        Ok(fs::metadata(&self.0).with_context(|| self.0.display().to_string())?.ino())
    }

    /// Moves a process in.
    pub fn enter(&self, process: u32) -> Result<()> {
        let path = self.0.join("cgroup.procs");
        fs::write(&path, process.to_string()).with_context(|| format!("write {}", path.display()))
    }

    /// Removes it; it must be empty.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir(&self.0).with_context(|| format!("remove {}", self.0.display()))
    }
}
