//! One request over a connection of its own, and its answer.
//!
//! By hand, since what stands here comes into the tree of each user: `ureq` (3.5) would bring five
//! crates at least for what is some sixty lines over httparse, hyper's client a runtime. Whoever needs
//! more brings a client of their own.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// How long the server may keep silent.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// The largest answer that is read.
const ANSWER_MAX_BYTES: u64 = 256 * 1024 * 1024;
/// The most fields of an answer.
const FIELDS_MAX: usize = 256;

/// An answer, its body decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// A field as text: the first of that name, in any case; None too where it is no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text, with U+FFFD for what is none.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request as the last one of a new connection, and reads to its end.
pub(super) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_nodelay(true)?;
    let mut message =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in fields {
        message += &format!("{name}: {value}\r\n");
    }
    message += &format!("Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(message.as_bytes())?;
    // A server that refuses a body may close before it has all of it; its answer counts.
    let sent = stream.write_all(body);
    let mut received = Vec::new();
    stream.take(ANSWER_MAX_BYTES).read_to_end(&mut received)?;
    match (parse(&received, method == "HEAD"), sent) {
        (Err(_), Err(error)) => Err(error),
        (parsed, _) => parsed,
    }
}

/// The final answer in what a connection gave.
fn parse(mut bytes: &[u8], head_only: bool) -> io::Result<Answer> {
    loop {
        let mut slots = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Response::new(&mut slots);
        let httparse::Status::Complete(size) = head.parse(bytes).map_err(invalid)? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let status = StatusCode::from_u16(head.code.unwrap_or_default()).map_err(invalid)?;
        bytes = &bytes[size..];
        // RFC 9110 §15.2: an interim answer is followed by the final one.
        if status.is_informational() {
            continue;
        }
        let mut headers = HeaderMap::new();
        for field in head.headers.iter() {
            let name = HeaderName::try_from(field.name).map_err(invalid)?;
            headers.append(name, HeaderValue::from_bytes(field.value).map_err(invalid)?);
        }
        let empty = head_only || matches!(status.as_u16(), 204 | 304);
        let body = if empty { Vec::new() } else { decode(&headers, bytes)? };
        return Ok(Answer { status, headers, body: body.into() });
    }
}

/// The body by its framing (RFC 9112 §6.3): chunks, a length, or all there is.
fn decode(headers: &HeaderMap, bytes: &[u8]) -> io::Result<Vec<u8>> {
    if headers.contains_key(http::header::TRANSFER_ENCODING) {
        return decode_chunks(bytes);
    }
    let Some(length) = headers.get(http::header::CONTENT_LENGTH) else { return Ok(bytes.to_vec()) };
    let length = length.to_str().ok().and_then(|length| length.parse::<usize>().ok());
    let length = length.ok_or_else(|| invalid("Content-Length is no number"))?;
    bytes.get(..length).map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn decode_chunks(mut bytes: &[u8]) -> io::Result<Vec<u8>> {
    let early = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let mut body = Vec::new();
    loop {
        let size = httparse::parse_chunk_size(bytes).map_err(|_| invalid("no size of a chunk"))?;
        let httparse::Status::Complete((at, size)) = size else { return Err(early()) };
        let size = usize::try_from(size).map_err(invalid)?;
        let chunk = bytes[at..].get(..size).ok_or_else(early)?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(chunk);
        bytes = bytes[at + size..].strip_prefix(b"\r\n").ok_or_else(early)?;
    }
}

fn invalid(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &str, expected: Result<(u16, &str), io::ErrorKind>) {
        let parsed = parse(bytes.as_bytes(), false);
        let found = parsed.map(|answer| (answer.status.as_u16(), answer.text()));
        let found = found.map_err(|error| error.kind());
        assert_eq!(found, expected.map(|(status, body)| (status, body.to_owned())), "{bytes}");
    }

    #[test]
    fn answers_are_read_by_their_framing_and_never_cut_short() {
        use io::ErrorKind::{InvalidData, UnexpectedEof};
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello", Ok((200, "he")));
        check("HTTP/1.1 200 OK\r\n\r\nhello", Ok((200, "hello")));
        check("HTTP/1.1 204 No Content\r\n\r\n", Ok((204, "")));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(
            &format!("{chunked}3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"),
            Ok((200, "abc0123456789")),
        );
        check(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n",
            Ok((413, "")),
        );
        check("", Err(UnexpectedEof));
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh", Err(UnexpectedEof));
        check(&format!("{chunked}3\r\nab"), Err(UnexpectedEof));
        check(&format!("{chunked}3\r\nabc\r\n"), Err(UnexpectedEof));
        check(&format!("{chunked}x\r\n"), Err(InvalidData));
        check("HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nhe", Err(InvalidData));
        check("nonsense", Err(InvalidData));
    }

    #[test]
    fn the_answer_to_head_has_no_body() {
        let answer =
            parse(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\n", true).unwrap();
        assert_eq!((answer.header("x-a"), answer.header("x-b")), (Some("b"), None));
        assert!(answer.body.is_empty());
    }
}
