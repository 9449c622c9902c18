//! The handle that handlers hold: dispatch a job, or run one and wait for its output.

use crate::pool::api::when_room::DispatchWhenRoom;
use crate::pool::lane::installed::{self, uninstall, with_lane};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::pool::api::dispatch::Dispatch;
use crate::pool::api::run::{Run, RunState};
use crate::pool::lane::slots::Sink;
use crate::pool::lane::{Installed, Order};
use crate::pool::shared::PoolShared;
use crate::pool::stats::PoolSnapshot;
use crate::pool::task::TaskId;
use crate::pool::task::error::{DispatchError, RunError};
use crate::pool::task::options::Options;

/// Dispatches jobs to a pool. Cheap to clone; `Send`, `Sync`.
///
/// On the pool's executors each job takes one of the executor's credits, and its outcome comes
/// home to it. From any other thread, such as a task worker of another pool or another runtime's
/// thread, jobs share credits of their own; see [`Run`] and [`Dispatch::spawn_then`] for where
/// their outcomes go.
///
/// ```
/// use std::time::Duration;
///
/// use sidecore_runtime::pool::{DispatchError, RunError, Tasks};
///
/// /// As a handler does it.
/// async fn order(mails: &Tasks<String, usize>) -> Result<usize, RunError<String>> {
///     // At once: an id, or the job back. The output goes to `on_finish`.
///     match mails.dispatch("to ada".to_owned()) {
///         Ok(id) => println!("task {id}"),
///         Err(DispatchError::Full(job)) => println!("no room for {job}"),
///         Err(refused) => println!("{refused}"),
///     }
///     // With more to say: a handle, by which to ask for the state and cancel.
///     let later = mails.job("to bob".to_owned()).delay(Duration::from_secs(60)).spawn();
///     if let Ok(handle) = later {
///         handle.cancel();
///     }
///     // The output; the executor serves others meanwhile.
///     mails.run("to eve".to_owned()).await
/// }
///
/// // Without task workers each job comes back.
/// let refused = Tasks::<String, usize>::none().dispatch("to ada".to_owned());
/// assert!(matches!(refused, Err(DispatchError::NoTaskWorkers(job)) if job == "to ada"));
/// # let _ = order;
/// ```
pub struct Tasks<J, O> {
    shared: Option<Arc<PoolShared<J, O>>>,
    output: PhantomData<fn() -> O>,
}

impl<J: Send + 'static, O: Send + 'static> Tasks<J, O> {
    pub(crate) fn new(shared: Arc<PoolShared<J, O>>) -> Self {
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
    ///
    /// # Errors
    /// [`DispatchError`], which has the job.
    pub fn dispatch(&self, job: J) -> Result<TaskId, DispatchError<J>> {
        let mut job = Some(job);
        let sent = self.on_lane(|lane| Some(lane.dispatch(job.take()?)));
        match (sent, job) {
            (Some(sent), _) => sent.map_err(DispatchError::Full),
            (None, Some(job)) => Dispatch::new(self.clone(), job).dispatch(),
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
            (Some(Ok((executor, key))), _) => RunState::Lane { executor, key },
            (Some(Err(job)), _) => RunState::Refused(DispatchError::Full(job)),
            (None, Some(job)) => return Dispatch::new(self.clone(), job).run(),
            (None, None) => unreachable!("the job is taken only to be dispatched"),
        };
        Run::new(self.clone(), state, None)
    }

    /// Runs jobs side by side and returns their outcomes by position; those that are not over
    /// `within` so long are [`TimedOut`](crate::pool::TaskError::TimedOut). Replaces Swoole's
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
    /// before it, and of those that wait [by priority](Dispatch::spawn_when_room) the higher ones go
    /// first. Dropping the future before it is ready drops the job.
    ///
    /// On an executor of the pool; elsewhere it is refused as by `dispatch`.
    pub fn dispatch_when_room(&self, job: J) -> DispatchWhenRoom<J, O> {
        DispatchWhenRoom::new(self.clone(), job)
    }

    /// The task workers that a job may be dispatched to by number; 0 without a pool.
    pub fn task_workers(&self) -> usize {
        self.shared.as_ref().map_or(0, |shared| shared.seats)
    }

    /// Why a job with these options can never be dispatched, as the error that gives it back.
    pub(crate) fn refusal(&self, options: &Options) -> Option<fn(J) -> DispatchError<J>> {
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

    /// See [`Pool::reload`](crate::pool::Pool::reload).
    pub fn reload_workers(&self) {
        if let Some(shared) = &self.shared {
            // The workers look at it as they look at their mail: see `post`.
            shared.generation.advance();
            shared.park.call_all();
        }
    }

    /// Removes this pool's lane from this thread, at the end of its executor.
    pub fn uninstall(&self) {
        uninstall(self.key());
    }

    pub(crate) fn on_lane<R>(&self, call: impl FnOnce(&Installed<J, O>) -> Option<R>) -> Option<R> {
        self.shared.as_ref()?;
        with_lane(self.key(), call).flatten()
    }
}

impl<J, O> Tasks<J, O> {
    pub(crate) fn shared(&self) -> &Arc<PoolShared<J, O>> {
        self.shared.as_ref().expect("a lane belongs to a pool with task workers")
    }

    /// Names the pool among those of this process.
    pub(crate) fn key(&self) -> usize {
        self.shared.as_ref().map_or(0, installed::key)
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
