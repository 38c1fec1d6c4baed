//! The rows of one list on a screen: a few of them, and the rest in one line that adds up.
//!
//! What comes in is raw; what goes out is escaped.

use std::{collections::BTreeMap, hash::Hash};

use super::{
    sums::{Contact, Path, Questions, Runs, Times},
    tally::{Sum, Tally},
};
use crate::{cli::output, escape};

/// Names in one folder from which on they can become one row.
const MANY: usize = 3;
/// Longest object that is shown whole.
const COLUMNS: usize = 100;

/// Sums in words.
pub trait Words: Sum {
    /// "3 times".
    fn words(&self) -> String;
}

impl Words for Times {
    fn words(&self) -> String {
        counted(self.count, "time")
    }
}

impl Words for Runs {
    fn words(&self) -> String {
        let runs = counted(self.count, "run");
        if self.denied == 0 { runs } else { format!("{runs}, {} denied", output::grouped(self.denied)) }
    }
}

impl Words for Contact {
    fn words(&self) -> String {
        let mut words = vec![counted(self.connections, "connection")];
        if self.sends > 0 {
            words.push(counted(self.sends, "message"));
        }
        words.push(format!("{} sent", output::size(self.bytes_out)));
        words.push(format!("{} received", output::size(self.bytes_in)));
        words.join(", ")
    }
}

impl Words for Questions {
    fn words(&self) -> String {
        let asked = format!("asked {}", counted(self.asked, "time"));
        if self.denied == 0 { asked } else { format!("{asked}, {} denied", output::grouped(self.denied)) }
    }
}

/// "1 time", "2,000 times".
#[must_use]
pub fn counted(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{} {what}{s}", output::grouped(count))
}

/// Bytes that an agent chose, for a cell.
#[must_use]
pub fn object(raw: &[u8]) -> String {
    if raw.is_empty() { "(not known)".to_owned() } else { escape::cut(&escape::bytes(raw), COLUMNS) }
}

/// One row, which may stand for several objects.
pub struct Row<V> {
    /// The object, escaped.
    pub cells: Vec<String>,
    /// How many objects it stands for.
    pub objects: u64,
    /// Their sum.
    pub sum: V,
}

/// A row for each object.
pub fn each<K: Hash + Ord + Clone, V: Sum>(tally: &Tally<K, V>, cells: impl Fn(&K) -> Vec<String>) -> Vec<Row<V>> {
    tally.rows().into_iter().map(|(key, sum)| Row { cells: cells(key), objects: 1, sum: sum.clone() }).collect()
}

/// A row for each file, or where there are more than `lines` of them, one for all of a folder.
pub fn folders<V: Sum>(tally: &Tally<Path, V>, lines: usize) -> Vec<Row<V>> {
    let rows = tally.rows();
    if rows.len() <= lines {
        return each(tally, |path| vec![object(&path.0)]);
    }
    let mut by_folder: BTreeMap<&[u8], Vec<(&Path, &V)>> = BTreeMap::new();
    for (path, sum) in rows {
        by_folder.entry(folder(&path.0)).or_default().push((path, sum));
    }
    let mut rows = Vec::new();
    for (folder, files) in by_folder {
        if files.len() < MANY {
            rows.extend(files.into_iter().map(|(path, sum)| Row { cells: vec![object(&path.0)], objects: 1, sum: sum.clone() }));
            continue;
        }
        let mut sum = V::default();
        files.iter().for_each(|(_, one)| sum.add(one));
        let cell = format!("{}  ({} names in it)", object(folder), files.len());
        rows.push(Row { cells: vec![cell], objects: files.len() as u64, sum });
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.sum.weight()));
    rows
}

/// The folder of a file, with its slash.
fn folder(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    path.split_at(end).0
}

/// A list: its title with the sum of all, the first `lines` rows under a head, and the rest in one line.
pub fn section<K: Hash + Ord + Clone, V: Words>(
    title: &str,
    tally: &Tally<K, V>,
    lines: usize,
    head: &[&str],
    rows: Vec<Row<V>>,
    cells: impl Fn(&Row<V>) -> Vec<String>,
) -> String {
    if tally.is_empty() {
        return String::new();
    }
    let mut out = format!("{title}: {}\n", tally.total().words());
    let shown = rows.iter().take(lines).map(cells);
    let shown: Vec<_> = std::iter::once(head.iter().map(ToString::to_string).collect()).chain(shown).collect();
    if shown.len() > 1 {
        output::table(&shown).lines().for_each(|line| out.push_str(&format!("  {line}\n")));
    }
    let others = tally.others();
    let mut rest = others.sum.clone();
    let mut objects = others.distinct;
    for row in rows.iter().skip(lines) {
        rest.add(&row.sum);
        objects += row.objects;
    }
    if objects > 0 || others.at_least {
        let number = if others.at_least { format!("{} or more others", output::grouped(objects)) } else { counted(objects, "other") };
        out.push_str(&format!("  and {number}: {}\n", rest.words()));
    }
    out
}
