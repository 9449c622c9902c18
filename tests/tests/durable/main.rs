//! Durable pools: what was accepted is run at least once, over kills, damage and restarts.

mod binary;
mod dispatching;
mod foreign;
mod journal;
mod kills;
mod restarts;

use std::convert::Infallible;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sidecore::durable::journal::{DeadLetter, JournalError, JournalLimits};
use sidecore::durable::{Durable, DurableLimits, DurableStats, DurableTasks};
use sidecore::lifecycle::{Report, Shutdown};
use sidecore::tasks::Failure;
use sidecore::{Config, Incoming, Request, Response, Server, TaskResult};
use sidecore_runtime::executor::{sleep, spawn_local};
use sidecore_tests::Scratch;

const LONG: Duration = Duration::from_secs(20);

/// A job that takes a while, of which the first attempts fail or panic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Job {
    number: u64,
    ms: u64,
    fails: u32,
    panics: u32,
}

fn job(number: u64) -> Job {
    Job { number, ..Job::default() }
}

fn slow(number: u64, ms: u64) -> Job {
    Job { ms, ..job(number) }
}

/// How a server is run.
struct Setup {
    limits: DurableLimits,
    queue_depth: usize,
    drain_ms: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Setup { limits: DurableLimits::default(), queue_depth: 64, drain_ms: 10_000 }
    }
}

impl Setup {
    fn pending_max(pending_max: u64) -> Self {
        let journal = JournalLimits { pending_max, ..JournalLimits::default() };
        Setup { limits: DurableLimits { journal, ..Default::default() }, ..Setup::default() }
    }

    /// Ends without waiting for what runs.
    fn at_once() -> Self {
        Setup { drain_ms: 0, ..Setup::default() }
    }
}

/// What came of one life of a server.
struct Life {
    /// The attempts that were begun, each as number and attempt.
    began: Vec<(u64, u32)>,
    /// What `on_finish` received, with the attempts.
    finished: Vec<(TaskResult<u64>, u32)>,
    report: Report,
    stats: DurableStats,
}

/// What a scenario sees of the life it is in.
#[derive(Clone)]
struct Seen {
    began: Arc<Mutex<Vec<(u64, u32)>>>,
    finished: Arc<Mutex<Vec<(TaskResult<u64>, u32)>>>,
}

impl Seen {
    fn began(&self) -> Vec<(u64, u32)> {
        self.began.lock().unwrap().clone()
    }

    fn finished(&self) -> usize {
        self.finished.lock().unwrap().len()
    }

    fn run(&self, attempt: u32, job: Job) -> Result<u64, Failure> {
        self.began.lock().unwrap().push((job.number, attempt));
        std::thread::sleep(Duration::from_millis(job.ms));
        assert!(attempt > job.panics, "job {} was to panic", job.number);
        match attempt > job.fails {
            true => Ok(job.number),
            false => Err(Failure::new("it was to fail")),
        }
    }
}

type Tasks = DurableTasks<Job, u64>;

struct RaiseOnDrop(Shutdown);

impl Drop for RaiseOnDrop {
    fn drop(&mut self) {
        self.0.raise();
    }
}

/// What `open` gives as soon as nobody has it locked: a child of another test has this process's
/// descriptors until it executes its program.
fn once_unlocked<T>(open: impl Fn() -> Result<T, JournalError>) -> T {
    let end = Instant::now() + LONG;
    loop {
        match open() {
            Err(error) if error.is_locked() && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened.expect("the journal opens"),
        }
    }
}

/// Serves with one executor and one task worker while a scenario runs on the executor, then ends
/// it and closes the journal.
fn live<F: Future<Output = ()> + 'static>(
    scratch: &Scratch,
    setup: Setup,
    scenario: impl FnOnce(Tasks, Seen) -> F + Send + 'static,
) -> Life {
    let durable = once_unlocked(|| Durable::open(scratch.path(), "jobs", setup.limits));
    let seen = Seen { began: Arc::default(), finished: Arc::default() };
    let (sees, hears) = (seen.clone(), seen.clone());
    let (starts, scenario) = (durable.clone(), Mutex::new(Some((scenario, seen.clone()))));
    let (told, ended) = channel();
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(1);
    config.options.task_worker_num = Some(1);
    config.options.task_queue_depth = setup.queue_depth;
    config.options.drain_timeout_ms = setup.drain_ms;
    let running = Server::new(config)
        .try_on_task(durable.on_task(move |task, job| sees.run(task.attempt, job)))
        .on_finish(durable.on_finish(move |finish, outcome| {
            hears.finished.lock().unwrap().push((outcome, finish.attempts));
        }))
        .start(move |executor| {
            let tasks = starts.tasks(executor, executor.tasks());
            let (shutdown, told) = (RaiseOnDrop(executor.shutdown()), told.clone());
            if let Some((scenario, seen)) = scenario.lock().unwrap().take() {
                spawn_local(async move {
                    scenario(tasks, seen).await;
                    told.send(()).unwrap();
                    drop(shutdown);
                });
            }
            tower::service_fn(|_: Request<Incoming>| async {
                Ok::<_, Infallible>(Response::new(String::new()))
            })
        })
        .expect("the server starts");
    let report = running.wait().expect("it ends");
    ended.try_recv().expect("the scenario came to its end");
    let stats = durable.close(LONG).expect("the journal closes");
    let (began, finished) = (seen.began(), seen.finished.lock().unwrap().clone());
    Life { began, finished, report, stats }
}

/// A life in which what is left from before is run, until `count` were finished.
fn live_until_finished(scratch: &Scratch, count: usize) -> Life {
    live(scratch, Setup::default(), move |_, seen| async move {
        until("all are finished", || seen.finished() >= count).await;
    })
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "not {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// The dead letters of a journal that is closed.
fn dead_letters(scratch: &Scratch) -> Vec<DeadLetter> {
    let durable: Durable<Job, u64> =
        once_unlocked(|| Durable::open(scratch.path(), "jobs", DurableLimits::default()));
    let (sent, letters) = channel();
    durable.dead_letters(0, 1000, move |letters| sent.send(letters.unwrap()).unwrap());
    let letters = letters.recv_timeout(LONG).unwrap();
    durable.close(LONG).unwrap();
    letters
}
