//! The future of a task's output.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::pool::api::handle::TaskHandle;
use crate::pool::api::tasks::Tasks;
use crate::pool::lane::Installed;
use crate::pool::lane::installed::with_lane;
use crate::pool::shared::Command;
use crate::pool::task::control::Stopped;
use crate::pool::task::error::{DispatchError, RunError, TaskError};
use crate::pool::task::{Finish, SlotKey};
use crate::sys::instant::after;

/// The future of [`Tasks::run`]. It is `Send`, so that a handler that must be may await it.
///
/// Dropping it cancels nothing: the task runs, and its output goes to `on_finish` (where the task
/// was dispatched by a thread that is no executor, nowhere). Await it on the executor that
/// dispatched the task; one that was dispatched elsewhere may be awaited, or
/// [waited for](Self::wait), anywhere.
#[must_use = "a future does nothing unless awaited; `dispatch` sends a job without waiting"]
pub struct Run<J: Send + 'static, O: Send + 'static> {
    tasks: Tasks<J, O>,
    state: RunState<J, O>,
    handle: Option<TaskHandle>,
}

pub(crate) enum RunState<J, O> {
    Refused(DispatchError<J>),
    Lane { executor: usize, key: SlotKey },
    External { mailbox: Arc<Mailbox<O>>, deadline: Option<Instant> },
    Done,
}

/// Where the finish of an external task is left for its future.
pub(crate) struct Mailbox<O> {
    content: Mutex<Content<O>>,
    arrived: Condvar,
}

struct Content<O> {
    finish: Option<Finish<O>>,
    waker: Option<Waker>,
}

impl<O> Mailbox<O> {
    pub(crate) fn new() -> Arc<Self> {
        let content = Mutex::new(Content { finish: None, waker: None });
        Arc::new(Mailbox { content, arrived: Condvar::new() })
    }

    pub(crate) fn put(&self, finish: Finish<O>) {
        let mut content = self.lock();
        content.finish = Some(finish);
        let waker = content.waker.take();
        drop(content);
        self.arrived.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, waker: &Waker) -> Poll<Finish<O>> {
        let mut content = self.lock();
        if let Some(finish) = content.finish.take() {
            return Poll::Ready(finish);
        }
        content.waker = Some(waker.clone());
        Poll::Pending
    }

    fn wait(&self, end: Instant) -> Option<Finish<O>> {
        let mut content = self.lock();
        loop {
            if let Some(finish) = content.finish.take() {
                return Some(finish);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.arrived.wait_timeout(content, left);
            content = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Nothing that can panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, Content<O>> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J: Send + 'static, O: Send + 'static> Run<J, O> {
    pub(crate) fn new(
        tasks: Tasks<J, O>,
        state: RunState<J, O>,
        handle: Option<TaskHandle>,
    ) -> Self {
        Run { tasks, state, handle }
    }

    /// The handle that cancels the task. None where it was refused, and of [`Tasks::run`], whose
    /// tasks have none.
    pub fn handle(&self) -> Option<&TaskHandle> {
        self.handle.as_ref()
    }

    /// Blocks a thread that is no executor until the task is over, for `limit` at most; then the
    /// future comes back. Replaces Swoole's `taskwait`.
    ///
    /// # Errors
    /// The future itself, where the task is not over by then.
    pub fn wait(mut self, limit: Duration) -> Result<Result<O, RunError<J>>, Self> {
        match std::mem::replace(&mut self.state, RunState::Done) {
            RunState::Refused(refused) => Ok(Err(RunError::Refused(refused))),
            RunState::External { mailbox, deadline } => {
                let end = after(limit);
                let mut finish = mailbox.wait(deadline.map_or(end, |deadline| deadline.min(end)));
                if finish.is_none() && deadline.is_some_and(|deadline| deadline < end) {
                    if self.expire() {
                        return Ok(Err(RunError::Failed(TaskError::TimedOut)));
                    }
                    finish = mailbox.wait(end);
                }
                if let Some(finish) = finish {
                    return Ok(finish.outcome.map_err(RunError::Failed));
                }
                self.state = RunState::External { mailbox, deadline };
                Err(self)
            }
            // An executor that blocked here would wait for itself.
            state => {
                self.state = state;
                Ok(Err(RunError::WrongThread))
            }
        }
    }

    /// The deadline has passed; false: the finish is on its way all the same.
    fn expire(&self) -> bool {
        let expired = self.handle.as_ref().map(TaskHandle::expire);
        matches!(expired, Some(Stopped::Withdrawn { .. } | Stopped::Asked))
    }

    fn poll_lane(
        &mut self,
        executor: usize,
        key: SlotKey,
        context: &mut Context<'_>,
    ) -> Poll<Result<O, RunError<J>>> {
        let polled = with_lane(self.tasks.key(), |lane: &Installed<J, O>| {
            (lane.executor == executor).then(|| lane.poll_slot(key, context))
        });
        self.state = RunState::Lane { executor, key };
        match polled.flatten() {
            Some(Poll::Pending) => Poll::Pending,
            Some(Poll::Ready(Some(finish))) => {
                self.state = RunState::Done;
                Poll::Ready(finish.outcome.map_err(RunError::Failed))
            }
            Some(Poll::Ready(None)) | None => {
                self.detach();
                Poll::Ready(Err(RunError::WrongThread))
            }
        }
    }

    fn detach(&mut self) {
        let RunState::Lane { executor, key } = std::mem::replace(&mut self.state, RunState::Done)
        else {
            return;
        };
        let here = with_lane(self.tasks.key(), |lane: &Installed<J, O>| {
            let here = lane.executor == executor;
            if here {
                lane.detach(key);
            }
            here
        });
        if here != Some(true) {
            let lane = &self.tasks.shared().lanes[executor];
            lane.commands.push(Command::Detach(key));
            lane.doorbell.ring();
        }
    }
}

impl<J: Send + Unpin + 'static, O: Send + 'static> Future for Run<J, O> {
    type Output = Result<O, RunError<J>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.state, RunState::Done) {
            RunState::Refused(refused) => Poll::Ready(Err(RunError::Refused(refused))),
            RunState::Done => Poll::Ready(Err(RunError::WrongThread)),
            RunState::Lane { executor, key } => self.poll_lane(executor, key, context),
            RunState::External { mailbox, deadline } => match mailbox.poll(context.waker()) {
                Poll::Ready(finish) => Poll::Ready(finish.outcome.map_err(RunError::Failed)),
                Poll::Pending => {
                    self.state = RunState::External { mailbox, deadline };
                    Poll::Pending
                }
            },
        }
    }
}

impl<J: Send + 'static, O: Send + 'static> fmt::Debug for Run<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl<J: Send + 'static, O: Send + 'static> Drop for Run<J, O> {
    fn drop(&mut self) {
        self.detach();
    }
}
