//! Shutdown: what was read is answered, what was accepted is delivered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sidecore_tests::{Client, ServerProcess};

/// Clients with one request out each, at any time of the SIGTERM: each gets its answer, or the
/// connection's end before a byte of it, as a request that was not read does.
#[test]
fn sigterm_under_load_loses_no_request_that_was_read() {
    let server = ServerProcess::start(&[]);
    let address = server.address();
    let answered = AtomicU64::new(0);
    let farewells = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                let mut client = Client::connect(address);
                loop {
                    let sent = client
                        .try_send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
                    // `answer` panics on an answer that is cut short.
                    let Some(answer) = sent.then(|| client.try_answer()).flatten() else { return };
                    assert_eq!(answer.body, b"abc");
                    answered.fetch_add(1, Ordering::Relaxed);
                    if answer.field("connection") == Some("close") {
                        farewells.fetch_add(1, Ordering::Relaxed);
                        assert!(client.rest().is_empty());
                        return;
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        server.terminate();
    });
    assert!(answered.load(Ordering::Relaxed) > 1000);
    assert!(farewells.load(Ordering::Relaxed) > 0, "no answer said that it was the last");
    let ended = server.wait();
    assert!(ended.status.success(), "{ended:?}");
}

#[test]
fn a_request_in_flight_is_answered_and_queued_tasks_finish() {
    let server = ServerProcess::start(&[("SIDECORE_TASK_WORKER_NUM", "1")]);
    let mut client = Client::connect(server.address());
    for _ in 0..5 {
        let answer = client.request("POST", "/tasks", r#"{"kind":"sleep","ms":100}"#);
        assert_eq!(answer.status, 202);
    }
    let mut waiting = Client::connect(server.address());
    let body = r#"{"kind":"sleep","ms":100}"#;
    waiting
        .send(format!("POST /tasks/run HTTP/1.1\r\nHost: h\r\nContent-Length: 25\r\n\r\n{body}"));
    // One whose head is half sent is let finish.
    let mut half = Client::connect(server.address());
    half.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Le");
    std::thread::sleep(Duration::from_millis(50));
    server.terminate();
    std::thread::sleep(Duration::from_millis(50));
    half.send("ngth: 2\r\n\r\nhi");
    let answer = half.answer();
    assert_eq!((answer.body.as_slice(), answer.field("connection")), (&b"hi"[..], Some("close")));
    let answer = waiting.answer();
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    let ended = server.wait();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!((ended.count("accepted"), ended.count("finished")), (6, 6));
}

#[test]
fn the_drain_ends_at_its_time_and_counts_what_was_lost() {
    let server = ServerProcess::start(&[
        ("SIDECORE_TASK_WORKER_NUM", "1"),
        ("SIDECORE_DRAIN_TIMEOUT_MS", "300"),
    ]);
    let mut client = Client::connect(server.address());
    for ms in [10, 5000, 5000] {
        let job = format!(r#"{{"kind":"sleep","ms":{ms}}}"#);
        assert_eq!(client.request("POST", "/tasks", &job).status, 202);
    }
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    server.terminate();
    let ended = server.wait();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let counts = ["accepted", "finished", "panicked", "lost"].map(|name| ended.count(name));
    assert_eq!(counts, [3, 1, 0, 2]);
}

#[test]
fn idle_connections_do_not_hold_the_drain() {
    let server = ServerProcess::start(&[]);
    let mut clients: Vec<_> = (0..50).map(|_| Client::connect(server.address())).collect();
    assert!(clients.iter_mut().all(|client| client.request("GET", "/", "").status == 200));
    let start = Instant::now();
    server.terminate();
    assert!(clients.iter_mut().all(|client| client.rest().is_empty()));
    drop(clients);
    assert!(server.wait().status.success());
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[test]
fn a_second_signal_ends_at_once() {
    let server = ServerProcess::start(&[("SIDECORE_TASK_WORKER_NUM", "1")]);
    let job = r#"{"kind":"sleep","ms":20000}"#;
    assert_eq!(Client::connect(server.address()).request("POST", "/tasks", job).status, 202);
    server.terminate();
    std::thread::sleep(Duration::from_millis(200));
    server.terminate();
    let start = Instant::now();
    assert_eq!(server.wait().status.code(), Some(143));
    assert!(start.elapsed() < Duration::from_secs(2));
}
