//! One scenario as one user: the control outside, the same act inside, and what came of both.

use crate::collector::Collector;
use crate::daemon::Daemon;
use crate::events::{self, Expected};
use crate::outcome::{Difference, Outcomes};
use crate::pattern;
use crate::process;
use crate::report::{CaseResult, message};
use crate::scenario::{Kind, Scenario, Try, User};
use crate::stage::{Ground, Stage};
use anyhow::{Context, Result};
use std::process::Command;
use std::time::{Duration, Instant};

/// Where an act runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    Inside,
}

impl Place {
    const fn name(self) -> &'static str {
        match self {
            Self::Outside => "outside",
            Self::Inside => "inside",
        }
    }
}

/// What a failure says was not so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The result of a try inside, and what it was instead.
    Try(String, Option<String>),
    /// What a probe of the world finds after the act inside.
    Probe(String),
    /// The event of a try.
    Event(String),
    /// Anything else; then the case shows nothing of the three above.
    Run,
}

/// Something that was not as the scenario claims.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was claimed.
    pub claim: Claim,
    /// One sentence.
    pub text: String,
}

impl Failure {
    const fn run(text: String) -> Self {
        Self { claim: Claim::Run, text }
    }
}

/// One scenario as one user on one kernel.
pub struct Case<'a> {
    scenario: &'a Scenario,
    user: User,
    ground: Ground<'a>,
    stage: Stage<'a>,
    /// Tries whose events are looked for; all of them unless told otherwise.
    events_of: Option<&'a [String]>,
    failures: Vec<Failure>,
    noise: String,
    /// Tables that the act printed inside.
    tables: String,
    /// What its time went into, by part.
    spent: Vec<(&'static str, Duration)>,
}

impl<'a> Case<'a> {
    /// A case that has not run yet.
    pub fn new(scenario: &'a Scenario, user: User, ground: Ground<'a>) -> Self {
        let stage = Stage::new(scenario, user, ground);
        Self { scenario, user, ground, stage, events_of: None, failures: Vec::new(), noise: String::new(), tables: String::new(), spent: Vec::new() }
    }

    /// Runs it where something is missing on purpose: all that was not as claimed. Only the events of
    /// the named tries are waited for.
    pub fn run_without(mut self, daemon: &mut Daemon, events_of: &'a [String]) -> Vec<Failure> {
        self.events_of = Some(events_of);
        if let Err(error) = self.play(daemon) {
            self.failures.push(Failure::run(format!("{error:#}")));
        }
        self.stage.strike();
        self.failures
    }

    /// Runs it; whatever goes wrong is a failure of the case.
    pub fn run(&mut self, daemon: &mut Daemon, verbose: bool) -> CaseResult {
        let begun = Instant::now();
        if let Err(error) = self.play(daemon) {
            self.failures.push(Failure::run(format!("{error:#}")));
        }
        self.timed("strike", |case| case.stage.strike());
        if let Err(error) = daemon.ensure() {
            self.failures.push(Failure::run(format!("{error:#}")));
        }
        let parts: Vec<_> = self.spent.iter().map(|(part, time)| format!("{part} {:.1}", time.as_secs_f32())).collect();
        message(&format!("{} [{}]: {}", self.scenario.id, self.user.name(), parts.join(", ")));
        self.result(begun, verbose)
    }

    fn result(&mut self, begun: Instant, verbose: bool) -> CaseResult {
        if !self.failures.is_empty() && (verbose || !self.noise.is_empty()) {
            message(&format!("--- {} [{}]\n{}", self.scenario.id, self.user.name(), self.noise.trim_end()));
        }
        if !self.tables.is_empty() {
            message(self.tables.trim_end());
        }
        CaseResult {
            id: self.scenario.id.clone(),
            user: self.user,
            open: self.scenario.is_open(),
            failures: std::mem::take(&mut self.failures).into_iter().map(|f| f.text).collect(),
            time: begun.elapsed(),
        }
    }

    /// The control alone, for whoever writes a scenario where there is no engine.
    pub fn run_control(&mut self) -> CaseResult {
        let begun = Instant::now();
        if self.scenario.kind == Kind::Agent
            && let Err(error) =
                self.act(Place::Outside, &mut Daemon::absent()).and_then(|()| self.compare_world(Place::Outside))
        {
            self.failures.push(Failure::run(format!("{error:#}")));
        }
        self.stage.strike();
        self.result(begun, true)
    }

    fn play(&mut self, daemon: &mut Daemon) -> Result<()> {
        if self.scenario.kind == Kind::Agent {
            self.act(Place::Outside, daemon).context("control")?;
            self.timed("probes", |case| case.compare_world(Place::Outside))?;
        }
        let after = events::last_seq()?;
        self.act(Place::Inside, daemon)?;
        // First the events: probes may look into the log, too.
        self.timed("events", |case| case.compare_events(after))?;
        self.timed("probes", |case| case.compare_world(Place::Inside))
    }

    fn timed<T>(&mut self, part: &'static str, what: impl FnOnce(&mut Self) -> T) -> T {
        let begun = Instant::now();
        let result = what(self);
        self.spent.push((part, begun.elapsed()));
        result
    }

    fn act(&mut self, place: Place, daemon: &mut Daemon) -> Result<()> {
        self.timed("stage", |case| case.stage.raise())?;
        let begun = Instant::now();
        let collector = match self.scenario.serve.as_slice() {
            [] => None,
            servers => {
                let servers: Vec<String> = servers.iter().map(|s| self.stage.fill(s)).collect();
                Some(Collector::start(&servers, &self.stage.dir.join("received"))?)
            }
        };
        let mut outcomes = Outcomes::default();
        let mut command = self.command(place, daemon.pid());
        let stage = &self.stage;
        let steps = &self.scenario.steps;
        let finished = process::run(
            &mut command,
            self.scenario.limit(self.ground.extent),
            |line| outcomes.take(line),
            |name| match name {
                "@daemon-kill" => daemon.kill(),
                "@daemon-start" => daemon.restart(),
                _ => stage.script(steps.get(name).with_context(|| format!("the scenario has no step {name:?}"))?).map(|_| ()),
            },
        );
        if let Some(collector) = collector {
            collector.stop()?;
        }
        let finished = finished?;
        self.spent.push((place.name(), begun.elapsed()));
        self.noise.push_str(&format!("[{}] exit status {}\n{}", place.name(), finished.code(), finished.noise));
        if finished.code() != 0 {
            self.failures.push(Failure::run(format!("{}: the act ended with status {}", place.name(), finished.code())));
        }
        if place == Place::Inside {
            self.tables.push_str(&outcomes.rows);
        }
        self.compare_outcomes(place, &outcomes);
        Ok(())
    }

    fn command(&self, place: Place, daemon: u32) -> Command {
        let act = self.stage.fill(&self.scenario.act);
        let mut words: Vec<String> = Vec::new();
        if place == Place::Inside && self.scenario.kind == Kind::Agent {
            let manifest = self.stage.manifest().display().to_string();
            words.extend(["aegis", "run", "--policy", &manifest, "--name", &self.stage.agent, "--"].map(str::to_owned));
        }
        if self.scenario.kind == Kind::Agent {
            words.extend(self.user.prefix().iter().map(|&s| s.to_owned()));
        }
        words.extend(act.split_whitespace().map(str::to_owned));
        if self.scenario.tty {
            words = vec!["script".into(), "-qec".into(), words.join(" "), "/dev/null".into()];
        }
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .current_dir(self.stage.dir.join("work"))
            .envs(self.stage.environment())
            .env("PLACE", place.name())
            .env("AEGISD_PID", daemon.to_string());
        command
    }

    fn compare_outcomes(&mut self, place: Place, outcomes: &Outcomes) {
        let tries = self.scenario.tries_as(self.user);
        let expected = tries.map(|t| {
            let results = if place == Place::Outside { t.outside.as_slice() } else { t.inside_on(self.ground.kernel) };
            (t.name.as_str(), results)
        });
        for Difference { name, found, text } in outcomes.compare(place.name(), expected) {
            let claim = if place == Place::Inside { Claim::Try(name, found) } else { Claim::Run };
            self.failures.push(Failure { claim, text });
        }
    }

    fn compare_world(&mut self, place: Place) -> Result<()> {
        for probe in &self.scenario.world {
            let Some(expected) = (if place == Place::Outside { probe.outside.as_ref() } else { Some(&probe.inside) }) else {
                continue;
            };
            let expected = self.stage.fill(expected);
            let found = self.stage.script(&probe.probe).with_context(|| format!("probe {:?}", probe.what))?;
            if !pattern::matches(expected.trim_end(), &found) {
                let claim = if place == Place::Inside { Claim::Probe(probe.what.clone()) } else { Claim::Run };
                let text = format!("{}: {}: found {found:?}, not {expected:?}", place.name(), probe.what);
                self.failures.push(Failure { claim, text });
            }
        }
        Ok(())
    }

    fn compare_events(&mut self, after: Option<u64>) -> Result<()> {
        let mut expected = Vec::new();
        let wanted = |one: &&Try| self.events_of.is_none_or(|names| names.contains(&one.name));
        for one in self.scenario.tries_as(self.user).filter(wanted) {
            let Some(table) = one.event_on(self.ground.kernel) else { continue };
            let mut event = Expected::from_table(&one.name, table, |s| self.stage.fill(s))?;
            self.complete(&mut event, one.inside == one.outside);
            expected.push(event);
        }
        let quiet = self.scenario.quiet && self.events_of.is_none();
        if expected.is_empty() && !quiet {
            return Ok(());
        }
        let (wrong, seen) = events::wait_for(&self.stage.agent, after, &expected)?;
        if !wrong.is_empty() {
            self.noise.push_str(&events::digest(&seen));
        }
        self.failures.extend(wrong.into_iter().map(|m| Failure { claim: Claim::Event(m.name), text: m.text }));
        if quiet {
            for event in seen.iter().filter(|e| e.get("verdict").and_then(|v| v.as_str()) == Some("deny")) {
                self.failures.push(Failure::run(format!("honest work was denied something: {event}")));
            }
        }
        Ok(())
    }

    /// What every event says that its scenario leaves out: the verdict, the program and the user.
    fn complete(&self, event: &mut Expected, allowed: bool) {
        event.or_else("verdict", if allowed { "allow" } else { "deny" });
        if self.scenario.kind == Kind::Operator {
            return;
        }
        event.or_else("agent", &self.stage.agent);
        if event.has_process() {
            event.or_else("process.uid", &self.user.uid().to_string());
            let program = self.stage.fill(self.scenario.exe.as_deref().unwrap_or("$PY"));
            event.or_else("process.exe", &program);
        }
        if !allowed {
            event.or_else("rule", self.scenario.rule.as_deref().unwrap_or("default"));
        }
    }
}
