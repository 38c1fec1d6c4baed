//! The governed process: does what standard input asks for, and answers each with an errno.

use std::ffi::CString;
use std::io::{BufRead as _, Write as _, stdin, stdout};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open, renameat};
use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::{LinkatFlags, execve, linkat, mkdir, truncate, unlink};

use crate::question::{Operation, Question};

/// A question a line; 0 or the errno as the line that answers it.
pub fn act() -> Result<()> {
    let mut out = stdout().lock();
    for line in stdin().lock().lines() {
        let line = line?;
        let question = Question::parse(&line).with_context(|| format!("no question: {line}"))?;
        let errno = attempt(&question).err().map_or(0, |errno| errno as i32);
        writeln!(out, "{errno}")?;
        out.flush()?;
    }
    Ok(())
}

fn attempt(question: &Question) -> nix::Result<()> {
    let path = question.path.as_str();
    let opened = |flags| open(path, flags | OFlag::O_CLOEXEC, Mode::empty()).map(drop);
    match question.operation {
        Operation::Read => opened(OFlag::O_RDONLY),
        Operation::Write => opened(OFlag::O_WRONLY),
        Operation::ReadWrite => opened(OFlag::O_RDWR),
        Operation::Execute => execute(path),
        Operation::Truncate => truncate(path, 1),
        Operation::Make => mknod(path, SFlag::S_IFREG, Mode::from_bits_truncate(0o644), 0),
        Operation::MakeDirectory => mkdir(path, Mode::from_bits_truncate(0o755)),
        Operation::Remove => unlink(path),
        Operation::Link => linkat(AT_FDCWD, path, AT_FDCWD, question.to.as_str(), LinkatFlags::empty()),
        Operation::Rename => renameat(AT_FDCWD, path, AT_FDCWD, question.to.as_str()),
    }
}

/// The files of the world are no programs: one that may be run is refused as such, and this process goes on.
fn execute(path: &str) -> nix::Result<()> {
    let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
    match execve(&path, &[&path], &[] as &[&CString]) {
        Err(Errno::ENOEXEC) => Ok(()),
        Err(errno) => Err(errno),
        Ok(never) => match never {},
    }
}
