//! Where globs hold, and what on the host they match now.
//!
//! Knows: how a glob goes on behind mounts and links, and what a deny has to follow. Must not know: how
//! the kernel matches.
//!
//! A glob speaks of real names: `**` does not lead through links. A link that a component of a deny
//! names or matches is followed, as one in a plain path is: what it leads to is denied too, or the rest
//! of the glob goes on there.

use std::collections::BTreeSet;

use super::{MAX_VISITED, NO_CONTENT, Place, PlacedGlob, Resolver, links, root_of};
use crate::glob::{Positions, Tail};
use crate::host::{Entry, HostError, Kind};
use crate::path::AbsPath;
use crate::policy::{PathEffect, Rule};

/// A place where a rule lets the agent make names: at the place itself, or where a tail leads from it.
pub(super) struct Writable {
    place: Place,
    tail: Tail,
    active: Positions,
}

impl Writable {
    /// Whether the agent could have made a name. What a plain path of a rule names itself is the
    /// operator's; what a glob matches need not be.
    pub(super) fn holds(&self, name: &Place) -> bool {
        let below = name.components.get(self.place.components.len()..).unwrap_or_default();
        self.place.covers(name)
            && if self.tail.is_empty() {
                !below.is_empty()
            } else {
                self.tail.follow(self.active, below) == self.tail.end()
            }
    }
}

impl Writable {
    /// Whether the agent may put something at or below a place; of what a glob matches, perhaps.
    pub(super) fn meets(&self, place: &Place) -> bool {
        self.place.covers(place) || place.covers(&self.place)
    }
}

/// A part of what lies at and below a path: one mount's.
struct Part {
    place: Place,
    /// Whether the place's name can be relied on.
    exact: bool,
    /// Components from the path to where this mount is.
    below: Vec<Vec<u8>>,
}

/// The rule that is being resolved, and one tail of it.
#[derive(Clone, Copy)]
pub(super) struct Subject<'r> {
    pub(super) n: usize,
    pub(super) rule: &'r Rule,
    pub(super) effect: &'r PathEffect,
    pub(super) tail: &'r Tail,
}

impl Resolver<'_> {
    /// The place of a path and the roots of all filesystems mounted below it.
    fn parts(&self, path: &AbsPath) -> Vec<Part> {
        let own = self.table.place(path).zip(self.table.holder(path));
        let own = own.map(|(place, mount)| Part { place, exact: mount.root_is_exact, below: Vec::new() });
        let below = self.table.below(path).map(|mount| Part {
            place: root_of(mount),
            exact: mount.root_is_exact,
            below: mount.mount_point.below(path).to_vec(),
        });
        own.into_iter().chain(below).collect()
    }

    /// Notes that the agent may make names where a tail leads from a path.
    pub(super) fn note_writable_at(&mut self, path: &AbsPath, tail: &Tail) {
        for part in self.parts(path) {
            let active = tail.follow(Tail::BEGIN, &part.below);
            let complete = active == tail.end();
            let tail = if complete { Tail::default() } else { tail.clone() };
            let active = if complete { Tail::BEGIN } else { active };
            self.writable.push(Writable { place: part.place, tail, active });
        }
    }

    /// Enters what waits in some positions of a tail at a path and at every mount below it.
    pub(super) fn hold(&mut self, s: Subject<'_>, path: &AbsPath, active: Positions, allow: u8, deny: u8) {
        for part in self.parts(path) {
            let allow = if part.exact { allow } else { 0 };
            if allow | deny == 0 {
                continue;
            }
            let active = s.tail.follow(active, &part.below);
            if active == s.tail.end() {
                let bits = self.places.entry((part.place, s.n)).or_insert((0, 0));
                bits.0 |= allow;
                bits.1 |= deny;
            } else if active != 0 {
                let positions = self.globs.entry((part.place, s.n, s.tail.clone())).or_insert(0);
                *positions |= active;
            }
        }
    }

    /// The places at and below a path whose names can be relied on.
    pub(super) fn exact_parts(&self, path: &AbsPath) -> impl Iterator<Item = Place> {
        self.parts(path).into_iter().filter(|part| part.exact).map(|part| part.place)
    }

    /// Looks for what a deny matches now, from some positions of its tail at a path.
    pub(super) fn search(&mut self, s: Subject<'_>, path: &AbsPath, active: Positions) -> Result<(), HostError> {
        let mut waiting = self.searched(s, path, active)?;
        let mut seen = BTreeSet::new();
        while let Some((at, active)) = waiting.pop() {
            if !seen.insert((at.clone(), active)) {
                continue;
            }
            for (name, kind) in self.children(path, &at, s.tail, active)? {
                let stepped = s.tail.step(active, &name);
                let below = at.join(&name);
                // What is mounted was begun with, and hides what is below it.
                if stepped.active == 0 || self.is_mount_point(&below) {
                    continue;
                }
                if stepped.entered & s.tail.end() != 0 {
                    self.matched(s, &below, kind)?;
                } else if kind == Kind::Directory {
                    waiting.push((below, stepped.active));
                } else if kind == Kind::Symlink && stepped.entered != 0 {
                    let walk = links::follow(self.host, &below)?;
                    self.hold(s, &walk.target, stepped.entered, 0, s.effect.deny);
                    if self.may_search(s.rule, &walk)? {
                        waiting.extend(self.searched(s, &walk.target, stepped.entered)?);
                    }
                }
            }
        }
        Ok(())
    }

    /// What is to be searched for positions at a path: the path and the mounts below it that lie on
    /// the way of a glob. Those that it matches are done here.
    fn searched(
        &mut self,
        s: Subject<'_>,
        path: &AbsPath,
        active: Positions,
    ) -> Result<Vec<(AbsPath, Positions)>, HostError> {
        if active & s.tail.end() != 0 {
            self.follow_files(s.n, s.effect, path)?;
            return Ok(Vec::new());
        }
        let has_content = |fs_type: &str| !NO_CONTENT.contains(&fs_type);
        let own = self.table.holder(path).filter(|m| has_content(&m.fs_type));
        let own = own.map(|_| (path.clone(), active));
        let below: Vec<_> = self
            .table
            .below(path)
            .filter(|m| has_content(&m.fs_type))
            .map(|m| (m.mount_point.clone(), s.tail.follow(active, m.mount_point.below(path))))
            .filter(|(_, active)| *active != 0)
            .collect();
        let mut out = Vec::new();
        for (at, active) in own.into_iter().chain(below) {
            if active == s.tail.end() {
                self.follow_files(s.n, s.effect, &at)?;
            } else {
                out.push((at, active));
            }
        }
        Ok(out)
    }

    /// The names in a directory that positions may be taken further by. Where only certain names can
    /// do so, the directory is not read.
    fn children(
        &mut self,
        top: &AbsPath,
        at: &AbsPath,
        tail: &Tail,
        active: Positions,
    ) -> Result<Vec<(Vec<u8>, Kind)>, HostError> {
        let mut out = Vec::new();
        let too_many =
            || HostError::TooMany { path: top.to_string(), limit: MAX_VISITED, what: "names that globs could match" };
        let left = MAX_VISITED.saturating_sub(self.visited);
        if let Some(names) = tail.only_names(active) {
            for name in names {
                let entry = self.host.entry(&at.join(name))?;
                out.extend(entry.map(|entry| (name.to_vec(), Kind::of(&entry))));
            }
        } else {
            out = self.host.list(at, left).map_err(|error| match error {
                HostError::TooMany { .. } => too_many(),
                other => other,
            })?;
        }
        if out.len() > left {
            return Err(too_many());
        }
        self.visited += out.len();
        Ok(out)
    }

    fn is_mount_point(&self, path: &AbsPath) -> bool {
        self.table.holder(path).is_some_and(|mount| mount.mount_point == *path)
    }

    /// A deny follows the file that a name stands for, and the link that it is.
    fn matched(&mut self, s: Subject<'_>, at: &AbsPath, kind: Kind) -> Result<(), HostError> {
        if kind != Kind::Symlink {
            return self.follow_files(s.n, s.effect, at);
        }
        let walk = links::follow(self.host, at)?;
        self.hold(s, &walk.target, s.tail.end(), 0, s.effect.deny);
        if self.may_search(s.rule, &walk)? { self.follow_files(s.n, s.effect, &walk.target) } else { Ok(()) }
    }

    /// Whether what lies behind links is looked at: not a directory behind one that the agent could have
    /// made. A link to `/` would have the whole host searched, and a policy with too much to follow does
    /// not load.
    pub(super) fn may_search(&mut self, rule: &Rule, walk: &links::Walk) -> Result<bool, HostError> {
        let Some(link) = self.planted(walk) else { return Ok(true) };
        if self.host.entry(&walk.target)? != Some(Entry::Directory) {
            return Ok(true);
        }
        let text = format!(
            "{} is denied by way of {link}, which the agent could have made; other names of the files in it are not looked for: if the link is yours, deny {} in the manifest",
            walk.target, walk.target
        );
        self.note(rule, text);
        Ok(false)
    }
}

/// The globs found, in order.
pub(super) fn placed(found: super::Globs) -> Vec<PlacedGlob> {
    found.into_iter().map(|((place, rule, tail), active)| PlacedGlob { place, rule, tail, active }).collect()
}
