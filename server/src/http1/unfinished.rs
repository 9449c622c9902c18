//! A head that is not all there: what cannot become a head is refused before its end, which may
//! never come.

use std::mem::MaybeUninit;

use super::head::{HEADER_COUNT_CAP, HeadLimits, Lines};
use super::reject::Reject;

/// Bytes of a method; there is none longer.
const METHOD_MAX_BYTES: usize = 32;

/// Refuses a `head` of which the bytes before `from` were looked at before.
pub(super) fn check(head: &[u8], from: usize, limits: &HeadLimits) -> Result<(), Reject> {
    // §2.2: a bare LF may be taken for a line end; it is refused, since others do not agree. Here
    // already, or a head with LF alone would wait for its end until the time-out. A bare CR is
    // invalid anywhere.
    if head[from..].windows(2).any(|pair| (pair[0] == b'\r') != (pair[1] == b'\n')) {
        return Err(Reject::bad("lines end with CRLF"));
    }
    if head.len() > limits.size_max_bytes {
        return Err(too_large(head, limits));
    }
    check_request_line(head, limits)?;
    check_lines(head, from, limits)
}

/// A first line that cannot become a request line is refused before the head is complete, and a
/// target that is too long before the head's limit is.
fn check_request_line(head: &[u8], limits: &HeadLimits) -> Result<(), Reject> {
    let method = head.iter().take(METHOD_MAX_BYTES + 1).position(|&byte| byte == b' ');
    let valid = |byte: &u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(byte);
    let token = &head[..method.unwrap_or(head.len().min(METHOD_MAX_BYTES))];
    let half_blank_line = head == b"\r";
    if !half_blank_line && !token.iter().all(valid) {
        return Err(Reject::bad("the method is no token"));
    }
    let Some(end) = method else {
        return match head.len() > METHOD_MAX_BYTES {
            true => Err(Reject::not_implemented("no such method")),
            false => Ok(()),
        };
    };
    // A space and the version may follow the target.
    let line = &head[end + 1..head.len().min(end + 1 + limits.target_length_max_bytes + 11)];
    if line.contains(&b'\n') {
        return Ok(());
    }
    match line.iter().position(|&byte| byte == b' ') {
        Some(space) => check_version(&line[space + 1..]),
        None if line.len() > limits.target_length_max_bytes => Err(Reject::target_too_long()),
        None => Ok(()),
    }
}

/// Checks the lines that are there whenever another one has come.
fn check_lines(head: &[u8], from: usize, limits: &HeadLimits) -> Result<(), Reject> {
    let Some(end) = head[from..].iter().rposition(|&byte| byte == b'\n') else { return Ok(()) };
    let (lines, begun) = head.split_at(from + end + 1);
    if matches!(begun.first(), Some(b' ' | b'\t')) {
        // §2.2, §5.2: white space before the first field, and folded lines.
        return Err(Reject::bad("a line begins with white space"));
    }
    let whole = [lines, b"\r\n"].concat();
    let mut slots = [MaybeUninit::uninit(); HEADER_COUNT_CAP];
    Lines::read(&whole, &mut slots, limits).map(|_| ())
}

/// What is wrong with the version of a head's request line.
pub(super) fn version_error(head: &[u8]) -> Reject {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or(head);
    let version = line.rsplit(|&byte| byte == b' ').next().unwrap_or(line);
    check_version(version).err().unwrap_or(Reject::bad("the request line has no version"))
}

/// §2.3: `HTTP/`, a digit, a point, a digit; or the beginning of it. Another version than ours is
/// 505 (RFC 9110 §15.6.6), another protocol is no HTTP at all.
fn check_version(version: &[u8]) -> Result<(), Reject> {
    let matches = |(at, byte): (usize, &u8)| match at {
        0..5 => *byte == b"HTTP/"[at],
        5 | 7 => byte.is_ascii_digit(),
        6 => *byte == b'.',
        8 => *byte == b'\r',
        _ => false,
    };
    if !version.iter().enumerate().all(matches) {
        return Err(Reject::bad("the request line does not end with a version"));
    }
    match version {
        [_, _, _, _, _, b'1', _, b'0' | b'1', ..] => Ok(()),
        [_, _, _, _, _, _, _, _, ..] => Err(Reject::version()),
        _ => Ok(()),
    }
}

/// What made a head too large: its target, or its fields.
pub(super) fn too_large(head: &[u8], limits: &HeadLimits) -> Reject {
    let line = head.iter().position(|&byte| byte == b'\n').unwrap_or(head.len());
    match line > limits.target_length_max_bytes + 40 {
        true => Reject::target_too_long(),
        false => Reject::head_too_large("the head is larger than this server takes"),
    }
}
