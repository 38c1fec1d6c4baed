//! The host's ends of the machine's ports: carrying output, reading the status lines, watching the console.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread;

/// Where output of the command goes.
pub type Sink = Box<dyn Write + Send>;

/// Something the machine told.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A line of the guest program.
    Status(String),
    /// The kernel stopped for good.
    Panic,
}

/// Standard output or error of this process, unbuffered.
pub fn inherit(error: bool) -> Sink {
    struct Through(bool);
    impl Write for Through {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let write = |out: &mut dyn Write| out.write_all(bytes).and_then(|()| out.flush());
            if self.0 {
                write(&mut std::io::stderr().lock())
            } else {
                write(&mut std::io::stdout().lock())
            }?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    Box::new(Through(error))
}

/// Carries everything from the port to the sink. The counter follows what has arrived there.
pub fn carry(mut port: UnixStream, mut sink: Sink) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        let mut open = true;
        while let Ok(length @ 1..) = port.read(&mut buffer) {
            // When nobody reads any more (a closed pager) the command still runs to its end.
            open = open && sink.write_all(&buffer[..length]).is_ok();
            counter.fetch_add(length as u64, Ordering::Release);
        }
    });
    count
}

/// Sends each line of the status port on.
pub fn status(port: UnixStream, events: Sender<Event>) {
    thread::spawn(move || {
        for line in BufReader::new(port).lines().map_while(Result::ok) {
            if events.send(Event::Status(line)).is_err() {
                break;
            }
        }
    });
}

/// The end of the console, for messages.
#[derive(Clone, Default)]
pub struct Tail(Arc<Mutex<Vec<u8>>>);

impl Tail {
    const LENGTH: usize = 16 * 1024;

    /// The last lines.
    pub fn lines(&self, count: usize) -> String {
        let bytes = self.0.lock().map(|bytes| bytes.clone()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).replace('\r', "");
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// Adds bytes; true when they complete the kernel's last words.
    fn add(&self, new: &[u8]) -> bool {
        const LAST_WORDS: &[u8] = b"Kernel panic - not syncing";
        let Ok(mut bytes) = self.0.lock() else {
            return false;
        };
        let seen = bytes.len();
        bytes.extend_from_slice(new);
        // The words may be cut in two by the end of a read.
        let from = seen.saturating_sub(LAST_WORDS.len());
        let found = bytes[from..]
            .windows(LAST_WORDS.len())
            .any(|window| window == LAST_WORDS);
        let surplus = bytes.len().saturating_sub(Self::LENGTH);
        bytes.drain(..surplus);
        found
    }
}

/// Writes the console to its log, and to standard error when asked.
pub fn console(mut port: UnixStream, mut log: File, stream: bool, events: Sender<Event>) -> Tail {
    let tail = Tail::default();
    let watched = tail.clone();
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 14];
        let mut out = stream.then(|| inherit(true));
        while let Ok(length @ 1..) = port.read(&mut buffer) {
            let bytes = &buffer[..length];
            // The log is a help, no more: a full disk must not stop the machine.
            let _ = log.write_all(bytes);
            if let Some(out) = &mut out {
                let _ = out.write_all(bytes);
            }
            if watched.add(bytes) && events.send(Event::Panic).is_err() {
                break;
            }
        }
    });
    tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_seen_across_two_reads() {
        let tail = Tail::default();
        assert!(!tail.add(b"[ 1.0] Kernel panic - not"));
        assert!(tail.add(b" syncing: attempted to kill init\r\n"));
        assert!(!tail.add(b"Rebooting in 20 seconds.."));
        assert_eq!(tail.lines(1), "Rebooting in 20 seconds..");
    }
}
