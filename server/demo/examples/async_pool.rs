//! Jobs that are futures: one task worker waits for hundreds of them at once.
//!
//! ```sh
//! cargo run --release --example async_pool
//! curl http://127.0.0.1:8080/naps/200   # 200 naps of 100 ms took some 100 ms
//! ```
//!
//! What computes, or calls what blocks, belongs on a pool of the other kind: see `task.rs`.

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use sidecore::tasks::TaskPool;
use sidecore::tasks::async_tasks::glommio::timer;
use sidecore::{Config, Server, Tasks};

/// Jobs that one task worker has at once; more wait in the queue.
const CONCURRENCY: usize = 256;
const NAP: Duration = Duration::from_millis(100);

fn main() -> sidecore::Result<()> {
    let naps = TaskPool::named("naps")
        .task_worker_num(1)
        // The future need not be `Send`. A file or a socket is awaited like this timer.
        .on_async_task(CONCURRENCY, |task, ()| async move {
            timer::sleep(NAP).await;
            Ok(task.task_worker)
        })
        .awaited()
        .build();
    let pool = naps.clone();
    Server::new(Config::load()?).with_pool(&naps).serve(move |_executor| {
        Router::new().route("/naps/{count}", get(nap)).with_state(pool.tasks())
    })?;
    Ok(())
}

async fn nap(State(naps): State<Tasks<(), usize>>, Path(count): Path<usize>) -> String {
    let start = Instant::now();
    let jobs = std::iter::repeat_n((), count);
    let ended = naps.run_all(jobs, Duration::from_secs(10)).await;
    let slept = ended.iter().filter(|ended| ended.is_ok()).count();
    format!("{slept} naps of {NAP:?} took {} ms\n", start.elapsed().as_millis())
}
