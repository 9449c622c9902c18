//! A request as a log sees it, whatever it was read from.

use std::borrow::Cow;
use std::net::SocketAddr;

use http::uri::Scheme;
use http::{HeaderName, Request, Version};

use crate::server;

/// So much of one text of a client's is logged; a field may be as long as its head. Escaped it is
/// up to six times that, so a line is bounded by the texts of its format.
pub(crate) const TEXT_MAX_BYTES: usize = 2 * 1024;

/// A request, as a log sees it.
pub(crate) trait RequestInfo {
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

/// A request line of its parts, each cut by itself: behind a long target there is still a protocol.
pub(crate) fn line_of(method: &[u8], target: &[u8], protocol: &[u8]) -> Cow<'static, [u8]> {
    [cut(method), cut(target), protocol].join(&b' ').into()
}

/// What of a text is logged.
pub(crate) fn cut(text: &[u8]) -> &[u8] {
    &text[..text.len().min(TEXT_MAX_BYTES)]
}

/// `host:port` and `[::1]:port` in their parts.
pub(crate) fn split_host(host: &[u8]) -> (&[u8], Option<&[u8]>) {
    let colon = host.iter().rposition(|&byte| byte == b':');
    match colon.filter(|&colon| !host[colon..].contains(&b']')) {
        Some(colon) => (&host[..colon], Some(&host[colon + 1..])),
        None => (host, None),
    }
}

impl<B> RequestInfo for Request<B> {
    fn line(&self) -> Cow<'_, [u8]> {
        let (method, protocol) = (RequestInfo::method(self), self.protocol());
        // HTTP/2 has no absolute form: scheme and authority are there with each request.
        let is_origin = self.uri().scheme().is_none() || self.version() == Version::HTTP_2;
        match self.uri().path_and_query() {
            Some(target) if is_origin => line_of(method, target.as_str().as_bytes(), protocol),
            _ => line_of(method, self.uri().to_string().as_bytes(), protocol),
        }
    }

    fn is_https(&self) -> bool {
        server::is_secured(self.extensions()) || self.uri().scheme() == Some(&Scheme::HTTPS)
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
            Version::HTTP_10 => b"HTTP/1.0",
            Version::HTTP_2 => b"HTTP/2.0",
            Version::HTTP_3 => b"HTTP/3.0",
            _ => b"HTTP/1.1",
        }
    }

    fn field(&self, name: &HeaderName) -> Option<&[u8]> {
        self.headers().get(name).map(|value| value.as_bytes())
    }

    fn peer(&self) -> Option<SocketAddr> {
        server::peer_address(self.extensions())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::format::Format;
    use crate::line::Line;

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
        check(Version::HTTP_2, "GET /a?b HTTP/2.0 443");
        check(Version::HTTP_11, "GET https://h/a?b HTTP/1.1 443");
    }

    #[test]
    fn hosts_are_split_from_their_ports() {
        assert_eq!(split_host(b"h:80"), (&b"h"[..], Some(&b"80"[..])));
        assert_eq!(split_host(b"h"), (&b"h"[..], None));
        assert_eq!(split_host(b"[::1]:8"), (&b"[::1]"[..], Some(&b"8"[..])));
        assert_eq!(split_host(b"[::1]"), (&b"[::1]"[..], None));
    }
}
