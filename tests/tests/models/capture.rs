//! The copy of a stack: an answer is whole and of the thread that was asked, however late another.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

use crate::capture_protocol::{Capture, Copied, REGISTERS};
use crate::sites::{Protocol, each_is_needed};
use crate::sync::{AtomicU64, Fault};
use crate::{Model, finds, holds};

/// The place, what stands for the right to write there, and the signals on their way, by thread,
/// which order nothing.
struct Place {
    capture: Capture,
    owner: UnsafeCell<u64>,
    signals: [AtomicU32; 2],
}

impl Place {
    /// Takes a thread's signal, if there is one; all that it writes is its own number.
    fn take_signal(&self, thread: usize) {
        let ask = self.signals[thread].swap(0, Ordering::Relaxed);
        if ask == 0 {
            return;
        }
        let number = thread as u64 + 1;
        let copy = |words: &[AtomicU64]| {
            for word in words {
                // SAFETY: loom reports an access that is not ordered against every other.
                self.owner.with_mut(|owner| unsafe { *owner = number });
                word.store(number, Ordering::Relaxed);
            }
            Ok(words.len())
        };
        self.capture.answer(ask, [number; REGISTERS], copy);
    }
}

/// The first thread may answer before it is given up, meanwhile, or after the second was asked.
fn model() {
    let place = Arc::new(Place {
        capture: Capture::new(2),
        owner: UnsafeCell::new(0),
        signals: Default::default(),
    });
    let threads = [0, 1].map(|thread| {
        let place = place.clone();
        thread::spawn(move || place.take_signal(thread))
    });
    let whole =
        |number| Copied { registers: [number; REGISTERS], words: vec![number; 2], error: None };
    let first = place.capture.ask().expect("nobody was asked before");
    place.signals[0].swap(first, Ordering::Relaxed);
    if let Some(copied) = place.capture.take(first) {
        assert_eq!(copied, whole(1));
    }
    place.capture.withdraw(first);
    // Refused where the first is still writing.
    let second = place.capture.ask();
    place.signals[1].swap(second.unwrap_or(0), Ordering::Relaxed);
    let check = |ask| place.capture.take(ask).map(|copied| assert_eq!(copied, whole(2)));
    second.map(check);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    // Whoever has not taken its signal takes it at last.
    (0..2).for_each(|thread| place.take_signal(thread));
    match second {
        Some(second) => assert!(check(second).is_some(), "who was asked has answered"),
        None => assert!(place.capture.ask().is_some(), "a late answer ends, and the next is asked"),
    }
}

const MODEL: Model = Model::new(3, model);

const PROTOCOL: Protocol = Protocol { file: "runtime/src/stack/capture.rs", models: &[MODEL] };

#[test]
fn an_answer_is_whole_and_of_the_thread_that_was_asked() {
    holds(MODEL);
}

#[test]
fn with_a_torn_exchange_a_late_thread_writes_into_the_answer_of_another() {
    finds(Fault::TornExchange, MODEL);
}

#[test]
fn each_ordering_is_needed() {
    each_is_needed(&PROTOCOL);
}
