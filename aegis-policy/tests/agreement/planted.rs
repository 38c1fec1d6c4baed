//! Mistakes that a compiler could make. Each returns whether the image had the place for it.

use aegis_common::glob::{GlobSet, GlobTable};
use aegis_common::net::IMAGE_BITS;
use aegis_common::path::{path_flag, perm};
use aegis_common::policy::image_flag;
use aegis_policy::CompiledImage;

type Mistake = (&'static str, fn(&mut CompiledImage) -> bool);

pub const MISTAKES: [Mistake; 44] = [
    ("a deny loses a bit", |i| {
        first(
            i.path_rules.iter_mut().find(|(_, r)| r.deny != 0),
            |(_, r)| r.deny &= !perm::READ,
        )
    }),
    ("an allow loses a bit", |i| {
        first(
            i.path_rules
                .iter_mut()
                .find(|(_, r)| r.allow & perm::READ != 0),
            |(_, r)| r.allow &= !perm::READ,
        )
    }),
    ("an allow gains a bit", |i| {
        first(
            i.path_rules.iter_mut().find(|(_, r)| r.allow == perm::READ),
            |(_, r)| r.allow |= perm::WRITE,
        )
    }),
    ("a path rule is missing", |i| i.path_rules.pop().is_some()),
    ("a path rule is on another device", |i| {
        first(i.path_rules.last_mut(), |(k, _)| k.dev ^= 64)
    }),
    ("a level is not looked up", |i| {
        let had = i.image.levels != 0;
        i.image.levels &= i.image.levels.wrapping_sub(1);
        had
    }),
    ("a rule has the number of another", |i| {
        first(
            i.path_rules.iter_mut().find(|(_, r)| r.allow != 0),
            |(_, r)| r.allow_rule += 1,
        )
    }),
    ("a glob's deny loses a bit", |i| {
        first(
            i.globs.entries.iter_mut().find(|(_, e)| e.rule.deny != 0),
            |(_, e)| e.rule.deny &= !perm::READ,
        )
    }),
    ("a glob's allow gains a bit", |i| {
        first(
            i.globs.entries.iter_mut().find(|(_, e)| e.rule.allow == perm::READ),
            |(_, e)| e.rule.allow |= perm::WRITE,
        )
    }),
    ("what a glob's end points at is missing", |i| i.globs.entries.pop().is_some()),
    ("a name that globs wait for is missing", |i| {
        let name = i.globs.entries.iter().position(|(k, _)| k.space == 0);
        first(name, |n| {
            i.globs.entries.remove(n);
        })
    }),
    ("a glob begins on another device", |i| {
        first(i.globs.starts.last_mut(), |(k, _)| k.dev ^= 64)
    }),
    ("a glob does not begin", |i| {
        first(i.path_rules.iter_mut().rev().find(|(_, r)| r.flags & path_flag::STARTS != 0), |(_, r)| {
            r.flags &= !path_flag::STARTS
        })
    }),
    ("`**` does not wait", |i| emptied(i, |t| &mut t.stay)),
    ("`*` waits for nothing", |i| emptied(i, |t| &mut t.any)),
    ("a run within a name ends at once", |i| emptied(i, |t| &mut t.byte_stay)),
    ("no glob is ever complete", |i| emptied(i, |t| &mut t.accept)),
    ("a directory may lose a glob's denies", |i| emptied(i, |t| &mut t.keep)),
    ("a directory may win what globs allow", |i| emptied(i, |t| &mut t.gain)),
    ("no anchors", |i| !std::mem::take(&mut i.anchors).is_empty()),
    ("inode rules are not looked up", |i| {
        cleared(&mut i.image.flags, image_flag::INODE_RULES)
    }),
    ("content rules are not looked up", |i| {
        cleared(&mut i.image.flags, image_flag::CONTENT_RULES)
    }),
    ("the environment is not looked at", |i| cleared(&mut i.image.flags, image_flag::ENVIRONMENT)),
    ("a denied variable is missing", |i| i.variables.pop().is_some()),
    ("a variable's name is shorter", |i| first(i.variables.first_mut(), |(length, _, _)| *length -= 8)),
    ("pins are not looked up", |i| cleared(&mut i.image.flags, image_flag::PINS)),
    ("a pinned content is missing", |i| i.pins.pop().is_some()),
    ("arguments are not looked at", |i| cleared(&mut i.image.flags, image_flag::ARGUMENTS)),
    ("an argument does not begin its rule", |i| {
        first(i.argument_steps.iter_mut().find(|(_, s)| s.first != 0), |(_, s)| s.first = 0)
    }),
    ("an argument rule holds at no name", |i| {
        first(i.path_rules.iter_mut().find(|(_, r)| r.arguments != 0), |(_, r)| r.arguments = 0)
    }),
    ("the default for files is turned", |i| {
        i.image.default_perms ^= u32::from(perm::ALL);
        true
    }),
    ("the default for addresses is turned", |i| {
        i.image.default_network ^= 1;
        true
    }),
    ("a port rule is turned", |i| {
        first(
            i.net.iter_mut().rev().find(|(.., r)| r.count > 0),
            |(.., r)| r.rules[0].allow ^= 1,
        )
    }),
    ("a port rule is missing", |i| {
        first(
            i.net.iter_mut().rev().find(|(.., r)| r.count > 0),
            |(.., r)| {
                r.rules.rotate_left(1);
                r.count -= 1;
            },
        )
    }),
    ("a program has another's rules", |i| first(i.programs.last_mut(), |(_, view)| *view = 0)),
    ("a program is at no name", |i| {
        first(i.path_rules.iter_mut().find(|(_, r)| r.flags & path_flag::EXE != 0), |(_, r)| r.flags &= !path_flag::EXE)
    }),
    ("what is for one program is for all", |i| {
        let view = i.programs.first().map_or(0, |(_, view)| *view);
        i.net.retain(|(_, key, _)| view == 0 || u32::from_be_bytes(key.image) >> 16 != 0);
        let own = i.net.iter_mut().filter(|(_, key, _)| u32::from_be_bytes(key.image) >> 16 == view);
        own.map(|(_, key, _)| key.image = i.index.to_be_bytes()).count() != 0 && view != 0
    }),
    ("a name is missing", |i| i.names.pop().is_some()),
    ("a name stands for what is below it", |i| {
        first(i.names.iter_mut().find(|(key, _)| key.below == 0), |(key, _)| key.below = 1)
    }),
    ("what is below a name is the name", |i| {
        first(i.names.iter_mut().find(|(key, _)| key.below == 1), |(key, _)| key.below = 0)
    }),
    ("the rules of a wider name are missing", |i| {
        first(i.names.iter_mut().find(|(_, r)| r.count > 1), |(_, r)| r.count -= 1)
    }),
    ("a name is reached by another protocol", |i| first(i.names.first_mut(), |(_, r)| r.rules[0].protocol ^= 6 ^ 17)),
    ("private answers are believed", |i| {
        i.image.flags & image_flag::PRIVATE_ANSWERS == 0 && {
            i.image.flags |= image_flag::PRIVATE_ANSWERS;
            true
        }
    }),
    ("IPv4 falls to the rules for IPv6", |i| {
        let before = i.net.len();
        // The entry for all IPv4 addresses, without rules of its own.
        i.net.retain(|(n, key, rules)| {
            *n != IMAGE_BITS + 96 || key.address[11] != 0xff || rules.count != 0
        });
        before != i.net.len() && i.net.iter().any(|(n, ..)| *n < IMAGE_BITS + 96)
    }),
];

/// Empties a set of the automata.
fn emptied(image: &mut CompiledImage, set: fn(&mut GlobTable) -> &mut GlobSet) -> bool {
    let Some(table) = &mut image.globs.table else { return false };
    let had = !set(table).is_empty();
    *set(table) = GlobSet::EMPTY;
    had
}

fn first<T>(place: Option<T>, change: impl FnOnce(T)) -> bool {
    place.map(change).is_some()
}

fn cleared(flags: &mut u32, flag: u32) -> bool {
    let had = *flags & flag != 0;
    *flags &= !flag;
    had
}
