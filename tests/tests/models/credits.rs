//! Credits: a finish ring as large as the credits is never found full by a worker.
//!
//! The ring here has rtrb's two indices and orderings: the producer publishes its tail with
//! Release and reads the head with Acquire, the consumer the other way round.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::sync::{Fault, commits};
use crate::{Model, finds, holds};

const CREDITS: usize = 1;
const TASKS: usize = 3;

struct Ring {
    head: AtomicUsize,
    tail: AtomicUsize,
}

impl Ring {
    /// By the task worker; false if the ring is full.
    fn push(&self) -> bool {
        let tail = self.tail.load(Ordering::Relaxed);
        if tail - self.head.load(Ordering::Acquire) == CREDITS {
            return false;
        }
        self.tail.store(tail + 1, Ordering::Release);
        true
    }

    /// By the executor.
    fn pop(&self) -> bool {
        let head = self.head.load(Ordering::Relaxed);
        if head == self.tail.load(Ordering::Acquire) {
            return false;
        }
        self.head.store(head + 1, Ordering::Release);
        true
    }

    fn has_some(&self) -> bool {
        self.head.load(Ordering::Relaxed) != self.tail.load(Ordering::Acquire)
    }
}

/// An executor that dispatches as its credits allow, and a worker that finishes each task.
fn model() {
    let ring = Arc::new(Ring { head: AtomicUsize::new(0), tail: AtomicUsize::new(0) });
    let queue = Arc::new(AtomicUsize::new(0));
    let worker = thread::spawn({
        let (ring, queue) = (ring.clone(), queue.clone());
        move || {
            for task in 1..=TASKS {
                // The queue hands tasks over in order; Acquire pairs with the dispatch's Release.
                while queue.load(Ordering::Acquire) < task {
                    thread::yield_now();
                }
                assert!(ring.push(), "a worker met a full finish ring");
            }
        }
    });
    let (mut credits, mut dispatched, mut finished) = (CREDITS, 0, 0);
    while finished < TASKS {
        if dispatched < TASKS && credits > 0 {
            credits -= 1;
            dispatched += 1;
            queue.store(dispatched, Ordering::Release);
        }
        if commits(Fault::EarlyCredit) && ring.has_some() && dispatched < TASKS && credits == 0 {
            // The fault: the credit is used again while its finish is still in the ring.
            dispatched += 1;
            queue.store(dispatched, Ordering::Release);
            thread::yield_now();
        }
        if ring.pop() {
            credits = (credits + 1).min(CREDITS);
            finished += 1;
        } else {
            thread::yield_now();
        }
    }
    worker.join().unwrap();
    assert_eq!(credits, CREDITS, "credits are conserved");
}

const MODEL: Model = Model::new(3, model);

#[test]
fn a_worker_never_meets_a_full_finish_ring() {
    holds(MODEL);
}

#[test]
fn a_credit_given_back_before_its_finish_is_popped_fills_the_ring() {
    finds(Fault::EarlyCredit, MODEL);
}
