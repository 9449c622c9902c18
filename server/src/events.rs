//! Events and their listeners, some of which run as tasks without the raiser knowing it.
//!
//! ```no_run
//! use std::sync::{Arc, OnceLock};
//!
//! use sidecore::events::{Events, deferred};
//! use sidecore::{Config, Failure, Incoming, Request, Response, Server};
//!
//! #[derive(Clone)]
//! struct SignedUp {
//!     email: String,
//! }
//!
//! /// Takes its time.
//! fn send_welcome(event: &SignedUp) -> Result<(), Failure> {
//!     eprintln!("dear {}", event.email);
//!     Ok(())
//! }
//!
//! fn main() -> sidecore::Result<()> {
//!     let events = OnceLock::new();
//!     Server::new(Config::load()?)
//!         .on_closures()
//!         .on_finish(|finish, ended| {
//!             if let Err(error) = ended {
//!                 eprintln!("task {}: {error}", finish.id);
//!             }
//!         })
//!         .serve(move |worker| {
//!             let tasks = worker.tasks();
//!             // Built by the executor that comes first, shared by all.
//!             let events = events.get_or_init(|| {
//!                 let events = Events::new()
//!                     .on(|event: &SignedUp| eprintln!("{} signed up", event.email))
//!                     .on(deferred(&tasks, send_welcome))
//!                     .on_fault(|fault| eprintln!("{fault}"));
//!                 Arc::new(events)
//!             });
//!             let events = events.clone();
//!             tower::service_fn(move |_: Request<Incoming>| {
//!                 events.raise(&SignedUp { email: "ada@example.org".to_owned() });
//!                 async { Ok::<_, std::convert::Infallible>(Response::new(String::new())) }
//!             })
//!         })?;
//!     Ok(())
//! }
//! ```
//!
//! | Mezzio | here |
//! |---|---|
//! | `DeferredListener`, and its delegator | [`deferred`]: the event moves to a task, is not serialised |
//! | `DeferredServiceListener`: a service of the task worker hears it | [`dispatching`]: a job for the pool's `on_task`, which holds its services |
//! | the result of `task` is ignored: an event that finds no room is gone | [`Raised`] and [`Events::on_fault`] |
//! | `TaskInvokerListener` catches what a deferred listener throws, and logs it | it is the task's outcome, told to `on_finish` |
//! | an exception of a listener keeps the event from those after it, and from the raiser | each listener is called, and the raiser goes on |

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::closures::{Closures, Ending};
use crate::tasks::{DispatchError, Failure, Tasks};

/// Listeners by the type of their events. Built once, then shared: raising takes no lock.
///
/// Events are raised on any thread: on executors, on task workers, on plain ones.
#[derive(Default)]
pub struct Events {
    /// A `Vec<Listener<E>>` for each type `E`.
    listeners: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    on_fault: Option<Box<dyn Fn(&Fault) + Send + Sync>>,
    counters: Counters,
}

/// What became of one raised event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raised {
    /// Listeners that were called and did not fail.
    pub called: u64,
    /// Listeners whose task was accepted.
    pub deferred: u64,
    /// The others.
    pub faults: Faults,
}

/// How often listeners did not hear an event, or failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Tasks of listeners that the pool did not accept.
    pub refused: u64,
    /// Listeners that failed where the event was raised.
    pub failed: u64,
    /// Listeners that panicked there.
    pub panicked: u64,
}

/// What was wrong with one listener and one event.
#[derive(Debug)]
pub struct Fault {
    /// The event's type, as the compiler names it.
    pub event: &'static str,
    /// Which listener: its place among those of this type, from 0.
    pub listener: usize,
    /// What was wrong.
    pub cause: Cause,
}

/// Why a listener did not hear an event, or failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The pool did not accept its task.
    Refused(DispatchError<()>),
    /// It failed.
    Failed(Failure),
    /// It panicked, with this message.
    Panicked(String),
}

/// Only a listener that goes wrong writes here: executors do not contend for it.
#[derive(Default)]
struct Counters {
    refused: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
}

/// A listener to events of type `E`.
pub struct Listener<E>(
    /// With the event's copy for tasks, made by the first that needs one.
    Box<dyn Fn(&E, &mut Option<Arc<E>>) -> Result<Heard, Cause> + Send + Sync>,
);

/// Where a listener hears an event.
enum Heard {
    Here,
    InATask,
}

/// What [`Events::on`] takes: a closure or function of `&E`, which may return a `Result`, or what
/// [`deferred`] and [`dispatching`] make. `Kind` tells these apart for the compiler.
pub trait IntoListener<E, Kind> {
    /// As a listener.
    fn into_listener(self) -> Listener<E>;
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
        match tasks.spawn(move |_| listener(&event)) {
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
/// use sidecore::events::{Events, dispatching};
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

impl Events {
    /// Without listeners.
    pub fn new() -> Self {
        Events::default()
    }

    /// Adds a listener to events of type `E`, after those that it has.
    pub fn on<E: 'static, Kind>(mut self, listener: impl IntoListener<E, Kind>) -> Self {
        let listeners = self
            .listeners
            .entry(TypeId::of::<E>())
            .or_insert_with(|| Box::new(Vec::<Listener<E>>::new()));
        if let Some(listeners) = listeners.downcast_mut::<Vec<Listener<E>>>() {
            listeners.push(listener.into_listener());
        }
        self
    }

    /// Is told of each listener that did not hear an event, or failed, on the raiser's thread:
    /// keep it short. A panic in it is caught and counted among those of listeners.
    pub fn on_fault(mut self, on_fault: impl Fn(&Fault) + Send + Sync + 'static) -> Self {
        self.on_fault = Some(Box::new(on_fault));
        self
    }

    /// Tells the listeners of an event, in the order in which they were added: each is called
    /// here, or its task is dispatched. None keeps the event from the others. What it returns is
    /// for raisers that want to know; the others need not look.
    pub fn raise<E: 'static>(&self, event: &E) -> Raised {
        let mut raised = Raised::default();
        let mut shared = None;
        for (listener, heard) in self.listeners::<E>().iter().enumerate() {
            match caught(|| (heard.0)(event, &mut shared)) {
                Ok(Heard::Here) => raised.called += 1,
                Ok(Heard::InATask) => raised.deferred += 1,
                Err(cause) => {
                    raised.faults.count(&cause);
                    self.report(&Fault { event: type_name::<E>(), listener, cause });
                }
            }
        }
        raised
    }

    /// The faults of all events so far.
    pub fn faults(&self) -> Faults {
        let Counters { refused, failed, panicked } = &self.counters;
        Faults {
            refused: refused.load(Ordering::Relaxed),
            failed: failed.load(Ordering::Relaxed),
            panicked: panicked.load(Ordering::Relaxed),
        }
    }

    fn listeners<E: 'static>(&self) -> &[Listener<E>] {
        let listeners = self.listeners.get(&TypeId::of::<E>());
        listeners.and_then(|any| any.downcast_ref::<Vec<Listener<E>>>()).map_or(&[], |all| all)
    }

    fn report(&self, fault: &Fault) {
        self.counters.count(&fault.cause);
        if let Some(on_fault) = &self.on_fault
            && let Err(cause) = caught(|| Ok(on_fault(fault)))
        {
            self.counters.count(&cause);
        }
    }
}

impl Counters {
    fn count(&self, cause: &Cause) {
        let counter = match cause {
            Cause::Refused(_) => &self.refused,
            Cause::Failed(_) => &self.failed,
            Cause::Panicked(_) => &self.panicked,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Faults {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.refused + self.failed + self.panicked
    }

    fn count(&mut self, cause: &Cause) {
        match cause {
            Cause::Refused(_) => self.refused += 1,
            Cause::Failed(_) => self.failed += 1,
            Cause::Panicked(_) => self.panicked += 1,
        }
    }
}

/// Calls a listener; its panic ends here. What it shares with others it guards itself, as anything
/// that is called from several threads does.
fn caught<T>(call: impl FnOnce() -> Result<T, Cause>) -> Result<T, Cause> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|payload| Err(Cause::Panicked(message(payload))))
}

/// The text of a panic. A payload whose destructor panics, too, is leaked.
fn message(payload: Box<dyn Any + Send>) -> String {
    let text = match payload.downcast_ref::<&str>() {
        Some(text) => Some((*text).to_owned()),
        None => payload.downcast_ref::<String>().cloned(),
    };
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
    text.unwrap_or_else(|| "a payload that is no text".to_owned())
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { event, listener, cause } = self;
        write!(f, "listener {listener} of {event}: {cause}")
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Refused(refused) => write!(f, "its task was refused: {refused}"),
            Cause::Failed(failure) => write!(f, "it failed: {failure}"),
            Cause::Panicked(message) => write!(f, "it panicked: {message}"),
        }
    }
}

impl std::error::Error for Fault {}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types = self.listeners.len();
        f.debug_struct("Events").field("types", &types).field("faults", &self.faults()).finish()
    }
}

impl<E> fmt::Debug for Listener<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener<{}>", type_name::<E>())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::closures::{Closure, ClosureOutput};

    struct Numbered(u32);
    struct Other;

    /// What listeners say, in order.
    #[derive(Clone, Default)]
    struct Notes(Arc<Mutex<Vec<String>>>);

    impl Notes {
        fn add(&self, note: impl fmt::Display) {
            self.0.lock().unwrap_or_else(|poison| poison.into_inner()).push(note.to_string());
        }

        fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap_or_else(|poison| poison.into_inner()))
        }
    }

    fn noting(notes: &Notes, name: &'static str) -> impl Fn(&Numbered) + Send + Sync + 'static {
        let notes = notes.clone();
        move |event| notes.add(format_args!("{name} {}", event.0))
    }

    #[test]
    fn listeners_hear_their_type_in_the_order_of_registration() {
        let notes = Notes::default();
        let other = notes.clone();
        let events = Events::new()
            .on(noting(&notes, "first"))
            .on(move |_: &Other| other.add("other"))
            .on(noting(&notes, "second"))
            .on(noting(&notes, "third"));
        let raised = events.raise(&Numbered(7));
        assert_eq!(raised, Raised { called: 3, ..Raised::default() });
        assert_eq!(notes.take(), ["first 7", "second 7", "third 7"]);
        assert_eq!(events.raise(&Other).called, 1);
        assert_eq!(notes.take(), ["other"]);
        assert_eq!(events.raise(&"nobody listens"), Raised::default());
    }

    #[test]
    fn a_failing_or_panicking_listener_loses_neither_the_others_nor_the_raiser() {
        let (notes, told) = (Notes::default(), Notes::default());
        let teller = told.clone();
        let events = Events::new()
            .on(noting(&notes, "first"))
            .on(|event: &Numbered| assert_eq!(event.0, 0, "not nought"))
            .on(|event: &Numbered| match event.0 {
                0 => Ok(()),
                _ => Err(Failure::new("no paper")),
            })
            .on(noting(&notes, "last"))
            .on_fault(move |fault| teller.add(fault));
        let faults = Faults { refused: 0, failed: 1, panicked: 1 };
        assert_eq!(events.raise(&Numbered(1)), Raised { called: 2, deferred: 0, faults });
        assert_eq!(notes.take(), ["first 1", "last 1"]);
        assert_eq!(events.raise(&Numbered(0)).called, 4);
        assert_eq!((events.faults(), events.faults().total()), (faults, 2));
        let told = told.take();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("listener 1 of ") && told[0].contains("not nought"), "{told:?}");
        assert!(told[1].contains("listener 2 of ") && told[1].contains("no paper"), "{told:?}");
    }

    #[test]
    fn a_panic_of_on_fault_is_caught_and_counted() {
        let notes = Notes::default();
        let events = Events::new()
            .on(|_: &Numbered| Err(Failure::new("no paper")))
            .on(noting(&notes, "last"))
            .on_fault(|fault| assert!(fault.listener > 0, "asked to"));
        let faults = Faults { refused: 0, failed: 1, panicked: 0 };
        assert_eq!(events.raise(&Numbered(1)), Raised { called: 1, deferred: 0, faults });
        assert_eq!(events.faults(), Faults { panicked: 1, ..faults });
        assert_eq!(notes.take(), ["last 1"]);
    }

    #[test]
    fn a_refused_deferral_is_told_and_counted() {
        #[derive(Clone)]
        struct Cloned;
        let closures: Tasks<Closure, ClosureOutput> = Tasks::none();
        let jobs: Tasks<u32, ()> = Tasks::none();
        let told = Notes::default();
        let teller = told.clone();
        let events = Events::new()
            .on(deferred(&closures, |_: &Cloned| ()))
            .on(dispatching(&jobs, |_: &Cloned| 1))
            .on_fault(move |fault| teller.add(fault));
        let faults = Faults { refused: 2, ..Faults::default() };
        assert_eq!(events.raise(&Cloned), Raised { faults, ..Raised::default() });
        assert_eq!(events.faults(), faults);
        let told = told.take();
        assert!(told[0].contains("listener 0") && told[0].contains("task_worker_num"), "{told:?}");
        assert!(told[1].contains("listener 1") && told[1].contains("task_worker_num"), "{told:?}");
    }
}
