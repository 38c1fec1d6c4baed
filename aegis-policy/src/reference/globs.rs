//! Globs as text, matched by trying.
//!
//! Written apart from `crate::glob` on purpose: a component is tried byte by byte, a pattern component
//! by component, each in the way that its definition reads.

/// A pattern's components as text; empty once all of it was matched.
pub(super) type Rest = Vec<Vec<u8>>;

/// The paths that the braces of a glob stand for.
pub(super) fn spelled_out(glob: &[u8]) -> Vec<Vec<u8>> {
    let Some(open) = find(glob, b'{') else { return vec![glob.to_vec()] };
    let (mut depth, mut begin, mut n) = (0, open + 1, open);
    let mut alternatives = Vec::new();
    while let Some(&byte) = glob.get(n) {
        match byte {
            b'[' => n = set_end(glob, n),
            b'{' => depth += 1,
            b',' if depth == 1 => {
                alternatives.push(glob.get(begin..n).unwrap_or_default());
                begin = n + 1;
            }
            b'}' if depth == 1 => {
                alternatives.push(glob.get(begin..n).unwrap_or_default());
                break;
            }
            b'}' => depth -= 1,
            _ => {}
        }
        n += 1;
    }
    let (head, tail) = (glob.get(..open).unwrap_or_default(), glob.get(n + 1..).unwrap_or_default());
    alternatives.into_iter().flat_map(|a| spelled_out(&[head, a, tail].concat())).collect()
}

/// Where a byte first stands outside of sets.
fn find(glob: &[u8], wanted: u8) -> Option<usize> {
    let mut n = 0;
    while let Some(&byte) = glob.get(n) {
        if byte == wanted {
            return Some(n);
        }
        n = if byte == b'[' { set_end(glob, n) + 1 } else { n + 1 };
    }
    None
}

/// Where the set ends that begins at `open`: at its `]`, which is not its first character.
fn set_end(glob: &[u8], open: usize) -> usize {
    let first = if glob.get(open + 1) == Some(&b'!') { open + 2 } else { open + 1 };
    let rest = glob.get(first + 1..).unwrap_or_default();
    rest.iter().position(|b| *b == b']').map_or(glob.len(), |n| first + 1 + n)
}

/// The plain path that a spelled-out glob begins with, and the components behind it.
pub(super) fn divide(path: &[u8]) -> (Vec<u8>, Rest) {
    let mut prefix = Vec::new();
    let mut rest: Rest = Vec::new();
    for part in path.split(|b| *b == b'/').filter(|p| !p.is_empty()) {
        match plain(part) {
            Some(name) if rest.is_empty() => {
                prefix.push(b'/');
                prefix.extend(name);
            }
            // Twice any number of components is any number of them.
            _ if part == b"**" && rest.last().is_some_and(|last| last == b"**") => {}
            _ => rest.push(part.to_vec()),
        }
    }
    while rest.last().is_some_and(|last| last == b"**") {
        rest.pop();
    }
    if prefix.is_empty() {
        prefix.push(b'/');
    }
    (prefix, rest)
}

/// The one name that a component can match, if it is one.
fn plain(part: &[u8]) -> Option<Vec<u8>> {
    match part {
        [] => Some(Vec::new()),
        [b'*' | b'?', ..] => None,
        [b'[', byte, b']', tail @ ..] => [*byte].into_iter().chain(plain(tail)?).collect::<Vec<u8>>().into(),
        [b'[', ..] => None,
        [byte, tail @ ..] => [*byte].into_iter().chain(plain(tail)?).collect::<Vec<u8>>().into(),
    }
}

/// Whether a component's name matches.
fn matches(part: &[u8], name: &[u8]) -> bool {
    match (part, name) {
        ([], _) => name.is_empty(),
        ([b'*', tail @ ..], _) => matches(tail, name) || name.split_first().is_some_and(|(_, n)| matches(part, n)),
        (_, []) => false,
        ([b'?', tail @ ..], [_, after @ ..]) => matches(tail, after),
        ([b'[', ..], [byte, after @ ..]) => {
            let end = set_end(part, 0);
            in_set(part.get(1..end).unwrap_or_default(), *byte) && matches(part.get(end + 1..).unwrap_or_default(), after)
        }
        ([wanted, tail @ ..], [byte, after @ ..]) => wanted == byte && matches(tail, after),
    }
}

fn in_set(set: &[u8], byte: u8) -> bool {
    match set {
        [b'!', set @ ..] => !in_set(set, byte),
        [first, b'-', last, tail @ ..] => (first..=last).contains(&&byte) || !tail.is_empty() && in_set(tail, byte),
        [one, tail @ ..] => *one == byte || !tail.is_empty() && in_set(tail, byte),
        [] => false,
    }
}

/// What is left of a pattern behind some components, in every way that they can be taken; a rest of
/// nothing where the pattern matches them or a directory above.
pub(super) fn rests(pattern: &[Vec<u8>], names: &[Vec<u8>]) -> Vec<Rest> {
    match (pattern, names) {
        (_, []) => vec![pattern.to_vec()],
        ([], _) => vec![Vec::new()],
        ([first, tail @ ..], [_, after @ ..]) if first == b"**" => {
            let mut out = rests(tail, names);
            out.extend(rests(pattern, after));
            out
        }
        ([first, tail @ ..], [name, after @ ..]) if matches(first, name) => rests(tail, after),
        _ => Vec::new(),
    }
}

/// Whether a pattern matches exactly these components.
pub(super) fn fully(pattern: &[Vec<u8>], names: &[Vec<u8>]) -> bool {
    match (pattern, names) {
        ([], _) => names.is_empty(),
        ([first, tail @ ..], _) if first == b"**" => {
            fully(tail, names) || names.split_first().is_some_and(|(_, after)| fully(pattern, after))
        }
        ([first, tail @ ..], [name, after @ ..]) => matches(first, name) && fully(tail, after),
        (_, []) => false,
    }
}

/// What is left behind one component that is itself named or matched: not taken by `**`.
pub(super) fn taken(pattern: &[Vec<u8>], name: &[u8]) -> Option<Rest> {
    match pattern {
        [first, tail @ ..] if first == b"**" => taken(tail, name),
        [first, tail @ ..] if matches(first, name) => Some(tail.to_vec()),
        _ => None,
    }
}
