//! Carries a stream of the command to its port, unbuffered, and counts the bytes.
//!
//! The count lets the host wait for the last byte instead of hoping that it arrives before power off.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A background process that goes on writing after the command has ended is cut off after this much.
const DRAIN_LIMIT: u64 = 1 << 20;

/// Starts carrying `pipe` to `port` until its end, or until `stop` hangs up and the pipe is empty.
pub fn start(pipe: OwnedFd, mut port: File, stop: OwnedFd) -> JoinHandle<std::io::Result<u64>> {
    std::thread::spawn(move || {
        let mut pipe = File::from(pipe);
        let mut buffer = vec![0; 1 << 16];
        let (mut total, mut after_stop) = (0, 0);
        let mut stopped = false;
        loop {
            match wait(&pipe, &stop, stopped)? {
                Ready::Stopped => stopped = true,
                Ready::Nothing => return Ok(total),
                Ready::Data => {
                    let length = pipe.read(&mut buffer)?;
                    port.write_all(&buffer[..length])?;
                    total += length as u64;
                    if stopped {
                        after_stop += length as u64;
                    }
                    if length == 0 || after_stop > DRAIN_LIMIT {
                        return Ok(total);
                    }
                }
            }
        }
    })
}

enum Ready {
    Data,
    Stopped,
    Nothing,
}

fn wait(pipe: &File, stop: &OwnedFd, stopped: bool) -> std::io::Result<Ready> {
    loop {
        let mut watched = [
            PollFd::new(pipe.as_fd(), PollFlags::POLLIN),
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
        ];
        // Once stopped, only what is in the pipe already counts.
        let (list, timeout) = if stopped {
            (&mut watched[..1], PollTimeout::ZERO)
        } else {
            (&mut watched[..], PollTimeout::NONE)
        };
        match poll(list, timeout) {
            Ok(0) => return Ok(Ready::Nothing),
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let happened = |fd: &PollFd| fd.revents().is_some_and(|events| !events.is_empty());
        if happened(&watched[0]) {
            return Ok(Ready::Data);
        }
        return Ok(Ready::Stopped);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Seek as _;

    use nix::unistd::pipe;

    use super::*;

    fn scratch() -> File {
        tempfile::tempfile().expect("a scratch file")
    }

    #[test]
    fn all_bytes_written_before_the_stop_arrive() {
        let (reader, writer) = pipe().expect("pipe");
        let (stop, stopper) = pipe().expect("pipe");
        let mut port = scratch();
        let pump = start(reader, port.try_clone().expect("clone"), stop);
        let mut writer = File::from(writer);
        writer.write_all(&vec![7; 300_000]).expect("write");
        drop(stopper);
        // the writer stays open, as a daemon left behind would hold it
        assert_eq!(pump.join().expect("join").expect("pump"), 300_000);
        let mut seen = Vec::new();
        port.rewind().expect("rewind");
        port.read_to_end(&mut seen).expect("read");
        assert_eq!(seen.len(), 300_000);
        drop(writer);
    }

    #[test]
    fn the_end_of_the_pipe_ends_the_pump() {
        let (reader, writer) = pipe().expect("pipe");
        let (stop, _stopper) = pipe().expect("pipe");
        let pump = start(reader, scratch(), stop);
        drop(writer);
        assert_eq!(pump.join().expect("join").expect("pump"), 0);
    }
}
