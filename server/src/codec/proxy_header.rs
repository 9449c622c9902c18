//! The PROXY protocol's header, versions 1 and 2, between bytes and who the peer is.
//!
//! It is the first thing on a connection, and says whom the proxy speaks for. One that is not exactly
//! right is no header: whoever sent it is no proxy that this listener was declared to have.
//! (HAProxy's `proxy-protocol.txt`; version 1 is one line of text, version 2 is binary.)
//!
//! By hand, since `proxy-header` (0.1.3) takes ports such as `+80` and `080`, and does not read the
//! addresses of Unix sockets.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What the header of version 1 begins with.
const TEXT: &[u8] = b"PROXY ";
/// The longest line of version 1, its end included.
const TEXT_MAX_BYTES: usize = 107;
/// What the header of version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;
/// The addresses of version 2 and what else a proxy says (TLVs), which is skipped: more is refused.
pub(crate) const REST_MAX_BYTES: usize = 8 * 1024;

/// Whom a connection is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The proxy itself, such as its look whether the server is there; or it does not say.
    Proxy,
    /// A client of the proxy.
    Client(SocketAddr),
    /// A client without an address of its own: it came by a Unix socket.
    Nameless,
}

/// A header of the PROXY protocol, version 1 or 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Of the header: what follows it is the connection's first bytes.
    pub size_bytes: usize,
    /// Whom it names.
    pub source: Source,
}

/// Bytes that are no header, and cannot become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this is no header of the PROXY protocol, version 1 or 2: have the proxy send one, or \
             declare the listener without it",
        )
    }
}

impl std::error::Error for Malformed {}

/// Reads the header that `bytes` begin with; None if it is not all there yet.
///
/// # Errors
/// Where the bytes cannot begin a header.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    if begins_alike(bytes, SIGNATURE) {
        return binary(bytes);
    }
    if begins_alike(bytes, TEXT) {
        return text(bytes);
    }
    Err(Malformed)
}

/// Whether the two agree as far as both go.
fn begins_alike(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(byte, expected)| byte == expected)
}

fn text(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let window = &bytes[..bytes.len().min(TEXT_MAX_BYTES)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < TEXT_MAX_BYTES { Ok(None) } else { Err(Malformed) };
    };
    let line = std::str::from_utf8(&bytes[TEXT.len()..end]).map_err(|_| Malformed)?;
    let source = match line.split_once(' ') {
        // What follows UNKNOWN is to be ignored.
        Some(("UNKNOWN", _)) => Source::Proxy,
        Some(("TCP4", rest)) => Source::Client(endpoint::<Ipv4Addr>(rest)?),
        Some(("TCP6", rest)) => Source::Client(endpoint::<Ipv6Addr>(rest)?),
        None if line == "UNKNOWN" => Source::Proxy,
        _ => return Err(Malformed),
    };
    Ok(Some(Header { size_bytes: end + 2, source }))
}

/// Of `source destination port port`, each after one space: the source.
fn endpoint<A: std::str::FromStr + Into<IpAddr>>(text: &str) -> Result<SocketAddr, Malformed> {
    let parts: Vec<&str> = text.splitn(5, ' ').collect();
    let &[source, destination, source_port, destination_port] = &parts[..] else {
        return Err(Malformed);
    };
    let address = |text: &str| text.parse::<A>().map_err(|_| Malformed);
    address(destination)?;
    port(destination_port)?;
    Ok(SocketAddr::new(address(source)?.into(), port(source_port)?))
}

/// A number in digits, without zeros before it.
fn port(text: &str) -> Result<u16, Malformed> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let leading = text.len() > 1 && text.starts_with('0');
    text.parse().ok().filter(|_| plain && !leading).ok_or(Malformed)
}

fn binary(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some(fixed) = bytes.get(..FIXED_BYTES) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    // Version 2, and LOCAL or PROXY.
    let is_local = match fixed[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed),
    };
    if length > REST_MAX_BYTES {
        return Err(Malformed);
    }
    let size_bytes = FIXED_BYTES + length;
    let Some(rest) = bytes.get(FIXED_BYTES..size_bytes) else { return Ok(None) };
    let source = if is_local { Source::Proxy } else { binary_source(fixed[13], rest)? };
    Ok(Some(Header { size_bytes, source }))
}

/// Source and destination, then their ports; what follows is skipped.
fn binary_source(family: u8, rest: &[u8]) -> Result<Source, Malformed> {
    match family {
        // AF_UNSPEC: the proxy does not know.
        0x00 => Ok(Source::Proxy),
        0x11 => {
            let &[a, b, c, d, _, _, _, _, high, low, _, _] = rest.get(..12).ok_or(Malformed)?
            else {
                return Err(Malformed);
            };
            let port = u16::from_be_bytes([high, low]);
            Ok(Source::Client(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port)))
        }
        0x21 => {
            let rest = rest.get(..36).ok_or(Malformed)?;
            let octets: [u8; 16] = rest[..16].try_into().map_err(|_| Malformed)?;
            let port = u16::from_be_bytes([rest[32], rest[33]]);
            Ok(Source::Client(SocketAddr::new(Ipv6Addr::from(octets).into(), port)))
        }
        0x31 if rest.len() >= 216 => Ok(Source::Nameless),
        // Datagrams are not served, nor what is not known.
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    fn client(address: &str) -> Option<Source> {
        Some(Source::Client(address.parse().unwrap()))
    }

    fn v4(tail: &[u8]) -> Vec<u8> {
        [&[192, 0, 2, 7, 10, 0, 0, 1, 0xC0, 0xDE, 0x01, 0xBB][..], tail].concat()
    }

    fn v6(tail: &[u8]) -> Vec<u8> {
        let source: Ipv6Addr = "2001:db8::7".parse().unwrap();
        [&source.octets()[..], &[0; 16], &[0x12, 0x34, 0, 80], tail].concat()
    }

    /// Headers with what they say; None where they are none.
    fn table() -> Vec<(Vec<u8>, Option<Source>)> {
        let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(TEXT_MAX_BYTES - 16));
        assert_eq!(longest.len(), TEXT_MAX_BYTES);
        let too_long = longest.replace("\r\n", "f\r\n");
        let text = |line: &str, source| (line.as_bytes().to_vec(), source);
        vec![
            text("PROXY TCP4 192.0.2.7 10.0.0.1 49374 443\r\n", client("192.0.2.7:49374")),
            text(
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
                client("255.255.255.255:65535"),
            ),
            text("PROXY TCP4 192.0.2.7 10.0.0.1 0 0\r\n", client("192.0.2.7:0")),
            text("PROXY TCP6 2001:db8::7 ::1 4660 80\r\n", client("[2001:db8::7]:4660")),
            text("PROXY UNKNOWN\r\n", Some(Source::Proxy)),
            text("PROXY UNKNOWN ffff::1 anything 1 2 3\r\n", Some(Source::Proxy)),
            text(&longest, Some(Source::Proxy)),
            text(&too_long, None),
            text("PROXY TCP4 192.0.2.7 10.0.0.1 49374\r\n", None),
            text("PROXY TCP4 192.0.2.7 10.0.0.1 49374 443 \r\n", None),
            text("PROXY TCP4 192.0.2.7 10.0.0.1 49374 443 1\r\n", None),
            text("PROXY TCP4 192.0.2.7  10.0.0.1 49374 443\r\n", None),
            text("PROXY  TCP4 192.0.2.7 10.0.0.1 49374 443\r\n", None),
            text("PROXY TCP4 192.0.2.07 10.0.0.1 49374 443\r\n", None),
            text("PROXY TCP4 192.0.2 10.0.0.1 49374 443\r\n", None),
            text("PROXY TCP4 ::1 10.0.0.1 49374 443\r\n", None),
            text("PROXY TCP6 192.0.2.7 10.0.0.1 49374 443\r\n", None),
            text("PROXY TCP6 fe80::1%2 ::1 1 1\r\n", None),
            text("PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n", None),
            text("PROXY TCP4 192.0.2.7 10.0.0.1 +1 443\r\n", None),
            text("PROXY TCP4 192.0.2.7 10.0.0.1 01 443\r\n", None),
            text("PROXY TCP4 192.0.2.7 10.0.0.1 1 x\r\n", None),
            text("PROXY TCP4 192.0.2.7 10.0.0.1 1 \r\n", None),
            text("PROXY UDP4 192.0.2.7 10.0.0.1 1 1\r\n", None),
            text("PROXY UNKNOWNS\r\n", None),
            text("PROXY \r\n", None),
            text("proxy UNKNOWN\r\n", None),
            text("PROXY\tUNKNOWN\r\n", None),
            text("GET / HTTP/1.1\r\n", None),
            text("\r\nPROXY UNKNOWN\r\n", None),
            (b"PROXY UNKNOWN\n".repeat(8), None),
            (b"PROXY TCP4 \xFF\xFF\r\n".to_vec(), None),
            (v2(0x21, 0x11, &v4(b"")), client("192.0.2.7:49374")),
            (v2(0x21, 0x11, &v4(&[4, 0, 3, 1, 2, 3])), client("192.0.2.7:49374")),
            (v2(0x21, 0x11, &v4(&[9; REST_MAX_BYTES - 12])), client("192.0.2.7:49374")),
            (v2(0x21, 0x11, &v4(&[9; REST_MAX_BYTES - 11])), None),
            (v2(0x21, 0x21, &v6(b"")), client("[2001:db8::7]:4660")),
            (v2(0x21, 0x21, &v6(&[1; 100])), client("[2001:db8::7]:4660")),
            (v2(0x21, 0x31, &[b'/'; 216]), Some(Source::Nameless)),
            (v2(0x21, 0x00, b""), Some(Source::Proxy)),
            (v2(0x21, 0x00, &[7; 50]), Some(Source::Proxy)),
            (v2(0x20, 0x00, b""), Some(Source::Proxy)),
            // LOCAL: whatever it says of addresses is skipped.
            (v2(0x20, 0x11, &v4(b"")), Some(Source::Proxy)),
            (v2(0x20, 0x99, b"abc"), Some(Source::Proxy)),
            (v2(0x21, 0x11, &v4(b"")[..11]), None),
            (v2(0x21, 0x21, &v6(b"")[..35]), None),
            (v2(0x21, 0x31, &[b'/'; 215]), None),
            (v2(0x21, 0x12, &v4(b"")), None),
            (v2(0x21, 0x41, &[0; 64]), None),
            (v2(0x22, 0x11, &v4(b"")), None),
            (v2(0x11, 0x11, &v4(b"")), None),
            (v2(0x31, 0x11, &v4(b"")), None),
        ]
    }

    #[test]
    fn headers_say_who_the_peer_is_and_all_else_is_none() {
        for (bytes, expected) in table() {
            let whole = bytes.len();
            let got = parse(&[&bytes[..], b"GET / HTTP/1.1\r\n"].concat());
            let wanted = match expected {
                Some(source) => Ok(Some(Header { size_bytes: whole, source })),
                None => Err(Malformed),
            };
            assert_eq!(got, wanted, "{:?}", String::from_utf8_lossy(&bytes));
        }
    }

    /// The verdict is the same however the bytes come: it waits only while it may still be either,
    /// and no longer than the longest header.
    #[test]
    fn the_verdict_does_not_depend_on_how_the_bytes_arrive() {
        for (bytes, expected) in table() {
            let stream = [&bytes[..], &[b'x'; 200]].concat();
            let verdict = parse(&stream);
            assert_eq!(verdict.is_ok(), expected.is_some());
            let first = (0..=stream.len()).find(|end| parse(&stream[..*end]) != Ok(None)).unwrap();
            for end in 0..=stream.len() {
                let part = parse(&stream[..end]);
                assert_eq!(part, if end < first { Ok(None) } else { verdict }, "{end}");
            }
            match verdict {
                Ok(header) => assert_eq!(first, header.unwrap().size_bytes),
                Err(Malformed) => assert!(first <= FIXED_BYTES + REST_MAX_BYTES),
            }
        }
    }

    /// Random changes to right headers: no panic, and no more bytes asked for than a header has.
    #[test]
    fn changed_headers_are_judged_within_bounds() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let table = table();
        for _ in 0..200_000 {
            let mut bytes = table[random(table.len())].0.clone();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] = random(256) as u8,
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, random(256) as u8),
                }
            }
            match parse(&bytes) {
                Ok(Some(header)) => assert!(header.size_bytes <= bytes.len()),
                Ok(None) => assert!(bytes.len() < FIXED_BYTES + REST_MAX_BYTES),
                Err(Malformed) => {}
            }
        }
    }
}
