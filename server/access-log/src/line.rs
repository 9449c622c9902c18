//! A line as it comes about: what the request says at once, and holes for what the answer will.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, Request, StatusCode, header};

use crate::escape::Escape;
use crate::format::{AtEnd, Format, Item, OfAnswer, OfRequest};
use sidecore::{PeerAddress, Refused, RequestHead, Secured, Target, Version};

/// So much of one text of a client's is logged; a field may be as long as its head. Escaped it is
/// up to six times that, so a line is bounded by the texts of its format.
const TEXT_MAX_BYTES: usize = 2 * 1024;

/// A line with holes.
#[derive(Default)]
pub(crate) struct Line {
    text: Vec<u8>,
    /// Where in `text` which item of the format goes, in order.
    holes: Vec<(usize, usize)>,
}

/// A request, as a log sees it.
pub(crate) trait Asked {
    /// The request line, as it came or as it would have come, of bounded length.
    fn line(&self) -> Cow<'_, [u8]>;
    /// Whether it came over TLS, or says so itself, which it may where it has a scheme.
    fn is_https(&self) -> bool;
    fn method(&self) -> &[u8];
    fn path(&self) -> &[u8];
    fn query(&self) -> Option<&[u8]>;
    fn protocol(&self) -> &[u8];
    fn field(&self, name: &HeaderName) -> Option<&[u8]>;
    fn peer(&self) -> Option<SocketAddr>;
}

impl Line {
    /// Writes what is known of the request.
    pub(crate) fn begin(format: &Format, asked: &impl Asked, now: SystemTime) -> Self {
        let mut line = Line { text: Vec::with_capacity(256), holes: Vec::new() };
        for (index, item) in format.items.iter().enumerate() {
            match item {
                Item::Text(text) => line.text.extend_from_slice(text),
                Item::OfRequest(item) => of_request(&mut line.text, item, format, asked, now),
                Item::OfAnswer(_) | Item::AtEnd(_) => line.holes.push((line.text.len(), index)),
            }
        }
        line
    }

    /// Fills in what is known with the answer's head; with None there is no answer.
    pub(crate) fn answer(&mut self, format: &Format, answer: Option<(StatusCode, &HeaderMap)>) {
        self.fill(format, |out, item| match item {
            Item::OfAnswer(OfAnswer::Status) => {
                match (answer, format.escape) {
                    (Some((status, _)), _) => out.extend_from_slice(status.as_str().as_bytes()),
                    (None, Escape::Apache) => out.push(b'-'),
                    (None, Escape::Json) => out.extend_from_slice(b"null"),
                }
                true
            }
            Item::OfAnswer(OfAnswer::Field(name)) => {
                let value = answer.and_then(|(_, fields)| fields.get(name));
                text(out, format.escape, value.map(|value| value.as_bytes()));
                true
            }
            _ => false,
        });
    }

    /// Fills in the rest; the line with its end.
    pub(crate) fn end(mut self, format: &Format, bytes: u64, elapsed: Duration) -> Vec<u8> {
        self.answer(format, None);
        self.fill(format, |out, item| {
            let Item::AtEnd(item) = item else { return false };
            let mut number = String::new();
            // Writing to a string cannot fail.
            let _ = match item {
                AtEnd::BytesOrDash if bytes == 0 => write!(number, "-"),
                AtEnd::Bytes | AtEnd::BytesOrDash => write!(number, "{bytes}"),
                AtEnd::Microseconds => write!(number, "{}", elapsed.as_micros()),
                AtEnd::Milliseconds => write!(number, "{}", elapsed.as_millis()),
                AtEnd::Seconds => write!(number, "{}", elapsed.as_secs()),
            };
            out.extend_from_slice(number.as_bytes());
            true
        });
        self.text.push(b'\n');
        self.text
    }

    /// Fills the holes for which `write` says that it has written.
    fn fill(&mut self, format: &Format, mut write: impl FnMut(&mut Vec<u8>, &Item) -> bool) {
        if self.holes.is_empty() {
            return;
        }
        let old = std::mem::take(self);
        self.text.reserve(old.text.len() + 32);
        let mut copied = 0;
        for (at, index) in old.holes {
            self.text.extend_from_slice(&old.text[copied..at]);
            copied = at;
            if !write(&mut self.text, &format.items[index]) {
                self.holes.push((self.text.len(), index));
            }
        }
        self.text.extend_from_slice(&old.text[copied..]);
    }
}

fn of_request(
    out: &mut Vec<u8>,
    item: &OfRequest,
    format: &Format,
    asked: &impl Asked,
    now: SystemTime,
) {
    let (owned, marked): (Option<String>, Vec<u8>);
    let value: Option<&[u8]> = match item {
        OfRequest::PeerAddress => {
            owned = asked.peer().map(|peer| peer.ip().to_canonical().to_string());
            owned.as_ref().map(String::as_bytes)
        }
        OfRequest::PeerPort => {
            owned = asked.peer().map(|peer| peer.port().to_string());
            owned.as_ref().map(String::as_bytes)
        }
        OfRequest::Method => Some(asked.method()),
        OfRequest::Line => match &*asked.line() {
            b"" => None,
            line => return format.escape.text(out, line),
        },
        OfRequest::Path => Some(asked.path()),
        // Without a query it is nothing, and no dash: it goes behind a path.
        OfRequest::Query => match asked.query() {
            None => return,
            Some(query) => {
                marked = [b"?", query].concat();
                Some(&*marked)
            }
        },
        OfRequest::Protocol => Some(asked.protocol()),
        OfRequest::Host => asked.field(&header::HOST).map(|host| split_host(host).0),
        OfRequest::Port => {
            let said = asked.field(&header::HOST).and_then(|host| split_host(host).1);
            Some(said.unwrap_or(if asked.is_https() { b"443" } else { b"80" }))
        }
        OfRequest::Field(name) => asked.field(name),
        OfRequest::Time(time) => {
            let mut written = String::new();
            time.write(&mut written, now);
            return out.extend_from_slice(written.as_bytes());
        }
    };
    text(out, format.escape, value);
}

/// A text of the client's, or a dash for none; a long one is cut.
fn text(out: &mut Vec<u8>, escape: Escape, value: Option<&[u8]>) {
    match value {
        None | Some(b"") => out.push(b'-'),
        Some(value) => escape.text(out, cut(value)),
    }
}

/// `host:port` and `[::1]:port` in their parts.
fn split_host(host: &[u8]) -> (&[u8], Option<&[u8]>) {
    let colon = host.iter().rposition(|&byte| byte == b':');
    match colon.filter(|&colon| !host[colon..].contains(&b']')) {
        Some(colon) => (&host[..colon], Some(&host[colon + 1..])),
        None => (host, None),
    }
}

/// A request line of its parts, each cut by itself: behind a long target there is still a protocol.
fn line_of(method: &[u8], target: &[u8], protocol: &[u8]) -> Cow<'static, [u8]> {
    [cut(method), cut(target), protocol].join(&b' ').into()
}

fn cut(text: &[u8]) -> &[u8] {
    &text[..text.len().min(TEXT_MAX_BYTES)]
}

impl<B> Asked for Request<B> {
    fn line(&self) -> Cow<'_, [u8]> {
        let (method, protocol) = (Asked::method(self), self.protocol());
        // HTTP/2 has no absolute form: scheme and authority are there with each request.
        let is_origin = self.uri().scheme().is_none() || self.version() == http::Version::HTTP_2;
        match self.uri().path_and_query() {
            Some(target) if is_origin => line_of(method, target.as_str().as_bytes(), protocol),
            _ => line_of(method, self.uri().to_string().as_bytes(), protocol),
        }
    }

    fn is_https(&self) -> bool {
        self.extensions().get::<Secured>().is_some()
            || self.uri().scheme() == Some(&http::uri::Scheme::HTTPS)
    }

    fn method(&self) -> &[u8] {
        Request::method(self).as_str().as_bytes()
    }

    fn path(&self) -> &[u8] {
        self.uri().path().as_bytes()
    }

    fn query(&self) -> Option<&[u8]> {
        self.uri().query().map(str::as_bytes)
    }

    fn protocol(&self) -> &[u8] {
        match self.version() {
            http::Version::HTTP_10 => b"HTTP/1.0",
            http::Version::HTTP_2 => b"HTTP/2.0",
            http::Version::HTTP_3 => b"HTTP/3.0",
            _ => b"HTTP/1.1",
        }
    }

    fn field(&self, name: &HeaderName) -> Option<&[u8]> {
        self.headers().get(name).map(|value| value.as_bytes())
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.extensions().get().map(|PeerAddress(peer)| *peer)
    }
}

impl Asked for RequestHead<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        let target = self.target.path_and_query();
        match self.target.authority() {
            None => line_of(Asked::method(self), target.as_bytes(), self.protocol()),
            Some(authority) => {
                let is_https = matches!(self.target, Target::Absolute { is_https: true, .. });
                let scheme = if is_https { "https" } else { "http" };
                let target = format!("{scheme}://{authority}{target}");
                line_of(Asked::method(self), target.as_bytes(), self.protocol())
            }
        }
    }

    fn is_https(&self) -> bool {
        self.is_secured
    }

    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn path(&self) -> &[u8] {
        self.target.path().as_bytes()
    }

    fn query(&self) -> Option<&[u8]> {
        self.target.path_and_query().split_once('?').map(|(_, query)| query.as_bytes())
    }

    fn protocol(&self) -> &[u8] {
        match self.version {
            Version::Http10 => b"HTTP/1.0",
            Version::Http11 => b"HTTP/1.1",
        }
    }

    fn field(&self, name: &HeaderName) -> Option<&[u8]> {
        let mut fields = self.fields.iter();
        fields.find(|field| field.name.eq_ignore_ascii_case(name.as_str())).map(|field| field.value)
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }
}

/// What is known of a request that was refused: its line as it came, whole or not, and its parts
/// as far as they are told apart. Its fields are not read: they may be what it was refused for.
impl Asked for Refused<'_> {
    fn line(&self) -> Cow<'_, [u8]> {
        cut(Refused::line(self)).into()
    }

    fn is_https(&self) -> bool {
        self.is_secured
    }

    fn method(&self) -> &[u8] {
        part(self, 0).unwrap_or_default()
    }

    fn path(&self) -> &[u8] {
        let target = part(self, 1).unwrap_or_default();
        target.split(|&byte| byte == b'?').next().unwrap_or_default()
    }

    fn query(&self) -> Option<&[u8]> {
        let target = part(self, 1)?;
        target.iter().position(|&byte| byte == b'?').map(|at| &target[at + 1..])
    }

    fn protocol(&self) -> &[u8] {
        part(self, 2).unwrap_or_default()
    }

    fn field(&self, _: &HeaderName) -> Option<&[u8]> {
        None
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }
}

/// A part of the request line, between its spaces.
fn part<'a>(refused: &Refused<'a>, index: usize) -> Option<&'a [u8]> {
    refused.line().splitn(3, |&byte| byte == b' ').nth(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn line(format: Format, answer: Option<StatusCode>, bytes: u64) -> String {
        let mut request = Request::get("/a%20b?c='d'")
            .header("host", "h.example:8080")
            .header("user-agent", "x\"\\\t")
            .body(())
            .unwrap();
        request.extensions_mut().insert(PeerAddress("192.0.2.7:1234".parse().unwrap()));
        let mut line = Line::begin(&format, &request, UNIX_EPOCH);
        let mut fields = HeaderMap::new();
        fields.insert("x-a", "1".parse().unwrap());
        if let Some(status) = answer {
            line.answer(&format, Some((status, &fields)));
        }
        String::from_utf8(line.end(&format, bytes, Duration::from_micros(1_234_567))).unwrap()
    }

    #[test]
    fn formats_write_what_their_directives_say() {
        let check = |format: &str, expected: &str| {
            let got = line(Format::parse(format).unwrap(), Some(StatusCode::OK), 7);
            assert_eq!(got, format!("{expected}\n"), "{format}");
        };
        check("%h %a %{remote}p", "192.0.2.7 192.0.2.7 1234");
        check("%l %u %% 100%%", "- - % 100%");
        check("%m %U%q %H", "GET /a%20b?c='d' HTTP/1.1");
        check("%v %V %p", "h.example h.example 8080");
        check("%s %>s %<s %b %B", "200 200 200 7 7");
        check("%D %T %{ms}T %{us}T %{s}T", "1234567 1 1234 1234567 1");
        check("%{sec}t %t", "0 [01/Jan/1970:00:00:00 +0000]");
        check("%{X-A}o %{x-b}o %{X-C}i", "1 - -");
        check("%>s%D%>s", "2001234567200");
    }

    /// An absolute target is logged as it was sent; in HTTP/2 there is none.
    #[test]
    fn the_line_of_a_request_is_the_same_in_http2() {
        let check = |version, expected: &str| {
            let request = Request::get("https://h/a?b").header("host", "h").version(version);
            let format = Format::parse("%r %p").unwrap();
            let line = Line::begin(&format, &request.body(()).unwrap(), UNIX_EPOCH);
            let line = line.end(&format, 0, Duration::ZERO);
            assert_eq!(String::from_utf8(line).unwrap(), format!("{expected}\n"));
        };
        check(http::Version::HTTP_2, "GET /a?b HTTP/2.0 443");
        check(http::Version::HTTP_11, "GET https://h/a?b HTTP/1.1 443");
    }

    #[test]
    fn a_line_without_an_answer_says_so() {
        let common = line(Format::common(), None, 0);
        assert!(common.ends_with("HTTP/1.1\" - -\n"), "{common}");
        let json = line(Format::json(), None, 0);
        let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        assert!(json["status"].is_null() && json["bytes"] == 0, "{json}");
        assert_eq!(json["user_agent"], "x\"\\\t");
        assert_eq!(json["path"], "/a%20b");
    }

    #[test]
    fn a_long_text_is_cut_and_the_line_goes_on() {
        let request = Request::get("/").header("referer", "r".repeat(9000)).body(()).unwrap();
        let format = Format::parse("%{Referer}i %>s").unwrap();
        let line = Line::begin(&format, &request, UNIX_EPOCH).end(&format, 0, Duration::ZERO);
        assert_eq!(line.len(), TEXT_MAX_BYTES + " -\n".len());
    }

    #[test]
    fn hosts_are_split_from_their_ports() {
        assert_eq!(split_host(b"h:80"), (&b"h"[..], Some(&b"80"[..])));
        assert_eq!(split_host(b"h"), (&b"h"[..], None));
        assert_eq!(split_host(b"[::1]:8"), (&b"[::1]"[..], Some(&b"8"[..])));
        assert_eq!(split_host(b"[::1]"), (&b"[::1]"[..], None));
    }
}
