//! The bench's side of a worker: start it, tell it what to do, read its answers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;

use crate::operation::{Forbidden, Operation};
use crate::stage::Stage;

/// A worker.
pub struct Client {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Client {
    /// Starts a worker, under an AppArmor profile if one is named.
    pub fn start(stage: &Stage, profile: Option<&str>) -> Result<Self> {
        let own = std::env::current_exe().context("find this program")?;
        let mut command = match profile {
            Some(name) => {
                let mut command = Command::new("aa-exec");
                command.args(["-p", name, "--"]).arg(own);
                command
            }
            None => Command::new(own),
        };
        let ports = stage.ports()?;
        command.args(["worker", &ports.0.to_string(), &ports.1.to_string()]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a worker")?;
        let output = child.stdout.take().context("a worker without output")?;
        let mut client = Self { input: child.stdin.take(), output: BufReader::new(output), child };
        // Until then it opens files of its own: libraries, and what the C library looks for.
        client.answer().context("wait for the worker to begin")?;
        Ok(client)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Nanoseconds for this many operations.
    pub fn run(&mut self, operation: Operation, count: u32) -> Result<u64> {
        self.ask(&format!("run {} {count}", operation.name()))?.parse().context("a time")
    }

    /// Whether what is forbidden is refused.
    pub fn is_refused(&mut self, operation: Operation, forbidden: Forbidden) -> Result<bool> {
        let forbidden = match forbidden {
            Forbidden::Place => "place",
            Forbidden::Family => "family",
        };
        let number = self.ask(&format!("attempt {} {forbidden}", operation.name()))?;
        match number.parse().map(Errno::from_raw) {
            Ok(Errno::EACCES | Errno::EPERM) => Ok(true),
            _ if number == "0" => Ok(false),
            _ => bail!("{}: errno {number} where 0 or a refusal was expected", operation.name()),
        }
    }

    /// What opening a file for reading comes to.
    pub fn open(&mut self, path: &Path) -> Result<Errno> {
        let number = self.ask(&format!("open {}", path.display()))?;
        Ok(Errno::from_raw(number.parse().context("an error number")?))
    }

    /// What renaming comes to.
    pub fn rename(&mut self, from: &Path, to: &Path) -> Result<Errno> {
        let number = self.ask(&format!("rename {} {}", from.display(), to.display()))?;
        Ok(Errno::from_raw(number.parse().context("an error number")?))
    }

    /// Lets the worker confine itself by Landlock; true when addresses are covered too.
    pub fn landlock(&mut self, rules: usize) -> Result<bool> {
        Ok(self.ask(&format!("landlock {rules}"))? == "all")
    }

    /// Ends it.
    pub fn end(mut self) -> Result<()> {
        drop(self.input.take());
        let status = self.child.wait().context("wait for the worker")?;
        if !status.success() {
            bail!("the worker ended with {status}");
        }
        Ok(())
    }

    fn ask(&mut self, line: &str) -> Result<String> {
        let input = self.input.as_mut().context("the worker was ended")?;
        writeln!(input, "{line}").with_context(|| format!("tell the worker to {line}"))?;
        self.answer().with_context(|| line.to_owned())
    }

    fn answer(&mut self) -> Result<String> {
        let mut answer = String::new();
        self.output.read_line(&mut answer).context("read the worker's answer")?;
        if answer.is_empty() {
            bail!("the worker ended");
        }
        Ok(answer.trim_end().to_owned())
    }
}
