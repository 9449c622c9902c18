//! Limits of what a client may send and how many may be there: each answers with its own status.

use std::time::{Duration, Instant};

use sidecore_tests::{Client, ServerProcess, get, wait_until};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn heads_targets_and_bodies_are_taken_up_to_their_limit_and_refused_above_it() {
    let server = ServerProcess::start(&[
        ("SIDECORE_HEAD_SIZE_MAX_BYTES", "1000"),
        ("SIDECORE_HEADER_COUNT_MAX", "10"),
        ("SIDECORE_TARGET_LENGTH_MAX_BYTES", "100"),
        ("SIDECORE_BODY_SIZE_MAX_BYTES", "1000"),
    ]);
    let check = |request: String, status: u16| {
        let mut client = Client::connect(server.address());
        client.send(&request);
        let answer = client.answer();
        assert_eq!(answer.status, status, "{request:?}");
        if status >= 411 {
            assert_eq!(answer.field("connection"), Some("close"), "{request:?}");
            client.end();
            assert!(client.rest().is_empty());
        }
    };
    // So that the whole head has `size` bytes, its blank line included.
    let head = |size: usize| {
        let frame = "GET / HTTP/1.1\r\nHost: h\r\nA: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "a".repeat(size - frame))
    };
    check(head(1000), 200);
    check(head(1001), 431);
    let fields = |more: usize| {
        let more: String = (0..more).map(|at| format!("A{at}: b\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: h\r\n{more}\r\n")
    };
    check(fields(9), 200);
    check(fields(10), 431);
    let target =
        |length: usize| format!("GET /?{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(length - 2));
    check(target(100), 200);
    check(target(101), 414);
    let body = |length: usize| {
        let body = "a".repeat(length);
        format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    check(body(1000), 200);
    check(body(1001), 413);
    // One byte a chunk: no single size says that the body is too large.
    let chunks = |length: usize| {
        let chunks = "1\r\na\r\n".repeat(length);
        format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
    };
    check(chunks(1000), 200);
    check(chunks(1001), 413);
    server.stop();
}

#[test]
fn a_connection_ends_after_so_many_requests_and_its_last_answer_says_so() {
    let server = ServerProcess::start(&[("SIDECORE_REQUESTS_PER_CONNECTION_MAX", "3")]);
    for pipelined in [false, true] {
        let mut client = Client::connect(server.address());
        if pipelined {
            client.send(GET.repeat(5));
        }
        let answers: Vec<_> = (0..3)
            .map(|_| {
                if !pipelined {
                    client.send(GET);
                }
                client.answer()
            })
            .collect();
        let closes: Vec<_> = answers.iter().map(|answer| answer.field("connection")).collect();
        assert_eq!(closes, [None, None, Some("close")]);
        assert!(client.rest().is_empty());
    }
    server.stop();
}

/// Opens connections, each with a request answered, so that the server has them all.
fn open(server: &ServerProcess, count: usize) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count).map(|_| Client::connect(server.address())).collect();
    for client in &mut clients {
        assert_eq!(client.request("GET", "/", "").status, 200);
    }
    clients
}

/// One executor, so that the limit is the server's.
fn full_server(accept_timeout_ms: &str) -> (ServerProcess, Vec<Client>) {
    let server = ServerProcess::start(&[
        ("SIDECORE_WORKER_NUM", "1"),
        ("SIDECORE_CONNECTIONS_MAX", "4"),
        ("SIDECORE_ACCEPT_TIMEOUT_MS", accept_timeout_ms),
    ]);
    let clients = open(&server, 4);
    (server, clients)
}

#[test]
fn a_full_server_lets_clients_wait_without_work_and_serves_them_as_others_leave() {
    let (server, mut clients) = full_server("0");
    let mut waiting: Vec<_> = (0..50).map(|_| Client::connect(server.address())).collect();
    waiting.iter_mut().for_each(|client| client.send(GET));
    std::thread::sleep(Duration::from_millis(200));
    let before = server.cpu_time();
    std::thread::sleep(Duration::from_millis(800));
    let used = server.cpu_time() - before;
    assert!(used < Duration::from_millis(10), "{used:?} of CPU while nothing happens");
    // Those that are in are served as before.
    assert!(clients.iter_mut().all(|client| client.request("GET", "/", "").status == 200));
    drop(clients);
    for mut client in waiting {
        assert_eq!(client.answer().status, 200);
    }
    server.stop();
}

#[test]
fn who_waits_too_long_at_a_full_server_is_told_so() {
    let (server, clients) = full_server("400");
    let descriptors = server.descriptors();
    let start = Instant::now();
    let mut waiting: Vec<_> = (0..1000).map(|_| Client::connect(server.address())).collect();
    // Whether or not they have sent a request.
    waiting.iter_mut().skip(500).for_each(|client| client.send(GET));
    for client in &mut waiting {
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
        assert_eq!(answer.field("connection"), Some("close"));
        client.end();
        assert!(client.rest().is_empty());
    }
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(350), "refused after {waited:?}");
    assert!(waited < Duration::from_secs(4), "the last one waited for {waited:?}");
    drop(waiting);
    drop(clients);
    wait_until("descriptors are left open", || server.descriptors() <= descriptors - 4);
    assert_eq!(get(server.address(), "/").status, 200);
    server.stop();
}
