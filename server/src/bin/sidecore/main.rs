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
//!
//! With `"pool":"durable"` it is on the disk before it is answered, and is run at least once,
//! whatever ends the process; the journal lies in the directory that SIDECORE_DATA_DIR names.

#![forbid(unsafe_code)]

mod answer;
mod app;
mod audit;
mod begun;
mod job;
mod ledger;
mod order;
mod stats;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use sidecore::durable::{Durable, DurableLimits, DurablePool};
use sidecore::journal::JournalError;
use sidecore::{Config, Direct, Report, Server, TaskPool};
use tower_layer::Layer;

use crate::app::App;
use crate::audit::trigger_audit;
use crate::job::{Job, Output, Runner};
use crate::ledger::Ledger;

/// Names the file that `append` writes to.
const APPEND_FILE: &str = "SIDECORE_APPEND_FILE";
/// Names the directory of the durable pool's journal; without it there is no such pool.
const DATA_DIR: &str = "SIDECORE_DATA_DIR";

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

fn run() -> Result<Report, Box<dyn std::error::Error>> {
    let config = Config::loader().allow_variable(APPEND_FILE).allow_variable(DATA_DIR).load()?;
    let ledger = Arc::new(Ledger::new(config.options.tasks_remembered));
    let finished = ledger.clone();
    let append_file = std::env::var_os(APPEND_FILE).map(PathBuf::from);
    let may_append = append_file.is_some();
    let runner = Arc::new(Runner { append_file });
    let durable = match std::env::var_os(DATA_DIR).map(PathBuf::from) {
        Some(directory) => Some(durable_pool(&directory, runner.clone(), ledger.clone())?),
        None => None,
    };
    let mut server = Server::new(config)
        .try_on_task(move |task, job| runner.run(task, job))
        .on_finish(move |finish, output| finished.finish(finish, output));
    if let Some(pool) = &durable {
        server = server.with_pool(pool);
    }
    let pool = durable.clone();
    let report = server.serve(move |worker| {
        let durable = pool.as_ref().map(|pool| pool.start(worker));
        let app = App::new(worker, durable, ledger.clone(), may_append);
        let audit = trigger_audit(app.clone());
        let direct = app.clone();
        Direct::new(audit.layer(app), move |head, body| direct.direct(head, body))
    })?;
    if let Some(kept) = durable.map(|pool| pool.stats().kept).filter(|kept| *kept > 0) {
        eprintln!("sidecore: the journal keeps {kept} tasks for the next start");
    }
    Ok(report)
}

fn durable_pool(
    directory: &Path,
    runner: Arc<Runner>,
    ledger: Arc<Ledger>,
) -> Result<DurablePool<Job, Output>, JournalError> {
    let journal = Durable::open(directory, "durable", DurableLimits::default())?;
    let left = journal.stats().backlog;
    if left > 0 {
        eprintln!("sidecore: {left} tasks of the journal are left from before: they are run now");
    }
    Ok(TaskPool::named("durable")
        .try_on_task(move |task, job| runner.run(task, job))
        .on_finish(move |finish, output| ledger.finish(finish, output))
        .durable(&journal))
}
