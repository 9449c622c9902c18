//! The future of a dispatch with options that waits for its turn.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::control::Control;
use super::lane::{Installed, Order};
use super::options::Options;
use super::slots::Sink;
use super::tasks::{Tasks, with_lane};
use super::{Dispatch, DispatchError, TaskHandle};

/// The future of [`Dispatch::send`].
#[must_use = "a future does nothing unless awaited"]
pub struct SendDispatch<J: Send + 'static, O: Send + 'static> {
    tasks: Tasks<J, O>,
    job: Option<J>,
    options: Options,
    again: Option<fn(&J) -> J>,
    asked: Instant,
    ticket: Option<u64>,
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
        let (id, key, control) = self.dispatch_order(order)?;
        let control = control.unwrap_or_else(|| Arc::new(Control::new()));
        Ok(TaskHandle::on_lane(id, control, self.shared().clone(), key))
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
        let mut job = Some(job);
        let sent = with_lane(this.tasks.key(), |lane: &Installed<J, O>| {
            let (job, waker) = (job.take()?, context.waker());
            Some(lane.dispatch_in_turn(job, this.ticket, waker, |lane, job| {
                lane.dispatch_with_handle(job, options, again)
            }))
        });
        match (sent.flatten(), job) {
            (Some(Ok(handle)), _) => {
                this.ticket = None;
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

impl<J: Send + 'static, O: Send + 'static> Drop for SendDispatch<J, O> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            with_lane(self.tasks.key(), |lane: &Installed<J, O>| lane.leave_senders(ticket));
        }
    }
}
