//! HTTP/1.1 over real sockets: literal bytes in, whole answers out.

use std::time::{Duration, Instant};

use sidecore_tests::{Client, ServerProcess, get};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

fn server() -> ServerProcess {
    ServerProcess::start(&[("SIDECORE_TASK_WORKER_NUM", "1"), ("SIDECORE_WORKER_NUM", "1")])
}

#[test]
fn the_plain_path_answers_get_head_options_and_echoes_post() {
    let server = server();
    let mut client = Client::connect(server.address());
    let answer = client.request("GET", "/", "");
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"OK"[..]));
    assert!(answer.field("date").is_some_and(|date| date.ends_with(" GMT")));
    let answer = client.request("HEAD", "/", "");
    assert_eq!((answer.status, answer.field("content-length")), (200, Some("2")));
    assert_eq!(client.request("OPTIONS", "/", "").status, 200);
    assert_eq!(client.request("POST", "/", "hello").body, b"hello");
    assert_eq!(client.request("DELETE", "/", "").status, 405);
    assert_eq!(client.request("NONSENSE", "/", "").status, 501);
    assert_eq!(client.request("GET", "/nowhere", "").status, 404);
    server.stop();
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let server = server();
    let mut client = Client::connect(server.address());
    let echo = |text: &str| {
        format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{text}", text.len())
    };
    client.send(format!("{GET}{}{GET}{}", echo("one"), echo("two")));
    let bodies: Vec<_> = (0..4).map(|_| client.answer().body).collect();
    assert_eq!(bodies, [&b"OK"[..], b"one", b"OK", b"two"]);
    // More answers than a poll gives, in one write.
    client.send(GET.repeat(1000));
    assert!((0..1000).all(|_| client.answer().status == 200));
    server.stop();
}

#[test]
fn a_request_split_anywhere_is_the_same_request() {
    let server = server();
    let request = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n";
    let mut client = Client::connect(server.address());
    for at in 1..request.len() {
        client.send(&request[..at]);
        std::thread::sleep(Duration::from_micros(300));
        client.send(&request[at..]);
        assert_eq!(client.answer().body, b"abcde", "split at {at}");
    }
    for byte in request.as_bytes() {
        client.send([*byte]);
    }
    assert_eq!(client.answer().body, b"abcde");
    server.stop();
}

#[test]
fn large_bodies_pass_both_ways_and_too_large_ones_are_refused() {
    let server = server();
    let body = "0123456789abcdef".repeat(200_000);
    let mut client = Client::connect(server.address());
    assert_eq!(client.request("POST", "/", &body).body, body.as_bytes());
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("connection")), (413, Some("close")));
    assert!(client.rest().is_empty());
    server.stop();
}

#[test]
fn expectations_are_met_when_the_body_is_wanted() {
    let server = server();
    let expect = "Host: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let mut client = Client::connect(server.address());
    client.send(format!("POST / HTTP/1.1\r\n{expect}"));
    assert_eq!(client.answer().status, 100);
    client.send("hi");
    assert_eq!(client.answer().body, b"hi");
    // A refusal comes instead of the interim answer, and closes: the body may follow or not.
    client.send(format!("POST /nowhere HTTP/1.1\r\n{expect}"));
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("connection")), (404, Some("close")));
    assert!(client.rest().is_empty());
    server.stop();
}

#[test]
fn connections_persist_as_the_version_and_fields_say() {
    let server = server();
    let check = |request: &str, stays: bool| {
        let mut client = Client::connect(server.address());
        client.send(request);
        assert_eq!(client.answer().status, 200);
        client.send(GET);
        assert_eq!(client.try_answer().is_some(), stays, "{request:?}");
    };
    check(GET, true);
    check("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false);
    check("GET / HTTP/1.0\r\n\r\n", false);
    check("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true);
    server.stop();
}

#[test]
fn refusals_arrive_whole_whatever_else_was_sent() {
    let server = server();
    let check = |request: &str, status: u16| {
        let mut client = Client::connect(server.address());
        // Junk behind the bad request must not turn the answer into a reset.
        client.send(format!("{request}{}", "junk".repeat(5000)));
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("connection")), (status, Some("close")));
        client.end();
        assert!(client.rest().is_empty(), "{request:?} was followed by another answer");
    };
    check("GET / HTTP/1.1\r\n\r\n", 400);
    check("GET /\u{7f} HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    check("GET / HTTP/3.0\r\nHost: h\r\n\r\n", 505);
    check(&format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(17_000)), 414);
    check(&format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "a".repeat(80_000)), 431);
    check("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\n", 400);
    check("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400);
    server.stop();
}

#[test]
fn a_half_closed_client_gets_its_whole_answer() {
    let server = server();
    let mut client = Client::connect(server.address());
    client.send(
        r#"POST /tasks/run HTTP/1.1
Host: h
Content-Length: 25

{"kind":"sleep","ms":200}"#
            .replace('\n', "\r\n"),
    );
    client.end();
    assert_eq!(client.answer().body, br#"{"slept_ms":200}"#);
    assert!(client.rest().is_empty());
    // A body that ends early is no success.
    let mut client = Client::connect(server.address());
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
    client.end();
    assert_eq!(client.answer().status, 400);
    server.stop();
}

#[test]
fn what_is_slow_is_cut_off_at_its_time_limit() {
    let server = ServerProcess::start(&[
        ("SIDECORE_HEAD_TIMEOUT_MS", "300"),
        ("SIDECORE_BODY_TIMEOUT_MS", "300"),
        ("SIDECORE_KEEP_ALIVE_TIMEOUT_MS", "600"),
        ("SIDECORE_REQUEST_TIMEOUT_MS", "400"),
    ]);
    let check = |sent: &str, status: Option<u16>, limit_ms: u64| {
        let mut client = Client::connect(server.address());
        // Before the answer, from whose sending on the server counts.
        let start = Instant::now();
        client.send(GET);
        assert_eq!(client.answer().status, 200);
        client.send(sent);
        assert_eq!(client.try_answer().map(|answer| answer.status), status, "{sent:?}");
        let waited = start.elapsed().as_millis() as u64;
        assert!((limit_ms..limit_ms + 1500).contains(&waited), "{sent:?} took {waited} ms");
    };
    check("GET / HT", Some(408), 300);
    check("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na", Some(408), 300);
    check("", None, 600);
    let sleep = "POST /tasks/run HTTP/1.1\r\nHost: h\r\nContent-Length: 26\r\n\r\n";
    check(&format!("{sleep}{{\"kind\":\"sleep\",\"ms\":1000}}"), Some(503), 400);
    server.stop();
}

/// The time between requests is limited, not the life of a connection that is in use.
#[test]
fn a_connection_in_use_outlives_its_keep_alive_time() {
    let server = ServerProcess::start(&[("SIDECORE_KEEP_ALIVE_TIMEOUT_MS", "600")]);
    for (method, body) in [("GET", ""), ("POST", "hello")] {
        let mut client = Client::connect(server.address());
        for _ in 0..8 {
            assert_eq!(client.request(method, "/", body).status, 200);
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    server.stop();
}

#[test]
fn a_reader_that_never_reads_is_bounded_and_does_not_disturb_others() {
    let server = ServerProcess::start(&[("SIDECORE_WRITE_TIMEOUT_MS", "1000")]);
    let before = server.resident_bytes();
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(server.address())).collect();
    for client in &mut clients {
        let timeout = Some(Duration::from_millis(20));
        client.stream().set_write_timeout(timeout).unwrap();
        // As much as it takes; it stops taking at its bound.
        while client.try_send(GET.repeat(2000)) {}
    }
    assert_eq!(get(server.address(), "/").status, 200);
    let grown = server.resident_bytes().saturating_sub(before);
    println!("{} KiB for 20 readers that never read", grown / 1024);
    // What ARCHITECTURE.md states under "Bounds", by the growth of vectors doubled.
    assert!(grown < 20 * 2 * (640 << 10), "{grown} bytes for 20 connections");
    std::thread::sleep(Duration::from_millis(1500));
    drop(clients);
    server.stop();
}

/// The end of a connection whose handler awaited a task is sent with its answer, and not when the
/// executor next wakes.
#[test]
fn the_end_of_a_connection_comes_with_its_last_answer() {
    let server = server();
    let body = r#"{"kind":"noop"}"#;
    let request =
        format!("POST /tasks/run HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    // The least of many: whatever else the machine does.
    let least = (0..60).map(|_| {
        let mut client = Client::connect(server.address());
        client.send(&request);
        assert_eq!(client.answer().status, 200);
        let answered = Instant::now();
        assert!(client.rest().is_empty());
        answered.elapsed()
    });
    let least = least.min().unwrap();
    assert!(least < Duration::from_millis(3), "{least:?}");
    server.stop();
}

#[test]
fn a_reset_is_noticed_behind_a_request_that_waits_for_its_turn() {
    let server = server();
    let mut watcher = Client::connect(server.address());
    let body = r#"{"kind":"sleep","ms":4000}"#;
    let length = body.len();
    for behind in ["GET / HTTP/1.1\r\nHo", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"] {
        let mut client = Client::connect(server.address());
        client.send(format!(
            "POST /tasks/run HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}{behind}"
        ));
        wait_for_connections(&mut watcher, 2);
        std::thread::sleep(Duration::from_millis(50));
        let start = Instant::now();
        // Closed with a linger time of zero: a reset.
        rustix::net::sockopt::set_socket_linger(client.stream(), Some(Duration::ZERO)).unwrap();
        drop(client);
        wait_for_connections(&mut watcher, 1);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
    server.stop();
}

fn wait_for_connections(watcher: &mut Client, count: u64) {
    let end = Instant::now() + Duration::from_secs(10);
    while watcher.request("GET", "/stats", "").json()["connection_num"] != count {
        assert!(Instant::now() < end, "there are not {count} connections");
        std::thread::sleep(Duration::from_millis(5));
    }
}
