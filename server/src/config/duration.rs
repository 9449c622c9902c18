//! Times with a unit, `"10s"`, as whole numbers of the unit that a key's name ends in.

/// What a key counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Microseconds = 1,
    Milliseconds = 1_000,
    Seconds = 1_000_000,
}

/// The units of values, with their microseconds.
const WRITTEN: [(&str, u64); 5] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)];

impl Unit {
    /// The unit of a key's name; none for one that counts something else, or something for each
    /// second.
    pub(super) fn of_key(name: &str) -> Option<Unit> {
        match name.rsplit_once('_')? {
            (_, "us") => Some(Unit::Microseconds),
            (_, "ms") => Some(Unit::Milliseconds),
            (rest, "s") if !rest.ends_with("_per") => Some(Unit::Seconds),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Unit::Microseconds => "microseconds",
            Unit::Milliseconds => "milliseconds",
            Unit::Seconds => "seconds",
        }
    }

    /// A time of the kind that keys of this unit take.
    pub(super) fn example(self) -> &'static str {
        match self {
            Unit::Microseconds => "100us",
            Unit::Milliseconds | Unit::Seconds => "10s",
        }
    }

    /// How many of this unit `text` is, such as `10s`; none where it is no time with a unit.
    ///
    /// # Errors
    /// It is no whole number of them: what to say.
    pub(super) fn count(self, text: &str) -> Option<Result<u64, String>> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let (_, each) = WRITTEN.iter().find(|(name, _)| *name == unit)?;
        let microseconds = number.parse::<u64>().ok()?.checked_mul(*each)?;
        Some(match microseconds % self as u64 {
            0 => Ok(microseconds / self as u64),
            _ => Err(format!("{text} is no whole number of {}, in which it counts", self.name())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_unit_of_its_key() {
        let check = |unit: Unit, text: &str, expected: u64| {
            assert_eq!(unit.count(text), Some(Ok(expected)), "{text}");
        };
        check(Unit::Microseconds, "100us", 100);
        check(Unit::Microseconds, "1ms", 1_000);
        check(Unit::Milliseconds, "250ms", 250);
        check(Unit::Milliseconds, "3000us", 3);
        check(Unit::Milliseconds, "10s", 10_000);
        check(Unit::Milliseconds, "2m", 120_000);
        check(Unit::Milliseconds, "1h", 3_600_000);
        check(Unit::Seconds, "1h", 3_600);
        check(Unit::Milliseconds, "0us", 0);
    }

    #[test]
    fn what_is_no_whole_number_of_the_unit_is_refused() {
        let refused = |unit: Unit, text| unit.count(text).unwrap().unwrap_err();
        let said = refused(Unit::Milliseconds, "1500us");
        assert_eq!(said, "1500us is no whole number of milliseconds, in which it counts");
        assert!(refused(Unit::Seconds, "999ms").contains("seconds"));
    }

    #[test]
    fn what_is_no_time_with_a_unit_is_left_to_others() {
        let huge = format!("{}h", u64::MAX);
        for text in
            ["", "10", "s", "1.5s", "-1s", "+1s", "10 s", "10S", "1m30s", "1d", "1ns", &huge]
        {
            assert_eq!(Unit::Milliseconds.count(text), None, "{text}");
        }
    }

    #[test]
    fn the_unit_of_a_key_ends_its_name() {
        assert_eq!(Unit::of_key("task_spin_us"), Some(Unit::Microseconds));
        assert_eq!(Unit::of_key("head_timeout_ms"), Some(Unit::Milliseconds));
        assert_eq!(Unit::of_key("some_time_s"), Some(Unit::Seconds));
        for name in ["body_rate_min_bytes_per_s", "connections_max", "port", "recv_buffers"] {
            assert_eq!(Unit::of_key(name), None, "{name}");
        }
    }
}
