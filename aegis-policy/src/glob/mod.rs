//! Patterns of paths: a literal prefix, then components that may be wild.
//!
//! Knows: what a glob means. Must not know: what exists on a host, what the kernel's tables look like.
//!
//! `*` is any run of bytes within a component, `?` one byte, `[a-z]` and `[!a-z]` one byte of a set or
//! not of it, `**` any number of whole components, `{a,b}` one of several. A leading dot is a byte
//! like any other.

mod read;

use std::fmt;

use crate::path::AbsPath;

pub use read::{GlobError, MAX_ALTERNATIVES, quoted, read};

/// A path pattern. It means what it matches and everything below.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern {
    /// The components before the first wild one: a path like that of any rule.
    pub prefix: AbsPath,
    /// What follows; empty for a plain path.
    pub tail: Tail,
}

/// The components of a pattern from the first wild one on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tail {
    steps: Vec<Step>,
}

/// One component of a tail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// Whether any number of components may come before it (`**`).
    pub anywhere: bool,
    /// What it is called.
    pub name: Name,
}

/// What a component may be called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// This.
    Literal(Vec<u8>),
    /// Anything (`*`).
    Any,
    /// What these pieces match, one after another.
    Wild(Vec<Piece>),
}

/// A part of a wild name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Piece {
    /// Any run of bytes, none included.
    Run,
    /// One byte of a set.
    One(ByteSet),
}

/// A set of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSet {
    halves: [u128; 2],
}

impl ByteSet {
    /// Every byte.
    pub const ALL: Self = Self { halves: [u128::MAX; 2] };

    /// Whether a byte is in the set.
    #[must_use]
    pub fn contains(&self, byte: u8) -> bool {
        let [low, high] = self.halves;
        (if byte < 128 { low } else { high }) >> (byte & 127) & 1 == 1
    }

    /// Puts a byte in.
    pub fn insert(&mut self, byte: u8) {
        let [low, high] = &mut self.halves;
        *(if byte < 128 { low } else { high }) |= 1 << (byte & 127);
    }

    /// The bytes that are not in it.
    #[must_use]
    pub fn inverted(self) -> Self {
        Self { halves: self.halves.map(|half| !half) }
    }

    /// The byte, when there is only one.
    #[must_use]
    pub fn single(&self) -> Option<u8> {
        let mut bytes = (0..=u8::MAX).filter(|b| self.contains(*b));
        bytes.next().filter(|_| bytes.next().is_none())
    }
}

/// Positions of a tail: bit n is set where the first n steps are done and step n is waited for. The
/// bit behind the last step says that the tail is complete.
pub type Positions = u64;

/// What a component does to positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stepped {
    /// Those that the component itself led to.
    pub entered: Positions,
    /// Those that wait for the next component.
    pub active: Positions,
}

impl Tail {
    /// Most steps: as many as a rule has components.
    pub const MAX_STEPS: usize = crate::compile::MAX_RULE_DEPTH;
    /// Where a tail begins.
    pub const BEGIN: Positions = 1;

    /// The steps in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether the pattern is a plain path.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The position at which the tail is complete.
    #[must_use]
    pub fn end(&self) -> Positions {
        1u64.checked_shl(u32::try_from(self.steps.len()).unwrap_or(u32::MAX)).unwrap_or(0)
    }

    /// Takes positions through a component.
    #[must_use]
    pub fn step(&self, active: Positions, name: &[u8]) -> Stepped {
        let mut out = Stepped { entered: 0, active: 0 };
        for (n, step) in self.waiting(active) {
            if step.name.matches(name) {
                out.entered |= 2 << n;
            }
            if step.anywhere {
                out.active |= 1 << n;
            }
        }
        out.active |= out.entered;
        out
    }

    /// The steps that are waited for, with their positions.
    fn waiting(&self, active: Positions) -> impl Iterator<Item = (usize, &Step)> {
        self.steps.iter().enumerate().take(Self::MAX_STEPS).filter(move |(n, _)| active >> n & 1 == 1)
    }

    /// The names that alone can take positions further, where that is so.
    #[must_use]
    pub fn only_names(&self, active: Positions) -> Option<Vec<&[u8]>> {
        self.waiting(active)
            .map(|(_, step)| match &step.name {
                Name::Literal(name) if !step.anywhere => Some(name.as_slice()),
                _ => None,
            })
            .collect()
    }

    /// Positions behind some components; [`Tail::end`] alone once it is complete.
    #[must_use]
    pub fn follow(&self, mut active: Positions, names: &[Vec<u8>]) -> Positions {
        for name in names {
            if active & self.end() != 0 {
                break;
            }
            active = self.step(active, name).active;
        }
        if active & self.end() != 0 { self.end() } else { active }
    }
}

impl Name {
    /// Whether a component's name is one of these.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Literal(literal) => literal == name,
            Self::Any => true,
            Self::Wild(pieces) => wild(pieces, name),
        }
    }
}

/// Tries each piece at each place it can stand at, from left to right.
fn wild(pieces: &[Piece], name: &[u8]) -> bool {
    // After each piece: the lengths of the parts of the name that the pieces so far can be.
    let mut ends = vec![false; name.len() + 1];
    if let Some(first) = ends.first_mut() {
        *first = true;
    }
    for piece in pieces {
        let mut next = vec![false; name.len() + 1];
        let mut reached = false;
        for (n, slot) in next.iter_mut().enumerate() {
            let here = ends.get(n) == Some(&true);
            reached |= here;
            *slot = match piece {
                Piece::Run => reached,
                Piece::One(set) => {
                    let before = n.checked_sub(1);
                    before.is_some_and(|b| {
                        ends.get(b) == Some(&true) && name.get(b).is_some_and(|byte| set.contains(*byte))
                    })
                }
            };
        }
        ends = next;
    }
    ends.last() == Some(&true)
}

impl Pattern {
    /// A plain path.
    #[must_use]
    pub fn plain(path: AbsPath) -> Self {
        Self { prefix: path, tail: Tail::default() }
    }
}

/// As a glob that means the same: two tails that mean something else are never written alike.
impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            f.write_str(if step.anywhere { "/**/" } else { "/" })?;
            match &step.name {
                Name::Literal(name) => name.iter().try_for_each(|b| write_byte(f, *b))?,
                Name::Any => f.write_str("*")?,
                Name::Wild(pieces) => pieces.iter().try_for_each(|piece| match piece {
                    Piece::Run => f.write_str("*"),
                    Piece::One(set) => write_set(f, set),
                })?,
            }
        }
        Ok(())
    }
}

fn write_byte(f: &mut fmt::Formatter<'_>, byte: u8) -> fmt::Result {
    match byte {
        b'*' | b'?' | b'[' | b']' | b'{' | b'}' => write!(f, "[{}]", char::from(byte)),
        b'!'..=b'~' if byte != b'\\' => write!(f, "{}", char::from(byte)),
        _ => write!(f, "\\x{byte:02x}"),
    }
}

fn write_set(f: &mut fmt::Formatter<'_>, set: &ByteSet) -> fmt::Result {
    if *set == ByteSet::ALL {
        return f.write_str("?");
    }
    if let Some(byte) = set.single() {
        return write_byte(f, byte);
    }
    f.write_str("[")?;
    (0..=u8::MAX).filter(|b| set.contains(*b)).try_for_each(|b| write!(f, "\\x{b:02x}"))?;
    f.write_str("]")
}

#[cfg(test)]
mod tests {
    use super::{Pattern, Tail, read};

    fn one(text: &str) -> Pattern {
        let mut all = read(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        assert_eq!(all.len(), 1, "{text}");
        all.remove(0)
    }

    /// Whether a pattern means a path: it or a directory above it matches.
    fn means(text: &str, path: &str) -> bool {
        let names: Vec<Vec<u8>> = path.split('/').skip(1).map(|c| c.as_bytes().to_vec()).collect();
        read(text).unwrap().iter().any(|p| {
            let depth = p.prefix.depth();
            names.starts_with(p.prefix.components())
                && (p.tail.is_empty() || p.tail.follow(Tail::BEGIN, &names[depth..]) == p.tail.end())
        })
    }

    #[test]
    fn a_star_stays_within_a_component_and_matches_a_leading_dot() {
        for (glob, yes, no) in [
            ("/etc/ssl/*.pem", vec!["/etc/ssl/a.pem", "/etc/ssl/.pem", "/etc/ssl/a.pem/x"], vec!["/etc/ssl", "/etc/ssl/a/b.pem", "/etc/ssl/a.pem.x"]),
            ("/home/*/.ssh", vec!["/home/a/.ssh", "/home/.b/.ssh/id"], vec!["/home/.ssh", "/home/a/b/.ssh", "/home/a"]),
            ("/w/**/.env", vec!["/w/.env", "/w/a/.env", "/w/a/b/c/.env/d"], vec!["/w", "/w/a", "/w/a/.env2", "/.env"]),
            ("/w/**/a/**/b", vec!["/w/a/b", "/w/x/a/y/z/b"], vec!["/w/b/a", "/w/a", "/w/b"]),
            ("/w/a?c", vec!["/w/abc", "/w/a.c"], vec!["/w/ac", "/w/abbc"]),
            ("/w/[a-c]x", vec!["/w/ax", "/w/cx"], vec!["/w/dx", "/w/x"]),
            ("/w/[!a-c]x", vec!["/w/dx", "/w/-x"], vec!["/w/ax", "/w/x"]),
            ("/w/[]x]", vec!["/w/]", "/w/x"], vec!["/w/[]x]"]),
            ("/w/[!]]", vec!["/w/a"], vec!["/w/]"]),
            ("/w/[*]", vec!["/w/*"], vec!["/w/a"]),
            ("/w/{a,b/c}", vec!["/w/a", "/w/b/c"], vec!["/w/b", "/w/c"]),
            ("/w/*a*b*", vec!["/w/ab", "/w/xaxbx", "/w/aab"], vec!["/w/ba", "/w/a"]),
            ("/w/**/*", vec!["/w/a", "/w/a/b"], vec!["/w"]),
            ("/w/*/**", vec!["/w/a", "/w/a/b"], vec!["/w"]),
            ("/lib{,64}/x", vec!["/lib/x", "/lib64/x"], vec!["/lib32/x"]),
            ("/{a,{b,c}d}/x", vec!["/a/x", "/bd/x", "/cd/x"], vec!["/b/x", "/ad/x"]),
        ] {
            for path in yes {
                assert!(means(glob, path), "{glob} means {path}");
            }
            for path in no {
                assert!(!means(glob, path), "{glob} does not mean {path}");
            }
        }
    }

    #[test]
    fn what_has_no_wild_component_is_a_plain_path() {
        for (text, path) in [("/a/**", "/a"), ("/**", "/"), ("/a/**/**", "/a"), ("/a[*]/b", "/a*/b"), ("/[{]", "/{")] {
            let pattern = one(text);
            assert!(pattern.tail.is_empty(), "{text}");
            assert_eq!(pattern.prefix.to_string(), path);
        }
        assert_eq!(one("/a/b*/c").prefix.to_string(), "/a");
        assert_eq!(one("/**/c").prefix.to_string(), "/");
        assert_eq!(one("/w/**/**/x"), one("/w/**/x"));
        assert_eq!(one("/w/**/[x]*/y[ab]?/*").tail.to_string(), "/**/x*/y[\\x61\\x62]?/*");
    }

    #[test]
    fn names_that_alone_lead_further_are_known() {
        let tail = one("/h/*/.ssh/**/id").tail;
        assert_eq!(tail.only_names(0b001), None);
        assert_eq!(tail.only_names(0b010), Some(vec![&b".ssh"[..]]));
        assert_eq!(tail.only_names(0b100), None);
        assert_eq!(tail.only_names(0b1000), Some(vec![]));
    }
}
