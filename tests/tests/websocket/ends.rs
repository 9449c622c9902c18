//! The ends of a WebSocket other than by its peer's close: ours, the drain's, faults.

use std::time::{Duration, Instant};

use sidecore::websocket::{Closed, WebSocketError};

use crate::{BINARY, CLOSE, PING, Served, TEXT, close, frame};

#[test]
fn a_half_closed_peer_gets_the_answers_to_what_it_sent() {
    let served = Served::start();
    let mut peer = served.open("/hold");
    peer.send(&[frame(TEXT, b"first"), frame(TEXT, b"second")].concat());
    peer.client.end();
    peer.expect(TEXT, b"first");
    peer.expect(TEXT, b"second");
    assert_eq!(peer.client.rest(), b"");
    assert_eq!(served.end(), (Err(WebSocketError::CutOff), None));
    served.stop();
}

#[test]
fn a_peer_that_leaves_within_a_frame_is_cut_off() {
    let served = Served::start();
    let mut peer = served.open("/echo");
    peer.send(&frame(TEXT, b"Hello")[..7]);
    drop(peer);
    assert_eq!(served.end(), (Err(WebSocketError::CutOff), None));
    served.stop();
}

#[test]
fn our_close_waits_for_its_answer_and_takes_no_more_messages() {
    let served = Served::start();
    let mut peer = served.open("/farewell");
    peer.expect(CLOSE, b"\x0f\xa1enough");
    // §1.4: what was on its way is dropped.
    peer.send(&[frame(TEXT, b"late"), frame(PING, b""), close(4001, "")].concat());
    assert_eq!(peer.client.rest(), b"");
    assert_eq!(served.end().0, Ok(()));
    served.stop();
}

#[test]
fn our_close_does_not_wait_for_good() {
    let served = Served::start();
    let mut peer = served.open("/farewell");
    peer.expect(CLOSE, b"\x0f\xa1enough");
    // A peer that keeps talking gains no time.
    let start = Instant::now();
    while peer.client.try_send(frame(TEXT, b"late")) && start.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(served.end().0, Err(WebSocketError::Unanswered));
    served.stop();
}

#[test]
fn a_dropped_websocket_says_1000_and_a_panicked_one_1011() {
    let served = Served::start();
    served.open("/drop").expect_close(1000);
    served.open("/panic").expect_close(1011);
    // The executor goes on.
    let mut peer = served.open("/echo");
    peer.send(&frame(TEXT, b"Hello"));
    peer.expect(TEXT, b"Hello");
    peer.send(&close(1000, ""));
    peer.expect_close(1000);
    served.stop();
}

#[test]
fn at_shutdown_peers_are_told_1001_and_waited_for() {
    let mut served = Served::start();
    let mut peers: Vec<_> = (0..20).map(|_| served.open("/echo")).collect();
    for peer in &mut peers {
        peer.send(&frame(TEXT, b"Hello"));
        peer.expect(TEXT, b"Hello");
    }
    let running = served.running.take().expect("it runs");
    running.shutdown().raise();
    for peer in &mut peers {
        let (first, payload) = peer.frame();
        assert_eq!((first, &payload[..]), (CLOSE, &b"\x03\xe9the server shuts down"[..]));
    }
    for peer in &mut peers {
        peer.send(&close(1001, "goodbye"));
        assert_eq!(peer.client.rest(), b"");
    }
    let report = running.wait().expect("it ends");
    assert_eq!(report.lost, 0);
    for _ in 0..20 {
        let closed = Closed { code: Some(1001), reason: "goodbye".to_owned() };
        assert_eq!(served.end(), (Ok(()), Some(closed)));
    }
}

/// An application that sends and does not receive is told by its next send.
#[test]
fn at_shutdown_a_sender_learns_of_it_by_its_next_send() {
    let mut served = Served::start();
    let mut peer = served.open("/hold");
    peer.send(&frame(TEXT, b"Hello"));
    std::thread::sleep(Duration::from_millis(50));
    let running = served.running.take().expect("it runs");
    running.shutdown().raise();
    peer.expect_close(1001);
    assert_eq!(served.end(), (Err(WebSocketError::Closed), None));
    running.wait().expect("it ends");
}

#[test]
fn at_shutdown_an_application_may_go_on_and_close_by_itself() {
    let mut served = Served::start();
    let mut peer = served.open("/lasting");
    let running = served.running.take().expect("it runs");
    running.shutdown().raise();
    std::thread::sleep(Duration::from_millis(100));
    peer.send(&frame(TEXT, b"under way"));
    peer.expect(TEXT, b"under way");
    peer.expect(CLOSE, b"\x03\xe9done");
    peer.send(&close(1001, ""));
    assert_eq!(peer.client.rest(), b"");
    assert_eq!(served.end().0, Ok(()));
    running.wait().expect("it ends");
}

#[test]
fn the_drain_does_not_wait_longer_than_its_time() {
    let served = Served::start_with(|config| config.options.drain_timeout_ms = 300);
    let mut peer = served.open("/echo");
    let start = Instant::now();
    served.stop();
    assert!(start.elapsed() >= Duration::from_millis(250), "{:?}", start.elapsed());
    assert_eq!(peer.frame().0, CLOSE);
}

/// A task that was accepted is delivered in the drain, and pushed before the close is sent.
#[test]
fn the_outputs_of_tasks_are_pushed() {
    let served = Served::start();
    let mut peer = served.open("/squares");
    for number in 0..50_u64 {
        peer.send(&frame(TEXT, number.to_string().as_bytes()));
    }
    for number in 0..50_u64 {
        peer.expect(TEXT, (number * number).to_string().as_bytes());
    }
    peer.send(&close(1000, ""));
    peer.expect_close(1000);
    assert_eq!(served.end().0, Ok(()));
    let report = served.stop();
    assert_eq!((report.accepted, report.finished, report.lost), (50, 50, 0));
}

#[test]
fn a_reset_is_an_error_and_costs_nobody_else_anything() {
    let served = Served::start();
    let mut other = served.open("/echo");
    let mut peer = served.open("/echo");
    peer.send(&frame(BINARY, &[1; 100_000]));
    rustix::net::sockopt::set_socket_linger(peer.client.stream(), Some(Duration::ZERO))
        .expect("a linger of zero resets");
    drop(peer);
    let (end, closed) = served.end();
    assert!(matches!(end, Err(WebSocketError::Lost(_) | WebSocketError::CutOff)), "{end:?}");
    assert_eq!(closed, None);
    other.send(&frame(TEXT, b"Hello"));
    other.expect(TEXT, b"Hello");
    drop(other);
    served.stop();
}
