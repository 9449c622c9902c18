//! The server that `cargo run --release` starts: HTTP with tasks to try by hand.
//!
//! | request | answer |
//! |---|---|
//! | `GET /`, `HEAD /`, `OPTIONS /` | 200 `OK` |
//! | `POST /` | 200, the body echoed |
//! | `POST /tasks` with `{"kind":"sleep","ms":5000}` | 202 `{"task_id":1,"worker":0}` at once |
//! | `GET /tasks/{id}` | 200, its state; 404 |
//! | `DELETE /tasks/{id}` | 200 if it will not run, 202 if it runs and was asked to stop, 409 if it is over |
//! | `POST /tasks/run` | 200, the output, once it is there; 504 where its deadline passes before |
//! | `POST /tasks/wait` with `{"deadline_ms":600,"tasks":[…]}` | 200, the outcomes by position |
//! | `GET /stats` | 200, the counters |
//! | anything under `/audited/` | 200, and a task has been triggered |
//!
//! A task's `kind` is `noop`, `sleep` (`ms`), `hash` (`rounds`), `fail`, `panic` or `append`
//! (`line`, to the file that SIDECORE_APPEND_FILE names); it may have a `priority` (`high`,
//! `normal`, `low`), a `delay_ms`, a `deadline_ms`, `retries` and a `task_worker`.
//!
//! Its `pool` is `default`, `bulk` (a short queue and a worker of its own), `async` (its jobs are
//! futures, many at once) or `durable`: then it is on the disk before it is answered, and is run at
//! least once, whatever ends the process; the journal lies in the directory that SIDECORE_DATA_DIR
//! names. `--help` says how it is configured.

#![forbid(unsafe_code)]

mod answer;
mod app;
mod arguments;
mod audit;
mod begun;
mod job;
mod ledger;
mod order;
mod pools;
mod stats;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sidecore::app::Direct;
use sidecore::lifecycle::{Report, catch_signals, stderr};
use sidecore::{Config, Server};
use tower_layer::Layer;

use crate::app::App;
use crate::audit::trigger_audit;
use crate::job::{Runner, kinds};
use crate::ledger::Ledger;
use crate::pools::Pools;

/// Names the file that `append` writes to.
const APPEND_FILE: &str = "SIDECORE_APPEND_FILE";
/// Names the directory of the durable pool's journal; without it there is no such pool.
const DATA_DIR: &str = "SIDECORE_DATA_DIR";

/// How long the end waits for who reads standard error.
const LAST_WORDS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    stderr::report_panics();
    let code = match run() {
        Ok(None) => 0,
        Ok(Some(report)) => {
            stderr::line(format_args!("ended: {report}"));
            u8::from(report.lost > 0)
        }
        Err(error) => {
            stderr::line(format_args!("error: {error}"));
            2
        }
    };
    stderr::flush(LAST_WORDS);
    ExitCode::from(code)
}

/// Serves, unless it is asked for something else.
fn run() -> sidecore::Result<Option<Report>> {
    match arguments::answer(std::env::args_os().skip(1))? {
        true => Ok(None),
        false => serve().map(Some),
    }
}

fn serve() -> sidecore::Result<Report> {
    // The journal may take long to open, and what it would lose by a kill is at stake then.
    catch_signals()?;
    let config = Config::loader().allow_variable(APPEND_FILE).allow_variable(DATA_DIR).load()?;
    let ledger = Arc::new(Ledger::new(config.options.tasks_remembered));
    let finished = ledger.clone();
    let append_file = path_of(APPEND_FILE);
    let may_append = append_file.is_some();
    let runner = Arc::new(Runner { append_file });
    let data_dir = path_of(DATA_DIR);
    let pools = Pools::new(&runner, &ledger, data_dir.as_deref())?;
    let no_tasks = config.options.task_worker_num == Some(0);
    let mut server = Server::new(config)
        .try_on_task(move |task, job| runner.run(task, job))
        .kinds(kinds())
        .on_finish(move |finish, output| finished.finish(finish, output));
    if !no_tasks {
        server = pools.mount(server);
    }
    let mounted = pools.clone();
    let report = server.serve(move |executor| {
        let app = App::new(executor, mounted.on(executor), ledger.clone(), may_append);
        let audit = trigger_audit(app.clone());
        let direct = app.clone();
        Direct::new(audit.layer(app), move |head, body| direct.direct(head, body))
    })?;
    match pools.kept() {
        0 => {}
        kept => stderr::line(format_args!("the journal keeps {kept} tasks for the next start")),
    }
    Ok(report)
}

/// The path that a variable names; one that is empty names none.
fn path_of(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from)
}
