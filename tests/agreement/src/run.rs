//! One random policy after the other: put into force, asked, compared.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _, stdout};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use aegis_policy::reference::{Answer, Reference};
use anyhow::{Context as _, Result, bail};
use fastrand::Rng;
use nix::errno::Errno;

use crate::events::{self, Denial};
use crate::host::Host;
use crate::manifest;
use crate::question::{Operation, Question};
use crate::world::World;

/// Questions to one policy.
const OF_ONE: usize = 500;
/// Differences that are told one by one.
const TOLD: usize = 20;

/// A line on standard output.
#[expect(clippy::print_stdout, reason = "the one place that prints")]
pub fn say(line: &str) {
    println!("{line}");
    let _ = stdout().flush();
}

/// What came of the questions.
#[derive(Default)]
struct Tally {
    allowed: usize,
    denied: usize,
    policies: usize,
    differences: usize,
}

impl Tally {
    fn difference(&mut self, text: &str) {
        self.differences += 1;
        if self.differences <= TOLD {
            say(text);
        }
    }
}

/// Asks until there are that many answers; whether all were the reference's.
pub fn run(questions: usize, seed: u64, base: &Path) -> Result<bool> {
    let mut rng = Rng::with_seed(seed);
    let mut tally = Tally::default();
    while tally.allowed + tally.denied < questions && tally.differences < TOLD {
        // Every few policies another world.
        let world = World::make(base, &mut rng)?;
        for _ in 0..5 {
            if !policy(&mut rng, &world, base, &mut tally)? {
                break;
            }
        }
    }
    let Tally { allowed, denied, policies, differences } = tally;
    let both = allowed.min(denied) * 10 >= (allowed + denied) * 2;
    say(&format!("{} questions to {policies} policies: {allowed} allowed, {denied} denied, {differences} differences", allowed + denied));
    say(&format!("= agreement {}", if differences == 0 { "all" } else { "not-all" }));
    say(&format!("= both-answers-common {}", if both { "yes" } else { "no" }));
    Ok(true)
}

/// A governed process that does what it is told.
struct Governed {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Governed {
    fn start(manifest: &Path, name: &str) -> Result<Self> {
        let own = std::env::current_exe()?;
        let mut process = Command::new("aegis")
            .args(["run", "--name", name, "--policy"])
            .arg(manifest)
            .arg("--")
            .arg(own)
            .arg("act")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .current_dir("/")
            .spawn()
            .context("aegis run")?;
        let to = process.stdin.take().context("no pipe to the process")?;
        let from = BufReader::new(process.stdout.take().context("no pipe from the process")?);
        Ok(Self { process, to, from })
    }

    fn ask(&mut self, question: &Question) -> Result<nix::Result<()>> {
        writeln!(self.to, "{question}")?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        let errno = line.trim().parse().with_context(|| format!("no answer to {question}: {line:?}"))?;
        Ok(if errno == 0 { Ok(()) } else { Err(Errno::from_raw(errno)) })
    }

    fn end(mut self) -> Result<()> {
        drop(self.to);
        let status = self.process.wait()?;
        if !status.success() {
            bail!("the governed process ended with {status}");
        }
        Ok(())
    }
}

/// Whether the world is still as it was.
fn policy(rng: &mut Rng, world: &World, base: &Path, tally: &mut Tally) -> Result<bool> {
    let text = manifest::random(rng, base.to_str().context("a world whose name is no text")?);
    let policy = aegis_policy::check(text.as_bytes(), "agent.yaml")
        .map_err(|errors| anyhow::anyhow!("{text}{}", errors.iter().map(|e| format!("{e:?}")).collect::<Vec<_>>().join("\n")))?;
    let host = Host::now()?;
    let reference = Reference::new(&policy, &host)?;
    let mut asked = BTreeSet::new();
    let mut questions: Vec<(Question, Answer)> = Vec::new();
    while questions.len() < OF_ONE {
        let Some(question) = Question::random(rng, world) else { continue };
        // Twice the same may be one event.
        if !asked.insert(question.to_string()) {
            // A small world has few questions.
            if rng.u8(..50) == 0 { break } else { continue }
        }
        let answer = question.expected(&reference, world);
        if !answer.allowed || question.can_be_undone(world) {
            questions.push((question, answer));
        }
    }
    let file = base.with_extension("yaml");
    fs::write(&file, &text)?;
    let name = format!("agreement-{}", tally.policies);
    let mut governed = Governed::start(&file, &name)?;
    tally.policies += 1;
    let before = tally.differences;
    let mut denials = Vec::new();
    let mut intact = true;
    for (question, answer) in &questions {
        let done = governed.ask(question)?;
        let allowed = match done {
            // Another mount: the kernel asks no hook.
            Err(Errno::EXDEV) => continue,
            Ok(()) => true,
            Err(Errno::EACCES) => false,
            // Refused by the file system, after the hooks.
            Err(Errno::EBUSY | Errno::ENOTEMPTY) if question.operation == Operation::Rename => true,
            Err(other) => bail!("{question}: {other}: nothing that was planned"),
        };
        if answer.allowed && done.is_ok() {
            world.undo(question)?;
        }
        *(if allowed { &mut tally.allowed } else { &mut tally.denied }) += 1;
        if allowed != answer.allowed {
            tally.difference(&format!("{name}: {question}: allowed {allowed}, the reference says {answer:?}"));
            if allowed {
                intact = false;
                break;
            }
        } else if !allowed {
            denials.push((question, Denial::expected(question, answer)));
        }
    }
    governed.end()?;
    let told = events::of(&name)?;
    for (question, denial) in denials.iter().filter(|(_, denial)| !told.contains(denial)) {
        let like: Vec<&Denial> = told.iter().filter(|other| other.is_like(denial)).collect();
        tally.difference(&format!("{name}: {question}: no event says {denial:?}, but {like:?}"));
    }
    if tally.differences > before {
        say(&text);
    }
    Ok(intact)
}
