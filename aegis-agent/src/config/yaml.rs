//! What the files of the configuration have in common.

use aegis_policy::{
    Position,
    diagnostic::Diagnostics,
    parse::{Key, Node, Value},
};

/// The only version of these files.
const VERSION: &str = "1.0";

/// Whether a file says that it is of the version that is known; nothing else is.
pub(crate) fn check_version(version: Option<&Node>, root: &Node, errors: &mut Diagnostics) {
    match version.map(|node| (node.at, &node.value)) {
        Some((_, Value::Scalar(scalar))) if scalar.text == VERSION => {}
        other => {
            let at = other.map_or(root.at, |(at, _)| at);
            errors.error(at, "the version of the file is missing or not known", format!("write `version: \"{VERSION}\"`"));
        }
    }
}

/// A text that is not empty, and where it stands.
pub(crate) fn text(node: Option<&Node>) -> Option<(Position, &str)> {
    match node {
        Some(Node { at, value: Value::Scalar(scalar) }) if !scalar.text.is_empty() => Some((*at, &scalar.text)),
        _ => None,
    }
}

/// The values of known keys; another key is an error.
pub(crate) fn fields<'n, const N: usize>(node: &'n Node, known: [&str; N], errors: &mut Diagnostics) -> Option<[Option<&'n Node>; N]> {
    let Value::Map(entries) = &node.value else {
        errors.error(node.at, "a mapping is expected here", format!("write the keys {}", list(&known)));
        return None;
    };
    let mut values = [None; N];
    for (Key { at, text }, value) in entries {
        match known.iter().position(|name| name == text) {
            Some(index) => values[index] = Some(value),
            None => errors.error(*at, format!("unknown key `{}`", text.escape_default()), format!("known here: {}", list(&known))),
        }
    }
    Some(values)
}

fn list(known: &[&str]) -> String {
    known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
