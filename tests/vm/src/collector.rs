//! The servers outside that an agent must not reach. Whatever comes in is written down, so that
//! "received nothing" is a fact and not a guess: the last pass runs after the act has ended, and on
//! loopback what was sent by then is there.

use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

enum Listener {
    Tcp(TcpListener),
    Udp(UdpSocket),
    Unix(UnixListener),
    UnixDatagram(UnixDatagram),
}

struct Connection {
    server: usize,
    stream: Box<dyn Read + Send>,
    open: bool,
}

/// Servers that are running.
pub struct Collector {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<String>,
    output: PathBuf,
}

impl Collector {
    /// Starts one server for each of `tcp ADDR`, `udp ADDR`, `unix PATH`, `unix-dgram PATH`,
    /// `abstract NAME`.
    ///
    /// # Errors
    /// An address can't be bound or written that way.
    pub fn start(servers: &[String], output: &Path) -> Result<Self> {
        let mut listeners = Vec::new();
        for text in servers {
            listeners.push((text.clone(), listen(text).with_context(|| format!("serve {text:?}"))?));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || serve(&listeners, &flag));
        Ok(Self { stop, thread, output: output.to_owned() })
    }

    /// Takes in what has arrived, stops, and writes all of it down, one line each, in the order of
    /// the servers.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        let Ok(text) = self.thread.join() else { bail!("the collector died") };
        std::fs::write(&self.output, text).with_context(|| format!("write {}", self.output.display()))
    }
}

fn listen(text: &str) -> Result<Listener> {
    let Some((kind, address)) = text.split_once(' ') else { bail!("needs a kind and an address") };
    Ok(match kind {
        "tcp" => {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Listener::Tcp(listener)
        }
        "udp" => {
            let socket = UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            Listener::Udp(socket)
        }
        "unix" | "abstract" => {
            let address = if kind == "unix" {
                let _ = std::fs::remove_file(address);
                SocketAddr::from_pathname(address)?
            } else {
                SocketAddr::from_abstract_name(address)?
            };
            let listener = UnixListener::bind_addr(&address)?;
            if let Some(path) = address.as_pathname() {
                std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
            }
            listener.set_nonblocking(true)?;
            Listener::Unix(listener)
        }
        "unix-dgram" => {
            let _ = std::fs::remove_file(address);
            let socket = UnixDatagram::bind(address)?;
            std::fs::set_permissions(address, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
            socket.set_nonblocking(true)?;
            Listener::UnixDatagram(socket)
        }
        _ => bail!("serves tcp, udp, unix, unix-dgram and abstract"),
    })
}

/// Serves until told to stop, then makes one more pass.
fn serve(listeners: &[(String, Listener)], stop: &AtomicBool) -> String {
    let mut caught: Vec<Vec<u8>> = vec![Vec::new(); listeners.len()];
    let mut accepted = vec![0_u32; listeners.len()];
    let mut connections: Vec<Connection> = Vec::new();
    loop {
        let last = stop.load(Ordering::SeqCst);
        for (server, (_, listener)) in listeners.iter().enumerate() {
            while let Some(stream) = accept(listener, &mut caught[server]) {
                accepted[server] += 1;
                connections.push(Connection { server, stream, open: true });
            }
        }
        for connection in &mut connections {
            read_some(connection, &mut caught);
        }
        connections.retain(|c| c.open);
        if last {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut text = String::new();
    for (server, (name, _)) in listeners.iter().enumerate() {
        if accepted[server] > 0 || !caught[server].is_empty() {
            let _ = writeln!(text, "{name}: {} connections, {:?}", accepted[server], String::from_utf8_lossy(&caught[server]));
        }
    }
    text
}

/// The next connection that waits; datagrams go straight into `caught`.
fn accept(listener: &Listener, caught: &mut Vec<u8>) -> Option<Box<dyn Read + Send>> {
    match listener {
        Listener::Tcp(l) => {
            let (stream, _) = l.accept().ok()?;
            stream.set_nonblocking(true).ok()?;
            Some(Box::new(stream))
        }
        Listener::Unix(l) => {
            let (stream, _) = l.accept().ok()?;
            stream.set_nonblocking(true).ok()?;
            Some(Box::new(stream))
        }
        Listener::Udp(socket) => {
            let mut buffer = [0; 2048];
            while let Ok((length, _)) = socket.recv_from(&mut buffer) {
                caught.extend_from_slice(&buffer[..length]);
            }
            None
        }
        Listener::UnixDatagram(socket) => {
            let mut buffer = [0; 2048];
            while let Ok(length) = socket.recv(&mut buffer) {
                caught.extend_from_slice(&buffer[..length]);
            }
            None
        }
    }
}

fn read_some(connection: &mut Connection, caught: &mut [Vec<u8>]) {
    let mut buffer = [0; 2048];
    loop {
        match connection.stream.read(&mut buffer) {
            Ok(0) => connection.open = false,
            Ok(length) => {
                caught[connection.server].extend_from_slice(&buffer[..length]);
                continue;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => connection.open = false,
        }
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::Collector;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    fn what_was_sent_before_the_stop_is_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("received");
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let socket = dir.path().join("s");
        let servers = [format!("tcp {free}"), format!("udp {free}"), format!("unix {}", socket.display())];
        let collector = Collector::start(&servers, &out).unwrap();
        TcpStream::connect(free).unwrap().write_all(b"tcp-secret").unwrap();
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"udp-secret", free).unwrap();
        collector.stop().unwrap();
        let text = std::fs::read_to_string(&out).unwrap();
        assert_eq!(text, format!("tcp {free}: 1 connections, \"tcp-secret\"\nudp {free}: 0 connections, \"udp-secret\"\n"));
    }

    #[test]
    fn a_server_nobody_calls_leaves_an_empty_file() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("received");
        Collector::start(&["abstract aegis-vm-tests-nobody".to_owned()], &out).unwrap().stop().unwrap();
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "");
    }

    #[test]
    fn an_address_of_another_kind_is_refused() {
        assert!(Collector::start(&["sctp 127.0.0.1:1".to_owned()], std::path::Path::new("/dev/null")).is_err());
    }
}
