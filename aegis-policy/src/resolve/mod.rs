//! From host paths to what the kernel sees: (filesystem, components), inodes and contents.
//!
//! Knows: mounts, links, and which files a deny must follow. The only step that asks the host, and
//! it does so through [`HostView`]. Must not know: hashes, map layouts, rule numbers.
//!
//! A rule for a path holds at
//! - the name itself, its parent's links followed (so that a link is protected as such),
//! - what the name leads to, all links followed,
//! - the root of every filesystem that is mounted below either.
//!
//! A glob holds likewise: its literal prefix is such a path, and the components behind it go on from
//! wherever the prefix leads (`globs`).
//!
//! Denies hold at all of these. An allow is not carried through a link that the agent could have
//! put there itself: an agent that may write `/work` and plants `/work/out -> /etc` would
//! otherwise be given `/etc` when its manifest is loaded the next time. [`Note`]s tell of it.

mod globs;
mod links;
mod mounts;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aegis_common::path::perm;

pub use mounts::{MountTable, Place};

use crate::glob::{Positions, Tail};
use crate::host::{Entry, HostError, HostView, LOADERS, Mount};
use crate::path::AbsPath;
use crate::policy::{Condition, Effect, Origin, PathEffect, Policy, Rule};
use globs::{Subject, Writable};

/// Files with several links that the denies of one policy may cover.
pub const MAX_LINKED_FILES: usize = 16_384;
/// Programs whose content the `exec.deny` rules of one policy may ban.
pub const MAX_BANNED_PROGRAMS: usize = 4096;
/// Names looked at for the globs of one policy's denies.
pub const MAX_VISITED: usize = 2_000_000;

/// Filesystems that hold no content of their own: hard links in them mean nothing, and walking
/// them is slow or never ends.
const NO_CONTENT: [&str; 13] = [
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "bpf",
    "devpts",
    "debugfs",
    "tracefs",
    "securityfs",
    "configfs",
    "pstore",
    "efivarfs",
    "nsfs",
];

/// What the path rules of a policy stand for on one host at one time. Rules are named by their
/// index in [`Policy::rules`]. All lists are sorted and without repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Names.
    pub places: Vec<PlacedRule>,
    /// Globs that begin at a name.
    pub globs: Vec<PlacedGlob>,
    /// Denied files that have other names too.
    pub inodes: Vec<InodeDeny>,
    /// Banned contents.
    pub contents: Vec<ContentBan>,
    /// Loaders that may not be run as programs, because a program is pinned.
    pub loaders: Vec<PinnedLoader>,
    /// Programs that address rules are for.
    pub programs: Vec<PlacedProgram>,
    /// What an operator should know.
    pub notes: Vec<Note>,
}

impl Resolved {
    fn sort(&mut self) {
        self.places.sort();
        self.places.dedup();
        self.globs.sort();
        self.globs.dedup();
        self.inodes.sort_unstable();
        self.inodes.dedup();
        self.contents.sort_unstable();
        self.contents.dedup();
        self.loaders.sort();
        self.loaders.dedup();
        self.programs.sort();
        self.programs.dedup();
        self.notes.sort();
        self.notes.dedup();
    }

    fn join(&mut self, other: Self) {
        self.places.extend(other.places);
        self.globs.extend(other.globs);
        self.inodes.extend(other.inodes);
        self.contents.extend(other.contents);
        self.loaders.extend(other.loaders);
        self.programs.extend(other.programs);
        self.notes.extend(other.notes);
        self.sort();
    }
}

/// A rule at a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlacedRule {
    /// Where.
    pub place: Place,
    /// Index of the rule.
    pub rule: usize,
    /// `perm::*` granted here.
    pub allow: u8,
    /// `perm::*` denied here.
    pub deny: u8,
}

/// A glob at the place where it begins, or goes on behind a mount or a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlacedGlob {
    /// Where.
    pub place: Place,
    /// Index of the rule. It grants and denies what it says.
    pub rule: usize,
    /// What comes behind the place.
    pub tail: Tail,
    /// The positions of the tail that wait for the first component below the place.
    pub active: Positions,
}

/// A file that a rule denies under every name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InodeDeny {
    /// `s_dev` of its filesystem.
    pub dev: u32,
    /// Inode number.
    pub ino: u64,
    /// Index of the rule.
    pub rule: usize,
}

/// A content that a rule bans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContentBan {
    /// Digest.
    pub sha256: [u8; 32],
    /// Index of the rule.
    pub rule: usize,
}

/// A loader that would run whatever stands at a name that a rule pins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PinnedLoader {
    /// Where it is.
    pub place: Place,
    /// Index of the rule.
    pub rule: usize,
}

/// A program that an address rule is for, or a directory that holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlacedProgram {
    /// Where it is.
    pub place: Place,
    /// Index of the rule.
    pub rule: usize,
}

/// Something that an operator should know about a rule on this host; not an error.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// Id of the rule.
    pub rule: String,
    /// What to know.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.text)
    }
}

/// The host does not answer, or too much would have to be followed. The policy is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The mount table could not be read.
    #[error("reading the mount table: {0}")]
    Mounts(#[source] HostError),
    /// No mount in the table is the root.
    #[error("the mount table has no root mount; run the daemon in the host's mount namespace")]
    NoRoot,
    /// A question about one rule failed.
    #[error(
        "rule {rule} ({origin}): {source}; make the path readable for the daemon, or name a smaller part of it"
    )]
    Rule {
        /// Id of the rule.
        rule: String,
        /// Where it was written.
        origin: String,
        /// What went wrong.
        source: HostError,
    },
}

/// Resolves all path rules of a policy on a host.
///
/// # Errors
/// [`ResolveError`]; nothing of the policy may be used then.
pub fn resolve(policy: &Policy, host: &dyn HostView) -> Result<Resolved, ResolveError> {
    resolve_those(policy, host, |_| true)
}

/// Resolves the path rules of a policy for an agent that sees other files than its governor does: all of them as
/// the agent's `view` shows them, and the denies that no manifest has written as the governor's `own` shows them,
/// too. What the governor keeps from its agents is kept from them by whatever name they see it.
///
/// # Errors
/// [`ResolveError`]; nothing of the policy may be used then.
pub fn resolve_in_view(policy: &Policy, view: &dyn HostView, own: &dyn HostView) -> Result<Resolved, ResolveError> {
    let mut resolved = resolve(policy, view)?;
    let kept = |rule: &Rule| {
        matches!(rule.origin, Origin::BuiltIn | Origin::Runtime)
            && matches!(&rule.effect, Effect::Path(effect) if effect.allow == 0)
    };
    resolved.join(resolve_those(policy, own, kept)?);
    Ok(resolved)
}

fn resolve_those(
    policy: &Policy,
    host: &dyn HostView,
    which: impl Fn(&Rule) -> bool,
) -> Result<Resolved, ResolveError> {
    let mounts = host.mounts().map_err(ResolveError::Mounts)?;
    let table = MountTable::new(mounts).ok_or(ResolveError::NoRoot)?;
    let mut resolver = Resolver {
        host,
        table,
        writable: Vec::new(),
        places: BTreeMap::new(),
        globs: BTreeMap::new(),
        visited: 0,
        out: Resolved::default(),
    };
    let rules = || {
        policy
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| which(rule))
            .filter_map(|(n, rule)| match &rule.effect {
                Effect::Path(effect) => Some((n, rule, effect)),
                _ => None,
            })
    };
    for (_, rule, effect) in rules().filter(|(.., e)| e.allow & perm::NAME != 0) {
        resolver
            .note_writable(effect)
            .map_err(|e| failed(rule, e))?;
    }
    for (n, rule, effect) in rules() {
        resolver
            .rule(n, rule, effect)
            .map_err(|e| failed(rule, e))?;
    }
    for (n, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| which(rule)) {
        if let Some(exe) = rule.effect.exe() {
            resolver.program(n, rule, exe).map_err(|e| failed(rule, e))?;
        }
    }
    Ok(resolver.finish())
}

fn failed(rule: &Rule, source: HostError) -> ResolveError {
    ResolveError::Rule {
        rule: rule.id.clone(),
        origin: rule.origin.to_string(),
        source,
    }
}

/// The two names that a rule's path stands for.
struct Names {
    /// The parent's links followed, the last component as written.
    lexical: links::Walk,
    /// All links followed.
    full: links::Walk,
}

/// (place, rule, tail) -> positions that wait there.
type Globs = BTreeMap<(Place, usize, Tail), Positions>;

struct Resolver<'a> {
    host: &'a dyn HostView,
    table: MountTable,
    /// Places below which the agent may write, and so plant links.
    writable: Vec<Writable>,
    /// (place, rule) -> (allow, deny).
    places: BTreeMap<(Place, usize), (u8, u8)>,
    globs: Globs,
    /// Names looked at for globs.
    visited: usize,
    out: Resolved,
}

impl Resolver<'_> {
    fn names(&self, path: &AbsPath) -> Result<Names, HostError> {
        let full = links::follow(self.host, path)?;
        let mut lexical = links::follow(self.host, &path.parent())?;
        if let Some(name) = path.name() {
            lexical.target = lexical.target.join(name);
        }
        Ok(Names { lexical, full })
    }

    /// Paths that an allow-write rule names, in every reading: more than it grants, which is the
    /// safe side for the question that it answers.
    fn note_writable(&mut self, effect: &PathEffect) -> Result<(), HostError> {
        for pattern in &effect.patterns {
            let names = self.names(&pattern.prefix)?;
            for path in [&pattern.prefix, &names.lexical.target, &names.full.target] {
                self.note_writable_at(path, &pattern.tail);
            }
        }
        Ok(())
    }

    /// The first link of a walk that the agent could have made: one below a place where it may
    /// write. A link that a rule names itself is the operator's.
    fn planted<'w>(&self, walk: &'w links::Walk) -> Option<&'w AbsPath> {
        walk.links.iter().find(|link| {
            self.table
                .place(link)
                .is_none_or(|p| self.writable.iter().any(|w| w.holds(&p)))
        })
    }

    fn rule(&mut self, n: usize, rule: &Rule, effect: &PathEffect) -> Result<(), HostError> {
        for pattern in &effect.patterns {
            self.pattern(Subject { n, rule, effect, tail: &pattern.tail }, &pattern.prefix)?;
        }
        if effect.ban_content {
            self.ban_loaders(n)?;
        }
        if matches!(effect.condition, Condition::Content(_)) { self.pin_loaders(n) } else { Ok(()) }
    }

    /// One pattern of a rule: its prefix is resolved as a plain path is, and what follows goes on from
    /// wherever that leads.
    fn pattern(&mut self, s: Subject<'_>, prefix: &AbsPath) -> Result<(), HostError> {
        let (rule, effect) = (s.rule, s.effect);
        let names = self.names(prefix)?;
        if names.full.circular {
            self.note(rule, format!("{prefix} leads through more links than the kernel follows; the rule holds for the names alone"));
        }
        let mut seen = BTreeSet::new();
        for walk in [&names.lexical, &names.full] {
            if !seen.insert(walk.target.clone()) {
                continue;
            }
            let planted = self.planted(walk);
            if effect.deny != 0 {
                self.hold(s, &walk.target, Tail::BEGIN, 0, effect.deny);
                if self.may_search(rule, walk)? {
                    self.search(s, &walk.target, Tail::BEGIN)?;
                }
            }
            match planted {
                None => self.hold(s, &walk.target, Tail::BEGIN, effect.allow, 0),
                Some(link) if effect.allow != 0 => {
                    let text = format!(
                        "nothing is allowed at {} by way of {link}: the agent may write there, so it could have made that link; if it is yours, name {} in the manifest",
                        walk.target, walk.target
                    );
                    self.note(rule, text);
                    self.hold(s, prefix, Tail::BEGIN, effect.allow, 0);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// The program that an address rule is for: as an allow, not by way of a link that the agent could have made.
    fn program(&mut self, n: usize, rule: &Rule, exe: &AbsPath) -> Result<(), HostError> {
        let names = self.names(exe)?;
        for walk in [&names.lexical, &names.full] {
            let planted = self.planted(walk).cloned();
            let at = if planted.is_some() { exe } else { &walk.target };
            let held: Vec<_> = self.exact_parts(at).map(|place| PlacedProgram { place, rule: n }).collect();
            if held.iter().any(|program| self.writable.iter().any(|w| w.meets(&program.place))) {
                self.note(rule, format!("the agent may write at or below {at}: any program that it puts there has the rule"));
            }
            if held.is_empty() {
                self.note(rule, format!("{at} lies on a mount whose names cannot be relied on: no program there has the rule"));
            }
            self.out.programs.extend(held);
            if let Some(link) = planted {
                let text = format!(
                    "the rule is not for {} by way of {link}: the agent may write there, so it could have made that link",
                    walk.target
                );
                self.note(rule, text);
            }
        }
        Ok(())
    }

    /// Where a program is pinned, the dynamic loader may not be run as a program: it would run whatever
    /// stands at the pinned name.
    fn pin_loaders(&mut self, rule: usize) -> Result<(), HostError> {
        for at in self.loaders()? {
            let place = self.table.place(&at);
            self.out.loaders.extend(place.map(|place| PinnedLoader { place, rule }));
        }
        Ok(())
    }

    /// The loaders that the host has.
    fn loaders(&self) -> Result<Vec<AbsPath>, HostError> {
        let mut out = Vec::new();
        for loader in LOADERS {
            let Ok(path) = AbsPath::parse(loader) else { continue };
            let at = self.names(&path)?.full.target;
            if self.host.entry(&at)? == Some(Entry::File) {
                out.push(at);
            }
        }
        Ok(out)
    }

    /// Where a program is banned, the dynamic loader may not be run as a program either: it would
    /// run a copy of the banned one without the kernel's seeing an exec of that copy. As the
    /// interpreter of another program it is not affected.
    fn ban_loaders(&mut self, rule: usize) -> Result<(), HostError> {
        for at in self.loaders()? {
            for program in self.host.programs(&at, 1)? {
                self.out.contents.push(ContentBan { sha256: program.sha256, rule });
            }
        }
        Ok(())
    }

    fn note(&mut self, rule: &Rule, text: String) {
        self.out.notes.push(Note {
            rule: rule.id.clone(),
            text,
        });
    }

    /// Denies follow the file: its other names, and for programs the content.
    fn follow_files(
        &mut self,
        rule: usize,
        effect: &PathEffect,
        path: &AbsPath,
    ) -> Result<(), HostError> {
        let Some(own) = self.table.holder(path) else {
            return Ok(());
        };
        let below = self.table.below(path).map(|m| (m.mount_point.clone(), m));
        let starts: Vec<(AbsPath, u32)> = std::iter::once((path.clone(), own))
            .chain(below)
            .filter(|(_, m)| !NO_CONTENT.contains(&m.fs_type.as_str()))
            .map(|(at, m)| (at, m.dev))
            .collect();
        for (at, dev) in starts {
            // A deny with a condition knows the program by its content.
            if effect.condition == Condition::None {
                let left = MAX_LINKED_FILES.saturating_sub(self.out.inodes.len());
                for ino in self.host.linked_files(&at, left)? {
                    self.out.inodes.push(InodeDeny { dev, ino, rule });
                }
            }
            if effect.ban_content {
                let left = MAX_BANNED_PROGRAMS.saturating_sub(self.out.contents.len());
                for program in self.host.programs(&at, left)? {
                    self.out.contents.push(ContentBan {
                        sha256: program.sha256,
                        rule,
                    });
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Resolved {
        let mut out = self.out;
        out.places = self
            .places
            .into_iter()
            .map(|((place, rule), (allow, deny))| PlacedRule {
                place,
                rule,
                allow,
                deny,
            })
            .collect();
        out.globs = globs::placed(self.globs);
        out.sort();
        out
    }
}

fn root_of(mount: &Mount) -> Place {
    Place {
        dev: mount.dev,
        components: mount.root.components().to_vec(),
    }
}
