//! Shutdown: what was read is answered, what was accepted is delivered.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sidecore_tests::{Client, ServerProcess, dispatch, wait_for, wait_for_task_count};

/// What the clients of a server under load received until its end.
#[derive(Default)]
struct Received {
    answers: AtomicU64,
    /// Of them, tasks that were accepted.
    accepted: AtomicU64,
    /// Answers that said that they were the last.
    farewells: AtomicU64,
}

/// Sends requests, `depth` at a time, until an answer says that it is the last or the connection
/// ends. An answer is whole (`answer` panics on one that is cut short), or there is none of it.
fn ask_until_the_end(address: SocketAddr, request: &str, depth: usize, received: &Received) {
    let mut client = Client::connect(address);
    let batch = request.repeat(depth);
    while client.try_send(&batch) {
        for _ in 0..depth {
            let Some(answer) = client.try_answer() else { return };
            received.answers.fetch_add(1, Ordering::Relaxed);
            if answer.status == 202 {
                received.accepted.fetch_add(1, Ordering::Relaxed);
            } else {
                // A task is refused where the queue is full.
                assert!(matches!(answer.status, 200 | 503), "{answer:?}");
            }
            if answer.field("connection") == Some("close") {
                received.farewells.fetch_add(1, Ordering::Relaxed);
                assert!(client.rest().is_empty(), "an answer after the last one");
                return;
            }
        }
    }
}

/// wrk at 64 connections, where it is installed: `apt-get install wrk`.
fn wrk(address: SocketAddr) -> Option<Child> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c64", "-d2s", &format!("http://{address}/")]);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()
}

/// At any time of the SIGTERM: a request that the server has read is answered. That nothing was
/// read and not answered is seen by the tasks: the server counts those it accepted, which it does
/// when it has read the request, and each client those it was told of.
#[test]
fn sigterm_under_load_loses_no_request_that_was_read() {
    const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    const ECHO: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    const TASK: &str =
        "POST /tasks HTTP/1.1\r\nHost: h\r\nContent-Length: 15\r\n\r\n{\"kind\":\"noop\"}";
    let server = ServerProcess::start(&[]);
    let address = server.address();
    let received = Received::default();
    let wrk = wrk(address);
    std::thread::scope(|scope| {
        for at in 0..64 {
            let request = [GET, ECHO, TASK, TASK][at % 4];
            let depth = [1, 4][at / 4 % 2];
            let received = &received;
            scope.spawn(move || ask_until_the_end(address, request, depth, received));
        }
        std::thread::sleep(Duration::from_millis(500));
        server.terminate();
    });
    let ended = server.wait();
    assert!(ended.status.success(), "{ended:?}");
    let [answers, accepted, farewells] =
        [&received.answers, &received.accepted, &received.farewells]
            .map(|count| count.load(Ordering::Relaxed));
    println!("{answers} answers, {accepted} tasks, {farewells} farewells");
    match wrk.map(Child::wait_with_output) {
        Some(output) => println!("{}", String::from_utf8_lossy(&output.unwrap().stdout)),
        None => println!("wrk is not installed: the load was that of the 64 clients alone"),
    }
    assert!(answers > 1000 && accepted > 100 && farewells > 0);
    assert_eq!(ended.count("accepted"), accepted, "accepted by the server, heard of by clients");
    assert_eq!((ended.count("finished"), ended.count("lost")), (accepted, 0));
}

/// Requests that had arrived together when the drain began are all answered; the last says so.
#[test]
fn pipelined_requests_that_had_arrived_are_answered_to_the_last() {
    let server = ServerProcess::start(&[]);
    let mut client = Client::connect(server.address());
    let task = r#"{"kind":"sleep","ms":500}"#;
    let run = format!("POST /tasks/run HTTP/1.1\r\nHost: h\r\nContent-Length: 25\r\n\r\n{task}");
    let echo = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    client.send(format!("{run}GET / HTTP/1.1\r\nHost: h\r\n\r\n{echo}{echo}"));
    wait_for_task_count(server.address(), 1);
    server.terminate();
    let answers: Vec<_> = (0..4).map(|_| client.answer()).collect();
    let closes: Vec<_> = answers.iter().map(|answer| answer.field("connection")).collect();
    assert_eq!(closes, [None, None, None, Some("close")]);
    let bodies: Vec<_> = answers.iter().map(|answer| answer.body.as_slice()).collect();
    assert_eq!(bodies, [&br#"{"slept_ms":500}"#[..], b"OK", b"abc", b"abc"]);
    assert!(client.rest().is_empty());
    assert!(server.wait().status.success());
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
    let ids = [10, 5000, 5000]
        .map(|ms| dispatch(&mut client, &format!(r#"{{"kind":"sleep","ms":{ms}}}"#)));
    wait_for(&mut client, ids[1], "running");
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
    // One that comes sooner is the same wish.
    std::thread::sleep(Duration::from_millis(700));
    server.terminate();
    let start = Instant::now();
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(143));
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(ended.log.last().unwrap().contains("without the drain"), "{ended:?}");
}

#[test]
fn a_task_that_cannot_come_due_within_the_drain_is_not_waited_for() {
    let server = ServerProcess::start(&[("SIDECORE_TASK_WORKER_NUM", "1")]);
    let mut client = Client::connect(server.address());
    let job = r#"{"kind":"noop","delay_ms":3600000}"#;
    assert_eq!(client.request("POST", "/tasks", job).status, 202);
    let failing = r#"{"kind":"noop","delay_ms":200}"#;
    assert_eq!(client.request("POST", "/tasks", failing).status, 202);
    let start = Instant::now();
    server.terminate();
    let ended = server.wait();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    // What is due in time is run; what is not is counted, and the exit says so.
    let counts = ["accepted", "finished", "lost"].map(|name| ended.count(name));
    assert_eq!(counts, [2, 1, 1]);
    assert_eq!(ended.status.code(), Some(1));
}
