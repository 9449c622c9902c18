//! A task: what is known of it on its way to a worker, while it runs, and when it is over.
//!
//! `control` decides once whether it runs or is withdrawn; `options` say how it is to be treated,
//! `kinds` what it counts as, `error` what can go wrong with it.

pub(crate) mod control;
pub(crate) mod error;
pub(crate) mod kinds;
pub(crate) mod options;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::control::Control;
use self::error::TaskError;

/// A task's number: strictly increasing on each executor, unique among pools of different
/// [numbers](crate::pool::PoolSetup::number). Those of pool 0 begin at 1. JSON numbers hold it exactly.
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
    pub(crate) control: Option<Arc<Control>>,
    pub(crate) deadline: Option<Instant>,
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
pub(crate) struct FinishMessage<J, O> {
    pub(crate) finish: Finish<O>,
    pub(crate) slot: Option<SlotKey>,
    /// The job, where it failed and may be tried again.
    pub(crate) job: Option<Box<J>>,
}

/// A job in the queue.
pub(crate) struct Envelope<J, O> {
    pub(crate) job: J,
    pub(crate) id: TaskId,
    pub(crate) attempt: u32,
    pub(crate) dispatched: Instant,
    pub(crate) deadline: Option<Instant>,
    pub(crate) origin: Origin<O>,
    pub(crate) control: Option<Arc<Control>>,
    /// How to keep a copy for another attempt.
    pub(crate) again: Option<fn(&J) -> J>,
}

/// Who dispatched a job.
pub(crate) enum Origin<O> {
    /// An executor: the finish goes home through its ring.
    Lane { executor: usize, slot: Option<SlotKey> },
    /// Another thread: the finish is handed over where it is.
    External(Receiver<O>),
}

/// Who receives a finish: a receiver of its own, or the pool's `on_finish`.
pub(crate) type Receiver<O> = Option<Box<dyn FnOnce(Finish<O>) + Send>>;

/// Names a slot and its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SlotKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
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
