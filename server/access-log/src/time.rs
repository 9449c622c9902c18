//! Times as logs write them, in UTC: a machine's time zone is not asked.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

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
        let date_time = i64::try_from(since.as_secs()).ok();
        let date_time = date_time.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
        // A clock beyond the year 9999 is no clock.
        let date_time = date_time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = date_time.to_calendar_date();
        let (hour, minute, second) = date_time.to_hms();
        // Writing to a string cannot fail.
        let _ = match self {
            TimeFormat::Common => {
                let month = MONTHS[month as usize - 1];
                write!(out, "[{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000]")
            }
            TimeFormat::Iso => write!(
                out,
                "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
                u8::from(month),
                since.subsec_millis()
            ),
            TimeFormat::Seconds => write!(out, "{}", since.as_secs()),
            TimeFormat::Milliseconds => write!(out, "{}", since.as_millis()),
            TimeFormat::Microseconds => write!(out, "{}", since.as_micros()),
        };
    }
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
