//! Clients that give up, flood, or do not speak the protocol.

use sidecore_tests::Random;

use super::raw::*;
use super::*;

#[test]
fn who_resets_a_stream_or_goes_away_has_its_handlers_dropped() {
    let served = Served::start();
    let mut raw = served.raw();
    raw.begin(&[]);
    raw.send(&request(1, "/wait"));
    raw.send(&request(3, "/endless"));
    raw.send(&upload(5, "/wait"));
    assert_eq!(raw.until(DATA).payload, b"begun");
    assert_eq!(served.dropped(), 0);
    raw.send(&reset(1));
    until("the first is dropped", || served.dropped() == 1);
    raw.send(&reset(3));
    until("the answer is dropped", || served.dropped() == 2);
    raw.ping(*b"are you?");
    drop(raw);
    until("the last is dropped", || served.dropped() == 3);
    served.end();
}

/// CVE-2023-44487, all at once: streams that are over before they were looked at.
#[test]
fn streams_that_are_reset_in_a_burst_end_the_connection() {
    let served = Served::start();
    let mut raw = served.raw();
    raw.begin(&[]);
    let burst: Vec<u8> =
        (0..2000).flat_map(|n| [request(2 * n + 1, "/wait"), reset(2 * n + 1)].concat()).collect();
    raw.try_send(&burst);
    let told = raw.rest().into_iter().find(|came| came.kind == GOAWAY);
    assert_eq!(told.map(|told| told.code()), Some(ENHANCE_YOUR_CALM));
    assert!(served.running.executor_stats()[0].polls < 3000);
    served.end();
}

/// The same, slow enough that each is looked at: the client is sent away.
#[test]
fn streams_that_are_reset_one_by_one_are_counted() {
    let served = Served::start();
    let mut raw = served.raw();
    raw.begin(&[]);
    let told = (0..400_u32).find(|n| {
        let stream = 2 * n + 1;
        raw.send(&[request(stream, "/wait"), frame(PING, 0, 0, &[0; 8])].concat());
        let told = loop {
            match raw.next().expect("it does not end without a word") {
                came if came.kind == GOAWAY => break true,
                came if came.kind == PING && came.flags == ACK => break false,
                _ => {}
            }
        };
        raw.send(&reset(stream));
        told
    });
    let told = told.expect("it is sent away");
    assert!((256..300).contains(&told), "{told}");
    served.end();
}

#[test]
fn a_head_that_does_not_end_ends_the_connection() {
    let served = Served::start();
    let mut raw = served.raw();
    raw.begin(&[]);
    raw.send(&frame(HEADERS, 0, 1, &block("GET", "/")));
    raw.try_send(&frame(CONTINUATION, 0, 1, b"").repeat(10_000));
    let told = raw.rest().into_iter().find(|came| came.kind == GOAWAY);
    assert_eq!(told.map(|told| told.code()), Some(ENHANCE_YOUR_CALM));
    served.end();
}

#[test]
fn what_breaks_the_protocol_ends_its_connection_and_no_other() {
    let served = Served::start();
    let mut beside = served.raw();
    beside.begin(&[]);
    beside.ping([1; 8]);
    let cases: [(&str, Vec<u8>, u32); 8] = [
        ("an even stream", request(2, "/"), PROTOCOL_ERROR),
        ("data of no stream", frame(DATA, 0, 1, b"x"), PROTOCOL_ERROR),
        ("a lone continuation", frame(CONTINUATION, END_HEADERS, 1, b""), PROTOCOL_ERROR),
        ("a frame too large", frame(DATA, 0, 1, &[0; 20_000]), 6),
        ("a window of nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), PROTOCOL_ERROR),
        ("a bad index", frame(HEADERS, END_HEADERS, 1, &[0xC6]), PROTOCOL_ERROR),
        ("a short PING", frame(PING, 0, 0, &[0; 7]), PROTOCOL_ERROR),
        ("a name in capitals", frame(HEADERS, END_HEADERS, 1, b"\0\x01A\x01v"), PROTOCOL_ERROR),
    ];
    for (what, bytes, code) in cases {
        let mut raw = served.raw();
        raw.begin(&[]);
        raw.until(SETTINGS);
        raw.try_send(&bytes);
        let told = raw.rest().into_iter().find(|came| came.kind == GOAWAY);
        assert_eq!(told.map(|told| told.code()), Some(code), "{what}");
        beside.ping([2; 8]);
    }
    let mut raw = served.raw();
    raw.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    raw.rest();
    beside.ping([3; 8]);
    served.end();
}

/// A malformed request is its stream's matter (RFC 9113 §8.1.1).
#[test]
fn a_malformed_request_is_reset() {
    let served = Served::start();
    let mut raw = served.raw();
    raw.begin(&[]);
    let with = |fields: &[(&str, &str)]| {
        let mut bytes = block("GET", "/");
        for (name, value) in fields {
            bytes.extend([0, name.len() as u8]);
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(value.len() as u8);
            bytes.extend_from_slice(value.as_bytes());
        }
        bytes
    };
    for (at, fields) in [
        [("connection", "close")],
        [("transfer-encoding", "chunked")],
        [("te", "gzip")],
        [(":path", "/twice")],
    ]
    .iter()
    .enumerate()
    {
        let stream = 2 * at as u32 + 1;
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &with(fields)));
        let told = raw.until(RST_STREAM);
        assert_eq!((told.stream, told.code()), (stream, PROTOCOL_ERROR), "{fields:?}");
    }
    // A body that belies its length.
    raw.send(&frame(HEADERS, END_HEADERS, 101, &with(&[("content-length", "3")])));
    raw.send(&frame(DATA, END_STREAM, 101, b"four"));
    assert_eq!(raw.until(RST_STREAM).stream, 101);
    raw.ping([4; 8]);
    served.end();
}

/// Random frames, and right ones with random changes: nothing panics, nobody else is hurt.
#[test]
fn random_frames_are_survived() {
    let served = Served::start_with(|config| config.options.head_timeout_ms = 2000);
    let mut beside = served.raw();
    beside.begin(&[]);
    let mut random = Random::new(0x9E37_79B9);
    for round in 0..150 {
        let mut raw = served.raw();
        raw.begin(&[]);
        let mut bytes = Vec::new();
        for n in 0..20 {
            let stream = 2 * random.below(8) as u32 + 1;
            bytes.extend(match random.below(6) {
                0 => request(2 * n + 1, "/"),
                1 => upload(2 * n + 1, "/mirror"),
                2 => frame(DATA, random.below(2) as u8, stream, &vec![0; random.below(300)]),
                3 => reset(stream),
                4 => frame(WINDOW_UPDATE, 0, stream, &(random.below(1 << 20) as u32).to_be_bytes()),
                _ => {
                    let payload: Vec<u8> =
                        (0..random.below(40)).map(|_| random.below(256) as u8).collect();
                    frame(random.below(12) as u8, random.below(256) as u8, stream, &payload)
                }
            });
        }
        if round % 2 == 0 {
            for _ in 0..random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] = random.below(256) as u8;
            }
        }
        raw.try_send(&bytes);
        raw.client.conn.send_close_notify();
        let _ = raw.client.flush();
        raw.rest();
        beside.ping([5; 8]);
    }
    served.end();
}
