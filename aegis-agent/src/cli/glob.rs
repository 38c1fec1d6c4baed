//! Globs over paths, for the filter of `aegis events`.
//!
//! `?` and `*` stay within one component, `**` crosses them, `[a-z]` and `[!a-z]` are one byte of a
//! set; a backslash takes the next byte as it is. A pattern without a glob names itself and all
//! below it, as in the policy. Works on bytes: paths are not always UTF-8. Knows nothing of events.

use thiserror::Error;

/// Why a pattern is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum GlobError {
    /// `[` without its `]`.
    #[error("'[' at byte {0} has no ']': close it, or write '\\[' for the character itself")]
    OpenSet(usize),
    /// `\` at the end.
    #[error("the pattern ends in a single '\\': write '\\\\' for the character itself")]
    Dangling,
    /// Nothing.
    #[error("an empty pattern matches nothing: leave the option out, or name a path")]
    Empty,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// One byte, never `/`.
    One,
    /// Any bytes of one component.
    Star,
    /// Any bytes.
    DoubleStar,
    /// `**/`: nothing, or whole components.
    Folders,
    Set { negated: bool, ranges: Vec<(u8, u8)> },
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Glob {
    tokens: Vec<Token>,
    literal: bool,
}

impl Glob {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// When the pattern is empty or a set or an escape is not complete.
    pub fn new(pattern: &str) -> Result<Self, GlobError> {
        let raw = pattern.as_bytes();
        if raw.is_empty() {
            return Err(GlobError::Empty);
        }
        let mut tokens = Vec::with_capacity(raw.len());
        let mut at = 0;
        while let Some(&byte) = raw.get(at) {
            at += 1;
            let token = match byte {
                b'?' => Token::One,
                b'*' if raw.get(at) == Some(&b'*') => {
                    at += 1;
                    let begins = at == 2 || raw.get(at - 3) == Some(&b'/');
                    if begins && raw.get(at) == Some(&b'/') {
                        at += 1;
                        Token::Folders
                    } else {
                        Token::DoubleStar
                    }
                }
                b'*' => Token::Star,
                b'[' => {
                    let (set, next) = set(raw, at)?;
                    at = next;
                    set
                }
                b'\\' => {
                    let escaped = *raw.get(at).ok_or(GlobError::Dangling)?;
                    at += 1;
                    Token::Byte(escaped)
                }
                other => Token::Byte(other),
            };
            tokens.push(token);
        }
        let literal = tokens.iter().all(|t| matches!(t, Token::Byte(_)));
        while literal && tokens.len() > 1 && tokens.last() == Some(&Token::Byte(b'/')) {
            tokens.pop();
        }
        Ok(Self { tokens, literal })
    }

    /// A plainer pattern that matches all that this one does, and maybe more: only `*`, `**` and `?`,
    /// which crosses no `/`. For an index that knows no more than these.
    #[must_use]
    pub fn wider(&self) -> String {
        let mut out = Vec::new();
        for token in &self.tokens {
            match token {
                Token::Byte(b'*' | b'?') | Token::One | Token::Set { .. } => out.push(b'?'),
                Token::Byte(byte) => out.push(*byte),
                Token::Star => out.push(b'*'),
                Token::DoubleStar | Token::Folders => out.extend_from_slice(b"**"),
            }
        }
        if self.literal {
            out.extend_from_slice(b"**");
        }
        // An escaped byte may have been half a character: whatever that was matches too.
        match String::from_utf8(out) {
            Ok(pattern) => pattern,
            Err(_) => "**".to_owned(),
        }
    }

    /// Whether the whole path matches (without a glob: or lies below it).
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        if self.literal { self.is_at_or_above(path) } else { self.matches_whole(path) }
    }

    fn is_at_or_above(&self, path: &[u8]) -> bool {
        let same = |(token, byte): (&Token, &u8)| *token == Token::Byte(*byte);
        path.len() >= self.tokens.len()
            && self.tokens.iter().zip(path).all(same)
            && (path.len() == self.tokens.len()
                || path.get(self.tokens.len()) == Some(&b'/')
                || self.tokens.last() == Some(&Token::Byte(b'/')))
    }

    /// One pass that keeps the set of states reached: linear in path times pattern, whatever the
    /// pattern (backtracking would be exponential in the number of stars).
    fn matches_whole(&self, path: &[u8]) -> bool {
        let end = self.tokens.len();
        let mut now = vec![false; end + 1];
        self.enter(&mut now, 0);
        for &byte in path {
            let mut next = vec![false; end + 1];
            for at in (0..end).filter(|at| now[*at]) {
                let (stays, moves) = match &self.tokens[at] {
                    Token::Byte(wanted) => (false, *wanted == byte),
                    Token::One => (false, byte != b'/'),
                    Token::Star => (byte != b'/', false),
                    Token::DoubleStar => (true, false),
                    Token::Folders => (true, byte == b'/'),
                    Token::Set { negated, ranges } => {
                        let inside = ranges.iter().any(|(a, b)| (*a..=*b).contains(&byte));
                        (false, byte != b'/' && inside != *negated)
                    }
                };
                if stays && self.tokens[at] == Token::Folders {
                    // In the middle of a component: only its `/` leads on.
                    next[at] = true;
                } else if stays {
                    self.enter(&mut next, at);
                }
                if moves {
                    self.enter(&mut next, at + 1);
                }
            }
            now = next;
        }
        now[end]
    }

    /// Marks a state, and those reached from it without a byte.
    fn enter(&self, states: &mut [bool], mut at: usize) {
        loop {
            states[at] = true;
            match self.tokens.get(at) {
                Some(Token::Star | Token::DoubleStar | Token::Folders) => at += 1,
                _ => return,
            }
        }
    }
}

fn set(raw: &[u8], open: usize) -> Result<(Token, usize), GlobError> {
    let mut at = open;
    let negated = matches!(raw.get(at), Some(b'!' | b'^'));
    at += usize::from(negated);
    let mut ranges = Vec::new();
    loop {
        let first = *raw.get(at).ok_or(GlobError::OpenSet(open - 1))?;
        at += 1;
        // A `]` right after the bracket is a member, as in every shell.
        if first == b']' && !ranges.is_empty() {
            return Ok((Token::Set { negated, ranges }, at));
        }
        match (raw.get(at), raw.get(at + 1)) {
            (Some(b'-'), Some(&last)) if last != b']' => {
                ranges.push((first, last));
                at += 2;
            }
            _ => ranges.push((first, first)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::{Glob, GlobError};

    fn yes(pattern: &str, path: &str) {
        assert!(Glob::new(pattern).unwrap().matches(path.as_bytes()), "{pattern} {path}");
    }

    fn no(pattern: &str, path: &str) {
        assert!(!Glob::new(pattern).unwrap().matches(path.as_bytes()), "{pattern} {path}");
    }

    #[test]
    fn a_plain_path_names_itself_and_all_below() {
        yes("/etc", "/etc");
        yes("/etc", "/etc/shadow");
        yes("/etc/", "/etc/shadow");
        no("/etc", "/etcetera");
        no("/etc/shadow", "/etc");
        yes("/", "/etc");
        yes("/a\\*b", "/a*b/c");
    }

    #[test]
    fn stars_keep_to_their_component() {
        yes("/home/*/.ssh/*", "/home/me/.ssh/id");
        no("/home/*/.ssh/*", "/home/me/x/.ssh/id");
        no("/home/*/.ssh/*", "/home/me/.ssh/a/b");
        yes("/a/*", "/a/");
        yes("*.py", "x.py");
        no("*.py", "/x.py");
        yes("/t?p", "/tmp");
        no("/t?p", "/t/p");
    }

    #[test]
    fn double_stars_cross_components() {
        yes("/work/**/.git/hooks/**", "/work/.git/hooks/pre-commit");
        yes("/work/**/.git/hooks/**", "/work/a/b/.git/hooks/x/y");
        no("/work/**/.git/hooks/**", "/work/a.git/hooks/x");
        no("/work/**/.env", "/work/x.env");
        yes("**/.env", ".env");
        yes("**/.env", "/a/.env");
        yes("/a**b", "/a/x/b");
        yes("/work/**", "/work/a/b");
        no("/work/**", "/work");
    }

    #[test]
    fn sets_are_one_byte() {
        yes("/dev/sd[a-c]", "/dev/sdb");
        no("/dev/sd[!a-c]", "/dev/sdb");
        no("/x[!a]y", "/x/y");
        yes("[]]", "]");
        yes("[a-]", "-");
    }

    #[test]
    fn incomplete_patterns_are_refused() {
        assert_eq!(Glob::new("/a[b").unwrap_err(), GlobError::OpenSet(2));
        assert_eq!(Glob::new("/a\\").unwrap_err(), GlobError::Dangling);
        assert_eq!(Glob::new("").unwrap_err(), GlobError::Empty);
    }

    #[test]
    fn the_wider_pattern_is_plain() {
        for (pattern, expected) in [("/etc", "/etc**"), ("/a/**/.env", "/a/**.env"), ("/x[a-c]?\\*", "/x???"), ("*.py", "*.py")] {
            assert_eq!(Glob::new(pattern).unwrap().wider(), expected);
        }
    }

    #[test]
    fn many_stars_stay_cheap() {
        let pattern = "*a".repeat(40) + "b";
        no(&pattern, &"a".repeat(4000));
    }

    proptest! {
        #[test]
        fn any_pattern_and_path_are_answered(pattern in ".{1,20}", path in ".{0,40}") {
            if let Ok(glob) = Glob::new(&pattern) {
                let _ = glob.matches(path.as_bytes());
            }
        }

        #[test]
        fn the_wider_pattern_matches_all_that_the_pattern_does(
            pattern in "(/|a|b|\\*|\\*\\*|\\?|\\[ab\\]){1,8}",
            path in "[/ab]{0,10}",
        ) {
            let glob = Glob::new(&pattern).unwrap();
            if glob.matches(path.as_bytes()) {
                prop_assert!(Glob::new(&glob.wider()).unwrap().matches(path.as_bytes()), "{}", glob.wider());
            }
        }

        #[test]
        fn an_escaped_path_matches_itself(path in "(/[^/]{1,8}){1,4}") {
            let escaped: String = path.chars().flat_map(|c| ['\\', c]).collect();
            // A backslash takes one byte: only those of one byte can be escaped so.
            if path.is_ascii() {
                prop_assert!(Glob::new(&escaped).unwrap().matches(path.as_bytes()));
            }
        }
    }
}
