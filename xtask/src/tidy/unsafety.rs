//! Where `unsafe` may stand.

use super::source::{Tree, has_word};

/// Folders that may hold unsafe code, and why each must.
const ALLOWED: &[(&str, &str)] = &[
    ("aegis-ebpf/src/read/", "every read of kernel memory"),
    (
        "aegis-agent/src/kernel/",
        "maps, rings and the system calls of BPF",
    ),
    (
        "aegis-agent/src/cli/run/",
        "fork, and what must happen between it and exec",
    ),
];

/// No unsafe code anywhere else. Attributes such as `#[unsafe(no_mangle)]` in the kernel object are its ABI, not code.
pub fn check(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.rust("") {
        if ALLOWED
            .iter()
            .any(|(folder, _)| file.path.starts_with(folder))
        {
            continue;
        }
        let attributes = file.path.starts_with("aegis-ebpf/src/");
        for (number, line) in file.code().lines().enumerate() {
            let line = if attributes {
                line.replace("#[unsafe(", "#[(")
            } else {
                line.to_owned()
            };
            if has_word(&line, "unsafe") {
                let places: Vec<&str> = ALLOWED.iter().map(|(folder, _)| *folder).collect();
                complaints.push(format!(
                    "{}:{}: unsafe code belongs in {}",
                    file.path,
                    number + 1,
                    places.join(", ")
                ));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_unsafe_code_is_found() {
        let tree = Tree::planted(&[
            ("aegis-ebpf/src/read/mod.rs", "unsafe { read() }"),
            (
                "aegis-ebpf/src/main.rs",
                "#[unsafe(no_mangle)]\nstatic X: u8 = 0;",
            ),
            ("aegis-ebpf/src/hook/open.rs", "\n    unsafe { read() }"),
            (
                "aegis-log/src/lib.rs",
                "#![forbid(unsafe_code)] // no unsafe\nlet s = \"unsafe\";",
            ),
            ("aegis-agent/src/store/mod.rs", "#[unsafe(no_mangle)]"),
        ]);
        let found = check(&tree);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("aegis-ebpf/src/hook/open.rs:2:"));
        assert!(found[1].starts_with("aegis-agent/src/store/mod.rs:1:"));
    }
}
