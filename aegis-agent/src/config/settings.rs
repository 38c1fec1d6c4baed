//! `aegis.yaml`: what the daemon itself does.

use aegis_policy::{
    Diagnostic,
    diagnostic::Diagnostics,
    parse::{self, Node},
    validate::{duration, size as size_of},
};

use super::yaml::{check_version, fields, text};
use crate::{
    access::{self, ReadAccess},
    retention::Retention,
};

/// Longest that an approval may hold, and least that entries are kept.
const DAY: u64 = 24 * 3600;

/// Longest text of a hold, in bytes.
const HOLD_LONGEST: usize = 512;

/// All that stands in it, with defaults for what does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Who may read the log.
    pub reading: access::Settings,
    /// How long it is kept.
    pub retention: Retention,
}

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
    let known = ["access", "elevation", "retention", "hold"];
    let Some([access, elevation, retention, hold]) = fields(node, known, errors) else { return settings };
    if let Some(node) = access {
        let known = text(Some(node)).and_then(|(_, word)| ReadAccess::WORDS.iter().find(|(known, _)| *known == word));
        match known {
            Some((_, access)) => settings.reading.access = *access,
            None => errors.error(node.at, "this is no way to read the log", "write `open`, `reason` or `two-person`"),
        }
    }
    if let Some(node) = elevation {
        match text(Some(node)).map_or_else(|| Err(("a duration is expected here".into(), "write 30m or 1h".into())), |(_, t)| duration(t)) {
            Ok(span) if (1..=DAY).contains(&span.as_secs()) => settings.reading.elevation = span,
            Ok(_) => errors.error(node.at, "an approval holds for a second at least and a day at most", "write 30m or 1h"),
            Err((what, advice)) => errors.error(node.at, what, advice),
        }
    }
    if let Some(node) = retention {
        retention_of(node, &mut settings.retention, errors);
    }
    if let Some(node) = hold {
        match text(Some(node)) {
            Some((_, why)) if why.len() <= HOLD_LONGEST => settings.retention.hold = Some(why.to_owned()),
            _ => errors.error(node.at, "a hold says why, in 512 bytes at most", "write `hold: \"case 4711\"`, or leave it out"),
        }
    }
    settings
}

fn retention_of(node: &Node, retention: &mut Retention, errors: &mut Diagnostics) {
    let Some([age, size]) = fields(node, ["age", "size"], errors) else { return };
    if let Some(node) = age {
        match text(Some(node)).map(|(_, text)| (text, duration(text))) {
            Some(("forever", _)) => retention.age = None,
            Some((_, Ok(span))) if span.as_secs() >= DAY => retention.age = Some(span),
            _ => errors.error(node.at, "entries are kept for a day at least and 366 at most", "write 90d, or `forever`"),
        }
    }
    if let Some(node) = size {
        match text(Some(node)).map(|(_, text)| size_of(text)) {
            Some(Ok(bytes)) if bytes > 0 => retention.size = Some(bytes),
            _ => errors.error(node.at, "a size is expected here", "write 20GB, or leave it out"),
        }
    }
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
        assert_eq!(both.reading, access::Settings { access: ReadAccess::TwoPerson, elevation: Duration::from_secs(1800) });
        assert_eq!(both.retention, Retention::default());
        assert_eq!(read("version: \"1.0\"\naudit:\n  access: reason\n").reading.access, ReadAccess::Reason);
        let kept = read("version: \"1.0\"\naudit:\n  retention: {age: 30d, size: 20GB}\n  hold: case 4711\n").retention;
        let expected = Retention {
            age: Some(Duration::from_secs(30 * DAY)),
            size: Some(20_000_000_000),
            hold: Some("case 4711".into()),
        };
        assert_eq!(kept, expected);
        assert_eq!(read("version: \"1.0\"\naudit: {retention: {age: forever}}\n").retention.age, None);
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
            ("version: \"1.0\"\naudit: {retention: {age: 23h}}\n", "aegis.yaml:2:26"),
            ("version: \"1.0\"\naudit: {retention: {age: 90}}\n", "aegis.yaml:2:26"),
            ("version: \"1.0\"\naudit: {retention: {size: 5}}\n", "aegis.yaml:2:27"),
            ("version: \"1.0\"\naudit: {retention: 90d}\n", "aegis.yaml:2:20"),
            ("version: \"1.0\"\naudit: {hold: \"\"}\n", "aegis.yaml:2:15"),
            ("version: \"1.0\"\naudit: []\n", "aegis.yaml:2:8"),
            ("", "aegis.yaml:1:1"),
        ] {
            let errors = read(text.as_bytes(), "aegis.yaml").expect_err(text);
            assert!(errors[0].to_string().contains(place), "{text}: {}", errors[0]);
        }
    }
}
