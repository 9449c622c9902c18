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

use super::lane::{Installed, WaiterKey};
use super::{DispatchError, RunError, Shared, TaskId};

thread_local! {
    /// The lanes installed on this thread, by the address of their pool's shared part.
    static LANES: RefCell<Vec<(usize, Rc<dyn Any>)>> = const { RefCell::new(Vec::new()) };
}

/// Dispatches jobs to a pool, from the threads of its executors. Cheap to clone; `Send`, `Sync`.
pub struct Tasks<J, O> {
    shared: Option<Arc<Shared<J>>>,
    output: PhantomData<fn() -> O>,
}

impl<J: Send + 'static, O: Send + 'static> Tasks<J, O> {
    pub(super) fn new(shared: Arc<Shared<J>>) -> Self {
        Tasks { shared: Some(shared), output: PhantomData }
    }

    /// A handle without task workers: every dispatch is refused.
    pub fn none() -> Self {
        Tasks { shared: None, output: PhantomData }
    }

    /// Puts a job into the queue and returns at once with its id; its output goes to `on_finish`
    /// on this executor. A job that is not accepted is given back.
    ///
    /// Costs no system call while a task worker is awake.
    pub fn dispatch(&self, job: J) -> Result<TaskId, DispatchError<J>> {
        self.on_lane(job, |lane, job| lane.dispatch(job, None))
    }

    /// Puts a job into the queue, now, and returns a future of its output.
    ///
    /// Dropping the future cancels nothing: the task runs, and its output goes to `on_finish`. So
    /// each accepted task is delivered exactly once. Await it on the executor that called this.
    pub fn run(&self, job: J) -> Run<J, O> {
        let state = match self
            .on_lane(job, |lane, job| lane.dispatch_waiting(job).map(|key| (lane.executor, key)))
        {
            Ok((executor, key)) => RunState::Waiting { executor, key },
            Err(refused) => RunState::Refused(refused),
        };
        Run { tasks: self.clone(), state }
    }

    /// Removes this pool's lane from this thread, at the end of its executor.
    pub fn uninstall(&self) {
        let key = self.key();
        LANES.with_borrow_mut(|lanes| lanes.retain(|(installed, _)| *installed != key));
    }

    fn on_lane<R>(
        &self,
        job: J,
        call: impl FnOnce(&Installed<J, O>, J) -> Result<R, J>,
    ) -> Result<R, DispatchError<J>> {
        if self.shared.is_none() {
            return Err(DispatchError::NoTaskWorkers(job));
        }
        let mut job = Some(job);
        let called = with_lane(self.key(), |lane| job.take().map(|job| call(lane, job)));
        match (called.flatten(), job) {
            (Some(result), _) => result.map_err(DispatchError::Full),
            (None, Some(job)) => Err(DispatchError::NotOnExecutor(job)),
            (None, None) => unreachable!("the job is taken only to be called with"),
        }
    }

    fn key(&self) -> usize {
        self.shared.as_ref().map_or(0, |shared| Arc::as_ptr(shared) as usize)
    }
}

impl<J, O> Tasks<J, O> {
    pub(super) fn shared(&self) -> &Shared<J> {
        self.shared.as_deref().expect("a lane belongs to a pool with task workers")
    }
}

pub(super) fn install<J, O>(tasks: &Tasks<J, O>, lane: Rc<Installed<J, O>>)
where
    J: Send + 'static,
    O: Send + 'static,
{
    LANES.with_borrow_mut(|lanes| lanes.push((tasks.key(), lane)));
}

fn with_lane<J, O, R>(key: usize, call: impl FnOnce(&Installed<J, O>) -> R) -> Option<R>
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

/// The future of [`Tasks::run`]. It is `Send`, so that a handler that must be may await it.
#[must_use = "a future does nothing unless awaited; `dispatch` sends a job without waiting"]
pub struct Run<J: Send + 'static, O: Send + 'static> {
    tasks: Tasks<J, O>,
    state: RunState<J>,
}

enum RunState<J> {
    Refused(DispatchError<J>),
    Waiting { executor: usize, key: WaiterKey },
    Done,
}

impl<J: Send + Unpin + 'static, O: Send + 'static> Future for Run<J, O> {
    type Output = Result<O, RunError<J>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (executor, key) = match std::mem::replace(&mut self.state, RunState::Done) {
            RunState::Refused(refused) => return Poll::Ready(Err(RunError::Refused(refused))),
            RunState::Done => return Poll::Ready(Err(RunError::WrongThread)),
            RunState::Waiting { executor, key } => (executor, key),
        };
        let polled = with_lane(self.tasks.key(), |lane: &Installed<J, O>| {
            (lane.executor == executor).then(|| lane.poll_waiter(key, context))
        });
        match polled.flatten() {
            Some(Poll::Pending) => {
                self.state = RunState::Waiting { executor, key };
                Poll::Pending
            }
            Some(Poll::Ready(Some(finish))) => {
                Poll::Ready(finish.outcome.map_err(RunError::Failed))
            }
            Some(Poll::Ready(None)) => Poll::Ready(Err(RunError::WrongThread)),
            None => {
                self.state = RunState::Waiting { executor, key };
                self.detach();
                Poll::Ready(Err(RunError::WrongThread))
            }
        }
    }
}

impl<J: Send + 'static, O: Send + 'static> Run<J, O> {
    fn detach(&mut self) {
        let RunState::Waiting { executor, key } =
            std::mem::replace(&mut self.state, RunState::Done)
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
            lane.detached.push(key);
            lane.bell.ring();
        }
    }
}

impl<J: Send + 'static, O: Send + 'static> Drop for Run<J, O> {
    fn drop(&mut self) {
        self.detach();
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
