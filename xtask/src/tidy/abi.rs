//! What aegis-common declares must be used on both sides: a kind nobody emits or decodes, or a loss nobody counts,
//! is a hole in the record.

use super::source::{Tree, has_word};

const EVENTS: &str = "aegis-common/src/event.rs";
const COUNTERS: &str = "aegis-common/src/counter.rs";
const KERNEL: &str = "aegis-ebpf/src/";
const DECODE: &str = "aegis-agent/src/decode/";

/// Every kind of record is emitted by the kernel object and decoded by the agent.
pub fn kinds(tree: &Tree) -> Vec<String> {
    let Some(file) = tree.files.iter().find(|file| file.path == EVENTS) else {
        return vec![format!("{EVENTS} is missing")];
    };
    let names = constants(&file.code(), "kind");
    if names.is_empty() {
        return vec![format!("{EVENTS}: no constants in `pub mod kind`")];
    }
    let mut complaints = Vec::new();
    for name in names {
        let path = format!("kind::{name}");
        for (folder, verb) in [(KERNEL, "emits"), (DECODE, "decodes")] {
            if !mentioned(tree, folder, &path) {
                complaints.push(format!("nothing in {folder} {verb} {path}"));
            }
        }
    }
    complaints
}

/// Every counter is counted somewhere in the kernel object, and the agent exports all of them.
pub fn counters(tree: &Tree) -> Vec<String> {
    let Some(file) = tree.files.iter().find(|file| file.path == COUNTERS) else {
        return vec![format!("{COUNTERS} is missing")];
    };
    let names = variants(&file.code(), "Counter");
    if names.is_empty() {
        return vec![format!("{COUNTERS}: no variants in `enum Counter`")];
    }
    let mut complaints: Vec<String> = names
        .iter()
        .map(|name| format!("Counter::{name}"))
        .filter(|path| !mentioned(tree, KERNEL, path))
        .map(|path| format!("nothing in {KERNEL} counts {path}"))
        .collect();
    if !mentioned(tree, "aegis-agent/src/", "Counter::ALL") {
        complaints.push(
            "nothing in aegis-agent/src/ reads Counter::ALL, so losses would go unseen".to_owned(),
        );
    }
    complaints
}

fn mentioned(tree: &Tree, folder: &str, path: &str) -> bool {
    tree.rust(folder).any(|file| has_word(&file.code(), path))
}

/// The constants of `pub mod NAME { … }`.
fn constants(code: &str, module: &str) -> Vec<String> {
    let body = block(code, &format!("pub mod {module} {{"));
    let names = body
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub const ")?.split(':').next());
    names.map(str::to_owned).collect()
}

/// The variants of `pub enum NAME { … }`.
fn variants(code: &str, name: &str) -> Vec<String> {
    let body = block(code, &format!("pub enum {name} {{"));
    let names = body.lines().filter_map(|line| {
        let name = line.trim().split([' ', ',', '=']).next()?;
        name.starts_with(|letter: char| letter.is_ascii_uppercase())
            .then_some(name)
    });
    names.map(str::to_owned).collect()
}

/// What stands between the opening and the next brace that closes: neither body has inner ones.
fn block<'a>(code: &'a str, opening: &str) -> &'a str {
    let body = code.split_once(opening).map_or("", |(_, body)| body);
    body.split_once('}').map_or(body, |(body, _)| body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: &str = "pub mod kind {\n    /// x\n    pub const EXEC: u16 = 10;\n    pub const EXIT: u16 = 11;\n}\n";
    const ENUM: &str = "pub enum Counter {\n    /// Lost.\n    LostFile = 1,\n    Busy,\n}\n";

    #[test]
    fn a_kind_nobody_emits_or_decodes_is_found() {
        let tree = Tree::planted(&[
            (EVENTS, KINDS),
            ("aegis-ebpf/src/emit.rs", "f(kind::EXEC); // kind::EXIT"),
            (
                "aegis-agent/src/decode/mod.rs",
                "kind::EXEC => 1, kind::EXIT => 2",
            ),
        ]);
        assert_eq!(
            kinds(&tree),
            ["nothing in aegis-ebpf/src/ emits kind::EXIT"]
        );
        assert_eq!(kinds(&Tree::default()).len(), 1);
        assert_eq!(
            kinds(&Tree::planted(&[(EVENTS, "pub mod other {}")])).len(),
            1
        );
    }

    #[test]
    fn a_counter_nobody_counts_or_exports_is_found() {
        let tree = Tree::planted(&[
            (COUNTERS, ENUM),
            ("aegis-ebpf/src/emit.rs", "count(Counter::LostFile)"),
            (
                "aegis-agent/src/health/mod.rs",
                "for counter in Counter::ALL {}",
            ),
        ]);
        assert_eq!(
            counters(&tree),
            ["nothing in aegis-ebpf/src/ counts Counter::Busy"]
        );
        let silent = Tree::planted(&[
            (COUNTERS, ENUM),
            ("aegis-ebpf/src/emit.rs", "Counter::LostFile Counter::Busy"),
        ]);
        assert_eq!(counters(&silent).len(), 1);
    }
}
