//! Time limits and back-pressure.

use std::time::{Duration, Instant};

use sidecore::websocket::WebSocketError;

use crate::{BINARY, PING, PONG, Served, TEXT, frame};

#[test]
fn a_silent_peer_is_pinged_and_then_left() {
    let served = Served::start();
    // Before it is open, from when on the server counts.
    let start = Instant::now();
    let mut peer = served.open("/idle");
    peer.expect(PING, b"");
    assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
    peer.expect_close(1001);
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    assert_eq!(served.end(), (Err(WebSocketError::Idle), None));
    served.stop();
}

#[test]
fn a_peer_that_answers_pings_stays() {
    let served = Served::start();
    let mut peer = served.open("/idle");
    let start = Instant::now();
    // Three times its limit.
    while start.elapsed() < Duration::from_millis(900) {
        peer.expect(PING, b"");
        peer.send(&frame(PONG, b""));
    }
    peer.send(&frame(TEXT, b"still here"));
    loop {
        match peer.frame() {
            (PING, _) => peer.send(&frame(PONG, b"")),
            echoed => {
                assert_eq!(echoed, (TEXT, b"still here".to_vec()));
                break;
            }
        }
    }
    drop(peer);
    served.stop();
}

#[test]
fn a_peer_that_reads_nothing_stops_the_sender_and_is_then_reset() {
    let served = Served::start();
    let mut peer = served.open("/flood");
    // What comes before the buffers between are full, and a while later.
    std::thread::sleep(Duration::from_millis(100));
    peer.frame();
    assert_eq!(served.end(), (Err(WebSocketError::TooSlow), None));
    served.stop();
}

#[test]
fn a_peer_that_reads_slowly_is_waited_for() {
    let served = Served::start();
    let mut peer = served.open("/flood");
    let start = Instant::now();
    // Less than its limit between any two frames, more in all.
    while start.elapsed() < Duration::from_millis(900) {
        peer.expect(BINARY, &[7; 100_000]);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(served.ends.try_recv().is_err(), "it was given up");
    drop(peer);
    served.stop();
}

/// Of pings that are never answered for want of a reader not every pong may be kept.
#[test]
fn a_flood_of_pings_without_a_reader_stops_being_read() {
    let served = Served::start();
    let peer = served.open("/echo");
    peer.client.stream().set_nonblocking(true).expect("it may");
    let pings: Vec<u8> = (0..500).flat_map(|_| frame(PING, &[0; 125])).collect();
    let mut sent = 0_usize;
    let mut blocked_since = None::<Instant>;
    loop {
        use std::io::Write;
        // Within one frame or not: the bytes repeat.
        match peer.client.stream().write(&pings[sent % pings.len()..]) {
            Ok(count) => {
                sent += count;
                blocked_since = None;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let since = *blocked_since.get_or_insert_with(Instant::now);
                if since.elapsed() > Duration::from_millis(500) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 256 << 20, "{sent} bytes of pings were taken");
    }
    drop(peer);
    let (end, _) = served.end();
    assert!(matches!(end, Err(WebSocketError::Lost(_) | WebSocketError::CutOff)), "{end:?}");
    served.stop();
}

/// Others are served between so many messages of one peer, however many have come.
#[test]
fn a_peer_that_sends_much_lets_others_have_their_turn() {
    let served = Served::start();
    let mut peer = served.open("/turns");
    let bytes = frame(TEXT, b"x").repeat(5_000);
    peer.send(&[bytes, frame(TEXT, b"report")].concat());
    let (_, longest) = peer.frame();
    let longest: u32 = String::from_utf8(longest).expect("text").parse().expect("a number");
    assert!((2..=64).contains(&longest), "{longest} at once");
    drop(peer);
    served.stop();
}
