//! Paths as rules write them.
//!
//! Knows: which spellings name a path, and which globs this version takes. Must not know: whether
//! anything exists.

use super::values::Wrong;
use crate::compile::MAX_RULE_DEPTH;
use crate::diagnostic::{escape, is_invisible, quote};
use crate::path::{AbsPath, PathError};

/// Longest path: the kernel's `PATH_MAX`, its NUL included.
const MAX_PATH: usize = 4095;
/// Longest component: the kernel's `NAME_MAX`.
const MAX_NAME: usize = 255;

/// Reads the path of a rule. `/x/**` and `/x` are the same: `/x` and all below it.
pub(super) fn rule_path(text: &str) -> Result<AbsPath, Wrong> {
    let wrong = |message: String, advice: &str| Err((message, advice.to_owned()));
    let shown = quote(text);
    if text.starts_with('~') || text.starts_with('$') {
        return wrong(
            format!("{shown} is not expanded: manifests know no variables and no home"),
            "write the absolute path: \"/home/agent/work\"",
        );
    }
    let plain = match text {
        "/**" => "/",
        text => text.strip_suffix("/**").unwrap_or(text),
    };
    let path = match AbsPath::parse(plain.as_bytes()) {
        Ok(path) => path,
        Err(error) => return Err(explain(error, text, plain)),
    };
    if let Some(glob) = plain.chars().find(|c| "*?[]{}".contains(*c)) {
        return wrong(
            format!("not enforced by this version: the glob in {shown} (`{glob}`)"),
            "name a directory: it means itself and all below it, and so does `/**` behind it",
        );
    }
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
    if let Some(long) = path.components().iter().find(|c| c.len() > MAX_NAME) {
        return wrong(
            format!(
                "a name in {shown} has {} bytes, the kernel takes {MAX_NAME}",
                long.len()
            ),
            "no file can have this name: look for a missing `/`",
        );
    }
    if path.depth() > MAX_RULE_DEPTH {
        return wrong(
            format!(
                "{shown} has {} components, a rule has at most {MAX_RULE_DEPTH}",
                path.depth()
            ),
            "name a directory further up",
        );
    }
    Ok(path)
}

fn explain(error: PathError, text: &str, plain: &str) -> Wrong {
    let shown = quote(text);
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
            "/a/*",
            "/a/*/b",
            "/a?",
            "/[ab]",
            "/{a,b}",
            "/a/**/b",
            "/a**",
            "/x\0",
            "/x\u{202e}y",
        ] {
            assert!(rule_path(bad).is_err(), "{bad}");
        }
        assert!(rule_path("/a//b/").is_err_and(|(_, advice)| advice.contains("\"/a/b\"")));
        assert!(rule_path(&"/a".repeat(63)).is_ok());
        assert!(rule_path(&"/a".repeat(64)).is_err());
        assert!(rule_path(&format!("/{}", "n".repeat(256))).is_err());
    }
}
