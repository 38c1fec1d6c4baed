//! From the text of a glob to patterns.
//!
//! Knows: the spelling. Must not know: what a pattern is used for.

use super::{ByteSet, Name, Pattern, Piece, Step, Tail};
use crate::path::{AbsPath, PathError};

/// Patterns that the braces of one glob may stand for.
pub const MAX_ALTERNATIVES: usize = 128;
/// Braces within braces.
const MAX_NESTING: usize = 8;

/// Why a text is no glob. Positions count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GlobError {
    /// It, or one of the paths that its braces stand for, is no path.
    Path(PathError),
    /// A `[` without its `]`.
    OpenSet(usize),
    /// A `]` without its `[`.
    NoSet(usize),
    /// `[^…]`.
    Caret(usize),
    /// A range from a higher to a lower byte.
    Range(usize),
    /// A set holds a character of several bytes.
    WideSet(usize),
    /// A `{` without its `}`.
    OpenBraces(usize),
    /// A `}` without its `{`.
    NoBraces(usize),
    /// Braces around fewer than two alternatives.
    FewAlternatives(usize),
    /// Too many braces within braces.
    Nested(usize),
    /// More paths than are taken.
    Alternatives,
    /// `**` that is not a component of its own, or three stars.
    Stars(usize),
}

/// A character of a glob: what it is, and where it stands.
#[derive(Clone, Copy)]
struct Token {
    what: What,
    at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Slash,
    Byte(u8),
    Set(ByteSet),
    Star,
    Open,
    Comma,
    Close,
}

/// Reads a glob. The patterns are sorted, none is there twice.
///
/// # Errors
/// [`GlobError`] says what is odd, and where.
pub fn read(text: &str) -> Result<Vec<Pattern>, GlobError> {
    if text.is_empty() {
        return Err(GlobError::Path(PathError::Empty));
    }
    let tokens = tokens(text)?;
    let mut at = 0;
    let all = sequence(&tokens, &mut at, 0)?;
    let mut out = Vec::with_capacity(all.len());
    for one in all {
        out.push(pattern(&one)?);
    }
    out.sort();
    out.dedup();
    Ok(out)
}

/// A path as a glob that means it alone.
#[must_use]
pub fn quoted(path: &AbsPath) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in path.to_bytes() {
        if b"*?[]{}".contains(&byte) {
            out.extend([b'[', byte, b']']);
        } else {
            out.push(byte);
        }
    }
    out
}

fn tokens(text: &str) -> Result<Vec<Token>, GlobError> {
    let chars: Vec<char> = text.chars().collect();
    let mut out = Vec::new();
    let mut n = 0;
    while let Some(&c) = chars.get(n) {
        let at = n + 1;
        n += 1;
        let what = match c {
            '\0' => return Err(GlobError::Path(PathError::Nul)),
            '/' => What::Slash,
            '*' => What::Star,
            '?' => What::Set(ByteSet::ALL),
            '{' => What::Open,
            ',' => What::Comma,
            '}' => What::Close,
            ']' => return Err(GlobError::NoSet(at)),
            '[' => {
                let (set, behind) = set(&chars, n, at)?;
                n = behind;
                What::Set(set)
            }
            c => {
                let mut bytes = [0; 4];
                out.extend(c.encode_utf8(&mut bytes).bytes().map(|b| Token { what: What::Byte(b), at }));
                continue;
            }
        };
        out.push(Token { what, at });
    }
    Ok(out)
}

/// A set from behind its `[`, which stands at `open`; with it the place behind its `]`.
fn set(chars: &[char], from: usize, open: usize) -> Result<(ByteSet, usize), GlobError> {
    let byte = |n: usize| match chars.get(n) {
        None | Some('/' | '\0') => Err(GlobError::OpenSet(open)),
        Some(c) if c.is_ascii() => u8::try_from(*c).map_err(|_| GlobError::WideSet(n + 1)),
        Some(_) => Err(GlobError::WideSet(n + 1)),
    };
    if chars.get(from) == Some(&'^') {
        return Err(GlobError::Caret(from + 1));
    }
    let inverted = chars.get(from) == Some(&'!');
    let begin = from + usize::from(inverted);
    let mut set = ByteSet::default();
    let mut n = begin;
    loop {
        let first = byte(n)?;
        // Right behind the opening a `]` is one of the set.
        if first == b']' && n > begin {
            break;
        }
        n += 1;
        // A `-` before the closing is one of the set.
        let is_range = chars.get(n) == Some(&'-') && chars.get(n + 1) != Some(&']');
        let last = if is_range { byte(n + 1)? } else { first };
        if last < first {
            return Err(GlobError::Range(n));
        }
        if is_range {
            n += 2;
        }
        (first..=last).for_each(|b| set.insert(b));
    }
    Ok((if inverted { set.inverted() } else { set }, n + 1))
}

/// What the tokens from `at` stand for, up to the `,` or `}` that ends an alternative.
fn sequence(tokens: &[Token], at: &mut usize, nesting: usize) -> Result<Vec<Vec<Token>>, GlobError> {
    let mut out = vec![Vec::new()];
    while let Some(&token) = tokens.get(*at) {
        match token.what {
            What::Comma | What::Close if nesting > 0 => break,
            What::Close => return Err(GlobError::NoBraces(token.at)),
            What::Open => {
                *at += 1;
                out = product(&out, &braces(tokens, at, token.at, nesting + 1)?)?;
                continue;
            }
            _ => {
                // Outside braces a comma is a comma.
                let what = if token.what == What::Comma { What::Byte(b',') } else { token.what };
                out.iter_mut().for_each(|one| one.push(Token { what, ..token }));
            }
        }
        *at += 1;
    }
    Ok(out)
}

/// The alternatives from behind a `{`, which stands at `open`.
fn braces(tokens: &[Token], at: &mut usize, open: usize, nesting: usize) -> Result<Vec<Vec<Token>>, GlobError> {
    if nesting > MAX_NESTING {
        return Err(GlobError::Nested(open));
    }
    let mut out = Vec::new();
    let mut alternatives = 0;
    loop {
        out.extend(sequence(tokens, at, nesting)?);
        alternatives += 1;
        if out.len() > MAX_ALTERNATIVES {
            return Err(GlobError::Alternatives);
        }
        let Some(end) = tokens.get(*at) else { return Err(GlobError::OpenBraces(open)) };
        *at += 1;
        if end.what == What::Close {
            break;
        }
    }
    if alternatives < 2 {
        return Err(GlobError::FewAlternatives(open));
    }
    Ok(out)
}

fn product(before: &[Vec<Token>], after: &[Vec<Token>]) -> Result<Vec<Vec<Token>>, GlobError> {
    if before.len() * after.len() > MAX_ALTERNATIVES {
        return Err(GlobError::Alternatives);
    }
    let each = |head: &Vec<Token>| after.iter().map(|tail| [head.as_slice(), tail].concat()).collect::<Vec<_>>();
    Ok(before.iter().flat_map(each).collect())
}

/// One pattern, without braces.
fn pattern(tokens: &[Token]) -> Result<Pattern, GlobError> {
    match tokens.first().map(|t| t.what) {
        None => return Err(GlobError::Path(PathError::Empty)),
        Some(What::Slash) => {}
        Some(_) => return Err(GlobError::Path(PathError::Relative)),
    }
    let mut prefix = Vec::new();
    let mut steps: Vec<Step> = Vec::new();
    let mut anywhere = false;
    let rest = tokens.get(1..).unwrap_or_default();
    let components = rest.split(|t| t.what == What::Slash).filter(|_| !rest.is_empty());
    for component in components {
        let Some(name) = name(component)? else {
            anywhere = true;
            continue;
        };
        match name {
            Name::Literal(name) if steps.is_empty() && !anywhere => prefix.push(name),
            name => steps.push(Step { anywhere, name }),
        }
        anywhere = false;
    }
    // A `**` at the end adds nothing: a pattern means all below what it matches anyway.
    Ok(Pattern { prefix: AbsPath::from_components(prefix), tail: Tail { steps } })
}

/// The name that a component is to have; none for `**`.
fn name(component: &[Token]) -> Result<Option<Name>, GlobError> {
    let stars = component.windows(2).find(|w| w.iter().all(|t| t.what == What::Star));
    match (component, stars) {
        ([], _) => return Err(GlobError::Path(PathError::EmptyComponent)),
        ([_, _], Some(_)) => return Ok(None),
        ([one], _) if one.what == What::Star => return Ok(Some(Name::Any)),
        (_, Some(w)) => return Err(GlobError::Stars(w.first().map_or(0, |t| t.at))),
        _ => {}
    }
    let mut pieces = Vec::with_capacity(component.len());
    for token in component {
        pieces.push(match token.what {
            What::Star => Piece::Run,
            What::Set(set) => Piece::One(set),
            What::Byte(byte) => {
                let mut set = ByteSet::default();
                set.insert(byte);
                Piece::One(set)
            }
            // `sequence` and `pattern` left none of these.
            What::Slash | What::Open | What::Comma | What::Close => continue,
        });
    }
    let literal: Option<Vec<u8>> = pieces
        .iter()
        .map(|piece| match piece {
            Piece::One(set) => set.single(),
            Piece::Run => None,
        })
        .collect();
    match literal {
        Some(dots) if dots == b"." || dots == b".." => Err(GlobError::Path(PathError::Dots)),
        Some(name) => Ok(Some(Name::Literal(name))),
        None => Ok(Some(Name::Wild(pieces))),
    }
}

#[cfg(test)]
mod tests {
    use super::{GlobError, quoted, read};
    use crate::path::{AbsPath, PathError};

    #[test]
    fn odd_globs_are_errors_with_their_place() {
        for (text, error) in [
            ("", GlobError::Path(PathError::Empty)),
            ("a/*", GlobError::Path(PathError::Relative)),
            ("/a//*", GlobError::Path(PathError::EmptyComponent)),
            ("/*/", GlobError::Path(PathError::EmptyComponent)),
            ("/a/{,b}", GlobError::Path(PathError::EmptyComponent)),
            ("/*/..", GlobError::Path(PathError::Dots)),
            ("/[.]/x", GlobError::Path(PathError::Dots)),
            ("/*\0", GlobError::Path(PathError::Nul)),
            ("/a[bc", GlobError::OpenSet(3)),
            ("/a[]", GlobError::OpenSet(3)),
            ("/é[b/c]", GlobError::OpenSet(3)),
            ("/ab]", GlobError::NoSet(4)),
            ("/[^a]", GlobError::Caret(3)),
            ("/[z-a]", GlobError::Range(3)),
            ("/[aé]", GlobError::WideSet(4)),
            ("/a{b,c", GlobError::OpenBraces(3)),
            ("/a}", GlobError::NoBraces(3)),
            ("/a{}", GlobError::FewAlternatives(3)),
            ("/a{b}", GlobError::FewAlternatives(3)),
            ("/{{{{{{{{{a,b}}}}}}}}}", GlobError::Nested(10)),
            ("/***", GlobError::Stars(2)),
            ("/a/**x", GlobError::Stars(4)),
            ("/a/x**", GlobError::Stars(5)),
            ("/{**,a}x", GlobError::Stars(3)),
            ("/{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}", GlobError::Alternatives),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_quoted_path_means_itself() {
        let path = AbsPath::from_components(vec![b"a*[x]{b,c}?".to_vec(), b"d".to_vec()]);
        let text = String::from_utf8(quoted(&path)).unwrap();
        let all = read(&text).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].prefix, path);
        assert!(all[0].tail.is_empty());
    }

    #[test]
    fn braces_stand_for_each_of_their_paths_once() {
        assert_eq!(read("/{a,b,a}/x").unwrap().len(), 2);
        assert_eq!(read("/{a,b}{c,d}").unwrap().len(), 4);
        assert_eq!(read("/a,b").unwrap()[0].prefix.to_string(), "/a,b");
        assert_eq!(read("/{[,],b}").unwrap()[0].prefix.to_string(), "/,");
    }
}
