//! Task pools: pinned task workers, the bounded queues before them, the finish rings behind them.
//!
//! ```text
//! executor e ── dispatch ──► bounded MPMC queues ──► task worker t
//!     ▲   takes a credit                                 │ runs the job
//!     │                                                  ▼ catches its panic
//!     └── drain: pop, give the credit back ◄── SPSC ring (t, e) ── finish, bell if asleep
//! ```
//!
//! The bounds follow from two numbers of an executor ([`PoolConfig`]). It has at most C jobs, its
//! credits, in the queues and with task workers: a credit is taken as a job is put into a queue and
//! given back when its finish is popped, so each of its rings has capacity C and a worker never
//! meets a full one. What is delayed, or paused between two attempts, holds one of a number of
//! places instead, and waits in line for a credit when it is due (`waiting.rs`). A queue at its depth
//! or an executor out of credits gives the job back ([`DispatchError::Full`]). Threads that are no
//! executors share C credits of their own.
//!
//! Each accepted task has exactly one outcome, delivered to exactly one place: the future that
//! awaits it, its own callback, or `on_finish`. Its ticket (`ticket.rs`) is consumed by its finish,
//! a panic is caught, and what ends it early (`control.rs`) is decided by one compare-exchange.

mod afar;
mod agenda;
mod async_job;
mod async_pool;
mod async_worker;
mod beats;
mod config;
mod control;
mod crew;
mod dispatch;
mod error;
mod foreign;
mod gate;
mod handle;
mod heart;
mod histogram;
mod home;
mod kinds;
mod lane;
mod line;
mod notice;
mod options;
mod owed;
mod park;
mod parking;
mod periodic;
mod purse;
mod queue;
mod room;
mod roster;
mod run;
mod running;
mod send;
mod slots;
mod stack;
mod stats;
mod tasks;
mod ticket;
mod waiting;
mod watchdog;
mod worker;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crossbeam_queue::SegQueue;

pub use self::config::{DELAYED_MAX_DEFAULT, PoolConfig, Seat};
pub use self::control::TaskState;
pub use self::dispatch::Dispatch;
pub use self::error::{DispatchError, Failure, PoolError, RunError, TaskError};
pub use self::handle::{Cancelled, TaskHandle};
pub use self::histogram::Percentiles;
pub use self::kinds::Kinds;
pub use self::lane::{DeadLetter, Lane};
pub use self::notice::{Notice, OnNotice, Stuck};
pub use self::options::{Priority, Retry};
pub use self::periodic::{Overlap, Periodic, PeriodicSnapshot};
pub use self::run::Run;
pub use self::send::SendDispatch;
pub use self::stack::{NoStacks, STACK_FRAMES_MAX, Stack, StackEnd, StackFrame};
pub use self::stats::{KindSnapshot, Outcomes, PoolSnapshot, TaskWorkerSnapshot};
pub use self::tasks::{SendJob, Tasks};

use self::control::Control;
use self::crew::{Crew, Threads};
use self::foreign::Foreign;
use self::line::Ticket;
use self::parking::Parking;
use self::queue::Queues;
use self::slots::SlotKey;
use self::stats::{LaneStats, TaskWorkerStats};
use self::watchdog::Watchdog;
use crate::sys::doorbell::Bell;
use crate::sys::published::Version;

/// How long async workers may take to drop what they run when the time of a close is over.
const ABANDON_MAX: Duration = Duration::from_millis(200);

/// A task's number: strictly increasing on each executor, unique among pools of different
/// [numbers](PoolSetup::number). Those of pool 0 begin at 1. JSON numbers hold it exactly.
pub type TaskId = u64;

/// Above the ids of one pool stands its number.
const POOL_SHIFT: u32 = 44;

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
    /// Whether the task is to stop, since somebody has cancelled it or its deadline has passed: a
    /// job that takes long asks now and then and returns early. Which of the two it was, its
    /// outcome says: where the deadline has passed when the job returns it is
    /// [`TimedOut`](TaskError::TimedOut), whatever the job returned.
    pub fn is_cancelled(&self) -> bool {
        self.control.as_ref().is_some_and(|control| control.is_cancelled()) || self.is_late()
    }

    /// Whether the task's deadline has passed.
    pub fn is_late(&self) -> bool {
        self.control.as_ref().is_some_and(|control| control.is_late())
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
    /// The executor drains until `end`: what is due later is not waited for, and ends as
    /// [`TaskError::Lost`] now.
    fn begin_drain(&self, end: Instant);
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
    /// Task workers that are no spares; a job may be for one of these alone.
    seats: usize,
    /// Of the spares too.
    workers: Vec<TaskWorkerStats>,
    kinds: Kinds<J>,
    /// Raised when all task workers are to be made anew.
    generation: Version,
    /// What the ids of its tasks are above.
    id_base: TaskId,
    name: Arc<str>,
    thread_name: Arc<str>,
}

impl<J, O> Shared<J, O> {
    fn new(
        config: &PoolConfig,
        setup: PoolSetup<J>,
        credits: usize,
        bells: &[Arc<Bell>],
        park: Parking,
    ) -> Self {
        let PoolSetup { number, name, thread_name, kinds, .. } = setup;
        let id_base = TaskId::from(number) << POOL_SHIFT;
        let workers = 0..config.seats.len() + config.spares;
        Shared {
            queues: Queues::new(config.queue_depth, config.seats.len(), config.places()),
            park,
            lanes: bells.iter().map(LaneShared::new).collect(),
            foreign: Foreign::new(credits, id_base),
            seats: config.seats.len(),
            workers: workers.map(|_| TaskWorkerStats::new(kinds.names().len())).collect(),
            kinds,
            generation: Version::new(),
            id_base,
            name,
            thread_name,
        }
    }

    /// Read before a worker is made anew: it is of that generation at least.
    fn generation(&self) -> u32 {
        self.generation.current()
    }
}

/// What task workers and foreign threads reach of an executor's lane.
pub(crate) struct LaneShared {
    bell: Arc<Bell>,
    /// At most two entries a slot, whose future was dropped elsewhere and which was withdrawn, and one
    /// for each dispatch that waited.
    commands: SegQueue<Command>,
    stats: LaneStats,
}

/// What another thread wants of a lane.
pub(crate) enum Command {
    /// The future of this slot is gone.
    Detach(SlotKey),
    /// The dispatch that waited with this ticket is gone, or waits on another executor now.
    Leave(Ticket),
    /// The task of this slot was cancelled before it ran, or, `attempted`, before it ran again.
    Withdrawn { slot: SlotKey, attempted: bool },
}

/// A task worker, as the maker of what it runs jobs with sees it, on its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskWorkerInfo {
    /// Its number, from 0; those of spares come last.
    pub task_worker: usize,
    /// The CPU it is pinned to.
    pub cpu: usize,
    /// Whether it stands in for one whose job is stuck.
    pub is_spare: bool,
}

/// What a pool is told of its jobs and tells of itself.
pub struct PoolSetup<J> {
    /// The pool's number, which its tasks' ids carry.
    pub number: u8,
    /// The pool's name, in notices.
    pub name: Arc<str>,
    /// What the threads' names begin with.
    pub thread_name: Arc<str>,
    /// The kinds of its jobs.
    pub kinds: Kinds<J>,
    /// Receives its notices.
    pub on_notice: OnNotice,
}

impl<J> Default for PoolSetup<J> {
    /// One kind of jobs, threads `task-0`, `task-1`, ..., notices on standard error.
    fn default() -> Self {
        PoolSetup {
            number: 0,
            name: "default".into(),
            thread_name: "task".into(),
            kinds: Kinds::one(),
            on_notice: notice::on_standard_error(),
        }
    }
}

/// A running pool, from outside: its counters, and its end.
pub struct Pool<J, O> {
    shared: Arc<Shared<J, O>>,
    threads: Arc<Threads>,
    tasks: Tasks<J, O>,
}

/// A pool, and a lane for each executor.
type Started<J, O> = (Pool<J, O>, Vec<Lane<J, O>>);

impl<J: Send + 'static, O: Send + 'static> Pool<J, O> {
    /// Starts the task workers, pinned to their seats, and returns a lane for each executor, one
    /// for each of `bells`. All of them run jobs by `run`.
    pub fn start(
        config: &PoolConfig,
        bells: &[Arc<Bell>],
        run: impl Fn(&TaskContext, J) -> Result<O, Failure> + Send + Sync + 'static,
    ) -> Result<Started<J, O>, PoolError> {
        let run = Arc::new(run);
        Pool::start_with(config, PoolSetup::default(), bells, move |_| {
            let run = run.clone();
            Ok(move |context: &TaskContext, job| run(context, job))
        })
    }

    /// As [`start`](Self::start), but each task worker runs jobs by what `make` returns on its
    /// thread, which may hold what the worker keeps: a connection, a cache. It is dropped there when
    /// the worker ends or is made anew. Replaces Swoole's `WorkerStart` and `WorkerStop`.
    ///
    /// Where `make` fails or panics, the start fails; later on the worker goes on with what it has.
    pub fn start_with<R>(
        config: &PoolConfig,
        setup: PoolSetup<J>,
        bells: &[Arc<Bell>],
        make: impl Fn(&TaskWorkerInfo) -> Result<R, Failure> + Send + Sync + 'static,
    ) -> Result<Started<J, O>, PoolError>
    where
        R: FnMut(&TaskContext, J) -> Result<O, Failure> + 'static,
    {
        config.check(bells.len())?;
        let bounds = config.lane_bounds(1);
        // Before the threads: they let the signal through when they start.
        let watch =
            config.stuck_after.map(|after| Ok((after, config.stack_reader()?))).transpose()?;
        let on_notice = setup.on_notice.clone();
        let shared = Arc::new(Shared::new(config, setup, bounds.credits, bells, Parking::new()));
        let tasks = Tasks::new(shared.clone());
        let (mut workers, rings) = worker::make_all(config, bounds.credits, &shared);
        let reserve = Mutex::new(workers.split_off(config.seats.len()));
        let threads = Arc::<Threads>::default();
        let pool = Pool { shared: shared.clone(), threads: threads.clone(), tasks: tasks.clone() };
        let crew = Arc::new(Crew { shared, make, on_notice, threads, reserve });
        let started = workers
            .into_iter()
            .try_for_each(|worker| crew.start(worker).map_err(|failed| failed.0))
            .and_then(|()| match watch {
                Some((after, stacks)) => {
                    Watchdog::start(crew.clone(), after, stacks, config.seats.clone())
                        .map_err(PoolError::Watchdog)
                }
                None => Ok(()),
            });
        if let Err(error) = started {
            pool.close(Instant::now());
            return Err(error);
        }
        let lanes = rings
            .into_iter()
            .enumerate()
            .map(|(executor, finishes)| Lane::new(tasks.clone(), executor, bounds, finishes))
            .collect();
        Ok((pool, lanes))
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

    /// Has each task worker made anew, after its job if it runs one: no job is lost, none waits
    /// but for that. Replaces Swoole's `reload` of task workers.
    pub fn reload(&self) {
        self.tasks.reload_workers();
    }

    /// Ends the pool: what is queued is still run, no job may be dispatched any more. Waits for
    /// the task workers until `deadline`; one whose job is not over by then is left behind. Async
    /// workers then drop what they run, and it is lost ([`PoolSnapshot::outstanding`]).
    ///
    /// The executors must have ended, or [`FinishSource::in_flight`] be 0 on each.
    pub fn close(self, deadline: Instant) -> PoolSnapshot {
        self.shared.foreign.close();
        self.threads.begin_close();
        self.shared.park.close();
        if !self.threads.join(deadline) && self.shared.park.abandon() {
            self.threads.join(crate::sys::instant::after(ABANDON_MAX));
        }
        self.shared.snapshot()
    }
}

impl LaneShared {
    fn new(bell: &Arc<Bell>) -> Arc<Self> {
        let (bell, commands, stats) = (bell.clone(), SegQueue::new(), LaneStats::default());
        Arc::new(LaneShared { bell, commands, stats })
    }
}

/// Has an installed lane drained by this executor: see [`Lane::install`].
pub fn attach(source: Rc<dyn FinishSource>) {
    crate::executor::add_finish_source(source);
}
