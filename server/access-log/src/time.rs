//! Times as logs write them, in UTC: a machine's time zone is not asked.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeFormat {
    /// `[10/Oct/2000:13:55:36 +0000]`
    Common,
    /// `2000-10-10T13:55:36.123Z`
    Iso,
    /// Since the epoch.
    Seconds,
    /// Since the epoch.
    Milliseconds,
    /// Since the epoch.
    Microseconds,
}

impl TimeFormat {
    pub(crate) fn write(self, out: &mut String, at: SystemTime) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (year, month, day) = date(since.as_secs() / 86_400);
        let of_day = since.as_secs() % 86_400;
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        // Writing to a string cannot fail.
        let _ = match self {
            TimeFormat::Common => {
                let month = MONTHS[month as usize - 1];
                write!(out, "[{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000]")
            }
            TimeFormat::Iso => write!(
                out,
                "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
                since.subsec_millis()
            ),
            TimeFormat::Seconds => write!(out, "{}", since.as_secs()),
            TimeFormat::Milliseconds => write!(out, "{}", since.as_millis()),
            TimeFormat::Microseconds => write!(out, "{}", since.as_micros()),
        };
    }
}

/// Year, month and day of a day since the epoch, in the Gregorian calendar. Years are counted from
/// March, so that the leap day is a year's last and the months before it have a pattern.
fn date(days: u64) -> (u64, u64, u64) {
    // From the first of March of the year 0; the calendar repeats each 146,097 days.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_they_are_expected() {
        let check = |format: TimeFormat, at_ms: u64, expected: &str| {
            let mut out = String::new();
            format.write(&mut out, UNIX_EPOCH + Duration::from_millis(at_ms));
            assert_eq!(out, expected);
        };
        check(TimeFormat::Common, 0, "[01/Jan/1970:00:00:00 +0000]");
        check(TimeFormat::Common, 951_782_400_000, "[29/Feb/2000:00:00:00 +0000]");
        check(TimeFormat::Common, 971_186_136_000, "[10/Oct/2000:13:55:36 +0000]");
        check(TimeFormat::Iso, 4_107_542_399_999, "2100-02-28T23:59:59.999Z");
        check(TimeFormat::Iso, 4_107_542_400_000, "2100-03-01T00:00:00.000Z");
        check(TimeFormat::Seconds, 1_999, "1");
        check(TimeFormat::Milliseconds, 1_999, "1999");
        check(TimeFormat::Microseconds, 1_999, "1999000");
    }

    /// Against the calendar of another crate, for every day of 250 years.
    #[test]
    fn dates_are_those_of_http() {
        for day in 0..365 * 250 {
            let at = UNIX_EPOCH + Duration::from_secs(day * 86_400);
            let mut out = String::new();
            TimeFormat::Common.write(&mut out, at);
            let http = httpdate::fmt_http_date(at);
            assert_eq!(out[1..12].replace('/', " "), http[5..16], "day {day}");
        }
    }
}
