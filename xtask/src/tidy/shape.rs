//! The shape of files: short, headed, and at home on any machine.

use super::source::Tree;

/// Longest file that a person reads in one go.
const LONGEST: usize = 600;

/// Generated files, whose length nobody chose.
const GENERATED: &[&str] = &["Cargo.lock"];

/// Beginnings of paths that exist on one machine only. In pieces, so that this file does not hold them.
const MACHINE_PATHS: &[&str] = &[
    concat!("/work", "/main"),
    concat!("/work", "/shared"),
    concat!("/tmp/", "contract"),
    concat!("/root/", ".cargo"),
    concat!("/root/", ".cache"),
    concat!("/root/", ".rustup"),
    concat!("../shared", "/design"),
];

/// Extensions of what people write.
const WRITTEN: &[&str] = &[
    ".rs", ".py", ".sh", ".c", ".toml", ".yaml", ".yml", ".md", ".proto",
];

/// No file is too long.
pub fn length(tree: &Tree) -> Vec<String> {
    let written = tree.files.iter().filter(|file| {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        !GENERATED.contains(&name) && WRITTEN.iter().any(|extension| name.ends_with(extension))
    });
    written
        .filter_map(|file| {
            let lines = file.text.lines().count();
            (lines > LONGEST).then(|| {
                format!(
                    "{}: {lines} lines; split it, {LONGEST} is the most",
                    file.path
                )
            })
        })
        .collect()
}

/// Nothing depends on the machine it was written on.
pub fn machine_paths(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in &tree.files {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(path) = MACHINE_PATHS.iter().find(|path| line.contains(**path)) {
                complaints.push(format!(
                    "{}:{}: {path} exists on one machine only",
                    file.path,
                    number + 1
                ));
            }
        }
    }
    complaints
}

/// Every Rust file begins by saying what it is; `tests.rs` belongs to the file that includes it.
pub fn headers(tree: &Tree) -> Vec<String> {
    let rust = tree
        .files
        .iter()
        .filter(|file| file.path.ends_with(".rs") && file.path.contains("/src/"));
    rust.filter(|file| !file.path.ends_with("/tests.rs"))
        .filter(|file| !file.text.starts_with("//!") && !file.text.trim().is_empty())
        .map(|file| {
            format!(
                "{}: no header; begin it with `//!` and what the module knows",
                file.path
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found_and_a_generated_one_is_not() {
        let long = "x\n".repeat(LONGEST + 1);
        let just = "x\n".repeat(LONGEST);
        let tree = Tree::planted(&[
            ("a/src/x.rs", &long),
            ("Cargo.lock", &long),
            ("a/src/y.rs", &just),
            ("data.json", &long),
        ]);
        assert_eq!(length(&tree).len(), 1);
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        let text = format!("fine\nlet x = \"{}/target\";\n", MACHINE_PATHS[0]);
        let tree = Tree::planted(&[("a/src/x.rs", &text), ("b.md", "/work of art")]);
        assert_eq!(machine_paths(&tree).len(), 1);
    }

    #[test]
    fn a_file_without_a_header_is_found() {
        let tree = Tree::planted(&[
            ("a/src/x.rs", "use std::fs;"),
            ("a/src/y.rs", "//! Y.\n"),
            ("a/src/z.rs", ""),
            ("a/src/tests.rs", "fn x() {}"),
        ]);
        assert_eq!(headers(&tree).len(), 1);
    }
}
