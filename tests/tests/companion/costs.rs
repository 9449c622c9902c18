//! What tokio costs in a handler, for a look: `cargo test --release --test companion costs --
//! --ignored --nocapture`. It prints and judges nothing.

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;

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
