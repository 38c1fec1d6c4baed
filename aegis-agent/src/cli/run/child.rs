//! The process that becomes the command.
//!
//! It is forked first, while this program still has one thread, so that all of Rust may be used in
//! it; then it waits at a pipe until the daemon has put it under the policy. It never runs the
//! command when the pipe closes without the word to go.
//!
//! It dies with `aegis run` (`PR_SET_PDEATHSIG`): the governed cgroup lies outside the caller's own,
//! so whatever cleans up after the caller (a service manager, a container, `timeout -s KILL`) would
//! otherwise leave an agent behind that nobody waits for. What the command itself has started is
//! the daemon's to stop.

use std::{
    env,
    ffi::{CString, OsStr, OsString},
    fs::File,
    io::{Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    process,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::{
        prctl,
        signal::{SigHandler, Signal, signal},
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, execvpe, fork, getpid, getppid, pipe2},
};

use super::{fds, voice::Voice};
use crate::cli::{escape, failure::Failure};

/// The word to go: a command never runs on a message that is not whole.
const GO: u8 = b'G';

/// What the child learns when it may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orders {
    /// Folder for temporary files, empty for the caller's own.
    pub tmpdir: String,
    /// Whether programs may raise privileges no more.
    pub no_new_privs: bool,
    /// Name of the agent, for messages.
    pub agent: String,
}

impl Orders {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![GO, u8::from(self.no_new_privs)];
        out.extend_from_slice(self.tmpdir.as_bytes());
        out.push(0);
        out.extend_from_slice(self.agent.as_bytes());
        out.push(0);
        out
    }

    fn decode(raw: &[u8]) -> Option<Self> {
        let rest = raw.strip_prefix(&[GO])?.strip_suffix(&[0])?;
        let (no_new_privs, rest) = rest.split_first()?;
        let mut parts = rest.split(|byte| *byte == 0);
        let tmpdir = String::from_utf8(parts.next()?.to_vec()).ok()?;
        let agent = String::from_utf8(parts.next()?.to_vec()).ok()?;
        parts.next().is_none().then_some(Self { tmpdir, no_new_privs: *no_new_privs != 0, agent })
    }
}

/// A child that waits for its orders.
#[derive(Debug)]
pub struct Waiting {
    pid: Pid,
    go: File,
}

/// Forks the child.
///
/// # Errors
/// When the command cannot be passed on (a NUL in it), or this process has threads already.
pub fn start(command: &[OsString], pass: &[u16], voice: Voice) -> Result<Waiting, Failure> {
    let nul = |_| Failure::Usage("the command has a NUL byte in an argument, which no program can be given".to_owned());
    let argv: Vec<CString> =
        command.iter().map(|argument| CString::new(argument.as_bytes()).map_err(nul)).collect::<Result<_, _>>()?;
    let threads = std::fs::read_dir("/proc/self/task").map_err(Failure::broken("cannot read /proc/self/task; is /proc mounted?"))?;
    if threads.count() != 1 {
        return Err(Failure::Broken("there are threads before the fork; this is a bug in aegis".to_owned()));
    }
    let (wait, go) = pipe2(OFlag::O_CLOEXEC).map_err(Failure::broken("cannot make a pipe"))?;
    let parent = getpid();
    // SAFETY: there is one thread (counted above), so the child finds every lock free and every
    // allocation whole; it may run any code.
    match unsafe { fork() }.map_err(Failure::broken("cannot fork"))? {
        ForkResult::Parent { child } => Ok(Waiting { pid: child, go: File::from(go) }),
        ForkResult::Child => {
            drop(go);
            process::exit(become_command(&argv, pass, wait, parent, voice))
        }
    }
}

impl Waiting {
    /// The child.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// Lets the child become the command.
    ///
    /// # Errors
    /// When the child has gone already.
    pub fn release(mut self, orders: &Orders) -> std::io::Result<Pid> {
        self.go.write_all(&orders.encode())?;
        Ok(self.pid)
    }

    /// Sends the child away and tells how it went: by itself, or by a signal that came before.
    #[must_use]
    pub fn dismiss(self) -> Option<Signal> {
        drop(self.go);
        match waitpid(self.pid, None) {
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(signal),
            _ => None,
        }
    }
}

/// Returns the exit code when the command could not be run.
fn become_command(argv: &[CString], pass: &[u16], wait: OwnedFd, parent: Pid, voice: Voice) -> i32 {
    // A parent that died before the request took effect would never be noticed: look.
    if prctl::set_pdeathsig(Signal::SIGKILL).is_err() || getppid() != parent {
        return 125;
    }
    let mut raw = Vec::new();
    if File::from(wait).read_to_end(&mut raw).is_err() {
        return 125;
    }
    // Nothing came: the parent has said why, or has gone.
    let Some(orders) = Orders::decode(&raw) else { return 125 };
    match prepare(&orders, pass) {
        Ok(environment) => {
            let Some(program) = argv.first() else { return 125 };
            let Err(errno) = execvpe(program, argv, &environment);
            explain(program.as_bytes(), errno, &orders.agent, voice)
        }
        Err(failure) => {
            voice.say(&failure.to_string());
            125
        }
    }
}

fn prepare(orders: &Orders, pass: &[u16]) -> Result<Vec<CString>, Failure> {
    // Rust ignores SIGPIPE at its start, and an ignored signal stays ignored across exec. Every
    // other disposition and the mask are the caller's own, as if aegis were not in between.
    // SAFETY: sets a default action; no handler of ours runs.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.map_err(Failure::broken("cannot reset SIGPIPE"))?;
    if orders.no_new_privs {
        prctl::set_no_new_privs().map_err(Failure::broken("cannot set no_new_privs"))?;
    }
    fds::close_on_exec_all_but(pass).map_err(Failure::broken("cannot close the descriptors above 2"))?;
    Ok(environment(env::vars_os(), &orders.tmpdir))
}

fn environment(inherited: impl Iterator<Item = (OsString, OsString)>, tmpdir: &str) -> Vec<CString> {
    let own = (!tmpdir.is_empty()).then(|| (OsString::from("TMPDIR"), OsString::from(tmpdir)));
    let replaced = own.is_some();
    inherited
        .filter(|(name, _)| !(replaced && name == OsStr::new("TMPDIR")))
        .chain(own)
        // What came through exec once holds no NUL.
        .filter_map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            CString::new(name.into_vec()).ok()
        })
        .collect()
}

/// As shells do: 127 when there is no such program, 126 when it may not or cannot be run.
fn explain(program: &[u8], errno: Errno, agent: &str, voice: Voice) -> i32 {
    let name = escape::bytes(program);
    match errno {
        Errno::ENOENT => {
            voice.say(&format!("{name}: no such program, or its interpreter is missing"));
            127
        }
        Errno::EACCES | Errno::EPERM => {
            voice.say(&format!(
                "{name}: permission denied, by its mode or by the policy (aegis events --agent {} --verdict deny)",
                escape::text(agent)
            ));
            126
        }
        errno => {
            voice.say(&format!("{name}: cannot be run: {}", errno.desc()));
            126
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{Orders, environment};

    #[test]
    fn orders_arrive_whole_or_not_at_all() {
        let orders = Orders { tmpdir: "/tmp/x".to_owned(), no_new_privs: true, agent: "coder".to_owned() };
        let raw = orders.encode();
        assert_eq!(Orders::decode(&raw).as_ref(), Some(&orders));
        for length in 0..raw.len() {
            assert_eq!(Orders::decode(&raw[..length]), None, "{length}");
        }
    }

    #[test]
    fn tmpdir_is_set_once_and_the_rest_stays() {
        let inherited = [("A", "1"), ("TMPDIR", "/tmp"), ("B", "")].map(|(a, b)| (OsString::from(a), OsString::from(b)));
        let shown = |tmpdir: &str| -> Vec<String> {
            environment(inherited.clone().into_iter(), tmpdir).into_iter().map(|c| c.into_string().unwrap()).collect()
        };
        assert_eq!(shown("/run/x"), ["A=1", "B=", "TMPDIR=/run/x"]);
        assert_eq!(shown(""), ["A=1", "TMPDIR=/tmp", "B="]);
    }
}
