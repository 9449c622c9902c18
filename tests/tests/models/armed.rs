//! The bell: a push is never missed by an executor that falls asleep.

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

// Under the name by which the product's files know it.
use crate::armed_protocol::Armed;
use crate::sites::{Protocol, each_is_needed};
use crate::{Model, holds};

/// An executor: its armed bit, its inbound queue (a count, relaxed, so that only the protocol
/// orders it), and the eventfd that it sleeps on.
struct Executor {
    armed: Armed,
    inbound: AtomicUsize,
    eventfd: Mutex<u64>,
    readable: Condvar,
}

impl Executor {
    fn push(&self) {
        self.inbound.fetch_add(1, Ordering::Relaxed);
        if self.armed.must_ring() {
            *self.eventfd.lock().unwrap() += 1;
            self.readable.notify_one();
        }
    }

    /// Takes `count` in all, asleep where there is nothing.
    fn drain(&self, count: usize) {
        let mut taken = 0;
        while taken < count {
            // A look, which may miss a push, and not an exchange, which would not.
            let there = self.inbound.load(Ordering::Relaxed);
            self.inbound.fetch_sub(there, Ordering::Relaxed);
            taken += there;
            if taken == count {
                return;
            }
            self.armed.arm();
            if self.inbound.load(Ordering::Relaxed) == 0 {
                let mut rung = self.eventfd.lock().unwrap();
                while *rung == 0 {
                    rung = self.readable.wait(rung).unwrap();
                }
                *rung = 0;
            }
            self.armed.disarm();
        }
    }
}

/// With two producers and one drainer; loom fails a model in which a thread sleeps for ever.
fn model() {
    let executor = Arc::new(Executor {
        armed: Armed::new(),
        inbound: AtomicUsize::new(0),
        eventfd: Mutex::new(0),
        readable: Condvar::new(),
    });
    let producers: Vec<_> = (0..2)
        .map(|_| {
            let executor = executor.clone();
            thread::spawn(move || executor.push())
        })
        .collect();
    executor.drain(2);
    producers.into_iter().for_each(|producer| producer.join().unwrap());
}

const MODEL: Model = Model::new(3, model);

const PROTOCOL: Protocol = Protocol { file: "runtime/src/sys/armed.rs", models: &[MODEL] };

#[test]
fn no_push_is_missed_by_a_sleeping_executor() {
    holds(MODEL);
}

#[test]
fn each_ordering_is_needed() {
    each_is_needed(&PROTOCOL);
}
