//! The companion outlives the executors and ends with the server.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use sidecore_tests::Client;

use crate::{Dropped, Served, config, text};

#[test]
fn a_request_that_waits_for_a_timer_is_answered_in_the_drain() {
    let (began, begun) = mpsc::channel();
    let served = Served::start(move || {
        let began = began.clone();
        let waits = move || async move {
            began.send(()).expect("the test waits");
            tokio::time::sleep(Duration::from_millis(200)).await;
            "slept"
        };
        Router::new().route("/", get(waits))
    });
    let mut client = Client::connect(served.running().address());
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    begun.recv().expect("it has begun");
    served.stop();
    assert_eq!(text(&client.answer()), "slept");
}

/// What is left when the drain's time is over is dropped by its executor with tokio still there;
/// what was spawned on the companion is dropped before `wait` comes back.
#[test]
fn it_ends_after_the_last_future_of_the_executors() {
    let (left, spawned, stopped) = (flag(), flag(), flag());
    let (began, begun) = mpsc::channel();
    let mut config = config();
    config.options.drain_timeout_ms = 100;
    let (left_in, spawned_in, stopped_in) = (left.clone(), spawned.clone(), stopped.clone());
    let router = move || {
        let (left, spawned, began) = (left_in.clone(), spawned_in.clone(), began.clone());
        let waits = move || async move {
            let _left = Dropped(Arc::new(move |tokio| left.store(tokio, Ordering::Release)));
            let dropped = Dropped(Arc::new(move |_| spawned.store(true, Ordering::Release)));
            tokio::spawn(async move {
                let _dropped = dropped;
                pending::<()>().await;
            });
            began.send(()).expect("the test waits");
            tokio::time::sleep(Duration::from_secs(600)).await;
            "slept"
        };
        Router::new().route("/", get(waits))
    };
    let on_stop = move |_| {
        let timer = tokio::time::sleep(Duration::from_millis(1));
        stopped_in.store(tokio::runtime::Handle::try_current().is_ok(), Ordering::Release);
        drop(timer);
    };
    let served = Served::start_with(config, router, on_stop);
    let mut client = Client::connect(served.running().address());
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    begun.recv().expect("it has begun");
    assert!(!spawned.load(Ordering::Acquire));
    served.stop();
    assert!(stopped.load(Ordering::Acquire), "tokio was gone in on_executor_stop");
    assert!(left.load(Ordering::Acquire), "tokio was gone before the last future");
    assert!(spawned.load(Ordering::Acquire), "what was spawned outlives the server");
}

/// As what drives a database's connection does, when the client that a handler had is gone.
#[test]
fn what_was_spawned_may_end_by_itself_after_the_executors() {
    let ended = flag();
    let ended_in = ended.clone();
    let served = Served::start(move || {
        let ended = ended_in.clone();
        let (client, mut requests) = tokio::sync::mpsc::channel::<()>(1);
        tokio::spawn(async move {
            while requests.recv().await.is_some() {}
            tokio::time::sleep(Duration::from_millis(5)).await;
            ended.store(true, Ordering::Release);
        });
        let asks = move || {
            let client = client.clone();
            async move { client.send(()).await.expect("it is there") }
        };
        Router::new().route("/", get(asks))
    });
    assert_eq!(served.get("/").status, 200);
    assert!(!ended.load(Ordering::Acquire));
    served.stop();
    assert!(ended.load(Ordering::Acquire), "it was dropped before it was through");
}

fn flag() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(false))
}

/// Each server has a companion of its own; a task of the first ends with the first.
#[test]
fn a_second_server_of_the_process_keeps_its_own() {
    let ticks = Arc::new(AtomicU64::new(0));
    let counted = ticks.clone();
    let first = Served::start(move || {
        let ticks = counted.clone();
        let begin = move || async move {
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    ticks.fetch_add(1, Ordering::Relaxed);
                }
            });
        };
        Router::new().route("/", get(begin))
    });
    let second = Served::start(|| {
        let sleeps = || async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            "slept"
        };
        Router::new().route("/", get(sleeps))
    });
    assert_eq!(first.get("/").status, 200);
    sidecore_tests::wait_until("the spawned task ticks", || ticks.load(Ordering::Relaxed) > 3);
    first.stop();
    let ended = ticks.load(Ordering::Relaxed);
    assert_eq!(text(&second.get("/")), "slept");
    assert_eq!(ticks.load(Ordering::Relaxed), ended);
    second.stop();
}
