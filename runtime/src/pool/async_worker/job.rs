//! One job of an async worker: the finish that it owes, and the future that runs it.

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::pool::async_worker::AsyncWorker;
use crate::pool::finish_guard::{FinishGuard, FinishRoute};
use crate::pool::task::control::Control;
use crate::pool::task::error::{Failure, TaskError};
use crate::pool::task::{Origin, TaskContext, TaskId};
use crate::pool::worker::{retries, within_time};
use crate::sys::panics::{caught, drop_quietly};

/// A job that was taken from the queue, and the one finish that it owes. Dropping it without
/// [`finish`](Self::finish) still delivers one, as [`TaskError::Lost`].
pub(crate) struct PendingFinish<J: Send + 'static, O: Send + 'static> {
    pub(crate) worker: Rc<AsyncWorker<J, O>>,
    /// None once the finish was sent.
    pub(crate) origin: Option<Origin<O>>,
    pub(crate) id: TaskId,
    /// The kind of its job.
    pub(crate) kind: usize,
    pub(crate) attempt: u32,
    pub(crate) waited: Duration,
    pub(crate) control: Option<Arc<Control>>,
    pub(crate) deadline: Option<Instant>,
    /// When it began; None: it was not run.
    pub(crate) begun: Option<Instant>,
    /// A copy of the job for another attempt.
    pub(crate) kept: Option<Box<J>>,
    /// Its place among the watched.
    pub(crate) watch: Option<usize>,
}

/// A running job that somebody may want to end early.
pub(crate) struct Watch {
    waker: Waker,
    control: Option<Arc<Control>>,
    deadline: Option<Instant>,
}

impl Watch {
    /// Has its job polled if it is to end, which then sees that.
    pub(crate) fn look(&self, now: Instant) {
        if early_end(self.control.as_deref(), self.deadline, || now).is_some() {
            self.waker.wake_by_ref();
        }
    }
}

/// Why a running job is to end before it has an outcome of its own.
fn early_end(
    control: Option<&Control>,
    deadline: Option<Instant>,
    now: impl FnOnce() -> Instant,
) -> Option<TaskError> {
    if deadline.is_some_and(|deadline| deadline <= now()) {
        return Some(TaskError::TimedOut);
    }
    control.filter(|control| control.is_cancelled()).map(|_| TaskError::Cancelled)
}

impl<J: Send + 'static, O: Send + 'static> PendingFinish<J, O> {
    /// Sends the outcome home, and gives the job's place on the worker free.
    pub(crate) fn finish(mut self, outcome: Result<O, TaskError>) {
        self.send(Some(outcome));
    }

    /// None: lost.
    fn send(&mut self, outcome: Option<Result<O, TaskError>>) {
        let Some(origin) = self.origin.take() else { return };
        let ran = self.begun.map(|begun| begun.elapsed());
        if let Some(ran) = ran {
            let panicked = matches!(outcome, Some(Err(TaskError::Panicked(_))));
            self.worker.end_one(self.kind, ran, panicked, self.watch.take());
        }
        // What was withdrawn before it began has its outcome, whatever the time is now.
        let is_late =
            ran.is_some() && self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        let outcome = outcome.map(|it| within_time(it, is_late, self.control.as_deref()));
        let mut kept = self.kept.take();
        let may_be_retried = outcome.as_ref().is_some_and(retries) && kept.is_some();
        self.control.take().inspect(|control| control.end(may_be_retried));
        if !matches!(&outcome, Some(Err(_))) {
            // Whatever its destructor does, the finish is sent.
            drop_quietly(kept.take());
        }
        let worker = self.worker.clone();
        let mut senders = None;
        let way = match origin {
            Origin::Lane { executor, slot } => FinishRoute::Ring {
                sender: &mut senders.insert(worker.senders.borrow_mut())[executor],
                slot,
            },
            Origin::External(receiver) => {
                FinishRoute::External { external: worker.external(), receiver }
            }
        };
        let (id, waited, attempts) = (self.id, self.waited, self.attempt);
        let guard = FinishGuard { way, id, task_worker: worker.index, waited, attempts };
        match outcome {
            Some(outcome) => guard.finish(outcome, ran, kept),
            None => drop(guard),
        }
    }

    /// Is polled along with its job: why that is to end now, if it is. It is watched from the
    /// first time on, where somebody can end it.
    fn early_end(&mut self, context: &Context<'_>) -> Option<TaskError> {
        if self.watch.is_none() && (self.control.is_some() || self.deadline.is_some()) {
            let (control, deadline) = (self.control.clone(), self.deadline);
            let watch = Watch { waker: context.waker().clone(), control, deadline };
            self.watch = Some(self.worker.watched.borrow_mut().insert(watch));
        }
        early_end(self.control.as_deref(), self.deadline, Instant::now)
    }
}

impl<J: Send + 'static, O: Send + 'static> Drop for PendingFinish<J, O> {
    fn drop(&mut self) {
        self.send(None);
    }
}

/// Runs a job to its end: its outcome, its panic, or its early end, whichever a poll finds first.
/// Its future is dropped before the finish is sent.
pub(crate) async fn attend<J, O, R, F>(
    run: Rc<R>,
    task: TaskContext,
    job: J,
    again: Option<fn(&J) -> J>,
    mut owed: PendingFinish<J, O>,
) where
    J: Send + 'static,
    O: Send + 'static,
    R: Fn(TaskContext, J) -> F,
    F: Future<Output = Result<O, Failure>>,
{
    let outcome = {
        let kept = &mut owed.kept;
        let begun = guarded(|| {
            *kept = again.map(|clone| Box::new(clone(&job)));
            run(task, job)
        });
        match begun {
            Ok(future) => {
                let mut future = pin!(Some(future));
                let outcome =
                    std::future::poll_fn(|context| poll(&mut owed, future.as_mut(), context)).await;
                // A panic of its destructor comes after its outcome, and changes nothing.
                let _ = guarded(|| future.set(None));
                outcome
            }
            Err(error) => Err(error),
        }
    };
    owed.finish(outcome);
}

fn poll<J: Send + 'static, O: Send + 'static>(
    owed: &mut PendingFinish<J, O>,
    future: Pin<&mut Option<impl Future<Output = Result<O, Failure>>>>,
    context: &mut Context<'_>,
) -> Poll<Result<O, TaskError>> {
    if let Some(error) = owed.early_end(context) {
        return Poll::Ready(Err(error));
    }
    let Some(future) = future.as_pin_mut() else { return Poll::Pending };
    match guarded(|| future.poll(context)) {
        Ok(poll) => poll.map(|outcome| outcome.map_err(TaskError::from)),
        Err(error) => Poll::Ready(Err(error)),
    }
}

/// Calls a part of a job; its panic ends here.
fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, TaskError> {
    caught(call).map_err(TaskError::Panicked)
}
