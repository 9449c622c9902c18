//! What is kept where: by each executor without a lock, by all, and by each task worker.
//!
//! ```sh
//! cargo run --release --example state
//! curl http://127.0.0.1:8080/   # request 1 here, 1 in all; job 1 of /tmp/sidecore-state-0.log
//! curl http://127.0.0.1:8080/   # with several executors "here" and "in all" part
//! kill -USR2 $(pgrep -x state)  # the task workers are made anew: their jobs count from 1
//! ```

use std::cell::Cell;
use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sidecore::tasks::{Failure, TaskWorkerInfo};
use sidecore::{Config, Incoming, Request, Response, Server, TaskContext};

/// What a task worker keeps: made on its thread, dropped there, never shared.
struct Log {
    name: String,
    file: File,
    jobs: u64,
}

impl Log {
    fn open(worker: &TaskWorkerInfo) -> Result<Log, Failure> {
        let name = format!("sidecore-state-{}.log", worker.task_worker);
        let path = std::env::temp_dir().join(&name);
        // Where this fails the server does not start.
        let file = File::create(path).map_err(Failure::new)?;
        Ok(Log { name, file, jobs: 0 })
    }

    fn write(&mut self, line: &str) -> Result<String, Failure> {
        self.jobs += 1;
        writeln!(self.file, "{line}").map_err(Failure::new)?;
        Ok(format!("job {} of {}", self.jobs, self.name))
    }
}

fn main() -> sidecore::Result<()> {
    // One for all: it is `Sync`, and its updates cross the cores.
    let in_all = Arc::new(AtomicU64::new(0));
    Server::new(Config::load()?)
        .on_task_worker(|worker| {
            let mut log = Log::open(worker)?;
            Ok(move |_task: &TaskContext, line: String| log.write(&line))
        })
        .awaited()
        .serve(move |executor| {
            // One for each executor: this closure is called once on each. It needs no lock, and
            // need not be `Send`.
            let here = Rc::new(Cell::new(0));
            let (in_all, tasks) = (in_all.clone(), executor.tasks());
            tower::service_fn(move |request: Request<Incoming>| {
                here.set(here.get() + 1);
                let (here, in_all) = (here.get(), in_all.fetch_add(1, Ordering::Relaxed) + 1);
                let written = tasks.run(request.uri().path().to_owned());
                async move {
                    let written = written.await.unwrap_or_else(|error| error.to_string());
                    let said = format!("request {here} here, {in_all} in all; {written}\n");
                    Ok::<_, Infallible>(Response::new(said))
                }
            })
        })?;
    Ok(())
}
