//! What can go wrong with a pool, a dispatch, a task.

use std::fmt;

/// A pool could not start.
#[derive(Debug)]
pub enum PoolError {
    /// There is no executor to dispatch from.
    NoExecutors,
    /// There is no task worker.
    NoSeats,
    /// The queue has no room.
    NoDepth,
    /// A task worker's thread could not be made.
    Thread {
        /// The task worker's number.
        task_worker: usize,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A task worker could not be pinned.
    Pin {
        /// The task worker's number.
        task_worker: usize,
        /// The CPU that was refused.
        cpu: usize,
    },
}

/// A job was not accepted. It is given back.
pub enum DispatchError<J> {
    /// The queue is full, or this executor has its share of tasks in flight: try later.
    Full(J),
    /// The server runs without task workers.
    NoTaskWorkers(J),
    /// Called on a thread that is not an executor's of this pool.
    NotOnExecutor(J),
}

/// A task that was accepted did not bring an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskError {
    /// The job panicked, with this message. The task worker lives on.
    Panicked(String),
    /// The task ended without an outcome, which only a fault in this crate can cause.
    Lost,
}

/// An awaited task brought no output.
pub enum RunError<J> {
    /// The job was not accepted; it is given back.
    Refused(DispatchError<J>),
    /// The task was accepted and failed.
    Failed(TaskError),
    /// The future was polled on another thread than that of the executor that dispatched the task.
    /// The task's output went to `on_finish`.
    WrongThread,
}

impl<J> DispatchError<J> {
    /// The job that was not accepted.
    pub fn into_job(self) -> J {
        match self {
            DispatchError::Full(job)
            | DispatchError::NoTaskWorkers(job)
            | DispatchError::NotOnExecutor(job) => job,
        }
    }

    /// Whether the job may be accepted later.
    pub fn is_full(&self) -> bool {
        matches!(self, DispatchError::Full(_))
    }

    fn advice(&self) -> &'static str {
        match self {
            DispatchError::Full(_) => {
                "the task queue is full: try again later, or raise task_queue_depth or \
                 task_worker_num"
            }
            DispatchError::NoTaskWorkers(_) => {
                "the server runs without task workers: set task_worker_num above 0"
            }
            DispatchError::NotOnExecutor(_) => {
                "tasks are dispatched on an executor's thread: call it from a handler"
            }
        }
    }
}

impl<J> fmt::Debug for DispatchError<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DispatchError::Full(_) => "Full",
            DispatchError::NoTaskWorkers(_) => "NoTaskWorkers",
            DispatchError::NotOnExecutor(_) => "NotOnExecutor",
        })
    }
}

impl<J> fmt::Display for DispatchError<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.advice())
    }
}

impl<J> std::error::Error for DispatchError<J> {}

impl<J> fmt::Debug for RunError<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Refused(refused) => f.debug_tuple("Refused").field(refused).finish(),
            RunError::Failed(failed) => f.debug_tuple("Failed").field(failed).finish(),
            RunError::WrongThread => f.write_str("WrongThread"),
        }
    }
}

impl<J> fmt::Display for RunError<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Refused(refused) => refused.fmt(f),
            RunError::Failed(failed) => failed.fmt(f),
            RunError::WrongThread => {
                f.write_str("a task was awaited on another thread than its executor's")
            }
        }
    }
}

impl<J> std::error::Error for RunError<J> {}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskError::Panicked(message) => write!(f, "the task panicked: {message}"),
            TaskError::Lost => f.write_str("the task ended without an outcome"),
        }
    }
}

impl std::error::Error for TaskError {}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PoolError::NoExecutors => f.write_str("a pool needs at least one executor"),
            PoolError::NoSeats => f.write_str("a pool needs at least one task worker"),
            PoolError::NoDepth => f.write_str("task_queue_depth must be at least 1"),
            PoolError::Thread { task_worker, cause } => write!(
                f,
                "task-{task_worker} could not start: {cause}; raise the limit of processes \
                 (`ulimit -u`) or lower task_worker_num"
            ),
            PoolError::Pin { task_worker, cpu } => write!(
                f,
                "task-{task_worker} could not be pinned to CPU {cpu}: choose task_worker_cpus \
                 within the affinity mask (`taskset -p $$`)"
            ),
        }
    }
}

impl std::error::Error for PoolError {}
