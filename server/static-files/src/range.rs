//! The Range field (RFC 9110 §14): which bytes of a file are asked for.

use std::ops::Range;

/// Ranges of one request; more are a way to have the same bytes sent often, and the field is then
/// ignored (§14.2 allows it).
const RANGES_MAX: usize = 16;

/// What a Range field comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ranges {
    /// All of the file: there is no field, or it is to be ignored.
    Whole,
    /// These parts, in the order in which they were asked for, each with at least a byte.
    Parts(Vec<Range<u64>>),
    /// None of them lies in the file.
    Unsatisfiable,
}

impl Ranges {
    /// Reads a field's value for a file of `size` bytes. One that breaks the grammar, names
    /// another unit, asks for more than [`RANGES_MAX`] ranges or for more bytes than there are is
    /// ignored.
    pub(crate) fn parse(value: &[u8], size: u64) -> Self {
        let Some(set) = value
            .split_at_checked(6)
            .and_then(|(unit, set)| unit.eq_ignore_ascii_case(b"bytes=").then_some(set))
        else {
            return Ranges::Whole;
        };
        let (mut parts, mut specs) = (Vec::new(), 0);
        // §5.6.1.2: empty elements of a list are skipped.
        for spec in set.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if spec.is_empty() {
                continue;
            }
            specs += 1;
            let Some(spec) = Spec::parse(spec).filter(|_| specs <= RANGES_MAX) else {
                return Ranges::Whole;
            };
            parts.extend(spec.within(size));
        }
        let bytes: u64 =
            parts.iter().map(|part| part.end - part.start).fold(0, u64::saturating_add);
        match (specs, parts.is_empty()) {
            (0, _) => Ranges::Whole,
            (_, true) => Ranges::Unsatisfiable,
            _ if bytes > size => Ranges::Whole,
            _ => Ranges::Parts(parts),
        }
    }
}

/// One range as it is written.
enum Spec {
    From(u64, Option<u64>),
    Last(u64),
}

impl Spec {
    fn parse(spec: &[u8]) -> Option<Self> {
        let dash = spec.iter().position(|&byte| byte == b'-')?;
        let (first, last) = (&spec[..dash], &spec[dash + 1..]);
        match (first.is_empty(), last.is_empty()) {
            (true, true) => None,
            (true, false) => Some(Spec::Last(number(last)?)),
            (false, true) => Some(Spec::From(number(first)?, None)),
            (false, false) => {
                let (first, last) = (number(first)?, number(last)?);
                // §14.1.1: an int-range whose end lies before its start is invalid.
                (first <= last).then_some(Spec::From(first, Some(last)))
            }
        }
    }

    fn within(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Spec::From(first, last) => {
                first..last.map_or(size, |last| last.saturating_add(1)).min(size)
            }
            Spec::Last(count) => size.saturating_sub(count)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

/// Digits; a number above what 64 bits hold is as good as the largest.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let check = |value: &str, expected: &[(u64, u64)]| {
            let parts = expected.iter().map(|&(first, end)| first..end).collect();
            assert_eq!(Ranges::parse(value.as_bytes(), 10), Ranges::Parts(parts), "{value}");
        };
        check("bytes=0-0", &[(0, 1)]);
        check("BYTES=0-4", &[(0, 5)]);
        check("bytes=9-9", &[(9, 10)]);
        check("bytes=5-", &[(5, 10)]);
        check("bytes=-3", &[(7, 10)]);
        check("bytes=-30", &[(0, 10)]);
        check("bytes=0-99", &[(0, 10)]);
        check("bytes=0-99999999999999999999999", &[(0, 10)]);
        check("bytes=, 8-9 ,,0-1", &[(8, 10), (0, 2)]);
        check("bytes=0-1,20-30", &[(0, 2)]);
        for unsatisfiable in ["bytes=10-", "bytes=10-11", "bytes=-0", "bytes=99999999999999999999-"]
        {
            let got = Ranges::parse(unsatisfiable.as_bytes(), 10);
            assert_eq!(got, Ranges::Unsatisfiable, "{unsatisfiable}");
        }
        for ignored in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1-0",
            "bytes=0-1-2",
            "bytes=+0-1",
            "bytes=0 - 1",
            "items=0-1",
            "bytes =0-1",
            "bytes=0-1;2-3",
            "bytes=0-9,0-0",
            "bytes=0-,0-",
            "bytes=0-0,x",
        ] {
            assert_eq!(Ranges::parse(ignored.as_bytes(), 10), Ranges::Whole, "{ignored}");
        }
        let many = format!("bytes={}", ["0-0"; RANGES_MAX + 1].join(","));
        assert_eq!(Ranges::parse(many.as_bytes(), 1 << 20), Ranges::Whole);
        assert_eq!(Ranges::parse(b"bytes=0-", 0), Ranges::Unsatisfiable);
    }
}
