//! Middleware that triggers a task of a request, and goes on at once.
//!
//! ```no_run
//! use sidecore::{Config, Request, Response, Server};
//! use sidecore::tasks::trigger::TriggerTask;
//! use tower::{Layer, service_fn};
//!
//! /// A line of an audit log.
//! struct Audit {
//!     method: String,
//!     path: String,
//! }
//!
//! fn main() -> sidecore::Result<()> {
//!     Server::new(Config::load()?)
//!         .on_task(|_task, audit: Audit| eprintln!("{} {}", audit.method, audit.path))
//!         .on_finish(|_finish, _ended| {})
//!         .serve(|executor| {
//!             let audit = |request: &Request<_>| {
//!                 let path = request.uri().path();
//!                 path.starts_with("/admin/").then(|| Audit {
//!                     method: request.method().to_string(),
//!                     path: path.to_owned(),
//!                 })
//!             };
//!             TriggerTask::before(executor.tasks(), audit).or_unavailable(5).layer(service_fn(
//!                 async |_| Ok::<_, std::convert::Infallible>(Response::new(String::new())),
//!             ))
//!         })?;
//!     Ok(())
//! }
//! ```
//!
//! It replaces the middleware of a Mezzio pipeline that holds the server and calls its `task`:
//! there, the queue of tasks has no limit, and no request learns that they come faster than they run.
//!
//! [`TriggerTask`] makes the job of the request, before the service is called. [`TriggerAfter`]
//! makes it when the answer is there, of the answer and of what was kept of the request.

mod after;
mod before;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderName, HeaderValue, Response};

pub use crate::tasks::trigger::after::TriggerAfter;
pub use crate::tasks::trigger::after::TriggeredAfter;
pub use crate::tasks::trigger::before::GoOn;
pub use crate::tasks::trigger::before::TriggerTask;
pub use crate::tasks::trigger::before::Triggered;
pub use crate::tasks::trigger::before::Unavailable;
pub use crate::tasks::trigger::before::WhenRefused;

use sidecore_runtime::pool::{DispatchError, TaskId, Tasks};

const TASK_ID: HeaderName = HeaderName::from_static("x-task-id");
const TASK_REFUSED: HeaderName = HeaderName::from_static("x-task-refused");

/// What puts jobs into a pool: its [`Tasks`], or a closure that says more of them, such as
/// `move |job: Job| tasks.job(job).priority(Priority::Low).dispatch()`.
pub trait Dispatcher<J> {
    /// Dispatches a job, at once; one that is not accepted is given back.
    ///
    /// # Errors
    /// [`DispatchError`], which has the job.
    fn dispatch(&self, job: J) -> Result<TaskId, DispatchError<J>>;
}

impl<J: Send + 'static, O: Send + 'static> Dispatcher<J> for Tasks<J, O> {
    fn dispatch(&self, job: J) -> Result<TaskId, DispatchError<J>> {
        Tasks::dispatch(self, job)
    }
}

impl<J, F: Fn(J) -> Result<TaskId, DispatchError<J>>> Dispatcher<J> for F {
    fn dispatch(&self, job: J) -> Result<TaskId, DispatchError<J>> {
        self(job)
    }
}

/// The service that a layer of this module makes.
#[derive(Clone)]
pub struct Triggering<L, S> {
    layer: L,
    inner: S,
}

/// What the services of a layer share.
struct Trigger<D> {
    dispatcher: D,
    dispatched: AtomicU64,
    refused: AtomicU64,
}

/// Jobs that a layer has made: of one executor, where the layer was made there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TriggerCounts {
    /// Those that were accepted.
    pub dispatched: u64,
    /// Those that were not.
    pub refused: u64,
}

/// How the dispatch of a job ended.
type Fired = Result<TaskId, DispatchError<()>>;

impl<D> Trigger<D> {
    fn new(dispatcher: D) -> Arc<Self> {
        let (dispatched, refused) = Default::default();
        Arc::new(Trigger { dispatcher, dispatched, refused })
    }

    fn fire<J>(&self, job: J) -> Fired
    where
        D: Dispatcher<J>,
    {
        let fired = self.dispatcher.dispatch(job).map_err(|refused| refused.map(drop));
        let counter = if fired.is_ok() { &self.dispatched } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        fired
    }

    fn counts(&self) -> TriggerCounts {
        let dispatched = self.dispatched.load(Ordering::Relaxed);
        TriggerCounts { dispatched, refused: self.refused.load(Ordering::Relaxed) }
    }
}

fn tell<B>(answer: &mut Response<B>, fired: &Fired) {
    let (name, value) = match fired {
        Ok(id) => (TASK_ID, HeaderValue::from(*id)),
        Err(refused) => (TASK_REFUSED, HeaderValue::from_static(reason(refused))),
    };
    answer.headers_mut().insert(name, value);
}

/// Why a job was refused, for a client: without what only the server's operator can mend.
fn reason(refused: &DispatchError<()>) -> &'static str {
    match refused {
        DispatchError::Full(()) => "queue full",
        DispatchError::NoTaskWorkers(()) => "no task workers",
        DispatchError::Closed(()) => "shutting down",
        _ => "not accepted",
    }
}
