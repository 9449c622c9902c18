//! The callbacks of a server's tasks, and which of them it has.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

pub use sidecore_runtime::pool::{
    Cancelled, Dispatch, DispatchError, Failure, Outcomes, Overlap, Percentiles, Periodic,
    PeriodicSnapshot, PoolSnapshot, Priority, Retry, Run, RunError, SendJob, TaskContext,
    TaskError, TaskHandle, TaskId, TaskState, TaskWorkerSnapshot, Tasks,
};

/// How a task ended, as `on_finish` receives it: what `on_task` returned, or why it did not.
pub type TaskResult<O> = Result<O, TaskError>;

/// What `on_finish` knows of a task, on the executor that dispatched it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinishContext {
    /// The task's id, as `dispatch` returned it.
    pub id: TaskId,
    /// This executor, which dispatched it; None: this is a task worker, and the task was dispatched
    /// by a thread that is no executor.
    pub executor: Option<usize>,
    /// The task worker that ran it; None where it was never run.
    pub task_worker: Option<usize>,
    /// From dispatch to the start of its run.
    pub waited: Duration,
    /// From the start to the end of its run.
    pub ran: Duration,
    /// Attempts that were made.
    pub attempts: u32,
}

/// A server's `on_task` callback.
pub struct OnTask<J, O>(
    pub(crate) Arc<dyn Fn(&TaskContext, J) -> std::result::Result<O, Failure> + Send + Sync>,
);

/// A server's `on_finish` callback.
pub struct OnFinish<O>(pub(crate) Arc<dyn Fn(&FinishContext, TaskResult<O>) + Send + Sync>);

/// The callbacks that a server was given. Both are needed if it has task workers.
pub trait Callbacks: Sized {
    /// The jobs that are dispatched.
    type Job: Send + Unpin + 'static;
    /// What they return.
    type Output: Send + 'static;
    /// The two callbacks, where given.
    fn split(self) -> (Option<OnTask<Self::Job, Self::Output>>, Option<OnFinish<Self::Output>>);
}

impl<J: Send + Unpin + 'static, O: Send + 'static> Callbacks for (OnTask<J, O>, OnFinish<O>) {
    type Job = J;
    type Output = O;
    fn split(self) -> (Option<OnTask<J, O>>, Option<OnFinish<O>>) {
        (Some(self.0), Some(self.1))
    }
}

impl<J: Send + Unpin + 'static, O: Send + 'static> Callbacks for (OnTask<J, O>, ()) {
    type Job = J;
    type Output = O;
    fn split(self) -> (Option<OnTask<J, O>>, Option<OnFinish<O>>) {
        (Some(self.0), None)
    }
}

impl<O: Send + 'static> Callbacks for ((), OnFinish<O>) {
    type Job = Infallible;
    type Output = O;
    fn split(self) -> (Option<OnTask<Infallible, O>>, Option<OnFinish<O>>) {
        (None, Some(self.1))
    }
}

impl Callbacks for ((), ()) {
    type Job = Infallible;
    type Output = Infallible;
    fn split(self) -> (Option<OnTask<Infallible, Infallible>>, Option<OnFinish<Infallible>>) {
        (None, None)
    }
}
