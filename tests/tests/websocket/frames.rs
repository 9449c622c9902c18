//! Frames by the byte: RFC 6455 §5 to §7.

use crate::{BINARY, CLOSE, PING, PONG, Peer, Served, TEXT, close, frame};
use sidecore::websocket::{Closed, WebSocketError};

/// §5.7: the examples of the RFC, as a client sends them and a server answers.
#[test]
fn the_examples_of_the_rfc() {
    let served = Served::start();
    let mut peer = served.open("/echo");
    peer.send(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    assert_eq!(peer.client.exactly(7), b"\x81\x05Hello");
    peer.send(b"\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    assert_eq!(peer.client.exactly(7), b"\x8a\x05Hello");
    for size in [256, 65_536] {
        let payload = vec![0x5a; size];
        peer.send(&frame(BINARY, &payload));
        peer.expect(BINARY, &payload);
    }
    served.stop_by(peer);
}

impl Served {
    /// Ends well: the server says 1001 and is answered.
    fn stop_by(mut self, mut peer: Peer) {
        let running = self.running.take().expect("it runs");
        running.shutdown().raise();
        let (first, payload) = peer.frame();
        assert_eq!((first, &payload[..2]), (CLOSE, &1001_u16.to_be_bytes()[..]));
        peer.send(&close(1001, ""));
        assert_eq!(peer.client.rest(), b"");
        running.wait().expect("it ends");
    }
}

#[test]
fn sizes_at_the_bounds_of_each_form_of_a_length() {
    let served = Served::start();
    let mut peer = served.open("/echo");
    for size in [0, 1, 125, 126, 127, 65_535, 65_536, 300_000, 1 << 20] {
        let payload: Vec<u8> = (0..size).map(|at| at as u8).collect();
        peer.send(&frame(BINARY, &payload));
        peer.expect(BINARY, &payload);
    }
    served.stop_by(peer);
}

#[test]
fn fragments_are_one_message_and_pings_between_them_are_answered_first() {
    let served = Served::start();
    let mut peer = served.open("/echo");
    peer.send(&frame(0x01, b"Hel"));
    peer.send(&frame(PING, b"there?"));
    peer.expect(PONG, b"there?");
    peer.send(&frame(0x00, b""));
    // A euro sign, cut within its bytes.
    peer.send(&frame(0x00, b"lo \xe2\x82"));
    peer.send(&frame(PONG, b"nobody asked"));
    peer.send(&frame(0x80, b"\xac"));
    peer.expect(TEXT, "Hello \u{20ac}".as_bytes());
    served.stop_by(peer);
}

#[test]
fn frames_that_come_byte_by_byte_are_the_same() {
    let served = Served::start();
    let mut peer = served.open("/echo");
    let bytes = [frame(0x01, b"He"), frame(PING, b"p"), frame(0x80, b"llo")].concat();
    bytes.iter().for_each(|byte| peer.send(&[*byte]));
    peer.expect(PONG, b"p");
    peer.expect(TEXT, b"Hello");
    served.stop_by(peer);
}

#[test]
fn many_in_one_piece_are_answered_in_their_order() {
    let served = Served::start();
    let mut peer = served.open("/echo");
    let texts: Vec<String> = (0..2_000).map(|number| number.to_string()).collect();
    let bytes: Vec<u8> = texts.iter().flat_map(|text| frame(TEXT, text.as_bytes())).collect();
    peer.send(&bytes);
    texts.iter().for_each(|text| peer.expect(TEXT, text.as_bytes()));
    served.stop_by(peer);
}

/// What breaks the protocol, the code that the peer is told, and what the application is.
#[test]
fn a_peer_that_breaks_the_protocol_is_told_so() {
    let served = Served::start();
    let check = |path: &str, bytes: &[u8], code: u16| {
        let mut peer = served.open(path);
        peer.send(bytes);
        peer.expect_close(code);
        let (end, closed) = served.end();
        assert_eq!(closed, None, "{bytes:?}");
        match (end.expect_err("an error"), code) {
            (WebSocketError::Protocol(_), 1002) => {}
            (WebSocketError::NotUtf8, 1007) => {}
            (WebSocketError::TooLarge { size_max, .. }, 1009) => {
                assert!([6, 10, 1 << 20].contains(&size_max));
            }
            (error, code) => panic!("{bytes:?}: {error:?} with {code}"),
        }
    };
    // §5.1: a frame without a mask.
    check("/echo", b"\x81\x05Hello", 1002);
    // §5.2: reserved bits, reserved opcodes.
    for first in [0xc1, 0xa1, 0x91, 0x83, 0x87, 0x8b, 0x8f] {
        check("/echo", &frame(first, b""), 1002);
    }
    // §5.4: nothing to go on with; another message within one.
    check("/echo", &frame(0x80, b"x"), 1002);
    check("/echo", &[frame(0x01, b"a"), frame(TEXT, b"b")].concat(), 1002);
    // §5.5: control frames in fragments, or too long.
    check("/echo", &frame(0x09, b""), 1002);
    check("/echo", &frame(PING, &[0; 126]), 1002);
    // §5.5.1: half a code; a reason that is no text.
    check("/echo", &frame(CLOSE, b"\x03"), 1002);
    check(
        "/echo",
        &close(1000, "")
            .iter()
            .copied()
            .take(1)
            .chain(frame(CLOSE, b"\x03\xe8\xff").into_iter().skip(1))
            .collect::<Vec<_>>(),
        1007,
    );
    // §8.1: text that is none, whole, in its second fragment, and cut off.
    check("/echo", &frame(TEXT, b"\xff"), 1007);
    check("/echo", &[frame(0x01, b"a"), frame(0x80, b"\xc0\x80")].concat(), 1007);
    check("/echo", &[frame(0x01, b"a"), frame(0x80, b"\xe2\x82")].concat(), 1007);
    // Frames above their limit, by their head alone; fragments that add up above it.
    check("/small", &frame(TEXT, b"1234567")[..6], 1009);
    check("/small", &[frame(0x01, b"123456"), frame(0x80, b"78901")].concat(), 1009);
    let mut endless = frame(BINARY, b"")[..1].to_vec();
    endless.extend_from_slice(b"\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0");
    check("/echo", &endless, 1009);
    served.stop();
}

/// The peer has no settings of the server's to change: it is told what it may send.
#[test]
fn a_close_for_a_fault_tells_the_peer_what_it_can_do() {
    let served = Served::start();
    let reason = |path: &str, bytes: &[u8]| {
        let mut peer = served.open(path);
        peer.send(bytes);
        let (first, payload) = peer.frame();
        assert_eq!(first, CLOSE);
        let _ = served.end();
        String::from_utf8(payload[2..].to_vec()).unwrap()
    };
    let fragments = [frame(0x01, b"123456"), frame(0x80, b"78901")].concat();
    let endless = [&frame(BINARY, b"")[..1], b"\xff\x7f", &[0xFF; 7], &[0; 4]].concat();
    for (path, bytes, expected) in [
        ("/small", &frame(TEXT, b"1234567")[..6], "at most 6 bytes are taken at once"),
        ("/small", &fragments, "at most 10 bytes are taken at once"),
        ("/echo", &endless, "at most 1048576 bytes are taken at once"),
        ("/echo", &frame(TEXT, b"\xff"), "a text has to be UTF-8"),
    ] {
        let reason = reason(path, bytes);
        assert!(reason.starts_with(expected), "{reason:?}");
        assert!(!reason.contains("_max") && reason.len() <= 123, "{reason:?}");
    }
    // A fault of the protocol is named, and whose it is needs no word.
    let unmasked = reason("/echo", b"\x81\x05Hello");
    assert!(!unmasked.is_empty() && !unmasked.contains("the peer"), "{unmasked:?}");
    served.stop();
}

#[test]
fn what_is_at_the_limit_passes() {
    let served = Served::start();
    let mut peer = served.open("/small");
    peer.send(&[frame(0x01, b"123456"), frame(0x80, b"7890")].concat());
    peer.expect(TEXT, b"1234567890");
    served.stop_by(peer);
}

/// §5.5.1, §7: a close is answered with its own code, then the server ends the connection.
#[test]
fn a_close_is_answered_and_the_application_told() {
    let served = Served::start();
    let check = |sent: Vec<u8>, answered: &[u8], closed: Closed| {
        let mut peer = served.open("/echo");
        peer.send(&frame(TEXT, b"last"));
        peer.send(&sent);
        peer.expect(TEXT, b"last");
        peer.expect(CLOSE, answered);
        assert_eq!(peer.client.rest(), b"");
        assert_eq!(served.end(), (Ok(()), Some(closed)));
    };
    let closed = |code, reason: &str| Closed { code, reason: reason.to_owned() };
    check(close(1000, "bye"), b"\x03\xe8bye", closed(Some(1000), "bye"));
    check(close(4999, ""), b"\x13\x87", closed(Some(4999), ""));
    check(frame(CLOSE, b""), b"", closed(None, ""));
    served.stop();
}

/// §7.4.1: codes that never stand in a frame.
#[test]
fn a_close_with_a_reserved_code_is_a_fault() {
    let served = Served::start();
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        let mut peer = served.open("/echo");
        peer.send(&close(code, ""));
        peer.expect_close(1002);
    }
    served.stop();
}
