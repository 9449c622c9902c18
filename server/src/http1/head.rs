//! The head of a request: bytes in, a checked and borrowed head out (RFC 9112 §2 to §6, §9).
//!
//! httparse finds the pieces; what it lets through and must not pass is checked here.

use std::mem::MaybeUninit;

use super::reject::Reject;
use super::target::{Target, is_host};

/// Field slots on the stack; `header_count_max` cannot be set above it.
pub const HEADER_COUNT_CAP: usize = 256;
/// Blank lines taken before a request line (§2.2 allows some; old clients send one after a body).
const BLANK_LINES_MAX: usize = 2;

/// What a head may measure.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes from the request line to the blank line; more is refused with 431.
    pub size_max_bytes: usize,
    /// Fields; more are refused with 431.
    pub header_count_max: usize,
    /// Bytes of the target; more are refused with 414.
    pub target_length_max_bytes: usize,
}

/// How the end of a request's body is found (§6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// As many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// The version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// The head of one request, all checks passed, borrowed from the connection's input.
#[derive(Debug)]
pub struct RequestHead<'a> {
    /// The method, a case-sensitive token.
    pub method: &'a str,
    /// The target.
    pub target: Target<'a>,
    /// The version.
    pub version: Version,
    /// The fields in their order; names as sent, values opaque bytes.
    pub fields: &'a [httparse::Header<'a>],
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the client allows another request on the connection.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue`.
    pub expect_continue: bool,
    /// Bytes of the head, blank lines before it and the blank line after it included.
    pub size_bytes: usize,
}

/// A head, or that it is not all there yet.
#[derive(Debug)]
pub enum Parsed<T> {
    /// It is all there.
    Complete(T),
    /// More bytes are needed.
    Incomplete,
}

/// Room for the fields of a head, [`HEADER_COUNT_CAP`] of them at most.
pub type FieldSlots<'a> = [MaybeUninit<httparse::Header<'a>>];

/// The next head of `input`, if all of it is there. `scanned` is what earlier calls for the same
/// head looked at; set it to 0 for the next one.
pub fn next_head<'a>(
    input: &'a [u8],
    scanned: &mut usize,
    slots: &'a mut FieldSlots<'a>,
    limits: &HeadLimits,
) -> Result<Parsed<RequestHead<'a>>, Reject> {
    // Nearly every head arrives whole, as the end of what there is: then there is no need to look
    // for its end before it is parsed.
    if !input.ends_with(b"\r\n\r\n") && !is_complete(input, scanned, limits)? {
        return Ok(Parsed::Incomplete);
    }
    match parse(input, slots, limits)? {
        Parsed::Complete(head) => Ok(Parsed::Complete(head)),
        // A trailing blank line alone, or blank lines before a head.
        Parsed::Incomplete => is_complete(input, scanned, limits).map(|_| Parsed::Incomplete),
    }
}

/// Looks for the blank line that ends a head, at each byte once, so that a head which comes byte
/// by byte costs no more than one that comes at once; refuses what cannot become a head.
fn is_complete(input: &[u8], scanned: &mut usize, limits: &HeadLimits) -> Result<bool, Reject> {
    let start = blank_lines(input)?;
    let from = scanned.saturating_sub(3).max(start);
    *scanned = input.len();
    if input[from..].windows(4).any(|window| window == b"\r\n\r\n") {
        return Ok(true);
    }
    // §2.2: a bare LF may be taken for a line end; it is refused, since others do not agree. Here
    // already, or a head with LF alone would wait for its end until the time-out.
    if input[from..].windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r') {
        return Err(Reject::bad("lines end with CRLF"));
    }
    // First what is wrong with the line: it says more than that there is too much of it.
    check_unfinished_line(&input[start..], limits)?;
    if input.len() - start > limits.size_max_bytes {
        return Err(too_large(&input[start..], limits));
    }
    Ok(false)
}

fn parse<'a>(
    input: &'a [u8],
    slots: &'a mut FieldSlots<'a>,
    limits: &HeadLimits,
) -> Result<Parsed<RequestHead<'a>>, Reject> {
    let start = blank_lines(input)?;
    let mut request = httparse::Request::new(&mut []);
    let count = slots.len().min(limits.header_count_max);
    let parsed = httparse::ParserConfig::default()
        .parse_request_with_uninit_headers(&mut request, &input[start..], &mut slots[..count])
        .map_err(map_error)?;
    let httparse::Status::Complete(size) = parsed else { return Ok(Parsed::Incomplete) };
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(Reject::bad("the request line is incomplete"));
    };
    refuse_bare_lf(&input[start..start + size])?;
    if target.len() > limits.target_length_max_bytes {
        return Err(Reject::target_too_long());
    }
    if size > limits.size_max_bytes {
        return Err(too_large(&input[start..start + size], limits));
    }
    check(method, target, version, request.headers, start + size).map(Parsed::Complete)
}

/// The rules that httparse leaves to its user.
fn check<'a>(
    method: &'a str,
    target: &'a str,
    version: u8,
    fields: &'a [httparse::Header<'a>],
    size_bytes: usize,
) -> Result<RequestHead<'a>, Reject> {
    let target = Target::parse(method, target)?;
    let version = if version == 0 { Version::Http10 } else { Version::Http11 };
    let mut seen = Seen::default();
    for field in fields {
        seen.take(field)?;
    }
    seen.check_host(version)?;
    Ok(RequestHead {
        method,
        target,
        version,
        fields,
        framing: seen.framing(version)?,
        keep_alive: seen.keep_alive(version),
        // RFC 9110 §10.1.1: an expectation of a 1.0 client is ignored.
        expect_continue: seen.expect_continue && version == Version::Http11,
        size_bytes,
    })
}

/// The fields that decide framing and the connection.
#[derive(Default)]
struct Seen<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    transfer_encoding: bool,
    chunked_last: bool,
    close: bool,
    keep_alive: bool,
    expect_continue: bool,
}

impl<'a> Seen<'a> {
    fn take(&mut self, field: &httparse::Header<'a>) -> Result<(), Reject> {
        let (name, value) = (field.name, field.value);
        // By length first: few of a head's fields are of interest here.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => self.take_host(value),
            6 if name.eq_ignore_ascii_case("expect") => self.take_expect(value),
            10 if name.eq_ignore_ascii_case("connection") => {
                for token in tokens(value) {
                    self.close |= token.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
                Ok(())
            }
            14 if name.eq_ignore_ascii_case("content-length") => self.take_length(value),
            17 if name.eq_ignore_ascii_case("transfer-encoding") => self.take_coding(value),
            _ => Ok(()),
        }
    }

    /// §3.2: a request with more than one Host, or an invalid one, gets 400.
    fn take_host(&mut self, value: &'a [u8]) -> Result<(), Reject> {
        if self.host.replace(value).is_some() {
            return Err(Reject::bad("there is more than one Host"));
        }
        match is_host(value) {
            true => Ok(()),
            false => Err(Reject::bad("Host is no host")),
        }
    }

    fn take_expect(&mut self, value: &[u8]) -> Result<(), Reject> {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Reject::expectation());
        }
        self.expect_continue = true;
        Ok(())
    }

    /// §6.3: digits only; a list, even of equal values, is refused, as is a second field.
    fn take_length(&mut self, value: &[u8]) -> Result<(), Reject> {
        let invalid = Reject::bad("Content-Length is no single number");
        if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
            return Err(invalid);
        }
        let length = value.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        match self.length.replace(length) {
            None => Ok(()),
            Some(_) => Err(invalid),
        }
    }

    /// §6.1, §7: `chunked` last and once; another coding is not implemented.
    fn take_coding(&mut self, value: &[u8]) -> Result<(), Reject> {
        self.transfer_encoding = true;
        for token in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if self.chunked_last {
                return Err(Reject::bad("chunked is not the last transfer coding"));
            }
            match token.eq_ignore_ascii_case(b"chunked") {
                true => self.chunked_last = true,
                false if token.is_empty() => {
                    return Err(Reject::bad("Transfer-Encoding has an empty member"));
                }
                false => {
                    return Err(Reject::not_implemented("the only transfer coding is chunked"));
                }
            }
        }
        Ok(())
    }

    fn framing(&self, version: Version) -> Result<Framing, Reject> {
        match (self.transfer_encoding, self.length) {
            // §6.1: a server may refuse both together, and should where smuggling is a risk.
            (true, Some(_)) => {
                Err(Reject::bad("Content-Length and Transfer-Encoding exclude each other"))
            }
            // §6.1: Transfer-Encoding in a 1.0 request means faulty framing.
            (true, None) if version == Version::Http10 => {
                Err(Reject::bad("HTTP/1.0 has no Transfer-Encoding"))
            }
            // §6.3: not chunked at the end: the length cannot be found.
            (true, None) if !self.chunked_last => {
                Err(Reject::bad("the last transfer coding is not chunked"))
            }
            (true, None) => Ok(Framing::Chunked),
            (false, Some(0)) | (false, None) => Ok(Framing::None),
            (false, Some(length)) => Ok(Framing::Length(length)),
        }
    }

    /// §3.2: a 1.1 request without Host gets 400.
    fn check_host(&self, version: Version) -> Result<(), Reject> {
        match version == Version::Http11 && self.host.is_none() {
            true => Err(Reject::bad("HTTP/1.1 requires Host")),
            false => Ok(()),
        }
    }

    /// §9.3: `close` wins; 1.1 persists, 1.0 only if asked to.
    fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// The members of a list of tokens (RFC 9110 §5.6.1).
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// Bytes of blank lines before the request line.
fn blank_lines(input: &[u8]) -> Result<usize, Reject> {
    let mut start = 0;
    while input[start..].starts_with(b"\r\n") {
        start += 2;
        if start > 2 * BLANK_LINES_MAX {
            return Err(Reject::bad("blank lines instead of a request"));
        }
    }
    match input[start..].first() {
        Some(b'\n') => Err(Reject::bad("lines end with CRLF")),
        _ => Ok(start),
    }
}

/// A first line that cannot become a request line is refused before the head is complete, and a
/// target that is too long before the head's limit is.
fn check_unfinished_line(head: &[u8], limits: &HeadLimits) -> Result<(), Reject> {
    let method_max = 32;
    let method = head.iter().take(method_max + 1).position(|&byte| byte == b' ');
    let valid = |byte: &u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(byte);
    let token = &head[..method.unwrap_or(head.len().min(method_max))];
    let half_blank_line = head == b"\r";
    if !half_blank_line && !token.iter().all(valid) {
        return Err(Reject::bad("the method is no token"));
    }
    match method {
        None if head.len() > method_max => Err(Reject::not_implemented("no such method")),
        // The target, a space and the version may follow the method.
        Some(end)
            if head.len() - end > limits.target_length_max_bytes + 12
                && !head[..limits.target_length_max_bytes + end + 12].contains(&b'\n') =>
        {
            Err(Reject::target_too_long())
        }
        _ => Ok(()),
    }
}

/// What made a head too large: its target, or its fields.
fn too_large(head: &[u8], limits: &HeadLimits) -> Reject {
    let line = head.iter().position(|&byte| byte == b'\n').unwrap_or(head.len());
    match line > limits.target_length_max_bytes + 40 {
        true => Reject::target_too_long(),
        false => Reject::head_too_large("the head is larger than this server takes"),
    }
}

/// Every LF has its CR (httparse takes a bare one for a line end, and rejects a bare CR).
fn refuse_bare_lf(head: &[u8]) -> Result<(), Reject> {
    let mut from = 0;
    while let Some(at) = head[from..].iter().position(|&byte| byte == b'\n') {
        let at = from + at;
        if at == 0 || head[at - 1] != b'\r' {
            return Err(Reject::bad("lines end with CRLF"));
        }
        from = at + 1;
    }
    Ok(())
}

fn map_error(error: httparse::Error) -> Reject {
    match error {
        httparse::Error::Version => Reject::version(),
        httparse::Error::TooManyHeaders => {
            Reject::head_too_large("there are more fields than this server takes")
        }
        httparse::Error::HeaderName => Reject::bad("a field name is no token"),
        httparse::Error::HeaderValue => Reject::bad("a field value has a forbidden byte"),
        httparse::Error::NewLine => Reject::bad("lines end with CRLF"),
        httparse::Error::Token | httparse::Error::Status => {
            Reject::bad("the request line is no request line")
        }
    }
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
