//! From a resolved policy to the contents of the kernel's maps.
//!
//! Pure and deterministic: the same input gives the same image. Knows: map layouts, hashes, rule
//! numbers. Must not know: the host, how a manifest is written.
//!
//! Architecture invariant: the kernel's map image and the agent's rule table come from this one
//! call.

mod digest;
mod globs;
mod names;
mod network;
mod programs;
mod views;

use std::collections::{BTreeMap, HashMap};

use aegis_common::environment::VariablePrefix;
use aegis_common::hash::PathHasher;
use aegis_common::limits;
use aegis_common::net::{NameKey, NetPrefix, PortRules, ResolverKey};
use aegis_common::argument::{ArgumentKey, ArgumentStep};
use aegis_common::path::{
    ContentKey, ContentRule, InodeKey, InodeRule, PathKey, PathRule, PinKey, path_flag, perm,
};
use aegis_common::policy::{Image, SyscallKey, image_flag};

pub use globs::CompiledGlobs;

use crate::policy::{Condition, Default, Effect, KillAction, Limits, Mode, Policy, Rule, SyscallEffect};
use crate::resolve::{Place, Resolved};
use crate::rules::RuleTable;
use crate::syscall;

/// Everything that the kernel and the agent hold for one policy. All lists are sorted by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledImage {
    /// Index of the image, as in every key.
    pub index: u32,
    /// The fixed part, `READY` set.
    pub image: Image,
    /// Rules by name.
    pub path_rules: Vec<(PathKey, PathRule)>,
    /// Directories with a rule at or below them, each with the number of one such rule.
    pub anchors: Vec<(PathKey, u32)>,
    /// Globs.
    pub globs: CompiledGlobs,
    /// Denied files by identity.
    pub inode_rules: Vec<(InodeKey, InodeRule)>,
    /// Banned programs by content, whatever their arguments or with some.
    pub content_rules: Vec<(ContentKey, ContentRule)>,
    /// Contents that pinned names may have, each with the number of its rule.
    pub pins: Vec<(PinKey, u32)>,
    /// Arguments that rules name.
    pub argument_steps: Vec<(ArgumentKey, ArgumentStep)>,
    /// Ends of argument rules, each with the number of its rule.
    pub argument_rules: Vec<(ArgumentKey, u32)>,
    /// Denied variables: prefix length (image bits included), key, number of the rule.
    pub variables: Vec<(u32, VariablePrefix, u32)>,
    /// Programs that address rules are for, each with its [`view`](aegis_common::net::view).
    pub programs: Vec<(PathKey, u32)>,
    /// Banned system calls, each with the number of its rule.
    pub syscall_rules: Vec<(SyscallKey, u32)>,
    /// Address rules: prefix length (image bits included), key, rules.
    pub net: Vec<(u32, NetPrefix, PortRules)>,
    /// Names that may be asked for, and the rules for what answers to them.
    pub names: Vec<(NameKey, PortRules)>,
    /// Resolvers that may be asked.
    pub resolvers: Vec<ResolverKey>,
    /// The rules behind the numbers.
    pub rules: RuleTable,
    /// Bounds on resources.
    pub limits: Limits,
    /// What the kill switch does.
    pub kill: KillAction,
    /// SHA-256 of what the image says, the same for every index, key, generation and file name.
    pub hash: [u8; 32],
}

/// The policy does not fit the kernel's maps. Nothing of it may be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// More of something than one image can hold.
    #[error(
        "the policy needs {needed} {what}, one image holds {limit}; name directories instead of single files"
    )]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are needed.
        needed: usize,
        /// How many fit.
        limit: usize,
    },
    /// More port rules for one address than the kernel looks at.
    #[error(
        "{needed} port rules meet at {prefix} (those of wider prefixes and names count), the kernel looks at {limit}; join port ranges, or drop rules that others cover. Rules: {rules}"
    )]
    PortRules {
        /// The prefix.
        prefix: String,
        /// How many are needed.
        needed: usize,
        /// How many fit.
        limit: usize,
        /// Their ids.
        rules: String,
    },
    /// A rule lies deeper in its filesystem than the kernel looks.
    #[error(
        "rule {rule}: its path has {depth} components inside its filesystem, the kernel looks at {limit}; name a directory further up"
    )]
    TooDeep {
        /// Id of the rule.
        rule: String,
        /// Components.
        depth: usize,
        /// Most components.
        limit: usize,
    },
    /// More of something than the automata of one image have positions for.
    #[error(
        "the globs of the policy need {needed} positions for {what}, one image has {limit} (rule {rule} is the first that does not fit); name directories, or let one glob with a `*` take the place of several. A glob takes a position for each component from the first wild one on and one more, a name with `*`, `?` or `[` one for each character and one more"
    )]
    Globs {
        /// Of what.
        what: &'static str,
        /// Id of the first rule that does not fit.
        rule: String,
        /// How many are needed.
        needed: usize,
        /// How many there are.
        limit: usize,
    },
    /// Two names have one hash.
    #[error(
        "two rules have the same name hash under this key; compile again with another random key"
    )]
    Collision,
}

/// Deepest rule: `Image::levels` has a bit for each of 0 to 63 components.
pub const MAX_RULE_DEPTH: usize = 63;

/// What all rules at one place say together.
#[derive(Clone, Debug, std::default::Default, PartialEq, Eq)]
struct Joint {
    allow: u8,
    deny: u8,
    record: bool,
    /// Rules that grant, by index, ascending.
    allow_rules: Vec<usize>,
    /// Rules that deny, by index, ascending.
    deny_rules: Vec<usize>,
    /// Rules of which globs begin or go on here, by index, ascending.
    starts: Vec<usize>,
    /// Rules that deny certain arguments, by index, ascending.
    argument_rules: Vec<usize>,
    /// Rules that pin the content, by index, ascending.
    pin_rules: Vec<usize>,
    /// Rules about addresses that are for the program here, by index, ascending.
    exe_rules: Vec<usize>,
}

/// Compiles a policy.
///
/// `image_index` is the free image to fill, `hash_key` the secret of this host, `generation` the
/// number that every event will carry.
///
/// # Errors
/// The policy does not fit; see [`CompileError`].
pub fn compile(
    policy: &Policy,
    resolved: &Resolved,
    image_index: u32,
    hash_key: [u64; 2],
    generation: u32,
) -> Result<CompiledImage, CompileError> {
    let mut rules = RuleTable::new(policy);
    let joints = join(policy, resolved)?;
    let programs = views::Programs::of(resolved)?;
    let views = programs.views(policy)?;
    let listened = network::listened(policy)?;
    let hash = digest::digest(policy, resolved, &joints, &views, &listened);
    let keys = Keys {
        image: image_index,
        hash_key,
    };
    let globs = globs::compile(policy, &resolved.globs, keys, &mut rules)?;
    let arguments = programs::Arguments::of(policy, keys, &mut rules)?;
    let pins = programs::pins(policy, &joints, keys, &mut rules)?;
    let (path_rules, levels) = path_rules(&joints, &arguments, keys, &mut rules)?;
    let anchors = anchors(&joints, keys, &mut rules)?;
    let inode_rules = inode_rules(policy, resolved, image_index, &mut rules)?;
    let content_rules = programs::contents(resolved, &arguments, image_index, &mut rules)?;
    let variables = programs::variables(policy, image_index, &mut rules)?;
    let syscall_rules = syscall_rules(policy, image_index, &mut rules)?;
    let mut net = network::keys(&listened, image_index | NetPrefix::LISTEN, &mut rules)?;
    let mut names = Vec::new();
    for view in &views {
        net.extend(network::keys(&view.prefixes, view.image(image_index), &mut rules)?);
        names.extend(names::keys(&view.names, view.image(image_index), hash_key, &mut rules)?);
    }
    let resolvers = if names.is_empty() { Vec::new() } else { names::resolvers(policy, image_index)? };
    let checks_servers = names.iter().any(|(_, rules)| rules.rules.iter().any(|rule| rule.server != 0));
    let mut flags = image_flag::READY;
    for (set, flag) in [
        (policy.mode == Mode::Audit, image_flag::AUDIT),
        (!inode_rules.is_empty(), image_flag::INODE_RULES),
        (content_rules.iter().any(|(_, of)| of.rule != 0), image_flag::CONTENT_RULES),
        (globs.table.is_some(), image_flag::GLOBS),
        (joints.values().any(|joint| !joint.pin_rules.is_empty()), image_flag::PINS),
        (!arguments.steps.is_empty(), image_flag::ARGUMENTS),
        (!variables.is_empty(), image_flag::ENVIRONMENT),
        (!policy.write_execute, image_flag::NO_WRITE_EXECUTE),
        (policy.record_or_deny && policy.mode == Mode::Enforce, image_flag::RECORD_OR_DENY),
        (!names.is_empty(), image_flag::NAMES),
        (policy.rules.iter().any(|rule| rule.effect.exe().is_some()), image_flag::PROGRAMS),
        (policy.dns.private_answers, image_flag::PRIVATE_ANSWERS),
        (checks_servers, image_flag::SERVER_NAMES),
        (policy.limits.bytes_out.is_some(), image_flag::BYTES_OUT),
        (policy.anonymous_exec, image_flag::ANONYMOUS_EXEC),
        (policy.default == Default::Allow, image_flag::RECORD_DEFAULT),
    ] {
        if set {
            flags |= flag;
        }
    }
    let (dropped_capabilities, capability_rule) = capabilities(policy, &mut rules)?;
    flags |= syscall_flags(policy);
    let open = policy.default == Default::Allow;
    let image = Image {
        flags,
        generation,
        levels,
        default_perms: if open { u32::from(perm::ALL) } else { 0 },
        default_network: u32::from(open),
        dropped_capabilities,
        capability_rule,
        least_ttl: policy.dns.least_ttl,
        most_ttl: policy.dns.most_ttl,
        programs: programs.digest(policy),
        most_bytes_out: policy.limits.bytes_out.unwrap_or(0),
        // Given when the image is installed.
        serial: 0,
    };
    Ok(CompiledImage {
        index: image_index,
        image,
        path_rules,
        anchors,
        globs,
        inode_rules,
        content_rules,
        pins,
        argument_steps: arguments.steps,
        argument_rules: arguments.rules,
        variables,
        programs: programs.keys(keys)?,
        syscall_rules,
        net,
        names,
        resolvers,
        rules,
        limits: policy.limits,
        kill: policy.kill,
        hash,
    })
}

/// Joins all rules that meet at a place.
fn join(policy: &Policy, resolved: &Resolved) -> Result<BTreeMap<Place, Joint>, CompileError> {
    let mut joints: BTreeMap<Place, Joint> = BTreeMap::new();
    for placed in &resolved.places {
        let Some(rule) = policy.rules.get(placed.rule) else {
            continue;
        };
        shallow(rule, &placed.place)?;
        let joint = joints.entry(placed.place.clone()).or_default();
        match condition(rule) {
            Condition::Arguments(_) => {
                joint.argument_rules.push(placed.rule);
                continue;
            }
            Condition::Content(_) => joint.pin_rules.push(placed.rule),
            Condition::None => {}
        }
        joint.allow |= placed.allow;
        joint.deny |= placed.deny;
        joint.record |= rule.record && placed.allow != 0;
        if placed.allow != 0 {
            joint.allow_rules.push(placed.rule);
        }
        if placed.deny != 0 {
            joint.deny_rules.push(placed.rule);
        }
    }
    for glob in &resolved.globs {
        let Some(rule) = policy.rules.get(glob.rule) else {
            continue;
        };
        shallow(rule, &glob.place)?;
        joints.entry(glob.place.clone()).or_default().starts.push(glob.rule);
    }
    for loader in &resolved.loaders {
        if loader.place.components.len() <= MAX_RULE_DEPTH {
            joints.entry(loader.place.clone()).or_default().pin_rules.push(loader.rule);
        }
    }
    for program in &resolved.programs {
        let Some(rule) = policy.rules.get(program.rule) else {
            continue;
        };
        shallow(rule, &program.place)?;
        joints.entry(program.place.clone()).or_default().exe_rules.push(program.rule);
    }
    for joint in joints.values_mut() {
        for rules in [
            &mut joint.exe_rules,
            &mut joint.starts,
            &mut joint.allow_rules,
            &mut joint.deny_rules,
            &mut joint.argument_rules,
            &mut joint.pin_rules,
        ] {
            rules.sort_unstable();
        }
    }
    Ok(joints)
}

/// Whether the kernel looks as deep as a place is.
fn shallow(rule: &Rule, place: &Place) -> Result<(), CompileError> {
    let depth = place.components.len();
    if depth > MAX_RULE_DEPTH {
        return Err(CompileError::TooDeep {
            rule: rule.id.clone(),
            depth,
            limit: MAX_RULE_DEPTH,
        });
    }
    Ok(())
}

/// What else a rule asks for.
fn condition(rule: &Rule) -> &Condition {
    match &rule.effect {
        Effect::Path(path) => &path.condition,
        Effect::Network(_) | Effect::Name(_) | Effect::Listen(_) | Effect::Syscall(_) | Effect::Variable(_) | Effect::Capabilities(_) => {
            &Condition::None
        }
    }
}

#[derive(Clone, Copy)]
struct Keys {
    image: u32,
    hash_key: [u64; 2],
}

impl Keys {
    /// The keys of a place and of every directory above it in its filesystem, outermost first.
    fn chain(self, place: &Place) -> impl Iterator<Item = PathKey> {
        let mut hasher = PathHasher::new(self.hash_key);
        let key = move |hasher: PathHasher| PathKey {
            image: self.image,
            dev: place.dev,
            hash: hasher.finish(),
        };
        std::iter::once(key(hasher)).chain(place.components.iter().map(move |component| {
            hasher.component(component);
            key(hasher)
        }))
    }
}

type PathRules = Vec<(PathKey, PathRule)>;

fn path_rules(
    joints: &BTreeMap<Place, Joint>,
    arguments: &programs::Arguments,
    keys: Keys,
    rules: &mut RuleTable,
) -> Result<(PathRules, u64), CompileError> {
    let mut levels = 0u64;
    let mut out = PathRules::new();
    for (place, joint) in joints {
        levels |= 1u64.checked_shl(bits(place.components.len())).unwrap_or(0);
        let Some(key) = keys.chain(place).last() else {
            continue;
        };
        let record = if joint.record { path_flag::RECORD } else { 0 };
        let starts = if joint.starts.is_empty() { 0 } else { path_flag::STARTS };
        let pin_rule = number(rules, &joint.pin_rules)?;
        let arguments = arguments.ends(&joint.argument_rules);
        let program = if pin_rule != 0 || arguments != 0 { path_flag::PROGRAM } else { 0 };
        let exe = if joint.exe_rules.is_empty() { 0 } else { path_flag::EXE };
        let rule = PathRule {
            allow: joint.allow,
            deny: joint.deny,
            flags: record | starts | program | exe,
            allow_rule: number(rules, &joint.allow_rules)?,
            deny_rule: number(rules, &joint.deny_rules)?,
            pin_rule,
            arguments,
        };
        out.push((key, rule));
    }
    out.sort_unstable_by_key(|(key, _)| *key);
    if out.windows(2).any(|w| matches!(w, [a, b] if a.0 == b.0)) {
        return Err(CompileError::Collision);
    }
    bounded("path rules", out.len(), limits::MAX_PATH_RULES)?;
    Ok((out, levels))
}

/// Every directory that has a rule at or below it. Two directories with one hash would only make
/// both immovable, so that a collision here is not an error.
fn anchors(
    joints: &BTreeMap<Place, Joint>,
    keys: Keys,
    rules: &mut RuleTable,
) -> Result<Vec<(PathKey, u32)>, CompileError> {
    let mut first: HashMap<PathKey, usize> = HashMap::new();
    for (place, joint) in joints {
        let least = joint
            .allow_rules
            .first()
            .into_iter()
            .chain(joint.deny_rules.first())
            .chain(joint.starts.first())
            .chain(joint.argument_rules.first())
            .chain(joint.exe_rules.first())
            .min();
        let Some(&rule) = least else { continue };
        for key in keys.chain(place) {
            first
                .entry(key)
                .and_modify(|r| *r = rule.min(*r))
                .or_insert(rule);
        }
    }
    bounded("anchors", first.len(), limits::MAX_ANCHORS)?;
    let mut out = Vec::with_capacity(first.len());
    for (key, rule) in first {
        out.push((key, number(rules, &[rule])?));
    }
    out.sort_unstable();
    Ok(out)
}

fn inode_rules(
    policy: &Policy,
    resolved: &Resolved,
    image: u32,
    rules: &mut RuleTable,
) -> Result<Vec<(InodeKey, InodeRule)>, CompileError> {
    let mut joints: BTreeMap<InodeKey, (u32, Vec<usize>)> = BTreeMap::new();
    for found in &resolved.inodes {
        let Some(Effect::Path(effect)) =
            policy.rules.get(found.rule).map(|r| &r.effect)
        else {
            continue;
        };
        let key = InodeKey {
            image,
            dev: found.dev,
            ino: found.ino,
        };
        let joint = joints.entry(key).or_default();
        joint.0 |= u32::from(effect.deny);
        joint.1.push(found.rule);
    }
    bounded(
        "files with several links",
        joints.len(),
        limits::MAX_INODE_RULES,
    )?;
    let mut out = Vec::with_capacity(joints.len());
    for (key, (deny, mut members)) in joints {
        members.sort_unstable();
        out.push((
            key,
            InodeRule {
                deny,
                rule: number(rules, &members)?,
            },
        ));
    }
    Ok(out)
}

/// What the policy takes away, and the number of the rule that does.
fn capabilities(policy: &Policy, rules: &mut RuleTable) -> Result<(u64, u32), CompileError> {
    for (index, rule) in policy.rules.iter().enumerate() {
        if let Effect::Capabilities(dropped) = rule.effect {
            return Ok((dropped, number(rules, &[index])?));
        }
    }
    Ok((0, aegis_common::policy::RULE_DEFAULT))
}

fn banned_calls(policy: &Policy) -> impl Iterator<Item = (usize, &SyscallEffect)> {
    policy.rules.iter().enumerate().filter_map(|(rule, of)| match &of.effect {
        Effect::Syscall(call) => Some((rule, call)),
        _ => None,
    })
}

/// What hooks must refuse too, so that no other call does what a banned one does.
fn syscall_flags(policy: &Policy) -> u32 {
    let guards = banned_calls(policy).filter_map(|(_, call)| syscall::guard(&call.name));
    guards.fold(0, |flags, guard| flags | guard.flag)
}

fn syscall_rules(
    policy: &Policy,
    image: u32,
    rules: &mut RuleTable,
) -> Result<Vec<(SyscallKey, u32)>, CompileError> {
    let mut out = Vec::new();
    for (rule, call) in banned_calls(policy) {
        let rule = number(rules, &[rule])?;
        out.extend(call.numbers.iter().map(|number| (SyscallKey { image, number: *number }, rule)));
    }
    bounded("banned system calls", out.len(), limits::MAX_SYSCALL_RULES)?;
    out.sort_unstable();
    Ok(out)
}

/// The number for rules that meet somewhere; 0 for none.
fn number(rules: &mut RuleTable, members: &[usize]) -> Result<u32, CompileError> {
    if members.is_empty() {
        return Ok(aegis_common::policy::RULE_DEFAULT);
    }
    rules.number(members).ok_or(CompileError::TooMany {
        what: "rules",
        needed: members.len(),
        limit: usize::MAX,
    })
}

fn bounded(what: &'static str, needed: usize, limit: u32) -> Result<(), CompileError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if needed > limit {
        return Err(CompileError::TooMany {
            what,
            needed,
            limit,
        });
    }
    Ok(())
}

fn bits(depth: usize) -> u32 {
    u32::try_from(depth).unwrap_or(u32::MAX)
}
