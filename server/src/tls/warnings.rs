//! What clients refuse of a certificate that the server itself can use: said at the start and at each
//! reload, for a server has no other way to know why nobody comes.

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use httpdate::fmt_http_date;

use super::x509::Facts;

/// One thing that clients take exception to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Worry<'a> {
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

/// Those of a chain, as it is at this time.
pub(super) fn worries<'a>(file: &'a Path, chain: &[Facts], now: SystemTime) -> Vec<Worry<'a>> {
    let mut worries = Vec::new();
    for (at, facts) in chain.iter().enumerate() {
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
