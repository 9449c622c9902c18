//! Listeners: called where the event is raised, or run as tasks.

use std::any::type_name;
use std::fmt;
use std::sync::Arc;

use sidecore_runtime::sys::panics;

use crate::tasks::closures::{Closures, Ending};
use crate::tasks::events::Cause;
use sidecore_runtime::pool::Tasks;

/// A listener to events of type `E`.
pub struct Listener<E>(
    /// With the event's copy for tasks, made by the first that needs one.
    Box<dyn Fn(&E, &mut Option<Arc<E>>) -> Result<Heard, Cause> + Send + Sync>,
);

/// Where a listener hears an event.
pub(crate) enum Heard {
    Here,
    InATask,
}

/// What [`Events::on`](crate::tasks::events::Events::on) takes: a closure or function of `&E`, which may return a `Result`, or what
/// [`deferred`] and [`dispatching`] make. `Kind` tells these apart for the compiler.
pub trait IntoListener<E, Kind> {
    /// As a listener.
    fn into_listener(self) -> Listener<E>;
}

impl<E> Listener<E> {
    pub(crate) fn hear(&self, event: &E, shared: &mut Option<Arc<E>>) -> Result<Heard, Cause> {
        caught(|| (self.0)(event, shared))
    }
}

impl<E> IntoListener<E, ()> for Listener<E> {
    fn into_listener(self) -> Listener<E> {
        self
    }
}

impl<E, R, F> IntoListener<E, fn() -> R> for F
where
    R: Ending,
    F: Fn(&E) -> R + Send + Sync + 'static,
{
    fn into_listener(self) -> Listener<E> {
        Listener(Box::new(move |event, _| match self(event).into_result() {
            Ok(()) => Ok(Heard::Here),
            Err(failure) => Err(Cause::Failed(failure)),
        }))
    }
}

/// A listener that runs as a task of a pool of closures. Who raises the event goes on at once.
///
/// The event is cloned once for all its deferred listeners, and dropped by the last. How the
/// listener ends, its failure or panic included, is the task's outcome and goes to `on_finish`.
/// Options are those of the handle: `deferred(&tasks.with(|job| job.priority(Priority::Low)), …)`.
pub fn deferred<E, R, C>(
    tasks: &C,
    listener: impl Fn(&E) -> R + Send + Sync + 'static,
) -> Listener<E>
where
    E: Clone + Send + Sync + 'static,
    R: Ending,
    C: Closures + Clone + Send + Sync + 'static,
{
    let (tasks, listener) = (tasks.clone(), Arc::new(listener));
    Listener(Box::new(move |event, shared| {
        let event = shared.get_or_insert_with(|| Arc::new(event.clone())).clone();
        let listener = listener.clone();
        match tasks.dispatch_closure(move |_| listener(&event)) {
            Ok(_) => Ok(Heard::InATask),
            Err(refused) => Err(Cause::Refused(refused.map(drop))),
        }
    }))
}

/// A listener that makes a job of the event and dispatches it to a pool: its `on_task` is what
/// hears the event, with all that it holds.
///
/// ```
/// use sidecore::Tasks;
/// use sidecore::tasks::events::{Events, dispatching};
///
/// struct SignedUp {
///     email: String,
/// }
/// enum Mail {
///     Welcome { to: String },
/// }
///
/// fn events(tasks: &Tasks<Mail, ()>) -> Events {
///     let welcome = |event: &SignedUp| Mail::Welcome { to: event.email.clone() };
///     Events::new().on(dispatching(tasks, welcome))
/// }
/// ```
pub fn dispatching<E, J, O>(
    tasks: &Tasks<J, O>,
    job_of: impl Fn(&E) -> J + Send + Sync + 'static,
) -> Listener<E>
where
    E: 'static,
    J: Send + 'static,
    O: Send + 'static,
{
    let tasks = tasks.clone();
    Listener(Box::new(move |event, _| match tasks.dispatch(job_of(event)) {
        Ok(_) => Ok(Heard::InATask),
        Err(refused) => Err(Cause::Refused(refused.map(drop))),
    }))
}

/// Calls a listener; its panic ends here. What it shares with others it guards itself, as anything
/// that is called from several threads does.
pub(crate) fn caught<T>(call: impl FnOnce() -> Result<T, Cause>) -> Result<T, Cause> {
    panics::caught(call).unwrap_or_else(|message| Err(Cause::Panicked(message)))
}

impl<E> fmt::Debug for Listener<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener<{}>", type_name::<E>())
    }
}
