//! Reading shapes from nodes: every mistake becomes an error with a position, and reading goes on.
//!
//! Knows: what a mapping, a list and a text are. Must not know: what a value means.

use super::Text;
use super::language::{Keys, Support};
use crate::diagnostic::{Diagnostics, Position, quote};
use crate::parse::{Key, Kind, Node, Scalar, Value};

/// What a node is, for "found a list".
pub(super) fn found(node: &Node) -> &'static str {
    match &node.value {
        Value::List(_) => "a list",
        Value::Map(_) => "a mapping",
        Value::Scalar(scalar) => match scalar.kind() {
            Kind::Null => "nothing",
            Kind::Bool | Kind::OldBool => "a truth value",
            Kind::Integer | Kind::Number => "a number",
            Kind::Text => "text",
        },
    }
}

/// The known keys of a mapping.
pub(super) struct Fields<'n> {
    map: Vec<&'n (Key, Node)>,
}

impl<'n> Fields<'n> {
    /// Reads a mapping, reporting unknown keys and keys that this version does not enforce.
    /// `what` names the mapping in messages.
    pub(super) fn of(
        node: &'n Node,
        what: &str,
        keys: Keys,
        errors: &mut Diagnostics,
    ) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            errors.error(
                node.at,
                format!("{what} must be a mapping, found {}", found(node)),
                format!(
                    "write one or more of {}, each with `: ` and a value",
                    list_of(keys)
                ),
            );
            return None;
        };
        let mut map = Vec::new();
        for entry in entries {
            match keys.iter().find(|(name, _)| *name == entry.0.text) {
                Some((_, Support::Known)) => map.push(entry),
                Some((name, Support::Later(why, advice))) => errors.error(
                    entry.0.at,
                    format!("not enforced by this version: `{name}` of {what} ({why})"),
                    *advice,
                ),
                None => unknown(&entry.0, what, keys, errors),
            }
        }
        Some(Self { map })
    }

    /// The value of a key.
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        self.map
            .iter()
            .find(|(key, _)| key.text == name)
            .map(|(_, node)| node)
    }
}

fn list_of(keys: Keys) -> String {
    let known = keys.iter().filter(|(_, s)| *s == Support::Known);
    known
        .map(|(name, _)| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn unknown(key: &Key, what: &str, keys: Keys, errors: &mut Diagnostics) {
    let advice = match nearest(&key.text, keys.iter().map(|(name, _)| *name)) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("delete it; {what} has {}", list_of(keys)),
    };
    errors.error(
        key.at,
        format!("unknown key {} in {what}", quote(&key.text)),
        advice,
    );
}

/// The candidate that `word` is most likely a slip of.
pub(crate) fn nearest<'c>(
    word: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    if word.chars().count() > 32 {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    candidates
        .map(|c| (distance(&word, c), c))
        .filter(|(d, c)| *d <= (c.chars().count() / 3).clamp(1, 3))
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// Edits between two words: insert, delete, replace, swap neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], n: usize| row.get(n).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&last, j + 1) + 1).min(at(&row, j) + 1);
            best = best.min(at(&last, j) + usize::from(x != y));
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

/// A scalar of any kind, as written: numbers, sizes, durations.
pub(super) fn scalar(
    node: &Node,
    what: &str,
    example: &str,
    errors: &mut Diagnostics,
) -> Option<Text> {
    match &node.value {
        Value::Scalar(scalar) if scalar.kind() != Kind::Null => Some(text_of(node.at, scalar)),
        _ => {
            errors.error(
                node.at,
                format!("{what} must be a single value, found {}", found(node)),
                format!("write {example}"),
            );
            None
        }
    }
}

/// Text, or `off`, which is no truth value where it stands beside other words.
pub(super) fn word(node: &Node, what: &str, example: &str, errors: &mut Diagnostics) -> Option<Text> {
    match &node.value {
        Value::Scalar(scalar) if scalar.kind() == Kind::OldBool => Some(text_of(node.at, scalar)),
        _ => text(node, what, example, errors),
    }
}

/// A text. What YAML takes for something else must be quoted.
pub(super) fn text(
    node: &Node,
    what: &str,
    example: &str,
    errors: &mut Diagnostics,
) -> Option<Text> {
    let Value::Scalar(scalar) = &node.value else {
        errors.error(
            node.at,
            format!("{what} must be text, found {}", found(node)),
            format!("write {example}"),
        );
        return None;
    };
    match scalar.kind() {
        Kind::Text => Some(text_of(node.at, scalar)),
        Kind::Null => {
            errors.error(
                node.at,
                format!("{what} is empty"),
                format!("write {example}"),
            );
            None
        }
        Kind::Bool | Kind::Integer | Kind::Number | Kind::OldBool => {
            errors.error(
                node.at,
                format!(
                    "{what} must be text, found {} {}",
                    found(node),
                    quote(&scalar.text)
                ),
                format!(
                    "if it is meant as text, quote it: \"{}\"",
                    crate::diagnostic::escape(&scalar.text)
                ),
            );
            None
        }
    }
}

/// `true` or `false`.
pub(super) fn truth(node: &Node, what: &str, example: &str, errors: &mut Diagnostics) -> Option<Text> {
    if let Value::Scalar(scalar) = &node.value
        && scalar.kind() == Kind::Bool
    {
        return Some(text_of(node.at, scalar));
    }
    errors.error(
        node.at,
        format!("{what} must be true or false, found {}", found(node)),
        format!("write {example}"),
    );
    None
}

fn text_of(at: Position, scalar: &Scalar) -> Text {
    Text {
        at,
        text: scalar.text.clone(),
        plain: scalar.plain,
    }
}

/// A list.
pub(super) fn list<'n>(
    node: &'n Node,
    what: &str,
    example: &str,
    errors: &mut Diagnostics,
) -> &'n [Node] {
    if let Value::List(nodes) = &node.value {
        return nodes;
    }
    errors.error(
        node.at,
        format!("{what} must be a list, found {}", found(node)),
        format!("write {example}"),
    );
    &[]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn a_slip_finds_its_key_and_nonsense_finds_none() {
        let keys = [
            "permissions",
            "version",
            "mode",
            "kill",
            "pids",
            "cpu_quota",
        ];
        for (slip, key) in [
            ("premissions", "permissions"),
            ("permission", "permissions"),
            ("Mode", "mode"),
            ("cpu-quota", "cpu_quota"),
            ("pid", "pids"),
        ] {
            assert_eq!(nearest(slip, keys.into_iter()), Some(key));
        }
        assert_eq!(nearest("banana", keys.into_iter()), None);
        assert_eq!(nearest(&"m".repeat(100_000), keys.into_iter()), None);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("ab", "ba"), 1);
    }
}
