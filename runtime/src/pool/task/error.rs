//! What can go wrong with a pool, a dispatch, a task.

use std::fmt;

use crate::machine::probe::{NO_THREAD, cure_of};
use crate::stack::NoStacks;

/// A pool could not start.
pub enum PoolError {
    /// There is no executor to dispatch from.
    NoExecutors,
    /// There is no task worker.
    NoSeats,
    /// The queue has no room.
    NoDepth,
    /// A task worker would be made anew before it has run a job.
    RecycleAtOnce,
    /// What a task worker is to run jobs with could not be made.
    Make {
        /// The task worker's number.
        task_worker: usize,
        /// What its maker said.
        cause: String,
    },
    /// The watchdog's thread could not be made.
    Watchdog(std::io::Error),
    /// The stacks of stuck jobs cannot be read.
    Stacks(NoStacks),
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
        /// What the system said.
        cause: std::io::Error,
    },
    /// An async worker may run no job at all.
    NoConcurrency,
    /// The executor of an async worker could not be made.
    Host {
        /// The task worker's number.
        task_worker: usize,
        /// The CPU it should run on.
        cpu: usize,
        /// What was said.
        cause: std::io::Error,
    },
}

/// A job was not accepted. It is given back.
pub enum DispatchError<J> {
    /// The queue is full, or this executor has its share of tasks in flight: try later.
    Full(J),
    /// The server runs without task workers.
    NoTaskWorkers(J),
    /// There is no task worker of that number.
    NoSuchTaskWorker(J),
    /// A delayed or retried task belongs to an executor's clock, and this thread is no executor.
    NotOnExecutor(J),
    /// The pool has been closed.
    Closed(J),
    /// Its deadline passed while it waited for room.
    TimedOut(J),
}

/// Why a job that ran did not bring an output, as the job itself says it.
///
/// It is the text of the reason, and keeps nothing of an error that it is made of: it goes from thread
/// to thread and into journals, and may be dropped anywhere, where no code of the application's is to
/// run. What an error is beyond its text, a job can make part of its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    reason: String,
    kind: FailureKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FailureKind {
    Passing,
    Permanent,
    Cancelled,
}

/// A task that was accepted did not bring an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskError {
    /// The job failed, at its last attempt.
    Failed(Failure),
    /// The job panicked, with this message. The task worker lives on.
    Panicked(String),
    /// Its deadline passed. If it was running then, what it still returns is thrown away.
    TimedOut,
    /// It was cancelled.
    Cancelled,
    /// The task ended without an outcome: an async worker still ran it when the time of its pool's
    /// close was over, or lost its executor to a panic in a task that a job had spawned on the host
    /// itself. Else only a fault in this crate can cause it.
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

impl Failure {
    /// A failure that another attempt may not meet.
    pub fn new(reason: impl fmt::Display) -> Self {
        Failure { reason: reason.to_string(), kind: FailureKind::Passing }
    }

    /// A failure that every further attempt would meet too: no retry is made.
    pub fn permanent(reason: impl fmt::Display) -> Self {
        Failure { reason: reason.to_string(), kind: FailureKind::Permanent }
    }

    /// The job saw that it was cancelled and stopped: the outcome is [`TaskError::Cancelled`].
    pub fn cancelled() -> Self {
        Failure { reason: String::new(), kind: FailureKind::Cancelled }
    }

    /// The reason, as the job gave it.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether another attempt is of no use.
    pub fn is_permanent(&self) -> bool {
        self.kind == FailureKind::Permanent
    }
}

impl From<Failure> for TaskError {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            FailureKind::Cancelled => TaskError::Cancelled,
            FailureKind::Passing | FailureKind::Permanent => TaskError::Failed(failure),
        }
    }
}

impl TaskError {
    /// Whether another attempt may end better: it is made, where the task has retries left.
    pub fn may_be_retried(&self) -> bool {
        match self {
            TaskError::Failed(failure) => !failure.is_permanent(),
            TaskError::Panicked(_) => true,
            TaskError::TimedOut | TaskError::Cancelled | TaskError::Lost => false,
        }
    }
}

impl<J> DispatchError<J> {
    /// The job that was not accepted.
    pub fn into_job(self) -> J {
        match self {
            DispatchError::Full(job)
            | DispatchError::NoTaskWorkers(job)
            | DispatchError::NoSuchTaskWorker(job)
            | DispatchError::NotOnExecutor(job)
            | DispatchError::Closed(job)
            | DispatchError::TimedOut(job) => job,
        }
    }

    /// The same refusal, with what `change` makes of the job: `refused.map(drop)` keeps the reason.
    pub fn map<T>(self, change: impl FnOnce(J) -> T) -> DispatchError<T> {
        match self {
            DispatchError::Full(job) => DispatchError::Full(change(job)),
            DispatchError::NoTaskWorkers(job) => DispatchError::NoTaskWorkers(change(job)),
            DispatchError::NoSuchTaskWorker(job) => DispatchError::NoSuchTaskWorker(change(job)),
            DispatchError::NotOnExecutor(job) => DispatchError::NotOnExecutor(change(job)),
            DispatchError::Closed(job) => DispatchError::Closed(change(job)),
            DispatchError::TimedOut(job) => DispatchError::TimedOut(change(job)),
        }
    }

    /// Whether the job may be accepted later.
    pub fn is_full(&self) -> bool {
        matches!(self, DispatchError::Full(_))
    }

    fn name(&self) -> &'static str {
        match self {
            DispatchError::Full(_) => "Full",
            DispatchError::NoTaskWorkers(_) => "NoTaskWorkers",
            DispatchError::NoSuchTaskWorker(_) => "NoSuchTaskWorker",
            DispatchError::NotOnExecutor(_) => "NotOnExecutor",
            DispatchError::Closed(_) => "Closed",
            DispatchError::TimedOut(_) => "TimedOut",
        }
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
            DispatchError::NoSuchTaskWorker(_) => {
                "there is no task worker of that number: they count from 0 to task_worker_num - 1"
            }
            DispatchError::NotOnExecutor(_) => {
                "a task with a delay or retries is dispatched on an executor's thread: call it from \
                 a handler"
            }
            DispatchError::Closed(_) => "the pool has been closed: the server shuts down",
            DispatchError::TimedOut(_) => "the task's deadline passed while it waited for room",
        }
    }
}

impl<J> fmt::Debug for DispatchError<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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

impl<J> std::error::Error for RunError<J> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RunError::Failed(error) => Some(error),
            RunError::Refused(_) | RunError::WrongThread => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FailureKind::Cancelled => f.write_str("the job stopped when it was cancelled"),
            FailureKind::Passing | FailureKind::Permanent => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskError::Failed(failure) => write!(f, "the task failed: {failure}"),
            TaskError::Panicked(message) => write!(f, "the task panicked: {message}"),
            TaskError::TimedOut => f.write_str("the task's deadline passed"),
            TaskError::Cancelled => f.write_str("the task was cancelled"),
            TaskError::Lost => f.write_str("the task ended without an outcome"),
        }
    }
}

impl std::error::Error for TaskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TaskError::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PoolError::NoExecutors => f.write_str("a pool needs at least one executor"),
            PoolError::NoSeats => f.write_str("a pool needs at least one task worker"),
            PoolError::NoDepth => f.write_str("task_queue_depth must be at least 1"),
            PoolError::RecycleAtOnce => {
                f.write_str("a task worker must run at least 1 job before it is made anew")
            }
            PoolError::Make { task_worker, cause } => {
                write!(f, "task worker {task_worker} has nothing to run jobs with: {cause}")
            }
            PoolError::Watchdog(cause) => {
                write!(f, "the watchdog could not start: {cause}; {NO_THREAD}")
            }
            PoolError::Stacks(cause) => cause.fmt(f),
            PoolError::Thread { task_worker, cause } => {
                write!(f, "task-{task_worker} could not start: {cause}; {NO_THREAD}")
            }
            PoolError::Pin { task_worker, cpu, cause } => {
                let cure = match cure_of(cause) {
                    "" => "choose task_worker_cpus within the affinity mask (`taskset -p $$`)",
                    cure => cure,
                };
                write!(f, "task-{task_worker} could not be pinned to CPU {cpu}: {cause}; {cure}")
            }
            PoolError::NoConcurrency => {
                f.write_str("an async task worker needs a concurrency of at least 1")
            }
            PoolError::Host { task_worker, cpu, cause } => write!(
                f,
                "task-{task_worker} could not host its jobs on CPU {cpu}: {cause}; raise the limits \
                 of locked memory (`ulimit -l`) and descriptors (`ulimit -n`)"
            ),
        }
    }
}

/// As it is displayed, for a `main` that returns it.
impl fmt::Debug for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for PoolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            PoolError::Watchdog(cause)
            | PoolError::Thread { cause, .. }
            | PoolError::Pin { cause, .. }
            | PoolError::Host { cause, .. } => Some(cause),
            PoolError::Stacks(cause) => Some(cause),
            _ => None,
        }
    }
}
