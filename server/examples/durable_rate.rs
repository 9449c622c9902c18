//! What durability costs: tasks a second, dispatched and awaited, with and without a journal.
//!
//! `cargo run --release -p sidecore --features durable --example durable_rate [directory] [seconds a figure]`
//!
//! So many tasks are in flight at a time, on one executor, each an empty job whose output is
//! awaited. A disk's fsync swings by a factor of ten on a shared machine: compare within one run.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use sidecore::durable::{Durable, DurableLimits};
use sidecore::tasks::{Callbacks, OnFinish, OnTask};
use sidecore::{Config, Executor, Incoming, Request, Response, Server};
use sidecore_runtime::executor::{sleep, spawn_local};

const IN_FLIGHT: [u64; 4] = [1, 16, 256, 1024];

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds: f64 = arguments.next().map_or(Ok(2.0), |text| text.parse())?;
    let span = Duration::from_secs_f64(seconds);
    let directory = parent.join(format!("sidecore-durable-rate-{}", std::process::id()));
    println!("journal in {}", directory.display());
    println!("{:<12}{:>14}{:>14}{:>14}", "in flight", "plain/s", "durable/s", "a commit");
    for in_flight in IN_FLIGHT {
        let plain = plain(in_flight, span)?;
        let (durable, a_commit) = durable(&directory, in_flight, span)?;
        println!("{in_flight:<12}{plain:>14.0}{durable:>14.0}{a_commit:>14.1}");
    }
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

fn plain(in_flight: u64, span: Duration) -> Result<f64, Failure> {
    let server = Server::new(config()).on_task(|_, job: u64| job).on_finish(|_, _| {});
    measure(server, in_flight, span, |executor| {
        let tasks = executor.tasks();
        move |job| {
            let run = tasks.run(job);
            async move { run.await.is_ok() }
        }
    })
}

/// The rate, and jobs a commit.
fn durable(directory: &Path, in_flight: u64, span: Duration) -> Result<(f64, f64), Failure> {
    let durable = Durable::open(directory, &in_flight.to_string(), DurableLimits::default())?;
    let starts = durable.clone();
    let server = Server::new(config())
        .try_on_task(durable.on_task(|_, job: u64| Ok(job)))
        .on_finish(durable.on_finish(|_, _| {}));
    let rate = measure(server, in_flight, span, move |executor| {
        let tasks = starts.tasks(executor, executor.tasks());
        move |job| {
            let run = tasks.run(job);
            async move { run.await.is_ok() }
        }
    })?;
    let stats = durable.close(Duration::from_secs(60))?;
    Ok((rate, stats.appended as f64 / stats.journal.commits as f64))
}

fn config() -> Config {
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(1);
    config.options.task_worker_num = Some(1);
    config.options.task_queue_depth = 2048;
    config
}

/// Runs tasks on the executor of a server for a while; how many were over in a second.
fn measure<J, O, R, F>(
    server: Server<OnTask<J, O>, OnFinish<O>>,
    in_flight: u64,
    span: Duration,
    make_run: impl Fn(&Executor<J, O>) -> R + Send + Sync + 'static,
) -> Result<f64, Failure>
where
    (OnTask<J, O>, OnFinish<O>): Callbacks<Job = J, Output = O>,
    J: Send + Unpin + 'static,
    O: Send + 'static,
    R: Fn(u64) -> F + 'static,
    F: Future<Output = bool> + 'static,
{
    let (told, rate) = channel();
    let told = Mutex::new(Some(told));
    let running = server.start(move |executor| {
        let (run, shutdown) = (Rc::new(make_run(executor)), executor.shutdown());
        if let Some(told) = told.lock().ok().and_then(|mut told| told.take()) {
            spawn_local(async move {
                let over = Rc::new(Cell::new(0_u64));
                let (start, end) = (Instant::now(), Instant::now() + span);
                for job in 0..in_flight {
                    let (run, over) = (run.clone(), over.clone());
                    spawn_local(async move {
                        while Instant::now() < end && run(job).await {
                            over.set(over.get() + 1);
                        }
                    });
                }
                sleep(span).await;
                let _ = told.send(over.get() as f64 / start.elapsed().as_secs_f64());
                shutdown.raise();
            });
        }
        tower::service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(String::new()))
        })
    })?;
    running.wait()?;
    Ok(rate.recv()?)
}
