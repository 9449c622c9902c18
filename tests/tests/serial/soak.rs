//! A soak: millions of tasks of all kinds through one executor and one task worker, each with
//! exactly one outcome, in flat memory.
//!
//! The test runs two million tasks. The full soak of 50 million, a minute or two:
//!
//! ```sh
//! SIDECORE_SOAK_TASKS=50000000 cargo test --release -p sidecore-tests --test serial soak -- --nocapture
//! ```
//!
//! Memory may grow by [`GROWTH_MAX_KIB`] after the first tenth: with two million tasks two bytes
//! that each task leaves behind are too many, with 50 million a tenth of a byte.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use sidecore_runtime::executor::{
    Executor, ExecutorConfig, sleep, spawn_local, tasks_quiet, yield_now,
};
use sidecore_runtime::net::RingConfig;
use sidecore_runtime::pool::{
    self, Cancelled, Dispatch, DispatchError, Failure, Finish, Outcomes, Pool, PoolConfig,
    PoolSnapshot, Priority, RunError, Seat, TaskContext, TaskError, TaskHandle, TaskId, Tasks,
};
use sidecore_runtime::sys::doorbell::Doorbell;

use super::alone;

/// Unless `SIDECORE_SOAK_TASKS` says another number.
const TASKS: u64 = 2_000_000;
/// What the resident memory may grow by from the first tenth to the end.
const GROWTH_MAX_KIB: u64 = 4 << 10;
/// Futures that dispatch. Each awaits one task in six and goes on after the others at once, so that
/// together they run out of credits.
const DISPATCHERS: usize = 64;
const CREDITS: usize = 256;
/// Far off: its entries stay on the agenda until they are swept.
const DEADLINE: Duration = Duration::from_secs(3600);

/// How a task is dispatched, by the number of its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// `dispatch`: its outcome goes to `on_finish`.
    Plain,
    /// `send`: waits for room in turn.
    Sent,
    /// `run`, awaited.
    Awaited,
    /// `run` with options, awaited.
    AwaitedInTime,
    /// `run` whose future is dropped: to `on_finish` too.
    Dropped,
    High,
    Low,
    /// With a deadline that is far off.
    InTime,
    /// With a deadline that has passed before a worker can take it.
    TooLate,
    /// Cancelled at once, which may or may not be early enough.
    Cancelled,
    /// Its job fails.
    Failing,
    /// Its job panics.
    Panicking,
}

impl How {
    fn of(job: u64) -> Self {
        // Panics unwind and are slow: one in a thousand.
        if job % 1000 == 999 {
            return How::Panicking;
        }
        match job % 32 {
            0..=2 => How::Awaited,
            3 | 4 => How::AwaitedInTime,
            5 => How::Dropped,
            6 | 7 => How::High,
            8 | 9 => How::Low,
            10 | 11 => How::InTime,
            12 => How::TooLate,
            13 | 14 => How::Cancelled,
            15 => How::Failing,
            16 | 17 => How::Sent,
            _ => How::Plain,
        }
    }
}

fn run(_: &TaskContext, job: u64) -> Result<u64, Failure> {
    match How::of(job) {
        How::Failing => Err(Failure::new("asked to")),
        How::Panicking => panic!("asked to"),
        _ => Ok(output_of(job)),
    }
}

fn output_of(job: u64) -> u64 {
    job.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// What the executor's thread knows.
struct Soak {
    tasks: Tasks<u64, u64>,
    count: u64,
    next_job: Cell<u64>,
    last_id: Cell<TaskId>,
    /// The jobs whose finish goes to `on_finish`, and whether they were withdrawn.
    in_flight: RefCell<HashMap<TaskId, (u64, bool)>>,
    expected: Cell<Outcomes>,
    resident_early_kib: Cell<u64>,
}

/// What the executor's thread tells in the end.
struct Report {
    expected: Outcomes,
    unfinished: usize,
    grown_kib: u64,
}

impl Soak {
    fn next_job(&self) -> Option<u64> {
        let job = self.next_job.get();
        if job == self.count / 10 {
            self.resident_early_kib.set(resident_kib());
        }
        self.next_job.set(job + 1);
        (job < self.count).then_some(job)
    }

    /// One dispatcher: one task after another, of those that are awaited until their end.
    async fn dispatch(&self) {
        while let Some(job) = self.next_job() {
            let how = How::of(job);
            match how {
                How::Plain | How::Failing | How::Panicking => self.plain(job).await,
                How::Sent => {
                    let id = self.tasks.dispatch_when_room(job).await.unwrap();
                    self.accepted(id, job, false);
                }
                How::Awaited => self.awaited(job).await,
                How::AwaitedInTime | How::Dropped => self.run_with_deadline(job, how).await,
                _ => self.with_options(job, how).await,
            }
        }
    }

    async fn plain(&self, mut job: u64) {
        loop {
            match self.tasks.dispatch(job) {
                Ok(id) => return self.accepted(id, job, false),
                Err(refused) => job = self.wait_for_room(refused).await,
            }
        }
    }

    async fn awaited(&self, mut job: u64) {
        loop {
            match self.tasks.run(job).await {
                Ok(output) => return self.finished(job, output),
                Err(RunError::Refused(refused)) => job = self.wait_for_room(refused).await,
                Err(other) => panic!("job {job}: {other}"),
            }
        }
    }

    async fn run_with_deadline(&self, mut job: u64, how: How) {
        loop {
            let run = self.tasks.job(job).deadline(DEADLINE).run();
            if let Some(id) = run.handle().map(TaskHandle::id) {
                self.saw(id);
                if how == How::Dropped {
                    return self.expect_on_finish(id, job, false);
                }
            }
            match run.await {
                Ok(output) => return self.finished(job, output),
                Err(RunError::Refused(refused)) => job = self.wait_for_room(refused).await,
                Err(other) => panic!("job {job}: {other}"),
            }
        }
    }

    async fn with_options(&self, mut job: u64, how: How) {
        loop {
            match with_options_of(how, self.tasks.job(job)).spawn() {
                Ok(handle) => {
                    let withdrawn =
                        how == How::Cancelled && handle.cancel() == Cancelled::Withdrawn;
                    return self.accepted(handle.id(), job, withdrawn);
                }
                Err(refused) => job = self.wait_for_room(refused).await,
            }
        }
    }

    async fn wait_for_room(&self, refused: DispatchError<u64>) -> u64 {
        let DispatchError::Full(job) = refused else { panic!("{refused}") };
        yield_now().await;
        job
    }

    fn saw(&self, id: TaskId) {
        assert!(id > self.last_id.get(), "task {id} came after {}", self.last_id.get());
        self.last_id.set(id);
    }

    fn accepted(&self, id: TaskId, job: u64, withdrawn: bool) {
        self.saw(id);
        self.expect_on_finish(id, job, withdrawn);
    }

    fn expect_on_finish(&self, id: TaskId, job: u64, withdrawn: bool) {
        let before = self.in_flight.borrow_mut().insert(id, (job, withdrawn));
        assert_eq!(before, None, "task {id} was there before");
    }

    /// An awaited task has ended.
    fn finished(&self, job: u64, output: u64) {
        assert_eq!(output, output_of(job));
        self.count_outcome(|outcomes| &mut outcomes.finished);
    }

    fn on_finish(&self, finish: Finish<u64>) {
        let (job, withdrawn) =
            self.in_flight.borrow_mut().remove(&finish.id).expect("one finish a task");
        match (How::of(job), finish.outcome) {
            (How::Failing, Err(TaskError::Failed(_))) => self.count_outcome(|o| &mut o.failed),
            (How::Panicking, Err(TaskError::Panicked(_))) => {
                self.count_outcome(|o| &mut o.panicked);
            }
            (How::TooLate, Err(TaskError::TimedOut)) => self.count_outcome(|o| &mut o.timed_out),
            (How::Cancelled, Err(TaskError::Cancelled)) if withdrawn => {
                self.count_outcome(|o| &mut o.cancelled);
            }
            (_, Ok(output)) if !withdrawn => self.finished(job, output),
            (how, outcome) => panic!("{how:?}, withdrawn: {withdrawn}, ended with {outcome:?}"),
        }
    }

    fn count_outcome(&self, counter: impl FnOnce(&mut Outcomes) -> &mut u64) {
        let mut outcomes = self.expected.get();
        *counter(&mut outcomes) += 1;
        self.expected.set(outcomes);
    }

    fn report(&self) -> Report {
        Report {
            expected: self.expected.get(),
            unfinished: self.in_flight.borrow().len(),
            grown_kib: resident_kib().saturating_sub(self.resident_early_kib.get()),
        }
    }
}

fn with_options_of(how: How, dispatch: Dispatch<u64, u64>) -> Dispatch<u64, u64> {
    match how {
        How::High => dispatch.priority(Priority::High),
        How::Low => dispatch.priority(Priority::Low),
        How::InTime => dispatch.deadline(DEADLINE),
        How::TooLate => dispatch.deadline(Duration::ZERO),
        _ => dispatch,
    }
}

/// Resident memory of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap()
}

/// Runs the dispatchers to their end, on the executor.
async fn soak(lane: pool::Lane<u64, u64>, tasks: Tasks<u64, u64>, count: u64) -> Report {
    let soak = Rc::new(Soak {
        tasks,
        count,
        next_job: Cell::new(0),
        last_id: Cell::new(0),
        in_flight: RefCell::default(),
        expected: Cell::default(),
        resident_early_kib: Cell::new(0),
    });
    let finishing = soak.clone();
    sidecore_runtime::executor::add_inbox(lane.install(move |finish| finishing.on_finish(finish)));
    let dispatching = Rc::new(());
    for _ in 0..DISPATCHERS {
        let (soak, dispatching) = (soak.clone(), dispatching.clone());
        spawn_local(async move {
            // Dropped at its end, by a panic too, which ends this future alone.
            let _dispatching = dispatching;
            soak.dispatch().await;
        });
    }
    while Rc::strong_count(&dispatching) > 1 {
        sleep(Duration::from_millis(1)).await;
    }
    tasks_quiet().await;
    soak.report()
}

/// Starts executor and pool, and ends them in order.
fn run_soak(count: u64) -> (Report, PoolSnapshot) {
    let config = PoolConfig {
        credits: Some(CREDITS),
        ..PoolConfig::new(vec![Seat { cpu: 1, shared: false, domain: 0 }], CREDITS)
    };
    let doorbell = Arc::new(Doorbell::new().unwrap());
    let (pool, mut lanes) = Pool::start(&config, std::slice::from_ref(&doorbell), run).unwrap();
    let (tasks, lane) = (pool.tasks(), lanes.remove(0));
    let (told, report) = channel();
    let ring = RingConfig::default();
    let config = ExecutorConfig { index: 0, cpu: 0, ring, spin: Duration::ZERO };
    let executor = Executor::start(config, doorbell, move || async move {
        told.send(soak(lane, tasks.clone(), count).await).unwrap();
        tasks.uninstall();
    });
    // A task without its outcome would keep the executor for ever. 20,000 tasks a second is far
    // below what a debug build does.
    let limit = Duration::from_secs(60 + count / 20_000);
    let report = report.recv_timeout(limit).expect("every task ends in time");
    executor.unwrap().join(0, 0).unwrap();
    (report, pool.close(Instant::now() + Duration::from_secs(10)))
}

/// Panics that jobs are asked for are not news; others are, those in futures and callbacks too.
fn silence_task_workers() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        if !thread.name().is_some_and(|name| name.starts_with("task-")) {
            tell(panic);
        }
    }));
}

#[test]
fn each_of_millions_of_tasks_has_one_outcome_in_flat_memory() {
    let _alone = alone();
    let asked = std::env::var("SIDECORE_SOAK_TASKS").ok();
    let count = asked.map_or(TASKS, |text| text.parse().expect("SIDECORE_SOAK_TASKS is a number"));
    silence_task_workers();
    let start = Instant::now();
    let (report, end) = run_soak(count);
    let Report { expected, unfinished, grown_kib } = report;
    println!("{count} tasks in {:.1?}, {expected:?}, grown by {grown_kib} KiB", start.elapsed());
    assert_eq!((end.accepted, end.outcomes.total(), end.outstanding()), (count, count, 0));
    assert_eq!(end.outcomes, expected);
    assert_eq!((end.callback_panics, end.queued, unfinished), (0, 0, 0));
    let Outcomes { finished, failed, panicked, timed_out, cancelled, lost } = expected;
    assert!(end.refused > 0, "the credits were never out");
    assert!(finished > 0 && failed > 0 && panicked > 0 && timed_out > 0 && lost == 0);
    // A job is pushed before it can be cancelled, so the worker takes some first.
    let withdrawn_most = (0..count).filter(|job| How::of(*job) == How::Cancelled).count() as u64;
    assert!((1..=withdrawn_most).contains(&cancelled), "{cancelled} of {withdrawn_most}");
    assert!(grown_kib <= GROWTH_MAX_KIB, "resident memory grew by {grown_kib} KiB");
}
