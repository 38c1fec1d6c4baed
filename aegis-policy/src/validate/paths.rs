//! Paths as rules write them.
//!
//! Knows: which spellings name paths, and what to write instead of the others. Must not know: whether
//! anything exists.

use std::fmt;

use super::values::Wrong;
use crate::compile::MAX_RULE_DEPTH;
use crate::diagnostic::{escape, is_invisible, quote};
use crate::glob::{self, GlobError, MAX_ALTERNATIVES, Name, Pattern};
use crate::path::PathError;

/// Longest path: the kernel's `PATH_MAX`, its NUL included.
const MAX_PATH: usize = 4095;
/// Longest component: the kernel's `NAME_MAX`.
const MAX_NAME: usize = 255;

/// The path or glob of a rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RulePath {
    /// As it was written, but without `/**` at the end.
    pub(super) written: String,
    /// What it stands for.
    pub(super) patterns: Vec<Pattern>,
}

impl fmt::Display for RulePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.written))
    }
}

/// Reads the path of a rule. `/x/**` and `/x` are the same: `/x` and all below it.
pub(super) fn rule_path(text: &str) -> Result<RulePath, Wrong> {
    let wrong = |message: String, advice: &str| Err((message, advice.to_owned()));
    let shown = quote(text);
    if text.starts_with('~') || text.starts_with('$') {
        return wrong(
            format!("{shown} is not expanded: manifests know no variables and no home"),
            "write the absolute path: \"/home/agent/work\"",
        );
    }
    let mut plain = text;
    while let Some(shorter) = plain.strip_suffix("/**") {
        plain = if shorter.is_empty() { "/" } else { shorter };
    }
    let patterns = glob::read(plain).map_err(|error| explain(&error, text, plain))?;
    if plain.chars().any(is_invisible) {
        return wrong(
            format!("{shown} holds an invisible character"),
            "name the directory above it",
        );
    }
    if plain.len() > MAX_PATH {
        return wrong(
            format!(
                "{shown} has {} bytes, the kernel takes {MAX_PATH}",
                plain.len()
            ),
            "name a directory further up",
        );
    }
    for pattern in &patterns {
        fits(pattern, &shown)?;
    }
    Ok(RulePath { written: plain.to_owned(), patterns })
}

/// Whether files can have the names of a pattern.
fn fits(pattern: &Pattern, shown: &str) -> Result<(), Wrong> {
    let literal = pattern.tail.steps().iter().filter_map(|step| match &step.name {
        Name::Literal(name) => Some(name),
        Name::Any | Name::Wild(_) => None,
    });
    if let Some(long) = pattern.prefix.components().iter().chain(literal).find(|c| c.len() > MAX_NAME) {
        return Err((
            format!(
                "a name in {shown} has {} bytes, the kernel takes {MAX_NAME}",
                long.len()
            ),
            "no file can have this name: look for a missing `/`".to_owned(),
        ));
    }
    let depth = pattern.prefix.depth() + pattern.tail.steps().len();
    if depth > MAX_RULE_DEPTH {
        return Err((
            format!("{shown} has {depth} components, a rule has at most {MAX_RULE_DEPTH}"),
            "name a directory further up".to_owned(),
        ));
    }
    Ok(())
}

fn explain(error: &GlobError, text: &str, plain: &str) -> Wrong {
    let shown = quote(text);
    let (what, at, advice) = match error {
        GlobError::Path(error) => return explain_path(*error, &shown, plain),
        GlobError::Alternatives => {
            return (
                format!("the braces in {shown} stand for more than {MAX_ALTERNATIVES} paths"),
                "write several rules, or a wider glob".to_owned(),
            );
        }
        GlobError::OpenSet(at) => (
            "a `[` without its `]` in the same component",
            at,
            "close the set: `[a-z]`; a bracket itself is `[[]`",
        ),
        GlobError::NoSet(at) => ("a `]` without its `[`", at, "a bracket itself is `[]]`"),
        GlobError::Caret(at) => ("`[^`", at, "write `[!a-z]` for what is not in the set"),
        GlobError::Range(at) => ("a range that runs backwards", at, "write the lower character first: `[a-z]`"),
        GlobError::WideSet(at) => (
            "a character in a set that is no ASCII",
            at,
            "a set is one byte of a name: write braces, `{é,è}`",
        ),
        GlobError::OpenBraces(at) => ("a `{` without its `}`", at, "close the braces: `{a,b}`; a brace itself is `[{]`"),
        GlobError::NoBraces(at) => ("a `}` without its `{`", at, "a brace itself is `[}]`"),
        GlobError::FewAlternatives(at) => (
            "braces without alternatives",
            at,
            "write at least two: `{a,b}`; a brace itself is `[{]`",
        ),
        GlobError::Nested(at) => ("too many braces within braces", at, "write the alternatives side by side"),
        GlobError::Stars(at) => (
            "`**` that is no component of its own",
            at,
            "within a name write one `*`; any number of directories is `/**/`",
        ),
    };
    (format!("{what} in {shown}, character {at}"), advice.to_owned())
}

fn explain_path(error: PathError, shown: &str, plain: &str) -> Wrong {
    match error {
        PathError::Empty => (
            "the path is empty".to_owned(),
            "write an absolute path: \"/data/inputs\"".to_owned(),
        ),
        PathError::Relative => (
            format!("{shown} is a relative path"),
            format!(
                "write the absolute path: \"/…/{}\"",
                escape(plain.trim_start_matches("./"))
            ),
        ),
        PathError::Nul => (
            "the path holds a NUL character".to_owned(),
            "no file name can: delete it".to_owned(),
        ),
        PathError::EmptyComponent => {
            let clean: Vec<&str> = plain.split('/').filter(|c| !c.is_empty()).collect();
            (
                format!("{shown} has an empty component"),
                format!("write \"/{}\"", escape(&clean.join("/"))),
            )
        }
        PathError::Dots => (
            format!("{shown} has a `.` or `..` component"),
            "write the path that is meant: what `..` leads to depends on links".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::rule_path;

    #[test]
    fn a_directory_and_all_below_it_have_two_spellings() {
        for (text, path) in [
            ("/usr/bin/**", "/usr/bin"),
            ("/usr/bin", "/usr/bin"),
            ("/**", "/"),
            ("/", "/"),
            ("/a b/é", "/a b/é"),
            ("/a/*/**", "/a/*"),
            ("/**/**", "/"),
        ] {
            assert_eq!(
                rule_path(text).map(|p| p.to_string()),
                Ok(path.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_odd_is_refused_with_advice() {
        for bad in [
            "",
            "data",
            "./x",
            "~/x",
            "$HOME/x",
            "/a/../b",
            "/a//b",
            "/a/",
            "/a[b",
            "/a]",
            "/[^a]",
            "/[b-a]",
            "/[é]",
            "/{}",
            "/{a}",
            "/{a",
            "/a}",
            "/a**",
            "/***/b",
            "/{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}",
            "/{/,a}",
            "/x\0",
            "/x\u{202e}y",
        ] {
            assert!(rule_path(bad).is_err(), "{bad}");
        }
        assert!(rule_path("/a//b/").is_err_and(|(_, advice)| advice.contains("\"/a/b\"")));
        assert!(rule_path("/x/a[b").is_err_and(|(m, advice)| m.contains("character 5") && advice.contains("[a-z]")));
        assert!(rule_path(&"/*".repeat(63)).is_ok());
        assert!(rule_path(&"/*".repeat(64)).is_err());
        assert!(rule_path(&"/a".repeat(63)).is_ok());
        assert!(rule_path(&"/a".repeat(64)).is_err());
        assert!(rule_path(&format!("/{}", "n".repeat(256))).is_err());
    }
}
