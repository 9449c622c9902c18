//! The callbacks of a server's tasks, and which of them it has.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use sidecore_runtime::pool::{
    DeadLetter, Failure, Kinds, Notice, OnNotice, TaskContext, TaskError, TaskId, TaskWorkerInfo,
};
use sidecore_runtime::sys::panics::Quiet;
use sidecore_runtime::sys::stderr;

use crate::tasks::async_tasks::MakeAsync;

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

/// What a task worker runs jobs with, on its own thread.
pub(crate) type RunJob<J, O> = Box<dyn FnMut(&TaskContext, J) -> Result<O, Failure>>;

/// Makes that, on the thread of each task worker.
type MakeRun<J, O> = Box<dyn Fn(&TaskWorkerInfo) -> Result<RunJob<J, O>, Failure> + Send + Sync>;

/// A pool's `on_task` callback, and what else concerns its jobs.
pub struct OnTask<J, O> {
    pub(crate) make: MakeRun<J, O>,
    pub(crate) kinds: Kinds<J>,
    pub(crate) on_dead_letter: Option<OnDeadLetter<J>>,
}

type OnDeadLetter<J> = Arc<dyn Fn(DeadLetter<J>) + Send + Sync>;

/// Keeps the function that receives a pool's notices.
pub(crate) fn notices_to(on_notice: impl Fn(&Notice) + Send + Sync + 'static) -> OnNotice {
    let on_notice = Quiet::new(on_notice);
    Arc::new(move |notice: &Notice| on_notice(notice))
}

/// Keeps the function that receives a pool's dead letters.
pub(crate) fn dead_letters_to<J>(
    on_dead_letter: impl Fn(DeadLetter<J>) + Send + Sync + 'static,
) -> OnDeadLetter<J> {
    let on_dead_letter = Quiet::new(on_dead_letter);
    Arc::new(move |dead| {
        on_dead_letter(dead);
    })
}

/// How a pool runs its jobs.
pub(crate) enum Work<J, O> {
    /// One after the other.
    Sync(MakeRun<J, O>),
    /// So many at once.
    Async { concurrency: usize, make: MakeAsync<J, O> },
}

/// What concerns a pool's jobs.
pub(crate) struct Jobs<J, O> {
    pub(crate) work: Work<J, O>,
    pub(crate) kinds: Kinds<J>,
    pub(crate) on_dead_letter: Option<OnDeadLetter<J>>,
}

impl<J, O> From<OnTask<J, O>> for Jobs<J, O> {
    fn from(on_task: OnTask<J, O>) -> Self {
        let OnTask { make, kinds, on_dead_letter } = on_task;
        Jobs { work: Work::Sync(make), kinds, on_dead_letter }
    }
}

/// A pool's `on_finish` callback.
pub struct OnFinish<O>(pub(crate) Arc<dyn Fn(&FinishContext, TaskResult<O>) + Send + Sync>);

impl<O> OnFinish<O> {
    pub(crate) fn new(
        on_finish: impl Fn(&FinishContext, TaskResult<O>) + Send + Sync + 'static,
    ) -> Self {
        let on_finish = Quiet::new(on_finish);
        OnFinish(Arc::new(move |finish: &FinishContext, outcome| on_finish(finish, outcome)))
    }

    /// Where every task is awaited, or has a callback of its own: drops an output, and reports a
    /// failure, of those that are not.
    pub(crate) fn awaited() -> Self {
        OnFinish(Arc::new(|finish: &FinishContext, outcome: TaskResult<O>| {
            // Whoever has cancelled it knows.
            if let Err(error) = outcome
                && error != TaskError::Cancelled
            {
                stderr::line(format_args!("task {}, which nobody awaits: {error}", finish.id));
            }
        }))
    }
}

impl<J: 'static, O: 'static> OnTask<J, O> {
    /// The same function on each task worker.
    pub(crate) fn shared(
        on_task: impl Fn(&TaskContext, J) -> Result<O, Failure> + Send + Sync + 'static,
    ) -> Self {
        let on_task = Arc::new(Quiet::new(on_task));
        Self::made(move |_| {
            let on_task = on_task.clone();
            Ok(move |context: &TaskContext, job| on_task(context, job))
        })
    }

    /// A function of its own for each.
    pub(crate) fn made<R>(
        make: impl Fn(&TaskWorkerInfo) -> Result<R, Failure> + Send + Sync + 'static,
    ) -> Self
    where
        R: FnMut(&TaskContext, J) -> Result<O, Failure> + 'static,
    {
        let make = Quiet::new(make);
        let make: MakeRun<J, O> =
            Box::new(move |info| make(info).map(|run| -> RunJob<J, O> { Box::new(run) }));
        OnTask { make, kinds: Kinds::one(), on_dead_letter: None }
    }
}

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
