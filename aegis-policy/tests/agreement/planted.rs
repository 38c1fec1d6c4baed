//! Mistakes that a compiler could make. Each returns whether the image had the place for it.

use aegis_common::net::IMAGE_BITS;
use aegis_common::path::perm;
use aegis_common::policy::image_flag;
use aegis_policy::CompiledImage;

type Mistake = (&'static str, fn(&mut CompiledImage) -> bool);

pub const MISTAKES: [Mistake; 15] = [
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
    ("no anchors", |i| !std::mem::take(&mut i.anchors).is_empty()),
    ("inode rules are not looked up", |i| {
        cleared(&mut i.image.flags, image_flag::INODE_RULES)
    }),
    ("content rules are not looked up", |i| {
        cleared(&mut i.image.flags, image_flag::CONTENT_RULES)
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
    ("IPv4 falls to the rules for IPv6", |i| {
        let before = i.net.len();
        // The entry for all IPv4 addresses, without rules of its own.
        i.net.retain(|(n, key, rules)| {
            *n != IMAGE_BITS + 96 || key.address[11] != 0xff || rules.count != 0
        });
        before != i.net.len() && i.net.iter().any(|(n, ..)| *n < IMAGE_BITS + 96)
    }),
];

fn first<T>(place: Option<T>, change: impl FnOnce(T)) -> bool {
    place.map(change).is_some()
}

fn cleared(flags: &mut u32, flag: u32) -> bool {
    let had = *flags & flag != 0;
    *flags &= !flag;
    had
}
