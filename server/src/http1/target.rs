//! The request target (RFC 9112 §3.2) and the Host it is for (§3.2, RFC 9110 §7.2).

use super::reject::Reject;

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
    pub(crate) fn parse(method: &str, target: &'a str, is_secured: bool) -> Result<Self, Reject> {
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
            let has_port = is_host(bytes) && target.contains(':');
            return Err(match has_port {
                true => Reject::not_implemented("this server is no proxy: CONNECT is not served"),
                false => Reject::bad("the target of CONNECT is a host and a port"),
            });
        }
        if bytes.first() == Some(&b'/') {
            check_path_and_query(bytes)?;
            return Ok(Target::Origin(target));
        }
        let Some((scheme, after_scheme)) = split_scheme(target) else {
            return Err(Reject::bad("the target is neither a path nor an http URI"));
        };
        // RFC 9110 §7.4: an https resource is not served on a connection that is not secured.
        let is_https = scheme.eq_ignore_ascii_case("https");
        if is_https && !is_secured {
            return Err(Reject::misdirected());
        }
        let end = after_scheme.find(['/', '?']).unwrap_or(after_scheme.len());
        let (authority, path_and_query) = after_scheme.split_at(end);
        if authority.is_empty() || !is_host(authority.as_bytes()) {
            // §3.2: an http URI with an empty host is invalid; userinfo is
            // refused (RFC 9110 §4.2.4).
            return Err(Reject::bad("the target's authority is no host"));
        }
        check_path_and_query(path_and_query.as_bytes())?;
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

/// `pchar`, `/`, `?` (RFC 3986 §3.3, §3.4), and `%` only before two hexadecimal digits.
///
/// Outside are `#` (a fragment is never sent, §3.2), controls, space, `"<>\^`{|}` and bytes above
/// 127, on which servers and caches disagree. In a query what the URL Standard of browsers leaves
/// unencoded is let through. `%00` in a path is refused: it ends a file's name for some.
fn check_path_and_query(bytes: &[u8]) -> Result<(), Reject> {
    let mut in_query = false;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'?' => in_query = true,
            b'%' => {
                let digits = bytes.get(at + 1..at + 3).unwrap_or(&[]);
                if digits.len() != 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(Reject::bad("a `%` in the target is not followed by two digits"));
                }
                if digits == b"00" && !in_query {
                    return Err(Reject::bad("the path has an encoded NUL"));
                }
                at += 2;
            }
            b'[' | b']' | b'{' | b'}' | b'|' | b'\\' | b'^' | b'`' if in_query => {}
            _ if is_pchar_or_slash(byte) => {}
            _ => return Err(Reject::bad("the target has a character that must be encoded")),
        }
        at += 1;
    }
    Ok(())
}

fn is_pchar_or_slash(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2): a name, an IPv4 address or `[IPv6]`.
///
/// An empty value is legal in a Host field: the target has no authority then (RFC 9112 §3.2).
pub(crate) fn is_host(value: &[u8]) -> bool {
    let (host_is_valid, port) = match value {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|&byte| byte == b']') else { return false };
            (is_ipv6(&rest[..end]), &rest[end + 1..])
        }
        _ => {
            let colon = value.iter().position(|&byte| byte == b':').unwrap_or(value.len());
            let (name, port) = value.split_at(colon);
            (is_name(name) && (!name.is_empty() || port.is_empty()), port)
        }
    };
    host_is_valid && is_port(port)
}

fn is_ipv6(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
}

/// `reg-name` (RFC 3986 §3.2.2) without the comma, which would be two hosts in one field. A `%` is
/// refused too: servers and caches do not agree on what it decodes to.
fn is_name(bytes: &[u8]) -> bool {
    let valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(byte);
    bytes.iter().all(valid)
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

    #[test]
    fn targets_are_sorted_by_form() {
        let check = |method, target, path: Option<&str>| {
            let parsed = Target::parse(method, target, false);
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
            ("/a[b", None),
            ("/a#b", None),
            ("/%4", None),
            ("/a%00", None),
            ("/a?b=\"c\"", None),
            ("/a?b#c", None),
            ("/%zz", None),
            ("/\u{e9}", None),
            ("/<", None),
            ("/`", None),
            ("/a|b", None),
            ("foo", None),
            ("", None),
            ("*", None),
            ("http://", None),
            ("http:///p", None),
            ("http://u@h/", None),
            ("ftp://h/", None),
            ("https://h/", None),
            ("http://h?q", Some("/")),
        ] {
            check("GET", target, path);
        }
        for (target, secured, path) in [
            ("HTTPS://h/p", true, Some("/p")),
            ("https://h/p", false, None),
            ("https:///p", true, None),
        ] {
            let parsed = Target::parse("GET", target, secured);
            assert_eq!(parsed.ok().map(|t| t.path()), path, "{target} {secured}");
        }
        check("OPTIONS", "*", Some("*"));
        check("CONNECT", "h:443", None);
        check("CONNECT", "/", None);
    }

    #[test]
    fn hosts_are_names_or_addresses_with_a_port() {
        for good in ["", "a", "a.b-c_d", "127.0.0.1:8080", "[::1]", "[::ffff:1.2.3.4]:1", "h:"] {
            assert!(is_host(good.as_bytes()), "{good}");
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
            "[::1]x",
            "[1::2::3]",
            "h:1:2",
            "h%41",
            "\u{e9}",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}
