//! Struct offsets of the running kernel, from its BTF.

use std::collections::HashMap;

use aegis_common::offsets::{KernelFacts, KernelOffsets};
use libbpf_rs::{
    ReferencesType,
    btf::{
        Btf, BtfKind, BtfType, TypeId,
        types::{Composite, Func, FuncProto, MemberAttr, Struct},
    },
};

use super::{KernelError, memory};

/// Offsets and facts for the programs.
pub fn examine() -> Result<(KernelOffsets, KernelFacts), KernelError> {
    let btf = Btf::from_vmlinux().map_err(|error| KernelError::Btf {
        what: "the kernel's BTF can't be read".into(),
        detail: error.to_string(),
    })?;
    let structs = structs_by_name(&btf);
    let offsets = KernelOffsets::MEMBERS
        .iter()
        .map(|(name, path)| {
            // A name can stand for several types in one kernel (a driver's own `struct path`,
            // say): the first that has the whole member path is the one.
            structs
                .get(name)
                .into_iter()
                .flatten()
                .find_map(|id| offset_of(&btf, btf.type_by_id(*id)?, path))
                .ok_or_else(|| KernelError::Btf {
                    what: format!("struct {name}, member {path}"),
                    detail: "this kernel has no such member".into(),
                })
        })
        .collect::<Result<Vec<u32>, _>>()?;
    let offsets = KernelOffsets::from_members(offsets.into_iter()).ok_or_else(|| {
        KernelError::Btf { what: "struct offsets".into(), detail: "fewer than expected".into() }
    })?;
    let memory = memory::find();
    let facts = KernelFacts {
        setattr_dentry_first: u32::from(setattr_has_dentry_first(&btf)?),
        five_levels: u32::from(memory::five_levels()),
        page_offset_base: memory.page_offset_base,
        encryption_mask: memory.encryption_mask,
        layer_alias: layer_alias(&btf)?,
        perf_type_second: u32::from(begins_with_pointer(&btf, "bpf_lsm_perf_event_open")?),
    };
    Ok((offsets, facts))
}

/// One pass over all types: looking each name up would be one pass a name.
fn structs_by_name(btf: &Btf<'_>) -> HashMap<&'static str, Vec<TypeId>> {
    let mut found: HashMap<&'static str, Vec<TypeId>> =
        KernelOffsets::MEMBERS.iter().map(|(name, _)| (*name, Vec::new())).collect();
    for kind in btf.type_by_kind::<Struct<'_>>() {
        let name = kind.name().and_then(|name| name.to_str());
        if let Some(ids) = name.and_then(|name| found.get_mut(name)) {
            ids.push(kind.type_id());
        }
    }
    found
}

/// Byte offset of a member path such as `f_path.dentry`, through anonymous members.
fn offset_of<'b>(btf: &'b Btf<'b>, mut of: BtfType<'b>, path: &str) -> Option<u32> {
    let mut offset = 0;
    for field in path.split('.') {
        let (at, next) = member_of(btf, of, field)?;
        offset += at;
        of = next;
    }
    Some(offset)
}

fn member_of<'b>(btf: &'b Btf<'b>, of: BtfType<'b>, field: &str) -> Option<(u32, BtfType<'b>)> {
    let composite = Composite::try_from(of.skip_mods_and_typedefs()).ok()?;
    // Collected first: the iterator borrows the local value.
    let members: Vec<_> = composite.iter().map(|m| (m.name.map(ToOwned::to_owned), m.ty, m.attr)).collect();
    for (name, id, attr) in members {
        let MemberAttr::Normal { offset } = attr else { continue };
        let kind: BtfType<'b> = btf.type_by_id(id)?;
        match name {
            Some(name) if name == field => return Some((offset / 8, kind)),
            None => {
                if let Some((inner, found)) = member_of(btf, kind, field) {
                    return Some((offset / 8 + inner, found));
                }
            }
            Some(_) => {}
        }
    }
    None
}

/// See [`KernelFacts::layer_alias`]: a file that shows its layer keeps the overlay's path beside.
fn layer_alias(btf: &Btf<'_>) -> Result<u32, KernelError> {
    let member = |name: &str, path| {
        let mut kinds = btf.type_by_kind::<Struct<'_>>().filter(|kind| kind.name().is_some_and(|n| n == name));
        kinds.find_map(|kind| offset_of(btf, btf.type_by_id(kind.type_id())?, path))
    };
    if member("backing_file", "user_path").is_some() {
        return Ok(0);
    }
    member("dentry", "d_u.d_alias").ok_or_else(|| KernelError::Btf {
        what: "struct dentry, member d_u.d_alias".into(),
        detail: "this kernel has no such member, and struct backing_file has no user_path".into(),
    })
}

/// Whether the hook's first argument is a `struct dentry *`.
fn setattr_has_dentry_first(btf: &Btf<'_>) -> Result<bool, KernelError> {
    let first = first_argument(btf, "bpf_lsm_inode_setattr")?;
    let pointee = (first.kind() == BtfKind::Ptr).then(|| first.next_type()).flatten();
    Ok(pointee.is_some_and(|kind| {
        kind.skip_mods_and_typedefs().name().is_some_and(|name| name == "dentry")
    }))
}

/// Whether a hook's first argument is a pointer.
fn begins_with_pointer(btf: &Btf<'_>, hook: &str) -> Result<bool, KernelError> {
    Ok(first_argument(btf, hook)?.kind() == BtfKind::Ptr)
}

/// Type of a hook's first argument.
fn first_argument<'b>(btf: &'b Btf<'_>, hook: &str) -> Result<BtfType<'b>, KernelError> {
    let missing = |detail: &str| KernelError::Btf { what: hook.into(), detail: detail.into() };
    let function: Func<'_> = btf
        .type_by_name(hook)
        .ok_or_else(|| missing("no such function: BPF LSM is not built into this kernel"))?;
    let prototype = FuncProto::try_from(function.referenced_type())
        .map_err(|_| missing("it has no prototype"))?;
    prototype
        .iter()
        .next()
        .and_then(|parameter| btf.type_by_id::<BtfType<'_>>(parameter.ty))
        .ok_or_else(|| missing("it has no arguments"))
}
