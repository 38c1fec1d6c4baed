//! What an act says it saw: lines `= NAME RESULT` on its standard output, one for each try.
//!
//! The result is `ok`, the name of an errno, or any word the act made of what it found. Lines that begin
//! with `| ` are rows of a table, shown however the case ends. Every other line is noise for the reader of
//! a failure.

use std::collections::BTreeMap;

/// Results by the name of the try.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    results: BTreeMap<String, String>,
    twice: Vec<String>,
    /// Rows of tables, as they were printed.
    pub rows: String,
}

/// A try that did not give what it should.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// Name of the try.
    pub name: String,
    /// What it gave; nothing where it reported nothing, or what no try may report.
    pub found: Option<String>,
    /// One sentence.
    pub text: String,
}

impl Outcomes {
    /// Takes in one line of output; whether it was a result or a row of a table.
    pub fn take(&mut self, line: &str) -> bool {
        if line.starts_with("| ") {
            self.rows.push_str(line.trim_end());
            self.rows.push('\n');
            return true;
        }
        let Some(line) = line.trim_end().strip_prefix("= ") else { return false };
        let (name, result) = line.split_once(' ').unwrap_or((line, ""));
        if self.results.insert(name.to_owned(), result.to_owned()).is_some() {
            self.twice.push(name.to_owned());
        }
        true
    }

    /// Compares with what each try should give. `place` says where the act ran, for the sentences.
    pub fn compare<'a>(&self, place: &str, expected: impl Iterator<Item = (&'a str, &'a [String])>) -> Vec<Difference> {
        let mut wrong = Vec::new();
        let mut known = Vec::new();
        let difference = |name: &str, found: Option<&String>, what: String| Difference {
            name: name.to_owned(),
            found: found.cloned(),
            text: format!("{place}: {name} {what}"),
        };
        for (name, allowed) in expected {
            known.push(name);
            match self.results.get(name) {
                None => wrong.push(difference(name, None, "reported nothing".to_owned())),
                Some(found) if allowed.iter().any(|a| a == found) => {}
                Some(found) => wrong.push(difference(name, Some(found), format!("gave {found:?}, not {}", allowed.join(" or ")))),
            }
        }
        for name in self.results.keys().filter(|name| !known.contains(&name.as_str())) {
            wrong.push(difference(name, None, "is no try of the scenario".to_owned()));
        }
        for name in &self.twice {
            wrong.push(difference(name, None, "was reported twice".to_owned()));
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::Outcomes;

    fn outcomes(text: &str) -> Outcomes {
        let mut o = Outcomes::default();
        for line in text.lines() {
            o.take(line);
        }
        o
    }

    fn compare(text: &str, expected: &[(&str, &[&str])]) -> Vec<String> {
        let expected: Vec<(&str, Vec<String>)> =
            expected.iter().map(|(n, r)| (*n, r.iter().map(|s| (*s).to_owned()).collect())).collect();
        outcomes(text).compare("inside", expected.iter().map(|(n, r)| (*n, r.as_slice()))).into_iter().map(|d| d.text).collect()
    }

    #[test]
    fn equal_results_and_noise_are_fine() {
        assert!(compare("noise\n= a ok\n= b EACCES\n", &[("a", &["ok"]), ("b", &["EPERM", "EACCES"])]).is_empty());
    }

    #[test]
    fn rows_of_a_table_are_kept_and_are_no_results() {
        let table = outcomes("| a | b |\n= a ok\n| 1 | 2 |  \n|not a row");
        assert_eq!(table.rows, "| a | b |\n| 1 | 2 |\n");
        assert!(compare("| a | b |\n= a ok", &[("a", &["ok"])]).is_empty());
    }

    #[test]
    fn another_result_is_a_difference() {
        assert_eq!(compare("= a ok", &[("a", &["EACCES"])]), ["inside: a gave \"ok\", not EACCES"]);
    }

    #[test]
    fn silence_is_a_difference_and_so_is_an_unknown_or_repeated_try() {
        assert_eq!(compare("", &[("a", &["ok"])]), ["inside: a reported nothing"]);
        assert_eq!(compare("= b ok", &[]), ["inside: b is no try of the scenario"]);
        assert_eq!(compare("= a ok\n= a ok", &[("a", &["ok"])]), ["inside: a was reported twice"]);
    }
}
