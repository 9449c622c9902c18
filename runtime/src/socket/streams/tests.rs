//! Connections on a ring, without an executor.

use std::io::Write;
use std::os::unix::net::UnixStream;

use super::*;
use crate::ring::RingConfig;

fn ring() -> Ring {
    Ring::new(RingConfig { recv_buffers: 8, ..RingConfig::default() }).expect("a ring")
}

/// A connection whose receive is armed, and its peer.
fn connection(ring: &mut Ring, streams: &mut Streams) -> (StreamKey, UnixStream) {
    let (here, there) = UnixStream::pair().expect("sockets");
    let key = streams.insert(ring, here.into());
    turns(ring, streams, 1);
    (key, there)
}

/// Takes in what completes; each turn waits for a completion, and not for long.
fn turns(ring: &mut Ring, streams: &mut Streams, count: u32) {
    let mut completions = Vec::new();
    for _ in 0..count {
        ring.enter(Some(Some(Duration::from_millis(5)))).expect("a ring that works");
        ring.completions(&mut completions);
        for completion in completions.drain(..) {
            streams.complete(ring, completion);
        }
    }
}

#[test]
fn a_receive_that_never_completes_is_not_waited_for_once_it_was_cancelled() {
    let (mut ring, mut streams) = (ring(), Streams::new());
    let peers: Vec<_> = (0..3).map(|_| connection(&mut ring, &mut streams)).collect();
    ring.loses_receives = true;
    streams.close_all(&mut ring);
    turns(&mut ring, &mut streams, 20);
    assert_eq!((ring.in_flight(), streams.len()), (0, 0));
    drop(peers);
}

#[test]
fn a_late_end_of_a_receive_is_counted_once() {
    let (mut ring, mut streams) = (ring(), Streams::new());
    let (lost, _peer) = connection(&mut ring, &mut streams);
    ring.loses_receives = true;
    streams.close(&mut ring, lost);
    turns(&mut ring, &mut streams, 20);
    ring.loses_receives = false;
    // These end as they should, and late: their cancellation completes first.
    let (stopped, mut peer) = connection(&mut ring, &mut streams);
    for round in 0..10 {
        streams.hold(&mut ring, stopped);
        turns(&mut ring, &mut streams, 20);
        assert!(streams.is_quiet(stopped) && ring.in_flight() == 0, "of round {round}");
        streams.release(&mut ring, stopped);
        turns(&mut ring, &mut streams, 1);
        assert_eq!(ring.in_flight(), 1, "of round {round}");
    }
    peer.write_all(b"bytes").expect("a peer that reads");
    turns(&mut ring, &mut streams, 20);
    let mut bytes = Vec::new();
    streams.take_input(&mut ring, stopped, &mut bytes, Waker::noop());
    assert_eq!(bytes, b"bytes");
    streams.close(&mut ring, stopped);
    turns(&mut ring, &mut streams, 20);
    assert_eq!((ring.in_flight(), streams.len()), (0, 0));
}
