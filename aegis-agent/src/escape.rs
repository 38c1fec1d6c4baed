//! Text from outside, made safe to show on a terminal.
//!
//! Knows which characters move a cursor, start an escape sequence or reorder what a person reads.
//! Knows nothing of events: whoever prints names, paths or arguments that an agent chose passes
//! them through here. The result is unambiguous: a backslash in the text is doubled, so an escape
//! that is shown was made here.

use std::fmt::Write as _;

/// Whether a character must not reach a terminal as it is.
///
/// Control characters (C0, DEL, C1) speak to the terminal itself; bidirectional controls, line
/// separators and invisible characters make a person read something else than what is there.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}'                    // soft hyphen: shown or not as the terminal likes
            | '\u{61c}'                 // Arabic letter mark
            | '\u{180e}'
            | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}'   // separators, embeddings, overrides
            | '\u{2060}'..='\u{206f}'   // isolates and other invisible operators
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}' // tags: invisible, and able to carry text
        )
}

/// Whether any character of a text is unsafe.
#[must_use]
pub fn has_unsafe(raw: &str) -> bool {
    // Most of what is shown is plain, and seen to be so many bytes at a time.
    !raw.bytes().all(|byte| matches!(byte, b' '..=b'~')) && raw.contains(is_unsafe)
}

/// Text for a terminal: unsafe characters as `\n`, `\x1b` or `\u{202e}`, a backslash doubled.
#[must_use]
pub fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    push(&mut out, raw);
    out
}

/// Bytes for a terminal: as [`text`], and what is not UTF-8 as `\xff`.
#[must_use]
pub fn bytes(raw: &[u8]) -> String {
    let mut out = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        push(&mut out, chunk.valid());
        for byte in chunk.invalid() {
            hex(&mut out, *byte);
        }
    }
    out
}

/// Several lines for a terminal: line ends stay, everything else is escaped as by [`text`], except
/// that a backslash stays single (the text is ours, with names in it, and is read, not parsed).
#[must_use]
pub fn message(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        if c == '\n' || !is_unsafe(c) {
            out.push(c);
        } else {
            push_char(&mut out, c);
        }
    }
    out
}

/// As [`message`], on one line: nobody can add a line to a journal.
#[must_use]
pub fn line(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        if is_unsafe(c) { push_char(&mut out, c) } else { out.push(c) }
    }
    out
}

/// A command line: arguments apart by spaces, in quotes where a space or quote stands in one.
#[must_use]
pub fn arguments<T: AsRef<[u8]>>(argv: &[T]) -> String {
    let mut out = String::new();
    for (index, argument) in argv.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        let raw = argument.as_ref();
        let shown = bytes(raw);
        if raw.is_empty() || raw.iter().any(|b| matches!(b, b' ' | b'\'' | b'"')) {
            out.push('\'');
            out.push_str(&shown.replace('\'', "\\'"));
            out.push('\'');
        } else {
            out.push_str(&shown);
        }
    }
    out
}

/// The first `columns` characters of text that is escaped already, with an ellipsis when cut.
#[must_use]
pub fn cut(shown: &str, columns: usize) -> String {
    if shown.chars().count() <= columns {
        return shown.to_owned();
    }
    let mut short: String = shown.chars().take(columns.saturating_sub(1)).collect();
    short.push('…');
    short
}

fn push(out: &mut String, valid: &str) {
    for c in valid.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            c if is_unsafe(c) => push_char(out, c),
            c => out.push(c),
        }
    }
}

fn push_char(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c => match u8::try_from(c) {
            Ok(byte) if byte.is_ascii() => hex(out, byte),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
        },
    }
}

fn hex(out: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\\x{byte:02x}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::{arguments, bytes, cut, is_unsafe, line, message, text};

    #[test]
    fn escape_sequences_are_shown_instead_of_obeyed() {
        assert_eq!(bytes(b"/tmp/\x1b[2Ja\nb"), r"/tmp/\x1b[2Ja\nb");
        assert_eq!(text("a\u{9b}31m\u{7f}"), r"a\u{9b}31m\x7f");
        assert_eq!(text("txt\u{202e}cod.exe"), r"txt\u{202e}cod.exe");
    }

    #[test]
    fn a_backslash_in_a_name_is_not_mistaken_for_an_escape() {
        assert_eq!(bytes(br"a\x1b"), r"a\\x1b");
        assert_eq!(bytes(b"a\xff\\"), r"a\xff\\");
    }

    #[test]
    fn arguments_are_told_apart() {
        assert_eq!(arguments(&["sh", "-c", "echo 'a b'", ""]), r"sh -c 'echo \'a b\'' ''");
    }

    #[test]
    fn messages_keep_their_lines() {
        assert_eq!(message("one\ntwo\x1b[31m"), "one\ntwo\\x1b[31m");
    }

    #[test]
    fn cutting_counts_characters() {
        assert_eq!(cut("äöüß", 4), "äöüß");
        assert_eq!(cut("äöüßx", 4), "äöü…");
    }

    /// Undoes [`bytes`], independently of how it was written.
    fn unescape(shown: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = shown.chars();
        while let Some(c) = rest.next() {
            if c != '\\' {
                out.extend(c.to_string().bytes());
                continue;
            }
            match rest.next().unwrap() {
                '\\' => out.push(b'\\'),
                'n' => out.push(b'\n'),
                'r' => out.push(b'\r'),
                't' => out.push(b'\t'),
                'x' => {
                    let digits: String = rest.by_ref().take(2).collect();
                    out.push(u8::from_str_radix(&digits, 16).unwrap());
                }
                'u' => {
                    let digits: String =
                        rest.by_ref().skip(1).take_while(|c| *c != '}').collect();
                    let c = char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap();
                    out.extend(c.to_string().bytes());
                }
                other => panic!("unknown escape {other}"),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn nothing_unsafe_survives_and_nothing_is_lost(raw in any::<Vec<u8>>()) {
            let shown = bytes(&raw);
            prop_assert!(!shown.chars().any(is_unsafe));
            prop_assert_eq!(unescape(&shown), raw);
        }

        #[test]
        fn text_and_bytes_agree(raw in any::<String>()) {
            prop_assert_eq!(text(&raw), bytes(raw.as_bytes()));
            prop_assert!(!line(&raw).chars().any(is_unsafe));
            prop_assert!(!message(&raw).chars().any(|c| c != '\n' && is_unsafe(c)));
        }
    }
}
