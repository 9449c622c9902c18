//! The futures of dispatches that wait for their turn.

use crate::pool::task::TaskId;
use crate::pool::task::options::Priority;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::pool::api::dispatch::Dispatch;
use crate::pool::api::handle::TaskHandle;
use crate::pool::api::tasks::Tasks;
use crate::pool::lane::delay_queue::Due;
use crate::pool::lane::installed::with_lane;
use crate::pool::lane::slots::Sink;
use crate::pool::lane::waiting::{Held, WaitTurn};
use crate::pool::lane::{Installed, Order};
use crate::pool::shared::WaitTicket;
use crate::pool::task::control::Control;
use crate::pool::task::error::DispatchError;
use crate::pool::task::options::Options;
use crate::sys::instant::after;

/// The future of [`Dispatch::spawn_when_room`].
#[must_use = "a future does nothing unless awaited"]
pub struct SpawnWhenRoom<J: Send + 'static, O: Send + 'static> {
    tasks: Tasks<J, O>,
    job: Option<J>,
    options: Options,
    again: Option<fn(&J) -> J>,
    asked: Instant,
    held: Option<Held>,
}

/// What a poll came to.
enum Sent<J> {
    Dispatched(TaskHandle),
    Waits(J, Held),
    /// It would be due after the drain, which has begun.
    NotInTheDrain(J),
}

impl<J: Send + 'static, O: Send + 'static> SpawnWhenRoom<J, O> {
    pub(crate) fn new(dispatch: Dispatch<J, O>) -> Self {
        let Dispatch { tasks, job, options, again } = dispatch;
        SpawnWhenRoom { tasks, job: Some(job), options, again, asked: Instant::now(), held: None }
    }
}

impl<J: Send + 'static, O: Send + 'static> Installed<J, O> {
    /// Dispatches with a handle, for `on_finish`.
    fn dispatch_with_handle(
        &self,
        job: J,
        options: Options,
        again: Option<fn(&J) -> J>,
    ) -> Result<TaskHandle, J> {
        let order = Order { job, options, sink: Sink::OnFinish, again, controlled: true };
        let (id, key, control) = self.dispatch_order_first(order)?;
        let control = control.unwrap_or_else(|| Arc::new(Control::new()));
        Ok(TaskHandle::on_lane(id, control, self.outside().clone(), key))
    }

    /// A delayed dispatch takes a place among the sleepers at once; without one it waits until it
    /// is due, holding nothing, and then as any other.
    fn send_delayed(
        &self,
        job: J,
        delay: Duration,
        WaitTurn { ticket, waker, .. }: WaitTurn<'_>,
        dispatch: impl FnOnce(&Self, J) -> Result<TaskHandle, J>,
    ) -> Result<TaskHandle, (J, WaitTicket)> {
        let at = after(delay);
        let job = match self.has_sleeping_place() {
            true => match dispatch(self, job) {
                Ok(handle) => return Ok(handle),
                Err(job) => job,
            },
            false => job,
        };
        let ticket = match ticket {
            Some(ticket) => {
                drop(self.wait_queue.borrow_mut().set_waker(ticket, waker));
                ticket
            }
            None => {
                let ticket = self.wait_queue.borrow_mut().wait_for_time(waker.clone());
                self.add_due(at, Due::Sender(ticket));
                ticket
            }
        };
        Err((job, ticket))
    }
}

impl<J: Send + Unpin + 'static, O: Send + 'static> Future for SpawnWhenRoom<J, O> {
    type Output = Result<TaskHandle, DispatchError<J>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // Polled after it was ready, there is none.
        let Some(job) = this.job.take() else { return Poll::Pending };
        if let Some(refuse) = this.tasks.refusal(&this.options) {
            return Poll::Ready(Err(refuse(job)));
        }
        let (options, again) = (this.options.after(this.asked.elapsed()), this.again);
        if options.deadline.is_some_and(|left| left.is_zero()) {
            this.leave();
            return Poll::Ready(Err(DispatchError::TimedOut(job)));
        }
        if options.delay.is_none() && this.options.delay.take().is_some() {
            // Its time has come while it waited: from here on it waits for a credit.
            this.leave();
        }
        let mut job = Some(job);
        let sent = with_lane(this.tasks.key(), |lane: &Installed<J, O>| {
            if options.delay.is_some_and(|delay| lane.is_after_drain(after(delay))) {
                return Some(Sent::NotInTheDrain(job.take()?));
            }
            let ticket = this.held.take().and_then(|held| held.ticket_on(lane));
            let Options { priority, task_worker, .. } = options;
            let turn = WaitTurn { ticket, priority, task_worker, waker: context.waker() };
            let dispatch =
                |lane: &Installed<J, O>, job| lane.dispatch_with_handle(job, options, again);
            let job = job.take()?;
            let sent = match options.delay {
                Some(delay) => lane.send_delayed(job, delay, turn, dispatch),
                None => lane.dispatch_in_turn(job, turn, dispatch),
            };
            if let (Err((_, waits)), Some(left), None) = (&sent, options.deadline, ticket) {
                lane.add_due(after(left), Due::Sender(*waits));
            }
            Some(match sent {
                Ok(handle) => {
                    ticket.into_iter().for_each(|ticket| lane.leave_line(ticket));
                    Sent::Dispatched(handle)
                }
                Err((job, ticket)) => Sent::Waits(job, Held { executor: lane.executor, ticket }),
            })
        });
        match (sent.flatten(), job) {
            (Some(Sent::Dispatched(handle)), _) => Poll::Ready(Ok(handle)),
            (Some(Sent::Waits(job, held)), _) => {
                (this.job, this.held) = (Some(job), Some(held));
                Poll::Pending
            }
            (Some(Sent::NotInTheDrain(job)), _) => Poll::Ready(Err(DispatchError::Closed(job))),
            (None, Some(job)) => Poll::Ready(Err(DispatchError::NotOnExecutor(job))),
            (None, None) => unreachable!("the job is taken only to be dispatched"),
        }
    }
}

impl<J: Send + 'static, O: Send + 'static> SpawnWhenRoom<J, O> {
    /// Gives its place up, and what was kept for it.
    fn leave(&mut self) {
        if let Some(held) = self.held.take() {
            held.give_up(self.tasks.shared());
        }
    }
}

impl<J: Send + 'static, O: Send + 'static> Drop for SpawnWhenRoom<J, O> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The future of [`Tasks::dispatch_when_room`].
#[must_use = "a future does nothing unless awaited"]
pub struct DispatchWhenRoom<J: Send + 'static, O: Send + 'static> {
    tasks: Tasks<J, O>,
    job: Option<J>,
    held: Option<Held>,
}

impl<J: Send + 'static, O: Send + 'static> DispatchWhenRoom<J, O> {
    pub(crate) fn new(tasks: Tasks<J, O>, job: J) -> Self {
        DispatchWhenRoom { tasks, job: Some(job), held: None }
    }
}

impl<J: Send + Unpin + 'static, O: Send + 'static> Future for DispatchWhenRoom<J, O> {
    type Output = Result<TaskId, DispatchError<J>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let sent = this.tasks.on_lane(|lane| {
            let job = this.job.take()?;
            let ticket = this.held.take().and_then(|held| held.ticket_on(lane));
            let (priority, waker) = (Priority::Normal, context.waker());
            let turn = WaitTurn { ticket, priority, task_worker: None, waker };
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

impl<J: Send + 'static, O: Send + 'static> Drop for DispatchWhenRoom<J, O> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            held.give_up(self.tasks.shared());
        }
    }
}
