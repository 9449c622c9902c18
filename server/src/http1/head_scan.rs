//! Where a head ends, looked for at each byte once, and what of it is refused before its end.
//!
//! A verdict depends on the bytes alone and not on how they were split: of several faults the one
//! that shows first counts, as if the head had come byte by byte.

use super::head::HeadLimits;
use super::head_lines::{find_bad_line, find_bad_version};
use super::reject::Reject;

/// Blank lines taken before a request line (§2.2 allows some; old clients send one after a body).
const BLANK_LINES_MAX: usize = 2;
/// The longest method. The registered ones have 17 bytes at most.
const METHOD_MAX_BYTES: usize = 32;
/// What follows the target in its line: a space, `HTTP/1.1`, CR, LF and one byte more.
const AFTER_TARGET_BYTES: usize = 12;

/// Whether the blank line that ends a head is there. `scanned` is what earlier calls for the same
/// head looked at, so that one which comes byte by byte costs no more than one that comes at once.
pub(super) fn is_complete(
    input: &[u8],
    scanned: &mut usize,
    limits: &HeadLimits,
) -> Result<bool, Reject> {
    let start = blank_lines(input)?;
    let from = scanned.saturating_sub(3).max(start);
    *scanned = input.len();
    if input[from..].windows(4).any(|window| window == b"\r\n\r\n") {
        return Ok(true);
    }
    match find_first(&input[start..], from - start, limits) {
        Some(reject) => Err(reject),
        None => Ok(false),
    }
}

/// The fault of a head that shows first.
pub(super) fn first_fault(input: &[u8], limits: &HeadLimits) -> Option<Reject> {
    let start = match blank_lines(input) {
        Ok(start) => start,
        Err(reject) => return Some(reject),
    };
    let end = input[start..].windows(4).position(|window| window == b"\r\n\r\n");
    find_first(&input[start..end.map_or(input.len(), |at| start + at + 4)], 0, limits)
}

fn find_first(head: &[u8], from: usize, limits: &HeadLimits) -> Option<Reject> {
    let faults = [
        find_bare_lf(head, from),
        find_bare_cr(head, from),
        find_bad_method(head),
        find_bad_version(head),
        find_long_target(head, limits),
        find_excess(head, limits),
        find_bad_line(head, from, limits),
    ];
    let first = faults.into_iter().flatten().min_by_key(|fault| fault.at);
    first.map(|fault| fault.reject)
}

/// A fault, and the byte at which it shows.
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) reject: Reject,
}

/// Bytes of blank lines before the request line.
pub(super) fn blank_lines(input: &[u8]) -> Result<usize, Reject> {
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
pub(super) fn is_blank(input: &[u8]) -> bool {
    matches!(input, b"" | b"\r" | b"\r\n" | b"\r\n\r" | b"\r\n\r\n")
}

/// §2.2: a bare LF may be taken for a line end; it is refused, since others do not agree. It is
/// refused at once, or a head with LF alone would wait for its end until the time-out.
pub(super) fn has_bare_lf(head: &[u8]) -> bool {
    find_bare_lf(head, 0).is_some()
}

/// Whether a method is longer than any that could be served.
pub(crate) fn is_long_method(method: &str) -> bool {
    method.len() > METHOD_MAX_BYTES
}

/// httparse takes a bare LF for a line end; a bare CR it rejects.
fn find_bare_lf(head: &[u8], from: usize) -> Option<Fault> {
    let mut at = from;
    loop {
        at += head[at..].iter().position(|&byte| byte == b'\n')?;
        if at == 0 || head[at - 1] != b'\r' {
            return Some(Fault { at, reject: bare_lf() });
        }
        at += 1;
    }
}

/// §2.2: a bare CR is invalid in every element of a head.
fn find_bare_cr(head: &[u8], from: usize) -> Option<Fault> {
    let at = head[from..].windows(2).position(|pair| pair[0] == b'\r' && pair[1] != b'\n')?;
    Some(Fault { at: from + at + 1, reject: bare_lf() })
}

/// §3.1: a method is a token, and §3: one that is longer than any implemented gets 501.
fn find_bad_method(head: &[u8]) -> Option<Fault> {
    let bytes = head.iter().take(METHOD_MAX_BYTES + 1).take_while(|&&byte| byte != b' ');
    let mut length = 0;
    for (at, &byte) in bytes.enumerate() {
        if !is_token_byte(byte) {
            // A CR may be the first half of a blank line, until another byte follows.
            let (half, rest) = (at == 0 && byte == b'\r', head.len() == 1);
            let reject = Reject::bad("the method is no token");
            return match half {
                true if rest => None,
                true => Some(Fault { at: 1, reject }),
                false => Some(Fault { at, reject }),
            };
        }
        length = at + 1;
    }
    let reject = Reject::not_implemented("no such method");
    (length > METHOD_MAX_BYTES).then_some(Fault { at: METHOD_MAX_BYTES, reject })
}

/// §3: a target that is too long gets 414, before the head's own limit is reached.
fn find_long_target(head: &[u8], limits: &HeadLimits) -> Option<Fault> {
    let method = head.iter().take(METHOD_MAX_BYTES + 1).position(|&byte| byte == b' ')?;
    let at = method + limits.target_length_max_bytes + AFTER_TARGET_BYTES;
    let too_long = head.len() > at && !head[..at].contains(&b'\n');
    too_long.then_some(Fault { at, reject: Reject::target_too_long() })
}

/// RFC 6585 §5: a head that is too large gets 431.
fn find_excess(head: &[u8], limits: &HeadLimits) -> Option<Fault> {
    let reject = Reject::head_too_large("the head is larger than this server takes");
    let at = limits.size_max_bytes;
    (head.len() > at).then_some(Fault { at, reject })
}

fn bare_lf() -> Reject {
    Reject::bad("lines end with CRLF")
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
