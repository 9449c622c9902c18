//! A handler waits for tasks: for one, or for many side by side with a deadline. Its executor
//! serves others meanwhile.
//!
//! ```sh
//! cargo run --release --example wait
//! curl http://127.0.0.1:8080/one/200           # slept 200 ms
//! curl http://127.0.0.1:8080/all/20,30,60000   # two slept, one had not ended after 500 ms
//! ```

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use sidecore::tasks::{Failure, RunError, TaskError};
use sidecore::{Config, Server, TaskContext, Tasks};

/// How long all tasks of one request may take together.
const WITHIN: Duration = Duration::from_millis(500);

type Naps = Tasks<u64, u64>;

fn main() -> sidecore::Result<()> {
    Server::new(Config::load()?).try_on_task(nap).awaited().serve(|executor| {
        Router::new()
            .route("/one/{ms}", get(one))
            .route("/all/{naps}", get(all))
            .with_state(executor.tasks())
    })?;
    Ok(())
}

/// A job that takes long asks now and then whether it is still wanted.
fn nap(task: &TaskContext, ms: u64) -> Result<u64, Failure> {
    let end = Instant::now() + Duration::from_millis(ms);
    while Instant::now() < end {
        if task.is_cancelled() {
            // Nobody waits any more.
            return Err(Failure::cancelled());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(ms)
}

async fn one(State(naps): State<Naps>, Path(ms): Path<u64>) -> Result<String, StatusCode> {
    let slept = naps.run(ms).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(format!("slept {slept} ms\n"))
}

async fn all(State(naps): State<Naps>, Path(list): Path<String>) -> Result<String, StatusCode> {
    let jobs: Result<Vec<u64>, _> = list.split(',').map(str::parse).collect();
    let jobs = jobs.map_err(|_| StatusCode::BAD_REQUEST)?;
    // By position: each has its own outcome, and none is left out.
    let outcomes = naps.run_all(jobs, WITHIN).await;
    let lines = outcomes.into_iter().map(|outcome| match outcome {
        Ok(slept) => format!("slept {slept} ms\n"),
        Err(RunError::Failed(TaskError::TimedOut)) => "had not ended in time\n".to_owned(),
        Err(error) => format!("{error}\n"),
    });
    Ok(lines.collect())
}
