//! `aegis.yaml`: what the daemon itself does.

use aegis_policy::{
    Diagnostic,
    diagnostic::Diagnostics,
    parse::{self, Node},
    validate::duration,
};

use super::yaml::{check_version, fields, text};
use crate::access::{ReadAccess, Settings};

/// Longest that an approval may hold.
const DAY: u64 = 24 * 3600;

/// Reads the file.
///
/// # Errors
/// All errors of it, in its order.
pub fn read(source: &[u8], file: &str) -> Result<Settings, Vec<Diagnostic>> {
    let mut errors = Diagnostics::new(file);
    let settings = parse::parse(source, &mut errors).map(|root| root_of(&root, &mut errors)).unwrap_or_default();
    if errors.is_empty() { Ok(settings) } else { Err(errors.into_sorted()) }
}

fn root_of(root: &Node, errors: &mut Diagnostics) -> Settings {
    let Some([version, audit]) = fields(root, ["version", "audit"], errors) else { return Settings::default() };
    check_version(version, root, errors);
    audit.map(|node| audit_of(node, errors)).unwrap_or_default()
}

fn audit_of(node: &Node, errors: &mut Diagnostics) -> Settings {
    let mut settings = Settings::default();
    let Some([access, elevation]) = fields(node, ["access", "elevation"], errors) else { return settings };
    if let Some(node) = access {
        let known = text(Some(node)).and_then(|(_, word)| ReadAccess::WORDS.iter().find(|(known, _)| *known == word));
        match known {
            Some((_, access)) => settings.access = *access,
            None => errors.error(node.at, "this is no way to read the log", "write `open`, `reason` or `two-person`"),
        }
    }
    if let Some(node) = elevation {
        match text(Some(node)).map_or_else(|| Err(("a duration is expected here".into(), "write 30m or 1h".into())), |(_, t)| duration(t)) {
            Ok(span) if (1..=DAY).contains(&span.as_secs()) => settings.elevation = span,
            Ok(_) => errors.error(node.at, "an approval holds for a second at least and a day at most", "write 30m or 1h"),
            Err((what, advice)) => errors.error(node.at, what, advice),
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_written_holds_and_what_is_not_has_its_default() {
        let read = |text: &str| read(text.as_bytes(), "aegis.yaml").unwrap();
        assert_eq!(read("version: \"1.0\"\n"), Settings::default());
        let both = read("version: \"1.0\"\naudit: {access: two-person, elevation: 30m}\n");
        assert_eq!(both, Settings { access: ReadAccess::TwoPerson, elevation: Duration::from_secs(1800) });
        assert_eq!(read("version: \"1.0\"\naudit:\n  access: reason\n").access, ReadAccess::Reason);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_never_passed_over() {
        for (text, place) in [
            ("audit: {access: open}\n", "aegis.yaml:1:1"),
            ("version: \"2.0\"\n", "aegis.yaml:1:10"),
            ("version: \"1.0\"\naudit: {access: everybody}\n", "aegis.yaml:2:17"),
            ("version: \"1.0\"\naudit: {acces: open}\n", "aegis.yaml:2:9"),
            ("version: \"1.0\"\naudit: {elevation: 25h}\n", "aegis.yaml:2:20"),
            ("version: \"1.0\"\naudit: {elevation: 30}\n", "aegis.yaml:2:20"),
            ("version: \"1.0\"\naudit: []\n", "aegis.yaml:2:8"),
            ("", "aegis.yaml:1:1"),
        ] {
            let errors = read(text.as_bytes(), "aegis.yaml").expect_err(text);
            assert!(errors[0].to_string().contains(place), "{text}: {}", errors[0]);
        }
    }
}
