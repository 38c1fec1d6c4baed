//! The policy's meaning, worked out the slow and obvious way.
//!
//! Answers the same questions as the kernel, from the typed policy, host paths as plain strings and
//! the mount list. Knows: docs/policy-model.md. Must not know: hashes, map layouts, levels, and any
//! code of `resolve`, `compile` or `simulate` that matches something; tests compare the two, and a
//! shared mistake would be agreed upon.

mod globs;
mod names;
mod network;

use aegis_common::path::perm;

use crate::host::{HostError, HostView};
use crate::policy::{Condition, Default, Effect, Policy, Rule};
use names::{self as at, Names, Spot};

/// What a policy says to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub why: Why,
    /// Id of the rule that decided.
    pub rule: Option<String>,
}

/// Why an operation is allowed or denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A rule says so.
    Rule,
    /// Another name of the same file is denied.
    SameFile,
    /// The program's content is banned.
    SameContent,
    /// The name is pinned to another content.
    NotPinned,
    /// The program's environment has a variable that is denied.
    Environment,
    /// A connection to a name names another server.
    ServerName,
    /// A connection to a name does not say which server it is to.
    NoServerName,
    /// No rule speaks.
    Default,
    /// The new name would grant more than the old one.
    WouldGrantMore,
    /// A directory with a rule at or below it does not move.
    HoldsRule,
    /// What `exec.anonymous` says.
    Anonymous,
    /// The path has too many components.
    TooDeep,
}

impl Answer {
    fn new(allowed: bool, why: Why, rule: Option<&Rule>) -> Self {
        Self {
            allowed,
            why,
            rule: rule.map(|r| r.id.clone()),
        }
    }
}

/// Components that the kernel follows.
const DEEPEST: usize = 64;

/// Where one rule holds.
struct Held<'p> {
    rule: &'p Rule,
    allow: u8,
    deny: u8,
    allowed_at: Vec<at::Held>,
    denied_at: Vec<at::Held>,
    /// Files with several links that the deny covers.
    files: Vec<(u32, u64)>,
    /// Contents that the deny bans.
    contents: Vec<[u8; 32]>,
    /// Arguments that the deny is about; it is about nothing else then.
    arguments: Option<&'p [String]>,
    /// The content that the allow pins its names to.
    pin: Option<[u8; 32]>,
    /// Names that the allow pins to no content at all: the loaders'.
    loader_spots: Vec<Spot>,
}

/// A policy read with one host in mind.
pub struct Reference<'p> {
    policy: &'p Policy,
    names: Names,
    held: Vec<Held<'p>>,
    /// Ids of rules that are for a program, and where that is.
    programs: Vec<(&'p str, Vec<Spot>)>,
    /// The program that asks.
    program: Option<Spot>,
}

impl<'p> Reference<'p> {
    /// Works out where every rule holds.
    ///
    /// # Errors
    /// The host does not answer.
    pub fn new(policy: &'p Policy, host: &dyn HostView) -> Result<Self, HostError> {
        let mut names = Names::new(host.mounts()?);
        for rule in &policy.rules {
            if let Effect::Path(effect) = &rule.effect
                && effect.allow & perm::NAME != 0
            {
                for path in globs::spelled_out(&effect.written) {
                    let (path, glob) = globs::divide(&path);
                    names.agent_writes(host, &path, &glob)?;
                }
            }
        }
        let mut held = Vec::new();
        for rule in &policy.rules {
            let Effect::Path(effect) = &rule.effect else {
                continue;
            };
            let mut one = Held {
                rule,
                allow: effect.allow,
                deny: effect.deny,
                allowed_at: Vec::new(),
                denied_at: Vec::new(),
                files: Vec::new(),
                contents: Vec::new(),
                arguments: None,
                pin: None,
                loader_spots: Vec::new(),
            };
            match &effect.condition {
                Condition::None => {}
                Condition::Arguments(argv) => {
                    one.deny = 0;
                    one.arguments = Some(argv);
                }
                Condition::Content(sha256) => {
                    one.pin = Some(*sha256);
                    for loader in crate::host::LOADERS {
                        one.loader_spots.extend(names.file(host, loader)?);
                    }
                }
            }
            for path in globs::spelled_out(&effect.written) {
                let (path, glob) = globs::divide(&path);
                one.allowed_at.extend(names.allowed_at(host, &path, &glob)?);
                if effect.deny == 0 {
                    continue;
                }
                let denied = names.denied_at(host, &path, &glob)?;
                one.denied_at.extend(denied.held);
                for found in denied.found {
                    if one.deny != 0 {
                        one.files.extend(names.linked_files(host, &found)?);
                    }
                    if effect.ban_content {
                        one.contents.extend(names.programs(host, &found)?);
                    }
                }
            }
            if effect.ban_content {
                for loader in crate::host::LOADERS {
                    for (at, _) in names.readings(host, loader)? {
                        one.contents.extend(names.programs(host, &at)?);
                    }
                }
            }
            held.push(one);
        }
        let mut programs = Vec::new();
        for rule in &policy.rules {
            if let Some(exe) = rule.effect.exe() {
                let held = names.allowed_at(host, exe.to_bytes().as_slice(), &Vec::new())?;
                programs.push((rule.id.as_str(), held.into_iter().map(|held| held.at).collect()));
            }
        }
        Ok(Self { policy, names, held, programs, program: None })
    }

    /// Whether one name may be used for `wanted` (`perm::*`). `path` is a host path without links;
    /// `linked` the inode number if the file has more than one link.
    #[must_use]
    pub fn file(&self, path: &str, linked: Option<u64>, wanted: u8) -> Answer {
        let by_name = self.name(path, wanted);
        if !by_name.allowed {
            return by_name;
        }
        match self.file_denied(path, linked, wanted) {
            Some(rule) => Answer::new(false, Why::SameFile, Some(rule)),
            None => by_name,
        }
    }

    /// What the rules say to a name, whatever file it is.
    fn name(&self, path: &str, wanted: u8) -> Answer {
        let spot = self.names.spot(path.as_bytes());
        if spot.depth() > DEEPEST {
            return Answer::new(false, Why::TooDeep, None);
        }
        if let Some(rule) = self.name_denied(&spot, wanted) {
            return Answer::new(false, Why::Rule, Some(rule));
        }
        let open = self.policy.default == Default::Allow;
        let mut given = if open { perm::ALL } else { 0 };
        let mut told = Vec::new();
        for (n, held) in self.held.iter().enumerate().filter(|(_, h)| h.allow != 0) {
            for at in &held.allowed_at {
                for depth in at.depths(&spot) {
                    given |= held.allow;
                    if held.allow & wanted != 0 {
                        // The deepest; there a plain path, then the first rule.
                        told.push((std::cmp::Reverse(depth), !at.is_plain(), n, held.rule));
                    }
                }
            }
        }
        let told = told.into_iter().min_by_key(|(depth, glob, n, _)| (*depth, *glob, *n));
        match told {
            _ if given & wanted != wanted => Answer::new(false, Why::Default, None),
            Some((.., rule)) => Answer::new(true, Why::Rule, Some(rule)),
            None => Answer::new(true, Why::Default, None),
        }
    }

    /// The rule that denies a name: of several the one nearest to the root; there a plain path, then
    /// the first rule.
    fn name_denied(&self, spot: &Spot, wanted: u8) -> Option<&Rule> {
        let mut told = Vec::new();
        for (n, held) in self.held.iter().enumerate().filter(|(_, h)| h.deny & wanted != 0) {
            for at in &held.denied_at {
                told.extend(at.depths(spot).into_iter().map(|depth| (depth, !at.is_plain(), n, held.rule)));
            }
        }
        told.into_iter().min_by_key(|(depth, glob, n, _)| (*depth, *glob, *n)).map(|(.., rule)| rule)
    }

    /// The rule that denies a file under another of its names.
    fn file_denied(&self, path: &str, linked: Option<u64>, wanted: u8) -> Option<&Rule> {
        let file = (self.names.spot(path.as_bytes()).dev, linked?);
        let found = self
            .held
            .iter()
            .find(|h| h.deny & wanted != 0 && h.files.contains(&file));
        found.map(|h| h.rule)
    }

    /// Whether a program of this name and content may run with these arguments, its own name first.
    #[must_use]
    pub fn exec(
        &self,
        path: &str,
        linked: Option<u64>,
        sha256: [u8; 32],
        argv: &[&[u8]],
    ) -> Answer {
        let by_name = self.file(path, linked, perm::EXEC);
        if !by_name.allowed {
            return by_name;
        }
        let mut banning = self.held.iter().filter(|h| h.arguments.is_none());
        if let Some(held) = banning.find(|h| h.contents.contains(&sha256)) {
            return Answer::new(false, Why::SameContent, Some(held.rule));
        }
        let spot = self.names.spot(path.as_bytes());
        if let Some(held) = self.pinned_elsewise(&spot, sha256) {
            return Answer::new(false, Why::NotPinned, Some(held.rule));
        }
        let given = argv.get(1..).unwrap_or_default();
        let fitting = || self.held.iter().filter(|h| h.arguments.is_some_and(|a| occur(a, given)));
        let named = fitting().find(|h| h.denied_at.iter().any(|at| at.at.is_at_or_above(&spot)));
        let copied = fitting().find(|h| h.contents.contains(&sha256));
        match (named, copied) {
            (Some(held), _) => Answer::new(false, Why::Rule, Some(held.rule)),
            (None, Some(held)) => Answer::new(false, Why::SameContent, Some(held.rule)),
            (None, None) => by_name,
        }
    }

    /// The first rule of the deepest pinned name at or above a spot, when none there has this content.
    fn pinned_elsewise(&self, spot: &Spot, sha256: [u8; 32]) -> Option<&Held<'p>> {
        let pinned = |held: &'_ Held<'p>| -> Vec<(usize, bool)> {
            let Some(content) = held.pin else { return Vec::new() };
            let own = held.allowed_at.iter().map(|at| (&at.at, content == sha256));
            let all = own.chain(held.loader_spots.iter().map(|at| (at, false)));
            all.filter(|(at, _)| at.is_at_or_above(spot)).map(|(at, good)| (at.depth(), good)).collect()
        };
        let deepest = self.held.iter().flat_map(pinned).map(|(depth, _)| depth).max()?;
        let there = |held: &&Held<'p>| pinned(held).iter().any(|(depth, _)| *depth == deepest);
        let good = |held: &Held<'p>| pinned(held).contains(&(deepest, true));
        if self.held.iter().any(good) { None } else { self.held.iter().find(there) }
    }

    /// Whether a program may run with this variable in its environment: of rules that fit, the one with the
    /// longest name is told.
    #[must_use]
    pub fn variable(&self, name: &str, value: &str) -> Option<Answer> {
        let whole = format!("{name}={value}");
        let fitting = self.policy.rules.iter().filter_map(|rule| match &rule.effect {
            Effect::Variable(beginning) if whole.starts_with(beginning) => Some((beginning.len(), rule)),
            _ => None,
        });
        let (_, rule) = fitting.max_by_key(|(length, _)| *length)?;
        Some(Answer::new(false, Why::Environment, Some(rule)))
    }

    /// Whether a program without a name (memfd, deleted file) may run.
    #[must_use]
    pub fn exec_anonymous(&self) -> Answer {
        Answer::new(self.policy.anonymous_exec, Why::Anonymous, None)
    }

    /// Whether `from` may get the further name `to`.
    #[must_use]
    pub fn link(&self, from: (&str, Option<u64>), to: (&str, Option<u64>)) -> Answer {
        self.rename(from, to, false)
    }

    /// Whether `from` may be renamed to `to`.
    #[must_use]
    pub fn rename(
        &self,
        from: (&str, Option<u64>),
        to: (&str, Option<u64>),
        directory: bool,
    ) -> Answer {
        // A path that cannot be followed comes before all else.
        for (path, _) in [from, to] {
            let answer = self.name(path, perm::NAME);
            if answer.why == Why::TooDeep {
                return answer;
            }
        }
        let source = self.name(from.0, perm::NAME);
        if !source.allowed {
            return source;
        }
        let target = self.name(to.0, perm::NAME);
        if !target.allowed {
            return target;
        }
        for bit in [perm::READ, perm::WRITE, perm::EXEC, perm::NAME] {
            if self.name(to.0, bit).allowed && !self.name(from.0, bit).allowed {
                return Answer::new(false, Why::WouldGrantMore, None);
            }
        }
        let stays = self.holds_rule(from.0) || self.holds_rule(to.0) || self.changes_below(from.0, to.0);
        if directory && stays {
            return Answer::new(false, Why::HoldsRule, None);
        }
        let denied = self.file_denied(from.0, from.1, perm::READ | perm::WRITE | perm::NAME);
        match denied.or_else(|| self.file_denied(to.0, to.1, perm::NAME)) {
            Some(rule) => Answer::new(false, Why::SameFile, Some(rule)),
            None => target,
        }
    }

    /// Whether some rule lies at a name or below it, or some glob goes on from there.
    fn holds_rule(&self, path: &str) -> bool {
        let spot = self.names.spot(path.as_bytes());
        let below = |at: &at::Held| spot.is_at_or_above(&at.at);
        let of_program = |(_, spots): &(&str, Vec<Spot>)| spots.iter().any(|at| spot.is_at_or_above(at));
        self.programs.iter().any(of_program) || self.held.iter().any(|h| {
            h.allow != 0 && h.allowed_at.iter().any(below)
                || (h.deny != 0 || h.arguments.is_some()) && h.denied_at.iter().any(below)
        })
    }

    /// Whether globs say something else of names below a directory after it has moved: a deny less, an
    /// allow more, or a name that may not be made.
    fn changes_below(&self, from: &str, to: &str) -> bool {
        let (from, to) = (self.names.spot(from.as_bytes()), self.names.spot(to.as_bytes()));
        let mut gains = false;
        for held in &self.held {
            let at = if held.allow == 0 { &held.denied_at } else { &held.allowed_at };
            let below = |spot: &Spot| at.iter().flat_map(|a| a.below(spot)).collect::<Vec<_>>();
            let (old, new) = (below(&from), below(&to));
            let may_gain = held.allow == 0 && held.deny & perm::NAME == 0;
            if held.deny != 0 && old.iter().any(|rest| !new.contains(rest))
                || !may_gain && new.iter().any(|rest| !old.contains(rest))
            {
                return true;
            }
            gains |= !may_gain && !new.is_empty();
        }
        let denied = |spot: &Spot, bit: u8| self.name_denied(spot, bit).is_some();
        let lifted = [perm::READ, perm::WRITE, perm::EXEC, perm::NAME];
        gains && lifted.iter().any(|bit| denied(&from, *bit) && !denied(&to, *bit))
    }
}

/// Whether some words occur among others, in their order.
fn occur(words: &[String], among: &[&[u8]]) -> bool {
    let Some((first, rest)) = words.split_first() else { return true };
    let at = among.iter().position(|word| *word == first.as_bytes());
    at.is_some_and(|at| occur(rest, among.get(at + 1..).unwrap_or_default()))
}
