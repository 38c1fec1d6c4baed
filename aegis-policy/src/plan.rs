//! From an old and a new image to map operations in an order that never leaves a gap.
//!
//! Knows: which operation must come before which. Must not know: how an operation is done.
//!
//! The new image is filled while nobody points at it, then marked ready, then the agent's state is
//! swapped in one store, and only then does the old image go away. A hook sees the old policy or
//! the new one, whole. A plan that is interrupted at any operation leaves the agent governed by
//! one of them.

use aegis_common::glob::{GlobEntry, GlobKey, GlobSet, GlobTable};
use aegis_common::environment::VariablePrefix;
use aegis_common::net::{NameKey, NetPrefix, PortRules, ResolverKey};
use aegis_common::argument::{ArgumentKey, ArgumentStep};
use aegis_common::path::{ContentKey, ContentRule, InodeKey, InodeRule, PathKey, PathRule, PinKey};
use aegis_common::policy::{Image, SyscallKey};

use crate::compile::CompiledImage;

/// One map operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Write the fixed part of an image. Zeroed (not ready) it denies everything.
    SetImage(u32, Image),
    /// Enter a path rule.
    PutPath(PathKey, PathRule),
    /// Enter an anchor.
    PutAnchor(PathKey, u32),
    /// Enter the automata of an image's globs.
    PutGlobTable(u32, Box<GlobTable>),
    /// Enter what the automata point at.
    PutGlob(GlobKey, GlobEntry),
    /// Enter the positions that wait from a name on.
    PutGlobStart(PathKey, GlobSet),
    /// Enter an inode rule.
    PutInode(InodeKey, InodeRule),
    /// Enter a content rule.
    PutContent(ContentKey, ContentRule),
    /// Enter a content that a pinned name may have.
    PutPin(PinKey, u32),
    /// Enter an argument that rules name.
    PutArgument(ArgumentKey, ArgumentStep),
    /// Enter the end of an argument rule.
    PutArgumentRule(ArgumentKey, u32),
    /// Enter a denied variable, by a prefix of this length.
    PutVariable(u32, VariablePrefix, u32),
    /// Enter a program that address rules are for.
    PutProgram(PathKey, u32),
    /// Enter a banned system call.
    PutSyscall(SyscallKey, u32),
    /// Enter the rules of an address prefix of this length.
    PutNet(u32, NetPrefix, PortRules),
    /// Enter the rules of a name.
    PutName(NameKey, PortRules),
    /// Enter a resolver.
    PutResolver(ResolverKey),
    /// Let the agent's state name this image, its flags kept, in one eight-byte store.
    PointAgent(u32),
    /// Remove a path rule.
    RemovePath(PathKey),
    /// Remove an anchor.
    RemoveAnchor(PathKey),
    /// Remove the automata of an image's globs.
    RemoveGlobTable(u32),
    /// Remove what they point at.
    RemoveGlob(GlobKey),
    /// Remove the positions that wait from a name on.
    RemoveGlobStart(PathKey),
    /// Remove an inode rule.
    RemoveInode(InodeKey),
    /// Remove a content rule.
    RemoveContent(ContentKey),
    /// Remove a content that a pinned name may have.
    RemovePin(PinKey),
    /// Remove an argument that rules name.
    RemoveArgument(ArgumentKey),
    /// Remove the end of an argument rule.
    RemoveArgumentRule(ArgumentKey),
    /// Remove a denied variable.
    RemoveVariable(u32, VariablePrefix),
    /// Remove a program that address rules are for.
    RemoveProgram(PathKey),
    /// Remove a banned system call.
    RemoveSyscall(SyscallKey),
    /// Remove the rules of an address prefix of this length.
    RemoveNet(u32, NetPrefix),
    /// Remove the rules of a name.
    RemoveName(NameKey),
    /// Remove a resolver.
    RemoveResolver(ResolverKey),
}

/// The images cannot be exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The new image would overwrite the one in force.
    #[error("image {0} is in force; compile the new policy for a free image index")]
    SameIndex(u32),
}

/// Operations that bring `new` into force instead of `old`.
///
/// Without `old` the agent begins, without `new` it ends: then its cgroups must be gone, since the
/// agent state is left pointing at an image that is no longer ready, which denies everything.
///
/// # Errors
/// Both images have the same index.
pub fn plan(
    old: Option<&CompiledImage>,
    new: Option<&CompiledImage>,
) -> Result<Vec<Operation>, PlanError> {
    if let (Some(old), Some(new)) = (old, new)
        && old.index == new.index
    {
        return Err(PlanError::SameIndex(new.index));
    }
    let mut out = Vec::new();
    if let Some(new) = new {
        fill(new, &mut out);
        out.push(Operation::PointAgent(new.index));
    }
    if let Some(old) = old {
        clear(old, &mut out);
    }
    Ok(out)
}

/// Operations that fill an image and mark it ready.
fn fill(new: &CompiledImage, out: &mut Vec<Operation>) {
    out.push(Operation::SetImage(new.index, Image::default()));
    out.extend(
        new.path_rules
            .iter()
            .map(|(k, v)| Operation::PutPath(*k, *v)),
    );
    out.extend(
        new.anchors
            .iter()
            .map(|(k, v)| Operation::PutAnchor(*k, *v)),
    );
    let globs = &new.globs;
    out.extend(globs.table.iter().map(|t| Operation::PutGlobTable(new.index, t.clone())));
    out.extend(globs.entries.iter().map(|(k, v)| Operation::PutGlob(*k, *v)));
    out.extend(globs.starts.iter().map(|(k, v)| Operation::PutGlobStart(*k, *v)));
    out.extend(
        new.inode_rules
            .iter()
            .map(|(k, v)| Operation::PutInode(*k, *v)),
    );
    out.extend(
        new.content_rules
            .iter()
            .map(|(k, v)| Operation::PutContent(*k, *v)),
    );
    out.extend(new.pins.iter().map(|(k, v)| Operation::PutPin(*k, *v)));
    out.extend(new.argument_steps.iter().map(|(k, v)| Operation::PutArgument(*k, *v)));
    out.extend(new.argument_rules.iter().map(|(k, v)| Operation::PutArgumentRule(*k, *v)));
    out.extend(new.variables.iter().map(|(n, k, v)| Operation::PutVariable(*n, *k, *v)));
    out.extend(new.programs.iter().map(|(k, v)| Operation::PutProgram(*k, *v)));
    out.extend(
        new.syscall_rules
            .iter()
            .map(|(k, v)| Operation::PutSyscall(*k, *v)),
    );
    out.extend(
        new.net
            .iter()
            .map(|(n, k, v)| Operation::PutNet(*n, *k, *v)),
    );
    out.extend(new.names.iter().map(|(k, v)| Operation::PutName(*k, *v)));
    out.extend(new.resolvers.iter().map(|k| Operation::PutResolver(*k)));
    out.push(Operation::SetImage(new.index, new.image));
}

/// Operations that take an image out of use: first it denies everything, then it is emptied.
fn clear(old: &CompiledImage, out: &mut Vec<Operation>) {
    out.push(Operation::SetImage(old.index, Image::default()));
    out.extend(
        old.path_rules
            .iter()
            .map(|(k, _)| Operation::RemovePath(*k)),
    );
    out.extend(old.anchors.iter().map(|(k, _)| Operation::RemoveAnchor(*k)));
    out.extend(old.globs.table.iter().map(|_| Operation::RemoveGlobTable(old.index)));
    out.extend(old.globs.entries.iter().map(|(k, _)| Operation::RemoveGlob(*k)));
    out.extend(old.globs.starts.iter().map(|(k, _)| Operation::RemoveGlobStart(*k)));
    out.extend(
        old.inode_rules
            .iter()
            .map(|(k, _)| Operation::RemoveInode(*k)),
    );
    out.extend(
        old.content_rules
            .iter()
            .map(|(k, _)| Operation::RemoveContent(*k)),
    );
    out.extend(old.pins.iter().map(|(k, _)| Operation::RemovePin(*k)));
    out.extend(old.argument_steps.iter().map(|(k, _)| Operation::RemoveArgument(*k)));
    out.extend(old.argument_rules.iter().map(|(k, _)| Operation::RemoveArgumentRule(*k)));
    out.extend(old.variables.iter().map(|(n, k, _)| Operation::RemoveVariable(*n, *k)));
    out.extend(old.programs.iter().map(|(k, _)| Operation::RemoveProgram(*k)));
    out.extend(
        old.syscall_rules
            .iter()
            .map(|(k, _)| Operation::RemoveSyscall(*k)),
    );
    out.extend(old.net.iter().map(|(n, k, _)| Operation::RemoveNet(*n, *k)));
    out.extend(old.names.iter().map(|(k, _)| Operation::RemoveName(*k)));
    out.extend(old.resolvers.iter().map(|k| Operation::RemoveResolver(*k)));
}

/// Operations that undo a fill that failed half way, the agent not yet pointed at it.
#[must_use]
pub fn abandon(new: &CompiledImage) -> Vec<Operation> {
    let mut out = Vec::new();
    clear(new, &mut out);
    out
}
