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

#[cfg(test)]
mod tests {
    use crate::diagnostic::{Diagnostic, Diagnostics};

    fn errors(source: &[u8]) -> Vec<Diagnostic> {
        let mut errors = Diagnostics::new("a.yaml");
        let text = super::check(source, &mut errors);
        assert_eq!(text.is_none(), !errors.is_empty());
        errors.into_sorted()
    }

    fn place(source: &[u8]) -> (u32, u32, String) {
        let first = errors(source).remove(0);
        (first.line, first.column, first.message)
    }

    #[test]
    fn a_mark_at_the_start_and_windows_line_ends_are_fine() {
        assert!(errors(b"\xef\xbb\xbfversion: \"1.0\"\r\nagent: {}\r\n").is_empty());
    }

    #[test]
    fn other_encodings_are_named() {
        assert!(place(b"\xff\xfev\0e\0").2.contains("UTF-16"));
        assert!(place(b"\xfe\xff\0v\0e").2.contains("UTF-16"));
        assert_eq!(
            place(
                "ä: b\nü: "
                    .as_bytes()
                    .iter()
                    .chain(b"\xff")
                    .copied()
                    .collect::<Vec<_>>()
                    .as_slice()
            )
            .0,
            2
        );
        assert_eq!(place(b"a: b\n\xc3\xa4: \xff\n").1, 4);
    }

    #[test]
    fn characters_that_a_reviewer_does_not_see_are_refused_with_their_place() {
        for (source, line, column, what) in [
            ("a: b\0c", 1, 5, "control character U+0000"),
            ("a: b\n# \u{202e}x", 2, 3, "invisible character U+202E"),
            ("a: \u{200b}", 1, 4, "invisible character U+200B"),
            ("a: b\n\u{feff}c: d", 2, 1, "invisible character U+FEFF"),
            ("a: b\rc: d", 1, 5, "control character U+000D"),
            ("a: \u{85}", 1, 4, "control character U+0085"),
            ("a: \u{1b}[2J", 1, 4, "control character U+001B"),
            ("a:\n \tb: c", 2, 2, "a tab"),
        ] {
            let (l, c, message) = place(source.as_bytes());
            assert_eq!((l, c), (line, column), "{source:?}");
            assert!(message.contains(what), "{message}");
        }
        assert!(errors("a: [\n\t\n] # tab\there, ünïcödé, 日本\n".as_bytes()).is_empty());
    }
}
