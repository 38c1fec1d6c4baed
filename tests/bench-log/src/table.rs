//! The result as text.

use std::fmt::Write as _;
use std::time::Duration;

use crate::clock::Took;

/// What a figure should be.
#[derive(Clone, Copy)]
pub enum Aim {
    None,
    AtLeast(f64),
    AtMost(f64),
}

impl Aim {
    fn missed(self, figure: f64) -> bool {
        match self {
            Self::None => false,
            Self::AtLeast(least) => figure < least,
            Self::AtMost(most) => figure > most,
        }
    }
}

struct Row {
    name: String,
    figure: f64,
    decimals: usize,
    aim: Aim,
}

/// Figures with their aims.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Adds a figure, to be shown with so many decimals.
    pub fn figure(&mut self, name: impl Into<String>, figure: f64, decimals: usize, aim: Aim) {
        self.rows.push(Row { name: name.into(), figure, decimals, aim });
    }

    /// Adds how many entries a second that was, and what an entry took of the processors.
    pub fn rate(&mut self, name: &str, count: u64, took: Took, aim: Aim) {
        self.figure(format!("{name}, entries/s"), count as f64 / took.wall.as_secs_f64(), 0, aim);
        let each = took.processor.as_secs_f64() * 1e6 / count as f64;
        self.figure(format!("{name}, µs of a processor an entry"), each, 2, Aim::None);
    }

    /// Adds the median of some durations, and which of them is larger than nine of ten, in milliseconds.
    pub fn times(&mut self, name: &str, mut took: Vec<Duration>, aim: Aim) {
        took.sort();
        let at = |share: usize| took.get(took.len() * share / 100).map_or(0.0, |took| took.as_secs_f64() * 1e3);
        self.figure(format!("{name}, ms"), at(50), 3, aim);
        self.figure(format!("{name}, ms, 90th percentile"), at(90), 3, Aim::None);
    }

    /// As Markdown.
    pub fn markdown(&self, entries: u64) -> String {
        let mut text = format!("| a log of {} entries | | aim |\n|---|---:|---|\n", grouped(entries as f64, 0));
        for Row { name, figure, decimals, aim } in &self.rows {
            let wanted = match aim {
                Aim::None => String::new(),
                Aim::AtLeast(least) => format!("≥ {}", grouped(*least, decimals_of(*least))),
                Aim::AtMost(most) => format!("≤ {}", grouped(*most, decimals_of(*most))),
            };
            let missed = if aim.missed(*figure) { ", missed" } else { "" };
            let _ = writeln!(text, "| {name} | {} | {wanted}{missed} |", grouped(*figure, *decimals));
        }
        text
    }
}

fn decimals_of(aim: f64) -> usize {
    if aim < 1.0 { 2 } else { 0 }
}

/// With a comma between thousands.
fn grouped(figure: f64, decimals: usize) -> String {
    let text = format!("{figure:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_aim_is_told() {
        let mut table = Table::default();
        table.figure("ratio", 0.5, 2, Aim::AtLeast(0.6));
        table.figure("bytes", 120.0, 0, Aim::AtMost(120.0));
        let took = Took { wall: Duration::from_secs(2), processor: Duration::from_secs(3) };
        table.rate("rate", 3_000_000, took, Aim::None);
        let text = table.markdown(1_000_000);
        assert!(text.contains("| ratio | 0.50 | ≥ 0.60, missed |"), "{text}");
        assert!(text.contains("| bytes | 120 | ≤ 120 |"), "{text}");
        assert!(text.contains("| rate, entries/s | 1,500,000 |  |"), "{text}");
        assert!(text.contains("| rate, µs of a processor an entry | 1.00 |  |"), "{text}");
    }

    #[test]
    fn the_median_is_the_middle_one() {
        let mut table = Table::default();
        table.times("x", (1..=100).rev().map(Duration::from_millis).collect(), Aim::AtMost(50.0));
        assert!(table.markdown(1).contains("| x, ms | 51.000 | ≤ 50, missed |"), "{}", table.markdown(1));
    }
}
