//! The head of a request: bytes in, a checked and borrowed head out (RFC 9112 §2 to §6, §9).
//!
//! httparse finds the pieces; what it lets through and must not pass is checked here.

use std::mem::MaybeUninit;
use std::net::SocketAddr;

use crate::codec::head_scan::{
    HeadScan, blank_lines, first_fault, has_bare_lf, is_blank, is_complete, is_long_method,
};
use crate::codec::reject::Reject;
use crate::codec::target::{Rules, Target, is_host};

/// Field slots on the stack; `header_count_max` cannot be set above it.
pub const HEADER_COUNT_CAP: usize = 256;

/// What a head may measure, and ask for.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes from the request line to the blank line; more is refused with 431.
    pub size_max_bytes: usize,
    /// Fields; more are refused with 431.
    pub header_count_max: usize,
    /// Bytes of the target; more are refused with 414.
    pub target_length_max_bytes: usize,
    /// The connection is secured: absolute targets may be https ones, else refused with 421.
    pub is_secured: bool,
    /// Characters outside ASCII are taken in targets and in Host, else refused with 400.
    pub takes_raw_utf8: bool,
}

impl HeadLimits {
    pub(crate) fn rules(&self) -> Rules {
        let HeadLimits { is_secured, takes_raw_utf8, .. } = *self;
        Rules { is_secured, takes_raw_utf8 }
    }
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
    /// Whether the client offers to change the protocol after this request, which has no body.
    pub upgrade: bool,
    /// Bytes of the head, blank lines before it and the blank line after it included.
    pub size_bytes: usize,
    /// Who sent it, where the application wants that told
    /// ([`App::wants_peers`](crate::App::wants_peers)).
    pub peer: Option<SocketAddr>,
    /// Whether it came over TLS.
    pub is_secured: bool,
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

/// The next head of `input`, if all of it is there. `scan` is what earlier calls for the same head
/// came to.
///
/// # Errors
/// A [`Reject`]: what the client is to be answered.
pub fn next_head<'a>(
    input: &'a [u8],
    scan: &mut HeadScan,
    slots: &'a mut FieldSlots<'a>,
    limits: &HeadLimits,
) -> Result<Parsed<RequestHead<'a>>, Reject> {
    // Nearly every head arrives whole, as the end of what there is: then there is no need to look
    // for its end before it is parsed.
    if !input.ends_with(b"\r\n\r\n") && !is_complete(input, scan, limits)? {
        return Ok(Parsed::Incomplete);
    }
    match parse(input, slots, limits) {
        Ok(Parsed::Complete(head)) => Ok(Parsed::Complete(head)),
        // The end was not looked for: blank lines before a head may look like one.
        Ok(Parsed::Incomplete) => match is_complete(input, scan, limits)? {
            true => Err(Reject::bad("the head ends early")),
            false => Ok(Parsed::Incomplete),
        },
        // What shows earlier in the head goes first, so that its split changes no verdict.
        Err(reject) => Err(first_fault(input, limits).unwrap_or(reject)),
    }
}

/// What the end of the peer's bytes means to a head that is not complete.
pub(crate) fn check_end(rest: &[u8]) -> Result<(), Reject> {
    // RFC 9112 §8: an incomplete request is no request.
    match is_blank(rest) {
        true => Ok(()),
        false => Err(Reject::bad("the request ended within its head")),
    }
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
        .map_err(|error| map_error(error, &input[start..]))?;
    let httparse::Status::Complete(size) = parsed else { return Ok(Parsed::Incomplete) };
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(Reject::bad("the request line is incomplete"));
    };
    if has_bare_lf(&input[start..start + size]) {
        return Err(Reject::bad("lines end with CRLF"));
    }
    if is_long_method(method) {
        return Err(Reject::not_implemented("no such method"));
    }
    if target.len() > limits.target_length_max_bytes {
        return Err(Reject::target_too_long());
    }
    if size > limits.size_max_bytes {
        return Err(Reject::head_too_large("the head is larger than this server takes"));
    }
    let rules = limits.rules();
    let target = Target::parse(method, target, rules)?;
    check(method, target, version, request.headers, start + size, rules).map(Parsed::Complete)
}

/// The rules that httparse leaves to its user.
fn check<'a>(
    method: &'a str,
    target: Target<'a>,
    version: u8,
    fields: &'a [httparse::Header<'a>],
    size_bytes: usize,
    rules: Rules,
) -> Result<RequestHead<'a>, Reject> {
    let version = if version == 0 { Version::Http10 } else { Version::Http11 };
    let mut seen = Seen::default();
    for field in fields {
        seen.take(field, rules)?;
    }
    seen.check_conflicts(version)?;
    seen.check_host(version)?;
    let framing = seen.framing()?;
    Ok(RequestHead {
        method,
        target,
        version,
        fields,
        framing,
        keep_alive: seen.keep_alive(version),
        // RFC 9110 §10.1.1: an expectation of a 1.0 client is ignored.
        expect_continue: seen.expect_continue && version == Version::Http11,
        // RFC 9110 §7.8: nor is an Upgrade of a 1.0 client heeded.
        upgrade: seen.upgrade && version == Version::Http11 && framing == Framing::None,
        size_bytes,
        peer: None,
        is_secured: rules.is_secured,
    })
}

/// The fields that decide framing and the connection.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    host: bool,
    length: Option<u64>,
    transfer_encoding: bool,
    chunked_last: bool,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    expect_continue: bool,
}

impl Seen {
    pub(crate) fn take(
        &mut self,
        field: &httparse::Header<'_>,
        rules: Rules,
    ) -> Result<(), Reject> {
        let (name, value) = (field.name, field.value);
        // By length first: few of a head's fields are of interest here.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => self.take_host(value, rules),
            6 if name.eq_ignore_ascii_case("expect") => self.take_expect(value),
            10 if name.eq_ignore_ascii_case("connection") => {
                for token in tokens(value) {
                    self.close |= token.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                    self.upgrade |= token.eq_ignore_ascii_case(b"upgrade");
                }
                Ok(())
            }
            14 if name.eq_ignore_ascii_case("content-length") => self.take_length(value),
            17 if name.eq_ignore_ascii_case("transfer-encoding") => self.take_coding(value),
            14 | 17 if is_framing_in_disguise(name) => {
                Err(Reject::bad("a field's name is that of a framing field but for its hyphen"))
            }
            _ => Ok(()),
        }
    }

    /// §3.2: a request with more than one Host, or an invalid one, gets 400.
    fn take_host(&mut self, value: &[u8], rules: Rules) -> Result<(), Reject> {
        if std::mem::replace(&mut self.host, true) {
            return Err(Reject::bad("there is more than one Host"));
        }
        match is_host(value, rules) {
            true => Ok(()),
            false => Err(Reject::bad("Host is no host")),
        }
    }

    /// RFC 9110 §10.1.1: a list (of one, as a rule); a member that is not met gets 417. Empty
    /// members do not count (§5.6.1.2).
    fn take_expect(&mut self, value: &[u8]) -> Result<(), Reject> {
        for member in tokens(value).filter(|member| !member.is_empty()) {
            if !member.eq_ignore_ascii_case(b"100-continue") {
                return Err(Reject::expectation());
            }
            self.expect_continue = true;
        }
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

    /// §6.1, §7: `chunked` last and once; another coding is not implemented. Empty members do not
    /// count (RFC 9110 §5.6.1.2), but a list of these alone says nothing, and is refused.
    fn take_coding(&mut self, value: &[u8]) -> Result<(), Reject> {
        self.transfer_encoding = true;
        for token in tokens(value).filter(|token| !token.is_empty()) {
            if self.chunked_last {
                return Err(Reject::bad("chunked is not the last transfer coding"));
            }
            match token.eq_ignore_ascii_case(b"chunked") {
                true => self.chunked_last = true,
                false => {
                    return Err(Reject::not_implemented("the only transfer coding is chunked"));
                }
            }
        }
        Ok(())
    }

    /// What no further field can put right.
    pub(crate) fn check_conflicts(&self, version: Version) -> Result<(), Reject> {
        match (self.transfer_encoding, self.length) {
            // §6.1: a server may refuse both together, and should where smuggling is a risk.
            (true, Some(_)) => {
                Err(Reject::bad("Content-Length and Transfer-Encoding exclude each other"))
            }
            // §6.1: Transfer-Encoding in a 1.0 request means faulty framing.
            (true, None) if version == Version::Http10 => {
                Err(Reject::bad("HTTP/1.0 has no Transfer-Encoding"))
            }
            _ => Ok(()),
        }
    }

    fn framing(&self) -> Result<Framing, Reject> {
        match (self.transfer_encoding, self.length) {
            // §6.3: not chunked at the end: the length cannot be found.
            (true, _) if !self.chunked_last => {
                Err(Reject::bad("the last transfer coding is not chunked"))
            }
            (true, _) => Ok(Framing::Chunked),
            (false, Some(0)) | (false, None) => Ok(Framing::None),
            (false, Some(length)) => Ok(Framing::Length(length)),
        }
    }

    /// §3.2: a 1.1 request without Host gets 400.
    fn check_host(&self, version: Version) -> Result<(), Reject> {
        match version == Version::Http11 && !self.host {
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

/// `Content_Length`: a token like any other, which CGI and its heirs take for the real one, so that
/// what stands behind this server would see another message than it does.
pub(crate) fn is_framing_in_disguise(name: &str) -> bool {
    name.contains('_') && {
        let name = name.replace('_', "-");
        name.eq_ignore_ascii_case("content-length")
            || name.eq_ignore_ascii_case("transfer-encoding")
    }
}

pub(crate) fn map_error(error: httparse::Error, head: &[u8]) -> Reject {
    match error {
        httparse::Error::Version if names_a_version(head) => Reject::version(),
        httparse::Error::Version => Reject::bad("the request line is no request line"),
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

/// RFC 9112 §2.3: whether a request line ends in a version, if one that is not spoken here. Any
/// other line is malformed (§3), for instance one with a space in its target.
fn names_a_version(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or(head);
    let mut words = line.split(|&byte| byte == b' ').skip(2);
    let version = words.next().and_then(|word| word.strip_prefix(b"HTTP/"));
    let digits = |version: &[u8]| match version {
        [major, b'.', minor] => major.is_ascii_digit() && minor.is_ascii_digit(),
        _ => false,
    };
    version.is_some_and(digits) && words.next().is_none()
}

/// RFC 9113 §8.2.1: such a field is malformed; in HTTP/1.1 they are no part of the value.
#[cfg(feature = "http2")]
pub(crate) fn has_outer_blanks(value: &http::HeaderValue) -> bool {
    let bytes = value.as_bytes();
    matches!(bytes.first(), Some(b' ' | b'\t')) || matches!(bytes.last(), Some(b' ' | b'\t'))
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
