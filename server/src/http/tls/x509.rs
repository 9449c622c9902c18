//! What a server wants to know of its own certificates before it begins: until when they are valid,
//! for which names, and of what kind their key is (RFC 5280 §4.1).
//!
//! The library that makes the handshakes has read them before, or has said that it cannot; here is
//! told why, and whom a client would refuse. So what is not understood here is left open: a reader of
//! four fields, where `x509-parser` (0.18) brings a dozen crates.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`: the version; absent in version 1.
const VERSION: u8 = 0xA0;
/// `[3]`: the extensions.
const EXTENSIONS: u8 = 0xA3;
/// `[2]` in a GeneralName (§4.2.1.6).
const DNS_NAME: u8 = 0x82;

/// 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1D, 0x11];

/// Of one certificate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// 1 or 3, as people count them.
    pub(crate) version: u8,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    pub(crate) key: KeyKind,
    /// In lower case; wildcards as they stand.
    pub(crate) names: Vec<String>,
    /// The extension with the names is there: they may be addresses.
    pub(crate) has_names: bool,
}

/// What a certificate's key is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Rsa {
        bits: usize,
    },
    /// By its usual name.
    Named(&'static str),
    Unknown,
}

/// Kinds of keys by their algorithm, with the curve where that says which; RFC 3279, 5480, 8410.
const KEYS: &[(&[u8], Option<&[u8]>, &str)] = &[
    (EC, Some(&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07]), "ECDSA P-256"),
    (EC, Some(&[0x2B, 0x81, 0x04, 0x00, 0x22]), "ECDSA P-384"),
    (EC, Some(&[0x2B, 0x81, 0x04, 0x00, 0x23]), "ECDSA P-521"),
    (EC, Some(&[0x2B, 0x81, 0x04, 0x00, 0x0A]), "ECDSA secp256k1"),
    (EC, None, "ECDSA on another curve"),
    (&[0x2B, 0x65, 0x70], None, "Ed25519"),
    (&[0x2B, 0x65, 0x71], None, "Ed448"),
    (&[0x2A, 0x86, 0x48, 0xCE, 0x38, 0x04, 0x01], None, "DSA"),
    (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0A], None, "RSA for PSS alone"),
];
const EC: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
const RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];

impl Facts {
    /// Of a certificate in DER; None where it is none that could be understood.
    pub(crate) fn of(certificate: &[u8]) -> Option<Self> {
        let mut certificate = Der(certificate).take(SEQUENCE)?;
        let mut to_be_signed = certificate.take(SEQUENCE)?;
        let version = to_be_signed.take(VERSION).and_then(|mut version| version.take(INTEGER));
        let version = version.and_then(|version| version.0.last().copied()).unwrap_or(0);
        // Serial number, signature's algorithm, issuer.
        to_be_signed.take(INTEGER)?;
        to_be_signed.take(SEQUENCE)?;
        to_be_signed.take(SEQUENCE)?;
        let mut validity = to_be_signed.take(SEQUENCE)?;
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        // Subject.
        to_be_signed.take(SEQUENCE)?;
        let key = KeyKind::of(to_be_signed.take(SEQUENCE)?).unwrap_or(KeyKind::Unknown);
        let names = names(to_be_signed);
        Some(Facts {
            version: version.saturating_add(1),
            not_before,
            not_after,
            key,
            has_names: names.is_some(),
            names: names.unwrap_or_default(),
        })
    }
}

impl KeyKind {
    /// Of a SubjectPublicKeyInfo's content.
    fn of(mut info: Der<'_>) -> Option<Self> {
        let mut algorithm = info.take(SEQUENCE)?;
        let kind = algorithm.take(OBJECT_IDENTIFIER)?.0;
        if kind == RSA {
            let (_unused_bits, key) = info.take(BIT_STRING)?.0.split_first()?;
            let modulus = Der(key).take(SEQUENCE)?.take(INTEGER)?.0;
            let zeros = modulus.iter().take_while(|&&byte| byte == 0).count();
            let first = modulus.get(zeros)?.leading_zeros() as usize;
            return Some(KeyKind::Rsa { bits: (modulus.len() - zeros) * 8 - first });
        }
        let curve = algorithm.take(OBJECT_IDENTIFIER).map(|curve| curve.0);
        let found = KEYS
            .iter()
            .find(|(algorithm, of, _)| *algorithm == kind && (of.is_none() || *of == curve));
        found.map(|&(_, _, name)| KeyKind::Named(name))
    }
}

/// The DNS names of the extension for that, which is among what follows the key; None without it.
fn names(mut after_key: Der<'_>) -> Option<Vec<String>> {
    let mut extensions = loop {
        match after_key.element()? {
            (EXTENSIONS, mut content) => break content.take(SEQUENCE)?,
            // Unique identifiers.
            _ => continue,
        }
    };
    while let Some(mut extension) = extensions.take(SEQUENCE) {
        if extension.take(OBJECT_IDENTIFIER)?.0 != SUBJECT_ALT_NAME {
            continue;
        }
        let mut value = loop {
            // Before it may stand whether the extension is critical.
            if let (OCTET_STRING, value) = extension.element()? {
                break value;
            }
        };
        let (mut all, mut names) = (value.take(SEQUENCE)?, Vec::new());
        while let Some((tag, name)) = all.element() {
            if tag == DNS_NAME {
                names.push(std::str::from_utf8(name.0).ok()?.to_ascii_lowercase());
            }
        }
        return Some(names);
    }
    None
}

/// Elements of DER (X.690), one after the other.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element's tag and content.
    fn element(&mut self) -> Option<(u8, Der<'a>)> {
        let (&tag, rest) = self.0.split_first()?;
        let (&length, mut rest) = rest.split_first()?;
        let length = match length {
            0..=0x7F => usize::from(length),
            0x81..=0x84 => {
                let (bytes, after) = rest.split_at_checked(usize::from(length - 0x80))?;
                rest = after;
                bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte))
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, Der(content)))
    }

    /// The next element's content, if that has this tag.
    fn take(&mut self, tag: u8) -> Option<Der<'a>> {
        let mut ahead = *self;
        let (_, content) = ahead.element().filter(|(found, _)| *found == tag)?;
        *self = ahead;
        Some(content)
    }

    /// §4.1.2.5: two digits of the year until 2049, then four; always in UTC.
    fn time(&mut self) -> Option<SystemTime> {
        let (tag, text) = self.element()?;
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = text.0.split_at_checked(2)?;
                let year = number(year)?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            GENERALIZED_TIME => {
                let (year, rest) = text.0.split_at_checked(4)?;
                (number(year)?, rest)
            }
            _ => return None,
        };
        let digits = rest.strip_suffix(b"Z").filter(|digits| digits.len() == 10)?;
        let at = |at: usize| number(&digits[at..at + 2]);
        let (month, day) = (at(0)?, at(2)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let seconds = days_since_1970(year, month, day) * 86_400;
        let seconds = seconds + at(4)? * 3600 + at(6)? * 60 + at(8)?;
        // What was before the epoch is long ago, too.
        Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
    })
}

/// In the Gregorian calendar; years begin in March, so that the day that not all have is their last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month < 3 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let check = |tag, text: &str, expected: Option<u64>| {
            let der = [&[tag, text.len() as u8], text.as_bytes()].concat();
            let expected = expected.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(Der(&der).time(), expected, "{text}");
        };
        check(UTC_TIME, "700101000000Z", Some(0));
        check(UTC_TIME, "500101000000Z", Some(0));
        check(UTC_TIME, "010909014640Z", Some(1_000_000_000));
        check(UTC_TIME, "000229120000Z", Some(951_825_600));
        check(UTC_TIME, "491231235959Z", Some(2_524_607_999));
        check(GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000));
        check(GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799));
        for wrong in ["", "Z", "0109090146Z", "010909014640", "011309014640Z", "01+909014640Z"] {
            check(UTC_TIME, wrong, None);
        }
    }

    #[test]
    fn what_is_no_certificate_says_nothing() {
        for length in 0..64 {
            for tag in [0, INTEGER, SEQUENCE, 0xFF] {
                let mut bytes = vec![tag; length];
                assert_eq!(Facts::of(&bytes), None);
                bytes.fill(0x84);
                assert_eq!(Facts::of(&bytes), None);
            }
        }
    }
}
