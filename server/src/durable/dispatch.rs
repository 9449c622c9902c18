//! Dispatching: the record first, then the pool.
//!
//! The append is made within the call. What follows it, the wait for the disk and for the job's
//! turn, is a task of the executor's own, so that it goes on whether or not somebody still waits.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sidecore_runtime::executor::{self, sleep, spawn_local};
use sidecore_runtime::sys::instant;
use sidecore_runtime::sys::panics::{catch, drop_quietly};
use sidecore_runtime::sys::stderr;

use crate::durable::finish::{Acknowledged, Placed};
use crate::durable::intake::{Intake, Offer};
use crate::durable::oneshot::{Receiver, Sender, oneshot};
use crate::durable::plan::Plan;
use crate::durable::wait::wait;
use crate::durable::{DurableError, DurableJob, DurableRunError, DurableStats, Entry, Shared};
use crate::lifecycle::either::{Either, either};
use sidecore_journal::{JournalError, Sequence};
use sidecore_runtime::pool::{
    DispatchError, PoolSnapshot, Priority, Retry, TaskError, TaskHandle, TaskId, Tasks,
};

/// Called with a task's handle as its job enters the pool.
pub(super) type OnDispatch = Box<dyn FnOnce(&TaskHandle)>;

/// Dispatches durable jobs, on the executors of its server and on any other thread. Cheap to clone;
/// `Send`, `Sync`.
///
/// What a thread that is no executor dispatches is written at once and then placed by executor 0,
/// where its outcome is told too. Such a thread awaits the futures, on whatever runtime it has, or
/// blocks on them: [`Dispatching::wait`], [`DurableRun::wait`].
pub struct DurableTasks<J, O> {
    pub(super) shared: Arc<Shared<O>>,
    pub(super) tasks: Tasks<Entry<J>, O>,
    pub(super) intake: Arc<Intake<J, O>>,
}

impl<J: DurableJob, O: Send + 'static> DurableTasks<J, O> {
    /// Writes a job to the journal; the future is ready, with the task's id, when it is on the disk
    /// and in the pool. Where the pool is full it waits for its turn.
    ///
    /// The write is begun by the call, and dropping the future changes nothing: the job is
    /// dispatched all the same. Its output goes to `on_finish`. Replaces Swoole's `task` where a
    /// task must not be lost, which there takes a broker.
    ///
    /// # Errors
    /// [`DurableError`], which has the job where it comes back.
    pub fn dispatch(
        &self,
        job: J,
    ) -> impl Future<Output = Result<TaskId, DurableError<J>>> + Send + 'static + use<J, O> {
        let sent = self.job(job).spawn();
        async move { sent.await.map(|handle| handle.id()) }
    }

    /// Says more of a job before it is dispatched.
    pub fn job(&self, job: J) -> DurableDispatch<J, O> {
        DurableDispatch { to: self.clone(), job, plan: Plan::default(), on_dispatch: None }
    }

    /// Dispatches a job as [`dispatch`](Self::dispatch) does, and returns a future of its output.
    pub fn run(&self, job: J) -> DurableRun<J, O> {
        self.job(job).run()
    }

    /// The counters of the journal and of the redelivery.
    pub fn stats(&self) -> DurableStats {
        self.shared.stats()
    }

    /// The counters of the pool, if there is one.
    pub fn snapshot(&self) -> Option<PoolSnapshot> {
        self.tasks.snapshot()
    }
}

/// A job that is about to be dispatched: [`DurableTasks::job`].
///
/// Its times hold over restarts, as priority and retries do. While no process runs the wall clock
/// alone goes on; should it be set back, no time is longer than it was said to be.
#[must_use = "a job is dispatched by `spawn` or `run`"]
pub struct DurableDispatch<J, O> {
    to: DurableTasks<J, O>,
    job: J,
    plan: Plan,
    on_dispatch: Option<OnDispatch>,
}

impl<J: DurableJob, O: Send + 'static> DurableDispatch<J, O> {
    /// Which of the waiting jobs come first.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.plan.priority = priority;
        self
    }

    /// Puts it into the queue after so long. It takes a credit from when it is durable, unless it
    /// is redelivered: then it waits for its time without one.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.plan.due = Some(instant::after(delay));
        self
    }

    /// It must be over so long from now, a restart included; one that is not ends as
    /// [`TimedOut`](crate::tasks::TaskError::TimedOut), and its record with it.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.plan.deadline = Some(instant::after(deadline));
        self
    }

    /// Tries it again where its job fails or panics; attempts of earlier lives of the process
    /// count. After the last one it is a dead letter.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.plan.retry = Some(retry);
        self
    }

    /// Runs it on this task worker and no other; after a restart on any.
    pub fn task_worker(mut self, task_worker: usize) -> Self {
        self.plan.task_worker = Some(task_worker);
        self
    }

    /// Receives the task's handle as the job enters the pool, on this executor: before any outcome
    /// of it is told, and also where the future has been dropped. A panic in it is reported on
    /// standard error and changes nothing else. A dispatch with it is refused on
    /// a thread that is no executor, as [`NotOnExecutor`](DispatchError::NotOnExecutor).
    pub fn on_dispatch(mut self, on_dispatch: impl FnOnce(&TaskHandle) + 'static) -> Self {
        self.on_dispatch = Some(Box::new(on_dispatch));
        self
    }

    /// Dispatches it as [`DurableTasks::dispatch`] does; the future's output is its handle.
    pub fn spawn(self) -> Dispatching<J> {
        self.send(None)
    }

    /// Dispatches it and returns a future of its output.
    pub fn run(self) -> DurableRun<J, O> {
        let (awaiter, outcome) = oneshot();
        let shared = self.to.shared.clone();
        DurableRun { dispatching: Some(self.send(Some(awaiter))), outcome, shared }
    }

    fn send(self, awaiter: Option<Sender<Acknowledged<O>>>) -> Dispatching<J> {
        let (told, answer) = oneshot();
        let intake = self.to.intake.clone();
        match self.append() {
            Ok((parcel, durable)) if executor::current_index().is_some() => {
                parcel.place_later(durable, told, awaiter);
            }
            Ok((parcel, durable)) => {
                let Parcel { job, plan, .. } = parcel;
                intake.push(Offer { job, plan, durable, told, awaiter });
            }
            // Nobody may wait for it any more, here and below.
            Err(refused) => drop(told.send(Err(refused))),
        }
        Dispatching { answer }
    }

    /// Checks what can be known before, and begins the write.
    fn append(self) -> Result<(Parcel<J, O>, Receiver<WriteResult>), DurableError<J>> {
        if let Err(refused) = self.check() {
            return Err(DurableError::Refused(refused(self.job)));
        }
        let DurableDispatch { to: DurableTasks { shared, tasks, .. }, job, plan, on_dispatch } =
            self;
        let payload = match plan.write(&job) {
            Ok(payload) => payload,
            Err(cause) => return Err(DurableError::Unwritable(job, cause)),
        };
        let (sender, durable) = oneshot();
        let done = move |result| {
            let _ = sender.send(result);
        };
        match shared.journal.append(payload, plan.meta(), done) {
            Ok(()) => Ok((Parcel { shared, tasks, job, plan, on_dispatch }, durable)),
            Err(refused) => Err(DurableError::of_append(job, refused)),
        }
    }

    /// Whether the pool will take it; else the error that gives the job back.
    fn check(&self) -> Result<(), fn(J) -> DispatchError<J>> {
        let task_workers = self.to.tasks.task_workers();
        let is_external = executor::current_index().is_none();
        match self.plan.task_worker {
            _ if task_workers == 0 => Err(DispatchError::NoTaskWorkers),
            _ if is_external && self.on_dispatch.is_some() => Err(DispatchError::NotOnExecutor),
            _ if is_external && self.to.intake.is_closed() => Err(DispatchError::Closed),
            Some(task_worker) if task_worker >= task_workers => {
                Err(DispatchError::NoSuchTaskWorker)
            }
            _ => Ok(()),
        }
    }
}

/// What the journal says of a write, and what a dispatch came to.
pub(super) type WriteResult = Result<Sequence, JournalError>;
pub(super) type Answer<J> = Result<TaskHandle, DurableError<J>>;

/// A job on its way into the pool.
pub(super) struct Parcel<J, O> {
    pub(super) shared: Arc<Shared<O>>,
    pub(super) tasks: Tasks<Entry<J>, O>,
    pub(super) job: J,
    pub(super) plan: Plan,
    pub(super) on_dispatch: Option<OnDispatch>,
}

impl<J: DurableJob, O: Send + 'static> Parcel<J, O> {
    /// Places it when it is durable, on this executor, whether or not somebody still waits.
    pub(super) fn place_later(
        self,
        durable: Receiver<WriteResult>,
        told: Sender<Answer<J>>,
        awaiter: Option<Sender<Acknowledged<O>>>,
    ) {
        spawn_local(async move { drop(told.send(self.place_when(durable, awaiter).await)) });
    }

    async fn place_when(
        self,
        mut durable: Receiver<WriteResult>,
        awaiter: Option<Sender<Acknowledged<O>>>,
    ) -> Answer<J> {
        let durable = match self.plan.time_left() {
            Some(left) => match either(pin!(sleep(left)), &mut durable).await {
                Either::Right(durable) => durable,
                Either::Left(()) => return Err(self.give_up(durable)),
            },
            None => durable.await,
        };
        match durable {
            Some(Ok(sequence)) => self.place(sequence, awaiter).await,
            Some(Err(failure)) => Err(DurableError::Journal(self.job, failure)),
            None => Err(DurableError::Journal(self.job, JournalError::closed())),
        }
    }

    /// The deadline has passed before the write was over: the job is given back, and its record, if
    /// it comes to be one, settled.
    fn give_up(self, durable: Receiver<WriteResult>) -> DurableError<J> {
        let shared = self.shared;
        spawn_local(async move {
            if let Some(Ok(sequence)) = durable.await {
                shared.journal.ack(sequence);
            }
        });
        DurableError::Refused(DispatchError::TimedOut(self.job))
    }

    /// Puts a durable job into the pool, in its turn.
    pub(super) async fn place(
        self,
        sequence: Sequence,
        awaiter: Option<Sender<Acknowledged<O>>>,
    ) -> Answer<J> {
        let Parcel { shared, tasks, job, plan, on_dispatch } = self;
        let entry = Entry { job, sequence, retry: plan.retry };
        let sent = match plan.prepare(&tasks, entry).spawn_when_room().await {
            Err(DispatchError::TimedOut(entry)) => end_as_timed_out(&tasks, entry, &plan),
            sent => sent,
        };
        let handle = match sent {
            Ok(handle) => handle,
            Err(DispatchError::TimedOut(entry)) => {
                shared.journal.ack(sequence);
                return Err(DurableError::Refused(DispatchError::TimedOut(entry.job)));
            }
            // What can be refused was refused before: here it is the end of the executor, or would
            // be before the job is due.
            Err(refused) => {
                drop_quietly(refused);
                return Err(DurableError::Ended);
            }
        };
        let Some(executor) = executor::current_index() else { return Err(DurableError::Ended) };
        // Its finish is delivered by the executor's loop, so not before this.
        shared.finisher.open.insert(executor, handle.id(), Placed { sequence, awaiter });
        if let Some(on_dispatch) = on_dispatch
            && catch(|| on_dispatch(&handle)).is_none()
        {
            stderr::line(format_args!("on_dispatch of a durable job panicked"));
        }
        Ok(handle)
    }
}

/// Has the pool take a job only to tell that its deadline has passed: as any task it has an id, and
/// an outcome that goes to who awaits it or to `on_finish`. With no place for it, it comes back.
fn end_as_timed_out<J: DurableJob, O: Send + 'static>(
    tasks: &Tasks<Entry<J>, O>,
    entry: Entry<J>,
    plan: &Plan,
) -> Result<TaskHandle, DispatchError<Entry<J>>> {
    let expired = tasks.job(entry).attempts_before(plan.attempts_before);
    let expired = expired.delay(Duration::MAX).deadline(Duration::ZERO);
    expired.spawn().map_err(|refused| DispatchError::TimedOut(refused.into_job()))
}

/// The future of [`DurableDispatch::spawn`]. Dropping it changes nothing.
#[must_use = "the job is dispatched, but only the future says whether it was taken"]
pub struct Dispatching<J> {
    answer: Receiver<Answer<J>>,
}

impl<J> Dispatching<J> {
    /// Blocks a thread that is no executor until the job is on the disk and in the pool, for `limit`
    /// at most; then the future comes back, and the job is dispatched all the same. On an executor
    /// it comes back at once: await it there.
    ///
    /// # Errors
    /// The future itself, where it is not decided by then.
    pub fn wait(mut self, limit: Duration) -> Result<Result<TaskHandle, DurableError<J>>, Self> {
        wait(&mut self, limit).ok_or(self)
    }
}

impl<J> Future for Dispatching<J> {
    type Output = Result<TaskHandle, DurableError<J>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.answer).poll(context));
        Poll::Ready(answer.unwrap_or(Err(DurableError::Ended)))
    }
}

/// The future of [`DurableTasks::run`]. Dropping it cancels nothing: the job runs, and its output
/// goes to `on_finish`.
#[must_use = "a future does nothing unless awaited; `dispatch` sends a job without waiting"]
pub struct DurableRun<J, O> {
    /// Until the job is in the pool.
    dispatching: Option<Dispatching<J>>,
    outcome: Receiver<Acknowledged<O>>,
    shared: Arc<Shared<O>>,
}

impl<J, O> DurableRun<J, O> {
    /// Blocks a thread that is no executor until the task is over, for `limit` at most; then the
    /// future comes back. On an executor it comes back at once: await it there.
    ///
    /// # Errors
    /// The future itself, where the task is not over by then.
    pub fn wait(mut self, limit: Duration) -> Result<Result<O, DurableRunError<J>>, Self> {
        wait(&mut self, limit).ok_or(self)
    }
}

impl<J, O> Future for DurableRun<J, O> {
    type Output = Result<O, DurableRunError<J>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(dispatching) = &mut this.dispatching {
            let dispatched = ready!(Pin::new(dispatching).poll(context));
            this.dispatching = None;
            match dispatched {
                Ok(_) => {}
                // The end of the task as any other, for who awaits its output.
                Err(DurableError::Refused(DispatchError::TimedOut(job))) => {
                    drop_quietly(job);
                    return Poll::Ready(Err(DurableRunError::Failed(TaskError::TimedOut)));
                }
                Err(refused) => return Poll::Ready(Err(DurableRunError::Refused(refused))),
            }
        }
        let told = ready!(Pin::new(&mut this.outcome).poll(context));
        Poll::Ready(match told {
            Some((_, outcome)) => outcome.map_err(DurableRunError::Failed),
            None => Err(DurableRunError::Refused(DurableError::Ended)),
        })
    }
}

impl<J, O> Drop for DurableRun<J, O> {
    fn drop(&mut self) {
        if let Some(told) = self.outcome.leave() {
            self.shared.finisher.tell_instead(told);
        }
    }
}

impl<J, O> Clone for DurableTasks<J, O> {
    fn clone(&self) -> Self {
        DurableTasks {
            shared: self.shared.clone(),
            tasks: self.tasks.clone(),
            intake: self.intake.clone(),
        }
    }
}

impl<J, O> fmt::Debug for DurableTasks<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableTasks").field("tasks", &self.tasks).finish_non_exhaustive()
    }
}

impl<J> fmt::Debug for Dispatching<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatching").finish_non_exhaustive()
    }
}

impl<J, O> fmt::Debug for DurableRun<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_dispatched = self.dispatching.is_none();
        f.debug_struct("DurableRun").field("is_dispatched", &is_dispatched).finish_non_exhaustive()
    }
}
