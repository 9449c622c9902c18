//! The future of a dispatch with options that waits for its turn.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::agenda::Due;
use super::control::Control;
use super::lane::{Installed, Order};
use super::line::Ticket;
use super::options::Options;
use super::slots::Sink;
use super::tasks::{Tasks, with_lane};
use super::waiting::Turn;
use super::{Dispatch, DispatchError, TaskHandle};
use crate::instant::after;

/// The future of [`Dispatch::send`].
#[must_use = "a future does nothing unless awaited"]
pub struct SendDispatch<J: Send + 'static, O: Send + 'static> {
    tasks: Tasks<J, O>,
    job: Option<J>,
    options: Options,
    again: Option<fn(&J) -> J>,
    asked: Instant,
    ticket: Option<Ticket>,
}

impl<J: Send + 'static, O: Send + 'static> SendDispatch<J, O> {
    pub(super) fn new(dispatch: Dispatch<J, O>) -> Self {
        let Dispatch { tasks, job, options, again } = dispatch;
        SendDispatch { tasks, job: Some(job), options, again, asked: Instant::now(), ticket: None }
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
        Ok(TaskHandle::on_lane(id, control, self.shared().clone(), key))
    }

    /// A delayed dispatch takes a place among the sleepers at once; without one it waits until it
    /// is due, holding nothing, and then as any other.
    fn send_delayed(
        &self,
        job: J,
        delay: Duration,
        Turn { ticket, waker, .. }: Turn<'_>,
        dispatch: impl FnOnce(&Self, J) -> Result<TaskHandle, J>,
    ) -> Result<TaskHandle, (J, Ticket)> {
        let at = after(delay);
        let job = match self.has_sleeping_place() && !self.is_after_drain(at) {
            true => match dispatch(self, job) {
                Ok(handle) => return Ok(handle),
                Err(job) => job,
            },
            false => job,
        };
        let ticket = match ticket {
            Some(ticket) => {
                drop(self.line.borrow_mut().set_waker(ticket, waker));
                ticket
            }
            None => {
                let ticket = self.line.borrow_mut().wait_for_time(waker.clone());
                self.add_due(at, Due::Sender(ticket));
                ticket
            }
        };
        Err((job, ticket))
    }
}

impl<J: Send + Unpin + 'static, O: Send + 'static> Future for SendDispatch<J, O> {
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
        let waited_before = this.ticket.is_some();
        let sent = with_lane(this.tasks.key(), |lane: &Installed<J, O>| {
            let turn =
                Turn { ticket: this.ticket, priority: options.priority, waker: context.waker() };
            let dispatch =
                |lane: &Installed<J, O>, job| lane.dispatch_with_handle(job, options, again);
            let job = job.take()?;
            let sent = match options.delay {
                Some(delay) => lane.send_delayed(job, delay, turn, dispatch),
                None => lane.dispatch_in_turn(job, turn, dispatch),
            };
            if let (Err((_, ticket)), Some(left), false) = (&sent, options.deadline, waited_before)
            {
                lane.add_due(after(left), Due::Sender(*ticket));
            }
            Some(sent)
        });
        match (sent.flatten(), job) {
            (Some(Ok(handle)), _) => {
                this.leave();
                Poll::Ready(Ok(handle))
            }
            (Some(Err((job, ticket))), _) => {
                (this.job, this.ticket) = (Some(job), Some(ticket));
                Poll::Pending
            }
            (None, Some(job)) => Poll::Ready(Err(DispatchError::NotOnExecutor(job))),
            (None, None) => unreachable!("the job is taken only to be dispatched"),
        }
    }
}

impl<J: Send + 'static, O: Send + 'static> SendDispatch<J, O> {
    /// Gives its place up, and what was kept for it.
    fn leave(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            with_lane(self.tasks.key(), |lane: &Installed<J, O>| lane.leave_line(ticket));
        }
    }
}

impl<J: Send + 'static, O: Send + 'static> Drop for SendDispatch<J, O> {
    fn drop(&mut self) {
        self.leave();
    }
}
