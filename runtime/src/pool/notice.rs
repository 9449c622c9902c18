//! What a pool tells its operator while it runs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::pool::task::TaskId;
use crate::stack::Stack;

/// Something of a pool that an operator should know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// A job runs longer than [`PoolConfig::stuck_after`](crate::pool::PoolConfig::stuck_after). Told
    /// once a task.
    Stuck(Stuck),
    /// A task that was reported as stuck is over.
    Unstuck {
        /// The pool.
        pool: Arc<str>,
        /// The task.
        task: TaskId,
        /// The task worker that ran it.
        task_worker: usize,
    },
    /// A spare worker stands in for one whose job is stuck.
    SpareStarted {
        /// The pool.
        pool: Arc<str>,
        /// The spare's number, above those of the others.
        task_worker: usize,
    },
    /// A worker or a spare could not be made; those that are there go on.
    WorkerFailed {
        /// The pool.
        pool: Arc<str>,
        /// Its number.
        task_worker: usize,
        /// What went wrong, and its cure.
        cause: String,
    },
}

/// A job that runs too long.
#[derive(Clone, Debug)]
pub struct Stuck {
    /// The pool.
    pub pool: Arc<str>,
    /// The task.
    pub task: TaskId,
    /// The kind of its job.
    pub kind: &'static str,
    /// The task worker that runs it.
    pub task_worker: usize,
    /// Its thread, as the system numbers it: `gdb -p` and `/proc/PID/task/TID` take it.
    pub thread_id: u32,
    /// For how long it has run.
    pub running_for: Duration,
    /// What its thread does: `running`, or the place in the kernel where it waits.
    pub doing: String,
    /// Where in its code the job is, if it could be asked.
    pub stack: Stack,
}

/// Receives a pool's notices.
pub type OnNotice = Arc<dyn Fn(&Notice) + Send + Sync>;

/// A line on standard error, and one for each frame of a stuck job.
pub(crate) fn on_standard_error() -> OnNotice {
    Arc::new(|notice| crate::sys::stderr::line(format_args!("{notice}")))
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Stuck(stuck) => stuck.fmt(f),
            Notice::Unstuck { pool, task, task_worker } => {
                write!(f, "pool {pool}: task {task} on task worker {task_worker} is over at last")
            }
            Notice::SpareStarted { pool, task_worker } => write!(
                f,
                "pool {pool}: spare task worker {task_worker} stands in until a stuck job is over"
            ),
            Notice::WorkerFailed { pool, task_worker, cause } => {
                write!(f, "pool {pool}: task worker {task_worker} was not made anew: {cause}")
            }
        }
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stuck { pool, task, kind, task_worker, thread_id, running_for, doing, stack } = self;
        write!(
            f,
            "pool {pool}: task {task} ({kind}) has run for {} ms on task worker {task_worker} \
             (thread {thread_id}, {doing}): give it a deadline and let it ask whether it is \
             cancelled, or raise task_stuck_after_ms{stack}",
            running_for.as_millis()
        )
    }
}
