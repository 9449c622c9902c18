//! One dispatch with all that may be said of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pool::api::handle::TaskHandle;
use crate::pool::api::run::{Mailbox, Run, RunState};
use crate::pool::api::tasks::Tasks;
use crate::pool::api::when_room::SpawnWhenRoom;
use crate::pool::lane::installed::with_lane;
use crate::pool::lane::slots::Sink;
use crate::pool::lane::{Installed, Order};
use crate::pool::shared::external::Refused;
use crate::pool::task::control::Control;
use crate::pool::task::error::DispatchError;
use crate::pool::task::options::{Options, Priority, Retry};
use crate::pool::task::{Envelope, Finish, Origin, Receiver, SlotKey, TaskId};
use crate::sys::instant::{after, saturating_add};

/// A job that is about to be dispatched: [`Tasks::job`].
///
/// ```no_run
/// # use std::time::Duration;
/// # use sidecore_runtime::pool::{Priority, Retry, Tasks};
/// # fn example(tasks: Tasks<String, u64>) -> Result<(), Box<dyn std::error::Error>> {
/// let handle = tasks
///     .job("report".to_owned())
///     .priority(Priority::Low)
///     .delay(Duration::from_secs(60))
///     .deadline(Duration::from_secs(300))
///     .retry(Retry::times(3))
///     .spawn()?;
/// handle.cancel();
/// # Ok(())
/// # }
/// ```
#[must_use = "a job is dispatched by `dispatch`, `spawn`, `spawn_then`, `spawn_when_room` or `run`"]
pub struct Dispatch<J: Send + 'static, O: Send + 'static> {
    pub(crate) tasks: Tasks<J, O>,
    pub(crate) job: J,
    pub(crate) options: Options,
    pub(crate) again: Option<fn(&J) -> J>,
}

impl<J: Send + 'static, O: Send + 'static> Dispatch<J, O> {
    pub(crate) fn new(tasks: Tasks<J, O>, job: J) -> Self {
        Dispatch { tasks, job, options: Options::default(), again: None }
    }

    /// Which of the waiting jobs come first.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options.priority = priority;
        self
    }

    /// Runs it on this task worker and no other, behind what that has. Replaces the `dst` of
    /// Swoole's `task`.
    pub fn task_worker(mut self, task_worker: usize) -> Self {
        self.options.task_worker = Some(task_worker);
        self
    }

    /// Puts it into the queue after so long, to the millisecond. Until then it holds nothing that a
    /// job which could run needs, but one of the places that [`PoolConfig::delayed_max`] gives.
    ///
    /// [`PoolConfig::delayed_max`]: crate::pool::PoolConfig::delayed_max
    pub fn delay(mut self, delay: Duration) -> Self {
        self.options.delay = Some(delay);
        self
    }

    /// It must be over so long from now. One that is not is told as
    /// [`TimedOut`](crate::pool::TaskError::TimedOut) then: it is not run any more, or, if it runs, what
    /// it returns is thrown away. Replaces the time of Swoole's `taskwait`, which leaves such a
    /// task running unseen.
    ///
    /// A thread that is no executor learns of it in [`Run::wait`]. A future that is awaited there, or
    /// a callback, has no clock: the deadline counts when a task worker takes the job up, and the job
    /// may ask for it ([`TaskContext::is_cancelled`]).
    ///
    /// [`TaskContext::is_cancelled`]: crate::pool::TaskContext::is_cancelled
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = Some(deadline);
        self
    }

    /// Attempts that were made of this job before, by an earlier life of the process: its first
    /// one here has the number after them, and retries count from there.
    pub fn attempts_before(mut self, attempts: u32) -> Self {
        self.options.attempts_before = attempts;
        self
    }

    /// Dispatches it as soon as there is room, with a handle; in turn with what waits by
    /// [`Tasks::dispatch_when_room`], the higher priority first; its outcome goes to `on_finish`. Its delay and its deadline count from this
    /// call: where the deadline passes while it waits for room, the future gives the job back as
    /// [`TimedOut`](DispatchError::TimedOut), and where the server drains and it would be due after
    /// that, as [`Closed`](DispatchError::Closed). Dropping the future before it is ready drops the
    /// job.
    ///
    /// On an executor of the pool; elsewhere it is [`NotOnExecutor`](DispatchError::NotOnExecutor).
    pub fn spawn_when_room(self) -> SpawnWhenRoom<J, O> {
        SpawnWhenRoom::new(self)
    }

    /// Dispatches it, at once; its outcome goes to `on_finish`.
    ///
    /// # Errors
    /// [`DispatchError`], which has the job.
    pub fn dispatch(self) -> Result<TaskId, DispatchError<J>> {
        self.spawn().map(|task| task.id())
    }

    /// As [`dispatch`](Self::dispatch), with a handle that sees and cancels it.
    ///
    /// # Errors
    /// [`DispatchError`], which has the job.
    pub fn spawn(self) -> Result<TaskHandle, DispatchError<J>> {
        self.order(Sink::OnFinish, || None).map(|(handle, _)| handle)
    }

    /// Dispatches it with a callback of its own in the place of `on_finish`; on an executor it is
    /// called there, on another thread by the task worker. Replaces the callback of Swoole's `task`.
    ///
    /// # Errors
    /// [`DispatchError`], which has the job; the callback is dropped.
    pub fn spawn_then(
        self,
        on_finish: impl FnOnce(Finish<O>) + Send + 'static,
    ) -> Result<TaskHandle, DispatchError<J>> {
        let on_finish: Box<dyn FnOnce(Finish<O>) + Send> = Box::new(on_finish);
        match self.is_on_lane() {
            true => self.order(Sink::Callback(on_finish), || None),
            false => self.order(Sink::OnFinish, || Some(on_finish)),
        }
        .map(|(handle, _)| handle)
    }

    /// Dispatches it and returns a future of its output.
    pub fn run(self) -> Run<J, O> {
        let (tasks, deadline) = (self.tasks.clone(), self.options.deadline);
        // Made only where there is no lane to keep the finish.
        let mut mailbox = None;
        let receiver = || -> Receiver<O> {
            let for_finish = mailbox.insert(Mailbox::new()).clone();
            Some(Box::new(move |finish| for_finish.put(finish)))
        };
        let sent = self.order(Sink::Waiting(None), receiver);
        match (sent, mailbox) {
            (Ok((handle, Some((executor, key)))), _) => {
                Run::new(tasks, RunState::Lane { executor, key }, Some(handle))
            }
            (Ok((handle, None)), Some(mailbox)) => {
                let deadline = deadline.map(after);
                Run::new(tasks, RunState::External { mailbox, deadline }, Some(handle))
            }
            (Ok((handle, None)), None) => Run::new(tasks, RunState::Done, Some(handle)),
            (Err(refused), _) => Run::new(tasks, RunState::Refused(refused), None),
        }
    }

    fn is_on_lane(&self) -> bool {
        with_lane(self.tasks.key(), |_: &Installed<J, O>| ()).is_some()
    }

    /// Through the lane of this thread, or as an external one.
    fn order(
        self,
        sink: Sink<O>,
        receiver: impl FnOnce() -> Receiver<O>,
    ) -> Result<(TaskHandle, Option<(usize, SlotKey)>), DispatchError<J>> {
        let Dispatch { tasks, job, options, again } = self;
        if let Some(refuse) = tasks.refusal(&options) {
            return Err(refuse(job));
        }
        let mut order = Some(Order { job, options, sink, again, controlled: true });
        let sent = with_lane(tasks.key(), |lane: &Installed<J, O>| {
            let sent = lane.dispatch_order(order.take()?);
            Some(sent.map_err(|job| lane.refusal(job, &options)).map(|(id, key, control)| {
                let control = control.unwrap_or_else(|| Arc::new(Control::new()));
                let handle = TaskHandle::on_lane(id, control, lane.outside().clone(), key);
                (handle, Some((lane.executor, key)))
            }))
        });
        match (sent.flatten(), order) {
            (Some(sent), _) => sent,
            (None, Some(order)) => {
                tasks.send_external(order.job, order.options, receiver()).map(|sent| (sent, None))
            }
            (None, None) => unreachable!("the order is taken only to be dispatched"),
        }
    }
}

impl<J: Clone + Send + 'static, O: Send + 'static> Dispatch<J, O> {
    /// Tries it again where its job fails or panics. A copy of the job is kept for that. In the pause
    /// it holds no credit, and comes back in the line of those that wait for one.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.options.retry = Some(retry);
        self.again = Some(J::clone);
        self
    }
}

impl<J: Send + 'static, O: Send + 'static> Tasks<J, O> {
    /// Dispatches from a thread that is no executor of this pool.
    pub(crate) fn send_external(
        &self,
        job: J,
        options: Options,
        receiver: Receiver<O>,
    ) -> Result<TaskHandle, DispatchError<J>> {
        let shared = self.shared();
        if options.delay.is_some() || options.retry.is_some() {
            return Err(DispatchError::NotOnExecutor(job));
        }
        let control = Arc::new(Control::new());
        let now = Instant::now();
        let envelope = |id: TaskId, (job, receiver): (J, Receiver<O>)| Envelope {
            job,
            id,
            attempt: options.first_attempt(),
            dispatched: now,
            deadline: options.deadline.map(|after| saturating_add(now, after)),
            origin: Origin::External(receiver),
            control: Some(control.clone()),
            again: None,
        };
        let pushed = shared.external.dispatch((job, receiver), |id, value| {
            let pushed = match options.task_worker {
                Some(worker) => shared.queues.push_to(worker, envelope(id, value)),
                None => shared.queues.push(None, options.priority, envelope(id, value)),
            };
            pushed.map_err(|refused| match refused.origin {
                Origin::External(receiver) => (refused.job, receiver),
                Origin::Lane { .. } => (refused.job, None),
            })
        });
        match pushed {
            Ok(id) => {
                match options.task_worker {
                    Some(worker) => shared.park.post(worker),
                    None => shared.park.notify(),
                }
                Ok(TaskHandle::external(id, control))
            }
            Err((Refused::Full, (job, _))) => Err(DispatchError::Full(job)),
            Err((Refused::Closed, (job, _))) => Err(DispatchError::Closed(job)),
        }
    }
}
