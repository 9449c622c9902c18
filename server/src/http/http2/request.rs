//! The head of a request: the rules that hyper leaves to its user, which are those of HTTP/1.1.
//!
//! What is malformed in the sense of RFC 9113 §8.1.1 (fields of the connection, upper-case names,
//! pseudo-fields out of place, a body that belies its Content-Length) never comes here.

use crate::codec::head::has_outer_blanks;
use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method};

use crate::codec::head::{HeadLimits, is_framing_in_disguise, tokens};
use crate::codec::head_scan::is_long_method;
use crate::codec::reject::Reject;
use crate::codec::target::{Target, is_host};

/// Checks a head, and gives applications what they know from HTTP/1.1: a Host, and one Cookie.
pub(crate) fn admit(parts: &mut Parts, limits: &HeadLimits) -> Result<(), Reject> {
    check_target(parts, limits)?;
    check_fields(&parts.headers, limits)?;
    agree_on_host(parts, limits)?;
    join_cookies(&mut parts.headers)
}

fn check_target(parts: &Parts, limits: &HeadLimits) -> Result<(), Reject> {
    let method = parts.method.as_str();
    if is_long_method(method) {
        return Err(Reject::not_implemented("no such method"));
    }
    if parts.method == Method::CONNECT {
        return Err(Reject::not_implemented("this server is no proxy: CONNECT is not served"));
    }
    let target = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
    if target.len() > limits.target_length_max_bytes {
        return Err(Reject::target_too_long());
    }
    // RFC 9113 §8.3.1: the path with its query, or `*`.
    match Target::parse(method, target, limits.rules())? {
        Target::Origin(_) | Target::Asterisk => Ok(()),
        Target::Absolute { .. } => Err(Reject::bad("the path is no path")),
    }
}

fn check_fields(fields: &HeaderMap, limits: &HeadLimits) -> Result<(), Reject> {
    if fields.len() > limits.header_count_max {
        return Err(Reject::head_too_large("there are more fields than this server takes"));
    }
    if fields.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(Reject::bad("Content-Length is no single number"));
    }
    if fields.keys().any(|name| is_framing_in_disguise(name.as_str())) {
        return Err(Reject::bad("a field's name is that of a framing field but for its hyphen"));
    }
    if fields.values().any(has_outer_blanks) {
        return Err(Reject::bad("a field's value begins or ends with white space"));
    }
    // RFC 9110 §10.1.1: a member that is not met gets 417. Empty ones do not count (§5.6.1.2).
    match expected(fields).all(|member| member.is_empty() || is_continue(member)) {
        true => Ok(()),
        false => Err(Reject::expectation()),
    }
}

/// Whether the client waits for `100 Continue` before it sends the body.
pub(crate) fn expects_continue(fields: &HeaderMap) -> bool {
    expected(fields).any(is_continue)
}

fn expected(fields: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    fields.get_all(EXPECT).iter().flat_map(|value| tokens(value.as_bytes()))
}

fn is_continue(member: &[u8]) -> bool {
    member.eq_ignore_ascii_case(b"100-continue")
}

/// RFC 9113 §8.3.1: `:authority` and Host say the same where both are; a request has one of them, as
/// what it is for would not be known. An application finds it in Host, as HTTP/1.1 has it.
fn agree_on_host(parts: &mut Parts, limits: &HeadLimits) -> Result<(), Reject> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Reject::bad("there is more than one Host"));
    }
    let authority = parts.uri.authority().map(Authority::as_str);
    for said in authority.map(str::as_bytes).into_iter().chain(host.map(HeaderValue::as_bytes)) {
        if !is_host(said, limits.rules()) {
            return Err(Reject::bad("the authority, or Host, is no host"));
        }
    }
    match (authority, host) {
        (None, None) => Err(Reject::bad("there is neither an authority nor Host")),
        (None, Some(_)) => Ok(()),
        (Some(authority), Some(host)) => {
            match authority.as_bytes().eq_ignore_ascii_case(host.as_bytes()) {
                true => Ok(()),
                false => Err(Reject::bad("Host is another than the authority")),
            }
        }
        (Some(authority), None) => {
            let host = HeaderValue::from_str(authority);
            let host = host.map_err(|_| Reject::bad("the authority is no host"))?;
            parts.headers.insert(HOST, host);
            Ok(())
        }
    }
}

/// RFC 9113 §8.2.3: a client may send its cookies one by one; who handles them expects one field.
fn join_cookies(fields: &mut HeaderMap) -> Result<(), Reject> {
    let crumbs: Vec<_> = fields.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1 {
        let joined = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]));
        fields.insert(COOKIE, joined.map_err(|_| Reject::bad("a field is not valid"))?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::StatusCode;

    const LIMITS: HeadLimits = HeadLimits {
        size_max_bytes: 1000,
        header_count_max: 4,
        target_length_max_bytes: 20,
        is_secured: true,
        takes_raw_utf8: false,
    };

    fn admitted(uri: &str, fields: &[(&str, &str)]) -> Result<Parts, StatusCode> {
        admitted_as("GET", uri, fields)
    }

    fn admitted_as(method: &str, uri: &str, fields: &[(&str, &str)]) -> Result<Parts, StatusCode> {
        let request = Request::builder().method(method).uri(uri);
        let request =
            fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let mut parts = request.body(()).unwrap().into_parts().0;
        admit(&mut parts, &LIMITS).map_err(|reject| reject.status())?;
        Ok(parts)
    }

    #[test]
    fn authority_and_host_are_one() {
        let host = |uri, fields: &[_]| {
            admitted(uri, fields).map(|parts| parts.headers[HOST].to_str().unwrap().to_owned())
        };
        let bad = Err(StatusCode::BAD_REQUEST);
        assert_eq!(host("https://h:1/a", &[]), Ok("h:1".to_owned()));
        assert_eq!(host("https://h:1/a", &[("host", "H:1")]), Ok("H:1".to_owned()));
        assert_eq!(host("/a", &[("host", "h")]), Ok("h".to_owned()));
        assert_eq!(host("https://h/a", &[("host", "other")]), bad);
        assert_eq!(host("https://h/a", &[("host", "h"), ("host", "h")]), bad);
        assert_eq!(host("https://user@h/a", &[]), bad);
        assert_eq!(host("/a", &[("host", "no host")]), bad);
        assert_eq!(host("/a", &[]), bad);
    }

    #[test]
    fn what_http1_refuses_is_refused() {
        let status = |method, uri, fields: &[_]| admitted_as(method, uri, fields).err();
        let status = |method, uri, fields: &[_]| status(method, uri, fields).map(|s| s.as_u16());
        let long = format!("https://h/{}", "a".repeat(20));
        let many = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1")];
        let length = [("content-length", "1"), ("content-length", "1")];
        for (method, uri, fields, expected) in [
            ("GET", "https://h/a?b=%20", &[][..], None),
            ("OPTIONS", "*", &[("host", "h")], None),
            ("GET", "*", &[("host", "h")], Some(400)),
            ("GET", "https://h/%00", &[], Some(400)),
            ("GET", "https://h/%0g", &[], None),
            ("GET", &long, &[], Some(414)),
            ("CONNECT", "h:80", &[], Some(501)),
            (&"M".repeat(100), "https://h/", &[], Some(501)),
            ("GET", "https://h/", &many, Some(431)),
            ("GET", "https://h/", &length, Some(400)),
            ("GET", "https://h/", &[("content_length", "1")], Some(400)),
            ("GET", "https://h/", &[("a", " b")], Some(400)),
            ("GET", "https://h/", &[("a", "b\t")], Some(400)),
            ("GET", "https://h/", &[("a", "b c"), ("d", "")], None),
            ("GET", "https://h/", &[("expect", "100-continue")], None),
            ("GET", "https://h/", &[("expect", "miracles")], Some(417)),
        ] {
            assert_eq!(status(method, uri, fields), expected, "{method} {uri} {fields:?}");
        }
    }

    #[test]
    fn cookies_are_joined() {
        let parts = admitted("https://h/", &[("cookie", "a=1"), ("cookie", "b=2")]).unwrap();
        let cookies: Vec<_> = parts.headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
    }
}
