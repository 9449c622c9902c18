//! The end: what was read is answered, what was accepted is delivered, and then it is counted.
//!
//! ```sh
//! cargo run --release --example graceful
//! for n in 1 2 3 4 5; do curl -X POST http://127.0.0.1:8080/tasks; done
//! curl http://127.0.0.1:8080/slow &           # is answered, though the end begins meanwhile
//! curl -X POST http://127.0.0.1:8080/stop     # as Ctrl-C does
//! ```
//!
//! SIDECORE_DRAIN_TIMEOUT_MS is how long it may take. Its last line is of the sort
//! `accepted=6 finished=6 … lost=0`.

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use sidecore::lifecycle::{Life, Shutdown};
use sidecore::{Config, Server, Tasks};

#[derive(Clone)]
struct App {
    tasks: Tasks<u64, u64>,
    shutdown: Shutdown,
}

fn main() -> sidecore::Result<ExitCode> {
    let report = Server::new(Config::load()?)
        .on_task(|_task, ms: u64| {
            std::thread::sleep(Duration::from_millis(ms));
            ms
        })
        .on_finish(|finish, _slept| eprintln!("task {} is over", finish.id))
        // What a balancer or a registry must be told.
        .on_life(|life| match life {
            Life::Started { address } => eprintln!("ready at {address}"),
            Life::Draining => eprintln!("no new connections"),
            _ => {}
        })
        .serve(|executor| {
            Router::new()
                .route("/tasks", post(dispatch))
                .route("/slow", get(slow))
                .route("/stop", post(async |State(app): State<App>| app.shutdown.raise()))
                .with_state(App { tasks: executor.tasks(), shutdown: executor.shutdown() })
        })?;
    eprintln!("{report}");
    // A supervisor should know of a loss.
    Ok(ExitCode::from(u8::from(report.lost > 0)))
}

async fn dispatch(State(app): State<App>) -> StatusCode {
    match app.tasks.dispatch(100) {
        Ok(_) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn slow(State(app): State<App>) -> Result<String, StatusCode> {
    let slept = app.tasks.run(1000).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(format!("slept {slept} ms\n"))
}
