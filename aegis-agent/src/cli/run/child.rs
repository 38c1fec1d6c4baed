//! The process that becomes the command.
//!
//! It is forked first, while this program still has one thread, so that all of Rust may be used in
//! it. It gets its orders over a pipe and carries them out, says that it is ready, and waits until the
//! daemon has put it under the policy: a seccomp filter must be there before that, since governed
//! tasks have no CAP_SYS_ADMIN. It never runs the command when the pipe closes without the word to go.
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

use super::{fds, seccomp, voice::Voice};
use crate::{cli::failure::Failure, escape};

/// The word of the child: its orders are carried out.
const READY: u8 = b'R';
/// The word to it: become the command.
const GO: u8 = b'G';

/// What the child has to do before it may become the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orders {
    /// Folder for temporary files, empty for the caller's own.
    pub tmpdir: String,
    /// Whether programs may raise privileges no more.
    pub no_new_privs: bool,
    /// Name of the agent, for messages.
    pub agent: String,
    /// System calls to refuse.
    pub banned_calls: Vec<String>,
    /// Whether they are recorded and go on.
    pub record_only: bool,
}

impl Orders {
    /// Texts end with NUL, which none of them holds; the whole begins with its length.
    fn encode(&self) -> Vec<u8> {
        let mut body = vec![u8::from(self.no_new_privs), u8::from(self.record_only)];
        for text in [&self.tmpdir, &self.agent].into_iter().chain(&self.banned_calls) {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        [&length.to_ne_bytes()[..], &body].concat()
    }

    /// From what follows the length.
    fn decode(body: &[u8]) -> Option<Self> {
        let ([no_new_privs, record_only], texts) = body.split_first_chunk()?;
        let mut texts = texts.strip_suffix(&[0])?.split(|byte| *byte == 0).map(|text| String::from_utf8(text.to_vec()).ok());
        Some(Self {
            tmpdir: texts.next()??,
            no_new_privs: *no_new_privs != 0,
            agent: texts.next()??,
            banned_calls: texts.collect::<Option<_>>()?,
            record_only: *record_only != 0,
        })
    }

    fn receive(from: &mut File) -> Option<Self> {
        let mut length = [0; 4];
        from.read_exact(&mut length).ok()?;
        let mut body = vec![0; usize::try_from(u32::from_ne_bytes(length)).ok()?];
        from.read_exact(&mut body).ok()?;
        Self::decode(&body)
    }
}

/// A child that waits for its orders.
#[derive(Debug)]
pub struct Waiting {
    pid: Pid,
    orders: File,
    ready: File,
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
    let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(Failure::broken("cannot make a pipe"));
    let (wait, orders) = pipe()?;
    let (answer, ready) = pipe()?;
    let parent = getpid();
    // SAFETY: there is one thread (counted above), so the child finds every lock free and every
    // allocation whole; it may run any code.
    match unsafe { fork() }.map_err(Failure::broken("cannot fork"))? {
        ForkResult::Parent { child } => {
            Ok(Waiting { pid: child, orders: File::from(orders), ready: File::from(answer) })
        }
        ForkResult::Child => {
            drop((orders, answer));
            process::exit(become_command(&argv, pass, (wait, ready), parent, voice))
        }
    }
}

impl Waiting {
    /// The child.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// Has the child carry out its orders, all but the last.
    ///
    /// # Errors
    /// When it could not, which it has told by itself.
    pub fn prepare(&mut self, orders: &Orders) -> Result<(), Failure> {
        let mut answer = [0];
        let prepared = self.orders.write_all(&orders.encode()).and_then(|()| self.ready.read_exact(&mut answer));
        if prepared.is_ok() && answer == [READY] {
            return Ok(());
        }
        Err(Failure::Broken("the command was not started".to_owned()))
    }

    /// Lets the child become the command.
    ///
    /// # Errors
    /// When the child has gone already.
    pub fn release(mut self) -> std::io::Result<()> {
        self.orders.write_all(&[GO])
    }

    /// Sends the child away and tells how it went: by itself, or by a signal that came before.
    #[must_use]
    pub fn dismiss(self) -> Option<Signal> {
        drop(self.orders);
        match waitpid(self.pid, None) {
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(signal),
            _ => None,
        }
    }
}

/// Returns the exit code when the command could not be run.
fn become_command(argv: &[CString], pass: &[u16], (wait, ready): (OwnedFd, OwnedFd), parent: Pid, voice: Voice) -> i32 {
    // A parent that died before the request took effect would never be noticed: look.
    if prctl::set_pdeathsig(Signal::SIGKILL).is_err() || getppid() != parent {
        return 125;
    }
    let mut wait = File::from(wait);
    // Nothing came: the parent has said why, or has gone.
    let Some(orders) = Orders::receive(&mut wait) else { return 125 };
    let environment = match prepare(&orders, pass) {
        Ok(environment) => environment,
        Err(failure) => {
            voice.say(&failure.to_string());
            return 125;
        }
    };
    let mut word = [0];
    if File::from(ready).write_all(&[READY]).and_then(|()| wait.read_exact(&mut word)).is_err() || word != [GO] {
        return 125;
    }
    let Some(program) = argv.first() else { return 125 };
    let Err(errno) = execvpe(program, argv, &environment);
    explain(program.as_bytes(), errno, &orders.agent, voice)
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
    let environment = environment(env::vars_os(), &orders.tmpdir);
    // Last: what is banned is banned to us too.
    seccomp::install(&orders.banned_calls, orders.record_only)?;
    Ok(environment)
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
    use std::{
        ffi::OsString,
        io::{Seek as _, Write as _},
    };

    use super::{Orders, environment};

    #[test]
    fn orders_arrive_whole_or_not_at_all() {
        let orders = Orders {
            tmpdir: "/tmp/x".to_owned(),
            no_new_privs: true,
            agent: "coder".to_owned(),
            banned_calls: vec!["mount".to_owned(), "bpf".to_owned()],
            record_only: false,
        };
        let whole = orders.encode();
        let receive = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            file.rewind().unwrap();
            Orders::receive(&mut file)
        };
        assert_eq!(receive(&whole).as_ref(), Some(&orders));
        let bare = Orders { tmpdir: String::new(), banned_calls: Vec::new(), ..orders };
        assert_eq!(receive(&bare.encode()), Some(bare));
        for length in 0..whole.len() {
            assert_eq!(receive(&whole[..length]), None, "{length}");
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
