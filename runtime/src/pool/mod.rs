//! Task pools: pinned task workers, the bounded queue before them, the finish rings behind them.
//!
//! ```text
//! executor e ── Lane::try_dispatch ──► bounded MPMC queue ──► task worker t
//!     ▲   takes a credit                                          │ runs the job
//!     │                                                           ▼ catches its panic
//!     └── drain: pop, give the credit back ◄── SPSC ring (t, e) ── finish, bell if asleep
//! ```
//!
//! The bounds follow from one number, the credits C an executor holds per pool ([`PoolConfig`]):
//! it has at most C tasks in flight, so each of its rings has capacity C and a worker never meets
//! a full one; it holds a credit from dispatch until it has popped the finish. A queue at its
//! depth or an executor out of credits gives the job back ([`DispatchError::Full`]).
//!
//! Each accepted task has exactly one finish: its ticket (`ticket.rs`) is consumed by it, a
//! panic is caught and comes home as [`TaskError::Panicked`], and the finish goes to exactly one
//! place, the future that awaits it or `on_finish`.

mod config;
mod error;
mod lane;
mod park;
mod stats;
mod tasks;
mod ticket;
mod worker;

use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_queue::{ArrayQueue, SegQueue};

pub use self::config::{PoolConfig, Seat};
pub use self::error::{DispatchError, PoolError, RunError, TaskError};
pub use self::lane::Lane;
pub use self::stats::{PoolSnapshot, TaskWorkerSnapshot};
pub use self::tasks::{Run, Tasks};

use self::lane::WaiterKey;
use self::park::Park;
use self::stats::{LaneStats, TaskWorkerStats};
use crate::bell::Bell;

/// A task's number: strictly increasing on each executor, unique in the process, from 1.
pub type TaskId = u64;

/// What a job knows while it runs on a task worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskContext {
    /// The task's id, as `dispatch` returned it.
    pub id: TaskId,
    /// The executor that dispatched it.
    pub executor: usize,
    /// The task worker that runs it.
    pub task_worker: usize,
    /// How long it waited in the queue.
    pub waited: Duration,
}

/// A task's end, brought home to the executor that dispatched it.
#[derive(Debug)]
pub struct Finish<O> {
    /// The task's id.
    pub id: TaskId,
    /// What the job returned, or why it did not.
    pub outcome: Result<O, TaskError>,
    /// The task worker that ran it.
    pub task_worker: usize,
    /// From dispatch to the start of its run.
    pub waited: Duration,
    /// From the start to the end of its run.
    pub ran: Duration,
    pub(crate) waiter: Option<WaiterKey>,
}

/// An inbound queue of finishes, which the executor's loop drains on each of its turns.
pub trait FinishSource {
    /// Delivers what is there, with no borrow held; returns how many.
    fn drain(&self) -> usize;
    /// Whether there is something to deliver; looked at before the executor sleeps.
    fn has_finishes(&self) -> bool;
    /// Tasks dispatched here whose finish has not been delivered.
    fn in_flight(&self) -> usize;
    /// Wakes a task worker for what was dispatched, where that was put off. With `batching` it is
    /// put off from now on, for up to `WAKE_DELAY` or some tasks, so that a sleeping worker is
    /// woken once for several. The executor's loop calls it on each turn.
    fn wake_workers(&self, batching: bool);
}

/// A job in the queue.
pub(crate) struct Envelope<J> {
    job: J,
    id: TaskId,
    executor: usize,
    waiter: Option<WaiterKey>,
    dispatched: Instant,
}

/// What executors and task workers of a pool share.
pub(crate) struct Shared<J> {
    queue: ArrayQueue<Envelope<J>>,
    park: Park,
    lanes: Vec<LaneShared>,
    workers: Vec<TaskWorkerStats>,
}

/// What task workers and foreign threads reach of an executor's lane.
pub(crate) struct LaneShared {
    bell: Arc<Bell>,
    /// Waiters whose future was dropped on another thread: at most one entry a future.
    detached: SegQueue<WaiterKey>,
    stats: LaneStats,
}

/// A running pool, from outside: its counters, and its end.
pub struct Pool<J, O> {
    shared: Arc<Shared<J>>,
    threads: Vec<JoinHandle<()>>,
    tasks: Tasks<J, O>,
}

impl<J: Send + 'static, O: Send + 'static> Pool<J, O> {
    /// Starts the task workers, pinned to their seats, and returns a lane for each executor, one
    /// for each of `bells`.
    pub fn start(
        config: &PoolConfig,
        bells: &[Arc<Bell>],
        run: impl Fn(&TaskContext, J) -> O + Send + Sync + 'static,
    ) -> Result<(Pool<J, O>, Vec<Lane<J, O>>), PoolError> {
        config.check(bells.len())?;
        let lanes = bells
            .iter()
            .map(|bell| LaneShared {
                bell: bell.clone(),
                detached: SegQueue::new(),
                stats: LaneStats::default(),
            })
            .collect();
        let shared = Arc::new(Shared {
            queue: ArrayQueue::new(config.queue_depth),
            park: Park::new(),
            lanes,
            workers: config.seats.iter().map(|_| TaskWorkerStats::default()).collect(),
        });
        let tasks = Tasks::new(shared.clone());
        let credits = config.credits(bells.len());
        let (threads, rings) = worker::start_all(config, credits, &shared, Arc::new(run))?;
        let lanes = rings
            .into_iter()
            .enumerate()
            .map(|(executor, finishes)| Lane::new(tasks.clone(), executor, credits, finishes))
            .collect();
        Ok((Pool { shared, threads, tasks }, lanes))
    }

    /// A handle that dispatches from any of the executors.
    pub fn tasks(&self) -> Tasks<J, O> {
        self.tasks.clone()
    }

    /// The counters of the pool.
    pub fn snapshot(&self) -> PoolSnapshot {
        self.shared.snapshot()
    }

    /// Ends the pool: what is queued is still run, no job may be dispatched any more. Waits for
    /// the task workers until `deadline`; one whose job is not over by then is left behind.
    ///
    /// The executors must have ended, or [`FinishSource::in_flight`] be 0 on each.
    pub fn close(self, deadline: Instant) -> PoolSnapshot {
        self.shared.park.close();
        for thread in self.threads {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_micros(200));
            }
            if thread.is_finished() {
                // A worker catches its jobs' panics; there is nothing to learn from its result.
                let _ = thread.join();
            }
        }
        self.shared.snapshot()
    }
}

impl<J> Shared<J> {
    fn snapshot(&self) -> PoolSnapshot {
        PoolSnapshot {
            accepted: self.lanes.iter().map(|lane| lane.stats.accepted()).sum(),
            refused: self.lanes.iter().map(|lane| lane.stats.refused()).sum(),
            delivered: self.lanes.iter().map(|lane| lane.stats.delivered()).sum(),
            callback_panics: self.lanes.iter().map(|lane| lane.stats.callback_panics()).sum(),
            queued: self.queue.len(),
            sleeping: self.park.sleeping(),
            workers: self.workers.iter().map(TaskWorkerStats::snapshot).collect(),
        }
    }
}

/// Has an installed lane drained by this executor: see [`Lane::install`].
pub fn attach(source: Rc<dyn FinishSource>) {
    crate::executor::add_finish_source(source);
}
