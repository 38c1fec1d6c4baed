//! What the files of the configuration have in common.

use aegis_policy::{
    Position,
    diagnostic::Diagnostics,
    parse::{Key, Node, Value},
};

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
