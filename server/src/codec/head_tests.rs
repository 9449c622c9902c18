//! Heads by section of RFC 9110 and 9112: literal bytes, and the answer each must get.

use std::mem::MaybeUninit;

use super::*;

const LIMITS: HeadLimits = HeadLimits {
    size_max_bytes: 1024,
    header_count_max: 16,
    target_length_max_bytes: 256,
    is_secured: false,
    takes_raw_utf8: false,
};

/// What a head came to: its framing and connection, or the status of its refusal.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Head(Framing, bool),
    Incomplete,
    Refused(u16),
}

fn parse_bytes(input: &[u8], scan: &mut HeadScan) -> Got {
    let mut slots = [MaybeUninit::uninit(); 64];
    match next_head(input, scan, &mut slots, &LIMITS) {
        Ok(Parsed::Complete(head)) => {
            assert!(head.size_bytes <= input.len());
            Got::Head(head.framing, head.keep_alive)
        }
        Ok(Parsed::Incomplete) => Got::Incomplete,
        Err(reject) => Got::Refused(reject.status().as_u16()),
    }
}

/// The head at once, and byte by byte: the first verdict must be the same one.
fn check(input: &str, expected: Got) {
    assert_eq!(parse_bytes(input.as_bytes(), &mut HeadScan::default()), expected, "{input:?}");
    assert_eq!(parse_byte_by_byte(input.as_bytes()), expected, "{input:?} byte by byte");
}

fn parse_byte_by_byte(input: &[u8]) -> Got {
    let mut scan = HeadScan::default();
    (1..=input.len())
        .map(|end| parse_bytes(&input[..end], &mut scan))
        .find(|got| *got != Got::Incomplete)
        .unwrap_or(Got::Incomplete)
}

fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
}

const OPEN: Got = Got::Head(Framing::None, true);
const SHUT: Got = Got::Head(Framing::None, false);

#[test]
fn section_2_2_lines_end_with_crlf() {
    check(&get(""), OPEN);
    check("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", OPEN);
    check("GET / HTTP/1.1\nHost: h\n\n", Got::Refused(400));
    check("GET / HTTP/1.1\r\nHost: h\n\r\n", Got::Refused(400));
    check("GET / HTTP/1.1\r\nHost: h\r\n\n", Got::Refused(400));
    check("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Got::Refused(400));
    check("\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Got::Refused(400));
}

#[test]
fn section_2_3_versions() {
    check("GET / HTTP/1.0\r\n\r\n", SHUT);
    check("GET / HTTP/2.0\r\nHost: h\r\n\r\n", Got::Refused(505));
    check("GET / HTTP/1.2\r\nHost: h\r\n\r\n", Got::Refused(505));
    // No `HTTP/` digit, point, digit: no version of HTTP.
    for version in ["HTTP/1", "HTTP/01.1", "HTTP/1.10", "http/1.1", "RTSP/1.0", "HTTP/1,1", ""] {
        check(&format!("GET / {version}\r\nHost: h\r\n\r\n"), Got::Refused(400));
    }
}

#[test]
fn section_3_request_line() {
    check("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", Got::Refused(400));
    check("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", Got::Refused(400));
    check("GET / http/1.1\r\nHost: h\r\n\r\n", Got::Refused(400));
    check(&format!("{} / HTTP/1.1\r\nHost: h\r\n\r\n", "M".repeat(40)), Got::Refused(501));
    check("GET /\r\nHost: h\r\n\r\n", Got::Refused(400));
    check("G\tT / HTTP/1.1\r\nHost: h\r\n\r\n", Got::Refused(400));
    check("G!T / HTTP/1.1\r\nHost: h\r\n\r\n", OPEN);
    check("get / HTTP/1.1\r\nHost: h\r\n\r\n", OPEN);
}

#[test]
fn section_3_2_targets() {
    check("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", OPEN);
    check("GET * HTTP/1.1\r\nHost: h\r\n\r\n", Got::Refused(400));
    check("M-SEARCH * HTTP/1.1\r\nHost: h\r\n\r\n", Got::Refused(501));
    check("GET foo HTTP/1.1\r\nHost: h\r\n\r\n", Got::Refused(400));
    check("GET http://a/b HTTP/1.1\r\nHost: h\r\n\r\n", OPEN);
    check("GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n", Got::Refused(400));
    check("GET /\u{e9} HTTP/1.1\r\nHost: h\r\n\r\n", Got::Refused(400));
    check("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", Got::Refused(501));
    check("CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n", Got::Refused(400));
}

#[test]
fn section_3_2_host() {
    check("GET / HTTP/1.1\r\n\r\n", Got::Refused(400));
    check("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Got::Refused(400));
    check("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", Got::Refused(400));
    check("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Got::Refused(400));
    check("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Got::Refused(400));
    check("GET / HTTP/1.1\r\nHost:\r\n\r\n", OPEN);
    check("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", OPEN);
}

#[test]
fn section_5_fields() {
    check(&get("a : b\r\n"), Got::Refused(400));
    check(&get("a: b\r\n c\r\n"), Got::Refused(400));
    check(&get(" a: b\r\n"), Got::Refused(400));
    check(&get(": b\r\n"), Got::Refused(400));
    check(&get("a: b\0\r\n"), Got::Refused(400));
    check(&get("a: b\rc\r\n"), Got::Refused(400));
    check(&get("a: \u{e9}\r\n"), OPEN);
}

#[test]
fn section_6_framing() {
    check(&get("Content-Length: 5\r\n"), Got::Head(Framing::Length(5), true));
    check(&get("Content-Length: 0\r\n"), OPEN);
    check(&get("Transfer-Encoding: chunked\r\n"), Got::Head(Framing::Chunked, true));
    check(&get("transfer-encoding: CHUNKED\r\n"), Got::Head(Framing::Chunked, true));
    for bad in [
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: ,\r\n",
        "Transfer-Encoding:\r\n",
        "Content_Length: 5\r\n",
        "TRANSFER_ENCODING: chunked\r\n",
    ] {
        check(&get(bad), Got::Refused(400));
    }
    check(&get("Transfer-Encoding: gzip, chunked\r\n"), Got::Refused(501));
    check(&get("Transfer-Encoding: xchunked\r\n"), Got::Refused(501));
    check("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Got::Refused(400));
}

#[test]
fn section_9_connection() {
    check(&get("Connection: close\r\n"), SHUT);
    check(&get("Connection: foo, Close\r\n"), SHUT);
    check(&get("Connection: keep-alive, close\r\n"), SHUT);
    check(&get("Connection: closed\r\n"), OPEN);
    check("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", OPEN);
}

#[test]
fn rfc_9110_10_1_1_expect() {
    check(&get("Expect: 100-Continue\r\n"), OPEN);
    check(&get("Expect: 100-continue, 100-continue\r\nExpect:\r\n"), OPEN);
    check(&get("Expect: 200-ok\r\n"), Got::Refused(417));
    check(&get("Expect: 100-continue, 200-ok\r\n"), Got::Refused(417));
}

#[test]
fn what_cannot_become_a_head_is_refused_before_its_end() {
    let begun = |rest: &str| format!("POST / HTTP/1.1\r\n{rest}");
    check("GET / HTTP/5.6", Got::Refused(505));
    check("GET / HTPP", Got::Refused(400));
    check("GET / HTTP/1.1\rA", Got::Refused(400));
    check(&begun(" "), Got::Refused(400));
    check(&begun("Host: h\r\n\t"), Got::Refused(400));
    check(&begun("Host: h\r\n\rA"), Got::Refused(400));
    check(&begun("Host: h\r\nHost: h\r\n"), Got::Refused(400));
    check(&begun("a\r\n"), Got::Refused(400));
    check(&begun("Content-Length: 1000000000000000000000\r\n"), Got::Refused(400));
    check(&begun("Content-Length: 1\r\nContent-Length: 2\r\n"), Got::Refused(400));
    check(&begun("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), Got::Refused(400));
    check(&begun("Transfer-Encoding: gzip\r\n"), Got::Refused(501));
    // These still can.
    for good in ["", "Ho", "Host: h\r", "Host: h\r\n", "Host: h\r\n\r", "a:\r\n"] {
        check(&begun(good), Got::Incomplete);
    }
    for good in ["", "\r", "\r\n", "G", "GET ", "GET /", "GET / ", "GET / HTTP/1.1", "GET / HT"] {
        check(good, Got::Incomplete);
    }
}

#[test]
fn limits_bind_complete_and_endless_heads() {
    let long = "a".repeat(300);
    check(&format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n"), Got::Refused(414));
    check(&format!("GET /{long}"), Got::Refused(414));
    check(&get(&format!("a: {}\r\n", "b".repeat(1100))), Got::Refused(431));
    check(&format!("GET / HTTP/1.1\r\na: {}", "b".repeat(1100)), Got::Refused(431));
    check(&get(&"a: b\r\n".repeat(16)), Got::Refused(431));
    check(&"M".repeat(64), Got::Refused(501));
    check("\u{16}\u{3}\u{1}", Got::Refused(400));
}

/// The request line is 8,000 bytes and the head 30 KB: each byte is looked at for the head's end (by
/// single bytes four times), for itself, and with its line.
#[test]
fn a_head_in_parts_costs_a_few_times_its_bytes() {
    let limits = HeadLimits {
        size_max_bytes: 32 * 1024,
        header_count_max: 2000,
        target_length_max_bytes: 8192,
        ..LIMITS
    };
    let line = format!("GET /{} HTTP/1.1\r\nHost: h\r\n", "a".repeat(8000));
    let head = format!("{line}{}\r\n", "a: 0123456789abcdef\r\n".repeat(1100));
    let head = &head.as_bytes()[..30_000];
    for (step, end_bytes) in [(1, 4 * head.len() - 6), (1000, head.len() + 29 * 3)] {
        let mut scan = HeadScan::default();
        for end in (step..=head.len()).step_by(step) {
            let mut slots = [MaybeUninit::uninit(); HEADER_COUNT_CAP];
            let parsed = next_head(&head[..end], &mut scan, &mut slots, &limits);
            assert!(matches!(parsed, Ok(Parsed::Incomplete)), "{end}: {parsed:?}");
        }
        let lines = head.iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
        assert_eq!(scan.looked, end_bytes + head.len() + lines, "in steps of {step}");
    }
}

/// No input, however broken, makes the parser panic, read past a head or heed how it was split.
#[test]
fn mutated_heads_get_one_verdict() {
    let seeds =
        [get("Content-Length: 5\r\n"), get("Connection: close\r\nExpect: 100-continue\r\n")];
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..50_000 {
        let mut bytes = seeds[random(seeds.len())].clone().into_bytes();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = random(256) as u8,
                1 => bytes.truncate(at + 1),
                _ => bytes.insert(at, b"\r\n :,\0"[random(6)]),
            }
        }
        let whole = parse_bytes(&bytes, &mut HeadScan::default());
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(whole, parse_byte_by_byte(&bytes), "{text:?}");
    }
}
