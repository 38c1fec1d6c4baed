//! What a file's bytes must be before a YAML parser sees them.
//!
//! Knows: encodings and characters. Must not know: YAML's grammar.

use crate::diagnostic::{Diagnostics, Position, is_invisible};

/// Largest manifest. 50,000 rules fit.
pub const MAX_BYTES: usize = 4 << 20;

/// The file as text, or `None` with errors that say why not.
pub(super) fn check<'a>(source: &'a [u8], errors: &mut Diagnostics) -> Option<&'a str> {
    if source.len() > MAX_BYTES {
        errors.error(
            Position::START,
            format!(
                "the file has {} bytes, at most {MAX_BYTES} are read",
                source.len()
            ),
            "name directories instead of single files",
        );
        return None;
    }
    if source.starts_with(&[0xff, 0xfe])
        || source.starts_with(&[0xfe, 0xff])
        || source.starts_with(&[0, 0, 0xfe, 0xff])
    {
        errors.error(
            Position::START,
            "the file is UTF-16 or UTF-32",
            "save it as UTF-8",
        );
        return None;
    }
    // A mark at the start of a UTF-8 file says nothing and hides nothing.
    let source = source.strip_prefix("\u{feff}".as_bytes()).unwrap_or(source);
    let text = match std::str::from_utf8(source) {
        Ok(text) => text,
        Err(error) => {
            let good = source.get(..error.valid_up_to()).unwrap_or_default();
            let at = end_of(std::str::from_utf8(good).unwrap_or_default());
            errors.error(at, "the bytes here are not UTF-8", "save the file as UTF-8");
            return None;
        }
    };
    let before = errors.len();
    characters(text, errors);
    (errors.len() == before).then_some(text)
}

/// The position behind a text.
fn end_of(text: &str) -> Position {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1);
    let last = text.rsplit('\n').next().unwrap_or_default();
    Position {
        line: count(text.matches('\n').count()),
        column: count(last.chars().count()),
    }
}

/// Reports characters that no manifest holds, the first of each line.
fn characters(text: &str, errors: &mut Diagnostics) {
    for (n, line) in (1u32..).zip(text.split('\n')) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let odd = line
            .chars()
            .zip(1u32..)
            .find(|(c, _)| (c.is_control() && *c != '\t') || is_invisible(*c));
        if let Some((c, column)) = odd {
            let at = Position { line: n, column };
            let what = if c.is_control() {
                "control"
            } else {
                "invisible"
            };
            let code = u32::from(c);
            errors.error(
                at,
                format!("the {what} character U+{code:04X} would make the file read otherwise than it loads"),
                format!("delete it; if a name really holds it, write it as \"\\U{code:08x}\" in double quotes"),
            );
            continue;
        }
        let indent = line.chars().take_while(|c| c.is_whitespace());
        let is_text = line.trim_start().chars().next().is_some_and(|c| c != '#');
        if let Some((_, column)) = indent.zip(1u32..).find(|(c, _)| *c == '\t' && is_text) {
            errors.error(
                Position { line: n, column },
                "a tab indents this line",
                "YAML wants spaces: two for each step",
            );
        }
    }
}
