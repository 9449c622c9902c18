//! Task pools: pinned task workers, the bounded queues before them, the finish rings behind them.
//!
//! ```text
//! executor e ── dispatch ──► bounded MPMC queues ──► task worker t
//!     ▲   takes a credit                                 │ runs the job
//!     │                                                  ▼ catches its panic
//!     └── drain: pop, give the credit back ◄── SPSC ring (t, e) ── finish, bell if asleep
//! ```
//!
//! The bounds follow from one number, the credits C an executor holds per pool ([`PoolConfig`]):
//! it has at most C tasks in flight, delayed and retried ones included, so each of its rings has
//! capacity C and a worker never meets a full one; it holds a credit from dispatch until it has
//! popped the last finish. A queue at its depth or an executor out of credits gives the job back
//! ([`DispatchError::Full`]). Threads that are no executors share C credits of their own.
//!
//! Each accepted task has exactly one outcome, delivered to exactly one place: the future that
//! awaits it, its own callback, or `on_finish`. Its ticket (`ticket.rs`) is consumed by its finish,
//! a panic is caught, and what ends it early (`control.rs`) is decided by one compare-exchange.

mod agenda;
mod async_job;
mod async_pool;
mod async_worker;
mod config;
mod control;
mod dispatch;
mod error;
mod foreign;
mod handle;
mod heart;
mod histogram;
mod home;
mod lane;
mod options;
mod park;
mod parking;
mod periodic;
mod queue;
mod roster;
mod run;
mod slots;
mod stats;
mod tasks;
mod ticket;
mod worker;

use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_queue::SegQueue;

pub use self::config::{PoolConfig, Seat};
pub use self::control::TaskState;
pub use self::dispatch::Dispatch;
pub use self::error::{DispatchError, Failure, PoolError, RunError, TaskError};
pub use self::handle::{Cancelled, TaskHandle};
pub use self::histogram::Percentiles;
pub use self::lane::{DeadLetter, Lane};
pub use self::options::{Priority, Retry};
pub use self::periodic::{Overlap, Periodic, PeriodicSnapshot};
pub use self::run::Run;
pub use self::stats::{Outcomes, PoolSnapshot, TaskWorkerSnapshot};
pub use self::tasks::{SendJob, Tasks};

use self::control::Control;
use self::foreign::Foreign;
use self::parking::Parking;
use self::queue::Queues;
use self::slots::SlotKey;
use self::stats::{LaneStats, TaskWorkerStats};
use crate::bell::Bell;

/// How long async workers may take to drop what they run when the time of a close is over.
const ABANDON_MAX: Duration = Duration::from_millis(200);

/// A task's number: strictly increasing on each executor, unique in the process, from 1.
pub type TaskId = u64;

/// What a job knows while it runs on a task worker.
#[derive(Clone)]
pub struct TaskContext {
    /// The task's id, as `dispatch` returned it.
    pub id: TaskId,
    /// The executor that dispatched it; None: a thread that is no executor.
    pub executor: Option<usize>,
    /// The task worker that runs it.
    pub task_worker: usize,
    /// How long it waited in the queue.
    pub waited: Duration,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    control: Option<Arc<Control>>,
    deadline: Option<Instant>,
}

impl TaskContext {
    /// Whether somebody has cancelled the task or its deadline has passed: a job that takes long
    /// asks now and then and returns early.
    pub fn is_cancelled(&self) -> bool {
        self.control.as_ref().is_some_and(|control| control.is_asked_to_stop())
            || self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// When the task's deadline is, if it has one.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

/// A task's end, brought home to the executor that dispatched it.
#[derive(Debug)]
pub struct Finish<O> {
    /// The task's id.
    pub id: TaskId,
    /// What the job returned, or why it did not.
    pub outcome: Result<O, TaskError>,
    /// The task worker that ran it; None where it was never run.
    pub task_worker: Option<usize>,
    /// From its last dispatch to the start of its run.
    pub waited: Duration,
    /// From the start to the end of its run.
    pub ran: Duration,
    /// Attempts that were made.
    pub attempts: u32,
}

/// A finish on its way home.
pub(crate) struct Homecoming<J, O> {
    finish: Finish<O>,
    slot: Option<SlotKey>,
    /// The job, where it failed and may be tried again.
    job: Option<Box<J>>,
}

/// An inbound queue of finishes, which the executor's loop drains on each of its turns.
pub trait FinishSource {
    /// Delivers what is there and does what is due, with no borrow held; returns how many finishes.
    fn drain(&self) -> usize;
    /// Whether there is something to deliver; looked at before the executor sleeps.
    fn has_finishes(&self) -> bool;
    /// When there is something to do by the clock.
    fn next_due(&self) -> Option<Instant>;
    /// Tasks dispatched here whose outcome has not been delivered.
    fn in_flight(&self) -> usize;
    /// Wakes a task worker for what was dispatched, where that was put off. With `batching` it is
    /// put off from now on, for up to `WAKE_DELAY` or some tasks, so that a sleeping worker is
    /// woken once for several. The executor's loop calls it on each turn.
    fn wake_workers(&self, batching: bool);
}

/// A job in the queue.
pub(crate) struct Envelope<J, O> {
    job: J,
    id: TaskId,
    attempt: u32,
    dispatched: Instant,
    deadline: Option<Instant>,
    origin: Origin<O>,
    control: Option<Arc<Control>>,
    /// How to keep a copy for another attempt.
    again: Option<fn(&J) -> J>,
}

/// Who dispatched a job.
pub(crate) enum Origin<O> {
    /// An executor: the finish goes home through its ring.
    Lane { executor: usize, slot: Option<SlotKey> },
    /// Another thread: the finish is handed over where it is.
    Foreign(foreign::Receiver<O>),
}

/// What executors and task workers of a pool share.
pub(crate) struct Shared<J, O> {
    queues: Queues<J, O>,
    park: Parking,
    lanes: Vec<Arc<LaneShared>>,
    foreign: Foreign<O>,
    workers: Vec<TaskWorkerStats>,
}

impl<J, O> Shared<J, O> {
    fn new(config: &PoolConfig, credits: usize, bells: &[Arc<Bell>], park: Parking) -> Self {
        let lane = |bell: &Arc<Bell>| LaneShared {
            bell: bell.clone(),
            commands: SegQueue::new(),
            stats: LaneStats::default(),
        };
        Shared {
            queues: Queues::new(config.queue_depth, config.seats.len()),
            park,
            lanes: bells.iter().map(lane).map(Arc::new).collect(),
            foreign: Foreign::new(credits),
            workers: config.seats.iter().map(|_| TaskWorkerStats::default()).collect(),
        }
    }
}

/// What task workers and foreign threads reach of an executor's lane.
pub(crate) struct LaneShared {
    bell: Arc<Bell>,
    /// At most two entries a slot: its future was dropped elsewhere, and it was withdrawn.
    commands: SegQueue<Command>,
    stats: LaneStats,
}

/// What another thread wants of a lane.
pub(crate) enum Command {
    /// The future of this slot is gone.
    Detach(SlotKey),
    /// The task of this slot was cancelled before it ran.
    Withdrawn(SlotKey),
}

/// A running pool, from outside: its counters, and its end.
pub struct Pool<J, O> {
    shared: Arc<Shared<J, O>>,
    threads: Vec<JoinHandle<()>>,
    tasks: Tasks<J, O>,
}

impl<J: Send + 'static, O: Send + 'static> Pool<J, O> {
    /// Starts the task workers, pinned to their seats, and returns a lane for each executor, one
    /// for each of `bells`.
    pub fn start(
        config: &PoolConfig,
        bells: &[Arc<Bell>],
        run: impl Fn(&TaskContext, J) -> Result<O, Failure> + Send + Sync + 'static,
    ) -> Result<(Pool<J, O>, Vec<Lane<J, O>>), PoolError> {
        config.check(bells.len())?;
        let credits = config.credits(bells.len());
        let shared = Arc::new(Shared::new(config, credits, bells, Parking::new()));
        let tasks = Tasks::new(shared.clone());
        let (threads, rings) = worker::start_all(config, credits, &shared, Arc::new(run))?;
        let lanes = rings
            .into_iter()
            .enumerate()
            .map(|(executor, finishes)| Lane::new(tasks.clone(), executor, credits, finishes))
            .collect();
        Ok((Pool { shared, threads, tasks }, lanes))
    }

    /// A handle that dispatches from any thread.
    pub fn tasks(&self) -> Tasks<J, O> {
        self.tasks.clone()
    }

    /// Receives the finishes of tasks that were dispatched by [`Tasks::dispatch`] from threads that
    /// are no executors, on the task worker that ran them. The first call counts.
    pub fn on_foreign_finish(&self, on_finish: impl Fn(Finish<O>) + Send + Sync + 'static) {
        self.shared.foreign.set_on_finish(Arc::new(on_finish));
    }

    /// The counters of the pool.
    pub fn snapshot(&self) -> PoolSnapshot {
        self.shared.snapshot()
    }

    /// Ends the pool: what is queued is still run, no job may be dispatched any more. Waits for
    /// the task workers until `deadline`; one whose job is not over by then is left behind. Async
    /// workers then drop what they run, and it is lost ([`PoolSnapshot::outstanding`]).
    ///
    /// The executors must have ended, or [`FinishSource::in_flight`] be 0 on each.
    pub fn close(self, deadline: Instant) -> PoolSnapshot {
        self.shared.foreign.close();
        self.shared.park.close();
        let mut left = join_until(self.threads, deadline);
        if !left.is_empty() && self.shared.park.abandon() {
            left = join_until(left, Instant::now() + ABANDON_MAX);
        }
        drop(left);
        self.shared.snapshot()
    }
}

/// Joins the threads that end in time, and returns the others.
fn join_until(threads: Vec<JoinHandle<()>>, deadline: Instant) -> Vec<JoinHandle<()>> {
    let mut left = Vec::new();
    for thread in threads {
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_micros(200));
        }
        match thread.is_finished() {
            // A worker catches its jobs' panics; there is nothing to learn from its result.
            true => drop(thread.join()),
            false => left.push(thread),
        }
    }
    left
}

/// Has an installed lane drained by this executor: see [`Lane::install`].
pub fn attach(source: Rc<dyn FinishSource>) {
    crate::executor::add_finish_source(source);
}
