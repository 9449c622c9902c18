//! Time limits against clients that do something, but hardly: a byte now and then renews none.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use sidecore::{Config, Incoming, Request, Response, Server};
use sidecore_runtime::executor::sleep;
use sidecore_tests::{Client, ServerProcess, wait_until};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// Sends a byte every `pause` until the server has closed, or `limit` is over; the status that it
/// answered, and when it had closed.
fn trickle(client: &mut Client, bytes: &[u8], pause: Duration) -> (Option<u16>, Duration) {
    let start = Instant::now();
    for byte in bytes {
        let mut stream = client.stream();
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(pause);
        stream.set_nonblocking(true).unwrap();
        let answered = stream.peek(&mut [0]).is_ok();
        stream.set_nonblocking(false).unwrap();
        if answered {
            break;
        }
    }
    let status = client.try_answer().map(|answer| answer.status);
    assert!(client.rest().is_empty());
    (status, start.elapsed())
}

fn check_cut(cut: (Option<u16>, Duration), status: u16, limit_ms: u64) {
    assert_eq!(cut.0, Some(status), "{cut:?}");
    let waited = cut.1.as_millis() as u64;
    assert!((limit_ms..limit_ms + 5000).contains(&waited), "{waited} ms for {limit_ms}");
}

#[test]
fn a_head_that_comes_byte_by_byte_ends_at_the_heads_limit() {
    let server = ServerProcess::start(&[("SIDECORE_HEAD_TIMEOUT_MS", "600")]);
    let head = format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}", "a".repeat(1000));
    let pause = Duration::from_millis(20);
    let mut fresh = Client::connect(server.address());
    check_cut(trickle(&mut fresh, head.as_bytes(), pause), 408, 590);
    let mut kept = Client::connect(server.address());
    assert_eq!(kept.request("GET", "/", "").status, 200);
    // The time since the last request counts for nothing, nor do blank lines.
    std::thread::sleep(Duration::from_millis(700));
    check_cut(trickle(&mut kept, head.as_bytes(), pause), 408, 590);
    let mut blank = Client::connect(server.address());
    assert_eq!(blank.request("GET", "/", "").status, 200);
    check_cut(trickle(&mut blank, format!("\r\n\r\n{head}").as_bytes(), pause), 408, 590);
    server.stop();
}

#[test]
fn a_fresh_connection_that_sends_nothing_is_closed_without_an_answer() {
    let server = ServerProcess::start(&[("SIDECORE_HEAD_TIMEOUT_MS", "300")]);
    let start = Instant::now();
    assert!(Client::connect(server.address()).rest().is_empty());
    // It would be 10 s by default.
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    server.stop();
}

/// Old clients end a body with a line's end more (RFC 9112 §2.2): that is no begun head.
#[test]
fn a_connection_with_a_blank_line_behind_its_request_is_idle() {
    let server = ServerProcess::start(&[("SIDECORE_HEAD_TIMEOUT_MS", "300")]);
    let mut client = Client::connect(server.address());
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab\r\n");
    assert_eq!(client.answer().status, 200);
    std::thread::sleep(Duration::from_millis(900));
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab\r\n");
    assert_eq!(client.answer().status, 200);
    let start = Instant::now();
    server.stop();
    assert!(start.elapsed() < Duration::from_secs(5), "the drain took {:?}", start.elapsed());
}

/// A request's time does not count while another holds the executor before it.
#[test]
fn a_request_behind_one_that_computes_has_its_own_time() {
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(1);
    config.options.task_worker_num = Some(0);
    config.options.request_timeout_ms = 100;
    let serve = |request: Request<Incoming>| async move {
        match request.uri().path() {
            "/computes" => std::thread::sleep(Duration::from_millis(150)),
            _ => sleep(Duration::from_millis(20)).await,
        }
        Ok::<_, Infallible>(Response::new(String::new()))
    };
    let running = Server::new(config).start(move |_| tower::service_fn(serve)).unwrap();
    let mut client = Client::connect(running.address());
    let head = |path| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
    client.send(head("/computes") + &head("/naps"));
    assert_eq!([client.answer().status, client.answer().status], [200, 200]);
    running.shutdown().raise();
    running.wait().unwrap();
}

/// 1,000 bytes a second are asked for, averaged over half a second.
#[test]
fn a_body_has_to_keep_its_least_rate() {
    let server = ServerProcess::start(&[
        ("SIDECORE_BODY_TIMEOUT_MS", "500"),
        ("SIDECORE_BODY_RATE_MIN_BYTES_PER_S", "1000"),
    ]);
    let pause = Duration::from_millis(20);
    for framing in ["Content-Length: 5000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n1388\r\n"] {
        let mut slow = Client::connect(server.address());
        slow.send(format!("POST / HTTP/1.1\r\nHost: h\r\n{framing}"));
        check_cut(trickle(&mut slow, &[b'a'; 1000], pause), 408, 490);
    }
    // A handler that has answered without its body: the rest is skipped no longer than that.
    let mut unread = Client::connect(server.address());
    unread.send("POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n");
    assert_eq!(unread.answer().status, 404);
    let (status, waited) = trickle(&mut unread, &[b'a'; 1000], pause);
    assert!(status.is_none() && waited < Duration::from_millis(1500), "{status:?} {waited:?}");
    // Twice the rate, for several times the limit.
    let mut enough = Client::connect(server.address());
    enough.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4000\r\n\r\n");
    for _ in 0..40 {
        std::thread::sleep(Duration::from_millis(50));
        enough.send([b'a'; 100]);
    }
    assert_eq!(enough.answer().body.len(), 4000);
    server.stop();
}

#[test]
fn with_no_least_rate_any_byte_keeps_a_body_going() {
    let server = ServerProcess::start(&[
        ("SIDECORE_BODY_TIMEOUT_MS", "300"),
        ("SIDECORE_BODY_RATE_MIN_BYTES_PER_S", "0"),
    ]);
    let mut client = Client::connect(server.address());
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n");
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(100));
        client.send("a");
    }
    assert_eq!(client.answer().body, [b'a'; 10]);
    server.stop();
}

/// More than the buffers of both kernels take.
const LARGE_BYTES: usize = 12 << 20;

/// Asks for a large answer with a small receive buffer, and reads none of it.
fn large_answer(server: &ServerProcess) -> Client {
    let mut client = Client::connect(server.address());
    set_socket_recv_buffer_size(client.stream(), 64 * 1024).unwrap();
    client.send(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {LARGE_BYTES}\r\n\r\n"));
    client.send(vec![b'a'; LARGE_BYTES]);
    client
}

/// Reads at a steady pace until the end; how many bytes came.
fn read_slowly(client: &Client, bytes: usize, pause: Duration) -> usize {
    let mut buffer = vec![0; bytes];
    let mut count = 0;
    while count < LARGE_BYTES {
        match client.stream().read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => count += read,
        }
        std::thread::sleep(pause);
    }
    count
}

#[test]
fn a_reader_that_trickles_is_cut_off_and_one_that_is_merely_slow_is_not() {
    let server = ServerProcess::start(&[("SIDECORE_WRITE_TIMEOUT_MS", "400")]);
    let before = server.descriptors();
    let slow = large_answer(&server);
    // About 5 MB a second: several times the time limit in all.
    assert!(read_slowly(&slow, 100 * 1024, Duration::from_millis(20)) >= LARGE_BYTES);
    drop(slow);
    let trickling = large_answer(&server);
    let (start, over) = (Instant::now(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) && trickling.stream().read(&mut [0]).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let cut = || server.descriptors() <= before || start.elapsed() > Duration::from_secs(3);
        wait_until("the connection ends", cut);
        over.store(true, Ordering::Relaxed);
    });
    assert!(server.descriptors() <= before, "a trickling reader keeps its connection");
    // The reader is still there: without a reset the kernel would keep megabytes for it.
    assert_eq!(queued_bytes(server.address().port()), 0);
    server.stop();
}

/// Bytes that the kernel holds for the peers of a port's connections (proc(5), `/proc/net/tcp`).
fn queued_bytes(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let of_line = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        // A listener's queues (state 0A) are those of connections to be accepted.
        if !fields[1].ends_with(&format!(":{port:04X}")) || fields[3] == "0A" {
            return 0;
        }
        u64::from_str_radix(fields[4].split(':').next().unwrap(), 16).unwrap()
    };
    table.lines().skip(1).map(of_line).sum()
}

#[test]
fn a_request_has_a_limit_as_a_whole_whatever_it_waits_for() {
    let server = ServerProcess::start(&[
        ("SIDECORE_REQUEST_TIMEOUT_MS", "600"),
        ("SIDECORE_BODY_RATE_MIN_BYTES_PER_S", "0"),
    ]);
    // A body that keeps its own limits.
    let mut body = Client::connect(server.address());
    body.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n");
    check_cut(trickle(&mut body, &[b'a'; 1000], Duration::from_millis(20)), 408, 590);
    // A body and a handler, each within the limit, not both together.
    let mut both = Client::connect(server.address());
    let start = Instant::now();
    both.send("POST /tasks/run HTTP/1.1\r\nHost: h\r\nContent-Length: 25\r\n\r\n");
    std::thread::sleep(Duration::from_millis(400));
    both.send(r#"{"kind":"sleep","ms":400}"#);
    check_cut((both.try_answer().map(|answer| answer.status), start.elapsed()), 503, 590);
    // A reader that takes its time, though it makes progress.
    let before = server.descriptors();
    let slow = large_answer(&server);
    let start = Instant::now();
    assert!(read_slowly(&slow, 100 * 1024, Duration::from_millis(20)) < LARGE_BYTES);
    assert!(start.elapsed() < Duration::from_millis(2500), "{:?}", start.elapsed());
    wait_until("a slow reader keeps its connection", || server.descriptors() < before + 1);
    // The next request has its own time.
    let mut kept = Client::connect(server.address());
    for _ in 0..4 {
        kept.send(GET);
        assert_eq!(kept.answer().status, 200);
        assert_eq!(kept.request("POST", "/", "hello").status, 200);
        std::thread::sleep(Duration::from_millis(250));
    }
    server.stop();
}

/// Asks for what takes a task so long.
fn ask_to_sleep(client: &mut Client, ms: u32) {
    let task = format!(r#"{{"kind":"sleep","ms":{ms}}}"#);
    let head = "POST /tasks/run HTTP/1.1\r\nHost: h\r\n";
    client.send(format!("{head}Content-Length: {}\r\n\r\n{task}", task.len()));
}

#[test]
fn a_peer_that_has_ended_is_waited_for_no_longer_than_its_limit() {
    let server = ServerProcess::start(&[("SIDECORE_HALF_CLOSE_TIMEOUT_MS", "600")]);
    let before = server.descriptors();
    let gone: Vec<_> = (0..20).map(|_| Client::connect(server.address())).collect();
    for mut client in gone {
        ask_to_sleep(&mut client, 20_000);
    }
    let start = Instant::now();
    wait_until("nobody waits for who is gone", || server.descriptors() <= before);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    // Killed by its drop: the tasks themselves sleep on.
}

#[test]
fn a_peer_that_half_closes_or_only_waits_gets_its_answer() {
    let server = ServerProcess::start(&[("SIDECORE_HALF_CLOSE_TIMEOUT_MS", "1000")]);
    let mut ended = Client::connect(server.address());
    ask_to_sleep(&mut ended, 100);
    ended.end();
    assert_eq!(ended.answer().status, 200);
    let mut waiting = Client::connect(server.address());
    ask_to_sleep(&mut waiting, 1500);
    assert_eq!(waiting.answer().status, 200);
    server.stop();
}

#[test]
fn a_reader_far_slower_than_the_kernels_buffer_is_large_keeps_its_connection() {
    let server = ServerProcess::start(&[("SIDECORE_WRITE_TIMEOUT_MS", "1500")]);
    let client = large_answer(&server);
    // 100 kB a second, more than twice what is asked for: the kernel takes another part of the answer
    // each two to fifteen seconds.
    let (start, mut buffer) = (Instant::now(), vec![0; 10 * 1024]);
    while start.elapsed() < Duration::from_secs(10) {
        let read = client.stream().read(&mut buffer);
        assert!(matches!(read, Ok(1..)), "{read:?} after {:?}", start.elapsed());
        std::thread::sleep(Duration::from_millis(100));
    }
    server.stop();
}

#[test]
fn a_connection_whose_peer_is_silent_is_probed() {
    let server = ServerProcess::start(&[]);
    let mut client = Client::connect(server.address());
    assert_eq!(client.request("GET", "/", "").status, 200);
    let local = format!(":{:04X}", server.address().port());
    let probed = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        table.lines().skip(1).any(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            // An established connection (01) with the timer of probes (02) running.
            fields[1].ends_with(&local) && fields[3] == "01" && fields[5].starts_with("02:")
        })
    };
    wait_until("the timer runs", probed);
    server.stop();
}

#[test]
fn an_answer_to_an_unread_body_reaches_who_sends_all_of_it_first() {
    let server = ServerProcess::start(&[]);
    for _ in 0..8 {
        let mut client = Client::connect(server.address());
        let head = "POST /nowhere HTTP/1.1\r\nHost: h\r\n";
        client.send(format!("{head}Content-Length: {}\r\n\r\n", 5 << 20));
        client.send(vec![b'a'; 5 << 20]);
        assert_eq!(client.answer().status, 404);
    }
    server.stop();
}

#[test]
fn a_slow_upload_after_its_answer_is_cut_off_only_when_it_pauses() {
    let server = ServerProcess::start(&[("SIDECORE_LINGER_TIMEOUT_MS", "1000")]);
    let mut client = Client::connect(server.address());
    client
        .send(format!("POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", 5 << 20));
    for sent in 0..30 {
        assert!(client.try_send([b'a'; 1000]), "cut off at {sent}");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(client.answer().status, 404);
    server.stop();
}
