//! UTC days, by which segments are cut and roots are kept.

use std::fmt;

const NS_PER_DAY: u64 = 86_400 * 1_000_000_000;

/// A UTC day, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u64);

impl Day {
    /// The day in which a time lies, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn of(time: u64) -> Self {
        Self(time / NS_PER_DAY)
    }

    /// When it begins, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn start(self) -> u64 {
        self.0.saturating_mul(NS_PER_DAY)
    }

    /// When it is over, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn end(self) -> u64 {
        (self.0 + 1).saturating_mul(NS_PER_DAY)
    }

    /// Days since 1970-01-01.
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// The day with this number.
    pub(crate) fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// Reads `YYYY-MM-DD`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-').map(str::parse::<u64>);
        let (year, month, day) = (
            parts.next()?.ok()?,
            parts.next()?.ok()?,
            parts.next()?.ok()?,
        );
        if !(1970..3000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        // Days from the civil date, with years that begin in March so that leap days come last.
        let shifted_year = if month <= 2 { year - 1 } else { year };
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let days = shifted_year * 365 + shifted_year / 4 - shifted_year / 100
            + shifted_year / 400
            + day_of_year;
        let parsed = Self(days.checked_sub(719_468)?);
        // Refuses 02-30 and unpadded numbers alike: a day has one spelling.
        if parsed.to_string() == text {
            Some(parsed)
        } else {
            None
        }
    }
}

/// `YYYY-MM-DD`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The civil date from a count of days: eras of 400 years that begin on March 1st.
        let shifted = self.0 + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_go_there_and_back() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("2000-02-29", 11_016),
            ("2026-11-20", 20_777),
            ("2100-03-01", 47_541),
        ] {
            assert_eq!(Day(days).to_string(), text);
            assert_eq!(Day::parse(text), Some(Day(days)));
        }
        for days in 0..200_000 {
            assert_eq!(Day::parse(&Day(days).to_string()), Some(Day(days)));
        }
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in [
            "",
            "2026-02-29",
            "2026-13-01",
            "2026-1-01",
            "1969-12-31",
            "2026-11-20-1",
            "x",
        ] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
    }
}
