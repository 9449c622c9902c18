//! The lines of a head as they come, so that a fault in one is refused before the head's end, which
//! may never come.

use super::head::{HeadLimits, Seen, Version, map_error};
use super::head_scan::Fault;
use super::reject::Reject;
use super::target::Target;

/// §2.3: a version is `HTTP/`, a digit, a point, a digit. Another one than ours is 505 (RFC 9110
/// §15.6.6); what is none, or has more behind it, is no request line (§3).
pub(super) fn find_bad_version(head: &[u8]) -> Option<Fault> {
    let line = head.iter().position(|&byte| byte == b'\n').map_or(head, |end| &head[..end]);
    let mut spaces = line.iter().enumerate().filter(|(_, byte)| **byte == b' ');
    let start = spaces.nth(1)?.0 + 1;
    let version = &line[start..];
    let is_wrong = |(at, byte): (usize, &u8)| match at {
        0..5 => *byte != b"HTTP/"[at],
        5 | 7 => !byte.is_ascii_digit(),
        6 => *byte != b'.',
        8 => *byte != b'\r',
        _ => true,
    };
    let wrong = version.iter().enumerate().position(is_wrong).unwrap_or(version.len());
    // RFC 9110 §2.5: another minor version is processed as the highest that is spoken.
    let spoken = matches!(version, [_, _, _, _, _, b'1', ..]);
    match wrong {
        8.. if !spoken => Some(Fault { at: start + 7, reject: Reject::version() }),
        wrong if wrong < version.len() => {
            let reject = Reject::bad("the request line does not end with a version");
            Some(Fault { at: start + wrong, reject })
        }
        _ => None,
    }
}

/// RFC 9110 §2.5: a request of a higher minor version is processed as one of 1.1. httparse knows 1.0
/// and 1.1 only, so the digit is changed where the line stands. True: it was another one.
pub(super) fn take_minor_version(head: &mut [u8]) -> bool {
    let Some(end) = head.iter().position(|&byte| byte == b'\r') else { return false };
    match head[..end].last_chunk_mut() {
        Some([b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'2'..=b'9']) => {
            *minor = b'1';
            true
        }
        _ => false,
    }
}

/// Checks the lines that are there whenever another one has come after `from`.
pub(super) fn find_bad_line(head: &[u8], from: usize, limits: &HeadLimits) -> Option<Fault> {
    if !head[from..].contains(&b'\n') {
        return None;
    }
    let mut lines = Lines::default();
    let mut start = 0;
    while start < head.len() {
        if start > 0 && matches!(head[start], b' ' | b'\t') {
            // §2.2, §5.2: white space before the first field, and folded lines.
            let reject = Reject::bad("a line begins with white space");
            return Some(Fault { at: start, reject });
        }
        let at = start + head[start..].iter().position(|&byte| byte == b'\n')?;
        let line = &head[start..=at];
        if line == b"\r\n" {
            return None;
        }
        if let Err(reject) = lines.take(line, limits) {
            return Some(Fault { at, reject });
        }
        start = at + 1;
    }
    None
}

/// What is known of a head from its first lines.
#[derive(Default)]
struct Lines {
    /// Of the request line, once it was taken.
    version: Option<Version>,
    fields: usize,
    seen: Seen,
    /// A line, as the whole of a head.
    whole: Vec<u8>,
}

impl Lines {
    fn take(&mut self, line: &[u8], limits: &HeadLimits) -> Result<(), Reject> {
        self.whole.clear();
        self.whole.extend_from_slice(line);
        self.whole.extend_from_slice(b"\r\n");
        match self.version {
            None => self.take_request_line(limits),
            Some(version) => self.take_field(version, limits),
        }
    }

    fn take_request_line(&mut self, limits: &HeadLimits) -> Result<(), Reject> {
        take_minor_version(&mut self.whole);
        let mut request = httparse::Request::new(&mut []);
        request.parse(&self.whole).map_err(|error| map_error(error, &self.whole))?;
        let (method, target) = (request.method, request.path);
        Target::parse(method.unwrap_or_default(), target.unwrap_or_default(), limits.rules())?;
        self.version = match request.version {
            Some(0) => Some(Version::Http10),
            _ => Some(Version::Http11),
        };
        Ok(())
    }

    fn take_field(&mut self, version: Version, limits: &HeadLimits) -> Result<(), Reject> {
        self.fields += 1;
        if self.fields > limits.header_count_max {
            return Err(map_error(httparse::Error::TooManyHeaders, &self.whole));
        }
        let mut slots = [httparse::EMPTY_HEADER];
        httparse::parse_headers(&self.whole, &mut slots)
            .map_err(|error| map_error(error, &self.whole))?;
        self.seen.take(&slots[0], limits.rules())?;
        self.seen.check_conflicts(version)
    }
}
