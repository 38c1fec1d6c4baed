//! Matching of texts against what a scenario wrote: `*` stands for any run of characters, line ends
//! included; everything else stands for itself.

/// Whether `text` as a whole matches `pattern`.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    // Leftmost matches of the middle pieces leave most room for the last one, so no backtracking.
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_pattern_without_star_is_the_text_itself() {
        assert!(matches("EACCES", "EACCES"));
        assert!(!matches("EACCES", "EACCES "));
        assert!(!matches("EACC", "EACCES"));
        assert!(matches("", ""));
        assert!(!matches("", "x"));
    }

    #[test]
    fn stars_stand_for_any_run_and_cannot_overlap() {
        assert!(matches("*", ""));
        assert!(matches("a*c", "ac"));
        assert!(matches("a*b*c", "a1b2b3c"));
        assert!(!matches("ab*ba", "aba"));
        assert!(!matches("a*b", "a\nc"));
        assert!(matches("a*b", "a\nb"));
        assert!(matches("*key*", "the key it stole"));
    }
}
