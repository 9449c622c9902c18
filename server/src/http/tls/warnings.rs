//! What clients refuse of a certificate that the server itself can use: said at the start and at each
//! reload, for a server has no other way to know why nobody comes.

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use httpdate::fmt_http_date;

use crate::http::tls::x509::Facts;

/// One thing that clients take exception to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Worry<'a> {
    file: &'a Path,
    /// In the file, from one on.
    number: usize,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Expired(SystemTime),
    NotYetValid(SystemTime),
    Nameless,
}

/// Those of a chain, as it is at this time, as far as it could be understood.
pub(crate) fn worries<'a>(
    file: &'a Path,
    chain: &[Option<Facts>],
    now: SystemTime,
) -> Vec<Worry<'a>> {
    let mut worries = Vec::new();
    for (at, facts) in chain.iter().enumerate() {
        let Some(facts) = facts else { continue };
        let mut worry = |what| worries.push(Worry { file, number: at + 1, what });
        if now > facts.not_after {
            worry(What::Expired(facts.not_after));
        }
        if now < facts.not_before {
            worry(What::NotYetValid(facts.not_before));
        }
        if at == 0 && !facts.has_names {
            worry(What::Nameless);
        }
    }
    worries
}

impl fmt::Display for Worry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.number {
            1 => write!(f, "the certificate {file} ")?,
            number => write!(f, "certificate {number} of {file} ")?,
        }
        match self.what {
            What::Expired(at) => write!(
                f,
                "expired on {}, and clients refuse it: renew it, then reload (SIGHUP)",
                fmt_http_date(at)
            ),
            What::NotYetValid(at) => write!(
                f,
                "is valid from {} on, and clients refuse it until then: is this machine's clock right?",
                fmt_http_date(at)
            ),
            What::Nameless => f.write_str(
                "has no subjectAltName, and clients refuse it: have one made for the server's names",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::tls::x509::KeyKind;

    #[test]
    fn what_could_not_be_understood_is_counted_all_the_same() {
        let day = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400);
        let nameless = |not_after| Facts {
            version: 3,
            not_before: day(1),
            not_after,
            key: KeyKind::Unknown,
            names: Vec::new(),
            has_names: false,
        };
        let file = Path::new("a.pem");
        let told = |chain: &[Option<Facts>]| {
            let worries = worries(file, chain, day(10));
            worries.iter().map(|worry| (worry.number, worry.what)).collect::<Vec<_>>()
        };
        assert_eq!(told(&[Some(nameless(day(20)))]), [(1, What::Nameless)]);
        // Those behind the first need no names, whatever is before them.
        let chain = [None, Some(nameless(day(20))), None, Some(nameless(day(9)))];
        assert_eq!(told(&chain), [(4, What::Expired(day(9)))]);
    }
}
