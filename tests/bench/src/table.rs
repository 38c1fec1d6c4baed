//! The result as text.

use std::fmt::Write as _;

use crate::case::{Cost, Row};
use crate::operation::Operation;

/// A table under way. Its first row is what all others are compared with.
#[derive(Default)]
pub struct Table {
    rows: Vec<(&'static str, Row)>,
}

impl Table {
    /// Adds a row.
    pub fn add(&mut self, name: &'static str, row: Row) {
        self.rows.push((name, row));
    }

    fn cost(row: &Row, operation: Operation) -> Option<Cost> {
        row.iter().find(|(measured, _)| *measured == operation).and_then(|(_, cost)| *cost)
    }

    /// As Markdown: instructions of each operation and, behind them, the ratio to the first row.
    pub fn markdown(&self) -> String {
        let mut text = format!("| {:<34} |", "guest instructions each");
        for operation in Operation::ALL {
            let _ = write!(text, " {:>14} |", operation.name());
        }
        let _ = write!(text, "\n|{}|", "-".repeat(36));
        for _ in Operation::ALL {
            let _ = write!(text, "{}:|", "-".repeat(15));
        }
        text.push('\n');
        let plain = self.rows.first().map(|(_, row)| row);
        for (name, row) in &self.rows {
            let _ = write!(text, "| {name:<34} |");
            for operation in Operation::ALL {
                let own = Self::cost(row, operation);
                let base = plain.and_then(|plain| Self::cost(plain, operation));
                let cell = match (own, base) {
                    (Some(own), Some(base)) => format!("{:.0} {:.3}", own.best, own.best / base.best),
                    _ => "-".to_owned(),
                };
                let _ = write!(text, " {cell:>14} |");
            }
            text.push('\n');
        }
        text
    }

    /// How far the median batch lies above the best one, at most, for each operation.
    pub fn spread(&self) -> String {
        let mut text = "median batch above the best, at most:".to_owned();
        for operation in Operation::ALL {
            let worst = self
                .rows
                .iter()
                .filter_map(|(_, row)| Self::cost(row, operation))
                .map(|cost| (cost.median / cost.best - 1.0) * 100.0)
                .fold(0.0, f64::max);
            let _ = write!(text, " {} {worst:.1} %", operation.name());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_to_the_first_row() {
        let cost = |best| Some(Cost { best, median: best * 1.01 });
        let mut table = Table::default();
        table.add("plain", vec![(Operation::Tcp, cost(200.0))]);
        table.add("half more", vec![(Operation::Tcp, cost(300.0)), (Operation::Udp, cost(1.0))]);
        let text = table.markdown();
        assert!(text.contains("300 1.500"), "{text}");
        assert!(!text.contains("inf"), "{text}");
        assert!(table.spread().contains("tcp 1.0 %"));
    }
}
