//! With the companion.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use axum::routing::get;
use http::StatusCode;
use rustix::thread::{CpuSet, sched_getaffinity};
use sidecore_tests::{Client, Scratch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_http::timeout::TimeoutLayer;

use crate::{Served, text};

/// The name of the current thread, as the kernel has it: glommio names its threads itself.
fn thread_name() -> String {
    std::fs::read_to_string("/proc/thread-self/comm").expect("a name").trim().to_owned()
}

async fn sleeps() -> String {
    let start = Instant::now();
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(start.elapsed() >= Duration::from_millis(30));
    thread_name()
}

#[test]
fn a_sleep_and_a_timeout_leave_the_handler_on_its_executor() {
    let served = Served::start(|| {
        let limit = Duration::from_millis(20);
        let times_out = move || async move {
            let late = tokio::time::timeout(limit, pending::<()>()).await.is_err();
            let soon = tokio::time::timeout(limit, async { 7 }).await;
            format!("{late} {soon:?}")
        };
        Router::new().route("/sleep", get(sleeps)).route("/timeout", get(times_out))
    });
    assert_eq!(text(&served.get("/sleep")), "exec-0");
    assert_eq!(text(&served.get("/timeout")), "true Ok(7)");
    served.stop();
}

#[test]
fn what_is_spawned_runs_on_the_companion_and_its_output_comes_back() {
    let served = Served::start(|| {
        Router::new().route(
            "/",
            get(|| async {
                let spawned = tokio::spawn(async { thread_name() }).await.expect("it ends");
                let panicked = tokio::spawn(async { panic!("as this test means it to") }).await;
                format!("{spawned} {} {}", panicked.is_err(), thread_name())
            }),
        )
    });
    assert_eq!(text(&served.get("/")), "companion true exec-0");
    served.stop();
}

fn mask() -> CpuSet {
    sched_getaffinity(None).expect("a mask")
}

fn cpus(set: &CpuSet) -> Vec<usize> {
    (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
}

/// A thread inherits the mask of the one that starts it, here a pinned executor.
#[test]
fn what_blocks_runs_on_cpus_that_are_no_executors() {
    let usable = cpus(&mask());
    let served = Served::start(|| {
        Router::new().route(
            "/",
            get(|| async {
                let blocking = tokio::task::spawn_blocking(|| cpus(&mask())).await.expect("a mask");
                let spawned = tokio::spawn(async { cpus(&mask()) }).await.expect("a mask");
                format!("{:?} {:?} {:?}", cpus(&mask()), blocking, spawned)
            }),
        )
    });
    let answer = served.get("/");
    let own = usable.iter().copied().find(|cpu| text(&answer).starts_with(&format!("[{cpu}] ")));
    let own = own.expect("the executor is pinned");
    let spare: Vec<usize> = usable.iter().copied().filter(|cpu| *cpu != own).collect();
    let expected = if spare.is_empty() { usable } else { spare };
    assert_eq!(text(&answer), format!("[{own}] {expected:?} {expected:?}"));
    served.stop();
}

#[test]
fn files_are_read_and_written() {
    let scratch = Scratch::new("companion-files");
    let path = scratch.path().join("file");
    let served = Served::start(move || {
        let path = path.clone();
        let copies = move || async move {
            tokio::fs::write(&path, b"written").await.expect("a file");
            tokio::fs::read_to_string(&path).await.expect("its text")
        };
        Router::new().route("/", get(copies))
    });
    assert_eq!(text(&served.get("/")), "written");
    served.stop();
}

/// An echo server of tokio's sockets, spawned by one handler and asked by the same one.
#[test]
fn sockets_of_tokio_work_on_both_ends() {
    async fn echoes() -> Vec<u8> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut bytes = vec![0; 5];
            stream.read_exact(&mut bytes).await.expect("five bytes");
            stream.write_all(&bytes).await.expect("it takes them");
        });
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("it accepts");
        stream.write_all(b"hello").await.expect("it takes them");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("an end");
        server.await.expect("it ends");
        bytes
    }
    let served = Served::start(|| Router::new().route("/", get(echoes)));
    assert_eq!(text(&served.get("/")), "hello");
    served.stop();
}

/// The handler asks its own server, whose one executor goes on serving meanwhile.
#[test]
fn reqwest_asks_a_server_from_within_a_handler() {
    async fn asks(host: axum::http::HeaderMap) -> String {
        let host = host["host"].to_str().expect("a host").to_owned();
        let answer = reqwest::get(format!("http://{host}/hello")).await.expect("an answer");
        format!("{} {}", answer.status(), answer.text().await.expect("text"))
    }
    let served = Served::start(|| {
        let hello = get(|| async { "hello" });
        Router::new().route("/hello", hello).route("/ask", get(asks))
    });
    let address = served.running().address();
    let mut client = Client::connect(address);
    client.send(format!("GET /ask HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    assert_eq!(text(&client.answer()), "200 OK hello");
    served.stop();
}

#[test]
fn the_timeout_layer_answers_in_time_and_keeps_the_connection() {
    let served = Served::start(|| {
        let limit = Duration::from_millis(50);
        let layer = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, limit);
        let late = get(pending::<String>);
        Router::new().route("/late", late).route("/soon", get(|| async { "soon" })).layer(layer)
    });
    let mut client = Client::connect(served.running().address());
    assert_eq!(client.request("GET", "/late", "").status, 504);
    assert_eq!(text(&client.request("GET", "/soon", "")), "soon");
    served.stop();
}

/// One event, and then none.
struct Once(Option<Event>);

impl futures_core::Stream for Once {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.take().map_or(Poll::Pending, |event| Poll::Ready(Some(Ok(event))))
    }
}

#[test]
fn server_sent_events_are_kept_alive() {
    let served = Served::start(|| {
        let keep_alive = KeepAlive::new().interval(Duration::from_millis(20)).text("still here");
        let events = get(|| async {
            Sse::new(Once(Some(Event::default().data("first")))).keep_alive(keep_alive)
        });
        Router::new().route("/", events)
    });
    let mut client = Client::connect(served.running().address());
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let received = client.until("still here\n\n");
    assert!(received.contains("data: first\n\n"), "{received}");
    assert!(client.until("still here\n\n").contains(": still here"));
    // The events have no end of their own, which the drain would wait for.
    drop(client);
    served.stop();
}
