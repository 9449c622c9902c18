//! What tokio costs in a handler, for a look: `cargo test --release --test companion costs --
//! --ignored --nocapture`. It prints and judges nothing.

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;

use sidecore_tests::Client;

use crate::{Served, text};

const ROUNDS: u32 = 20_000;

#[test]
#[ignore = "prints times, which say something on a quiet machine only"]
fn of_a_spawn_and_of_a_timeout() {
    async fn measures() -> String {
        let limit = Duration::from_secs(60);
        let start = Instant::now();
        for _ in 0..ROUNDS {
            let done = tokio::time::timeout(limit, sidecore_runtime::executor::yield_now()).await;
            done.expect("it is not late");
        }
        let timeout = start.elapsed() / ROUNDS;
        let start = Instant::now();
        for _ in 0..ROUNDS {
            tokio::spawn(async {}).await.expect("it ends");
        }
        let spawn = start.elapsed() / ROUNDS;
        format!("a timeout around a pending poll: {timeout:?}; a spawn and its await: {spawn:?}")
    }
    let served = Served::start(|| Router::new().route("/", get(measures)));
    println!("{}", text(&served.get("/")));
    served.stop();
}

/// What it costs a request to offer an upgrade: hyper's is made for it, and dropped.
#[test]
#[ignore = "prints times, which say something on a quiet machine only"]
fn of_an_offer_that_is_not_taken() {
    let served = Served::start(|| Router::new().route("/", get(|| async { "plain" })));
    let mut client = Client::connect(served.running().address());
    let offer = "Connection: upgrade\r\nUpgrade: h2c\r\n";
    for fields in ["", offer, "", offer] {
        let request = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let mut times: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                client.send(&request);
                assert_eq!(client.answer().status, 200);
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        println!("offering {fields:?}: p50 {:?}", times[times.len() / 2]);
    }
    served.stop();
}
