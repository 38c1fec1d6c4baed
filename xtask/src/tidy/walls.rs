//! Who may import whom.

use super::source::{File, Tree, has_word};

/// The stages of the agent's pipeline; only `pipeline` and the engine's wiring know more than one of them.
const STAGES: &[&str] = &[
    "decode", "enrich", "decide", "audit", "store", "export", "control",
];

/// Crates that must stay free of others, by manifest.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("aegis-common", &["aya", "tokio", "rusqlite", "std"]),
    (
        "aegis-policy",
        &[
            "aya",
            "aya-obj",
            "aya-log",
            "tokio",
            "rusqlite",
            "libbpf-rs",
            "nix",
            "libc",
        ],
    ),
    (
        "aegis-log",
        &[
            "aya",
            "aya-obj",
            "aya-log",
            "tokio",
            "rusqlite",
            "libbpf-rs",
        ],
    ),
];

/// aegis-policy and aegis-log stay free of the kernel, the runtime and the database.
pub fn dependencies(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (package, forbidden) in FORBIDDEN {
        let path = format!("{package}/Cargo.toml");
        let Some(manifest) = tree.files.iter().find(|file| file.path == path) else {
            complaints.push(format!("{path} is missing"));
            continue;
        };
        for name in dependency_names(&manifest.text) {
            if forbidden.contains(&name.as_str()) {
                complaints.push(format!(
                    "{path}: depends on {name}, which belongs to aegis-agent"
                ));
            }
        }
    }
    complaints
}

/// The names under `[dependencies]` and `[build-dependencies]`, of targets too; those of tests are free.
fn dependency_names(manifest: &str) -> Vec<String> {
    let Ok(table) = manifest.parse::<toml::Table>() else {
        return Vec::new();
    };
    let mut names = Vec::new();
    let mut collect = |table: &toml::Table| {
        for section in ["dependencies", "build-dependencies"] {
            for (name, value) in table
                .get(section)
                .and_then(|value| value.as_table())
                .into_iter()
                .flatten()
            {
                // A renamed dependency is known by its real name.
                let real = value.get("package").and_then(|package| package.as_str());
                names.push(real.unwrap_or(name).to_owned());
            }
        }
    };
    collect(&table);
    for target in table
        .get("target")
        .and_then(|targets| targets.as_table())
        .into_iter()
        .flatten()
    {
        if let Some(target) = target.1.as_table() {
            collect(target);
        }
    }
    names
}

/// Only the agent's `kernel` speaks to BPF.
pub fn aya(tree: &Tree) -> Vec<String> {
    let outside = tree.rust("").filter(|file| {
        let free = ["aegis-agent/src/kernel/", "aegis-ebpf/", "xtask/"];
        file.path.contains("/src/") && !free.iter().any(|prefix| file.path.starts_with(prefix))
    });
    lines(
        outside,
        |code| has_word(code, "aya") || has_word(code, "aya_log"),
        "uses aya; only aegis-agent/src/kernel/ may",
    )
}

/// No stage imports another stage.
pub fn stages(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.rust("aegis-agent/src/") {
        let module = file.module();
        let Some(own) = module.first().filter(|name| STAGES.contains(name)) else {
            continue;
        };
        if module.last() == Some(&"tests") {
            continue;
        }
        let code = file.code();
        // Tests may bring stages together; what ships may not.
        let shipped = code
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        for (number, root) in from_root(shipped, module.len()) {
            if STAGES.contains(&root.as_str()) && root != **own {
                complaints.push(format!(
                    "{}:{number}: stage {own} imports stage {root}; wire them in pipeline.rs",
                    file.path
                ));
            }
        }
    }
    // `store::{A, B}` is one import.
    complaints.dedup();
    complaints
}

/// Hooks never import each other; what two of them need belongs beside them.
pub fn hooks(tree: &Tree) -> Vec<String> {
    let names: Vec<&str> = tree
        .rust("aegis-ebpf/src/hook/")
        .filter_map(|file| file.module().get(1).copied())
        .collect();
    let mut complaints = Vec::new();
    for file in tree.rust("aegis-ebpf/src/hook/") {
        let module = file.module();
        let Some(own) = module.get(1) else { continue };
        for (number, path) in paths(&file.code()) {
            let sibling = match path.split("::").collect::<Vec<_>>().as_slice() {
                ["crate", "hook", name, ..] | ["super", name, ..] => *name,
                _ => continue,
            };
            if names.contains(&sibling) && sibling != *own {
                complaints.push(format!(
                    "{}:{number}: hook {own} imports hook {sibling}",
                    file.path
                ));
            }
        }
    }
    complaints
}

/// The first module below the crate's root of every path in the code, with its line.
fn from_root(code: &str, depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, path) in paths(code) {
        let words: Vec<&str> = path.split("::").collect();
        let up = words.iter().take_while(|word| **word == "super").count();
        // Climbing as far as the file is deep reaches the root, further only from an inner module.
        let start = if words[0] == "crate" {
            1
        } else if up >= depth {
            up
        } else {
            continue;
        };
        found.extend(words.get(start).map(|word| (number, (*word).to_owned())));
    }
    found
}

/// Every path that begins with `crate` or `super`, groups in braces spread out.
fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for start in ["crate", "super"] {
        for (at, _) in code.match_indices(&format!("{start}::")) {
            let before = code[..at].chars().next_back();
            if before
                .is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':')
            {
                continue;
            }
            let number = code[..at].matches('\n').count() + 1;
            let mut spread = Vec::new();
            spread_out(&code[at..], "", &mut spread);
            found.extend(spread.into_iter().map(|path| (number, path)));
        }
    }
    found
}

/// Follows one path or use tree and returns what comes after it.
fn spread_out<'a>(mut code: &'a str, prefix: &str, found: &mut Vec<String>) -> &'a str {
    let mut path = prefix.to_owned();
    loop {
        code = code.trim_start();
        if let Some(mut inside) = code.strip_prefix('{') {
            loop {
                inside = spread_out(inside, &path, found).trim_start();
                // A name given with `as` and the commas between.
                inside = inside.trim_start_matches(|letter: char| {
                    letter.is_alphanumeric() || letter == '_' || letter.is_whitespace()
                });
                match inside.strip_prefix(',') {
                    Some(rest) => inside = rest,
                    None => return inside.strip_prefix('}').unwrap_or(inside),
                }
                if let Some(rest) = inside.trim_start().strip_prefix('}') {
                    return rest;
                }
            }
        }
        let end = code
            .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .unwrap_or(code.len());
        path.push_str(&code[..end]);
        code = &code[end..];
        match code.trim_start().strip_prefix("::") {
            Some(rest) => {
                path.push_str("::");
                code = rest;
            }
            None => {
                found.push(path);
                return code;
            }
        }
    }
}

fn lines<'a>(
    files: impl Iterator<Item = &'a File>,
    bad: impl Fn(&str) -> bool,
    what: &str,
) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        for (number, line) in file.code().lines().enumerate() {
            if bad(line) {
                complaints.push(format!("{}:{}: {what}", file.path, number + 1));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_dependency_is_found() {
        let clean = "[dependencies]\nserde = \"1\"\n[dev-dependencies]\ntokio = \"1\"\n";
        let direct = "[dependencies]\ntokio.workspace = true\n";
        let renamed =
            "[target.'cfg(unix)'.dependencies]\nx = { package = \"rusqlite\", version = \"1\" }\n";
        let tree = |policy: &str, log: &str| {
            Tree::planted(&[
                ("aegis-common/Cargo.toml", ""),
                ("aegis-policy/Cargo.toml", policy),
                ("aegis-log/Cargo.toml", log),
            ])
        };
        assert!(dependencies(&tree(clean, clean)).is_empty());
        assert_eq!(dependencies(&tree(direct, renamed)).len(), 2);
        assert_eq!(dependencies(&Tree::default()).len(), 3);
    }

    #[test]
    fn aya_outside_the_kernel_module_is_found() {
        let tree = Tree::planted(&[
            ("aegis-agent/src/kernel/load.rs", "use aya::Ebpf;"),
            (
                "aegis-agent/src/decode/mod.rs",
                "// aya is not used here\nlet aya_like = 1;",
            ),
            ("aegis-agent/src/store/mod.rs", "\nuse aya::maps::Map;"),
        ]);
        assert_eq!(
            aya(&tree),
            ["aegis-agent/src/store/mod.rs:2: uses aya; only aegis-agent/src/kernel/ may"]
        );
    }

    #[test]
    fn a_stage_that_imports_a_stage_is_found_however_it_is_written() {
        let imports = [
            "use crate::store::Store;",
            "use crate::{clock, store};",
            "use crate::{clock::{Now, Then}, record as r, store::{Index, self}};",
            "fn f() { crate::store::open() }",
            "use super::super::store;",
        ];
        for import in imports {
            let tree = Tree::planted(&[("aegis-agent/src/decode/frame.rs", import)]);
            assert_eq!(stages(&tree).len(), 1, "{import}");
        }
        let test = "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::store::Index;\n}";
        for fine in [
            test,
            "use crate::decode::Frame;",
            "use crate::clock;",
            "use super::store;",
            "// crate::store",
            "use crate::record::{self, store_id};",
        ] {
            let tree = Tree::planted(&[("aegis-agent/src/decode/frame.rs", fine)]);
            assert!(stages(&tree).is_empty(), "{fine}");
        }
        assert!(
            stages(&Tree::planted(&[(
                "aegis-agent/src/pipeline.rs",
                imports[0]
            )]))
            .is_empty()
        );
        assert_eq!(
            stages(&Tree::planted(&[(
                "aegis-agent/src/decode/mod.rs",
                "use super::store;"
            )]))
            .len(),
            1
        );
    }

    #[test]
    fn a_hook_that_imports_a_hook_is_found() {
        let tree = |text| {
            Tree::planted(&[
                ("aegis-ebpf/src/hook/open.rs", text),
                ("aegis-ebpf/src/hook/exec.rs", ""),
                ("aegis-ebpf/src/hook/mod.rs", "mod open;"),
            ])
        };
        assert_eq!(hooks(&tree("use super::exec::x;")).len(), 1);
        assert_eq!(hooks(&tree("use crate::hook::exec;")).len(), 1);
        assert!(hooks(&tree("use crate::read::exec; use super::open::y;")).is_empty());
    }
}
