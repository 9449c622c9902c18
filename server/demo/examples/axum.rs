//! An axum `Router` is the application as it is, and no tokio runtime runs: its handlers are polled
//! by the executors, and what takes long is awaited from a task worker.
//!
//! ```sh
//! cargo run --release --example axum
//! curl 'http://127.0.0.1:8080/hello/ada?times=2'
//! curl --json '{"n":90}' http://127.0.0.1:8080/tasks/fibonacci
//! curl --data-binary @/dev/shm/large http://127.0.0.1:8080/length
//! ```

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use sidecore::tasks::RunError;
use sidecore::{Config, Executor, Server, Tasks};

/// A job. It is what a client posts, too.
#[derive(Deserialize)]
struct Fibonacci {
    n: u32,
}

#[derive(Serialize)]
struct Answer {
    value: u128,
    executor: usize,
}

/// What the handlers of one executor share. It is `Send` and `Sync`, as axum wants it.
#[derive(Clone)]
struct App {
    tasks: Tasks<Fibonacci, u128>,
    executor: usize,
}

fn main() -> sidecore::Result<()> {
    Server::new(Config::load()?)
        .on_task(|_task, job: Fibonacci| fibonacci(job.n))
        .on_finish(|finish, _value| eprintln!("nobody waited for task {}", finish.id))
        .serve(router)?;
    Ok(())
}

/// Called once on each executor.
fn router(executor: &Executor<Fibonacci, u128>) -> Router {
    let tasks = Router::new().route("/fibonacci", post(run_fibonacci));
    Router::new()
        .route("/", get(|| async { "OK" }))
        .route("/hello/{name}", get(hello))
        .route("/length", post(length))
        .nest("/tasks", tasks)
        .with_state(App { tasks: executor.tasks(), executor: executor.index() })
}

#[derive(Deserialize)]
struct Repeat {
    times: Option<usize>,
}

async fn hello(Path(name): Path<String>, Query(repeat): Query<Repeat>) -> String {
    format!("hello {name}\n").repeat(repeat.times.unwrap_or(1).min(10))
}

/// Awaits a task; the executor serves others meanwhile.
async fn run_fibonacci(
    State(app): State<App>,
    Json(job): Json<Fibonacci>,
) -> Result<Json<Answer>, (StatusCode, String)> {
    let value = app.tasks.run(job).await.map_err(refuse)?;
    Ok(Json(Answer { value, executor: app.executor }))
}

/// Counts a body of any length in constant memory: a slow handler slows its client.
async fn length(mut body: Body) -> Result<String, StatusCode> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        bytes += frame.data_ref().map_or(0, |data| data.len());
    }
    Ok(format!("{bytes}\n"))
}

fn refuse(error: RunError<Fibonacci>) -> (StatusCode, String) {
    let status = match error {
        // Every worker is busy and the queue is full: the job was given back.
        RunError::Refused(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, error.to_string())
}

/// From 186 on it overflows: the task panics, and its request gets 500.
fn fibonacci(n: u32) -> u128 {
    let (mut a, mut b) = (0_u128, 1_u128);
    for _ in 0..n {
        (a, b) = (b, a.checked_add(b).expect("it fits into 128 bits"));
    }
    a
}
