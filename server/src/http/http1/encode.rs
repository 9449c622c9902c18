//! Responses as bytes (RFC 9112 §4, §6, §7).
//!
//! Framing and the connection are ours: what an application says of Content-Length,
//! Transfer-Encoding, Connection and Date's neighbours is never copied to the wire unchecked, so
//! no handler can desynchronise a connection. A length that only the application knows is taken,
//! and a body that does not keep it ends the connection.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sidecore_runtime::sys::stderr;

use crate::app::service::Plain;
use crate::codec::head::{Version, tokens};
use crate::codec::reject::Reject;
use crate::codec::trailers::is_forbidden_trailer;
use crate::http::http1::date::DATE_BYTES;

/// How the end of a response's body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// There is no body and no field that speaks of one: 1xx, 204 (RFC 9110 §8.6).
    None,
    /// Content-Length.
    Known(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
    /// By the end of the connection: to a 1.0 client, of a length not known.
    UntilClose,
}

/// What a status allows a final response to contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Allowed,
    /// RFC 9110 §15.3.6: 205 has none, and says so by its framing.
    Empty,
    /// RFC 9110 §8.6: 204 has none, and no field that speaks of its length.
    Absent,
    /// RFC 9110 §15.4.5: 304 has none, but may tell the length that a 200 would have had.
    LengthOnly,
}

/// What an application says of its body's length; None unless it is one number (RFC 9110 §8.6).
pub(crate) fn declared_length(fields: &HeaderMap) -> Option<u64> {
    let mut values = fields.get_all(header::CONTENT_LENGTH).iter();
    let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok())?
}

/// Whether an application asks for its answer to be the connection's last.
pub(crate) fn asks_to_close(fields: &HeaderMap) -> bool {
    let mut values = fields.get_all(header::CONNECTION).iter();
    values.any(|value| tokens(value.as_bytes()).any(|token| token.eq_ignore_ascii_case(b"close")))
}

/// See [`Content`].
pub(crate) fn content_of(status: StatusCode) -> Content {
    match status {
        StatusCode::NO_CONTENT => Content::Absent,
        StatusCode::RESET_CONTENT => Content::Empty,
        StatusCode::NOT_MODIFIED => Content::LengthOnly,
        _ => Content::Allowed,
    }
}

/// RFC 9110 §15.2: a 1xx response is interim, so a client would take the next request's answer for
/// this one's; §15: a status above 599 is none.
pub(crate) fn is_final(status: StatusCode) -> bool {
    (200..600).contains(&status.as_u16())
}

/// Reports an application that answers with such a status; its request gets 500.
pub(crate) fn not_final(status: StatusCode) -> Reject {
    stderr::line(format_args!(
        "a handler answered with {}, which ends no request",
        status.as_str()
    ));
    Reject::handler_failed()
}

/// What the connection adds to a response's head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadContext<'a> {
    pub(crate) version: Version,
    pub(crate) keep_alive: bool,
    pub(crate) length: BodyLength,
    pub(crate) date: &'a [u8; DATE_BYTES],
}

/// Appends the head of a response.
pub(crate) fn encode_head(
    out: &mut Vec<u8>,
    status: StatusCode,
    fields: &HeaderMap,
    context: &HeadContext<'_>,
) {
    encode_status_line(out, status);
    let mut upgrade = false;
    for (name, value) in fields {
        if is_ours(name) {
            continue;
        }
        upgrade |= name == header::UPGRADE;
        encode_field(out, name, value);
    }
    encode_framing(out, context.length);
    encode_connection(out, context, upgrade);
    if !fields.contains_key(header::DATE) {
        encode_date(out, context.date);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole small response, from parts that need no map of fields.
pub(crate) fn encode_plain(
    out: &mut Vec<u8>,
    plain: &Plain,
    head_only: bool,
    context: &HeadContext<'_>,
) {
    let Plain { status, content_type, field, body } = plain;
    out.reserve(192 + body.len());
    encode_status_line(out, *status);
    encode_framing(out, context.length);
    encode_connection(out, context, false);
    if let Some((name, value)) = field
        && !is_ours(name)
        && name != header::DATE
    {
        encode_field(out, name, value);
    }
    if !content_type.is_empty() && is_field_value(content_type) {
        out.extend_from_slice(b"Content-Type: ");
        out.extend_from_slice(content_type.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    encode_date(out, context.date);
    out.extend_from_slice(b"\r\n");
    if !head_only && matches!(context.length, BodyLength::Known(length) if length > 0) {
        out.extend_from_slice(body);
    }
}

/// Appends the size line of a chunk; its data and [`CHUNK_END`] follow.
pub(crate) fn encode_chunk_size(out: &mut Vec<u8>, size: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let significant = (usize::BITS - size.leading_zeros()).max(1).div_ceil(4);
    for digit in (0..significant).rev() {
        out.push(DIGITS[size >> (4 * digit) & 15]);
    }
    out.extend_from_slice(CHUNK_END);
}

/// What follows a chunk's data.
pub(crate) const CHUNK_END: &[u8] = b"\r\n";

/// Appends the last chunk and the trailers (§7.1), without those that may be none.
pub(crate) fn encode_last_chunk(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if is_forbidden_trailer(name.as_str()) {
            continue;
        }
        encode_field(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// A `HeaderValue` has no CR, LF or NUL: http's types refuse them.
fn encode_field(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The interim response that asks for the body (RFC 9110 §15.2.1).
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Fields that the connection writes itself.
fn is_ours(name: &header::HeaderName) -> bool {
    *name == header::CONTENT_LENGTH
        || *name == header::TRANSFER_ENCODING
        || *name == header::CONNECTION
        || name.as_str() == "keep-alive"
}

fn encode_status_line(out: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    // §2.5 of RFC 9110: the version is the server's own, to a 1.0 client too.
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn encode_framing(out: &mut Vec<u8>, length: BodyLength) {
    match length {
        BodyLength::None | BodyLength::UntilClose => {}
        BodyLength::Known(length) => {
            out.extend_from_slice(b"Content-Length: ");
            encode_number(out, length);
            out.extend_from_slice(b"\r\n");
        }
        BodyLength::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
}

/// RFC 9110 §7.8: who sends Upgrade names it in Connection too.
fn encode_connection(out: &mut Vec<u8>, context: &HeadContext<'_>, upgrade: bool) {
    let field: &[u8] = match (context.keep_alive, context.version, upgrade) {
        (true, Version::Http11, false) => return,
        (true, Version::Http11, true) => b"Connection: upgrade\r\n",
        // §9.3: a 1.0 client has to be told; it knows no Upgrade.
        (true, Version::Http10, _) => b"Connection: keep-alive\r\n",
        (false, _, false) => b"Connection: close\r\n",
        (false, _, true) => b"Connection: close, upgrade\r\n",
    };
    out.extend_from_slice(field);
}

/// RFC 9110 §5.5: CR, LF and NUL would end a field's line, for some readers at least.
fn is_field_value(text: &str) -> bool {
    text.bytes().all(|byte| byte >= b' ' && byte != 0x7f)
}

fn encode_date(out: &mut Vec<u8>, date: &[u8; DATE_BYTES]) {
    out.extend_from_slice(b"Date: ");
    out.extend_from_slice(date);
    out.extend_from_slice(b"\r\n");
}

fn encode_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::HeaderValue;

    const DATE: &[u8; DATE_BYTES] = b"Sun, 06 Nov 1994 08:49:37 GMT";

    fn context(length: BodyLength, version: Version, keep_alive: bool) -> HeadContext<'static> {
        HeadContext { version, keep_alive, length, date: DATE }
    }

    #[test]
    fn an_application_cannot_frame_the_message() {
        let mut fields = HeaderMap::new();
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from_static("7"));
        fields.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert("x-a", HeaderValue::from_static("1"));
        let mut out = Vec::new();
        let context = context(BodyLength::Known(3), Version::Http11, true);
        encode_head(&mut out, StatusCode::NOT_FOUND, &fields, &context);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 404 Not Found\r\nx-a: 1\r\nContent-Length: 3\r\n\
             Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"
        );
    }

    #[test]
    fn the_connection_field_follows_version_and_wish() {
        let check = |version, keep_alive, expected: &str| {
            let mut out = Vec::new();
            encode_connection(&mut out, &context(BodyLength::None, version, keep_alive), false);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(Version::Http11, true, "");
        check(Version::Http11, false, "Connection: close\r\n");
        check(Version::Http10, true, "Connection: keep-alive\r\n");
        check(Version::Http10, false, "Connection: close\r\n");
    }

    #[test]
    fn a_plain_answer_is_one_message_whatever_its_parts() {
        let encode = |status, content_type, length| {
            let mut out = Vec::new();
            let context = context(length, Version::Http11, true);
            let field = Some((header::CONTENT_LENGTH, HeaderValue::from_static("7")));
            let body = Bytes::from_static(b"body");
            let plain = Plain { status, content_type, field, body };
            encode_plain(&mut out, &plain, false, &context);
            String::from_utf8(out).unwrap()
        };
        let plain = encode(StatusCode::OK, "a/b\r\nX: y", BodyLength::Known(4));
        assert!(
            !plain.contains("X: y") && !plain.contains(": 7") && plain.ends_with("\r\n\r\nbody"),
            "{plain}"
        );
        let plain = encode(StatusCode::NO_CONTENT, "", BodyLength::None);
        assert!(plain.ends_with("GMT\r\n\r\n"), "{plain}");
    }

    #[test]
    fn numbers_and_chunk_sizes_have_no_leading_zero() {
        for number in [0, 9, 10, 255, 4096, u64::MAX] {
            let mut out = Vec::new();
            encode_number(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
            let mut out = Vec::new();
            encode_chunk_size(&mut out, number as usize);
            assert_eq!(out, format!("{number:x}\r\n").as_bytes());
        }
    }
}
