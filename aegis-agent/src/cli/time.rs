//! Points in time: as the log shows them, and as people write them.
//!
//! Knows the spellings that journalctl takes for `--since` and `--until`. The log counts
//! nanoseconds since the Unix epoch; before 1970 there is nothing.

use jiff::{Span, SpanRelativeTo, Timestamp, Zoned, civil};
use thiserror::Error;

/// What `--since` and `--until` take, for messages and help.
pub const SPELLINGS: &str = "an RFC 3339 time (2026-11-20T13:36:00Z), a local one (2026-11-20 13:36, 13:36), \
    today, yesterday, now, a span (\"10 min ago\", -10min, \"1h 30min ago\") or @SECONDS since 1970";

/// A time that was not understood.
#[derive(Debug, Error)]
#[error("{text:?} is not a time: write {SPELLINGS}")]
pub struct TimeError {
    text: String,
}

/// A moment of the log as RFC 3339 in UTC, always with nine digits of fraction, so that times sort as text.
#[must_use]
pub fn rfc3339(nanoseconds: u64) -> String {
    // u64 nanoseconds end in the year 2554: within what a Timestamp holds.
    Timestamp::from_nanosecond(i128::from(nanoseconds)).map_or_else(|_| String::new(), |time| format!("{time:.9}"))
}

/// The other way; nothing when it is not such a time, or before 1970.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    nanoseconds(text.parse().ok()?)
}

/// A moment of the log in the zone of whoever reads it.
#[must_use]
pub fn local(nanoseconds: u64, zone: &jiff::tz::TimeZone) -> String {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).map_or_else(
        |_| String::new(),
        |time| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string(),
    )
}

/// A length of time for people.
#[must_use]
pub fn duration(nanoseconds: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")];
    let seconds = nanoseconds / 1_000_000_000;
    match seconds {
        60..3600 => return format!("{}min {}s", seconds / 60, seconds % 60),
        3600..86_400 => return format!("{}h {}min", seconds / 3600, seconds / 60 % 60),
        86_400.. => return format!("{}d {}h", seconds / 86_400, seconds / 3600 % 24),
        _ => {}
    }
    for (unit, name) in UNITS {
        if nanoseconds >= unit {
            let whole = nanoseconds / unit;
            let tenths = nanoseconds % unit * 10 / unit;
            return if whole >= 100 || tenths == 0 {
                format!("{whole} {name}")
            } else {
                format!("{whole}.{tenths} {name}")
            };
        }
    }
    format!("{nanoseconds} ns")
}

/// Reads a time as a person writes it, seen from `now` and in its zone.
///
/// # Errors
/// When it is none of [`SPELLINGS`], or before 1970.
pub fn parse(text: &str, now: &Zoned) -> Result<u64, TimeError> {
    let trimmed = text.trim();
    moment(trimmed, now).and_then(nanoseconds).ok_or_else(|| TimeError { text: text.to_owned() })
}

fn nanoseconds(time: Timestamp) -> Option<u64> {
    u64::try_from(time.as_nanosecond()).ok()
}

fn moment(text: &str, now: &Zoned) -> Option<Timestamp> {
    let midnight = |day: civil::Date| Some(day.to_zoned(now.time_zone().clone()).ok()?.timestamp());
    match text {
        "now" => return Some(now.timestamp()),
        "today" => return midnight(now.date()),
        "yesterday" => return midnight(now.date().yesterday().ok()?),
        "tomorrow" => return midnight(now.date().tomorrow().ok()?),
        _ => {}
    }
    if let Some(seconds) = text.strip_prefix('@') {
        return since_epoch(seconds);
    }
    if let Some(span) = text.strip_suffix("ago") {
        return now.checked_sub(spans(span)?).ok().map(|time| time.timestamp());
    }
    if let Some(span) = text.strip_prefix('-') {
        return now.checked_sub(spans(span)?).ok().map(|time| time.timestamp());
    }
    if let Some(span) = text.strip_prefix('+') {
        return now.checked_add(spans(span)?).ok().map(|time| time.timestamp());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let local = |time: civil::DateTime| Some(time.to_zoned(now.time_zone().clone()).ok()?.timestamp());
    for format in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
        if let Ok(time) = civil::DateTime::strptime(format, text) {
            return local(time);
        }
    }
    if let Ok(day) = civil::Date::strptime("%Y-%m-%d", text) {
        return midnight(day);
    }
    ["%H:%M:%S%.f", "%H:%M"]
        .iter()
        .find_map(|format| civil::Time::strptime(format, text).ok())
        .and_then(|clock| local(now.date().to_datetime(clock)))
}

fn since_epoch(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
    Timestamp::new(seconds.parse().ok()?, nanoseconds).ok()
}

/// "10 min", "1h 30min", "2 days": numbers, each with its unit.
fn spans(text: &str) -> Option<Span> {
    let mut total = Span::new();
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let one = unit(rest.get(..end)?, count)?;
        total = total.checked_add((one, SpanRelativeTo::days_are_24_hours())).ok()?;
        rest = rest.get(end..)?.trim_start();
    }
    Some(total)
}

fn unit(name: &str, count: i64) -> Option<Span> {
    let span = Span::new();
    match name {
        "s" | "sec" | "secs" | "second" | "seconds" => span.try_seconds(count),
        "m" | "min" | "mins" | "minute" | "minutes" => span.try_minutes(count),
        "h" | "hr" | "hour" | "hours" => span.try_hours(count),
        "d" | "day" | "days" => span.try_days(count),
        "w" | "week" | "weeks" => span.try_weeks(count),
        _ => return None,
    }
    .ok()
}

#[cfg(test)]
mod tests {
    use jiff::Zoned;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::{duration, local, parse, parse_rfc3339, rfc3339};

    fn now() -> Zoned {
        "2026-11-20T13:36:00+01:00[Europe/Berlin]".parse().unwrap()
    }

    #[track_caller]
    fn is(text: &str, expected: &str) {
        assert_eq!(rfc3339(parse(text, &now()).unwrap()), expected, "{text}");
    }

    #[test]
    fn times_with_a_zone() {
        is("2026-11-20T13:36:00Z", "2026-11-20T13:36:00.000000000Z");
        is("2026-11-20T13:36:00.5+02:00", "2026-11-20T11:36:00.500000000Z");
    }

    #[test]
    fn local_times_are_in_the_readers_zone() {
        is("2026-11-20 13:30", "2026-11-20T12:30:00.000000000Z");
        is("2026-07-01 13:30:15", "2026-07-01T11:30:15.000000000Z");
        is("2026-11-19", "2026-11-18T23:00:00.000000000Z");
        is("09:15", "2026-11-20T08:15:00.000000000Z");
    }

    #[test]
    fn words_and_spans() {
        is("now", "2026-11-20T12:36:00.000000000Z");
        is("today", "2026-11-19T23:00:00.000000000Z");
        is("yesterday", "2026-11-18T23:00:00.000000000Z");
        is("10 min ago", "2026-11-20T12:26:00.000000000Z");
        is("10min ago", "2026-11-20T12:26:00.000000000Z");
        is("1h 30min ago", "2026-11-20T11:06:00.000000000Z");
        is("-90s", "2026-11-20T12:34:30.000000000Z");
        is("+1h", "2026-11-20T13:36:00.000000000Z");
        is("2 days ago", "2026-11-18T12:36:00.000000000Z");
        is("@1.5", "1970-01-01T00:00:01.500000000Z");
    }

    #[test]
    fn what_is_not_a_time_is_refused_with_advice() {
        for text in ["", "soon", "10", "10 min", "ago", "-", "10 parsecs ago", "2026-13-01", "25:00", "@x", "1960-01-01",
            "99999999999999999999 s ago", "9223372036854775807 weeks ago"]
        {
            let error = parse(text, &now()).unwrap_err().to_string();
            assert!(error.contains("RFC 3339"), "{text}: {error}");
        }
    }

    #[test]
    fn durations_for_people() {
        assert_eq!(duration(999), "999 ns");
        assert_eq!(duration(1_500), "1.5 µs");
        assert_eq!(duration(231_000_000), "231 ms");
        assert_eq!(duration(59_940_000_000), "59.9 s");
        assert_eq!(duration(61_000_000_000), "1min 1s");
        assert_eq!(duration(90_000_000_000_000), "1d 1h");
    }

    #[test]
    fn local_shows_milliseconds() {
        let now = now();
        assert_eq!(local(1_500_000_000, now.time_zone()), "1970-01-01 01:00:01.500");
    }

    proptest! {
        #[test]
        fn every_moment_of_the_log_survives_the_round_trip(nanoseconds in any::<u64>()) {
            prop_assert_eq!(parse_rfc3339(&rfc3339(nanoseconds)), Some(nanoseconds));
        }

        #[test]
        fn any_text_is_answered(text in ".{0,30}") {
            let _ = parse(&text, &now());
        }
    }
}
