//! Random manifests over the names of the world.

use std::collections::BTreeSet;

use fastrand::Rng;

/// The small alphabet of names, so that rules, mounts, links and questions meet often.
pub const NAMES: [&str; 4] = ["a", "b", "c", "d"];

const WILD: [&str; 16] = [
    "*", "*", "**", "**", "**", "[ab]", "[!a]", "?", "[!b-c]", "*[a]", "[ac]*", "*?*", "{a,b}", "{a/b,[c-d]}",
    "{**/a,b*}", "[b]",
];

fn path(rng: &mut Rng, world: &str) -> String {
    let depth = *rng.choice(&[1, 1, 2, 2, 2, 2, 3, 3, 3, 4]).unwrap_or(&1);
    (0..depth).fold(world.to_owned(), |path, _| format!("{path}/{}", NAMES[rng.usize(..NAMES.len())]))
}

fn glob(rng: &mut Rng, world: &str) -> String {
    let mut parts: Vec<&str> = (0..rng.usize(1..5))
        .map(|_| if rng.u8(..3) == 0 { NAMES[rng.usize(..3)] } else { WILD[rng.usize(..WILD.len())] })
        .collect();
    // At the end it says nothing, and the rule would be there twice.
    while parts.last() == Some(&"**") {
        parts.pop();
    }
    parts.iter().fold(world.to_owned(), |path, part| format!("{path}/{part}"))
}

fn list(rng: &mut Rng, world: &str, most: usize) -> String {
    let paths: BTreeSet<String> = (0..rng.usize(..=most))
        .map(|_| match rng.u8(..12) {
            0 => world.to_owned(),
            1..=7 => path(rng, world),
            _ => glob(rng, world),
        })
        .collect();
    let paths: Vec<String> = paths.into_iter().map(|path| format!("{path:?}")).collect();
    format!("[{}]", paths.join(", "))
}

/// A manifest under which the governed process itself still runs.
pub fn random(rng: &mut Rng, world: &str) -> String {
    let default = if rng.u8(..3) == 0 { "allow" } else { "deny" };
    let mut list = |most| list(rng, world, most);
    let (read, write, deny, run, ban) = (list(3), list(4), list(3), list(3), list(2));
    format!(
        "version: \"1.0\"\nagent: {{name: agreement}}\ndefault: {default}\nbaseline: linux\npermissions:\n  fs:\n    read: {read}\n    write: {write}\n    deny: {deny}\n  exec:\n    allow: {run}\n    deny: {ban}\n"
    )
}
