//! What the kernel programs do with an image, done in user space.
//!
//! Knows: the maps' contents, the walk, the order of look-ups. Must not know: the policy that the
//! image was compiled from.
//!
//! The kernel programs are written against the same description (docs/policy-model.md); tests hold
//! this module and [`crate::reference`] together on the host, and a VM test holds the kernel to
//! them.

mod network;

use std::collections::HashMap;

use aegis_common::event::reason;
use aegis_common::argument::{ArgumentKey, ArgumentStep, Followed};
use aegis_common::environment::VARIABLE;
use aegis_common::glob::{GLOB_WORDS, GlobEntry, GlobKey, GlobSet, GlobTable, filter_bit};
use aegis_common::hash::{self, PathHasher};
use aegis_common::limits::MAX_DEPTH;
use aegis_common::net::{NameKey, PortRules, view};
use aegis_common::path::{
    ContentKey, ContentRule, InodeKey, InodeRule, PathKey, PathRule, PinKey, path_flag, perm,
};
use aegis_common::policy::{RULE_DEFAULT, image_flag};

use crate::compile::CompiledImage;
use crate::resolve::Place;

/// A name as the kernel sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where its dentry chain leads.
    pub place: Place,
    /// Inode number, when the file exists and has more than one link.
    pub linked: Option<u64>,
}

/// What was decided. In `mode: audit` the kernel records it and lets the call go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the policy allows.
    pub allowed: bool,
    /// `reason::*`.
    pub reason: u8,
    /// Number of the rule.
    pub rule: u32,
    /// Whether an event is written.
    pub recorded: bool,
}

/// What a walk refuses that misses a part of the image.
const UNREAD: Decision = Decision::deny(reason::READ_FAILED, RULE_DEFAULT);

impl Decision {
    const fn deny(reason: u8, rule: u32) -> Self {
        Self {
            allowed: false,
            reason,
            rule,
            recorded: true,
        }
    }
}

/// What one walk found. Only names: what another name of the file says is asked when the name
/// allows.
#[derive(Clone, Debug, Default)]
struct Access {
    /// Rules at the levels of the name, the root's first.
    hits: Vec<Vec<PathRule>>,
    granted: u8,
    denied: u8,
    /// Positions of globs that wait below the name.
    globs: GlobSet,
    /// The deepest pinned name, and the number of its rules.
    pin: Option<(PathKey, u32)>,
    /// Ends of the argument rules at all levels.
    arguments: u64,
}

/// The maps of one image, as the kernel programs use them.
#[derive(Debug)]
pub struct Kernel<'i> {
    image: &'i CompiledImage,
    hash_key: [u64; 2],
    paths: HashMap<PathKey, PathRule>,
    anchors: HashMap<PathKey, u32>,
    globs: HashMap<GlobKey, GlobEntry>,
    starts: HashMap<PathKey, GlobSet>,
    inodes: HashMap<InodeKey, InodeRule>,
    contents: HashMap<ContentKey, ContentRule>,
    pins: HashMap<PinKey, u32>,
    steps: HashMap<ArgumentKey, ArgumentStep>,
    ends: HashMap<ArgumentKey, u32>,
    names: HashMap<NameKey, PortRules>,
    /// Whose rules about addresses.
    view: u32,
}

impl<'i> Kernel<'i> {
    /// Loads an image.
    #[must_use]
    pub fn new(image: &'i CompiledImage, hash_key: [u64; 2]) -> Self {
        Self {
            image,
            hash_key,
            paths: image.path_rules.iter().copied().collect(),
            anchors: image.anchors.iter().copied().collect(),
            globs: image.globs.entries.iter().copied().collect(),
            starts: image.globs.starts.iter().copied().collect(),
            inodes: image.inode_rules.iter().copied().collect(),
            contents: image.content_rules.iter().copied().collect(),
            pins: image.pins.iter().copied().collect(),
            steps: image.argument_steps.iter().copied().collect(),
            ends: image.argument_rules.iter().copied().collect(),
            names: image.names.iter().copied().collect(),
            view: view::OTHERS,
        }
    }

    fn flag(&self, flag: u32) -> bool {
        self.image.image.flags & flag != 0
    }

    /// The hash of every prefix of a name, level 0 first.
    fn hashes(&self, place: &Place) -> Vec<PathKey> {
        let mut hasher = PathHasher::new(self.hash_key);
        let mut out = Vec::new();
        let key = |h: PathHasher| PathKey {
            image: self.image.index,
            dev: place.dev,
            hash: h.finish(),
        };
        out.push(key(hasher));
        for component in &place.components {
            hasher.component(component);
            out.push(key(hasher));
        }
        out
    }

    /// The walk: every level that has rules, from the root down. The reason why a name cannot be
    /// looked at is an error.
    fn walk(&self, file: &File) -> Result<Access, Decision> {
        if !self.flag(image_flag::READY) {
            return Err(Decision::deny(reason::UNCONFIGURED, RULE_DEFAULT));
        }
        if file.place.components.len() > usize::try_from(MAX_DEPTH).unwrap_or(0) {
            return Err(Decision::deny(reason::TOO_DEEP, RULE_DEFAULT));
        }
        let mut access = Access {
            granted: low(self.image.image.default_perms),
            ..Access::default()
        };
        let names = std::iter::once(None).chain(file.place.components.iter().map(Some));
        for ((level, key), name) in (0u32..).zip(self.hashes(&file.place)).zip(names) {
            let mut hits = Vec::new();
            let mut complete = Vec::new();
            if let (Some(name), false) = (name, access.globs.is_empty()) {
                complete = self.step(&mut access.globs, name)?;
            }
            let looked_up = self
                .image
                .image
                .levels
                .checked_shr(level)
                .is_some_and(|l| l & 1 == 1);
            if let Some(rule) = self.paths.get(&key).filter(|_| looked_up) {
                hits.push(*rule);
                if rule.flags & path_flag::PROGRAM != 0 {
                    access.arguments |= rule.arguments;
                    if rule.pin_rule != RULE_DEFAULT {
                        access.pin = Some((key, rule.pin_rule));
                    }
                }
                if rule.flags & path_flag::STARTS != 0 {
                    let starts = self.starts.get(&key).ok_or(UNREAD)?;
                    access.globs = access.globs.or(starts);
                }
            }
            hits.extend(complete);
            access.hits.push(hits);
        }
        for hit in access.hits.iter().flatten() {
            access.granted |= hit.allow;
            access.denied |= hit.deny;
        }
        access.granted &= !access.denied;
        Ok(access)
    }

    /// Takes the waiting positions through a component, and answers the rules of the globs that it
    /// completes.
    fn step(&self, active: &mut GlobSet, name: &[u8]) -> Result<Vec<PathRule>, Decision> {
        let has_globs = self.flag(image_flag::GLOBS);
        let table = self.image.globs.table.as_ref().filter(|_| has_globs).ok_or(UNREAD)?;
        let image = self.image.index;
        let mut met = table.any;
        let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
        let first = name.first().copied().unwrap_or(0);
        if !active.and(&table.literal).is_empty() && table.filter & filter_bit(length, first) != 0 {
            let mut hasher = PathHasher::new(self.hash_key);
            hasher.component(name);
            if let Some(entry) = self.globs.get(&GlobKey::name(image, hasher.finish())) {
                met = met.or(&entry.set);
            }
        }
        if !active.and(&table.wild).is_empty() {
            for (word, bit) in bits(&wild_ends(table, name)) {
                met = met.or(&self.globs.get(&GlobKey::wild(image, word, bit)).ok_or(UNREAD)?.set);
            }
        }
        let entered = active.and(&met).advanced();
        *active = entered.or(&active.and(&table.stay));
        bits(&entered.and(&table.accept))
            .map(|(word, bit)| Ok(self.globs.get(&GlobKey::rule(image, word, bit)).ok_or(UNREAD)?.rule))
            .collect()
    }

    /// Whether what globs say of the names below a directory would change by its moving.
    fn changes_below(&self, source: &Access, target: &Access) -> bool {
        let Some(table) = self.image.globs.table.as_ref().filter(|_| self.flag(image_flag::GLOBS)) else {
            return false;
        };
        let (old, new) = (&source.globs, &target.globs);
        !old.and(&table.keep).is_within(new)
            || !new.and(&table.gain).is_within(old)
            || (source.denied & !target.denied != 0 && !new.and(&table.gain).is_empty())
    }

    /// A deny that follows the file under its other names.
    fn same_file(&self, file: &File, wanted: u8) -> Option<Decision> {
        let ino = file.linked.filter(|_| self.flag(image_flag::INODE_RULES))?;
        let key = InodeKey {
            image: self.image.index,
            dev: file.place.dev,
            ino,
        };
        let rule = self
            .inodes
            .get(&key)
            .filter(|rule| low(rule.deny) & wanted != 0)?;
        Some(Decision::deny(reason::SAME_FILE, rule.rule))
    }

    /// Decides an operation that wants `wanted` of one name.
    #[must_use]
    pub fn file(&self, file: &File, wanted: u8) -> Decision {
        let decision = match self.walk(file) {
            Ok(access) => self.verdict(&access, wanted),
            Err(decision) => decision,
        };
        if !decision.allowed {
            return decision;
        }
        self.same_file(file, wanted).unwrap_or(decision)
    }

    fn verdict(&self, access: &Access, wanted: u8) -> Decision {
        if access.denied & wanted != 0 {
            return access.first_deny(wanted);
        }
        if wanted & !access.granted != 0 {
            return Decision::deny(reason::DEFAULT, RULE_DEFAULT);
        }
        match access.last_allow(wanted) {
            Some((rule, recorded)) => Decision {
                allowed: true,
                reason: reason::RULE,
                rule,
                recorded,
            },
            None => Decision {
                allowed: true,
                reason: reason::DEFAULT,
                rule: RULE_DEFAULT,
                recorded: self.flag(image_flag::RECORD_DEFAULT),
            },
        }
    }

    /// Decides running a program: its name, its content, then its arguments (its own name is the first).
    #[must_use]
    pub fn exec(&self, file: &File, sha256: [u8; 32], argv: &[&[u8]]) -> Decision {
        let by_name = self.file(file, perm::EXEC);
        if !by_name.allowed {
            return by_name;
        }
        let named = match self.walk(file) {
            Ok(access) => access,
            Err(decision) => return decision,
        };
        let key = ContentKey {
            image: self.image.index,
            reserved: 0,
            sha256,
        };
        let content = self.contents.get(&key).copied().unwrap_or_default();
        if self.flag(image_flag::CONTENT_RULES) && content.rule != RULE_DEFAULT {
            return Decision::deny(reason::SAME_CONTENT, content.rule);
        }
        if let Some(denied) = self.pin(&named, sha256) {
            return denied;
        }
        let fits = self.fits(argv);
        for (ends, why) in [(named.arguments, reason::RULE), (content.arguments, reason::SAME_CONTENT)] {
            let ends = ends & fits;
            if ends != 0 {
                let first = self.argument(ends & ends.wrapping_neg());
                return Decision::deny(why, self.ends.get(&first).copied().unwrap_or(RULE_DEFAULT));
            }
        }
        by_name
    }

    /// What the deepest pinned name says to a content that it does not have.
    fn pin(&self, named: &Access, sha256: [u8; 32]) -> Option<Decision> {
        let (place, rule) = named.pin.filter(|_| self.flag(image_flag::PINS))?;
        let key = PinKey {
            image: self.image.index,
            dev: place.dev,
            place: place.hash,
            sha256,
        };
        (!self.pins.contains_key(&key)).then(|| Decision::deny(reason::NOT_PINNED, rule))
    }

    /// Ends of the argument rules that fit.
    fn fits(&self, argv: &[&[u8]]) -> u64 {
        let mut followed = Followed::default();
        if self.flag(image_flag::ARGUMENTS) {
            for argument in argv.iter().skip(1) {
                let key = self.argument(hash::argument(self.hash_key, argument));
                if let Some(step) = self.steps.get(&key) {
                    followed.step(*step);
                }
            }
        }
        followed.fits
    }

    fn argument(&self, value: u64) -> ArgumentKey {
        ArgumentKey {
            image: self.image.index,
            reserved: 0,
            value,
        }
    }

    /// Decides running a program with a variable in its environment, given as `NAME=VALUE`; `None` where
    /// that says nothing.
    #[must_use]
    pub fn variable(&self, variable: &[u8]) -> Option<Decision> {
        if !self.flag(image_flag::ENVIRONMENT) {
            return None;
        }
        let mut seen = [0; VARIABLE];
        seen.iter_mut().zip(variable).for_each(|(to, from)| *to = *from);
        let fits = |length: u32, name: &[u8; VARIABLE]| {
            let bytes = (length as usize / 8).saturating_sub(size_of::<u32>());
            name.get(..bytes) == seen.get(..bytes)
        };
        let all = self.image.variables.iter().filter(|(length, key, _)| fits(*length, &key.name));
        let longest = all.max_by_key(|(length, _, _)| *length)?;
        Some(Decision::deny(reason::ENVIRONMENT, longest.2))
    }

    /// Decides running a program without a name.
    #[must_use]
    pub fn exec_anonymous(&self) -> Decision {
        let allowed = self.flag(image_flag::READY) && self.flag(image_flag::ANONYMOUS_EXEC);
        Decision {
            allowed,
            reason: reason::ANONYMOUS,
            rule: RULE_DEFAULT,
            recorded: true,
        }
    }

    /// Decides a hard link.
    #[must_use]
    pub fn link(&self, from: &File, to: &File) -> Decision {
        self.new_name(from, to, false)
    }

    /// Decides a rename. An exchange is two of them.
    #[must_use]
    pub fn rename(&self, from: &File, to: &File, directory: bool) -> Decision {
        self.new_name(from, to, directory)
    }

    /// A file gets another name: both must be writable, the new one may grant nothing that the old
    /// one did not, no directory moves that holds a rule or comes to stand where one is, and
    /// neither file may be denied under another name.
    fn new_name(&self, from: &File, to: &File, directory: bool) -> Decision {
        let (source, target) = match (self.walk(from), self.walk(to)) {
            (Ok(source), Ok(target)) => (source, target),
            (Err(decision), _) | (_, Err(decision)) => return decision,
        };
        let decision = self.verdict(&source, perm::NAME);
        if !decision.allowed {
            return decision;
        }
        let decision = self.verdict(&target, perm::NAME);
        if !decision.allowed {
            return decision;
        }
        if target.granted & !source.granted != 0 {
            return Decision::deny(reason::WOULD_GRANT_MORE, RULE_DEFAULT);
        }
        let stays = self.holds_rule(from) || self.holds_rule(to) || self.changes_below(&source, &target);
        if directory && stays {
            return Decision::deny(reason::HOLDS_RULE, RULE_DEFAULT);
        }
        self.same_file(from, perm::ALL & !perm::EXEC)
            .or_else(|| self.same_file(to, perm::NAME))
            .unwrap_or(decision)
    }

    fn holds_rule(&self, file: &File) -> bool {
        self.hashes(&file.place)
            .last()
            .is_some_and(|key| self.anchors.contains_key(key))
    }
}

/// Where the automaton over bytes ends that goes through a name.
fn wild_ends(table: &GlobTable, name: &[u8]) -> GlobSet {
    let mut state = table.byte_first;
    for byte in name {
        let satisfied = table.bytes.get(usize::from(*byte)).copied().unwrap_or_default();
        state = state.and(&satisfied).advanced().or(&state.and(&table.byte_stay));
    }
    state.and(&table.byte_accept)
}

/// The positions of a set in order, each as its word and its bit in there.
fn bits(set: &GlobSet) -> impl Iterator<Item = (u32, u64)> + use<> {
    let words = set.words;
    (0u32..).zip(words).take(GLOB_WORDS).flat_map(|(n, word)| {
        (0..64).map(move |bit| (n, word & (1 << bit))).filter(|(_, bit)| *bit != 0)
    })
}

/// Permission bits out of a wider field; what does not fit is every bit.
fn low(bits: u32) -> u8 {
    u8::try_from(bits).unwrap_or(perm::ALL)
}

impl Access {
    /// The deny that is told: the shallowest name that denies something wanted.
    fn first_deny(&self, wanted: u8) -> Decision {
        let hit = self.hits.iter().flatten().find(|hit| hit.deny & wanted != 0);
        Decision::deny(reason::RULE, hit.map_or(RULE_DEFAULT, |hit| hit.deny_rule))
    }

    /// The allow that is told: the deepest name that grants something wanted, and whether it is
    /// recorded.
    fn last_allow(&self, wanted: u8) -> Option<(u32, bool)> {
        let mut deepest_first = self.hits.iter().rev().flatten();
        let hit = deepest_first.find(|hit| hit.allow & wanted != 0)?;
        Some((hit.allow_rule, hit.flags & path_flag::RECORD != 0))
    }
}
