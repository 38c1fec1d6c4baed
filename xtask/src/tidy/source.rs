//! The source tree in memory, and Rust text without what only looks like code.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// One file.
pub struct File {
    /// Path from the root of the repository.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl File {
    /// The text with comments and the insides of literals blanked; lines keep their numbers.
    pub fn code(&self) -> String {
        code(&self.text)
    }

    /// The path of its module from the crate's root, for a file under some `src/`.
    pub fn module(&self) -> Vec<&str> {
        let inside = self
            .path
            .split_once("/src/")
            .map_or("", |(_, inside)| inside);
        let mut parts: Vec<&str> = inside.trim_end_matches(".rs").split('/').collect();
        if matches!(parts.last(), Some(&("mod" | "lib" | "main"))) {
            parts.pop();
        }
        parts
    }
}

/// All text files of the repository.
#[derive(Default)]
pub struct Tree {
    /// In the order of their paths.
    pub files: Vec<File>,
}

impl Tree {
    /// Reads everything that belongs to the repository.
    pub fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.walk(root, "")?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    /// A tree of planted files.
    #[cfg(test)]
    pub fn planted(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        };
        Self {
            files: files.iter().map(file).collect(),
        }
    }

    /// The files whose path begins so.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a File> {
        self.files
            .iter()
            .filter(move |file| file.path.starts_with(prefix))
    }

    /// The Rust files whose path begins so.
    pub fn rust<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a File> {
        self.under(prefix).filter(|file| file.path.ends_with(".rs"))
    }

    fn walk(&mut self, root: &Path, folder: &str) -> Result<()> {
        let path = root.join(folder);
        for entry in fs::read_dir(&path).with_context(|| format!("read {}", path.display()))? {
            let entry = entry.with_context(|| format!("read {}", path.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let inside = if folder.is_empty() {
                name.clone()
            } else {
                format!("{folder}/{name}")
            };
            let kind = entry.file_type().with_context(|| inside.clone())?;
            if kind.is_dir() {
                if !matches!(
                    name.as_str(),
                    ".git" | "target" | "node_modules" | "__pycache__"
                ) {
                    self.walk(root, &inside)?;
                }
            } else if kind.is_file()
                // Not text: nothing here to read.
                && let Ok(text) = fs::read_to_string(entry.path())
            {
                self.files.push(File { path: inside, text });
            }
        }
        Ok(())
    }
}

/// Blanks comments and the insides of literals.
fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match skip(bytes, at) {
            Some(end) => end,
            None => {
                out.push(bytes[at]);
                at += 1;
                continue;
            }
        };
        out.extend(
            bytes[at..end]
                .iter()
                .map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }),
        );
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The end of the comment or literal that begins here.
fn skip(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let find = |from: usize, pattern: &[u8]| {
        let found = bytes[from..]
            .windows(pattern.len())
            .position(|window| window == pattern);
        found.map_or(bytes.len(), |place| from + place + pattern.len())
    };
    if rest.starts_with(b"//") {
        return Some(
            rest.iter()
                .position(|byte| *byte == b'\n')
                .map_or(bytes.len(), |place| at + place),
        );
    }
    if rest.starts_with(b"/*") {
        return Some(block_comment(bytes, at));
    }
    let inside_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    let raw = if rest.starts_with(b"br") {
        2
    } else {
        usize::from(rest.starts_with(b"r"))
    };
    if raw > 0 && !inside_word {
        let hashes = rest[raw..].iter().take_while(|byte| **byte == b'#').count();
        if rest.get(raw + hashes) == Some(&b'"') {
            let close: Vec<u8> = std::iter::once(b'"')
                .chain(std::iter::repeat_n(b'#', hashes))
                .collect();
            return Some(find(at + raw + hashes + 1, &close));
        }
    }
    if rest[0] == b'"' {
        return Some(quoted(bytes, at, b'"'));
    }
    // A quote is a character when it closes soon; otherwise it begins a lifetime.
    let character = rest[0] == b'\''
        && (rest.get(1) == Some(&b'\\') || rest.iter().skip(2).take(4).any(|byte| *byte == b'\''))
        && !(rest.get(2) != Some(&b'\'') && rest.get(1).is_some_and(u8::is_ascii_alphabetic));
    character.then(|| quoted(bytes, at, b'\''))
}

fn quoted(bytes: &[u8], at: usize, quote: u8) -> usize {
    let mut place = at + 1;
    while place < bytes.len() {
        match bytes[place] {
            b'\\' => place += 2,
            byte if byte == quote => return place + 1,
            _ => place += 1,
        }
    }
    bytes.len()
}

fn block_comment(bytes: &[u8], at: usize) -> usize {
    let (mut place, mut depth) = (at, 0_usize);
    while place < bytes.len() {
        if bytes[place..].starts_with(b"/*") {
            (place, depth) = (place + 2, depth + 1);
        } else if bytes[place..].starts_with(b"*/") {
            (place, depth) = (place + 2, depth - 1);
            if depth == 0 {
                return place;
            }
        } else {
            place += 1;
        }
    }
    bytes.len()
}

/// Whether the word stands in the text by itself.
pub fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let free = |byte: Option<&u8>| {
            !byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        };
        free(
            at.checked_sub(1)
                .and_then(|before| text.as_bytes().get(before)),
        ) && free(text.as_bytes().get(at + word.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_not_code() {
        let text = "a // unsafe\n/* unsafe /* x */ unsafe */ b\n\"un\\\"safe\" r#\"unsafe\"# 'u' '\\'' c<'life> d";
        let code = code(text);
        assert!(!code.contains("unsafe") && !code.contains("safe"), "{code}");
        for kept in ["a ", " b", " c<'life>", " d"] {
            assert!(code.contains(kept), "{kept:?} in {code:?}");
        }
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("let x = unsafe { 1 };", "unsafe"));
        assert!(!has_word("is_unsafe(x) unsafe_code", "unsafe"));
    }

    #[test]
    fn modules_follow_from_paths() {
        let file = |path: &str| File {
            path: path.to_owned(),
            text: String::new(),
        };
        assert_eq!(file("aegis-agent/src/decode/mod.rs").module(), ["decode"]);
        assert_eq!(
            file("aegis-agent/src/decode/frame.rs").module(),
            ["decode", "frame"]
        );
    }
}
