//! What is asked: an operation on a path, or on two.

use std::fmt;

use aegis_common::path::perm;
use aegis_policy::reference::{Answer, Reference};

use crate::world::World;

/// An operation that one decision allows or denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// open(2) for reading.
    Read,
    /// For writing.
    Write,
    /// For both.
    ReadWrite,
    /// execve(2).
    Execute,
    /// truncate(2).
    Truncate,
    /// mknod(2) of a regular file.
    Make,
    /// mkdir(2).
    MakeDirectory,
    /// unlink(2).
    Remove,
    /// link(2).
    Link,
    /// rename(2).
    Rename,
}

impl Operation {
    /// All of them, as often as they are asked for.
    const ASKED: [Self; 24] = [
        Self::Read,
        Self::Read,
        Self::Read,
        Self::Read,
        Self::Write,
        Self::Write,
        Self::Write,
        Self::ReadWrite,
        Self::Execute,
        Self::Execute,
        Self::Execute,
        Self::Truncate,
        Self::Make,
        Self::Make,
        Self::MakeDirectory,
        Self::MakeDirectory,
        Self::Remove,
        Self::Remove,
        Self::Link,
        Self::Link,
        Self::Link,
        Self::Rename,
        Self::Rename,
        Self::Rename,
    ];

    /// Its word, for the process that does it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadWrite => "readwrite",
            Self::Execute => "execute",
            Self::Truncate => "truncate",
            Self::Make => "make",
            Self::MakeDirectory => "mkdir",
            Self::Remove => "remove",
            Self::Link => "link",
            Self::Rename => "rename",
        }
    }

    /// What an event calls it.
    pub const fn in_events(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadWrite => "read_write",
            Self::Execute => "exec",
            Self::Truncate => "truncate",
            Self::Make => "create",
            Self::MakeDirectory => "mkdir",
            Self::Remove => "unlink",
            Self::Link => "link",
            Self::Rename => "rename",
        }
    }

    /// By its word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ASKED.into_iter().find(|operation| operation.word() == word)
    }
}

/// A question: host paths without links.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// What is done.
    pub operation: Operation,
    /// With what.
    pub path: String,
    /// The other name of a link or rename, else empty.
    pub to: String,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operation.word(), self.path)?;
        if self.to.is_empty() { Ok(()) } else { write!(f, " {}", self.to) }
    }
}

impl Question {
    /// The other way of [`fmt::Display`].
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        Some(Self {
            operation: Operation::named(words.next()?)?,
            path: words.next()?.to_owned(),
            to: words.next().unwrap_or_default().to_owned(),
        })
    }

    /// One that the world has an answer to. Nothing where the dice found no fitting names.
    pub fn random(rng: &mut fastrand::Rng, world: &World) -> Option<Self> {
        let operation = *rng.choice(&Operation::ASKED)?;
        let file = |rng: &mut fastrand::Rng| rng.choice(&world.files).cloned();
        let directory = |rng: &mut fastrand::Rng| rng.choice(&world.directories).cloned();
        let free = |rng: &mut fastrand::Rng| rng.choice(&world.free).cloned();
        let (path, to) = match operation {
            Operation::Make | Operation::MakeDirectory => (free(rng)?, String::new()),
            Operation::Link => (file(rng)?, free(rng)?),
            Operation::Rename => {
                let moves_directory = rng.bool();
                let from = if moves_directory { directory(rng)? } else { file(rng)? };
                let replaced = rng.u8(..4) == 0;
                let to = match (replaced, moves_directory) {
                    (false, _) => free(rng)?,
                    (true, true) => directory(rng)?,
                    (true, false) => file(rng)?,
                };
                (from, to)
            }
            _ => (file(rng)?, String::new()),
        };
        // A directory neither moves into itself nor takes the place of its own parent: no hook is asked.
        let within = |a: &str, b: &str| a == b || b.strip_prefix(a).is_some_and(|rest| rest.starts_with('/'));
        if !to.is_empty() && (within(&path, &to) || within(&to, &path)) {
            return None;
        }
        // Two names of one file: renaming one to the other does nothing, before any hook.
        if operation == Operation::Rename && world.linked.get(&path).is_some_and(|one| world.linked.get(&to) == Some(one)) {
            return None;
        }
        let is_held = |name: &str| world.held.iter().any(|held| within(name, held));
        if operation == Operation::Rename && (is_held(&path) || is_held(&to)) {
            return None;
        }
        Some(Self { operation, path, to })
    }

    /// What the policy means here.
    pub fn expected(&self, reference: &Reference<'_>, world: &World) -> Answer {
        let linked = |path: &str| world.linked.get(path).copied();
        let file = |wanted| reference.file(&self.path, linked(&self.path), wanted);
        match self.operation {
            Operation::Read => file(perm::READ),
            Operation::Write | Operation::Truncate => file(perm::WRITE),
            Operation::ReadWrite => file(perm::READ | perm::WRITE),
            Operation::Execute => {
                let content = world.contents.get(&self.path).copied().unwrap_or_default();
                reference.exec(&self.path, linked(&self.path), content, &[])
            }
            Operation::Make | Operation::MakeDirectory | Operation::Remove => file(perm::NAME),
            Operation::Link => reference.link((&self.path, linked(&self.path)), (&self.to, linked(&self.to))),
            Operation::Rename => reference.rename(
                (&self.path, linked(&self.path)),
                (&self.to, linked(&self.to)),
                world.directories.contains(&self.path),
            ),
        }
    }

    /// Whether it can be undone when it is allowed, so that the next one finds the same world.
    pub fn can_be_undone(&self, world: &World) -> bool {
        match self.operation {
            // Another inode would have the name.
            Operation::Remove => !world.linked.contains_key(&self.path),
            Operation::Rename => world.free.contains(&self.to),
            _ => true,
        }
    }
}
