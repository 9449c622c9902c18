//! Listeners on the thread that raises; deferred ones run in the integration tests.

use std::sync::{Arc, Mutex};

use super::*;
use crate::tasks::closures::{Closure, ClosureOutput};
use sidecore_runtime::pool::{Failure, Tasks};

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

#[test]
fn an_event_whose_clone_panics_is_heard_by_those_that_need_none() {
    struct Unclonable;
    impl Clone for Unclonable {
        fn clone(&self) -> Self {
            panic!("asked to")
        }
    }
    let closures: Tasks<Closure, ClosureOutput> = Tasks::none();
    let events = Events::new()
        .on(deferred(&closures, |_: &Unclonable| ()))
        .on(|_: &Unclonable| ())
        .on(deferred(&closures, |_: &Unclonable| ()));
    let faults = Faults { panicked: 2, ..Faults::default() };
    assert_eq!(events.raise(&Unclonable), Raised { called: 1, deferred: 0, faults });
}
