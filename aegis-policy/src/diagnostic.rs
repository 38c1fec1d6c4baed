//! What is wrong with a manifest, where, and what to write instead.
//!
//! Knows: positions and texts. Must not know: the language of manifests.

use std::fmt;
use std::sync::Arc;

/// A place in a file, both counted from 1; the column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl Position {
    /// The first character of a file.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// One error in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, as it was named to [`crate::check`].
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong and what was meant.
    pub message: String,
    /// What to write instead.
    pub advice: String,
}

/// `file:line:column: error: message`, then a line with the advice.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: error: {}\n  help: {}",
            escape(&self.file),
            self.line,
            self.column,
            self.message,
            self.advice
        )
    }
}

impl std::error::Error for Diagnostic {}

/// Errors kept for one file. More are not of use to a reader, and an attacker's file could hold
/// a million.
const MAX_DIAGNOSTICS: usize = 1000;

/// Collects the errors of one file.
#[derive(Debug)]
pub struct Diagnostics {
    file: Arc<str>,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// For the file of this name.
    #[must_use]
    pub fn new(file: &str) -> Self {
        Self {
            file: Arc::from(file),
            list: Vec::new(),
        }
    }

    /// The file's name.
    #[must_use]
    pub fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// Adds an error.
    pub fn error(&mut self, at: Position, message: impl Into<String>, advice: impl Into<String>) {
        if self.list.len() < MAX_DIAGNOSTICS {
            self.list.push(Diagnostic {
                file: Arc::clone(&self.file),
                line: at.line,
                column: at.column,
                message: message.into(),
                advice: advice.into(),
            });
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// All of them in the order of the file.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.list.sort_by_key(|d| (d.line, d.column));
        self.list
    }
}

/// Characters that a reader does not see, or that change how the text around them is shown: a
/// reviewer would read another policy than the one that loads.
#[must_use]
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Text from a file made safe to print: control and invisible characters are escaped.
#[must_use]
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_invisible(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Text from a file quoted for a message, escaped and cut to a readable length.
#[must_use]
pub(crate) fn quote(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut cut: String = text.chars().take(SHOWN).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("`{}`", escape(&cut))
}

#[cfg(test)]
mod tests {
    use super::{Diagnostics, Position, quote};

    #[test]
    fn a_diagnostic_reads_like_a_compiler_and_comes_in_file_order() {
        let mut all = Diagnostics::new("a.yaml");
        all.error(Position { line: 9, column: 1 }, "second", "b");
        all.error(Position { line: 2, column: 5 }, "first", "write `x`");
        let shown: Vec<String> = all.into_sorted().iter().map(ToString::to_string).collect();
        assert_eq!(shown[0], "a.yaml:2:5: error: first\n  help: write `x`");
        assert!(shown[1].starts_with("a.yaml:9:1: error: second"));
    }

    #[test]
    fn quoted_text_can_neither_drive_a_terminal_nor_fill_it() {
        assert_eq!(quote("a\x1b[31m\u{202e}"), "`a\\u{1b}[31m\\u{202e}`");
        assert!(quote(&"x".repeat(10_000)).chars().count() < 100);
    }
}
