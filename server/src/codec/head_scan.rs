//! Where a head ends, and what of it is refused before its end.
//!
//! What was looked at is not looked at again, so that a head which comes byte by byte costs no more
//! than a few times one that comes at once. A verdict depends on the bytes alone and not on how they
//! were split: of several faults the one that shows first counts.

use crate::codec::head::HeadLimits;
use crate::codec::head_lines::Lines;
use crate::codec::reject::Reject;

/// Blank lines taken before a request line (§2.2 allows some; old clients send one after a body).
const BLANK_LINES_MAX: usize = 2;
/// The longest method. The registered ones have 17 bytes at most.
const METHOD_MAX_BYTES: usize = 32;
/// What follows the target in its line: a space, `HTTP/1.1`, CR, LF and one byte more.
const AFTER_TARGET_BYTES: usize = 12;
/// The end of a head, which may have begun in what was looked at.
const END: &[u8] = b"\r\n\r\n";

/// What is known of a head that comes in parts, from as much of it as has come. Make it anew, or
/// [reset](Self::reset) it, for the next head.
#[derive(Debug, Default)]
pub struct HeadScan {
    /// Bytes that were looked at, from the request line on.
    at: usize,
    /// Where the line begins that is not over.
    line_at: usize,
    /// Where the method ends.
    method_end: Option<usize>,
    /// Where the version begins.
    version_at: Option<usize>,
    lines: Lines,
    /// Bytes that were looked at, each as often as it was.
    #[cfg(test)]
    pub(crate) looked: usize,
}

/// Whether the blank line that ends a head is there.
pub(crate) fn is_complete(
    input: &[u8],
    scan: &mut HeadScan,
    limits: &HeadLimits,
) -> Result<bool, Reject> {
    let head = &input[blank_lines(input)?..];
    let from = scan.at.saturating_sub(END.len() - 1);
    scan.count(head.len() - from);
    if head[from..].windows(END.len()).any(|window| window == END) {
        return Ok(true);
    }
    scan.look_at(head, limits).map(|()| false)
}

/// The fault of a head that shows first.
pub(crate) fn first_fault(input: &[u8], limits: &HeadLimits) -> Option<Reject> {
    let head = match blank_lines(input) {
        Ok(start) => &input[start..],
        Err(reject) => return Some(reject),
    };
    let end = head.windows(END.len()).position(|window| window == END);
    let head = end.map_or(head, |at| &head[..at + END.len()]);
    HeadScan::default().look_at(head, limits).err()
}

impl HeadScan {
    /// Another head begins.
    #[inline]
    pub fn reset(&mut self) {
        if self.at > 0 {
            *self = HeadScan::default();
        }
    }

    /// Looks at what has come of a head; at the byte that is a fault, it stays.
    fn look_at(&mut self, head: &[u8], limits: &HeadLimits) -> Result<(), Reject> {
        match head {
            // It may be the first half of a blank line before the head.
            b"\r" => return Ok(()),
            [b'\r', ..] => return Err(bare_lf()),
            _ => {}
        }
        let mut scratch = Vec::new();
        while self.at < head.len() {
            self.look_at_byte(head, limits, &mut scratch)?;
            self.at += 1;
        }
        Ok(())
    }

    fn look_at_byte(
        &mut self,
        head: &[u8],
        limits: &HeadLimits,
        scratch: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        self.count(1);
        let (at, byte) = (self.at, head[self.at]);
        // §2.2: a bare CR is invalid in every element of a head, and so is a bare LF here.
        let is_after_cr = at > 0 && head[at - 1] == b'\r';
        if is_after_cr != (byte == b'\n') {
            return Err(bare_lf());
        }
        if self.line_at == 0 {
            self.look_at_request_line(head, limits)?;
        }
        // RFC 6585 §5: a head that is too large gets 431.
        if at >= limits.size_max_bytes {
            return Err(Reject::head_too_large("the head is larger than this server takes"));
        }
        if at == self.line_at && at > 0 && matches!(byte, b' ' | b'\t') {
            // §2.2, §5.2: white space before the first field, and folded lines.
            return Err(Reject::bad("a line begins with white space"));
        }
        if byte == b'\n' {
            let line = &head[self.line_at..=at];
            self.count(line.len());
            self.lines.take(line, limits, scratch)?;
            self.line_at = at + 1;
        }
        Ok(())
    }

    fn look_at_request_line(&mut self, head: &[u8], limits: &HeadLimits) -> Result<(), Reject> {
        let (at, byte) = (self.at, head[self.at]);
        let Some(method_end) = self.method_end else {
            return self.look_at_method(byte);
        };
        match self.version_at {
            None if byte == b' ' => self.version_at = Some(at + 1),
            None => {}
            Some(_) if byte == b'\n' => {}
            Some(start) => look_at_version(&head[start..=at])?,
        }
        // §3: a target that is too long gets 414, before the head's own limit is reached.
        match at - method_end >= limits.target_length_max_bytes + AFTER_TARGET_BYTES {
            true => Err(Reject::target_too_long()),
            false => Ok(()),
        }
    }

    /// §3.1: a method is a token, and §3: one that is longer than any implemented gets 501.
    fn look_at_method(&mut self, byte: u8) -> Result<(), Reject> {
        match byte {
            b' ' => self.method_end = Some(self.at),
            _ if !is_token_byte(byte) => return Err(Reject::bad("the method is no token")),
            _ if self.at == METHOD_MAX_BYTES => {
                return Err(Reject::not_implemented("no such method"));
            }
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, _bytes: usize) {
        #[cfg(test)]
        {
            self.looked += _bytes;
        }
    }
}

/// Looks at the last byte of what has come of a version. §2.3: that is `HTTP/`, a digit, a point, a
/// digit. Another one than ours is 505 (RFC 9110 §15.6.6); what is none, or has more behind it, is
/// no request line (§3).
fn look_at_version(version: &[u8]) -> Result<(), Reject> {
    let at = version.len() - 1;
    let is_right = match at {
        0..5 => version[at] == b"HTTP/"[at],
        5 | 7 => version[at].is_ascii_digit(),
        6 => version[at] == b'.',
        8 => version[at] == b'\r',
        _ => false,
    };
    if !is_right {
        return Err(Reject::bad("the request line does not end with a version"));
    }
    // RFC 9110 §2.5: another minor version is processed as the highest that is spoken.
    match at == 7 && version[5] != b'1' {
        true => Err(Reject::version()),
        false => Ok(()),
    }
}

/// Bytes of blank lines before the request line.
pub(crate) fn blank_lines(input: &[u8]) -> Result<usize, Reject> {
    let mut start = 0;
    while input[start..].starts_with(b"\r\n") {
        start += 2;
        // §2.2: a server should ignore at least one; without a bound it would read for ever.
        if start > 2 * BLANK_LINES_MAX {
            return Err(Reject::bad("blank lines instead of a request"));
        }
    }
    match input[start..].first() {
        Some(b'\n') => Err(bare_lf()),
        _ => Ok(start),
    }
}

/// Whether nothing of a request has begun: a blank line and its half do not count.
pub(crate) fn is_blank(input: &[u8]) -> bool {
    matches!(input, b"" | b"\r" | b"\r\n" | b"\r\n\r" | b"\r\n\r\n")
}

/// §2.2: a bare LF may be taken for a line end; it is refused, since others do not agree. It is
/// refused at once, or a head with LF alone would wait for its end until the time-out. (httparse
/// takes it; a bare CR it rejects.)
pub(crate) fn has_bare_lf(head: &[u8]) -> bool {
    let mut at = 0;
    while let Some(found) = head[at..].iter().position(|&byte| byte == b'\n') {
        at += found;
        if at == 0 || head[at - 1] != b'\r' {
            return true;
        }
        at += 1;
    }
    false
}

/// Whether a method is longer than any that could be served.
pub(crate) fn is_long_method(method: &str) -> bool {
    method.len() > METHOD_MAX_BYTES
}

fn bare_lf() -> Reject {
    Reject::bad("lines end with CRLF")
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
