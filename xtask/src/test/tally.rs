//! The count, and the table before it.

/// One part of the tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// What it is.
    pub name: String,
    /// How many passed.
    pub passed: usize,
    /// One line for each that did not.
    pub failures: Vec<String>,
    /// Something the reader must know, such as another kernel than the wanted one.
    pub note: String,
    /// How long it took.
    pub seconds: u64,
}

impl Row {
    /// A part that did not run.
    pub fn broken(reason: String) -> Self {
        Self {
            failures: vec![reason],
            ..Self::default()
        }
    }
}

/// All of them.
#[derive(Default)]
pub struct Tally {
    rows: Vec<Row>,
}

impl Tally {
    /// Adds a part.
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Passed and failed.
    pub fn count(&self) -> (usize, usize) {
        let sum = |number: fn(&Row) -> usize| self.rows.iter().map(number).sum();
        (sum(|row| row.passed), sum(|row| row.failures.len()))
    }

    /// Every failure, then a line for each part.
    pub fn table(&self) -> Vec<String> {
        let mut lines = vec![String::new()];
        for row in self.rows.iter().filter(|row| !row.failures.is_empty()) {
            lines.push(format!("failed in {}:", row.name));
            lines.extend(row.failures.iter().map(|failure| format!("  {failure}")));
            lines.push(String::new());
        }
        let width = self
            .rows
            .iter()
            .map(|row| row.name.len())
            .max()
            .unwrap_or(0)
            .max(4);
        lines.push(format!(
            "{:<width$}  {:>6}  {:>6}  {:>7}  note",
            "part", "passed", "failed", "seconds"
        ));
        for row in &self.rows {
            let failed = row.failures.len();
            let line = format!(
                "{:<width$}  {:>6}  {failed:>6}  {:>7}  {}",
                row.name, row.passed, row.seconds, row.note
            );
            lines.push(line.trim_end().to_owned());
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_run_counts_as_failed() {
        let mut tally = Tally::default();
        tally.add(Row {
            name: "crates".into(),
            passed: 5,
            ..Row::default()
        });
        tally.add(Row {
            name: "kernel 6.1".into(),
            ..Row::broken("no such kernel".into())
        });
        assert_eq!(tally.count(), (5, 1));
        assert!(
            tally
                .table()
                .iter()
                .any(|line| line.contains("no such kernel"))
        );
    }
}
