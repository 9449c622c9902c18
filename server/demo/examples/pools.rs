//! Bulkheads: what floods one pool of task workers takes nothing of another.
//!
//! ```sh
//! cargo run --release --example pools
//! seq 9 | xargs -P 9 -I{} curl -s -X POST http://127.0.0.1:8080/reports/{}   # some are refused
//! curl http://127.0.0.1:8080/thumbnails/7                                     # and this is served
//! curl http://127.0.0.1:8080/stats
//! ```
//!
//! `[pools.reports]` in `sidecore.toml`, or SIDECORE_POOL_REPORTS_TASK_QUEUE_DEPTH, changes a pool.

use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use sidecore::lifecycle::ServerStats;
use sidecore::tasks::TaskPool;
use sidecore::{Config, Server, Tasks};

/// Each pool has its own types of jobs and outputs.
struct Report {
    number: u32,
}

#[derive(Clone)]
struct App {
    thumbnails: Tasks<u32, String>,
    reports: Tasks<Report, ()>,
    stats: ServerStats,
}

fn main() -> sidecore::Result<()> {
    // Two may wait while one is written; a fourth is refused.
    let reports = TaskPool::named("reports")
        .task_worker_num(1)
        .queue_depth(2)
        .on_task(|_task, report: Report| {
            std::thread::sleep(Duration::from_secs(1));
            eprintln!("report {} is written", report.number);
        })
        .awaited()
        .build();
    let pool = reports.clone();
    Server::new(Config::load()?)
        // The server's own pool is for what is quick.
        .on_task(|_task, picture: u32| format!("thumbnail of {picture}\n"))
        .awaited()
        .with_pool(&reports)
        .serve(move |executor| {
            let app = App {
                thumbnails: executor.tasks(),
                reports: pool.tasks(),
                stats: executor.stats(),
            };
            Router::new()
                .route("/reports/{number}", post(report))
                .route("/thumbnails/{picture}", get(thumbnail))
                .route("/stats", get(stats))
                .with_state(app)
        })?;
    Ok(())
}

async fn report(State(app): State<App>, Path(number): Path<u32>) -> (StatusCode, String) {
    match app.reports.dispatch(Report { number }) {
        Ok(id) => (StatusCode::ACCEPTED, format!("task {id}\n")),
        Err(refused) => (StatusCode::SERVICE_UNAVAILABLE, format!("{refused}\n")),
    }
}

async fn thumbnail(
    State(app): State<App>,
    Path(picture): Path<u32>,
) -> Result<String, (StatusCode, String)> {
    let run = app.thumbnails.run(picture).await;
    run.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
}

async fn stats(State(app): State<App>) -> String {
    let pools = app.stats.pools().into_iter();
    let lines = pools.map(|(name, pool)| {
        format!("{name}: {} accepted, {} refused\n", pool.accepted, pool.refused)
    });
    lines.collect()
}
