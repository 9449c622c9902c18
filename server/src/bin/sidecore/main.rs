//! The server that `cargo run --release` starts: HTTP with tasks to try by hand.
//!
//! | request | answer |
//! |---|---|
//! | `GET /`, `HEAD /`, `OPTIONS /` | 200 `OK` |
//! | `POST /` | 200, the body echoed |
//! | `POST /tasks` with `{"kind":"sleep","ms":5000}` | 202 `{"task_id":1,"worker":0}` at once |
//! | `GET /tasks/{id}` | 200, its state; 404 |
//! | `POST /tasks/run` | 200, the output, once it is there |
//! | anything under `/audited/` | 200, and a task has been triggered |

#![forbid(unsafe_code)]

mod app;
mod audit;
mod job;
mod ledger;

use std::process::ExitCode;
use std::sync::Arc;

use sidecore::{Config, Direct, Plain, Report, RequestHead, Server};
use tower_layer::Layer;

use crate::app::App;
use crate::audit::TriggerAudit;
use crate::ledger::Ledger;

fn main() -> ExitCode {
    match run() {
        Ok(report) => {
            eprintln!("sidecore: ended: {report}");
            ExitCode::from(u8::from(report.lost > 0))
        }
        Err(error) => {
            eprintln!("sidecore: error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> sidecore::Result<Report> {
    let config = Config::load()?;
    let ledger = Arc::new(Ledger::new(config.options.tasks_remembered));
    let finished = ledger.clone();
    Server::new(config)
        .on_task(job::run)
        .on_finish(move |finish, output| finished.finish(finish, output))
        .serve(move |worker| {
            let app = App::new(worker, ledger.clone());
            let audit = TriggerAudit::new(app.clone());
            Direct::new(audit.layer(app), plain)
        })
}

/// The plain path, answered from the borrowed head.
fn plain(head: &RequestHead<'_>) -> Option<Plain> {
    match (head.method, head.target.path()) {
        ("GET" | "HEAD" | "OPTIONS", "/") | ("OPTIONS", "*") => Some(Plain::text("OK")),
        _ => None,
    }
}
