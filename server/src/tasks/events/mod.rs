//! Events and their listeners, some of which run as tasks without the raiser knowing it.
//!
//! ```no_run
//! use std::sync::{Arc, OnceLock};
//!
//! use sidecore::tasks::events::{Events, deferred};
//! use sidecore::{Config, Server, StatusCode, service_fn};
//! use sidecore::tasks::Failure;
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
//!         .serve(move |executor| {
//!             let tasks = executor.tasks();
//!             // Built by the executor that comes first, shared by all.
//!             let events = events.get_or_init(|| {
//!                 let events = Events::new()
//!                     .on(|event: &SignedUp| eprintln!("{} signed up", event.email))
//!                     .on(deferred(&tasks, send_welcome))
//!                     .on_fault(|fault| eprintln!("{fault}"));
//!                 Arc::new(events)
//!             });
//!             let events = events.clone();
//!             service_fn(move |_request| {
//!                 events.raise(&SignedUp { email: "ada@example.org".to_owned() });
//!                 async { StatusCode::NO_CONTENT }
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
//! | an exception of a listener keeps the event from those after it, and ends the raiser's work | each listener is called, and the raiser goes on |

mod fault;
mod listener;
#[cfg(test)]
mod tests;

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;

pub use crate::tasks::events::fault::Cause;
pub use crate::tasks::events::fault::Fault;
pub use crate::tasks::events::fault::Faults;
pub use crate::tasks::events::fault::Raised;
pub use crate::tasks::events::listener::IntoListener;
pub use crate::tasks::events::listener::Listener;
pub use crate::tasks::events::listener::deferred;
pub use crate::tasks::events::listener::dispatching;

use crate::tasks::events::fault::FaultCounters;
use crate::tasks::events::listener::{Heard, caught};

/// Listeners by the type of their events. Built once, then shared: raising takes no lock.
///
/// Events are raised on any thread: on executors, on task workers, on plain ones.
#[derive(Default)]
pub struct Events {
    /// A `Vec<Listener<E>>` for each type `E`.
    listeners: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    on_fault: Option<Box<dyn Fn(&Fault) + Send + Sync>>,
    counters: FaultCounters,
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
        for (index, listener) in self.listeners::<E>().iter().enumerate() {
            match listener.hear(event, &mut shared) {
                Ok(Heard::Here) => raised.called += 1,
                Ok(Heard::InATask) => raised.deferred += 1,
                Err(cause) => {
                    raised.faults.count(&cause);
                    self.report(&Fault { event: type_name::<E>(), listener: index, cause });
                }
            }
        }
        raised
    }

    /// The faults of all events so far.
    pub fn faults(&self) -> Faults {
        self.counters.read()
    }

    fn listeners<E: 'static>(&self) -> &[Listener<E>] {
        let listeners = self.listeners.get(&TypeId::of::<E>());
        listeners.and_then(|any| any.downcast_ref::<Vec<Listener<E>>>()).map_or(&[], |all| all)
    }

    fn report(&self, fault: &Fault) {
        self.counters.count(&fault.cause);
        let Some(on_fault) = &self.on_fault else { return };
        let told = caught(|| {
            on_fault(fault);
            Ok(())
        });
        if let Err(cause) = told {
            self.counters.count(&cause);
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types = self.listeners.len();
        f.debug_struct("Events").field("types", &types).field("faults", &self.faults()).finish()
    }
}
