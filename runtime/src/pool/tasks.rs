//! The handle that handlers hold: dispatch a job, or run one and wait for its output.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::dispatch::Dispatch;
use super::lane::{Installed, Order};
use super::options::{Options, Priority};
use super::run::{Run, State};
use super::slots::Sink;
use super::waiting::{Held, Turn};
use super::{DispatchError, PoolSnapshot, RunError, Shared, TaskId};

thread_local! {
    /// The lanes installed on this thread, by the address of their pool's shared part.
    static LANES: RefCell<Vec<(usize, Rc<dyn Any>)>> = const { RefCell::new(Vec::new()) };
}

/// Dispatches jobs to a pool. Cheap to clone; `Send`, `Sync`.
///
/// On the pool's executors each job takes one of the executor's credits, and its outcome comes
/// home to it. From any other thread, such as a task worker of another pool or another runtime's
/// thread, jobs share credits of their own; see [`Run`] and [`Dispatch::dispatch_then`] for where
/// their outcomes go.
pub struct Tasks<J, O> {
    shared: Option<Arc<Shared<J, O>>>,
    output: PhantomData<fn() -> O>,
}

impl<J: Send + 'static, O: Send + 'static> Tasks<J, O> {
    pub(super) fn new(shared: Arc<Shared<J, O>>) -> Self {
        Tasks { shared: Some(shared), output: PhantomData }
    }

    /// A handle without task workers: every dispatch is refused.
    pub fn none() -> Self {
        Tasks { shared: None, output: PhantomData }
    }

    /// Puts a job into the queue and returns at once with its id; its output goes to `on_finish`.
    /// A job that is not accepted is given back. Replaces Swoole's `task`.
    ///
    /// Costs no system call while a task worker is awake.
    pub fn dispatch(&self, job: J) -> Result<TaskId, DispatchError<J>> {
        let mut job = Some(job);
        let sent = self.on_lane(|lane| Some(lane.dispatch(job.take()?)));
        match (sent, job) {
            (Some(sent), _) => sent.map_err(DispatchError::Full),
            (None, Some(job)) => Dispatch::new(self.clone(), job).dispatch().map(|task| task.id()),
            (None, None) => unreachable!("the job is taken only to be dispatched"),
        }
    }

    /// Says more of a job before it is dispatched: priority, times, retries, task worker.
    pub fn job(&self, job: J) -> Dispatch<J, O> {
        Dispatch::new(self.clone(), job)
    }

    /// Puts a job into the queue, now, and returns a future of its output. Replaces Swoole's
    /// `taskwait` and `taskCo`; [`Dispatch::deadline`] adds their time.
    pub fn run(&self, job: J) -> Run<J, O> {
        let mut job = Some(job);
        let sent = self.on_lane(|lane| {
            let order = Order {
                job: job.take()?,
                options: Options::default(),
                sink: Sink::Waiting(None),
                again: None,
                controlled: false,
            };
            Some(lane.dispatch_order(order).map(|(_, key, _)| (lane.executor, key)))
        });
        let state = match (sent, job) {
            (Some(Ok((executor, key))), _) => State::Lane { executor, key },
            (Some(Err(job)), _) => State::Refused(DispatchError::Full(job)),
            (None, Some(job)) => return Dispatch::new(self.clone(), job).run(),
            (None, None) => unreachable!("the job is taken only to be dispatched"),
        };
        Run::new(self.clone(), state, None)
    }

    /// Runs jobs side by side and returns their outcomes by position; those that are not over
    /// `within` so long are [`TimedOut`](super::TaskError::TimedOut). Replaces Swoole's
    /// `taskWaitMulti` and Octane's `concurrently`, without their bound of 1,024. On a thread that is
    /// no executor the time counts as [`Dispatch::deadline`] says.
    pub async fn run_all(
        &self,
        jobs: impl IntoIterator<Item = J>,
        within: Duration,
    ) -> Vec<Result<O, RunError<J>>>
    where
        J: Unpin,
    {
        let runs: Vec<_> =
            jobs.into_iter().map(|job| self.job(job).deadline(within).run()).collect();
        let mut outcomes = Vec::with_capacity(runs.len());
        // All have been dispatched, and each ends by the deadline: the order costs no time.
        for run in runs {
            outcomes.push(run.await);
        }
        outcomes
    }

    /// Dispatches a job as soon as there is room, in the order of the calls: no later one is accepted
    /// before it, and of those that wait [by priority](Dispatch::send) the higher ones go first. Dropping the future before it is ready drops the job.
    ///
    /// On an executor of the pool; elsewhere it is refused as by `dispatch`.
    pub fn send(&self, job: J) -> SendJob<J, O> {
        SendJob { tasks: self.clone(), job: Some(job), held: None }
    }

    /// The task workers that a job may be dispatched to by number; 0 without a pool.
    pub fn task_workers(&self) -> usize {
        self.shared.as_ref().map_or(0, |shared| shared.seats)
    }

    /// Why a job with these options can never be dispatched, as the error that gives it back.
    pub(super) fn refusal(&self, options: &Options) -> Option<fn(J) -> DispatchError<J>> {
        match (self.task_workers(), options.task_worker) {
            (0, _) => Some(DispatchError::NoTaskWorkers),
            (count, Some(task_worker)) if task_worker >= count => {
                Some(DispatchError::NoSuchTaskWorker)
            }
            _ => None,
        }
    }

    /// The counters of the pool, if there is one.
    pub fn snapshot(&self) -> Option<PoolSnapshot> {
        self.shared.as_ref().map(|shared| shared.snapshot())
    }

    /// See [`Pool::reload`](super::Pool::reload).
    pub fn reload_workers(&self) {
        if let Some(shared) = &self.shared {
            // The workers look at it as they look at their mail: see `post`.
            shared.generation.advance();
            shared.park.call_all();
        }
    }

    /// Removes this pool's lane from this thread, at the end of its executor.
    pub fn uninstall(&self) {
        let key = self.key();
        LANES.with_borrow_mut(|lanes| lanes.retain(|(installed, _)| *installed != key));
    }

    fn on_lane<R>(&self, call: impl FnOnce(&Installed<J, O>) -> Option<R>) -> Option<R> {
        self.shared.as_ref()?;
        with_lane(self.key(), call).flatten()
    }
}

impl<J, O> Tasks<J, O> {
    pub(super) fn shared(&self) -> &Shared<J, O> {
        self.shared.as_deref().expect("a lane belongs to a pool with task workers")
    }

    /// Names the pool among those of this process.
    pub(super) fn key(&self) -> usize {
        self.shared.as_ref().map_or(0, |shared| Arc::as_ptr(shared) as usize)
    }
}

pub(super) fn install<J, O>(tasks: &Tasks<J, O>, lane: Rc<Installed<J, O>>)
where
    J: Send + 'static,
    O: Send + 'static,
{
    LANES.with_borrow_mut(|lanes| lanes.push((tasks.key(), lane)));
}

pub(super) fn with_lane<J, O, R>(key: usize, call: impl FnOnce(&Installed<J, O>) -> R) -> Option<R>
where
    J: Send + 'static,
    O: Send + 'static,
{
    // The thread-local is gone while its thread ends: then there is no lane either.
    LANES
        .try_with(|lanes| {
            let lanes = lanes.borrow();
            let (_, lane) = lanes.iter().find(|(installed, _)| *installed == key)?;
            lane.downcast_ref::<Installed<J, O>>().map(call)
        })
        .ok()
        .flatten()
}

/// The future of [`Tasks::send`].
#[must_use = "a future does nothing unless awaited"]
pub struct SendJob<J: Send + 'static, O: Send + 'static> {
    tasks: Tasks<J, O>,
    job: Option<J>,
    held: Option<Held>,
}

impl<J: Send + Unpin + 'static, O: Send + 'static> Future for SendJob<J, O> {
    type Output = Result<TaskId, DispatchError<J>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let sent = this.tasks.on_lane(|lane| {
            let job = this.job.take()?;
            let ticket = this.held.take().and_then(|held| held.ticket_on(lane));
            let (priority, waker) = (Priority::Normal, context.waker());
            let turn = Turn { ticket, priority, task_worker: None, waker };
            let sent = lane.dispatch_in_turn(job, turn, Installed::dispatch_first);
            let executor = lane.executor;
            Some(sent.map_err(|(job, ticket)| (job, Held { executor, ticket })))
        });
        match (sent, this.job.take()) {
            (Some(Ok(id)), _) => Poll::Ready(Ok(id)),
            (Some(Err((job, held))), _) => {
                (this.job, this.held) = (Some(job), Some(held));
                Poll::Pending
            }
            (None, Some(job)) => Poll::Ready(this.tasks.dispatch(job)),
            // Polled after it was ready.
            (None, None) => Poll::Pending,
        }
    }
}

impl<J: Send + 'static, O: Send + 'static> Drop for SendJob<J, O> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            held.give_up(&self.tasks);
        }
    }
}

impl<J, O> Clone for Tasks<J, O> {
    fn clone(&self) -> Self {
        Tasks { shared: self.shared.clone(), output: PhantomData }
    }
}

impl<J, O> fmt::Debug for Tasks<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("task_workers", &self.shared.is_some()).finish()
    }
}
