//! The request target (RFC 9112 §3.2) and the Host it is for (§3.2, RFC 9110 §7.2).

use crate::codec::reject::Reject;

/// What `http::Uri` holds at most.
pub(crate) const URI_MAX_BYTES: usize = 65_534;

/// What a target and a Host may be, beyond their grammar.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The connection is secured: absolute targets may be https ones.
    pub(crate) is_secured: bool,
    /// Characters outside ASCII are taken as they are.
    pub(crate) takes_raw_utf8: bool,
}

/// A target in one of its four forms, its characters checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `/path?query` (§3.2.1).
    Origin(&'a str),
    /// `http://authority/path?query` (§3.2.2); the authority takes the place of Host.
    Absolute {
        /// `host` or `host:port`.
        authority: &'a str,
        /// From the path on; empty where the target ends with the authority.
        path_and_query: &'a str,
        /// The scheme is https.
        is_https: bool,
    },
    /// `*`, of OPTIONS only (§3.2.4).
    Asterisk,
}

impl<'a> Target<'a> {
    /// Sorts and checks a target. The authority form is CONNECT's alone, which is not served.
    ///
    /// A fragment is cut off, as a proxy would do: it is no part of a target (§3.2), and http.client,
    /// node's `http` and Ruby send it all the same.
    pub(crate) fn parse(method: &str, target: &'a str, rules: Rules) -> Result<Self, Reject> {
        let target = target.split_once('#').map_or(target, |(target, _)| target);
        let bytes = target.as_bytes();
        if bytes == b"*" {
            return match method {
                "OPTIONS" => Ok(Target::Asterisk),
                "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "CONNECT" | "TRACE" | "PATCH" => {
                    Err(Reject::bad("the target `*` is for OPTIONS only"))
                }
                // Other protocols' methods, such as M-SEARCH, may use it; none is served here.
                _ => Err(Reject::not_implemented("the target `*` is served for OPTIONS only")),
            };
        }
        if method == "CONNECT" {
            let has_port = is_host(bytes, rules) && target.contains(':');
            return Err(match has_port {
                true => Reject::not_implemented("this server is no proxy: CONNECT is not served"),
                false => Reject::bad("the target of CONNECT is a host and a port"),
            });
        }
        if bytes.first() == Some(&b'/') {
            check_path_and_query(bytes, rules)?;
            return Ok(Target::Origin(target));
        }
        let Some((scheme, after_scheme)) = split_scheme(target) else {
            return Err(Reject::bad("the target is neither a path nor an http URI"));
        };
        // RFC 9110 §7.4: an https resource is not served on a connection that is not secured.
        let is_https = scheme.eq_ignore_ascii_case("https");
        if is_https && !rules.is_secured {
            return Err(Reject::misdirected());
        }
        let end = after_scheme.find(['/', '?']).unwrap_or(after_scheme.len());
        let (authority, path_and_query) = after_scheme.split_at(end);
        if authority.is_empty() || !is_host(authority.as_bytes(), rules) {
            // §3.2: an http URI with an empty host is invalid; userinfo is
            // refused (RFC 9110 §4.2.4).
            return Err(Reject::bad("the target's authority is no host"));
        }
        check_path_and_query(path_and_query.as_bytes(), rules)?;
        Ok(Target::Absolute { authority, path_and_query, is_https })
    }

    /// What a router matches: the path with its query. Of an absolute target without a path it is
    /// the query alone.
    pub fn path_and_query(&self) -> &'a str {
        match self {
            Target::Origin(target) => target,
            Target::Absolute { path_and_query: "", .. } => "/",
            Target::Absolute { path_and_query, .. } => path_and_query,
            Target::Asterisk => "*",
        }
    }

    /// The authority of an absolute target, which takes the place of Host.
    pub fn authority(&self) -> Option<&'a str> {
        match self {
            Target::Absolute { authority, .. } => Some(authority),
            Target::Origin(_) | Target::Asterisk => None,
        }
    }

    /// The path alone.
    pub fn path(&self) -> &'a str {
        let all = self.path_and_query();
        match all.find('?') {
            // RFC 9110 §4.2.3: an empty path is the same as `/`.
            Some(0) => "/",
            Some(at) => &all[..at],
            None => all,
        }
    }
}

/// The scheme of an http or https URI, and what follows its `//` (RFC 9110 §4.2).
fn split_scheme(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    let known = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    known.then_some((scheme, rest))
}

/// What may stand in a path and a query.
///
/// RFC 3986 (§3.3, §3.4) has `pchar`, `/`, `?`, and `%` before two hexadecimal digits. Taken as well,
/// since honest clients send them raw and other servers take them: a `%` before anything else, and
/// `"<>[\]^`{|}`. (Browsers, Go, node, curl, Python, PHP, Java; nginx's `proxy_pass` with a URI turns
/// `%5B` into `[`.) None of them ends a target, a line or a field, so no one can read another message
/// into them. Refused are controls, and bytes above 127 unless `takes_raw_utf8`; and `%00` in a
/// path, which ends a file's name for some.
fn check_path_and_query(bytes: &[u8], rules: Rules) -> Result<(), Reject> {
    let mut in_query = false;
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'?' => in_query = true,
            b'%' if !in_query && bytes[at + 1..].starts_with(b"00") => {
                return Err(Reject::bad("the path has an encoded NUL"));
            }
            b'!'..=b'~' => {}
            0x80.. if rules.takes_raw_utf8 => {}
            0x80.. => {
                return Err(Reject::bad(
                    "the target has a character outside ASCII, which must be percent-encoded \
                     (RFC 3986 section 2.1)",
                ));
            }
            _ => return Err(Reject::bad("the target has a character that must be encoded")),
        }
    }
    Ok(())
}

/// A path and its query as `http` types take them: what these do not is percent-encoded.
pub(crate) fn encode_path_and_query(target: &str) -> String {
    let mut encoded = String::with_capacity(target.len() + 16);
    for &byte in target.as_bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'`' | 0x80.. => encoded.push_str(&format!("%{byte:02X}")),
            byte => encoded.push(char::from(byte)),
        }
    }
    encoded
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2): a name, an IPv4 address or `[IPv6]`.
///
/// An empty value is legal in a Host field: the target has no authority then (RFC 9112 §3.2).
pub(crate) fn is_host(value: &[u8], rules: Rules) -> bool {
    let (host_is_valid, port) = match value {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|&byte| byte == b']') else { return false };
            (is_ipv6(&rest[..end]), &rest[end + 1..])
        }
        _ => {
            let colon = value.iter().position(|&byte| byte == b':').unwrap_or(value.len());
            let (name, port) = value.split_at(colon);
            (is_name(name, rules) && (!name.is_empty() || port.is_empty()), port)
        }
    };
    host_is_valid && is_port(port)
}

/// An address, with a zone (RFC 6874: `fe80::1%25eth0`) where it has one.
fn is_ipv6(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (address, zone) = text.split_once("%25").unwrap_or((text, "0"));
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    address.parse::<std::net::Ipv6Addr>().is_ok()
        && !zone.is_empty()
        && zone.bytes().all(is_unreserved)
}

/// `reg-name` (RFC 3986 §3.2.2) without the comma, which would be two hosts in one field. A `%` is
/// refused too: servers and caches do not agree on what it decodes to.
fn is_name(bytes: &[u8], rules: Rules) -> bool {
    let valid = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || b"-._~!$&'()*+;=".contains(byte)
            || rules.takes_raw_utf8 && *byte >= 0x80
    };
    bytes.iter().all(valid) && std::str::from_utf8(bytes).is_ok()
}

/// Nothing, or a colon and digits, which may be none (RFC 3986 §3.2.3), of a TCP port.
fn is_port(bytes: &[u8]) -> bool {
    match bytes {
        [] | [b':'] => true,
        [b':', digits @ ..] => {
            let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<u16>().ok());
            digits.iter().all(u8::is_ascii_digit) && number.is_some()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Rules = Rules { is_secured: false, takes_raw_utf8: false };
    const LENIENT: Rules = Rules { takes_raw_utf8: true, ..STRICT };

    #[test]
    fn what_is_outside_ascii_is_taken_where_that_is_wanted() {
        for target in ["/\u{e9}", "/a?\u{e9}", "http://h\u{e9}/"] {
            assert!(Target::parse("GET", target, STRICT).is_err(), "{target}");
            assert!(Target::parse("GET", target, LENIENT).is_ok(), "{target}");
        }
        assert!(is_host("b\u{fc}cher.example".as_bytes(), LENIENT));
        assert!(!is_host(b"b\xfccher.example", LENIENT));
    }

    #[test]
    fn what_http_types_do_not_take_is_encoded_for_them() {
        for (target, encoded) in [
            ("/a<b>`c?d=\"<>`", "/a%3Cb%3E%60c?d=%22%3C%3E%60"),
            ("/100%?q=%u00e9", "/100%?q=%u00e9"),
            ("/[a]|^{}\\", "/[a]|^{}\\"),
            ("/\u{e9}", "/%C3%A9"),
        ] {
            let built = encode_path_and_query(target);
            assert_eq!(built, encoded);
            assert!(http::uri::PathAndQuery::try_from(&*built).is_ok(), "{built}");
        }
    }

    #[test]
    fn targets_are_sorted_by_form() {
        let check = |method, target, path: Option<&str>| {
            let parsed = Target::parse(method, target, STRICT);
            assert_eq!(parsed.ok().map(|t| t.path()), path, "{method} {target}");
        };
        for (target, path) in [
            ("/", Some("/")),
            ("/a/b?c=d?e/", Some("/a/b")),
            ("/%41%7e", Some("/%41%7e")),
            ("/a?x[]=1", Some("/a")),
            ("/a?b=|{}\\^`", Some("/a")),
            ("/a?%00", Some("/a")),
            ("http://h", Some("/")),
            ("HTTP://h:80/p?q", Some("/p")),
            ("http://[::1]:8080/p", Some("/p")),
            ("/a[b", Some("/a[b")),
            ("/a#b", Some("/a")),
            ("/%4", Some("/%4")),
            ("/a%00", None),
            ("/a?b=\"c\"", Some("/a")),
            ("/a?b#c", Some("/a")),
            ("/%zz", Some("/%zz")),
            ("/\u{e9}", None),
            ("/<", Some("/<")),
            ("/`", Some("/`")),
            ("/a|b", Some("/a|b")),
            ("foo", None),
            ("", None),
            ("*", None),
            ("http://", None),
            ("http:///p", None),
            ("http://u@h/", None),
            ("ftp://h/", None),
            ("https://h/", None),
            ("http://h?q", Some("/")),
            ("http://h#f", Some("/")),
            ("#f", None),
            ("/a\u{7f}", None),
        ] {
            check("GET", target, path);
        }
        for (target, secured, path) in [
            ("HTTPS://h/p", true, Some("/p")),
            ("https://h/p", false, None),
            ("https:///p", true, None),
        ] {
            let rules = Rules { is_secured: secured, ..STRICT };
            let parsed = Target::parse("GET", target, rules);
            assert_eq!(parsed.ok().map(|t| t.path()), path, "{target} {secured}");
        }
        check("OPTIONS", "*", Some("*"));
        check("CONNECT", "h:443", None);
        check("CONNECT", "/", None);
    }

    #[test]
    fn hosts_are_names_or_addresses_with_a_port() {
        for good in [
            "",
            "a",
            "a.b-c_d",
            "127.0.0.1:8080",
            "[::1]",
            "[::ffff:1.2.3.4]:1",
            "h:",
            "[fe80::1%25eth0]:80",
        ] {
            assert!(is_host(good.as_bytes(), STRICT), "{good}");
        }
        for bad in [
            ":80",
            "a b",
            "a,b",
            "u@h",
            "h/p",
            "h:8a",
            "h:65536",
            "h:+1",
            "[::1",
            "[]",
            "[x]:1",
            "[fe80::1%25]",
            "[fe80::1%eth0]",
            "[::1]x",
            "[1::2::3]",
            "h:1:2",
            "h%41",
            "\u{e9}",
        ] {
            assert!(!is_host(bad.as_bytes(), STRICT), "{bad}");
        }
    }
}
