//! Clients that leave at the worst moment, never end what they began, or come all at once.

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};
use sidecore_tests::{Client, ServerProcess, ask_for, get, wait_until};

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
enum Departure {
    Reset,
    Close,
    /// The end of its stream, and the socket kept until the server has ended.
    HalfClose,
}

const DEPARTURES: [Departure; 3] = [Departure::Reset, Departure::Close, Departure::HalfClose];
const LARGE_BYTES: usize = 1 << 20;

/// What a client has sent when it leaves: each stage of a request.
fn stages() -> Vec<(&'static str, Vec<u8>, Duration)> {
    let large = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {LARGE_BYTES}\r\n\r\n");
    let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let run = "POST /tasks/run HTTP/1.1\r\nHost: h\r\nContent-Length: 24\r\n\r\n";
    let pause = Duration::from_millis(1);
    vec![
        ("before the head", vec![], Duration::ZERO),
        ("within the head", b"GET / HTTP/1.1\r\nHos".to_vec(), Duration::ZERO),
        ("after the head", get.as_bytes().to_vec(), Duration::ZERO),
        ("after several heads", get.repeat(100).into_bytes(), Duration::ZERO),
        ("before the body", large.as_bytes().to_vec(), Duration::ZERO),
        ("within the body", [large.as_bytes(), &[b'a'; 100_000]].concat(), Duration::ZERO),
        ("in the handler", format!("{run}{{\"kind\":\"sleep\",\"ms\":20}}").into(), pause),
        ("within the answer", [large.as_bytes(), &vec![b'a'; LARGE_BYTES]].concat(), pause),
    ]
}

/// Leaves after each stage in each way, so often.
fn leave(server: &ServerProcess, times: usize) {
    for (stage, bytes, pause) in stages() {
        for departure in DEPARTURES {
            for _ in 0..times {
                let mut client = Client::connect(server.address());
                set_socket_recv_buffer_size(client.stream(), 16 * 1024).unwrap();
                assert!(client.try_send(&bytes), "{stage}");
                std::thread::sleep(pause);
                match departure {
                    Departure::Close => {}
                    Departure::Reset => {
                        set_socket_linger(client.stream(), Some(Duration::ZERO)).unwrap();
                    }
                    Departure::HalfClose => {
                        client.stream().shutdown(Shutdown::Write).unwrap();
                        client.rest();
                    }
                }
            }
        }
    }
}

/// What a client leaves behind goes: descriptors, buffers, and the connection's task, for which the
/// drain would wait.
#[test]
fn who_leaves_at_any_stage_of_a_request_leaves_nothing_behind() {
    let server = ServerProcess::start(&[
        ("SIDECORE_TASK_WORKER_NUM", "4"),
        ("SIDECORE_HEAD_TIMEOUT_MS", "1500"),
        ("SIDECORE_BODY_TIMEOUT_MS", "1500"),
        ("SIDECORE_KEEP_ALIVE_TIMEOUT_MS", "1500"),
        ("SIDECORE_WRITE_TIMEOUT_MS", "1500"),
        ("SIDECORE_LINGER_TIMEOUT_MS", "500"),
    ]);
    assert_eq!(get(server.address(), "/").status, 200);
    let descriptors = server.descriptors();
    leave(&server, 10);
    let resident = server.resident_bytes();
    for _ in 0..3 {
        leave(&server, 10);
    }
    wait_until("descriptors are left open", || server.descriptors() <= descriptors);
    let grown = server.resident_bytes().saturating_sub(resident);
    println!("{} KiB more after three times as many departures", grown / 1024);
    assert!(grown < 8 << 20, "{grown} bytes are left behind");
    assert_eq!(get(server.address(), "/").status, 200);
    let start = Instant::now();
    server.stop();
    assert!(start.elapsed() < Duration::from_secs(5), "the drain took {:?}", start.elapsed());
}

/// Sends until the server answers or the connection is gone; how many bytes it took.
fn send_endlessly(client: &mut Client, start: &str, more: &str) -> usize {
    let mut sent = 0;
    let mut bytes = start.to_owned();
    while sent < 128 << 20 && client.try_send(&bytes) {
        sent += bytes.len();
        bytes = more.repeat(1000);
    }
    sent
}

/// Each would fill any memory; each is refused at its limit, and what is sent on is thrown away up
/// to a limit as well.
#[test]
fn what_never_ends_is_refused_and_takes_no_memory() {
    let server = ServerProcess::start(&[]);
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let extension = format!("{chunked}1;");
    let trailer = format!("{chunked}0\r\n");
    let endless = [
        ("GET / HTTP/1.1\r\nHost: h\r\nA: ", "aaaaaaaaaaaaaaaa", 431),
        ("GET / HTTP/1.1\r\nHost: h\r\n", "A: b\r\n", 431),
        ("GET /", "aaaaaaaaaaaaaaaa", 414),
        ("", "AAAAAAAAAAAAAAAA", 501),
        ("", "\r\n", 400),
        (&extension, "aaaaaaaaaaaaaaaa", 400),
        (chunked, "1;a=b\r\na\r\n", 400),
        (&trailer, "A: b\r\n", 431),
        (chunked, "0", 400),
    ];
    assert_eq!(get(server.address(), "/").status, 200);
    let before = server.resident_bytes();
    let mut most = 0;
    for (start, more, status) in endless {
        let mut client = Client::connect(server.address());
        client.stream().set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        // A stream that is never read from until it has broken: the answer may be lost to the
        // reset, but not the memory.
        let sent = send_endlessly(&mut client, start, more);
        // 64 MiB are thrown away, and some are in the buffers of both sides.
        assert!(sent < 96 << 20, "{start:?} was taken without end");
        most = most.max(server.resident_bytes());
        // One that stops soon reads the answer.
        let mut client = Client::connect(server.address());
        client.send(format!("{start}{}", more.repeat(20_000)));
        assert_eq!(client.answer().status, status, "{start:?}");
    }
    let grown = most.saturating_sub(before);
    println!("{} KiB more at most", grown / 1024);
    assert!(grown < 8 << 20, "{grown} bytes more");
    server.stop();
}

/// Two buffers of 512 bytes for all: receives find none most of the time, and none is forgotten.
#[test]
fn with_hardly_a_receive_buffer_every_sender_is_served_in_turn() {
    for buffers in ["2", "8"] {
        let server = ServerProcess::start(&[
            ("SIDECORE_WORKER_NUM", "1"),
            ("SIDECORE_RECV_BUFFERS", buffers),
            ("SIDECORE_RECV_BUFFER_BYTES", "512"),
        ]);
        let address = server.address();
        let end = Instant::now() + Duration::from_millis(1500);
        std::thread::scope(|scope| {
            for id in 0..48u8 {
                scope.spawn(move || {
                    let body = vec![b'a' + id % 26; 100_000];
                    let length = body.len();
                    let head =
                        format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
                    let mut client = Client::connect(address);
                    let mut rounds = 0;
                    while rounds == 0 || Instant::now() < end {
                        client.send(&head);
                        client.send(&body);
                        assert!(client.answer().body == body, "another's bytes");
                        rounds += 1;
                    }
                });
            }
            let latencies = ask_for(address, Duration::from_millis(1200));
            let p99 = latencies.quantile(0.99);
            println!("{buffers} buffers: {} honest requests, p99 {p99:?}", latencies.count());
            assert!(p99 < Duration::from_secs(1), "{p99:?}");
        });
        server.stop();
    }
}

/// Bytes of one request in as many segments as it has bytes, from many at once.
#[test]
fn requests_that_come_byte_by_byte_from_many_are_all_answered() {
    let server = ServerProcess::start(&[("SIDECORE_RECV_BUFFERS", "16")]);
    let mut clients: Vec<_> = (0..200).map(|_| Client::connect(server.address())).collect();
    for byte in b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi" {
        for client in &clients {
            let mut stream = client.stream();
            stream.write_all(&[*byte]).unwrap();
        }
    }
    assert!(clients.iter_mut().all(|client| client.answer().body == b"hi"));
    server.stop();
}
