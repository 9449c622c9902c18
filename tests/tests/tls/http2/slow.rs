//! Peers that are slow, and those that only seem to be.

use std::time::Instant;

use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::plain::start_plain;
use super::raw::*;
use super::*;

const WINDOW_MAX: u32 = u32::MAX >> 1;
const NONE: [u32; 0] = [];

/// A client that takes little at once, with windows that never bind it but for the stream's.
fn slow(address: SocketAddr, stream_window: u32) -> Raw<TcpStream> {
    let mut raw = Raw::plain(address);
    set_socket_recv_buffer_size(&raw.client, 64 * 1024).unwrap();
    raw.begin(&[(4, stream_window)]);
    raw.send(&window_update(0, WINDOW_MAX - 65_535));
    raw
}

fn window_update(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

/// Takes frames for so long, at about so many bytes a second; the streams that were reset.
fn take<S: Read + Write>(raw: &mut Raw<S>, time: Duration, bytes_per_s: usize) -> Vec<u32> {
    let (start, mut taken, mut reset) = (Instant::now(), 0, Vec::new());
    while start.elapsed() < time {
        let came = raw.next().unwrap_or_else(|| panic!("cut off after {:?}", start.elapsed()));
        taken += came.payload.len();
        reset.extend((came.kind == RST_STREAM).then_some(came.stream));
        let due = Duration::from_secs_f64(taken as f64 / bytes_per_s as f64);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
    reset
}

/// 64 KiB in the write time are asked for. What waits to be sent, which takes a reader longer than
/// that, is no fault of a stream; nor is it that a full socket has room again by steps of twice that.
#[test]
fn a_slow_reader_keeps_its_stream() {
    let change = |config: &mut Config| config.options.write_timeout_ms = 1500;
    let running = start_plain(change);
    let mut raw = slow(running.address(), WINDOW_MAX);
    raw.send(&request(1, "/big"));
    assert_eq!(take(&mut raw, Duration::from_secs(8), 100_000), NONE);
    drop(raw);
    end(running);
    let served = Served::start_with(change);
    let mut raw = served.raw();
    set_socket_recv_buffer_size(&raw.client.sock, 64 * 1024).unwrap();
    raw.begin(&[(4, WINDOW_MAX)]);
    raw.send(&window_update(0, WINDOW_MAX - 65_535));
    raw.send(&request(1, "/big"));
    assert_eq!(take(&mut raw, Duration::from_secs(8), 100_000), NONE);
    drop(raw);
    served.end();
}

/// Each of them gets less than 64 KiB in the write time, as the others do.
#[test]
fn streams_that_share_a_slow_reader_live() {
    let running = start_plain(|config| config.options.write_timeout_ms = 1000);
    let mut raw = slow(running.address(), WINDOW_MAX);
    (0..20).for_each(|n| raw.send(&request(1 + 2 * n, "/big")));
    assert_eq!(take(&mut raw, Duration::from_secs(5), 300_000), NONE);
    drop(raw);
    end(running);
}

/// Its window stays shut, while the others have the connection full.
#[test]
fn a_stream_that_stalls_among_others_is_reset_alone() {
    let running = start_plain(|config| config.options.write_timeout_ms = 500);
    let mut raw = slow(running.address(), 0);
    for stream in [1, 3, 5, 7, 9, 11] {
        raw.send(&request(stream, "/big"));
        if stream > 1 {
            raw.send(&window_update(stream, WINDOW_MAX));
        }
    }
    let start = Instant::now();
    assert_eq!(take(&mut raw, Duration::from_secs(3), 8 << 20), [1], "{:?}", start.elapsed());
    drop(raw);
    end(running);
}

/// A byte now and then does not renew the time, whichever of the windows it opens.
#[test]
fn a_stream_that_trickles_is_reset() {
    let running = start_plain(|config| config.options.write_timeout_ms = 500);
    // The stream's window, then the connection's: that of the protocol is 65,535 bytes.
    for (stream_window, trickling) in [(0, 1), (WINDOW_MAX, 0)] {
        let mut raw = Raw::plain(running.address());
        raw.begin(&[(4, stream_window)]);
        raw.send(&request(1, "/big"));
        let start = Instant::now();
        let reset = loop {
            raw.send(&window_update(trickling, 1));
            let came = raw.next().expect("it is not ended");
            if came.kind == RST_STREAM {
                break came.stream;
            }
            // What is one byte is asked for again.
            if came.kind == DATA && came.payload.len() == 1 {
                std::thread::sleep(Duration::from_millis(50));
            }
            assert!(start.elapsed() < Duration::from_secs(5), "a trickle keeps its stream");
        };
        assert_eq!(reset, 1);
        assert!(start.elapsed() >= Duration::from_millis(450), "{:?}", start.elapsed());
        raw.ping([1; 8]);
    }
    end(running);
}

/// What a body has left of its time is left to it after its handler has done something else, which
/// takes none of it.
#[test]
fn a_body_that_trickles_to_a_handler_that_pauses_gets_408() {
    let running = start_plain(|config| {
        config.options.body_timeout_ms = 500;
        config.options.body_rate_min_bytes_per_s = 1000;
    });
    let mut http1 = socket(running.address());
    let begun = "POST /napping HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n";
    http1.write_all(begun.as_bytes()).unwrap();
    block_on(async {
        let client = H2::plain(running.address()).await;
        let begin = async || {
            let request = Request::post("https://localhost/napping").body(()).unwrap();
            client.send.clone().ready().await.unwrap().send_request(request, false).unwrap()
        };
        let (answer, mut stream) = begin().await;
        let answer = tokio::spawn(receive(answer));
        for _ in 0..100 {
            let _ = stream.send_data(Bytes::from_static(b"x"), false);
            let _ = http1.write_all(b"x");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(answer.is_finished(), "a trickle renews the time");
        assert_eq!(answer.await.unwrap().unwrap().status, 408);
        http1.set_nonblocking(true).unwrap();
        assert!(http1.peek(&mut [0]).is_ok(), "a trickle renews the time of HTTP/1.1");
        http1.set_nonblocking(false).unwrap();
        // One that keeps its rate is heard to its end.
        let (answer, mut stream) = begin().await;
        for _ in 0..10 {
            stream.send_data(Bytes::from_static(&[b'x'; 1000]), false).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        stream.send_data(Bytes::new(), true).unwrap();
        assert_eq!(receive(answer).await.unwrap().text(), "read");
    });
    assert!(read_answer(&mut http1).0.starts_with("HTTP/1.1 408 "));
    end(running);
}
