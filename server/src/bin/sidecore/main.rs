//! The server that `cargo run --release` starts: HTTP with tasks to try by hand.
//!
//! | request | answer |
//! |---|---|
//! | `GET /`, `HEAD /`, `OPTIONS /` | 200 `OK` |
//! | `POST /` | 200, the body echoed |
//! | `POST /tasks` with `{"kind":"sleep","ms":5000}` | 202 `{"task_id":1,"worker":0}` at once |
//! | `GET /tasks/{id}` | 200, its state; 404 |
//! | `DELETE /tasks/{id}` | 200 if it will not run, 202 if it runs and was asked to stop, 409 if it is over |
//! | `POST /tasks/run` | 200, the output, once it is there |
//! | `POST /tasks/wait` with `{"deadline_ms":600,"tasks":[…]}` | 200, the outcomes by position |
//! | `GET /stats` | 200, the counters |
//! | anything under `/audited/` | 200, and a task has been triggered |
//!
//! A task's `kind` is `noop`, `sleep` (`ms`), `hash` (`rounds`), `fail`, `panic` or `append`
//! (`line`, to the file that SIDECORE_APPEND_FILE names); it may have a `priority` (`high`,
//! `normal`, `low`), a `delay_ms`, a `deadline_ms`, `retries` and a `task_worker`.

#![forbid(unsafe_code)]

mod answer;
mod app;
mod audit;
mod job;
mod ledger;
mod order;
mod stats;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use sidecore::{Config, Direct, Report, Server};
use tower_layer::Layer;

use crate::app::App;
use crate::audit::trigger_audit;
use crate::job::Runner;
use crate::ledger::Ledger;

/// Names the file that `append` writes to.
const APPEND_FILE: &str = "SIDECORE_APPEND_FILE";

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
    let config = Config::loader().allow_variable(APPEND_FILE).load()?;
    let ledger = Arc::new(Ledger::new(config.options.tasks_remembered));
    let finished = ledger.clone();
    let runner = Runner { append_file: std::env::var_os(APPEND_FILE).map(PathBuf::from) };
    let may_append = runner.append_file.is_some();
    Server::new(config)
        .try_on_task(move |task, job| runner.run(task, job))
        .on_finish(move |finish, output| finished.finish(finish, output))
        .serve(move |worker| {
            let app = App::new(worker, ledger.clone(), may_append);
            let audit = trigger_audit(app.clone());
            let direct = app.clone();
            Direct::new(audit.layer(app), move |head, body| direct.direct(head, body))
        })
}
